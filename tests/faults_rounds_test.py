"""An agent is killed, or stops, at each named place of a round: the others end with the same bits."""

import instep_test
from faults_case import FaultCase

# Place @ which time there. Agent 0 leads, agent 1 does not; each owns two units.
ROUND = ("round.begin@7", "book.before_commit@7", "book.after_commit@7", "round.booked@7", "round.attempt@7",
         "round.settled@7", "round.shard@14", "round.shard@16", "round.posted@7", "round.done@7", "round.over@7",
         "round.next@7", "count.booked@7")
EXCHANGE = ("exchange.mail@9", "exchange.published@9", "exchange.parts@9", "exchange.combined@13",
            "exchange.combined@14", "exchange.judge@7", "exchange.judged@7", "exchange.verdict@7",
            "exchange.applied@13", "exchange.applied@14", "exchange.finish@7", "exchange.finished@7")
UPDATE = ("update.begin@13", "undo.save@25", "undo.save@26", "update.saved@13", "update.stepped@13",
          "update.done@13", "update.stamp@500", "update.stamped@13", "update.stepped@14")


class Rounds(FaultCase):
    def killed_at(self, points):
        """Agents 0 and 1 in turn, with and without another one in their place."""
        for i, point in enumerate(points):
            name, at = point.split("@")
            more = ("--no-replace",) if i // 2 % 2 else ()
            with self.subTest(point=point, agent=i % 2, more=more):
                self.one_fault(f"{name}=kill@{at}", *more, FAIL_AGENT=str(i % 2))

    def test_kill_in_the_round_itself(self):
        self.killed_at(ROUND)

    def test_kill_in_the_exchange(self):
        self.killed_at(EXCHANGE)

    def test_kill_in_an_owners_update(self):
        self.killed_at(UPDATE)

    def test_stop(self):
        for i, point in enumerate(("round.shard=stop@14", "round.settled=stop@7", "exchange.published=stop@9",
                                   "exchange.judged=stop@7", "undo.save=stop@25", "update.stamp=stop@500",
                                   "exchange.finished=stop@7", "round.next=stop@7")):
            with self.subTest(point=point):
                # Before three rounds have been seen the whole patience holds.
                self.one_fault(point, kind="hung", sets={"faults.patience": 2}, FAIL_AGENT=str(i % 2))

    def test_kill_without_a_verdict_and_with_an_average(self):
        # Owners then step each unit as soon as it is combined.
        for i, point in enumerate(("update.saved=kill@13", "update.averaged=kill@14", "update.stamp=kill@500",
                                   "exchange.combined=kill@13")):
            with self.subTest(point=point):
                self.one_fault(point, sets={"optimizer.clip_norm": 0, "ema.decay": 0.9}, FAIL_AGENT=str(i % 2))


if __name__ == "__main__":
    instep_test.main()
