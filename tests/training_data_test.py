"""Data as a job may have them: synthetic sets, CSV, IDX; splits and partitions; eval and predict."""

# ctest: PROCESSORS 1
import gzip
import itertools
import pathlib

import numpy as np
from safetensors.numpy import load_file, save_file

import instep_test
import reference
from instep_test import MNIST

SYNTHETIC = """\
version = 1
epochs = 2
batch = 50
shards = 4
[model]
kind = "mlp"
layers = [6, 8, 3]
[data]
format = "synthetic"
samples = 410
test_samples_count = 90
features = 6
classes = 3
[optimizer]
kind = "adam"
lr = 0.03
"""


def read_idx(name, header):
    with gzip.open(MNIST / "data" / name) as file:
        return np.frombuffer(file.read(), np.uint8, offset=header)


class Synthetic(instep_test.Case):
    def same_on_1_and_3(self, job, sets):
        report = self.train(job, 1, sets)
        self.assert_same_bits(report, self.train(job, 3, sets), sets)
        return report

    def test_each_loss_learns(self):
        job = self.job_file(SYNTHETIC)
        for loss, outputs in (("cross-entropy", 3), ("bce", 1), ("mse", 1)):
            with self.subTest(loss):
                sets = {"loss": loss, "model.layers": [6, 8, outputs], "data.noise": 0.3,
                        "data.classes": 3 if loss == "cross-entropy" else 0, "epochs": 6}
                report = self.same_on_1_and_3(job, sets)
                self.assert_every_sample_once(report, 6 * 410)
                losses = report["train"]["loss"]
                self.assertLess(losses[-1], 0.6 * losses[0])
                if loss != "mse":
                    self.assertGreater(report["test"]["accuracy"], 0.9)

    def test_partitions(self):
        job = self.job_file(SYNTHETIC)
        found = set()
        for strategy in ("contiguous", "round-robin", "random", "stratified"):
            report = self.same_on_1_and_3(job, {"partition.strategy": strategy, "split.validation": 0.1})
            self.assert_every_sample_once(report, 2 * 369)
            found.add(report["parameters_sha256"])
        self.assertEqual(len(found), 4, "each strategy gives shards other samples")


class Splits(instep_test.Case):
    def shares(self, seed, stratified):
        """The share of class 0, 30 of 200 samples, in the validation and the test set: a model that
        always says 0 and learns nothing is right so often."""
        rows = ["x,y"] + [f"{i},{0 if i % 20 < 3 else 1 + i % 2}" for i in range(200)]
        data = self.new_path("data.csv")
        data.write_text("\n".join(rows) + "\n")
        weights = self.new_path("init.safetensors")
        save_file({"0.weight": np.zeros((3, 1), np.float32), "0.bias": np.array([1, 0, 0], np.float32)}, weights)
        job = self.job_file(f"""\
batch = 40
shards = 4
seed = {seed}
[model]
kind = "mlp"
layers = [1, 3]
init = "{weights}"
[data]
format = "csv"
train_samples = "{data}"
[split]
validation = 0.3
test = 0.2
stratified = {str(stratified).lower()}
[optimizer]
lr = 0.0
""")
        report = self.train(job, 2)
        self.assert_every_sample_once(report, 100)
        return report["validation"]["accuracy"], report["test"]["accuracy"]

    def test_stratified_keeps_shares_and_plain_does_not(self):
        plain = set()
        for seed in (1, 2, 3):
            validation, test = self.shares(seed, True)
            self.assertAlmostEqual(validation, 0.15, delta=2.1 / 60)
            self.assertAlmostEqual(test, 0.15, delta=2.1 / 40)
            plain.add(self.shares(seed, False))
        self.assertGreater(len(plain), 1, "the seed decides who is in a set")


class Checkpoints(instep_test.Case):
    def test_weights_in_python_eval_and_predict(self):
        sets = {"epochs": 1, "batch": 100, "data.limit": 6000, "split.validation": 0.15, "split.stratified": True,
                "partition.strategy": "stratified"}
        report = self.train(MNIST, 2, sets)
        # instep's own evaluation, on other numbers of agents, to the bit.
        for n in (1, 3):
            found = self.evaluate(report["checkpoint"] if n == 1 else report["run_dir"], n)
            for key in ("validation", "test", "parameters_sha256", "state_sha256", "job_hash"):
                self.assertEqual(found[key], report[key], f"{key} on {n} agents")
        # The same in Python, from the weights that its safetensors package finds.
        weights = load_file(report["checkpoint"] + "/model.safetensors")
        shapes = {name: value.shape for name, value in weights.items()}
        self.assertEqual(shapes, {"0.weight": (64, 784), "0.bias": (64,), "2.weight": (10, 64), "2.bias": (10,)})
        self.assertEqual({value.dtype for value in weights.values()}, {np.dtype(np.float32)})
        x = read_idx("t10k-images-idx3-ubyte.gz", 16).reshape(-1, 784) / 255
        y = read_idx("t10k-labels-idx1-ubyte.gz", 8)
        outputs = reference.forward(reference.doubles(weights), x, reference.relu)[-1]
        self.assertAlmostEqual(report["test"]["loss"], reference.loss("cross-entropy", outputs, y)[0], delta=1e-5)
        self.assertAlmostEqual(report["test"]["accuracy"], reference.accuracy("cross-entropy", outputs, y),
                               delta=2e-4)
        # Predictions: one line a sample, class and probability.
        result = self.run_instep("predict", report["run_dir"], MNIST / "data/t10k-images-idx3-ubyte.gz")
        lines = [line.split() for line in result.out.splitlines()]
        labels = np.array([int(label) for label, _ in lines])
        self.assertEqual(len(labels), 10000)
        self.assertEqual(float((labels == y).mean()), report["test"]["accuracy"])
        probabilities = reference.softmax(outputs)
        for row, (label, probability) in enumerate(itertools.islice(lines, 500)):
            self.assertAlmostEqual(float(probability), probabilities[row, int(label)], delta=2e-5)

    def test_predict_numbers_from_csv(self):
        job = self.job_file(SYNTHETIC)
        x = np.random.default_rng(1).normal(0, 1, (5, 6)).astype(np.float32)
        samples = self.new_path("samples.csv")
        header = ",".join(f"x{i}" for i in range(6))
        np.savetxt(samples, x, "%.9g", ",", header=header, comments="")
        for loss in ("mse", "bce"):
            report = self.train(job, 2, {"loss": loss, "model.layers": [6, 8, 2, 1], "data.classes": 0,
                                         "epochs": 1})
            weights = reference.doubles(load_file(report["checkpoint"] + "/model.safetensors"))
            outputs = reference.forward(weights, x, reference.relu)[-1][:, 0]
            found = self.run_instep("predict", report["checkpoint"], samples).out.split()
            expected = outputs if loss == "mse" else 1 / (1 + np.exp(-outputs))
            np.testing.assert_allclose([float(word) for word in found], expected, rtol=1e-5, atol=1e-6)


class Best(instep_test.Case):
    def test_best_checkpoints_are_kept_by_the_stop_metric(self):
        # Too many epochs for a hundred noisy samples: the loss rises again long before the accuracy falls.
        # The checkpoint in the middle of each epoch was never evaluated, so it cannot be the best.
        job = self.job_file(SYNTHETIC)
        sets = {"epochs": 16, "optimizer.lr": 0.05, "data.noise": 2, "data.samples": 200, "split.validation": 0.5,
                "checkpoint.every_rounds": 1, "checkpoint.keep_last": 1, "checkpoint.keep_best": 1}
        best = {}
        for metric, sign in (("accuracy", -1), ("loss", 1)):
            report = self.train(job, 1, {**sets, "stop.metric": metric})
            values = {epoch["round"]: sign * epoch["validation"][metric]
                      for epoch in self.epochs(report["run_dir"])}
            kept = {int(path.name.removeprefix("round-"))
                    for path in (pathlib.Path(report["run_dir"]) / "checkpoints").iterdir()}
            kept.remove(report["rounds"])
            self.assertEqual(len(kept), 1, kept)
            best[metric] = kept.pop()
            self.assertEqual(values[best[metric]], min(values.values()))
        self.assertLess(best["loss"], best["accuracy"], "this job does not tell the metrics apart")


if __name__ == "__main__":
    instep_test.main()
