# Sourced by ./dev check: every check runs, whatever the others found, and the status tells of all.

check_format() {
  git ls-files -z '*.cc' '*.h' | xargs -0 --no-run-if-empty "$tools/clang-format" --dry-run -Werror
}

check_tidy() {
  "$python" tools/tidy.py "$tools/clang-tidy" build-check .dev/tidy "$(jobs)"
}

check_scripts() {
  local file first rc=0
  while IFS= read -r file; do
    [[ -f $file ]] || continue
    IFS= read -r first <"$file" || true
    [[ $file == *.sh || $first == '#!'*bash* ]] || continue
    bash -n "$file" || rc=1
  done < <(git ls-files dev .ci tools tests examples bench)
  return $rc
}

check_words() {  # of unfinished work; the brackets keep this line out of what it finds
  if git grep -nIwE 'TO[D]O|FIX[M]E|XX[X]' -- ':!examples/*/data'; then
    echo "unfinished work: do it, or take the note out"
    return 1
  fi
}

warn_long() {
  local file lines
  while IFS= read -r file; do
    [[ -f $file ]] || continue
    lines=$(wc -l <"$file")
    ((lines <= 400)) || echo "warning: $file has $lines lines; is there a second job in it?"
  done < <(git ls-files '*.cc' '*.h' '*.py' '*.sh' dev)
}

# report NAME COMMAND…: like step, but goes on after a failure.
report() {
  (step "$@") || failed+=("$1")
}

check_all() {
  local -a failed=()
  tools=$root/.dev/venv/bin
  report "format" check_format
  report "folder ranks" "$python" tools/check_ranks.py
  report "docs" "$python" tools/check_docs.py
  report "scripts" check_scripts
  report "unfinished work" check_words
  report "clang-tidy" check_tidy
  warn_long
  if ((${#failed[@]} > 0)); then
    echo "found something: $(IFS=, && echo "${failed[*]}")"
    exit 1
  fi
  echo "nothing found"
}
