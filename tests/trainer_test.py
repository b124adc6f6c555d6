"""A program with a Trainer, early stopping and the best weights put back: on any agents, and resumed.

The program is a case of the library's own tests, whose Trainer makes its Run by itself.
"""

import json
import pathlib
import re
import shutil

import instep_test
from instep_test import INSTEP

PROGRAM = INSTEP.parent.parent / "tests/train_test"
WORDS = (PROGRAM, "--gtest_filter=TrainerProgramTest.StopsEarlyAndRestores", "--gtest_brief=1")


class Program(instep_test.Case):
    def fit(self, n, *words, sets=None, run_dir=None):
        """The report, and what the lead printed: the history and the final metrics."""
        run_dir = run_dir or self.new_path("run")
        result = self.run_instep("run", "-n", n, "--quiet", "--no-pin", "--run-dir", run_dir,
                                 *instep_test.settings(sets or {}), "--", *WORDS, *words)
        return self.report(run_dir), self.printed(result)

    def printed(self, result):
        lines = [re.sub(r"^\[\d+\] ", "", line) for line in result.out.splitlines()]
        return [line for line in lines if re.match(r" *(epoch|\d+) |stopped:|loss", line)]

    def test_on_any_agents_and_resumed(self):
        straight, printed = self.fit(1)
        self.assertRegex(straight["stopped"], "no better val_loss for 4 epochs of data")
        losses = [epoch["validation"]["loss"] for epoch in self.epochs(straight["run_dir"])]
        self.assertEqual(len(losses) - 1 - losses.index(min(losses)), 4)
        self.assertEqual(len(printed), len(losses) + 3)
        self.assertEqual(set(straight["test"]), {"loss", "accuracy", "auc", "f1"})
        self.assertEqual(straight["job"]["shards"], 5)
        # The report and the last checkpoint are of where training ended, not of the best weights.
        manifest = json.loads((pathlib.Path(straight["checkpoint"]) / "manifest.json").read_text())
        self.assertEqual(manifest["parameters_sha256"], straight["parameters_sha256"])
        self.assertEqual(manifest["state_sha256"], straight["state_sha256"])

        for n in (2, 3):
            report, said = self.fit(n)
            self.assert_same_bits(straight, report, n)
            self.assertEqual(said, printed)

        # Resumed behind the best epoch, whose weights are then those of its checkpoint.
        run = self.new_path("run")
        shutil.copytree(straight["run_dir"], run)
        folders = sorted((run / "checkpoints").iterdir())
        self.assertGreater(len(folders), 2)
        shutil.rmtree(folders[-1])
        (run / "report.json").unlink()
        result = self.run_instep("resume", run, "-n", 3, "--quiet", "--no-pin")
        self.assert_same_bits(straight, self.report(run))
        self.assertEqual(self.printed(result), printed)

    def test_flags_win_over_the_program(self):
        report, _ = self.fit(2, "--instep.epochs=3", sets={"batch": 60, "metrics": ["accuracy"]})
        self.assertEqual((report["job"]["epochs"], report["job"]["batch"], report["data_epochs"]), (3, 60, 3))
        self.assertEqual(set(report["validation"]), {"loss", "accuracy"})
        self.assertEqual(report["rounds"], 15)


if __name__ == "__main__":
    instep_test.main()
