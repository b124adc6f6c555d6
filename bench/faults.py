"""What faults cost, for run.py: agents of a run without end are killed and stopped, and others join."""
import glob
import json
import os
import shutil
import signal
import subprocess
import sys
import time

from places import BUILD, INSTEP, OUT, PYTHON, WORK, agents_of, run

JOINING = os.path.join(BUILD, "bench", "joining_bench")


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


class Events:
    """The records of a run that goes on, each line read once."""

    def __init__(self, run_dir, name="events.jsonl"):
        self.path = os.path.join(run_dir, name)
        self.file, self.rest, self.all = None, "", []

    def read(self):
        if self.file is None:
            if not os.path.exists(self.path):
                return self.all
            self.file = open(self.path, encoding="utf-8")
        *lines, self.rest = (self.rest + self.file.read()).split("\n")
        self.all += map(json.loads, lines)
        return self.all


class Drilled:
    """A run without end, of whose agents one after the other is hurt. Times are from the signal to
    the line that tells of it, which is written when the next round is complete."""

    def __init__(self, job, agents, pause):
        self.run_dir = os.path.join(WORK, "run")
        shutil.rmtree(self.run_dir, ignore_errors=True)
        self.agents = agents
        command = [INSTEP, "run", job, "-n", str(agents), "--quiet", "--run-dir", self.run_dir,
                   "--set", "epochs=1000000", "--set", "evaluate_each_epoch=false"]
        self.pause = pause  # for some rounds
        self.command = " ".join(command)
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        self.events = Events(self.run_dir)

    def look(self, pause):
        if self.process.poll() is not None:
            sys.exit(f"{self.command}: it ended")
        time.sleep(pause)
        return self.events.read()

    def settle(self):
        """Until all agents are in, and some rounds more: a view may be out before its newcomer is in,
        and who is killed then could not join."""
        while True:
            views = [e for e in self.look(0.02) if e["record"] == "view"]
            kinds = [e["kind"] for e in self.events.all
                     if e.get("kind") in ("died", "hung", "joined")]
            if views and len(views[-1]["members"]) == self.agents and kinds[-1:] in ([], ["joined"]):
                break
        time.sleep(self.pause)

    def hurt(self, number, times, kinds):
        """Milliseconds from each signal to the event that tells of it."""
        out = []
        for k in range(times):
            self.settle()
            agents = agents_of(self.process.pid)
            before = len(self.events.read())
            began = time.monotonic()
            os.kill(agents[k % len(agents)], number)
            while not any(e.get("kind") in kinds for e in self.events.all[before:]):
                self.look(0.0005)
            out.append(1e3 * (time.monotonic() - began))
        return out

    def end(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


KILLS = 200


def faults(bench):
    for name, job, kills, stops, pause in (
            ("784-64-10", os.path.join("examples", "mnist", "mnist.toml"), KILLS, 20, 0.3),
            ("1024-4096-4096-1000", os.path.join("bench", "jobs", "wide.toml"), KILLS // 10, 6, 2)):
        run = Drilled(job, 2, pause)
        times = run.hurt(signal.SIGKILL, kills, ("died",))
        run.end()
        bench.line(f"{name}: kill -9 to the next complete round, p50", run.command, "ms", times,
                   at_most=30, n=2, p99=percentile(times, 0.99), p99_due="150 ms and a shard")
        run = Drilled(job, 2, pause)
        times = run.hurt(signal.SIGSTOP, stops, ("hung",))
        run.end()
        # As the event says it: "no sign of life for 250 ms".
        patience = [float(e["reason"].split()[-2]) for e in run.events.all if e.get("kind") == "hung"]
        bench.line(f"{name}: SIGSTOP to the next complete round, beyond the patience", run.command,
                   "ms", [a - b for a, b in zip(times, patience)], at_most=100, n=2,
                   patience_ms=patience)
    joins(bench)
    elastic(bench)


def elastic(bench):
    """One of three workers of torchrun is killed: until rank 0 of those that it starts anew has
    done a step. They begin at the first one again: what a user saves and loads is not in it."""
    path = OUT + ".steps"
    command = [PYTHON, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "3",
               "--max-restarts", "10", "bench/elastic.py", path]
    limit_s, tries, times, back = 20, 6, [], 0
    for _ in range(tries):
        if os.path.exists(path):
            os.remove(path)
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, start_new_session=True)

        def steps():
            if not os.path.exists(path):
                return []
            with open(path, encoding="utf-8") as file:
                return [line.split() for line in file.read().splitlines(keepends=True)
                        if line.endswith("\n")]

        while process.poll() is None and len(steps()) < 200:
            time.sleep(0.1)
        if process.poll() is not None:
            return  # this Python has not all that it needs
        lead, other, _ = steps()[-1]
        began, new = time.monotonic(), []
        os.kill(int(other), signal.SIGKILL)
        while process.poll() is None and time.monotonic() < began + limit_s:
            new = [float(at) for pid, _, at in steps() if pid != lead]
            if new:
                break
            time.sleep(0.05)
        back += bool(new)
        times.append(1e3 * (new[0] - began if new else limit_s))
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pid in processes_with("bench/elastic.py"):
            os.kill(pid, signal.SIGKILL)
    bench.line(f"784-64-10: torchrun, kill -9 of one of 3 to the next complete step; {back} of "
               f"{tries} came back within {limit_s} s", " ".join(command).replace(PYTHON, "python"),
               "ms", times, n=3)


def processes_with(word):
    out = []
    for entry in glob.glob("/proc/[0-9]*"):
        try:
            with open(entry + "/cmdline", encoding="utf-8", errors="replace") as file:
                if word in file.read():
                    out.append(int(os.path.basename(entry)))
        except OSError:
            continue  # it has ended
    return out


def joins(bench):
    """Rounds of the others while an agent starts and comes in, beside those before."""
    for agents, free in ((1, "a processor is free for it"), (2, "none is")):
        ours, usual = [], []
        for _ in range(3):
            run_dir, at = os.path.join(WORK, "run"), 2000
            shutil.rmtree(run_dir, ignore_errors=True)
            command = [INSTEP, "run", "-n", str(agents), "--quiet", "--run-dir", run_dir,
                       "--fault", f"join at {at}", "--set", "epochs=125",
                       "--set", "shards=4", "--set", "checkpoint.every_epochs=0", "--", JOINING, OUT]
            run(command)
            (joined,) = [e["round"] for e in Events(run_dir).read() if e.get("kind") == "joined"]
            with open(OUT, encoding="utf-8") as file:
                over = json.load(file)
            gaps = [1e-6 * (b - a) for a, b in zip(over, over[1:])]
            ours.append(percentile(gaps[at:joined + 1], 0.95))
            usual.append(percentile(gaps[at // 2:at - 1], 0.95))
        bench.line(f"784-64-10: rounds of {agents} while another agent joins, p95; {free}",
                   " ".join(command), "ms", ours, usual, "p95 of the rounds before", at_most=1.3,
                   n=agents, S=4, batch=128)
