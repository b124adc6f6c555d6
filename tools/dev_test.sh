#!/usr/bin/env bash
# What ./dev says without installing or building anything.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# expect STATUS TEXT ARGUMENT…
expect() {
  local want=$1 text=$2 status=0 out
  shift 2
  out=$("$@" 2>&1 </dev/null) || status=$?
  [[ $status == "$want" && $out == *"$text"* ]] && return
  echo "$*: status $status, said: $out"
  exit 1
}

expect 0 "run the benchmarks" ./dev help
expect 0 "./dev COMMAND" ./dev
expect 2 "did you mean ./dev check?" ./dev chekc
expect 2 "no command 'frobnicate' (" ./dev frobnicate

# Another system is one clear line.
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
printf '#!/bin/sh\necho Darwin arm64\n' >"$folder/uname"
chmod +x "$folder/uname"
expect 1 "x86-64; this is Darwin arm64" env "PATH=$folder:$PATH" ./dev build

# Every command of the help is one that ./dev knows, and the other way round.
helped=$(./dev help | sed -n 's/^  \([a-z]*\).*/\1/p' | sort)
known=$(sed -n 's/^    \([a-z |]*\)) ;;$/\1/p' dev | tr -d ' ' | tr '|' '\n' | { cat; echo help; } | sort)
[[ $helped == "$known" ]] || { echo "help lists: $helped; known are: $known"; exit 1; }
