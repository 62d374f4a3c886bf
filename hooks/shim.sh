#!/bin/sh
# git-orchestrator shim 2
# sha256 @DIGEST@
# Hands what git did to git-orchestrator, after the hook that was here before (NAME.before-orchestrator beside this
# file). Written by `git orchestrator install`, removed by `git orchestrator uninstall`; do not edit.
program=@PROGRAM@
name=@NAME@
option=@OPTION@

if [ "${GIT_ORCHESTRATOR_SKIP:-}" = 1 ]; then
    program=
elif ! [ -f "$program" ] || ! [ -x "$program" ]; then
    program=$(command -v git-orchestrator) || {
        program=
        echo "git-orchestrator: the program is gone, $name was not seen; install it again, or remove this hook" >&2
    }
fi

case $0 in
*/*) directory=${0%/*} ;;
*) directory=. ;;
esac
before=$directory/$name.before-orchestrator
if ! [ -f "$before" ] || ! [ -x "$before" ]; then
    before=
elif [ -x "$directory/before-orchestrator/$name" ]; then
    # The same hook, for one that looks at its own name.
    before=$directory/before-orchestrator/$name
fi
# Moved aside and called by what took our place: if that is the hook we would run, it is running already.
if [ -n "$before" ] && [ "${0##*/}" != "$name" ] && cmp -s "$before" "$directory/$name"; then
    before=
fi

status=0
if [ -n "$before" ]; then
    [ -n "$program" ] || exec "$before" "$@"
    case $name in
    pre-push | post-rewrite | post-receive)
        # Both hooks read what git says: it is kept in a file that has no name any more when they run.
        input=$(mktemp "${TMPDIR:-/tmp}/git-orchestrator.XXXXXX" 2>/dev/null) ||
            input=$(mktemp "$directory/.git-orchestrator.XXXXXX") || {
            echo "git-orchestrator: there is no room for a temporary file, $name was not seen" >&2
            exec "$before" "$@"
        }
        cat >"$input" || {
            rm -f "$input"
            echo "git-orchestrator: there is no room for a temporary file, $name did not run" >&2
            exit 1
        }
        exec 8<"$input" 9<"$input"
        rm -f "$input"
        "$before" "$@" <&8 8<&- 9<&- || status=$?
        exec <&9 8<&- 9<&-
        ;;
    *)
        "$before" "$@" || status=$?
        ;;
    esac
    # What it refuses does not happen.
    case $name in
    pre-push | pre-merge-commit) [ "$status" = 0 ] || exit "$status" ;;
    esac
fi

[ -n "$program" ] || exit "$status"
# No descriptor of the caller may stay open in what is started: a pipe held open keeps `git push` waiting.
case $name in
pre-push | pre-merge-commit | post-checkout) ;;
*)
    # Git does not look at how these end.
    [ "$status" != 0 ] ||
        exec "$program" hook ${option:+"$option"} "$name" "$@" 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
    ;;
esac
"$program" hook ${option:+"$option"} "$name" "$@" 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
own=$?
# Only a gate may say no; every other hook ends as the one before it did.
[ "$name" = pre-push ] || exit "$status"
# A program that cannot be executed or was killed has not said no.
if [ "$own" -ge 126 ]; then
    echo "git-orchestrator: the program did not run to its end ($own), $name was not seen" >&2
    own=0
fi
exit "$own"
