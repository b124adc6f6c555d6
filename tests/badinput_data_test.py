"""Mistakes in arrays, CIFAR files and texts: one error with the file, what was found and what is due; exit
code 2; nothing is left."""

import io
import os
import zipfile

import numpy as np

import instep_test
from instep_test import settings
from run_case import RunCase

RUN = ("-n", 2, "--quiet", "--no-pin", "--run-dir")
SAMPLES = 48
X = np.arange(SAMPLES * 9, dtype=np.float32).reshape(SAMPLES, 9)
Y = np.arange(SAMPLES) % 4


def saved(save, *arrays, **named):
    out = io.BytesIO()
    save(out, *arrays, **named)
    return out.getvalue()


class Case(RunCase):
    def sets(self, **more):
        return {"batch": 16, "model.layers": [9, 4], **more}

    def refuse(self, *parts, **sets):
        sets = settings(self.sets(**sets))
        self.refused("run", self.job, *RUN, self.new_path("run"), *sets, parts=parts)
        self.refused("check", self.job, *sets, parts=parts)


class Npy(Case):
    def setUp(self):
        super().setUp()
        self.samples, self.targets = self.new_path("x.npy"), self.new_path("y.npy")
        self.write()

    def write(self, samples=X, targets=Y):
        for path, values in ((self.samples, samples), (self.targets, targets)):
            path.write_bytes(values if isinstance(values, bytes) else saved(np.save, values))

    def sets(self, **more):
        return super().sets(**{"data.format": "npy", "data.train_samples": str(self.samples),
                               "data.train_targets": str(self.targets), **more})

    def test_types_that_are_no_numbers_of_ours(self):
        for samples, *parts in ((X.astype(np.int64), "'<i8'", ".astype(numpy.float32)"),
                                (X.astype(">f4"), "big-endian", ".astype('<f4')"),
                                (X.astype(np.complex64), "'<c8'"),
                                (X.astype(str), "'<U"),
                                (X.astype(object), "pickled Python objects, which are never loaded"),
                                (np.zeros(SAMPLES, [("a", "f4"), ("b", "i4")]), "several fields"),
                                (np.asfortranarray(X), "Fortran order", "ascontiguousarray")):
            with self.subTest(parts[0]):
                self.write(samples=samples)
                self.refuse(self.samples, *parts)
        self.write(targets=np.array(["cat"] * SAMPLES))
        self.refuse(self.targets, "targets are whole numbers")

    def test_values_and_counts(self):
        self.write(samples=np.where(X == 13, np.nan, X))
        self.refuse(self.samples, "sample 1 holds nan as value 4")
        self.write(targets=Y - 1)
        self.refuse(self.targets, "target 0", "-1", "class labels")
        self.write(targets=Y[:-1])
        self.refuse(self.targets.name, "48", "47")
        self.write(targets=np.stack([Y, Y], 1))
        self.refuse(self.targets, "48 x 2", "one label a sample")
        self.write(targets=Y.astype(np.float32))
        self.refuse(self.targets, "cross-entropy needs integer labels")

    def test_files_that_are_not_whole(self):
        whole = saved(np.save, X)
        for content in (b"", whole[:5], whole[:60], whole[:-1], whole + b"x", b"no array of numpy",
                        whole.replace(b"(48, 9)", b"(48, 8)"), whole.replace(b"'<f4'", b" <f4 ")):
            self.write(samples=content)
            self.refuse(self.samples)
        self.samples.unlink()
        self.refuse(self.samples, "No such file")
        os.mkfifo(self.samples)  # nobody writes: it must not wait
        self.refuse(self.samples, "not a regular file")

    def test_targets_that_nobody_named(self):
        self.refuse(self.samples, "data.train_targets", **{"data.train_targets": ""})
        self.refuse("data.test_targets is set without data.test_samples",
                    **{"data.test_targets": str(self.targets)})


class Npz(Case):
    def setUp(self):
        super().setUp()
        self.archive = self.new_path("data.npz")

    def write(self, **arrays):
        self.archive.write_bytes(saved(np.savez_compressed, **arrays))

    def sets(self, **more):
        return super().sets(**{"data.format": "npy", "data.train_samples": str(self.archive), **more})

    def test_keys_that_are_not_there(self):
        self.write(images=X, labels=Y)
        self.refuse(self.archive, "no array 'x'", "it has 'images', 'labels'", "data.samples_key")
        self.refuse(self.archive, "no array 'Labels'",
                    **{"data.samples_key": "images", "data.targets_key": "Labels"})

    def test_wrong_types_are_named_by_array(self):
        self.write(x=X.astype(np.int32), y=Y)
        self.refuse(self.archive, "array 'x'", "'<i4'")
        self.write(x=X, y=Y.astype(object))
        self.refuse(self.archive, "array 'y'", "pickled Python objects")

    def test_damaged_archives(self):
        self.write(x=X, y=Y)
        whole = self.archive.read_bytes()
        middle = bytearray(whole)
        middle[len(whole) // 3] ^= 4
        for content in (whole[:-5], whole[:100], bytes(middle), b"PK"):
            self.archive.write_bytes(content)
            self.refuse(self.archive)
        # An entry whose directory claims what no machine has.
        huge = bytearray(whole)
        at = huge.find(b"PK\1\2") + 24
        huge[at:at + 4] = b"\xf0\xff\xff\xff"
        self.archive.write_bytes(bytes(huge))
        self.refuse(self.archive, "claims 4294967280 bytes", "at most")
        with zipfile.ZipFile(self.archive, "w", zipfile.ZIP_BZIP2) as packed:
            packed.writestr("x.npy", saved(np.save, X))
        self.refuse(self.archive, "method 12", "stored (0) and deflated (8)")

    def test_targets_of_their_own_file(self):
        self.write(x=X, y=Y)
        targets = self.new_path("y.npy")
        np.save(targets, Y)
        self.refuse(self.archive, "data.targets_key", "leave data.train_targets empty",
                    **{"data.train_targets": str(targets)})


class Cifar(Case):
    def setUp(self):
        super().setUp()
        self.binary = self.new_path("cifar")
        self.binary.mkdir()

    def sets(self, **more):
        return super().sets(**{"data.format": "cifar", "data.train_samples": str(self.binary),
                               "model.layers": [3072, 10], **more})

    def test_folders_and_sizes(self):
        self.refuse(self.binary, "data_batch_*.bin (CIFAR-10)", "train.bin (CIFAR-100)")
        batch = self.binary / "data_batch_1.bin"
        batch.write_bytes(bytes(3073 * 40 - 1))
        self.refuse(batch, "122919 bytes", "3073", "3074")
        batch.write_bytes(bytes(3073 * 40) + b"\x0b" + bytes(3072))
        self.refuse(batch, "record 40", "label 11", "CIFAR-10 has 0 to 9")
        batch.write_bytes(bytes(3073 * 40))
        (self.binary / "test.bin").write_bytes(bytes(3074))
        self.refuse(self.binary, "both CIFAR-10", "CIFAR-100")

    def test_one_test_set(self):
        (self.binary / "data_batch_1.bin").write_bytes(bytes(3073 * 40))
        (self.binary / "test_batch.bin").write_bytes(bytes(3073 * 4))
        self.refuse("split.test = 0.2", "a test set of its own", **{"split.test": 0.2})


class Text(Case):
    def setUp(self):
        super().setUp()
        self.text = self.new_path("text")
        self.job = self.job_file('batch = 4\nshards = 2\n[model]\nkind = "gpt"\n[data]\nformat = "text"\n'
                                 f'train_samples = "{self.text}"\n')

    def refuse(self, *parts, **sets):
        self.refused("check", self.job, *settings(sets), parts=parts)

    def test_shorter_than_a_context(self):
        for content, *parts in ((b"x" * 128, "128 bytes", "data.context = 128 bytes needs 129"),
                                (b"x", "1 byte;", "needs 129"),
                                (b"", "empty")):
            self.text.write_bytes(content)
            self.refuse(self.text, *parts)
        self.text.unlink()
        self.refuse(self.text, "No such file")
        self.text.write_bytes(b"x" * 1000)
        short = self.new_path("test")
        short.write_bytes(b"x" * 64)
        self.refuse(short, "64 bytes", "needs 65", **{"data.test_samples": str(short), "data.context": 64})

    def test_classes_that_text_has_not(self):
        self.text.write_bytes(b"x" * 1000)
        for sets in ({"split.stratified": True}, {"partition.strategy": "stratified"}):
            self.refuse("stratified needs one class a sample", **sets)
        self.refuse("gpt", "text", **{"model.kind": "mlp", "model.layers": [9, 4]})


if __name__ == "__main__":
    instep_test.main()
