"""The lines of a benchmark: how they are printed, kept and read again. Paths are relative to the
repository, where run.py goes first."""
import datetime
import glob
import json
import os
import platform
import statistics
import subprocess
import sys
import time

RESULTS = os.path.join("bench", "results")


def machine():
    cpu = platform.processor()
    for line in open("/proc/cpuinfo", encoding="utf-8"):
        if line.startswith("model name"):
            cpu = line.split(":", 1)[1].strip()
            break
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True,
                            text=True).stdout.strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 30
    return {"cpu": cpu, "cpus": len(os.sched_getaffinity(0)), "memory_gib": memory, "kernel": platform.release(),
            "commit": commit, "load_before": round(os.getloadavg()[0], 2)}


def spread(values, digits=3):
    """Median [least, most]."""
    numbers = [statistics.median(values), min(values), max(values)]
    shown = [f"{n:,.0f}" if n >= 1000 else f"{n:.{digits}g}" for n in numbers]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


class Bench:
    """The lines of one benchmark: printed as they come, kept at the end."""

    def __init__(self, name):
        self.name, self.lines, self.began = name, [], time.time()
        self.machine = machine()

    def line(self, what, command, unit, ours, peer=None, peer_name="", ratios=None, at_least=None,
             at_most=None, of_figure=False, **facts):
        """`ours` and `peer`: figures in `unit`, pair by pair. A bound is for the median of
        `ratios`, or for that of `ours` where there is no peer or `of_figure` says so."""
        if peer is not None and ratios is None:
            ratios = [a / b for a, b in zip(ours, peer)]
        of_figure = of_figure or ratios is None
        judged = statistics.median(ours if of_figure else ratios)
        held = None
        if at_least is not None:
            held = judged >= at_least
        if at_most is not None:
            held = judged <= at_most
        entry = {"what": what, "unit": unit, "command": command, **facts, "ours": ours,
                 "peer": peer, "peer_name": peer_name, "ratios": ratios, "at_least": at_least,
                 "at_most": at_most, "of_figure": of_figure, "held": held}
        self.lines.append(entry)
        print(show(entry), flush=True)
        print(f"    {command}", flush=True)

    def keep(self):
        day = datetime.date.today().isoformat()
        os.makedirs(RESULTS, exist_ok=True)
        path = os.path.join(RESULTS, f"{self.name}-{day}.json")
        with open(path, "w", encoding="utf-8") as file:
            file.write(dump({"name": self.name, "date": day, "machine": self.machine,
                             "seconds": round(time.time() - self.began, 1)}, self.lines))
        print(f"  kept in {path} ({time.time() - self.began:.0f} s)\n")


def dump(head, lines):
    """JSON with one line of text for each line of the bench."""
    def rounded(value):
        if isinstance(value, float):
            return float(f"{value:.6g}")
        return [rounded(v) for v in value] if isinstance(value, list) else value
    body = ",\n".join("  " + json.dumps({k: rounded(v) for k, v in line.items()})
                      for line in lines)
    return json.dumps(head)[:-1] + ', "lines": [\n' + body + "\n]}\n"


def bound_text(entry):
    for key, sign in (("at_least", "≥"), ("at_most", "≤")):
        if entry[key] is not None:
            unit = f" {entry['unit']}" if entry["of_figure"] else ""
            return f"{sign} {entry[key]:g}{unit}", "held" if entry["held"] else "MISSED"
    return "", ""


def facts_text(entry):
    return ", ".join(f"{key} {entry[key]}" for key in ("n", "S", "batch") if key in entry)


def show(entry):
    text = f"  {entry['what']} ({facts_text(entry)}): {spread(entry['ours'])} {entry['unit']}"
    if entry["peer"] is not None:
        text += f"; {entry['peer_name']} {spread(entry['peer'])}"
    if entry["ratios"] is not None:
        text += f"; ratio {spread(entry['ratios'])}"
    bound, verdict = bound_text(entry)
    return text + (f"; due {bound}: {verdict}" if bound else "")


def grid(lines):
    """The table's ratios: agents down, shards across, one table a model."""
    out = []
    for title in dict.fromkeys(line["what"] for line in lines):
        cells = {(line["n"], line["S"]): line for line in lines if line["what"] == title}
        shards = sorted({s for _, s in cells})
        batch = next(iter(cells.values()))["batch"]
        out += [f"{title.removeprefix('table ')}, global batch {batch}:", "",
                "| agents | " + " | ".join(f"S = {s}" for s in shards) + " |",
                "| --- |" + " --- |" * len(shards)]
        for n in sorted({n for n, _ in cells}):
            row = []
            for s in shards:
                line = cells[n, s]
                row.append(f"{statistics.median(line['ours']):,.0f} "
                           f"({statistics.median(line['ratios']):.2f})")
            out.append(f"| {n} | " + " | ".join(row) + " |")
        out.append("")
    return "\n".join(out)


def newest(name):
    paths = sorted(glob.glob(os.path.join(RESULTS, f"{name}-*.json")))
    if not paths:
        return None
    with open(paths[-1], encoding="utf-8") as file:
        return json.load(file)


def markdown(names):
    results = [result for name in names if (result := newest(name))]
    if not results:
        sys.exit(f"no results in {RESULTS}; run ./dev bench first")
    out = []
    for text in dict.fromkeys(
            f"{r['date']}, {r['machine']['cpus']} processors of {r['machine']['cpu']}, "
            f"{r['machine']['memory_gib']} GiB, Linux {r['machine']['kernel']}" for r in results):
        out.append(f"Measured {text}. Medians with [least, most].")
    out += ["", "| what | n | S | batch | instep | beside it | ratio | due | |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    for result in results:
        if result["name"] == "table":
            continue
        for line in result["lines"]:
            peer = "" if line["peer"] is None else f"{line['peer_name']} {spread(line['peer'])}"
            ratio = "" if line["ratios"] is None else spread(line["ratios"])
            cells = [line["what"], str(line.get("n", "")), str(line.get("S", "")),
                     str(line.get("batch", "")), f"{spread(line['ours'])} {line['unit']}", peer,
                     ratio, *bound_text(line)]
            out.append("| " + " | ".join(cells) + " |")
    shards = newest("table")
    if shards:
        out += ["", "Samples/s (and the ratio to two plain libtorch processes at once) by agents "
                "and shards:", "", grid(shards["lines"])]
    return "\n".join(out).rstrip() + "\n"
