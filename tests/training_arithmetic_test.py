"""Losses, optimizers, groups, clipping, schedules and stop rules against tests/reference.py.

All samples are one batch, so that a round is an epoch of data and the order of samples is of no concern.
"""

# ctest: PROCESSORS 1
import math

import numpy as np
from safetensors.numpy import load_file, save_file

import instep_test
import reference

SIZE, FEATURES, ROUNDS = 30, 3, 12
LAYERS = {"mse": [FEATURES, 5, 1], "bce": [FEATURES, 5, 1], "cross-entropy": [FEATURES, 5, 4, 3]}
SGD = {"kind": "sgd", "lr": 0.2}


class Arithmetic(instep_test.Case):
    def setUp(self):
        super().setUp()
        random = np.random.default_rng(7)
        self.x = random.normal(0, 1, (SIZE, FEATURES)).astype(np.float32)
        z = self.x @ random.normal(0, 1, (FEATURES, 3)) + 0.3 * random.normal(0, 1, (SIZE, 3))
        self.y = {"mse": z[:, 0].astype(np.float32), "bce": (z[:, 0] > 0).astype(int),
                  "cross-entropy": z.argmax(1)}

    def csv(self, kind, target_first=False, rows=slice(None)):
        lines = [",".join([f"x{i}" for i in range(FEATURES)] + ["y"])]
        for x, y in zip(self.x[rows], self.y[kind][rows]):
            lines.append(",".join([repr(float(v)) for v in x] + [str(y)]))
        if target_first:
            lines = [",".join(line.split(",")[-1:] + line.split(",")[:-1]) for line in lines]
        path = self.new_path("data.csv")
        path.write_text("\n".join(lines) + "\n")
        return path

    def job(self, kind, optimizer, rounds=ROUNDS, **sets):
        """A job file and its initial parameters."""
        first = reference.initial(LAYERS[kind], 3)
        weights = self.new_path("init.safetensors")
        save_file(first, weights)
        path = self.job_file(f"""\
version = 1
epochs = {rounds}
batch = 32
shards = 4
loss = "{kind}"
[model]
kind = "mlp"
layers = {LAYERS[kind]}
activation = "tanh"
init = "{weights}"
[data]
format = "csv"
train_samples = "{self.csv(kind)}"
test_samples = "{self.csv(kind, rows=slice(0, 20))}"
""")
        sets = {**{f"optimizer.{key}": value for key, value in optimizer.items() if key != "group"}, **sets}
        groups = ", ".join("{" + ", ".join(f"{key}={value!r}" for key, value in group.items()) + "}"
                           for group in optimizer.get("group", []))
        return path, first, {**sets, "optimizer.group": f"[{groups}]"}

    def like_the_reference(self, kind, optimizer, n=2, factor=lambda round: 1.0, **sets):
        path, first, sets = self.job(kind, optimizer, **sets)
        report = self.train(path, n, sets)
        expected = reference.train(first, self.x, self.y[kind], kind, optimizer, ROUNDS, factor)
        self.assertEqual(report["rounds"], ROUNDS)
        np.testing.assert_allclose(report["train"]["loss"], expected.losses, rtol=1e-4)
        found = load_file(report["checkpoint"] + "/model.safetensors")
        self.assertEqual(set(found), set(first))
        for name, value in expected.parameters.items():
            self.assertEqual(found[name].shape, value.shape)
            moved = reference.norm([value - first[name]])
            self.assertLess(reference.norm([found[name] - value]), 2e-4 * moved + 1e-6, name)
        outputs = reference.forward(reference.doubles(found), self.x[:20])[-1]
        self.assertAlmostEqual(report["test"]["loss"], reference.loss(kind, outputs, self.y[kind][:20])[0],
                               delta=1e-5)
        if kind == "mse":
            self.assertNotIn("accuracy", report["test"])
        else:
            self.assertEqual(report["test"]["accuracy"],
                             reference.accuracy(kind, outputs, self.y[kind][:20]))
        return report, expected


class Losses(Arithmetic):
    def test_each_with_plain_sgd(self):
        for kind, n in (("mse", 1), ("bce", 2), ("cross-entropy", 3)):
            with self.subTest(kind):
                report, _ = self.like_the_reference(kind, SGD, n)
                self.assertLess(report["train"]["loss"][-1], 0.9 * report["train"]["loss"][0])

    def test_csv_target_column_and_scale(self):
        path, first, sets = self.job("mse", SGD)
        sets |= {"data.train_samples": str(self.csv("mse", target_first=True)), "data.test_samples": "",
                 "data.scale": 0.5, "data.shift": 0.25}
        expected = reference.train(first, self.x * 0.5 + 0.25, self.y["mse"], "mse", SGD, ROUNDS)
        by_name = self.train(path, 2, {**sets, "data.target_column": "y"})
        np.testing.assert_allclose(by_name["train"]["loss"], expected.losses, rtol=1e-4)
        by_number = self.train(path, 1, {**sets, "data.target_column": '"1"'})
        self.assertEqual(by_number["parameters_sha256"], by_name["parameters_sha256"])
        self.assertIsNone(by_name["test"])


class Optimizers(Arithmetic):
    def test_each(self):
        for n, optimizer in enumerate((
                {**SGD, "momentum": 0.8, "nesterov": True, "weight_decay": 0.05},
                {**SGD, "momentum": 0.8, "dampening": 0.3, "clip_norm": 0.2},
                {"kind": "adam", "lr": 0.02, "weight_decay": 0.1, "beta1": 0.8, "decay": "all"},
                {"kind": "adamw", "lr": 0.02, "weight_decay": 0.5, "eps": 1e-4, "clip_norm": 0.1})):
            with self.subTest(optimizer):
                self.like_the_reference("cross-entropy", optimizer, 1 + n % 3)

    def test_groups(self):
        for optimizer in (
                {**SGD, "momentum": 0.5, "group": [{"match": "*.bias", "momentum": 0.9, "lr": 0.05},
                                                   {"match": "0.*", "lr": 0.3, "weight_decay": 0.1}]},
                {"kind": "adamw", "lr": 0.02, "weight_decay": 0.5, "clip_norm": 0.3,
                 "group": [{"match": "*.bias", "weight_decay": 0.0}, {"match": "?.weight", "lr": 0.05}]}):
            with self.subTest(optimizer):
                self.like_the_reference("cross-entropy", optimizer, 3)


class Schedules(Arithmetic):
    def check(self, factor, **sets):
        _, expected = self.like_the_reference("mse", SGD, 2, factor, **sets)
        constant = reference.train(reference.initial(LAYERS["mse"], 3), self.x, self.y["mse"], "mse", SGD,
                                   ROUNDS)
        self.assertGreater(abs(expected.losses[-1] - constant.losses[-1]), 0.02 * constant.losses[-1])

    def test_constant_with_warm_up(self):
        self.check(lambda r: min(1, (r + 1) / 6), **{"schedule.warmup_rounds": 5})

    def test_step(self):
        self.check(lambda r: 0.3**(r // 4), **{"schedule.kind": "step", "schedule.step_epochs": 4,
                                               "schedule.gamma": 0.3})

    def test_cosine_with_warm_up(self):
        def factor(r):
            if r < 3:
                return (r + 1) / 4
            return 0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * (r - 3) / (ROUNDS - 1 - 3)))
        self.check(factor, **{"schedule.kind": "cosine", "schedule.warmup_rounds": 3,
                              "schedule.final_factor": 0.1})


class StopRules(Arithmetic):
    def stops(self, rule, rounds, said, optimizer=SGD, n=2):
        """The job, long enough for any rule, ends by it after so many rounds; the report is of then."""
        path, _, sets = self.job("cross-entropy", optimizer, 40)
        report = self.train(path, n, {**sets, **rule})
        self.assertEqual(report["rounds"], rounds, report["stopped"])
        self.assertRegex(report["stopped"], said)
        self.assertEqual(self.evaluate(report["checkpoint"], 1)["test"], report["test"])
        return report

    def expected(self, optimizer=SGD):
        return reference.train(reference.initial(LAYERS["cross-entropy"], 3), self.x,
                               self.y["cross-entropy"], "cross-entropy", optimizer, 40)

    def between(self, values, k):
        """A bound that value k of a falling sequence is the first to be below."""
        self.assertGreater(min(values[:k]), 1.001 * values[k])
        return (min(values[:k]) + values[k]) / 2

    def test_gradient_norm(self):
        bound = self.between(self.expected().norms, 15)
        self.stops({"stop.gradient_norm": bound}, 16, "gradient norm .* is below")
        clipped = {**SGD, "clip_norm": 0.1}
        bound = self.between(self.expected(clipped).norms, 20)
        self.stops({"stop.gradient_norm": bound}, 21, "gradient norm .* is below", clipped, 3)

    def test_parameter_change(self):
        bound = self.between(self.expected().changes, 12)
        self.stops({"stop.parameter_change": bound}, 13, "parameter change .* is below")
        decaying = {"kind": "adam", "lr": 0.05}
        changes = self.expected(decaying).changes
        first = next(i for i in range(1, 39) if changes[i] < 0.999 * min(changes[:i]))
        self.stops({"stop.parameter_change": self.between(changes, first)}, first + 1,
                   "parameter change .* is below", decaying, 1)

    def test_target(self):
        path, _, sets = self.job("cross-entropy", SGD, 40)
        losses = [epoch["test"]["loss"] for epoch in self.epochs(self.train(path, 1, sets)["run_dir"])]
        bound = self.between(losses, 9)
        self.stops({"stop.metric": "loss", "stop.target": bound}, 10, "loss .* reached the target")

    def test_target_accuracy(self):
        path, _, sets = self.job("cross-entropy", SGD, 40)
        accuracies = [epoch["test"]["accuracy"] for epoch in
                      self.epochs(self.train(path, 1, sets)["run_dir"])]
        best = max(accuracies)
        self.assertLess(accuracies[0], best)
        self.stops({"stop.target": best}, accuracies.index(best) + 1, "accuracy .* reached the target")

    def test_no_improvement(self):
        for metric in ("accuracy", "loss"):
            self.stops({"stop.metric": metric, "stop.patience_epochs": 3, "optimizer.lr": 0}, 4,
                       f"no better {metric} for 3 epochs")

    def test_wall_time_and_going_on(self):
        path, _, sets = self.job("cross-entropy", SGD, 100000)
        sets |= {"evaluate_each_epoch": False, "checkpoint.every_epochs": 0}
        report = self.train(path, 2, {**sets, "stop.wall_seconds": 0.001})
        self.assertEqual(report["stopped"], "wall time")
        rounds = report["rounds"]
        self.assertTrue(0 < rounds < 100000, rounds)
        self.assertEqual(self.evaluate(report["checkpoint"], 1)["test"], report["test"])
        more = {"epochs": rounds + 5}
        resumed = self.resume(report["run_dir"], 1, {**more, "stop.wall_seconds": 0})
        self.assertEqual(resumed["stopped"], "")
        self.assert_same_bits(self.train(path, 3, {**sets, **more}), resumed)


if __name__ == "__main__":
    instep_test.main()
