"""For tests of what agents may do to a run without changing its bits: a job, a run in which nothing happens to
compare with, and agents that die or stop at a named place of the program, once a run."""

import instep_test
from run_case import AGENT, JOB, RunCase

# Two units an owner, a verdict before the update, moments in place; ten rounds an epoch, a checkpoint every four.
FAULT_JOB = JOB.replace("layers = [20, 16, 2]", "layers = [20, 4000, 16, 2]").replace(
    "lr = 0.01", "lr = 0.01\nclip_norm = 1.0")

# In the place of the agent's program. $MARKS is a folder of the run's own: slots are used again, but only the first
# process of agent $FAIL_AGENT, or the one that is started as number $FAIL_START of all (from 0), has the failpoints
# $FAIL.
WRAPPER = f"""\
#!/bin/sh
number=0
until mkdir "$MARKS/$number" 2>/dev/null; do number=$((number + 1)); done
if [ "$INSTEP_AGENT" = "$FAIL_AGENT" ] && mkdir "$MARKS/failing" 2>/dev/null || [ "$number" = "$FAIL_START" ]; then
  INSTEP_FAILPOINTS=$FAIL; export INSTEP_FAILPOINTS
fi
exec '{AGENT}' "$@"
"""

HARMLESS = ("state_sha256", "parameters_sha256", "rounds", "samples", "test", "validation")


class FaultCase(RunCase):
    calm = {}  # the reports of runs in which nothing happens, each made once: job and settings -> report

    def setUp(self):
        super().setUp()
        self.job = self.job_file(FAULT_JOB)
        self.use_failing_program(WRAPPER)

    def undisturbed(self, sets=None, job=None):
        job = job or self.job
        key = (job.read_text(), str(sorted((sets or {}).items())))
        if key not in FaultCase.calm:
            FaultCase.calm[key] = self.train(job, 1, sets)
            self.assertEqual(self.kinds(FaultCase.calm[key]), [])
        return FaultCase.calm[key]

    def start(self, *arguments, **environment):
        if "MARKS" not in environment:
            self.marks = self.new_path("marks")
            self.marks.mkdir()
        return super().start(*arguments, **{"MARKS": str(self.marks), **environment})

    @property
    def started(self):
        """How many agents the last command has started."""
        return sum(path.name.isdigit() for path in self.marks.iterdir())

    def disturbed(self, *arguments, n=2, sets=None, job=None, **environment):
        """A run of the job to its end, whatever happens meanwhile; gives its report."""
        run = self.new_path("run")
        result = self.run_instep("run", job or self.job, "-n", n, "--quiet", "--no-pin", "--run-dir", run,
                                 *instep_test.settings(sets or {}), *arguments, code=None, **environment)
        self.assertEqual(result.code, 0, f"{result}\n{self.logs(run)}")
        self.nothing_is_left()
        return self.report(run)

    def logs(self, run):
        return "\n".join(f"--- {path.name}\n{path.read_text()}" for path in sorted((run / "logs").iterdir()))

    def nothing_was_lost(self, report, calm):
        for key in HARMLESS:
            self.assertEqual(report[key], calm[key], f"{key}; events: {report['events']}")
        self.assertEqual(report["train"]["loss"], calm["train"]["loss"])
        self.assert_every_sample_once(report, report["samples"]["due"])

    def kinds(self, report):
        """What has happened to agents."""
        mine = ("died", "hung", "left", "joined", "paused", "waiting", "scaled", "refused")
        return [event["kind"] for event in report["events"] if event["kind"] in mine]

    def one_fault(self, points, *arguments, kind="died", sets=None, n=2, **environment):
        """A run in which one agent dies or hangs at a failpoint, and which ends as if it had not."""
        report = self.disturbed(*arguments, n=n, sets=sets, FAIL=points, **environment)
        self.nothing_was_lost(report, self.undisturbed(sets))
        self.assertIn(kind, self.kinds(report), f"{points} was not reached")
        return report
