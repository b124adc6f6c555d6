"""What the whole-program tests share: the program under test, folders, commands with a time limit.

INSTEP_BIN names the program (default: build/bin/instep); every test runs as a script by itself too:
    INSTEP_BIN=build/bin/instep python3 tests/training_bits_test.py
Each test case has a folder of its own, gone when it ends, and a state folder of its own, so that no test
shows up in anybody's `instep ls`. Whatever a test starts ends with it.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
INSTEP = pathlib.Path(os.environ.get("INSTEP_BIN") or ROOT / "build/bin/instep").resolve()
MNIST = ROOT / "examples/mnist"
TEXTBOOK = ROOT / "examples/textbook"
TIMEOUT_S = float(os.environ.get("INSTEP_TEST_TIMEOUT_S") or 120)


def settings(values):
    """--set arguments of a dict; what is no text is written as TOML (JSON's scalars and lists are)."""
    out = []
    for key, value in values.items():
        text = value if isinstance(value, str) else json.dumps(value)
        out += ["--set", f"{key}={text}"]
    return out


def process_state(pid):
    """A letter of proc(5)'s; X of one that has ended."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "X"


def bits(report):
    """What must not depend on how many agents there were, nor on any other schedule."""
    keys = ("job_hash", "shards", "rounds", "data_epochs", "parameters_sha256", "state_sha256", "samples",
            "validation", "test")
    return {**{key: report[key] for key in keys}, "train.loss": report["train"]["loss"]}


def kill_group(process):
    """Ends a process that was started in a group of its own, and all of the group."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


CROWDED = "they will wait for each other"


class Result:
    """A command that has ended: its exit code and what it printed. That agents outnumber the processors is said
    on machines with few of them: those lines are apart, in `crowded`."""

    def __init__(self, command, code, out, err):
        self.command, self.code, self.out = command, code, out
        lines = err.splitlines(keepends=True)
        self.crowded = "".join(line for line in lines if CROWDED in line)
        self.err = "".join(line for line in lines if CROWDED not in line)

    def __str__(self):
        words = " ".join(str(word) for word in self.command)
        return f"{words}\nexit code {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


class Case(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="instep-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.environment = {key: value for key, value in os.environ.items()
                            if not key.startswith(("INSTEP_", "OMP_", "MKL_"))}
        self.environment["XDG_STATE_HOME"] = str(self.folder / "state")
        self.count = 0

    def new_path(self, name):
        """A path that nothing has yet, in this test's folder."""
        self.count += 1
        return self.folder / f"{self.count:02}-{name}"

    def start(self, *arguments, **environment):
        """Starts `instep ARGUMENTS`, as start_command()."""
        return self.start_command(INSTEP, *arguments, **environment)

    def start_command(self, *words, before=None, **environment):
        """Starts a command in a process group of its own, which ends with the test at the latest. `before` is called
        in its process first."""
        process = subprocess.Popen(
            [*map(str, words)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            cwd=self.folder, start_new_session=True, env={**self.environment, **environment}, preexec_fn=before)
        self.addCleanup(self.end, process)
        return process

    def end(self, process):
        kill_group(process)
        process.stdout.close()
        process.stderr.close()

    def finish(self, process, timeout_s=TIMEOUT_S):
        """Waits for a started command and gives its Result; one that takes too long fails the test."""
        try:
            out, err = process.communicate(timeout=timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            out, err = process.communicate()
            self.fail(f"over {timeout_s} s: {Result(process.args, None, out, err)}")
        return Result(process.args, process.returncode, out, err)

    def run_instep(self, *arguments, code=0, timeout_s=TIMEOUT_S, **environment):
        """Runs `instep ARGUMENTS` to its end, which must be with exit code `code` (None: any)."""
        result = self.finish(self.start(*arguments, **environment), timeout_s)
        if code is not None:
            self.assertEqual(result.code, code, result)
        return result

    def train(self, job, n, sets=None, run_dir=None, code=0, timeout_s=TIMEOUT_S):
        """`instep run JOB -n N` with settings; returns the report. Its run directory is report["run_dir"]."""
        run_dir = run_dir or self.new_path("run")
        self.run_instep("run", job, "-n", n, "--quiet", "--no-pin", "--run-dir", run_dir,
                        *settings(sets or {}), code=code, timeout_s=timeout_s)
        return self.report(run_dir)

    def resume(self, run, n, sets=None, timeout_s=TIMEOUT_S):
        """`instep resume RUN -n N`; returns the report."""
        self.run_instep("resume", run, "-n", n, "--quiet", "--no-pin", *settings(sets or {}),
                        timeout_s=timeout_s)
        return self.report(run)

    def evaluate(self, checkpoint, n):
        """`instep eval CHECKPOINT -n N`; returns its report."""
        path = self.new_path("eval.json")
        self.run_instep("eval", checkpoint, "-n", n, "--quiet", "--no-pin", "--report", path)
        return json.loads(path.read_text())

    def assert_same_bits(self, expected, report, what=None):
        """That two runs of one job ended with the same bits, whoever computed them, and lost no sample."""
        self.assertEqual(bits(expected), bits(report), what)

    def assert_every_sample_once(self, report, due):
        self.assertEqual(report["samples"],
                         {"due": due, "counted": due, "missed": 0, "repeated": 0})

    def report(self, run_dir):
        return json.loads((pathlib.Path(run_dir) / "report.json").read_text())

    def epochs(self, run_dir):
        """The `epoch` records of a run's metrics.jsonl, which the report does not repeat."""
        lines = (pathlib.Path(run_dir) / "metrics.jsonl").read_text().splitlines()
        return [record for record in map(json.loads, lines) if record["record"] == "epoch"]

    def job_file(self, text, name="job.toml"):
        """A job file of this text, in this test's folder."""
        path = self.new_path(name)
        path.write_text(text)
        return path


def main():
    if not INSTEP.exists():
        raise SystemExit(f"{INSTEP} does not exist; build it (./dev build) or set INSTEP_BIN")
    unittest.main(verbosity=2)
