"""For tests of a run's life: a small job, who lives, what is left, agents that fail where a test says."""

import json
import os
import pathlib
import shutil
import time

import instep_test
from instep_test import Case, INSTEP

AGENT = INSTEP.parent.parent / "libexec/instep/instep-agent"

# Ten rounds an epoch; a run of it takes a fraction of a second once its agents have started.
JOB = """\
version = 1
name = "small"
epochs = 2
batch = 64
shards = 4
[model]
kind = "mlp"
layers = [20, 16, 2]
[data]
format = "synthetic"
samples = 640
test_samples_count = 100
[optimizer]
kind = "adam"
lr = 0.01
[checkpoint]
every_rounds = 4
"""
# Images that take little to compute.
RESNET = {"model.kind": "resnet20", "model.outputs": 3, "data.classes": 3, "data.shape": [3, 8, 8], "data.samples": 96,
          "batch": 16, "optimizer.kind": "sgd", "optimizer.lr": 0.05, "optimizer.momentum": 0.9,
          "optimizer.nesterov": True}
RESUME_HINT = "to go on from its last checkpoint: instep resume "
ENDLESS = ("--set", "epochs=1000000", "--set", "evaluate_each_epoch=false")

# In the place of the agent's program: $FAIL are the failpoints of agent $FAIL_AGENT alone.
WRAPPER = f"""\
#!/bin/sh
if [ "$INSTEP_AGENT" = "$FAIL_AGENT" ]; then INSTEP_FAILPOINTS=$FAIL; export INSTEP_FAILPOINTS; fi
if [ -n "$CHILD" ]; then sleep 1000 & fi
exec '{AGENT}' "$@"
"""


class RunCase(Case):
    def setUp(self):
        super().setUp()
        # Found again in the environment of whatever a command of this test has started.
        self.mark = f"INSTEP_TEST_MARK={self.folder}"
        self.environment.update([self.mark.split("=", 1)])
        self.environment["TMPDIR"] = str(self.folder)
        self.shared_memory = self.named_shared_memory()
        self.job = self.job_file(JOB)

    def living(self):
        """Processes that this test's commands have left: number -> command line. No zombies."""
        out = {}
        for entry in pathlib.Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            try:
                if self.mark.encode() not in (entry / "environ").read_bytes().split(b"\0"):
                    continue
                state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
                if state != "Z":
                    out[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
            except OSError:
                continue  # it has ended, or is somebody else's
        return out

    def agents(self):
        return [pid for pid, command in self.living().items() if b"instep-agent" in command]

    def nothing_is_left(self):
        # Shared memory has no name and dies with its last process; so none may live. What an agent had started itself
        # is killed with it, and gone a moment later.
        self.wait_until("end of all processes", lambda: not self.living(), limit_s=5)
        self.assertEqual(self.named_shared_memory(), self.shared_memory)

    def named_shared_memory(self):
        names = os.listdir("/dev/shm") if os.path.isdir("/dev/shm") else []
        return sorted(name for name in names if "instep" in name or "torch" in name)

    def wait_until(self, what, condition, limit_s=60, process=None):
        """Polls; gives the condition's value when it is true. A process that ends meanwhile fails."""
        end = time.monotonic() + limit_s
        while True:
            value = condition()
            if value:
                return value
            if process is not None and process.poll() is not None:
                self.fail(f"it ended before {what}: {self.finish(process)}")
            if time.monotonic() > end:
                self.fail(f"no {what} within {limit_s} s")
            time.sleep(0.01)

    def records(self, run_dir, name):
        """The whole lines of a run's JSON Lines file; each must be an object."""
        path = pathlib.Path(run_dir) / name
        text = path.read_text() if path.exists() else ""
        lines = [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
        for line in lines:
            self.assertIsInstance(line, dict)
        return lines

    def start_endless(self, run_dir, *arguments, **environment):
        """A run without end, of which a checkpoint is written."""
        process = self.start("run", self.job, "-n", 2, "--no-pin", "--run-dir", run_dir, *ENDLESS,
                             *arguments, **environment)
        self.wait_until("checkpoint", lambda: self.checkpoints_told(run_dir), process=process)
        return process

    def checkpoints_told(self, run_dir):
        return [it for it in self.records(run_dir, "events.jsonl") if it["record"] == "checkpoint"]

    def inspect(self, target):
        return json.loads(self.run_instep("inspect", target, "--json").out)

    def goes_on_as_if_never_stopped(self, run_dir, agents=3):
        """Resumes to the end of the next epoch but one; a straight run so long has the same state."""
        epochs = int(self.inspect(run_dir)["data_epoch"]) + 2
        resumed = self.resume(run_dir, agents, {"epochs": epochs})
        straight = self.train(self.job, 1, {"epochs": epochs, "evaluate_each_epoch": False,
                                            "checkpoint.every_rounds": 0})
        self.assertEqual(resumed["rounds"], 10 * epochs)
        self.assertEqual(resumed["state_sha256"], straight["state_sha256"])
        self.assertEqual(resumed["samples"], straight["samples"])

    def state(self, run_dir):
        """The run's state as `instep ls` shows it; the directory is the last column."""
        for line in self.run_instep("ls").out.splitlines()[1:]:
            if line.endswith(str(run_dir)):
                return line.split()[1]
        self.fail(f"instep ls does not show {run_dir}")

    def use_failing_program(self, wrapper=WRAPPER):
        """From now on this test runs a copy of instep whose agent is `wrapper`: agent FAIL_AGENT has the
        failpoints FAIL. With CHILD set, every agent has started another process too."""
        root = self.new_path("installed")
        (root / "bin").mkdir(parents=True)
        (root / "libexec/instep").mkdir(parents=True)
        shutil.copy(INSTEP, root / "bin/instep")
        agent = root / "libexec/instep/instep-agent"
        agent.write_text(wrapper)
        agent.chmod(0o755)
        self.addCleanup(setattr, instep_test, "INSTEP", INSTEP)
        instep_test.INSTEP = root / "bin/instep"

    def one_error(self, result, *parts, code=2, resumable=False):
        """Exactly one error on stderr with all these parts; `resumable`: and how to go on, in a line more."""
        self.assertEqual(result.code, code, result)
        # The end of an agent's log may stand below the error, indented.
        lines = [line for line in result.err.splitlines() if not line.startswith("    ")]
        if resumable:
            self.assertTrue(lines and lines.pop().startswith(RESUME_HINT), result)
        self.assertEqual(len(lines), 1, result)
        self.assertTrue(lines[0].startswith("instep: "), result)
        for part in parts:
            self.assertIn(str(part), lines[0])
        self.nothing_is_left()

    def tree(self):
        """Every path of this test's folder with its content."""
        return {str(path.relative_to(self.folder)): path.read_bytes() if path.is_file() else None
                for path in sorted(self.folder.rglob("*"))}

    def refused(self, *arguments, parts=(), code=2, **environment):
        """The command ends with one error and leaves everything as it was."""
        before = self.tree()
        result = self.run_instep(*arguments, code=None, **environment)
        self.one_error(result, *parts, code=code)
        # Whether the folder that lists runs exists is of no concern; what it lists is.
        after = self.tree()
        for state in ("state", "state/instep", "state/instep/runs"):
            before.pop(state, None)
            after.pop(state, None)
        self.assertEqual(sorted(after), sorted(before), result)
        self.assertEqual(after, before, result)
        return result
