"""The launcher is killed at named places: its agents end, and `instep resume` goes on to the same bits."""

import signal

import instep_test
from faults_case import FaultCase

# Two agents, of which the second is killed, and the run waits for another one. Sent are the first view to both, the
# view without the second, the question whether the other one waits, and the view with the newcomer to both.
PLACES = ("launch.reaped=kill@1", "launch.undone=kill@1", "launch.start=kill@1", "launch.started=kill@1",
          *(f"launch.send=kill@{k}" for k in range(1, 7)), *(f"launch.sent=kill@{k}" for k in range(1, 7)))


class Launcher(FaultCase):
    LIMIT_S = 2 + 2  # the promise is two seconds; the rest is for a machine that is busy with other tests

    def killed(self, run, *arguments, **environment):
        process = self.start("run", self.job, "--quiet", "--no-pin", "--run-dir", run, *arguments, **environment)
        self.assertEqual(self.finish(process).code, -signal.SIGKILL)
        self.wait_until("end of the agents", lambda: not self.living(), limit_s=self.LIMIT_S)

    def goes_on(self, run, n=2):
        """As if nothing had happened: from where it was, or from the beginning if no round had been done."""
        if not list((run / "checkpoints").glob("round-*/manifest.json")):
            self.refused("resume", run, parts=("has no finished checkpoint",), MARKS=str(self.marks))
            return False
        self.nothing_was_lost(self.resume(run, n), self.undisturbed())
        return True

    def test_kill_at_each_place(self):
        resumed = 0
        for place in PLACES:
            with self.subTest(place=place):
                run = self.new_path("run")
                self.killed(run, "-n", "2:2", "--fault", "kill 1 at 10", INSTEP_FAILPOINTS=place)
                resumed += self.goes_on(run)
        # All but those before any round: the first two sends. (Dead beside the launcher, an agent is proved dead by
        # nobody, and the others go back to their newest checkpoint.)
        self.assertGreaterEqual(resumed, len(PLACES) - 3)

    def test_kill_when_all_agents_have_died(self):
        for place in ("launch.book_taken=kill@1", "launch.send=kill@3", "launch.sent=kill@4"):
            with self.subTest(place=place):
                run = self.new_path("run")
                self.killed(run, "-n", 2, "--fault", "kill 0 at 10; kill 1 at 10", INSTEP_FAILPOINTS=place)
                self.goes_on(run)

    def test_agents_save_what_they_have(self):
        run = self.new_path("run")
        process = self.start("run", self.job, "-n", 3, "--quiet", "--no-pin", "--run-dir", run, "--set",
                             "epochs=1000000", "--set", "checkpoint.every_rounds=0", "--chaos",
                             "mtbf=0.2s,kinds=kill", "--set", "evaluate_each_epoch=false")
        self.wait_until("death", lambda: [it for it in self.records(run, "events.jsonl")
                                          if it.get("kind") == "died"], process=process)
        process.kill()
        process.wait()
        self.wait_until("end of the agents", lambda: not self.living(), limit_s=self.LIMIT_S)
        self.goes_on_as_if_never_stopped(run)


if __name__ == "__main__":
    instep_test.main()
