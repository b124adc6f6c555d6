"""Runs whose agents are killed, stopped and slowed down, and come and go, by --fault and by hand: each ends with the
bits of a run in which nothing happens."""

import os
import pathlib
import re
import signal

import instep_test
from faults_case import FaultCase

# Patience is for a stop outside of rounds, as in a checkpoint.
LONG = {"epochs": 100, "evaluate_each_epoch": False, "checkpoint.every_rounds": 100, "model.layers": [20, 1000, 2],
        "faults.patience": 3}
ENDLESS = {**LONG, "epochs": 1000000}


class Runs(FaultCase):
    def same(self, faults, *arguments, n=2, sets=LONG):
        report = self.disturbed("--fault", faults, *arguments, n=n, sets=sets)
        self.nothing_was_lost(report, self.undisturbed(sets))
        return report

    def test_each_kind(self):
        report = self.same("kill 0 at 100; hang 1 at 205 for 1min; slow 2 by 2x at 300; leave 2 at 400", "--no-replace",
                           n=4, sets={**LONG, "faults.patience": 60})
        self.assertEqual(sorted(self.kinds(report)), ["died", "hung", "left"])
        self.is_found_soon(report)
        report = self.same("join at 20; slow 0 by 3x at 30; hang 1 at 205 for 10ms; leave 1 at 600")
        self.assertIn("left", self.kinds(report))

    def is_found_soon(self, report):
        """By then it is known what a round takes, so what is waited is a multiple of that."""
        (hung,) = [event["reason"] for event in report["events"] if event["kind"] == "hung"]
        waited = re.fullmatch(r"no sign of life for (\d+) ms", hung)
        self.assertLess(int(waited[1]), 30_000, "half of the most that the job allows")

    def test_a_stop_between_two_rounds_is_found_as_soon_as_one_in_a_round(self):
        sets = {**LONG, "faults.patience": 60}
        # In a round's wake, at an epoch's end (of ten rounds), and in its checkpoint.
        for point in ("count.booked=stop@405", "tally.expanded=stop@41", "save.agreed=stop@41"):
            with self.subTest(point=point):
                report = self.disturbed(n=2, sets=sets, FAIL=point, FAIL_AGENT="1")
                self.nothing_was_lost(report, self.undisturbed(sets))
                self.is_found_soon(report)

    def test_each_death_is_told_in_a_line(self):
        report = self.same("kill 1 at 40", "--no-replace")
        died = [event for event in report["events"] if event["kind"] == "died"]
        self.assertEqual(len(died), 1)
        self.assertEqual(died[0]["agent"], 1)
        self.assertIn(died[0]["round"], range(40, 1000))
        self.assertGreater(died[0]["stall_ms"], 0)
        self.assertRegex(died[0]["text"], r"^agent 1 died \(killed by signal 9\); shards 2,3 to agent 0; round "
                                          r"\d+ delayed by [\d.]+ ms$")
        self.assertIn(died[0]["text"], (pathlib.Path(report["run_dir"]) / "events.jsonl").read_text())

    def test_flipped_bits_are_found_and_the_run_goes_back(self):
        # Not every bit of the memory is read again; of so many flips some are.
        flips = "; ".join(f"flip at {20 + 25 * k}" for k in range(10))
        sets = {**LONG, "checkpoint.every_rounds": 10}
        report = self.same(flips, sets=sets)
        found = [event for event in report["events"] if event["kind"] == "corrupted"]
        self.assertGreater(len(found), 0)
        for event in found:
            self.assertRegex(event["text"], r"^memory is damaged: block \d+ of the state \(slice \d+-\d+, owner \d+\) "
                                            r"does not hold in round \d+ what was written there; the run goes back to "
                                            r"its last checkpoint$")
        ended = self.run_instep("run", self.job, "-n", 2, "--quiet", "--no-pin", "--run-dir", self.new_path("run"),
                                *instep_test.settings({**sets, "faults.on_corruption": "end"}), "--fault", flips,
                                code=None)
        self.assertEqual(ended.code, 1, ended)
        self.assertIn("does not hold in round", ended.err)
        self.nothing_is_left()

    def test_the_only_one_is_killed(self):
        report = self.same("kill 0 at 500", n=1)
        self.assertIn("paused", self.kinds(report))

    def test_all_are_killed_at_once(self):
        report = self.same("kill 0 at 500; kill 1 at 500; kill 2 at 500", n=3)
        self.assertEqual(self.kinds(report).count("died"), 3)
        self.assertIn("paused", self.kinds(report))

    def test_in_the_first_rounds_and_in_the_last_one(self):
        short = {"checkpoint.every_rounds": 0}
        for faults in ("kill 0 at 0", "kill 1 at 1; kill 0 at 2", "kill 1 at 19", "kill 0 at 20",
                       "hang 0 at 20 for 1min"):
            with self.subTest(faults):
                report = self.disturbed("--fault", faults, sets={**short, "faults.patience": 1})
                self.nothing_was_lost(report, self.undisturbed(short))

    def test_below_the_least_number_it_waits(self):
        report = self.same("kill 1 at 100; kill 2 at 100", n="3:3")
        self.assertIn("waiting", self.kinds(report))
        self.assertIn("joined", self.kinds(report))
        # One of three may be missing.
        report = self.same("kill 2 at 300", n="2:3")
        self.assertNotIn("waiting", self.kinds(report))

    def test_more_agents_than_shards(self):
        report = self.same("kill 0 at 100; kill 1 at 400", "--no-replace", n=6)
        self.assertEqual(self.kinds(report).count("died"), 2)

    def test_newcomers_of_a_resumed_run(self):
        # What it went on from is pruned long before they come.
        sets = {**LONG, "checkpoint.keep_last": 1, "checkpoint.every_rounds": 5}
        begun = self.disturbed(sets={**sets, "epochs": 1})
        result = self.run_instep("resume", begun["run_dir"], "-n", "2:2", "--quiet", "--no-pin", "--fault",
                                 "kill 1 at 100; kill 0 at 500", "--set", f"epochs={LONG['epochs']}")
        report = self.report(begun["run_dir"])
        self.nothing_was_lost(report, self.undisturbed(sets))
        self.assertEqual(self.kinds(report).count("joined"), 2, result)

    def test_all_die_again_and_again(self):
        # Each in its eighth round, so there is always some progress.
        report = self.disturbed(INSTEP_FAILPOINTS="round.posted=kill@8")
        self.nothing_was_lost(report, self.undisturbed())
        self.assertGreaterEqual(self.kinds(report).count("paused"), 2)

    def test_deaths_without_end(self):
        # A job that kills whoever computes it.
        result = self.run_instep("run", self.job, "-n", 2, "--quiet", "--no-pin", "--run-dir", self.new_path("run"),
                                 code=None, INSTEP_FAILPOINTS="round.posted=kill@1")
        self.one_error(result, "round 0", "killed by signal 9", code=1)


class ByHand(FaultCase):
    """What users do to a run that is under way."""

    def running(self, *arguments, n=2):
        self.run_dir = self.new_path("run")
        process = self.start("run", self.job, "-n", n, "--no-pin", "--quiet", "--run-dir", self.run_dir,
                             *instep_test.settings(ENDLESS), *arguments)
        self.wait_until("checkpoint", lambda: self.checkpoints_told(self.run_dir), process=process)
        return process

    def told(self, kind):
        return [it for it in self.records(self.run_dir, "events.jsonl") if it.get("kind") == kind]

    def number_of(self, pid):
        try:
            environment = pathlib.Path(f"/proc/{pid}/environ").read_text()
        except OSError:
            return None
        found = re.search(r"INSTEP_AGENT=(\d+)", environment)
        return int(found.group(1)) if found else None

    def agent(self, number):
        return [pid for pid in self.agents() if self.number_of(pid) == number][0]

    def ends_well(self, process):
        self.run_instep("stop", self.run_dir)
        result = self.finish(process)
        self.assertEqual(result.code, 0, result)
        self.nothing_is_left()
        epochs = int(self.inspect(self.run_dir)["data_epoch"]) + 2
        sets = {**LONG, "epochs": epochs, "checkpoint.every_rounds": 0}
        resumed = self.resume(self.run_dir, 2, {"epochs": epochs})
        self.nothing_was_lost(resumed, self.undisturbed(sets))

    def test_terminate(self):
        process = self.running(n=3)
        os.kill(self.agent(0), signal.SIGTERM)
        self.wait_until("leave", lambda: self.told("left"), process=process)
        self.wait_until("end of the agent", lambda: len(self.agents()) == 2, process=process)
        self.assertEqual(self.told("died"), [])
        self.ends_well(process)

    def test_terminate_the_last_one(self):
        process = self.running(n=1)
        os.kill(self.agent(0), signal.SIGTERM)
        result = self.finish(process)
        self.assertEqual(result.code, 0, result)
        self.assertIn("agent 0 was asked to leave", self.report(self.run_dir)["stopped"])
        self.assertEqual(self.inspect(self.run_dir)["state_sha256"], self.report(self.run_dir)["state_sha256"])

    def test_kill_stop_and_continue(self):
        process = self.running()
        os.kill(self.agent(0), signal.SIGKILL)
        self.wait_until("join", lambda: self.told("joined"), process=process)
        stopped = self.agents()[0]
        os.kill(stopped, signal.SIGSTOP)
        self.wait_until("end of the one that was stopped", lambda: self.told("hung"), process=process)
        self.wait_until("join", lambda: len(self.told("joined")) == 2, process=process)
        self.assertNotIn(stopped, self.agents())
        self.ends_well(process)

    def test_scale(self):
        process = self.running(n=1)
        self.run_instep("scale", self.run_dir, "-n", 4)
        self.wait_until("joins", lambda: len(self.agents()) == 4 and self.told("joined"), process=process)
        self.run_instep("scale", self.run_dir, "-n", 2)
        self.wait_until("leaves", lambda: len(self.agents()) == 2, process=process)
        self.assertEqual(self.told("died"), [])
        self.ends_well(process)


if __name__ == "__main__":
    instep_test.main()
