#!/usr/bin/env bash
# check_docs.py finds names of what does not exist, and leaves alone what does.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree"/{docs,src/base,build/bin}
touch "$tree/src/base/a.h" "$tree/docs/there.md"
printf '#!/bin/sh\nprintf "commands\\n  test   runs\\n"\n' >"$tree/dev"
printf '#!/bin/sh\nprintf "Subcommands:\\n  run   trains\\n"\n' >"$tree/build/bin/instep"
chmod +x "$tree/dev" "$tree/build/bin/instep"
git -C "$tree" init --quiet

# expect STATUS TEXT LINE: the check of a page with that line.
expect() {
  local status=0 out
  printf '%s\n' "$3" >"$tree/docs/page.md"
  out=$("$here/check_docs.py" "$tree") || status=$?
  [[ $status == "$1" && $out == *"$2"* ]] && return
  echo "for $3: status $status, said: $out"
  exit 1
}

expect 0 "" 'A [link](there.md#part), `src/base/a.h`, `src/*/a.h`, `./dev test -R x`, `instep run a`.'
expect 0 "" 'In prose instep does what it says; [elsewhere](https://example.org/none).'
expect 1 "docs/page.md:1: links to gone.md" 'A [link](gone.md)'
expect 1 "names src/base/b.h" 'See `src/base/b.h:12`.'
expect 1 "names ./dev fly" $'```\n./dev fly\n```'
expect 1 "names instep fly" '    build/bin/instep fly job.toml'
