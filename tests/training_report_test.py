"""What a run leaves behind: the report that docs/report.md promises, records, logs, digests."""

# ctest: PROCESSORS 1
import hashlib
import json
import pathlib
import re

from safetensors.numpy import load_file

import instep_test
from instep_test import MNIST, ROOT

SHORT = {"epochs": 2, "batch": 128, "data.limit": 3000, "data.test_limit": 1000}
# As docs/report.md names types.
TYPES = {"boolean": lambda v: type(v) is bool,
         "integer": lambda v: type(v) is int, "number": lambda v: type(v) in (int, float),
         "string": lambda v: type(v) is str, "object": lambda v: type(v) is dict, "null": lambda v: v is None,
         "array of numbers": lambda v: type(v) is list and all(TYPES["number"](item) for item in v),
         "array of objects": lambda v: type(v) is list and all(TYPES["object"](item) for item in v)}


def tables(page):
    """Rows of the tables of a page of docs/, as lists of cells."""
    for line in (ROOT / "docs" / page).read_text().splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]


def at(values, key):
    for part in key.split("."):
        values = values[part]
    return values


class Report(instep_test.Case):
    def setUp(self):
        super().setUp()
        self.run_dir = self.new_path("run")
        self.copy = self.new_path("copy.json")
        self.run_instep("run", MNIST, "-n", 3, "--quiet", "--no-pin", "--run-dir", self.run_dir,
                        "--report", self.copy, *instep_test.settings(SHORT))
        self.found = self.report(self.run_dir)

    def documented(self):
        """Field -> words for its type."""
        for cells in tables("report.md"):
            for name in re.findall(r"`([^`]+)`", cells[0]):
                if len(cells) == 3 and any(word in cells[1] for word in TYPES):
                    yield name, cells[1]

    def test_every_documented_field_has_its_type_and_no_other_is_there(self):
        fields = dict(self.documented())
        self.assertGreater(len(fields), 25)
        evaluated = self.evaluate(self.run_dir, 1)
        for name, words in fields.items():
            kinds = words.split(" or ")
            value = at(self.found, name)
            self.assertTrue(any(TYPES[kind](value) for kind in kinds), f"{name}: {words}; found {value!r}")
            at(evaluated, name.split(".")[0])  # of an evaluation it may be null, but it is there
        names = {name.split(".")[0] for name in fields}
        self.assertEqual(set(self.found), names)
        self.assertEqual(set(evaluated), names)
        for name in ("train", "seconds", "bytes"):
            self.assertEqual({f"{name}.{key}" for key in self.found[name]},
                             {field for field in fields if field.startswith(name + ".")})

    def test_values(self):
        found = self.found
        self.assertEqual(json.loads(self.copy.read_text()), found)
        self.assertEqual((found["version"], found["hosts"], found["agents"], found["shards"], found["rounds"],
                          found["data_epochs"], found["stopped"]), (1, 1, 3, 8, 48, 2, ""))
        self.assertIn(found["instep"], self.run_instep("--version").out)
        self.assert_every_sample_once(found, 6000)
        self.assertEqual(len(found["train"]["loss"]), 2)
        self.assertEqual(set(found["test"]), {"loss", "accuracy"})
        self.assertIsNone(found["validation"])
        for name in ("job_hash", "parameters_sha256", "state_sha256"):
            self.assertRegex(found[name], "^[0-9a-f]{64}$")
        self.assertEqual(len(found["wait_seconds"]), 3)
        self.assertGreater(found["train"]["samples_per_s"], 0)
        self.assertGreater(min(found["bytes"].values()), 0)
        seconds = found["seconds"]
        self.assertTrue(0 < seconds["start"] < seconds["total"] and 0 < seconds["train"] < seconds["total"])
        self.assertEqual(pathlib.Path(found["run_dir"]).resolve(), self.run_dir.resolve())
        self.assertEqual(pathlib.Path(found["checkpoint"]).name, "round-0000000048")

    def test_the_resolved_job_has_every_key(self):
        keys = [re.findall("`([^`]+)`", cells[0])[0] for cells in tables("job.md") if len(cells) == 5]
        self.assertGreater(len(keys), 60)
        for key in keys:
            if "[]" not in key:
                at(self.found["job"], key)
        self.assertEqual(self.found["job"]["data"]["limit"], 3000)
        self.assertEqual(json.loads((self.run_dir / "job.json").read_text()), self.found["job"])
        self.assertEqual((self.run_dir / "job.toml").read_bytes(), (MNIST / "mnist.toml").read_bytes())

    def test_records_and_logs(self):
        # Of a run with a spare, and long enough for a line of rounds.
        run = self.new_path("long")
        self.train(MNIST, 3, {"shards": 2, "batch": 64, "epochs": 2, "data.test_limit": 100}, run_dir=run)
        records = [json.loads(line) for name in ("metrics.jsonl", "events.jsonl")
                   for line in (run / name).read_text().splitlines()]
        documented = {}
        for line in (ROOT / "docs/report.md").read_text().splitlines():
            match = re.match(r"\| (?:metrics|events)\.jsonl \| `(\w+)` \| (.*) \|", line)
            if match:
                documented[match[1]] = re.findall("`([^`]+)`", match[2])
        self.assertEqual(set(documented), {"begin", "rounds", "lines", "epoch", "view", "checkpoint", "event", "stop"})
        for record in records:
            for field in documented[record["record"]]:
                self.assertIn(field, record)
            self.assertGreater(record["at_s"], 0)
        kinds = [record["record"] for record in records]
        self.assertGreater(kinds.count("rounds"), 0)
        self.assertEqual((kinds.count("epoch"), kinds.count("checkpoint")), (2, 2))
        view = next(record for record in records if record["record"] == "view")
        self.assertEqual((view["members"], view["spares"]), ([0, 1], [2]))
        epochs = self.epochs(run)
        self.assertEqual([epoch["train_loss"] for epoch in epochs], self.report(run)["train"]["loss"])
        self.assertEqual(epochs[-1]["test"], self.report(run)["test"])
        logs = sorted(path.name for path in (run / "logs").iterdir())
        self.assertEqual(logs, ["agent-0.log", "agent-1.log", "agent-2.log", "coordinator.log",
                                "launcher.log"])

    def test_parameters_digest_in_python(self):
        weights = load_file(self.found["checkpoint"] + "/model.safetensors")

        def u64(value):
            return value.to_bytes(8, "little")

        digest = hashlib.sha256()
        for name, value in sorted(weights.items()):
            digest.update(u64(len(name)) + name.encode() + u64(3) + b"F32" + u64(value.ndim))
            digest.update(b"".join(u64(size) for size in value.shape) + value.tobytes())
        self.assertEqual(digest.hexdigest(), self.found["parameters_sha256"])


if __name__ == "__main__":
    instep_test.main()
