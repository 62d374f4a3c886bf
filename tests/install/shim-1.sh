#!/bin/sh
# git-orchestrator shim 1
# sha256 @DIGEST@
# Hands what git did to git-orchestrator, after the hook that was here before (NAME.before-orchestrator beside this
# file). Written by `git orchestrator install`, removed by `git orchestrator uninstall`; do not edit.
program=@PROGRAM@
name=${0##*/}
before=$0.before-orchestrator

if [ "${GIT_ORCHESTRATOR_SKIP:-}" = 1 ]; then
    program=
elif ! [ -f "$program" ] || ! [ -x "$program" ]; then
    program=$(command -v git-orchestrator) || {
        program=
        echo "git-orchestrator: the program is gone, $name was not seen; install it again, or remove this hook" >&2
    }
fi

status=0
if [ -f "$before" ] && [ -x "$before" ]; then
    [ -n "$program" ] || exec "$before" "$@"
    case $name in
    pre-push | post-rewrite)
        # Both hooks read what git says: it is kept in a file that has no name any more when they run.
        input=$(mktemp "${TMPDIR:-/tmp}/git-orchestrator.XXXXXX" 2>/dev/null) ||
            input=$(mktemp "${0%/*}/.git-orchestrator.XXXXXX") || {
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
    [ "$name" != pre-push ] || [ "$status" = 0 ] || exit "$status"
fi

[ -n "$program" ] || exit "$status"
# No descriptor of the caller may stay open in what is started: a pipe held open keeps `git push` waiting.
if [ "$status" = 0 ] && [ "$name" != pre-push ]; then
    exec "$program" hook "$name" "$@" 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
fi
"$program" hook "$name" "$@" 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
own=$?
[ "$name" = pre-push ] || exit "$status"
# A program that cannot be executed or was killed has not said no.
if [ "$own" -ge 126 ]; then
    echo "git-orchestrator: the program did not run to its end ($own), $name was not seen" >&2
    own=0
fi
exit "$own"
