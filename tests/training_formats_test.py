"""Formats of data: the same samples as IDX, NPY, NPZ and CIFAR train the same parameters; synthetic images;
predictions from each; what `instep check` says of text."""

# ctest: PROCESSORS 1
import gzip
import struct

import numpy as np

import instep_test
from run_case import RunCase

SIDE, CLASSES = 4, 3
JOB = """\
version = 1
epochs = 2
batch = 24
shards = 4
[model]
kind = "mlp"
layers = [16, 8, 3]
[optimizer]
kind = "adam"
lr = 0.01
"""
IMAGES = """\
version = 1
epochs = 2
batch = 128
shards = 4
[model]
kind = "mlp"
layers = [3072, 8, 10]
[data]
format = "cifar"
[optimizer]
kind = "adam"
lr = 0.001
"""
TEXT = """\
batch = 16
shards = 4
[model]
kind = "gpt"
context = 32
[data]
format = "text"
"""


def idx(values):
    return struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape) + values.tobytes()


def records(images, labels, coarse=None):
    """The binary version of CIFAR: one or two labels, then the image."""
    columns = [labels[:, None], images.reshape(len(images), -1)]
    if coarse is not None:
        columns.insert(0, np.full_like(labels, coarse)[:, None])
    return np.concatenate(columns, 1).astype(np.uint8).tobytes()


class Case(RunCase):
    def setUp(self):
        super().setUp()
        self.random = np.random.default_rng(5)

    def save(self, name, content):
        path = self.new_path(name)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            np.save(path, content)
        return str(path)


class SameData(Case):
    def test_each_format_trains_the_same_parameters(self):
        x = self.random.integers(0, 256, (110, SIDE, SIDE), np.uint8)
        y = self.random.integers(0, CLASSES, 110, np.uint8)
        floats = x.astype(np.float32) * np.float32(1 / 255)
        packed, stored = self.new_path("packed.npz"), self.new_path("stored.archive")
        np.savez_compressed(packed, x=x, y=y.astype(np.int64))
        with open(stored, "wb") as file:  # the name does not matter
            np.savez(file, labels=y.astype(np.int16), images=floats)
        bytes_as = {"data.scale": 1 / 255}
        keys = {"data.samples_key": "images", "data.targets_key": "labels"}
        pairs = {
            "idx": ("idx", self.save("x", idx(x)), self.save("y", gzip.compress(idx(y))), {}),
            "npy of bytes": ("npy", self.save("x.npy", x), self.save("y.npy", y), bytes_as),
            "npy of floats": ("npy", self.save("f.npy", floats), self.save("y.npy", y.astype(np.uint32)), {}),
            "npy of doubles": ("npy", self.save("d.npy", floats.astype(np.float64)),
                               self.save("y.npy", y[:, None].astype(np.int64)), {}),
            "npz, deflated": ("npz", str(packed), "", bytes_as),
            "npz, stored": ("npz", str(stored), "", keys)}
        job = self.job_file(JOB)
        found = {}
        for n, (what, (form, samples, targets, more)) in enumerate(pairs.items()):
            sets = {"data.format": form.replace("npz", "npy"), "data.train_samples": samples,
                    "data.train_targets": targets, "split.validation": 0.2, "split.stratified": True,
                    "partition.strategy": "stratified", "data.limit": 100, **more}
            report = self.train(job, 1 + n % 3, sets)
            self.assert_every_sample_once(report, 2 * 80)
            self.assertGreater(report["data_wait_ms"], 0)
            found[what] = report["parameters_sha256"], report["validation"]["loss"]
        self.assertEqual(len(set(found.values())), 1, found)

    def test_regression_targets_of_several_values(self):
        x = self.random.normal(0, 1, (64, 16)).astype(np.float32)
        archive = self.new_path("data.npz")
        np.savez(archive, x=x, y=x[:, :3].astype(np.float64))
        report = self.train(self.job_file(JOB), 2, {"data.format": "npy", "data.train_samples": str(archive),
                                                    "loss": "mse", "epochs": 20, "optimizer.lr": 0.03})
        losses = report["train"]["loss"]
        self.assertLess(losses[-1], 0.5 * losses[0])


class Cifar(Case):
    def setUp(self):
        super().setUp()
        self.x = self.random.integers(0, 256, (300, 3, 32, 32), np.uint8)
        self.y = self.random.integers(0, 10, 300, np.uint8)
        self.binary = self.new_path("batches")
        self.binary.mkdir()
        for batch in range(2):
            part = slice(128 * batch, 128 * (batch + 1))
            (self.binary / f"data_batch_{batch + 1}.bin").write_bytes(records(self.x[part], self.y[part]))
        (self.binary / "test_batch.bin").write_bytes(records(self.x[256:], self.y[256:]))

    def test_folder_and_arrays_train_the_same_on_any_number_of_agents(self):
        job = self.job_file(IMAGES)
        sets = {"data.train_samples": str(self.binary)}
        report = self.train(job, 1, sets)  # alone it makes batches ahead where a processor is free
        self.assert_every_sample_once(report, 2 * 256)
        self.assert_same_bits(report, self.train(job, 2, sets))
        as_arrays = {"data.format": "npy", "data.train_samples": self.save("x.npy", self.x[:256]),
                     "data.train_targets": self.save("y.npy", self.y[:256]),
                     "data.test_samples": self.save("x.npy", self.x[256:]),
                     "data.test_targets": self.save("y.npy", self.y[256:]), "data.scale": 1 / 255}
        other = self.train(job, 1, as_arrays)
        for key in ("parameters_sha256", "test"):
            self.assertEqual(other[key], report[key])
        # Its own test file, and arrays of the same images, are predicted the same.
        of_file = self.run_instep("predict", report["run_dir"], self.binary / "test_batch.bin").out
        for images in (self.x[256:], self.x[256:].reshape(44, -1)):
            of_array = self.run_instep("predict", report["run_dir"], self.save("x.npy", images)).out
            self.assertEqual(of_array, of_file)
        labels = np.array([int(line.split()[0]) for line in of_file.splitlines()])
        self.assertAlmostEqual(float((labels == self.y[256:]).mean()), report["test"]["accuracy"])
        self.assertEqual(self.run_instep("predict", other["run_dir"], as_arrays["data.test_samples"]).out, of_file)

    def test_cifar_100_is_learnt_by_its_fine_labels(self):
        files = {"train.bin": slice(0, 256), "test.bin": slice(256, 300)}
        folder = self.new_path("fine")
        folder.mkdir()
        for name, part in files.items():
            (folder / name).write_bytes(records(self.x[part], self.y[part], coarse=17))
        sets = {"epochs": 1}
        fine = self.train(self.job_file(IMAGES), 2, {**sets, "data.train_samples": str(folder)})
        plain = self.train(self.job_file(IMAGES), 2, {**sets, "data.train_samples": str(self.binary)})
        for key in ("parameters_sha256", "test"):
            self.assertEqual(fine[key], plain[key])


class Synthetic(Case):
    def test_images_of_a_shape(self):
        sets = {"data.format": "synthetic", "data.shape": [3, 4, 4], "data.classes": 3, "data.samples": 300,
                "data.noise": 0.2, "model.layers": [48, 32, 3], "epochs": 12}
        job = self.job_file(JOB)
        report = self.train(job, 1, sets)
        self.assert_same_bits(report, self.train(job, 3, sets))
        self.assertGreater(report["test"]["accuracy"], 0.8)


class Text(Case):
    def test_check_speaks_of_tokens(self):
        text = self.save("text", b"What is a sentence without its end? " * 100)
        job = self.job_file(TEXT + f'train_samples = "{text}"\n[split]\nvalidation = 0.25\n')
        out = self.run_instep("check", job, "-n", 2).out
        # 3,600 bytes are 112 samples of 32 and the target of the last.
        self.assertIn("84 training, 28 validation and 0 test samples of 32 tokens, each one of 256", out)
        self.assertIn("rounds      6 an epoch", out)
        out = self.run_instep("check", job, "-n", 2, "--set", "data.limit=20", "--set", "data.context=8").out
        self.assertIn("15 training, 5 validation and 0 test samples of 8 tokens", out)


if __name__ == "__main__":
    instep_test.main()
