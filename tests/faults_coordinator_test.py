"""The coordinator is killed at named places while its launcher lives: another one goes on by the journal, agents train
on meanwhile, and no bit of the result changes."""

import os
import signal

import instep_test
from faults_case import FaultCase
from run_case import RESUME_HINT

# Two agents, of which one is killed: the first view, a view without it, a plan, promises, a view with the newcomer.
# An event is counted when it is heard; only some are recorded.
PLACES = (*(f"coordinator.heard=kill@{k}" for k in (1, 2, 5, 9, 12, 14, 16, 18, 25)),
          *(f"coordinator.decided=kill@{k}" for k in (1, 4, 7, 11, 13, 15, 17, 20)),
          *(f"coordinator.recorded=kill@{k}" for k in (1, 6, 9, 12, 14, 16, 19, 22)),
          *(f"coordinator.sent=kill@{k}" for k in (1, 8, 12, 14, 16, 18, 21)),
          *(f"journal.torn=kill@{k}" for k in (1, 3, 5, 7, 8, 9, 10, 11, 12)),
          "coordinator.begun=kill@1", "journal.write=kill@1", "journal.write=kill@9", "file.rename=kill@1")


class Coordinator(FaultCase):
    def coordinators(self):
        return [pid for pid, command in self.living().items() if command.endswith(b" coordinator ")]

    def test_kill_at_each_place(self):
        died = 0
        for place in PLACES:
            with self.subTest(place=place):
                report = self.disturbed("--fault", "kill 1 at 6", INSTEP_COORDINATOR_FAILPOINTS=place)
                self.nothing_was_lost(report, self.undisturbed())
                told = [event["text"] for event in report["events"] if event["kind"] == "coordinator"]
                # What died before its first journal was written could not go on.
                self.assertLessEqual(len(told), 1)
                died += len(told)
                self.assertIn("died", self.kinds(report))
        self.assertGreaterEqual(died, len(PLACES) - 6, "most places are reached")

    def test_drill(self):
        faults = "; ".join(["kill coordinator at 5; kill 1 at 5; kill coordinator at 9",
                            "hang coordinator at 12 for 50ms; kill 0 at 12"])
        report = self.disturbed("--fault", faults, sets={"epochs": 4}, n=3)
        self.nothing_was_lost(report, self.undisturbed({"epochs": 4}))
        told = [event["text"] for event in report["events"] if event["kind"] == "coordinator"]
        self.assertGreaterEqual(len(told), 1)
        for text in told:
            self.assertEqual(text, "the coordinator died (killed by signal 9) and is started again")

    def test_a_generation_above_all_before(self):
        run = self.new_path("run")
        self.run_instep("run", self.job, "-n", 2, "--quiet", "--no-pin", "--run-dir", run, "--fault",
                        "kill coordinator at 3; kill 1 at 6")
        epochs = [it["epoch"] for it in self.records(run, "events.jsonl") if it["record"] == "view"]
        self.assertEqual(epochs[:2], ["1.1", "2.2"])
        self.resume(run, 2, {"epochs": 3})
        epochs = [it["epoch"] for it in self.records(run, "events.jsonl") if it["record"] == "view"]
        self.assertEqual(epochs[-1], "3.1")

    def test_a_stopped_one_is_killed_when_it_does_not_answer(self):
        run = self.new_path("run")
        process = self.start_endless(run, "--quiet")
        (coordinator,) = self.coordinators()
        os.kill(coordinator, signal.SIGSTOP)

        def texts():
            return [it["text"] for it in self.records(run, "events.jsonl") if it.get("kind") == "coordinator"]

        self.wait_until("another one", lambda: len(texts()) == 2, process=process)
        self.assertEqual(texts()[0], "the coordinator does not answer and is killed")
        process.terminate()
        self.assertEqual(self.finish(process).code, 0)
        self.goes_on_as_if_never_stopped(run)

    def test_a_full_disk_stops_nothing(self):
        report = self.disturbed("--fault", "kill 1 at 6", INSTEP_COORDINATOR_FAILPOINTS="journal.write=enospc@3")
        self.nothing_was_lost(report, self.undisturbed())
        (told,) = [event["text"] for event in report["events"] if event["kind"] == "coordinator"]
        self.assertIn("the coordinator's journal cannot be written", told)
        self.assertIn("No space left", told)

    def test_what_cannot_be_gone_on_with_is_saved(self):
        # From before the first view on the journal is behind, and then the coordinator dies.
        run = self.new_path("run")
        points = ";".join(f"journal.write=enospc@{k}" for k in range(5, 200))
        result = self.run_instep("run", self.job, "-n", 2, "--quiet", "--no-pin", "--run-dir", run, "--fault",
                                 "kill 1 at 6; kill coordinator at 12", "--set", "epochs=20", code=1,
                                 INSTEP_COORDINATOR_FAILPOINTS=points)
        self.assertIn("the coordinator died, and its journal lacks what the run has done", result.err)
        self.assertIn(f"{RESUME_HINT}{run.name}", result.err)
        self.nothing_is_left()
        self.nothing_was_lost(self.resume(run, 2), self.undisturbed({"epochs": 20}))

    def test_one_that_never_lives_ends_the_run(self):
        run = self.new_path("run")
        result = self.run_instep("run", self.job, "-n", 2, "--quiet", "--run-dir", run, code=2,
                                 INSTEP_COORDINATOR_FAILPOINTS="journal.write=enospc@1")
        self.assertIn("coordinator.journal", result.err)
        self.assertIn("No space left", result.err)
        self.nothing_is_left()

    def test_a_journal_that_is_none(self):
        run = self.new_path("run")
        self.run_instep("run", self.job, "-n", 1, "--quiet", "--run-dir", run)
        journal = run / "coordinator.journal"
        whole = journal.read_bytes()
        journal.write_bytes(b"something else entirely")
        result = self.run_instep("resume", run, "--quiet", "--set", "epochs=3", code=2)
        self.assertIn("coordinator.journal: it is not a coordinator's journal", result.err)
        self.assertIn("move it away", result.err)
        # One that an interrupted write has left is no hindrance.
        journal.write_bytes(whole[:-7])
        self.resume(run, 2, {"epochs": 3})


if __name__ == "__main__":
    instep_test.main()
