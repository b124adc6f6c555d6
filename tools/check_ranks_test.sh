#!/usr/bin/env bash
# check_ranks.py finds each kind of fault in a small tree, and nothing in a sound one.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree"/{docs,src/base,src/wire,src/job,src/model,include/instep}
cat >"$tree/docs/architecture.md" <<'END'
| `src/base` | 0 | | |
| `src/wire` | 1 | | |
| `src/job` | 1 | | |
| `src/model` | 3 | torch | |
| `include/instep` | 4 | torch | |
END

# expect STATUS TEXT FILE INCLUDE: the check of the tree with that one include more.
expect() {
  local want=$1 text=$2 file=$tree/$3 status=0 out
  echo "#include $4" >"$file"
  out=$("$here/check_ranks.py" "$tree") || status=$?
  rm "$file"
  [[ $status == "$want" && $out == *"$text"* ]] && return
  echo "with $4 in $3: status $status, said: $out"
  exit 1
}

expect 0 "" src/wire/a.cc '"base/a.h"'
expect 0 "" src/wire/a.cc '"wire/a.h"'
expect 0 "" src/wire/a.cc '<vector>'
expect 0 "" src/model/a.cc '<torch/torch.h>'
expect 0 "" src/program.cc '"model/a.h"'
expect 1 "src/base/a.cc:1: base (rank 0) includes wire (rank 1)" src/base/a.cc '"wire/a.h"'
expect 1 "job (rank 1) includes wire (rank 1)" src/job/a.h '"wire/a.h"'
expect 1 "wire includes torch/torch.h" src/wire/a_test.cc '<torch/torch.h>'
expect 1 "is in no folder of the table" src/wire/a.cc '"a.h"'
expect 1 "is not installed with the public headers" include/instep/a.h '"base/a.h"'
mkdir "$tree/src/stray"
expect 1 "has no folder stray" src/stray/a.cc '<vector>'
