"""An agent is killed, or stops, at each named place of its start, of coming in late, of leaving, and of taking up a
view that others' coming and going has made."""

# Many short runs: a slow machine may take long over all of them.
# ctest: TIMEOUT 1500

import instep_test
from faults_case import FaultCase

START = ("start.connect", "start.hello", "start.welcome", "start.mapped", "start.made", "start.ready")
FIRST_VIEW = ("view.heard", "view.offered", "view.owned", "start.view", "start.half_filled", "start.filled",
              "gather.attempt", "gather.posted", "start.gathered", "round.begin", "round.booked", "round.posted",
              "exchange.combined", "update.stepped", "exchange.finished")
JOIN = ("start.connect", "start.welcome", "start.ready", "view.heard", "join.view", "join.donated", "join.book",
        "join.restored", "view.owned", "join.entered", "round.begin", "round.booked", "round.settled", "round.shard",
        "update.stepped", "exchange.finished")


class Starts(FaultCase):
    def test_kill_before_it_is_ready(self):
        for i, point in enumerate(START):
            with self.subTest(point=point):
                report = self.disturbed(FAIL=f"{point}=kill@1", FAIL_AGENT=str(i % 2))
                self.nothing_was_lost(report, self.undisturbed())
                self.assertEqual(self.started, 3)

    def test_kill_in_the_first_view(self):
        for i, point in enumerate(FIRST_VIEW):
            with self.subTest(point=point):
                self.one_fault(f"{point}=kill@1", FAIL_AGENT=str(i % 2))

    def test_stop(self):
        for i, point in enumerate(("start.half_filled", "gather.posted", "round.booked")):
            with self.subTest(point=point):
                report = self.disturbed(FAIL=f"{point}=stop@1", FAIL_AGENT=str(i % 2),
                                        sets={"faults.patience": 1})
                self.nothing_was_lost(report, self.undisturbed())
                self.assertIn("hung", self.kinds(report))


class Joins(FaultCase):
    """Below two agents the run waits, so a newcomer always comes in."""

    def with_one_in_the_place_of_agent_1(self, point, *arguments, **environment):
        report = self.disturbed("--fault", "kill 1 at 5", *arguments, n="2:2", FAIL=point, **environment)
        self.nothing_was_lost(report, self.undisturbed())
        self.assertIn("joined", self.kinds(report))
        return report

    def test_kill_of_the_newcomer(self):
        for point in JOIN:
            with self.subTest(point=point):
                self.with_one_in_the_place_of_agent_1(f"{point}=kill@1", FAIL_START="2")
                self.assertEqual(self.started, 4)

    def test_kill_of_its_donor(self):
        # The only one that holds the state: the run goes on from what it has left in memory.
        for point in ("promise.asked@1", "promise.given@1", "view.heard@3", "view.take@2", "view.taken@2",
                      "book.before_commit@6", "round.settled@8", "exchange.published@12"):
            name, at = point.split("@")
            with self.subTest(point=point):
                report = self.with_one_in_the_place_of_agent_1(f"{name}=kill@{at}", FAIL_AGENT="0")
                self.assertEqual(self.kinds(report).count("died"), 2)

    def test_stop_of_the_newcomer(self):
        for point in ("join.view", "join.restored", "round.booked", "update.stepped"):
            with self.subTest(point=point):
                report = self.disturbed("--fault", "kill 1 at 5", n="2:2", FAIL=f"{point}=stop@1", FAIL_START="2",
                                        sets={"faults.patience": 1})
                self.nothing_was_lost(report, self.undisturbed())
                self.assertIn("hung", self.kinds(report))


class Views(FaultCase):
    def test_kill_while_a_view_without_another_is_taken_up(self):
        for i, point in enumerate(("view.heard@2", "view.offered@2", "view.take@1", "view.owned@2",
                                   "view.extended@1", "view.taken@1", "round.settled@8", "round.posted@8")):
            name, at = point.split("@")
            with self.subTest(point=point):
                report = self.one_fault(f"{name}=kill@{at}", "--fault", "kill 2 at 5", n=3, FAIL_AGENT=str(i % 2))
                self.assertEqual(self.kinds(report).count("died"), 2)

    def test_kill_while_another_leaves(self):
        for i, point in enumerate(("promise.asked@1", "promise.given@1", "view.heard@2", "view.take@1",
                                   "view.taken@1")):
            name, at = point.split("@")
            with self.subTest(point=point):
                self.one_fault(f"{name}=kill@{at}", "--fault", "leave 2 at 3", n=3, FAIL_AGENT=str(i % 2))

    def test_kill_of_the_one_that_leaves(self):
        for point in ("leave.asked", "promise.given", "view.take", "view.taken", "leave.left", "end.done",
                      "end.said"):
            with self.subTest(point=point):
                report = self.disturbed("--fault", "leave 2 at 3", n=3, FAIL=f"{point}=kill@1", FAIL_AGENT="2")
                self.nothing_was_lost(report, self.undisturbed())
                self.assertTrue({"died", "left"} & set(self.kinds(report)))


if __name__ == "__main__":
    instep_test.main()
