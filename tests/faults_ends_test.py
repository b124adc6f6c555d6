"""An agent is killed, or stops, at each named place of an epoch's end, of a checkpoint and of a run's end: the
others end with the same bits, and the last checkpoint is whole."""

# Many short runs: a slow machine may take long over all of them.
# ctest: TIMEOUT 1500

import instep_test
from faults_case import FaultCase

# Place @ which time there, and the agents that pass it. There are five checkpoints and two epochs.
GATHERS = (("gather.begin@2", 1), ("gather.attempt@3", 0), ("gather.settled@3", 1), ("gather.posted@3", 0),
           ("gather.done@3", 1), ("tally.expanded@1", 0), ("tally.gathered@1", 1), ("tally.done@1", 0),
           ("tally.done@2", 1), ("epoch.booked@1", 1), ("epoch.booked@2", 0), ("evaluate.batch@1", 1),
           ("evaluate.batch@2", 1))
SAVES = (("save.begun@2", 0), ("save.agreed@2", 0), ("save.agreed@3", 1), ("save.queued@1", 1),
         ("save.writing@2", 0), ("save.writing@2", 1), ("save.written@3", 0), ("save.written@3", 1),
         ("save.said@2", 1), ("save.wait@2", 0), ("save.all_written@3", 0), ("save.hashed@4", 0),
         ("save.committed@2", 0))
FILES = (("file.allocate@2", 0), ("file.allocate@4", 1), ("file.write@17", 0), ("file.write@33", 0),
         ("file.sync@4", 1), ("file.sync@14", 0), ("file.rename@1", 0), ("checkpoint.before_manifest@1", 0),
         ("checkpoint.after_manifest@2", 0), ("checkpoint.remove@1", 0), ("checkpoint.remove@3", 0))
LAST = (("save.begun@5", 0), ("save.agreed@5", 1), ("save.writing@5", 0), ("save.writing@5", 1),
        ("save.written@5", 1), ("save.hashed@5", 0), ("checkpoint.before_manifest@5", 0), ("save.committed@5", 0),
        ("end.saved@1", 0), ("end.saved@1", 1))


class Ends(FaultCase):
    def at_each(self, points, action="kill", kind="died"):
        for i, (point, agent) in enumerate(points):
            name, at = point.split("@")
            more = ("--no-replace",) if i % 2 else ()
            with self.subTest(point=point, agent=agent, more=more):
                report = self.one_fault(f"{name}={action}@{at}", *more, kind=kind, FAIL_AGENT=str(agent))
                saved = self.inspect(report["run_dir"])
                self.assertEqual((saved["round"], saved["state_sha256"]), (20, report["state_sha256"]))

    def test_kill_in_gathers_and_evaluations(self):
        self.at_each(GATHERS)

    def test_kill_in_checkpoints(self):
        self.at_each(SAVES)

    def test_kill_while_all_wait_for_their_checkpoint(self):
        # One that is written takes longer than a round, so nobody is at an op that a view could begin with.
        sets = {"checkpoint.every_rounds": 1, "evaluate_each_epoch": False}
        for point, agent in (("save.written@3", 1), ("save.writing@4", 1), ("save.writing@5", 0),
                             ("save.wait@6", 0)):
            name, at = point.split("@")
            with self.subTest(point=point, agent=agent):
                self.one_fault(f"{name}=kill@{at}", "--no-replace", sets=sets, FAIL_AGENT=str(agent))

    def test_kill_at_files(self):
        self.at_each(FILES)

    def test_kill_in_the_last_checkpoint(self):
        self.at_each(LAST)

    def test_stop(self):
        # Outside of rounds an agent may take its time, as the job has it.
        calm = self.undisturbed()
        for point, agent in (("tally.expanded=stop@1", 0), ("save.writing=stop@2", 1), ("save.hashed=stop@5", 0),
                             ("evaluate.batch=stop@1", 1)):
            with self.subTest(point=point):
                report = self.disturbed(FAIL=point, FAIL_AGENT=str(agent), sets={"faults.patience": 1})
                self.nothing_was_lost(report, calm)
                self.assertIn("hung", self.kinds(report))

    def test_kill_when_all_is_done(self):
        # It has nothing left to give, so nobody need be told.
        for point, agent in (("end.done=kill@1", 1), ("end.done=kill@1", 0), ("end.said=kill@1", 0),
                             ("end.said=kill@1", 1)):
            with self.subTest(point=point, agent=agent):
                report = self.disturbed(FAIL=point, FAIL_AGENT=str(agent))
                self.nothing_was_lost(report, self.undisturbed())


if __name__ == "__main__":
    instep_test.main()
