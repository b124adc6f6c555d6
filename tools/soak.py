"""./dev soak: runs small jobs of several kinds whose agents, coordinators and launchers are killed and stopped at
random, for as long as asked, and compares each with a run in which nothing happens. Stops at the first difference
and says how to repeat it.

Which run does what follows from the seed and the run's number alone; when its faults hit depends on the machine.
"""

import argparse
import collections
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
AGENT_NAME = b"instep-agent"
COORDINATOR_NAME = b"\0coordinator\0"
LIMIT_S = 300  # of one run

JOB = """\
version = 1
batch = 64
shards = 4
evaluate_each_epoch = false
[data]
format = "synthetic"
samples = 640
test_samples_count = 100
[optimizer]
kind = "adam"
lr = 0.01
[checkpoint]
every_rounds = 50
"""
MLP = {"model.kind": "mlp", "model.layers": [20, 2000, 2]}
# Of each kind a run with nothing happening takes a few seconds.
KINDS = {
    "adam": {**MLP, "epochs": 250},
    "clipped": {**MLP, "epochs": 200, "optimizer.clip_norm": 1.0, "model.layers": [20, 4000, 16, 2]},
    "momentum": {**MLP, "epochs": 250, "optimizer.kind": "sgd", "optimizer.momentum": 0.9, "ema.decay": 0.99},
    "servers": {**MLP, "epochs": 250, "policy.kind": "parameter-server", "policy.servers": 2, "shards": 8},
    "accumulate": {**MLP, "epochs": 200, "accumulate": 4, "optimizer.kind": "adamw"},
    "evaluated": {**MLP, "epochs": 120, "evaluate_each_epoch": True, "split.validation": 0.2, "model.dropout": 0.3,
                  "checkpoint.every_rounds": 7},
    "carried": {"epochs": 10, "model.kind": "resnet20", "model.outputs": 3, "data.classes": 3,
                "data.shape": [3, 8, 8], "data.samples": 96, "batch": 16, "optimizer.kind": "sgd",
                "optimizer.momentum": 0.9, "optimizer.lr": 0.05},
}
SAME = ("state_sha256", "parameters_sha256", "rounds", "samples", "test", "validation")
CHANGES = ("died", "hung", "left", "joined", "paused", "waiting", "coordinator")


def settings(values):
    out = []
    for key, value in values.items():
        out += ["--set", f"{key}={value if isinstance(value, str) else json.dumps(value)}"]
    return out


class Failure(Exception):
    pass


class Soak:
    def __init__(self, options):
        self.options = options
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="instep-soak-"))
        self.job = self.folder / "job.toml"
        self.job.write_text(JOB)
        self.calm = {}
        self.counts = collections.Counter()

    def command(self, *words):
        return [str(self.options.instep), *map(str, words)]

    def environment(self):
        return {**os.environ, "XDG_STATE_HOME": str(self.folder / "state")}

    def finish(self, process, what):
        try:
            out, err = process.communicate(timeout=LIMIT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGABRT)
            out, err = process.communicate()
            raise Failure(f"{what} was not over after {LIMIT_S} s\n{out}{err}") from None
        return process.returncode, out + err

    def start(self, *words):
        return subprocess.Popen(self.command(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.PIPE, text=True, start_new_session=True, cwd=self.folder,
                                env=self.environment())

    def undisturbed(self, kind):
        if kind not in self.calm:
            run = self.folder / f"calm-{kind}"
            code, said = self.finish(self.start("run", self.job, "-n", 1, "--quiet", "--no-pin", "--run-dir", run,
                                                *settings(KINDS[kind])), f"the calm run of {kind}")
            if code != 0:
                raise Failure(f"the calm run of {kind} failed\n{said}")
            self.calm[kind] = json.loads((run / "report.json").read_text())
        return self.calm[kind]

    def children(self, launcher, name):
        """Processes that the launcher has started and that have that in their command line by now."""
        out = []
        for task in pathlib.Path(f"/proc/{launcher}/task").glob("*"):
            try:
                for pid in (task / "children").read_text().split():
                    if name in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes():
                        out.append(int(pid))
            except OSError:
                continue  # it has ended
        return sorted(out)

    def disturb(self, process, run, draw, over):
        """Faults from outside, which the launcher knows nothing of, once it has begun."""
        while not list((run / "checkpoints").glob("round-*")) and not over.wait(0.02):
            pass
        while not over.wait(draw.expovariate(1 / draw.choice((0.15, 0.4, 1.0)))):
            what = draw.choice(("kill", "kill", "kill", "stop", "short stop", "all", "launcher stop",
                                "coordinator kill", "coordinator kill", "coordinator stop"))
            agents = self.children(process.pid, AGENT_NAME)
            coordinators = self.children(process.pid, COORDINATOR_NAME)
            if not agents or not coordinators:
                continue
            agent = draw.choice(agents)
            try:
                if what == "kill":
                    os.kill(agent, signal.SIGKILL)
                elif what == "all":
                    for one in agents:
                        os.kill(one, signal.SIGKILL)
                elif what == "stop":
                    os.kill(agent, signal.SIGSTOP)
                elif what == "short stop":
                    os.kill(agent, signal.SIGSTOP)
                    over.wait(draw.uniform(0.001, 0.2))
                    os.kill(agent, signal.SIGCONT)
                elif what == "coordinator kill":
                    # Half of them with an agent: what it was told then must not be lost.
                    if draw.random() < 0.5:
                        os.kill(agent, signal.SIGKILL)
                        self.counts["kill (from outside)"] += 1
                    os.kill(coordinators[0], signal.SIGKILL)
                else:
                    stopped = process.pid if what == "launcher stop" else coordinators[0]
                    os.kill(stopped, signal.SIGSTOP)
                    over.wait(draw.uniform(0.001, 1))
                    os.kill(stopped, signal.SIGCONT)
            except ProcessLookupError:
                continue  # it has ended meanwhile
            self.counts[f"{what} (from outside)"] += 1
            # Three deaths without a finished round end a run, and rightly so: let it do some.
            over.wait(1.5 if what in ("stop", "all") else 0.1)

    def run(self, number):
        draw = random.Random(f"{self.options.seed}/{number}")
        kind = draw.choice(sorted(KINDS))
        most = draw.randint(1, 6)
        words = ["-n", f"{draw.randint(1, most)}:{most}" if draw.random() < 0.3 else most]
        way = draw.choice(("chaos", "chaos", "outside", "launcher"))
        if way != "outside":
            words += ["--chaos", f"mtbf={draw.choice((100, 200, 400))}ms,seed={draw.randrange(10**6)}"]
        run = self.folder / f"run-{number}"
        command = ["run", self.job, "--quiet", "--no-pin", "--run-dir", run, *words, *settings(KINDS[kind])]
        calm = self.undisturbed(kind)
        what = f"run {number} ({kind}, {way}): {' '.join(self.command(*command))}"
        if self.options.verbose:
            print(what, flush=True)
        process = self.start(*command)
        over = threading.Event()
        other = None
        if way == "outside":
            other = threading.Thread(target=self.disturb, args=(process, run, draw, over))
            other.start()
        if way == "launcher":
            try:
                process.wait(draw.uniform(1, 6))
            except subprocess.TimeoutExpired:
                process.kill()
        code, said = self.finish(process, what)
        over.set()
        if other:
            other.join()
        if way == "launcher" and code == -signal.SIGKILL:
            self.counts["launcher killed"] += 1
            self.gone(run, what)
        # Who kills those that start, or all again and again, ends the run, and rightly so.
        bad_luck = way == "outside" and code == 1 and "signal 9" in said
        if bad_luck:
            self.counts["ended for three deaths in a row"] += 1
        if bad_luck or (way == "launcher" and code == -signal.SIGKILL):
            lines = (run / "events.jsonl").read_text().splitlines(keepends=True)
            self.count_changes([json.loads(line) for line in lines if line.endswith("\n")])
            if not list((run / "checkpoints").glob("round-*/manifest.json")):
                shutil.rmtree(run, ignore_errors=True)
                return
            code, said = self.finish(self.start("resume", run, "--quiet", "--no-pin", "-n", 2), what)
        if code != 0:
            raise Failure(f"{what}\nended with {code}\n{said}")
        self.check(run, calm, what)
        shutil.rmtree(run, ignore_errors=True)

    def gone(self, run, what):
        """Agents end within two seconds of their launcher's death; here with room for a busy machine."""
        end = time.monotonic() + 10
        mark = f"{run}".encode()
        while time.monotonic() < end:
            numbered = [entry for entry in pathlib.Path("/proc").iterdir() if entry.name.isdigit()]
            if not any(mark in self.open_of(entry) for entry in numbered):
                return
            time.sleep(0.02)
        raise Failure(f"{what}\nits agents outlive the launcher")

    @staticmethod
    def open_of(entry):
        """Where an agent's output goes: its log, in the run's directory."""
        try:
            return os.readlink(entry / "fd/2").encode()
        except OSError:
            return b""

    def count_changes(self, events):
        for event in events:
            if event.get("kind") in CHANGES:
                self.counts[event["kind"]] += 1

    def check(self, run, calm, what):
        report = json.loads((run / "report.json").read_text())
        self.count_changes(report["events"])
        for key in SAME:
            if report[key] != calm[key]:
                raise Failure(f"{what}\n{key} is {report[key]}\nand must be {calm[key]}\n"
                              + json.dumps(report["events"], indent=1))
        if report["samples"]["missed"] or report["samples"]["repeated"]:
            raise Failure(f"{what}\nsamples: {report['samples']}")

    def summary(self, runs, seconds):
        counts = ", ".join(f"{name} {count}" for name, count in sorted(self.counts.items()))
        return f"{runs} runs in {seconds / 60:.1f} min, each with the bits of a calm one: {counts}"


def main():
    parser = argparse.ArgumentParser(prog="./dev soak", description=__doc__.split("\n\n")[0])
    parser.add_argument("--minutes", type=float, default=10, help="how long (default: 10)")
    parser.add_argument("--seed", type=int, default=1, help="of everything that is drawn (default: 1)")
    parser.add_argument("--run", type=int, help="only this run, again and again: to repeat a failure")
    parser.add_argument("--verbose", action="store_true", help="print each command")
    parser.add_argument("--instep", type=pathlib.Path, default=ROOT / "build/bin/instep", help=argparse.SUPPRESS)
    options = parser.parse_args()
    soak = Soak(options)
    begin = told = time.monotonic()
    runs = 0
    try:
        while time.monotonic() < begin + 60 * options.minutes:
            soak.run(runs if options.run is None else options.run)
            runs += 1
            if time.monotonic() > told + 60:
                told = time.monotonic()
                print(soak.summary(runs, told - begin), flush=True)
    except Failure as failure:
        number = runs if options.run is None else options.run
        print(f"{failure}\n{soak.summary(runs, time.monotonic() - begin)}\nthen one failed; what it left is in "
              f"{soak.folder}\nto repeat it: ./dev soak --seed {options.seed} --run {number}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    print(soak.summary(runs, time.monotonic() - begin))
    shutil.rmtree(soak.folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
