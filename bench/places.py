"""Where the benchmarks find things, and what all of them do."""
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.relpath(os.environ.get("INSTEP_BUILD", os.path.join(ROOT, "build-bench")), ROOT)
INSTEP = os.path.join(BUILD, "bin", "instep")
WORK = os.path.join(BUILD, "bench", "out")
OUT = os.path.join(WORK, "figures")
PYTHON = os.environ.get("INSTEP_BENCH_PYTHON", sys.executable)  # runs ddp.py and elastic.py


def run(command, env=None):
    """The standard output of a command that must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL,
                          env={**os.environ, **(env or {})})
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="utf-8") as file:
        return [int(child) for child in file.read().split()]


def agents_of(launcher):
    """Its processes but for the coordinator's."""
    out = []
    for pid in children(launcher):
        with open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:
            if "\0coordinator\0" not in file.read():
                out.append(pid)
    return sorted(out)
