#!/usr/bin/env bash
# A program that knows only the installed package builds and runs: install_test.sh BUILD
set -euo pipefail
build=$1
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cmake --install "$build" --prefix "$folder/prefix" >"$folder/install.log"
for file in bin/instep libexec/instep/instep-agent include/instep/instep.h; do
  [[ -e $folder/prefix/$file ]] || { echo "not installed: $file"; exit 1; }
done
cmake -S examples/custom_loop -B "$folder/build" -G Ninja -DCMAKE_PREFIX_PATH="$folder/prefix"
cmake --build "$folder/build"
