#!/usr/bin/env python3
"""Holds every include to the table of docs/architecture.md: a folder includes its own files and folders of
strictly lower rank, and libtorch only where the table says so. tools/check_ranks.py [ROOT]
"""

import os
import re
import sys

# | `src/wire` | 1 | | what it holds |   and   | `src/model` | 3 | torch | … |
ROW = re.compile(r"^\|\s*`(src/\w+|include/instep)`\s*\|\s*(\d+)\s*\|\s*(torch)?\s*\|")
INCLUDE = re.compile(r'^\s*#\s*include\s*(["<])([^">]+)[">]')
TORCH = ("torch/", "ATen/", "c10/", "caffe2/")
TOP = 99  # src/*.cc: the programs


def table(path):
    ranks, torch = {}, set()
    with open(path) as file:
        for line in file:
            if row := ROW.match(line):
                folder = os.path.basename(row[1])
                ranks[folder] = int(row[2])
                if row[3]:
                    torch.add(folder)
    return ranks, torch


def sources(root):
    for base in ("src", "include/instep"):
        for folder, _, names in sorted(os.walk(os.path.join(root, base))):
            for name in sorted(names):
                if name.endswith((".h", ".cc")):
                    yield os.path.relpath(os.path.join(folder, name), root)


def home(path):
    """The folder that a source belongs to; None for the programs in src itself."""
    parts = path.split("/")
    if parts[0] == "include":
        return "instep"
    return parts[1] if len(parts) > 2 else None


def faults(root):
    ranks, torch = table(os.path.join(root, "docs/architecture.md"))
    if not ranks:
        yield "docs/architecture.md: no table of folders and ranks"
        return
    for path in sources(root):
        here = home(path)
        if here is not None and here not in ranks:
            yield f"{path}: the table of docs/architecture.md has no folder {here}"
            continue
        rank = ranks.get(here, TOP)
        with open(os.path.join(root, path)) as file:
            lines = file.readlines()
        for number, line in enumerate(lines, 1):
            include = INCLUDE.match(line)
            if not include:
                continue
            where, name = f"{path}:{number}", include[2]
            if name.startswith(TORCH):
                if here is not None and here not in torch:
                    yield f"{where}: {here} includes {name}, and is to stay free of libtorch"
                continue
            folder = name.split("/")[0]
            if include[1] == "<" and folder != "instep":
                continue
            if folder not in ranks:
                yield f'{where}: "{name}" is in no folder of the table; includes start at src/ or include/'
            elif here == "instep" and folder != "instep":
                yield f"{where}: {name} is not installed with the public headers, so they cannot include it"
            elif folder != here and ranks[folder] >= rank:
                yield f"{where}: {here} (rank {rank}) includes {folder} (rank {ranks[folder]}): only lower ranks"
            elif folder in torch and here is not None and here not in torch:
                yield f"{where}: {here} is to stay free of libtorch, and {folder} is not"


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    found = list(faults(root))
    print("\n".join(found) if found else "includes go down")
    return 1 if found else 0


sys.exit(main())
