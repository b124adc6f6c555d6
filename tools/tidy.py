#!/usr/bin/env python3
"""clang-tidy over the project's sources: tools/tidy.py CLANG_TIDY BUILD CACHE JOBS

A source that was clean is not looked at again until it, a header of ours that it includes (directly or
not), its compile command, .clang-tidy or clang-tidy itself changes: CACHE holds one empty file for each
clean state. Exit status 1 if there were findings.
"""

import concurrent.futures
import hashlib
import json
import os
import re
import subprocess
import sys

INCLUDE = re.compile(rb'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)
ROOTS = ("src", "include", "")


def read(path):
    with open(path, "rb") as file:
        return file.read()


def closure(path, seen):
    """The file and our own headers that it includes, in a fixed order."""
    if path in seen:
        return
    seen[path] = read(path)
    for name in INCLUDE.findall(seen[path]):
        for root in (os.path.dirname(path), *ROOTS):
            header = os.path.normpath(os.path.join(root, name.decode()))
            if os.path.isfile(header):
                closure(header, seen)
                break


def state(path, command, common):
    seen = {}
    closure(path, seen)
    digest = hashlib.sha256(common)
    for part in [command.encode()] + [item for pair in seen.items() for item in (pair[0].encode(), pair[1])]:
        digest.update(b"%d:" % len(part) + part)
    return digest.hexdigest()


def main():
    tidy, build, cache, jobs = sys.argv[1:]
    os.makedirs(cache, exist_ok=True)
    here = os.getcwd() + os.sep
    version = subprocess.run([tidy, "--version"], capture_output=True, check=True).stdout
    common = version + read(".clang-tidy")
    due = {}
    for entry in json.loads(read(os.path.join(build, "compile_commands.json"))):
        path = os.path.normpath(os.path.join(entry["directory"], entry["file"]))
        if path.startswith(here) and not path.startswith(os.path.join(here, build)):
            path = path[len(here):]
            due[path] = os.path.join(cache, state(path, entry["command"], common))
    live = {os.path.basename(stamp) for stamp in due.values()}
    todo = [path for path in sorted(due) if not os.path.exists(due[path])]

    def look(path):
        run = subprocess.run([tidy, "-p", build, "--quiet", path], stdin=subprocess.DEVNULL,
                             stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if run.returncode == 0:
            open(due[path], "w").close()
        return path, run.returncode, run.stdout.replace(here, "")

    bad = 0
    with concurrent.futures.ThreadPoolExecutor(int(jobs)) as pool:
        for done, (path, code, text) in enumerate(pool.map(look, todo), 1):
            print(f"[{done}/{len(todo)}] {path}" + ("" if code == 0 else "\n" + text), flush=True)
            bad += code != 0
    for name in os.listdir(cache):
        if name not in live:
            os.remove(os.path.join(cache, name))
    return 1 if bad else 0


sys.exit(main())
