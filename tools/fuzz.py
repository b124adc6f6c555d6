"""./dev fuzz: lets libFuzzer look for inputs that break what reads bytes from outside, one target after the other on
each processor. A finding is kept, shown with the command that repeats it, and is an exit code of 1."""
import argparse
import concurrent.futures
import os
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build-fuzz" / "fuzz"
CORPUS = ROOT / "fuzz" / "corpus"  # in the repository
FOUND = ROOT / ".dev" / "fuzz"     # what earlier calls have come to, by target; findings
# A reader that takes more of these for some kilobytes of input is a finding too.
LIMITS = ["-timeout=10", "-malloc_limit_mb=256", "-rss_limit_mb=1024", "-max_len=16384"]


# An allocation that fails is the reader's to take, as it is without a sanitizer.
ENVIRONMENT = {**os.environ, "ASAN_OPTIONS": "allocator_may_return_null=1:detect_leaks=1",
               "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1"}


def program(name, *arguments, **options):
    return subprocess.run([BUILD / f"fuzz_{name}", *arguments], env=ENVIRONMENT, **options)


def fuzz(name, seconds, until_still):
    """Runs one target; returns its row and, if it found something, what it printed."""
    row, stderr = fuzz_once(name, seconds)
    while until_still and not stderr:
        more, stderr = fuzz_once(name, seconds)
        more["executions"] += row["executions"]
        more["seconds"] += row["seconds"]
        still = more["coverage"] <= row["coverage"]
        row = {**more, "at first": row["at first"]}
        if still:
            break
    return row, stderr


def fuzz_once(name, seconds):
    own = FOUND / name
    own.mkdir(parents=True, exist_ok=True)
    done = program(name, own, CORPUS / name, f"-max_total_time={seconds}", f"-artifact_prefix={FOUND}/{name}-",
                   "-print_final_stats=1", *LIMITS, capture_output=True, text=True, errors="replace", check=False)
    progress = re.findall(r"#(\d+)\s+\w+\s+cov: (\d+) ft: (\d+) corp: (\d+)", done.stderr)
    # Large corpora have lines before: of a part of them.
    first = re.search(r"INITED\s+cov: (\d+)", done.stderr)
    executions = re.search(r"stat::number_of_executed_units:\s*(\d+)", done.stderr)
    row = {"executions": int(executions[1]) if executions else int(progress[-1][0]) if progress else 0,
           "coverage": int(progress[-1][1]) if progress else 0,
           "at first": int(first[1]) if first else 0,
           "inputs": int(progress[-1][3]) if progress else 0, "seconds": seconds}
    return row, done.stderr if done.returncode != 0 else ""


def shown(name, stderr):
    where = re.search(r"Test unit written to (\S+)", stderr)
    lines = stderr.splitlines()
    first = next((i for i, line in enumerate(lines) if "ERROR" in line or "runtime error" in line), max(0, len(lines) - 25))
    print(f"\n{name}: found something")
    print("\n".join(lines[max(0, first - 3):first + 25]))
    if where:
        print(f"to repeat it: ./dev fuzz {name} --input {where[1]}")


def merge(name):
    """The smallest part of all inputs that reaches every edge that all reach, as the repository's corpus. Seeds that
    somebody has made stay."""
    corpus = CORPUS / name
    with tempfile.TemporaryDirectory() as kept:
        program(name, "-set_cover_merge=1", "-use_counters=0", kept, corpus, FOUND / name, *LIMITS, capture_output=True,
                check=True)
        seeds = {seed.read_bytes() for seed in corpus.glob("seed-*")}
        for old in corpus.iterdir():
            if not old.name.startswith("seed-"):
                old.unlink()
        for new in pathlib.Path(kept).iterdir():
            content = new.read_bytes()
            if content not in seeds:
                (corpus / new.name).write_bytes(content)
    print(f"{name:12s} {len(list(corpus.iterdir()))} inputs in {corpus}")


def main():
    parser = argparse.ArgumentParser(prog="./dev fuzz", description=__doc__)
    parser.add_argument("target", nargs="*", help="only these; without one, all")
    parser.add_argument("--seconds", type=int, default=60, help="for each target (60)")
    parser.add_argument("--until-still", action="store_true",
                        help="go on with a target, by so many seconds, until it reaches nothing that it had not before")
    parser.add_argument("--input", help="hand this file to the one target named, and no other")
    parser.add_argument("--merge", action="store_true",
                        help="instead: reduce the repository's corpus and all that was found to what is needed for the "
                             "same coverage")
    options = parser.parse_args()
    known = sorted(path.name.removeprefix("fuzz_") for path in BUILD.glob("fuzz_*"))
    for name in options.target:
        if name not in known:
            parser.error(f"no target {name}; there are {', '.join(known)}")
    names = options.target or known
    if options.seconds < 1:
        parser.error("--seconds: at least 1")
    if options.input:
        if len(names) != 1:
            parser.error("--input goes to one target: name it")
        sys.exit(program(names[0], options.input, check=False).returncode)
    if options.merge:
        for name in names:
            merge(name)
        return
    findings = 0
    print(f"{'target':12s} {'executions':>12s} {'coverage':>9s} {'at first':>9s} {'inputs':>7s} {'seconds':>8s}",
          flush=True)
    with concurrent.futures.ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        running = {pool.submit(fuzz, name, options.seconds, options.until_still): name for name in names}
        for future in concurrent.futures.as_completed(running):
            row, stderr = future.result()
            name = running[future]
            print(f"{name:12s} {row['executions']:12d} {row['coverage']:9d} {row['at first']:9d} {row['inputs']:7d} "
                  f"{row['seconds']:8d}", flush=True)
            if stderr:
                findings += 1
                shown(name, stderr)
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
