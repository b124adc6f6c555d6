#!/usr/bin/env python3
"""The docs name only what exists: relative links, paths of this repository, `./dev` commands and `instep`
commands, in code spans and code blocks of every tracked Markdown file. tools/check_docs.py [ROOT]
"""

import glob
import os
import re
import subprocess
import sys

FENCE = re.compile(r"^\s*(```|~~~)")
SPAN = re.compile(r"(`+)(.+?)\1")
LINK = re.compile(r"\]\(([^)\s]+)\)")
PATH = re.compile(r"(?:src|include|docs|examples|tools|tests|bench|sim|fuzz|cmake)/[\w./*-]*")
DEV = re.compile(r"(?:^|\s)\./dev ([a-z]\w*)")
INSTEP = re.compile(r"(?:^|[\s/])instep ([a-z][\w-]*)")


def run(*command, cwd):
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True,
                          stdin=subprocess.DEVNULL).stdout


def commands(text):
    """The words that begin the indented lines of a help text."""
    return set(re.findall(r"^\s+([a-z][\w-]*)", text, re.MULTILINE))


def pieces(lines):
    """(line number, code) of code spans and of the lines of code blocks."""
    fenced = False
    for number, line in enumerate(lines, 1):
        if FENCE.match(line):
            fenced = not fenced
        elif fenced or line.startswith("    "):
            yield number, line
        else:
            yield from ((number, span[2]) for span in SPAN.finditer(line))


def faults(root, page, dev, instep):
    with open(os.path.join(root, page)) as file:
        lines = file.read().split("\n")
    folder = os.path.dirname(page)
    for number, line in enumerate(lines, 1):
        for link in LINK.findall(SPAN.sub("", line)):
            target = link.split("#")[0]
            if target and ":" not in target and not os.path.exists(os.path.join(root, folder, target)):
                yield f"{page}:{number}: links to {target}, which does not exist"
    for number, code in pieces(lines):
        for word in code.split():
            path = PATH.fullmatch(re.sub(r"(:\d+)?[.,;:)]*$", "", word.lstrip("(\"'")))
            if path and not glob.glob(os.path.join(root, path[0])):
                yield f"{page}:{number}: names {path[0]}, which does not exist"
        for name in DEV.findall(code):
            if name not in dev:
                yield f"{page}:{number}: names ./dev {name}; ./dev help has no such command"
        for name in INSTEP.findall(code):
            if instep is not None and name not in instep:
                yield f"{page}:{number}: names instep {name}; instep --help has no such command"


def main():
    root = sys.argv[1] if len(sys.argv) > 1 else "."
    dev = commands(run("./dev", "help", cwd=root))
    instep = None
    if os.path.exists(os.path.join(root, "build/bin/instep")):
        instep = commands(run("build/bin/instep", "--help", cwd=root))
    else:
        print("build/bin/instep is not built: its commands are not compared")
    pages = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md", cwd=root).split("\n")[:-1]
    found = [fault for page in pages for fault in faults(root, page, dev, instep)]
    print("\n".join(found) if found else f"{len(pages)} pages name only what exists")
    return 1 if found else 0


sys.exit(main())
