"""Mistakes in jobs and data: one error with file, key or line, what was found and what is allowed; exit
code 2; no process, no run directory and no entry in `instep ls` is left."""

import gzip
import struct

import instep_test
from instep_test import settings
from run_case import JOB, RunCase

RUN = ("-n", 2, "--quiet", "--no-pin", "--run-dir")
SAMPLES, SIDE = 48, 3
PIXELS = bytes((7 * i) % 256 for i in range(SAMPLES * SIDE * SIDE))
LABELS = bytes(i % 4 for i in range(SAMPLES))


def idx(content, *lengths):
    return struct.pack(f">BBBB{len(lengths)}I", 0, 0, 8, len(lengths), *lengths) + content


class JobFile(RunCase):
    def refuse(self, text, *parts):
        job = self.job_file(text)
        self.refused("run", job, *RUN, self.new_path("run"), parts=(job.name, *parts))
        self.refused("check", job, parts=(job.name, *parts))

    def test_mistakes_are_named_by_line_and_key(self):
        for old, new, line, *parts in (
                ("epochs", "epoch", 3, "unknown key epoch", "did you mean epochs?"),
                ("lr =", "lrr =", 15, "unknown key optimizer.lrr", "did you mean optimizer.lr?"),
                ("[optimizer]", "[optimiser]", 14, "optimiser.kind", "did you mean optimizer.kind?"),
                ("epochs = 2", 'epochs = "ten"', 3, "epochs", 'the text "ten"', "an integer, 1 to 1000000"),
                ("epochs = 2", "epochs = 2.5", 3, "epochs", "2.5", "an integer"),
                ("epochs = 2", "epochs = 0", 3, "epochs", "0", "1 to 1000000"),
                ("lr = 0.01", "lr = -1", 15, "optimizer.lr", "-1", "0 to 1000"),
                ("lr = 0.01", "lr = nan", 15, "optimizer.lr", "nan", "0 to 1000"),
                ('"adam"', '"adagrad"', 14, "optimizer.kind", "adagrad", "sgd, adam, adamw"),
                ("batch = 64", "batch = 3", 5, "batch", "3", "4 shards"),
                ("[20, 16, 2]", "[20]", 8, "model.layers"),
                ("[20, 16, 2]", "[20, 0, 2]", 8, "model.layers", "0"),
                ("[20, 16, 2]", "[21, 16, 2]", 8, "model.layers", "21", "20"),
                ("version = 1", "version = 2", 1, "version", "2", "1"),
                ("epochs = 2", "epochs = 2\nepochs = 3", 4, "epochs"),
                ("epochs = 2", "epochs = ", 3),
                ("[model]", "[model", 6)):
            with self.subTest(new):
                self.assertIn(old, JOB)
                self.refuse(JOB.replace(old, new), f".toml:{line}:", *parts)

    def test_settings_are_blamed_by_where_they_come_from(self):
        for value, *parts in (("opochs=3", "unknown key opochs", "did you mean epochs?"),
                              ("epochs=ten", "epochs", 'the text "ten"', "1 to 1000000"),
                              ("shards=65", "batch", "64", "65 shards"),
                              ("epochs", '"epochs"', "key=value"),
                              ("=3", '"=3"', "key=value"),
                              ("model=3", "model", "the integer 3", "a table"),
                              ("optimizer.kind=adamm", "adamm", "did you mean adam?"),
                              ("optimizer.momentum=1", "optimizer.momentum", "from 0, below 1")):
            with self.subTest(value):
                self.refused("run", self.job, *RUN, self.new_path("run"), "--set", value,
                             parts=parts)
        self.refused("run", self.job, *RUN, self.new_path("run"), INSTEP_SET="bach=3",
                     parts=("INSTEP_SET", "unknown key bach", "did you mean batch?"))

    def test_files_that_are_no_job(self):
        self.refused("run", "missing.toml", *RUN, self.new_path("run"),
                     parts=("missing.toml", "No such file"))
        folder = self.new_path("folder")
        folder.mkdir()
        self.refused("run", folder, *RUN, self.new_path("run"), parts=(folder, "0 files *.toml"))
        self.refuse("\0\1\2", ":1:")
        self.refuse("# " + "x" * 70000, "64")

    def test_memory_that_is_not_there(self):
        wide = {"model.layers": [20, 16000000, 16000, 2]}
        self.refused("run", self.job, *RUN, self.new_path("run"), *settings(wide),
                     parts=("too little memory", "need about 8", "TiB", "are free", "smaller model"))

    def test_threads_that_would_change_results(self):
        for name, value, words in (("OMP_DYNAMIC", "true", "unset"), ("OMP_THREAD_LIMIT", "1", "threads = 2")):
            self.refused("run", self.job, *RUN, self.new_path("run"), "--set", "threads=2",
                         parts=(f"{name}={value}", words), **{name: value})

    def test_bf16_where_it_is_slow_is_a_warning(self):
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = file.read().split()
        has = "avx512_bf16" in flags or "amx_bf16" in flags
        run = self.new_path("run")
        result = self.run_instep("run", self.job, "-n", 1, "--no-pin", "--run-dir", run, "--set", "precision=bf16")
        self.assertEqual(self.report(run)["rounds"], 20)
        self.assertEqual("has no instructions for bf16" in result.err, not has, result)

    def test_initial_weights_that_are_none(self):
        text, missing = self.new_path("weights.safetensors"), self.new_path("missing.safetensors")
        text.write_text("weights")
        for path, word in ((text, "no whole safetensors file"), (missing, "No such file")):
            self.refused("run", self.job, *RUN, self.new_path("run"), "--set", f"model.init={path}",
                         parts=(path.name, word))


class Idx(RunCase):
    def setUp(self):
        super().setUp()
        self.samples, self.targets = self.new_path("samples"), self.new_path("targets")
        self.write()

    def write(self, samples=idx(PIXELS, SAMPLES, SIDE, SIDE), targets=idx(LABELS, SAMPLES)):
        self.samples.write_bytes(samples)
        self.targets.write_bytes(targets)

    def sets(self, **more):
        return settings({"data.format": "idx", "data.train_samples": str(self.samples),
                         "data.train_targets": str(self.targets), "model.layers": [9, 4],
                         "batch": 16, **more})

    def refuse(self, *parts, **sets):
        self.refused("run", self.job, *RUN, self.new_path("run"), *self.sets(**sets), parts=parts)

    def test_whole_files_are_trained_on(self):
        for packed in (lambda content: content, gzip.compress):
            self.write(packed(idx(PIXELS, SAMPLES, SIDE, SIDE)), packed(idx(LABELS, SAMPLES)))
            run = self.new_path("run")
            self.run_instep("run", self.job, *RUN, run, *self.sets())
            self.assertEqual(self.report(run)["samples"]["counted"], 2 * SAMPLES)

    def test_missing_and_truncated(self):
        whole = idx(PIXELS, SAMPLES, SIDE, SIDE)
        for content in (b"", whole[:3], whole[:10], whole[:-1], whole + b"x", gzip.compress(whole)[:-9]):
            self.write(samples=content)
            self.refuse(self.samples)
        self.samples.unlink()
        self.refuse(self.samples, "No such file")
        self.samples.mkdir()
        self.refuse(self.samples)

    def test_corrupt(self):
        packed = bytearray(gzip.compress(idx(PIXELS, SAMPLES, SIDE, SIDE)))
        packed[len(packed) // 2] ^= 4
        self.write(samples=bytes(packed))
        self.refuse(self.samples)
        self.write(samples=b"\x89PNG" + PIXELS)
        self.refuse(self.samples, "IDX")
        self.write(samples=idx(PIXELS, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF))
        self.refuse(self.samples)

    def test_counts_and_shapes_that_do_not_agree(self):
        self.write(targets=idx(LABELS[:-1], SAMPLES - 1))
        self.refuse(self.targets.name, "48", "47")
        self.write()
        self.refuse("model.layers", "8", "9", **{"model.layers": [8, 4]})

    def test_labels_out_of_range(self):
        self.refuse(self.targets.name, "3", **{"data.classes": 3, "model.layers": [9, 3]})
        self.write(targets=idx(LABELS[:-1] + b"\xfa", SAMPLES))
        self.refuse("model.layers", "251", "4")

    def test_keys_that_belong_together(self):
        self.refused("run", self.job, *RUN, self.new_path("run"), "--set", "data.format=idx",
                     parts=("data.train_samples",))

    def test_fewer_samples_than_shards(self):
        self.refuse("3 samples for 4 shards", "set shards", **{"data.limit": 3})


class Csv(RunCase):
    def refuse(self, content, *parts, **sets):
        path = self.new_path("table.csv")
        path.write_bytes(content)
        self.refused("run", self.job, *RUN, self.new_path("run"),
                     *settings({"data.format": "csv", "data.train_samples": str(path),
                                "model.layers": [2, 2], **sets}), parts=(*parts,))

    def test_lines_are_named(self):
        good = b"a,b,c\n1,2,0\n"
        for row, *parts in ((b"1,x,1\n", "table.csv:3", "column 2", "'x'", "number"),
                            (b"1,nan,1\n", "table.csv:3", "column 2", "'nan'", "number"),
                            (b"1,2\n", "table.csv:3", "2", "3"),
                            (b"1,2,3,4\n", "table.csv:3", "3"),
                            (b"1,2,-1\n", "table.csv:3", "column 3", "'-1'", "class label"),
                            (b"1,2,0.5\n", "table.csv:3", "column 3", "'0.5'", "class label"),
                            (b'1,"2,0\n', "table.csv:3")):
            with self.subTest(row):
                self.refuse(good + row, *parts)

    def test_files_without_samples(self):
        self.refuse(b"", "table.csv")
        self.refuse(b"a,b,c\n", "table.csv")
        self.refuse(gzip.compress(b"a,b,c\n" + b"1,2,0\n" * 50)[:-9], "table.csv")

    def test_labels_out_of_range_and_unknown_columns(self):
        self.refuse(b"a,b,c\n" + b"1,2,0\n3,4,2\n" * 50, "table.csv", "2", **{"data.classes": 2})
        self.refuse(b"a,b,c\n" + b"1,2,0\n" * 50, "table.csv:1", "column 'd'", "3 columns",
                    **{"data.target_column": "d"})


class NonFinite(RunCase):
    """A loss that becomes NaN: inputs so large that the first layer overflows in one sample."""
    HUGE = {"data.format": "csv", "model.layers": [2, 2], "batch": 8, "shards": 4, "epochs": 1,
            "optimizer.kind": "sgd", "checkpoint.every_rounds": 0}

    def setUp(self):
        super().setUp()
        rows = [f"{0.1 * i},{-0.2 * i},{i % 2}" for i in range(32)]
        rows[29] = "3e38,3e38,1"  # of the last quarter: of shard 3
        path = self.new_path("table.csv")
        path.write_text("a,b,c\n" + "\n".join(rows) + "\n")
        self.sets = {**self.HUGE, "data.train_samples": str(path), "data.scale": 10}

    def test_the_round_and_shard_are_named_and_the_state_before_is_saved(self):
        run = self.new_path("run")
        result = self.run_instep("run", self.job, *RUN, run, *settings(self.sets), code=None)
        self.one_error(result, "the loss of shard 3 is ", "in round ", "the state before it is saved in",
                       "on_nonfinite", resumable=True)
        number = int(result.err.split("in round ")[1].split(";")[0])
        self.assertIn(number, range(4))
        self.assertEqual(self.inspect(run)["round"], number)
        straight = self.new_path("straight")
        again = self.run_instep("run", self.job, "-n", 3, *RUN[2:], straight, *settings(self.sets), code=2)
        self.assertEqual(again.err.replace(str(straight), str(run)).splitlines()[0],
                         result.err.splitlines()[0])
        self.assertEqual(self.inspect(straight)["state_sha256"], self.inspect(run)["state_sha256"])

    def test_or_the_round_is_skipped_and_that_is_said(self):
        run = self.new_path("run")
        self.run_instep("run", self.job, *RUN, run, *settings({**self.sets, "on_nonfinite": "skip"}))
        report = self.report(run)
        skipped = [event for event in report["events"] if event["kind"] == "skipped"]
        self.assertEqual(len(skipped), 1, report["events"])
        self.assertIn("shard 3", skipped[0]["reason"])
        self.assertEqual(report["rounds"], 4)
        self.assertEqual(report["samples"], {"due": 32, "counted": 24, "missed": 8, "repeated": 0})


if __name__ == "__main__":
    instep_test.main()
