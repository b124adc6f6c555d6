"""instep export: what Python loads gives the same outputs as instep predict."""

# ctest: SKIP_RETURN_CODE 77
import hashlib
import importlib.util
import json
import pathlib

import numpy as np
from safetensors.numpy import load_file

import instep_test
from torch_case import TorchCase, torch

JOB = """\
version = 1
epochs = 1
batch = 16
shards = 2
loss = "mse"
[data]
format = "synthetic"
samples = 64
test_samples_count = 16
[optimizer]
kind = "adam"
lr = 0.01
"""
CLASSES = {"loss": "cross-entropy"}
TEXT = "the quick brown fox jumps over the lazy dog, and the dog does not mind at all. " * 40


def load(folder):
    """The module that the export's own model.py gives."""
    spec = importlib.util.spec_from_file_location("exported", pathlib.Path(folder) / "model.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.load(folder)


class Export(TorchCase):
    def export(self, run, *flags):
        folder = self.new_path("export") / "deep"
        self.run_instep("export", run, "-o", folder, *flags)
        return folder

    def trained(self, sets):
        return self.train(self.job_file(JOB), 2, sets)

    def outputs(self, model, x):
        with torch.inference_mode():
            return model(torch.from_numpy(x)).numpy()

    def assert_same_outputs(self, report, samples, x):
        """On values with loss mse, which predict prints to the bit."""
        folder = self.export(report["run_dir"])
        model = load(folder)
        self.assertFalse(model.training)
        printed = self.predict(report["run_dir"], samples).astype(np.float32)
        np.testing.assert_array_equal(printed, self.outputs(model, x))
        weights = load_file(folder / "model.safetensors")
        trained = load_file(pathlib.Path(report["checkpoint"]) / "model.safetensors")
        self.assertEqual(set(weights), set(trained))
        self.assertEqual(set(weights), set(model.state_dict()))
        for name, value in weights.items():
            np.testing.assert_array_equal(value, trained[name])
        trained = json.loads((pathlib.Path(report["run_dir"]) / "job.json").read_text())
        self.assertEqual(json.loads((folder / "job.json").read_text()), trained)

    def test_mlp(self):
        x = self.normal(33, 6)
        for activation in ("relu", "gelu"):
            report = self.trained({"model.kind": "mlp", "model.layers": [6, 17, 9, 1], "data.features": 6,
                                   "model.activation": activation})
            self.assert_same_outputs(report, self.csv(x), x)

    def test_lstm_on_values(self):
        x = self.normal(9, 5, 4)
        report = self.trained({"model.kind": "lstm", "model.inputs": 4, "model.outputs": 1, "model.width": 12,
                               "model.dropout": 0.2, "data.shape": [5, 4]})
        self.assert_same_outputs(report, self.csv(x.reshape(9, 20)), x)

    def test_resnet20(self):
        x = self.normal(5, 3, 12, 12)
        report = self.trained({"model.kind": "resnet20", "model.outputs": 1, "data.shape": [3, 12, 12]})
        path = self.new_path("images.npy")
        np.save(path, x)
        npy = {"data.format": "npy", "data.train_samples": str(path)}
        report = self.train(self.job_file(JOB), 1, {
            **npy, "data.train_targets": str(self.targets(5)), "model.kind": "resnet20", "model.outputs": 1,
            "batch": 5, "model.init": report["checkpoint"] + "/model.safetensors"})
        self.assert_same_outputs(report, path, x)

    def targets(self, n):
        path = self.new_path("targets.npy")
        np.save(path, self.normal(n, 1))
        return path

    def test_tokens(self):
        text = self.new_path("text.txt")
        text.write_text(TEXT)
        context = 24
        for kind, more in (("gpt", {"model.heads": 2}), ("lstm", {})):
            report = self.trained({**CLASSES, **more, "model.kind": kind, "model.width": 16, "model.layers": 2,
                                   "model.dropout": 0.1, "model.context": context, "data.format": "text",
                                   "data.train_samples": str(text)})
            model = load(self.export(report["run_dir"]))
            tokens = np.frombuffer(TEXT.encode(), np.uint8).astype(np.int64)
            rows = (len(tokens) - 1) // context
            x = tokens[:rows * context].reshape(rows, context)
            y = torch.from_numpy(tokens[1:rows * context + 1])
            logits = torch.from_numpy(self.outputs(model, x))
            losses = torch.nn.functional.cross_entropy(logits.flatten(0, 1), y, reduction="none")
            losses = losses.view(rows, context).double().mean(1)
            printed = self.predict(report["run_dir"], text)
            np.testing.assert_allclose(printed[:, 0], losses, rtol=0, atol=1e-5)
            np.testing.assert_allclose(printed[:, 1], losses.exp(), rtol=1e-5)

    def test_torchscript(self):
        module = torch.nn.Sequential(torch.nn.Linear(6, 20), torch.nn.BatchNorm1d(20), torch.nn.ReLU(),
                                     torch.nn.Dropout(0.2), torch.nn.Linear(20, 1))
        x = self.normal(33, 6)
        report = self.trained({"model.kind": "torchscript", "model.file": str(self.script(module)),
                               "data.features": 6})
        folder = self.export(report["run_dir"])
        self.assertFalse((folder / "model.py").exists())
        model = torch.jit.load(str(folder / "model.pt"))
        self.assertFalse(model.training)
        printed = self.predict(report["run_dir"], self.csv(x)).astype(np.float32)
        np.testing.assert_array_equal(printed, self.outputs(model, x))
        self.assertFalse(np.array_equal(printed, self.outputs(module.eval(), x)), "training changed it")
        for name, value in load_file(folder / "model.safetensors").items():
            np.testing.assert_array_equal(value, model.state_dict()[name].numpy())

    def test_averaged_weights(self):
        sets = {"model.kind": "mlp", "model.layers": [6, 5, 1], "data.features": 6}
        plain = self.trained(sets)
        result = self.run_instep("export", plain["run_dir"], "-o", self.new_path("none"), "--ema", code=2)
        self.assertIn("ema.decay", result.err)
        report = self.trained({**sets, "ema.decay": 0.5})
        checkpoint = pathlib.Path(report["checkpoint"])
        averages = {name.removesuffix(".ema"): value
                    for name, value in load_file(checkpoint / "state.safetensors").items()
                    if name.endswith(".ema")}
        self.assertEqual(set(averages), set(load_file(checkpoint / "model.safetensors")))
        model = load(self.export(report["run_dir"], "--ema"))
        for name, value in averages.items():
            np.testing.assert_array_equal(model.state_dict()[name].numpy(), value)
        # And they are what predict uses.
        x = self.normal(9, 6)
        printed = self.predict(report["run_dir"], self.csv(x)).astype(np.float32)
        np.testing.assert_array_equal(printed, self.outputs(model, x))
        trained = load(self.export(report["run_dir"]))
        self.assertFalse(np.array_equal(printed, self.outputs(trained, x)))


class Folders(TorchCase):
    def test_only_what_it_has_written_is_written_over(self):
        report = self.train(self.job_file(JOB), 1, {"model.kind": "mlp", "model.layers": [6, 1], "data.features": 6})
        folder = self.new_path("export")
        result = self.run_instep("export", report["run_dir"], "-o", folder)
        self.assertIn("load(folder) gives the mlp", result.out)
        self.assertEqual(sorted(path.name for path in folder.iterdir()),
                         ["job.json", "model.py", "model.safetensors"])
        self.assertEqual(self.run_instep("export", report["run_dir"], "-o", folder, "--quiet").out, "")
        for name in ("model.py", "job.json", "model.safetensors", "model.pt"):
            with self.subTest(name):
                taken = self.new_path("taken")
                taken.mkdir()
                (taken / name).write_text("print('mine')\n")
                result = self.run_instep("export", report["run_dir"], "-o", taken, code=2)
                self.assertIn(f"{name} is there and was not exported by instep", result.err)
                self.assertEqual(len(result.err.splitlines()), 1, result)
                self.assertEqual([path.name for path in taken.iterdir()], [name])
        for folder in (report["run_dir"], report["checkpoint"]):
            result = self.run_instep("export", report["run_dir"], "-o", folder, code=2)
            self.assertIn("choose another folder", result.err)
        result = self.run_instep("export", report["run_dir"], "-o", "/proc/none", code=None)
        self.assertIn("/proc/none", result.err)
        self.assertEqual(len(result.err.splitlines()), 1, result)

    def test_of_a_programs_own_model_the_weights_are_all(self):
        report = self.train(self.job_file(JOB), 1, {"model.kind": "mlp", "model.layers": [6, 1], "data.features": 6})
        manifest = pathlib.Path(report["checkpoint"]) / "manifest.json"
        text = manifest.read_text()
        content = text[:text.rindex(',\n  "checksum"')]
        for old, new in ((r'\"kind\":\"mlp\"', r'\"kind\":\"\"'), (r'\"layers\":[6,1]', r'\"layers\":[]')):
            self.assertIn(old, content)
            content = content.replace(old, new)
        digest = hashlib.sha256(content.encode()).hexdigest()
        manifest.write_text(f'{content},\n  "checksum": "{digest}"\n}}\n')
        folder = self.new_path("export")
        result = self.run_instep("export", report["checkpoint"], "-o", folder)
        self.assertIn("the weights are all there is", result.out)
        self.assertEqual(sorted(path.name for path in folder.iterdir()), ["job.json", "model.safetensors"])

    def test_a_missing_checkpoint_or_folder_is_said(self):
        result = self.run_instep("export", self.new_path("none"), "-o", self.new_path("out"), code=2)
        self.assertIn("no run", result.err)
        result = self.run_instep("export", self.folder, code=2)
        self.assertIn("--output", result.err)


if __name__ == "__main__":
    instep_test.main()
