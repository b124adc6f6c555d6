"""Models, optimizers and policies of every kind whose agents are killed, stopped, and come and go: the same bits."""

import instep_test
from faults_case import FaultCase
from instep_test import INSTEP
from run_case import RESNET

JOB = """\
version = 1
epochs = 9
batch = 64
shards = 4
evaluate_each_epoch = false
[data]
format = "synthetic"
samples = 640
test_samples_count = 100
[optimizer]
kind = "adam"
lr = 0.01
[checkpoint]
every_rounds = 25
"""
FAULTS = ("kill 1 at 33; kill 0 at 71", "kill 2 at 18; hang 0 at 44 for 1min; leave 1 at 60",
          "kill 0 at 12; kill 1 at 12; kill 2 at 12")
PROGRAM = INSTEP.parent.parent / "tests/train_test"


class Models(FaultCase):
    def setUp(self):
        super().setUp()
        self.job = self.job_file(JOB)

    def same(self, sets, n=3):
        mlp = {"model.kind": "mlp", "model.layers": [20, 2000, 2]}
        sets = {"faults.patience": 3, **({} if "model.kind" in sets else mlp), **sets}
        calm = self.undisturbed(sets)
        for faults in FAULTS:
            with self.subTest(sets=sets, n=n, faults=faults):
                report = self.disturbed("--fault", faults, n=n, sets=sets)
                self.nothing_was_lost(report, calm)
                self.assertGreaterEqual(self.kinds(report).count("died"), 1)

    def test_carried_buffers(self):
        self.same({**RESNET, "epochs": 14})

    def test_momentum(self):
        self.same({"optimizer.kind": "sgd", "optimizer.momentum": 0.9, "optimizer.lr": 0.05, "epochs": 9})

    def test_average(self):
        self.same({"optimizer.kind": "adamw", "optimizer.weight_decay": 0.1, "ema.decay": 0.99, "epochs": 9})

    def test_accumulation(self):
        self.same({"accumulate": 4, "epochs": 9})

    def test_codecs(self):
        # Residuals are state, and change hands with their slices.
        self.same({"codec.kind": "top-k", "codec.keep": 0.05, "epochs": 9})
        self.same({"codec.kind": "int8", "codec.nodes": 2, "optimizer.clip_norm": 0.5, "epochs": 9})

    def test_servers(self):
        self.same({"policy.kind": "parameter-server", "policy.servers": 2, "epochs": 9}, n=4)

    def test_dropout_and_a_validation_set(self):
        self.same({"model.dropout": 0.3, "split.validation": 0.2, "evaluate_each_epoch": True, "epochs": 9,
                   "schedule.kind": "cosine"})


class Programs(FaultCase):
    """A program of one's own, with a Trainer that stops early."""

    def fit(self, *arguments, n=3):
        run = self.new_path("run")
        self.run_instep("run", "-n", n, "--quiet", "--no-pin", "--run-dir", run, *arguments, "--", PROGRAM,
                        "--gtest_filter=TrainerProgramTest.StopsEarlyAndRestores", "--gtest_brief=1")
        self.nothing_is_left()
        return self.report(run)

    def test_kills_and_restarts(self):
        calm = self.fit(n=1)
        for faults in ("kill 1 at 5; kill 0 at 12", "kill 0 at 7; kill 1 at 7; kill 2 at 7", "hang 2 at 5 for 1min"):
            with self.subTest(faults):
                report = self.fit("--fault", faults, "--set", "faults.patience=1")
                self.nothing_was_lost(report, calm)
                self.assertTrue({"died", "hung"} & set(self.kinds(report)))


if __name__ == "__main__":
    instep_test.main()
