"""Metrics of evaluations against numpy on the same weights, and a learning rate that follows them."""

import math
import shutil

import numpy as np
from safetensors.numpy import load_file

import instep_test
import reference

SIZE, TEST, FEATURES = 90, 47, 3


def macro(actual, answers, classes):
    """Precision, recall and F1: means over the classes that occur, a quotient by zero being 0."""
    rows = []
    for k in classes:
        both = float(((actual == k) & (answers == k)).sum())
        due, said = float((actual == k).sum()), float((answers == k).sum())
        if due + said > 0:
            rows.append((both / said if said else 0, both / due if due else 0, 2 * both / (due + said)))
    return dict(zip(("precision", "recall", "f1"), np.mean(rows, 0)))


def area(scores, yes):
    """The part of the pairs of a yes and a no that the scores put in order."""
    above, below = scores[yes][:, None], scores[~yes][None]
    return float(((above > below) + 0.5 * (above == below)).mean())


class Metrics(instep_test.Case):
    def setUp(self):
        super().setUp()
        random = np.random.default_rng(11)
        self.x = random.normal(0, 1, (SIZE, FEATURES)).astype(np.float32)
        z = self.x @ random.normal(0, 1, (FEATURES, 4)) + 0.5 * random.normal(0, 1, (SIZE, 4))
        self.y = {"cross-entropy": z.argmax(1), "bce": (z[:, 0] > 0.3).astype(int), "huber": z[:, 0]}

    def csv(self, x, y=None):
        lines = [",".join([f"x{i}" for i in range(FEATURES)] + ["y"] * (y is not None))]
        for i, row in enumerate(x):
            lines.append(",".join([repr(float(v)) for v in row] + ([] if y is None else [str(y[i])])))
        path = self.new_path("data.csv")
        path.write_text("\n".join(lines) + "\n")
        return path

    def job(self, loss, outputs, metrics, more=""):
        y = self.y[loss]
        return self.job_file(f"""\
version = 1
epochs = 6
batch = 16
shards = 4
eval_batch = 7
loss = "{loss}"
metrics = {metrics}
top_k = 2
{more}
[model]
kind = "mlp"
layers = [{FEATURES}, 6, {outputs}]
[optimizer]
lr = 0.3
[data]
format = "csv"
train_samples = "{self.csv(self.x, y)}"
test_samples = "{self.csv(self.x[:TEST], y[:TEST])}"
""")

    def trained(self, job):
        """The test set's metrics, which are the same on any number of agents, and the weights."""
        report = self.train(job, 2)
        self.assert_same_bits(report, self.train(job, 3))
        for n in (1, 2, 3, 5):
            self.assertEqual(self.evaluate(report["checkpoint"], n)["test"], report["test"], n)
        return report, load_file(report["checkpoint"] + "/model.safetensors")

    def assert_metrics(self, found, expected):
        self.assertEqual(set(found), set(expected))
        for name, value in expected.items():
            self.assertAlmostEqual(found[name], value, delta=2e-5 * max(1, abs(value)), msg=name)

    def test_of_classes(self):
        metrics = ["accuracy", "top-k", "precision", "recall", "f1", "auc", "perplexity"]
        job = self.job("cross-entropy", 4, metrics, "label_smoothing = 0.2")
        report, weights = self.trained(job)
        y = self.y["cross-entropy"][:TEST]
        outputs = reference.forward(reference.doubles(weights), self.x[:TEST], reference.relu)[-1]
        loss = reference.loss("cross-entropy", outputs, y)[0]  # told without the smoothing
        answers = outputs.argmax(1)
        p = reference.softmax(outputs)
        rank = (outputs > outputs[np.arange(TEST), y][:, None]).sum(1)
        self.assert_metrics(report["test"], {
            "loss": loss, "perplexity": math.exp(loss), "accuracy": (answers == y).mean(),
            "top_2": (rank < 2).mean(), "auc": np.mean([area(p[:, k], y == k) for k in range(4)]),
            **macro(y, answers, range(4))})
        shown = self.run_instep("eval", report["checkpoint"], "-n", 1, "--no-pin").out
        for name, value in report["test"].items():
            self.assertIn(f"{name} {round(value, 4):g}", shown)

    def test_of_yes_and_no(self):
        report, _ = self.trained(self.job("bce", 1, ["accuracy", "precision", "recall", "f1", "auc"]))
        inputs = self.csv(self.x[:TEST])
        printed = self.run_instep("predict", report["checkpoint"], inputs).out
        p = np.array([float(line) for line in printed.split()])
        y = self.y["bce"][:TEST]
        self.assert_metrics(report["test"], {
            "loss": -np.log(np.where(y == 1, p, 1 - p)).mean(), "accuracy": ((p > 0.5) == y).mean(),
            "auc": area(p, y == 1), **macro(y, (p > 0.5).astype(int), [1])})

    def test_of_values(self):
        report, _ = self.trained(self.job("huber", 1, ["mae"]))
        printed = self.run_instep("predict", report["checkpoint"], self.csv(self.x[:TEST])).out
        errors = np.abs(np.array([float(line) for line in printed.split()]) - self.y["huber"][:TEST])
        self.assert_metrics(report["test"], {
            "loss": np.where(errors < 1, errors**2 / 2, errors - 0.5).mean(), "mae": errors.mean()})

    def test_any_of_them_is_judged(self):
        job = self.job("cross-entropy", 4, ["top-k", "perplexity"])
        report = self.train(job, 2, {"stop.metric": "perplexity", "stop.target": 3.9, "epochs": 40})
        values = [epoch["test"]["perplexity"] for epoch in self.epochs(report["run_dir"])]
        self.assertRegex(report["stopped"], "perplexity .* reached the target 3.9")
        self.assertLessEqual(values[-1], 3.9)
        self.assertTrue(all(value > 3.9 for value in values[:-1]), values)
        report = self.train(job, 1, {"stop.metric": "top-k", "checkpoint.keep_last": 1})
        values = [epoch["test"]["top_2"] for epoch in self.epochs(report["run_dir"])]
        best = max(range(len(values)), key=lambda i: (values[i], i))
        rounds = {int(folder.name.removeprefix("round-"))
                  for folder in (self.folder / report["run_dir"] / "checkpoints").iterdir()}
        self.assertEqual(rounds, {6 * (best + 1), 36})

    def test_mistakes(self):
        job = self.job("cross-entropy", 4, ["accuracy"])
        for sets, said in (({"metrics": ["mae"]}, "metrics: found mae, which loss cross-entropy"),
                           ({"metrics": ["top-k"], "top_k": 4}, "top_k: found 4 for a model of 4 outputs"),
                           ({"stop.metric": "auc", "stop.target": 0.9}, "found auc, which is not measured"),
                           ({"schedule.kind": "plateau", "evaluate_each_epoch": False},
                            "evaluate_each_epoch: schedule.kind"),
                           ({"schedule.kind": "plateau", "schedule.gamma": 1.5}, "allowed below 1")):
            with self.subTest(said):
                result = self.run_instep("run", job, "--run-dir", self.new_path("run"),
                                         *instep_test.settings(sets), code=2)
                self.assertIn(said, result.err)
                self.assertEqual(len(result.err.splitlines()), 1, result)


class Plateau(instep_test.Case):
    SETS = {"epochs": 9, "schedule.kind": "plateau", "schedule.gamma": 0.5, "schedule.final_factor": 0.2,
            "schedule.patience_epochs": 1, "stop.metric": "loss", "optimizer.lr": 1.0,
            "checkpoint.every_rounds": 3, "checkpoint.keep_last": 99}

    def job(self):
        return self.job_file("""\
version = 1
batch = 16
shards = 4
[model]
kind = "mlp"
layers = [6, 8, 3]
[data]
format = "synthetic"
samples = 64
test_samples_count = 60
features = 6
noise = 3.0
""")

    def falls(self, losses):
        """The learning rates' factor after each epoch."""
        factor, best, out = 1.0, math.inf, []
        for loss in losses:
            if loss >= best:
                factor = max(0.5 * factor, 0.2)
            best = min(best, loss)
            out.append(factor)
        return out

    def check(self, report, losses):
        factors = [1.0, *self.falls(losses)[:-1]]
        due = [f"every learning rate is now {after:g} of its own, and was {before:g}"
               for before, after in zip(factors, factors[1:]) if before != after]
        found = [event["reason"] for event in report["events"] if event["kind"] == "learning rate"]
        self.assertEqual(found, due)
        self.assertGreater(len(due), 1)

    def test_follows_the_test_set_on_any_agents_and_across_a_resume(self):
        job = self.job()
        straight = self.train(job, 1, self.SETS)
        self.check(straight, [epoch["test"]["loss"] for epoch in self.epochs(straight["run_dir"])])
        self.assert_same_bits(straight, self.train(job, 3, self.SETS))
        constant = self.train(job, 1, {**self.SETS, "schedule.kind": "constant"})
        self.assertNotEqual(straight["state_sha256"], constant["state_sha256"])
        for cut in (12, 27):  # at the end of an epoch, and within one
            with self.subTest(cut):
                run = self.new_path("run")
                shutil.copytree(straight["run_dir"], run)
                for folder in (run / "checkpoints").iterdir():
                    if int(folder.name.removeprefix("round-")) > cut:
                        shutil.rmtree(folder)
                (run / "report.json").unlink()
                self.assert_same_bits(straight, self.resume(run, 3))

    def test_follows_the_training_loss_where_there_is_no_set(self):
        report = self.train(self.job(), 2, {**self.SETS, "data.test_samples_count": 0, "optimizer.lr": 3.0})
        self.check(report, report["train"]["loss"])


if __name__ == "__main__":
    instep_test.main()
