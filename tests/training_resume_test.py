"""Interrupted and resumed runs end like straight ones, whatever the number of agents in each part."""

import shutil
import signal
import time

import instep_test
from instep_test import MNIST

# 300 rounds an epoch of data, many checkpoints within it.
LONG = {"batch": 200, "checkpoint.every_rounds": 20, "optimizer.clip_norm": 0.7, "schedule.kind": "cosine",
        "schedule.warmup_rounds": 50, "split.validation": 0.1, "split.stratified": True}
SMALL = {"batch": 96, "data.limit": 700, "data.test_limit": 300}


class Interrupted(instep_test.Case):
    def wait_for_checkpoint(self, run, process):
        """Until this command has saved one within an epoch."""
        events = run / "events.jsonl"
        before = events.read_text().count('"checkpoint"') if events.exists() else 0
        end = time.monotonic() + instep_test.TIMEOUT_S
        while not events.exists() or events.read_text().count('"checkpoint"') < before + 2:
            if process.poll() is not None or time.monotonic() > end:
                self.fail(f"no checkpoint: {self.finish(process)}")
            time.sleep(0.01)

    def test_ctrl_c_and_stop(self):
        sets = {**LONG, "epochs": 3}
        straight = self.train(MNIST, 2, sets)
        self.assert_every_sample_once(straight, 3 * 54000)
        run = self.new_path("run")
        flags = ("--quiet", "--no-pin")
        process = self.start("run", MNIST, "-n", 3, *flags, "--run-dir", run, *instep_test.settings(sets))
        self.wait_for_checkpoint(run, process)
        process.send_signal(signal.SIGINT)
        result = self.finish(process)
        self.assertEqual(result.code, 130, result)
        first = self.report(run)
        self.assertEqual(first["stopped"], "interrupt")
        self.assert_every_sample_once(first, first["samples"]["due"])
        self.assertIsNone(first["validation"])  # who interrupts wants the end, not figures

        process = self.start("resume", run, "-n", 1, *flags)
        self.wait_for_checkpoint(run, process)
        self.run_instep("stop", run)
        result = self.finish(process)
        self.assertEqual(result.code, 0, result)
        second = self.report(run)
        self.assertEqual(second["stopped"], "stop")
        self.assertGreater(second["rounds"], first["rounds"])
        self.assertLess(second["rounds"], straight["rounds"])
        self.assert_every_sample_once(second, second["samples"]["due"])
        self.assertEqual(self.evaluate(second["checkpoint"], 1)["validation"], second["validation"])
        self.assertIsNotNone(second["validation"])

        resumed = self.resume(run, 4)
        self.assertEqual(resumed["stopped"], "")
        self.assert_same_bits(straight, resumed)


class EachOptimizer(instep_test.Case):
    def test_state_of_each_goes_on(self):
        # From within an epoch, where the ledger and the loss of the epoch under way go on too.
        for first, second, sets in (
                (3, 1, {"optimizer.kind": "adam", "optimizer.clip_norm": 0.5, "policy.kind": "sharded"}),
                (1, 3, {"optimizer.kind": "adamw", "optimizer.weight_decay": 0.1, "policy.kind": "parameter-server",
                        "optimizer.group": '[{match="*.bias", weight_decay=0}]'}),
                (5, 2, {"optimizer.kind": "sgd", "optimizer.momentum": 0.9, "optimizer.nesterov": True,
                        "optimizer.lr": 0.05, "schedule.kind": "step", "schedule.gamma": 0.5}),
                (2, 9, {"optimizer.kind": "sgd", "optimizer.lr": 0.05, "partition.strategy": "random"})):
            with self.subTest(f"{first} agents, then {second}: {sets}"):
                sets = {**SMALL, **sets, "epochs": 3, "checkpoint.every_rounds": 5, "checkpoint.keep_last": 9}
                straight = self.train(MNIST, first, sets)
                self.assertEqual(straight["rounds"], 24)
                self.assert_every_sample_once(straight, 2100)
                run = self.new_path("run")
                shutil.copytree(straight["run_dir"], run)
                for folder in (run / "checkpoints").iterdir():
                    if int(folder.name.removeprefix("round-")) > 10:
                        shutil.rmtree(folder)
                (run / "report.json").unlink()
                self.assert_same_bits(straight, self.resume(run, second))

    def test_more_epochs(self):
        sets = {**SMALL, "optimizer.kind": "adamw"}
        two = self.train(MNIST, 2, {**sets, "epochs": 2})
        resumed = self.resume(two["run_dir"], 3, {"epochs": 3})
        self.assert_same_bits(self.train(MNIST, 1, {**sets, "epochs": 3}), resumed)


if __name__ == "__main__":
    instep_test.main()
