"""The two examples do what they promise, on the real data."""

import re

import instep_test
from instep_test import MNIST, TEXTBOOK


class Promises(instep_test.Case):
    def test_mnist_reaches_97_percent_in_ten_epochs_on_four_agents(self):
        report = self.train(MNIST, 4)
        self.assertEqual(report["job"]["model"]["layers"], [784, 64, 10])
        self.assertEqual((report["agents"], report["data_epochs"]), (4, 10))
        self.assert_every_sample_once(report, 600000)
        self.assertGreaterEqual(report["test"]["accuracy"], 0.97)

    def test_textbook(self):
        # Ten agents, 1,000 samples, 100 for each of them, 784-64-10, ten epochs.
        run = self.new_path("run")
        result = self.run_instep("run", TEXTBOOK, "-n", 10, "--no-pin", "--run-dir", run)
        report = self.report(run)
        self.assertEqual(report["job"]["model"]["layers"], [784, 64, 10])
        self.assertEqual((report["agents"], report["shards"], report["rounds"]), (10, 10, 100))
        self.assert_every_sample_once(report, 10000)
        printed = [float(loss) for loss in re.findall(r"(?m)^epoch \d+/10 .*train loss ([\d.]+)", result.out)]
        self.assertEqual(len(printed), 10, result)
        for shown, loss in zip(printed, report["train"]["loss"]):
            self.assertAlmostEqual(shown, loss, places=3)
        self.assertLess(printed[-1], 0.2 * printed[0])
        end = re.search(r"(?m)^ +test: loss ([\d.]+), accuracy ([\d.]+)$", result.out)
        self.assertIsNotNone(end, result)
        self.assertAlmostEqual(float(end[1]), report["test"]["loss"], places=3)
        self.assertGreater(report["test"]["accuracy"], 0.8)


if __name__ == "__main__":
    instep_test.main()
