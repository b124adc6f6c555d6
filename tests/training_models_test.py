"""Convolutions, transformers, recurrent networks and TorchScript through the built program: they learn, with the
same bits on any number of agents, under each policy, and across resume."""

# ctest: SKIP_RETURN_CODE 77
import numpy as np
from safetensors.numpy import load_file

import instep_test
from torch_case import TorchCase, torch

JOB = """\
version = 1
epochs = 2
batch = 16
shards = 4
[data]
format = "synthetic"
samples = 96
test_samples_count = 24
classes = 3
[optimizer]
kind = "adam"
lr = 0.01
"""
GPT = {"model.kind": "gpt", "model.layers": 2, "model.width": 16, "model.heads": 2, "model.context": 16,
       "model.dropout": 0.1, "optimizer.kind": "adamw", "optimizer.weight_decay": 0.1, "optimizer.clip_norm": 0.5,
       "data.format": "text"}
TEXT = "a rose is a rose is a rose, and so is the next rose in the row of roses. " * 30


class Models(TorchCase):
    def setUp(self):
        super().setUp()
        self.job = self.job_file(JOB)

    def same_bits(self, sets, agents=(2, 3, 5), everywhere=True):
        """On these numbers of agents as on one; `everywhere`: under another policy and resumed in the middle, too."""
        alone = self.train(self.job, 1, sets)
        for n in agents:
            self.assert_same_bits(alone, self.train(self.job, n, sets), f"{n} agents")
        if not everywhere:
            return
        servers = {**sets, "policy.kind": "parameter-server", "policy.servers": 2}
        self.assertEqual(self.train(self.job, 3, servers)["state_sha256"], alone["state_sha256"])
        half = self.train(self.job, 2, {**sets, "epochs": 1})
        resumed = self.resume(half["run_dir"], 3, {"epochs": 2})
        self.assertEqual(resumed["state_sha256"], alone["state_sha256"], "resumed")

    def learns(self, sets, below):
        report = self.train(self.job, 2, sets)
        losses = report["train"]["loss"]
        self.assertLess(losses[-1], below * losses[0], losses)
        return report

    def text(self):
        path = self.new_path("text.txt")
        path.write_text(TEXT)
        return {"data.train_samples": str(path)}

    def test_gpt(self):
        sets = {**GPT, **self.text()}
        self.same_bits(sets)
        report = self.learns({**sets, "epochs": 6}, 0.7)
        self.assertEqual(report["job"]["model"]["layers"], [2])
        weights = load_file(report["checkpoint"] + "/model.safetensors")
        self.assertEqual(weights["transformer.h.1.attn.c_attn.weight"].shape, (48, 16))

    def test_lstm(self):
        values = {"model.kind": "lstm", "model.inputs": 3, "model.outputs": 3, "model.width": 12,
                  "model.dropout": 0.2, "data.shape": [6, 3], "data.noise": 0.5}
        self.same_bits(values, (3,), everywhere=False)
        report = self.learns({**values, "epochs": 8}, 0.7)
        self.assertGreater(report["test"]["accuracy"], 0.8)
        text = {**self.text(), "model.kind": "lstm", "model.width": 24, "data.format": "text", "data.context": 16}
        self.same_bits(text, (2,), everywhere=False)
        self.learns({**text, "epochs": 6}, 0.7)

    def test_resnet20(self):
        sets = {"model.kind": "resnet20", "model.outputs": 3, "data.shape": [3, 8, 8], "data.noise": 0.5,
                "optimizer.kind": "sgd", "optimizer.lr": 0.05, "optimizer.momentum": 0.9,
                "optimizer.nesterov": True}
        self.same_bits(sets, (3,))
        report = self.learns({**sets, "epochs": 4}, 0.7)
        self.assertGreater(report["test"]["accuracy"], 0.5)
        weights = load_file(report["checkpoint"] + "/model.safetensors")
        self.assertTrue(np.abs(weights["bn1.running_mean"]).max() > 0)

    def test_torchscript(self):
        module = torch.nn.Sequential(torch.nn.Linear(20, 32), torch.nn.BatchNorm1d(32), torch.nn.ReLU(),
                                     torch.nn.Dropout(0.2), torch.nn.Linear(32, 3))
        module[4].bias.requires_grad_(False)
        sets = {"model.kind": "torchscript", "model.file": str(self.script(module)), "data.features": 20,
                "data.noise": 0.5}
        self.same_bits(sets)
        report = self.learns({**sets, "epochs": 4}, 0.8)
        weights = load_file(report["checkpoint"] + "/model.safetensors")
        self.assertEqual(set(weights), set(module.state_dict()))
        np.testing.assert_array_equal(weights["4.bias"], module[4].bias, "what is frozen stays")
        self.assertFalse(np.array_equal(weights["0.weight"], module[0].weight.detach()))

    def test_the_default_is_drawn_from_the_seed(self):
        sets = {**GPT, **self.text(), "epochs": 1}
        one = self.train(self.job, 1, sets)
        self.assertNotEqual(one["parameters_sha256"], self.train(self.job, 1, {**sets, "seed": 2})["parameters_sha256"])


class Misfits(TorchCase):
    """A model and its data that do not fit each other are one error that says what to set."""

    def refused(self, sets, *parts):
        result = self.run_instep("run", self.job_file(JOB), "--quiet", "--no-pin", "-n", 1, "--run-dir",
                                 self.new_path("run"), *instep_test.settings(sets), code=2)
        self.assertEqual(len(result.err.splitlines()), 1, result)
        for part in parts:
            self.assertIn(part, result.err)

    def test_each_says_what_to_set(self):
        text = self.new_path("text.txt")
        text.write_text(TEXT)
        for sets, *parts in (
                ({"model.kind": "resnet20", "data.shape": [1, 8, 8]}, "set model.channels = 1"),
                ({"model.kind": "resnet20", "data.shape": [48]}, "images of [channels, height, width]", "[48]"),
                ({"model.kind": "resnet20", "data.shape": [3, 8, 8], "model.outputs": 2}, "model.outputs", "3 classes"),
                ({"model.kind": "lstm", "model.inputs": 4, "data.shape": [6, 3]}, "model.inputs is 4", "[6, 3]"),
                ({"model.kind": "lstm", "model.inputs": 3, "data.shape": [6, 3], "model.outputs": 2},
                 "model.outputs", "3 classes")):
            with self.subTest(str(sets)):
                self.refused(sets, *parts)


if __name__ == "__main__":
    instep_test.main()
