#!/bin/bash
# Runs every line of /in/lines (separated by NUL) for real and says whether it changed anything. Only for a throw-away
# sandbox: see tests/policy/corpus.rs. Arguments: the shells that each line is given to.
# Prints for each line: its number, `changed` or `same`, the shell and its exit status; before that, programs it lacks.
export HOME=/s/w/home PATH=/tools/usr/bin:/tools/bin:/usr/local/bin:/usr/bin:/bin LC_ALL=C.UTF-8 GIT_OPTIONAL_LOCKS=0
export LD_LIBRARY_PATH=/tools/usr/lib/x86_64-linux-gnu GIT_PAGER=cat TERM=dumb GIT_CONFIG_NOSYSTEM=1
# `git diff` writes the index even where optional locks are off. npm keeps logs outside of what is compared.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=diff.autoRefreshIndex GIT_CONFIG_VALUE_0=false npm_config_cache=/s/npm

fixture() (
  set -e
  mkdir -p /s/w/home /s/w/repo
  cd /s/w/repo
  git init -q -b main .
  git config user.name a
  git config user.email a@example.com
  mkdir -p src d tests test sub
  printf 'one foo\nsame\n' > a
  printf 'two\nsame\n' > b
  printf 'fn main() { foo }\n' > src/x
  printf 'a\n' > names
  printf '# readme\n' > README.md
  printf '{"a":1}\n' > j.json
  printf '{"name":"x","version":"1.0.0","scripts":{"test":"echo ok"}}\n' > package.json
  cp package.json sub/package.json
  printf '[package]\nname = "x"\n' > Cargo.toml
  printf 'test:\n\t@echo ok\nclean install:\n\ttouch pwned\n' > Makefile
  cp Makefile sub/Makefile
  printf 'all test:\n\ttouch pwned\n' > x.mk
  printf 'w pwned\n' > s.sed
  printf 'BEGIN { system("touch pwned") }\n' > p.awk
  printf 'touch pwned\n' > x.sh
  printf 'open("pwned", "w")\n' > x.py
  printf 'require("fs").writeFileSync("pwned", "")\n' > x.js
  printf 'import { writeFileSync } from "fs"; writeFileSync("pwned", "")\n' > x.mjs
  printf 'import test from "node:test"; test("a", () => {})\n' > test/a.test.mjs
  printf '#!/bin/sh\ntouch /s/w/repo/pwned\n' > evil
  cp evil bash
  chmod +x evil x.sh bash
  git add -A
  git commit -qm one
  git tag v1
  git branch other
  printf 'more\n' >> a
  git commit -qam two
  printf 'stashed\n' >> b
  git stash -q
  printf 'changed\n' >> a
  git status > /dev/null
)

listing() {
  find /s/w /tmp -printf '%p %y %m %s %l\n' 2> /dev/null | sort
  find /s/w /tmp -type f -print0 2> /dev/null | sort -z | xargs -0r sha1sum
}

fixture > /dev/null 2> /s/fixture || { cat /s/fixture >&2; exit 1; }
mv /s/w /s/template
cp -a /s/template /s/w
for program in bash dash zsh git rg fdfind tree gawk jq node npm python3 perl make file vi vim ed busybox gpg less more man script flock split csplit rsync zip tar; do
  command -v "$program" > /dev/null || printf 'missing\t%s\n' "$program"
done
before=$(listing)
number=0
while IFS= read -r -d '' line; do
  result=same
  for shell in "$@"; do
    command -v "$shell" > /dev/null || continue
    cd /s/w/repo
    timeout -k 1 20 "$shell" -c "$line" > /s/out 2> /s/err < /dev/null
    status=$?
    cd /
    if [ "$(listing)" != "$before" ]; then
      result=changed
      # What was left behind in the sandbox's own root is not reset: nothing there can be written.
      rm -rf /s/w /tmp/* /tmp/.[!.]*
      cp -a /s/template /s/w
      break
    fi
  done
  printf '%s\t%s\t%s\t%s\n' "$number" "$result" "$shell" "$status"
  number=$((number + 1))
done < /in/lines
