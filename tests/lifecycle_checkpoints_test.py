"""Checkpoints survive kills at any write, failing writes, full disks, flipped bits and lost ends; and a
resumed run always ends with the state of one that was never interrupted."""

import hashlib
import os
import resource
import shutil
import subprocess
import unittest

import instep_test
from run_case import RunCase

CHECKPOINTS = (4, 8, 12, 16, 20)  # of the small job: rounds
NEWEST = "round-0000000020"
WIDE = {"model.layers": [20, 600, 2]}  # parameters for two owners


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x10
    path.write_bytes(content)


def cut_short(path):
    os.truncate(path, path.stat().st_size - 1)


class CheckpointCase(RunCase):
    straight = None  # the report of an uninterrupted run, made once

    def setUp(self):
        super().setUp()
        if CheckpointCase.straight is None:
            CheckpointCase.straight = self.train(self.job, 1)

    def ends_like_the_straight_run(self, report):
        for key in ("state_sha256", "parameters_sha256", "rounds", "samples"):
            self.assertEqual(report[key], self.straight[key], key)
        self.assertEqual(report["train"]["loss"], self.straight["train"]["loss"])


class Failing(CheckpointCase):
    """Each case: agent, failpoint. What follows is either the end of the run or a word of warning."""

    def setUp(self):
        super().setUp()
        self.use_failing_program()

    def run_failing(self, agent, points, sets=None, n=2):
        run = self.new_path("run")
        result = self.run_instep("run", self.job, "-n", n, "--quiet", "--no-pin", "--run-dir", run, "--no-replace",
                                 *instep_test.settings(sets or {}), code=None, FAIL=points,
                                 FAIL_AGENT=str(agent))
        self.nothing_is_left()
        return run, result

    def test_kill_at_every_write(self):
        # A first agent's checkpoint: some 15 writes, 5 to 10 syncs, one rename. Places of the first
        # checkpoint, where nothing can be resumed yet, and of later ones.
        # (What the others do when one of several is killed there: faults_ends_test.py.)
        cases = [f"file.write=kill@{k}" for k in (1, 17, 33)]
        cases += [f"file.sync=kill@{k}" for k in (1, 14)]
        cases += ["file.allocate=kill@3", "file.rename=kill@2", "file.rename=kill@5"]
        cases += ["checkpoint.before_manifest=kill@5"]
        cases += [f"checkpoint.after_manifest=kill@{k}" for k in (1, 5)]
        cases += [f"checkpoint.remove=kill@{k}" for k in (1, 3)]
        resumed = 0
        for points in cases:
            with self.subTest(points=points):
                run, result = self.run_failing(0, points, n=1)
                whole = list((run / "checkpoints").glob("round-*/manifest.json"))
                self.one_error(result, "agent 0 was killed by signal 9", code=1,
                               resumable=bool(whole))
                if not whole:
                    self.refused("resume", run, parts=("has no finished checkpoint",))
                    continue
                self.ends_like_the_straight_run(self.resume(run, 1))
                resumed += 1
        self.assertGreater(resumed, len(cases) // 2)

    def test_failing_writes_leave_the_older_checkpoint_and_training_goes_on(self):
        for points, said in (("file.allocate=enospc@3", "No space left on device"),
                             ("file.write=enospc@12", "No space left on device"),
                             ("file.sync=eio@8", "Input/output error"),
                             ("file.rename=eio@2", "Input/output error"),
                             ("checkpoint.before_manifest=enospc@2", "No space left on device")):
            with self.subTest(points):
                run, result = self.run_failing(0, points)
                self.assertEqual(result.code, 0, result)
                self.assertEqual(result.err, "", "a warning is no error")
                self.ends_like_the_straight_run(self.report(run))
                failed = [it for it in self.report(run)["events"] if it["kind"] == "checkpoint failed"]
                self.assertEqual(len(failed), 1, failed)
                self.assertIn(said, failed[0]["reason"])
                self.assertIn("round-00000000", failed[0]["reason"])
                self.ends_like_the_straight_run(self.resume(run, 1))

    def test_a_peers_failing_write(self):
        run, result = self.run_failing(1, "file.write=enospc@5", WIDE)
        self.assertEqual(result.code, 0, result)
        self.assertEqual(self.report(run)["state_sha256"], self.train(self.job, 1, WIDE)["state_sha256"])
        failed = [it for it in self.report(run)["events"] if it["kind"] == "checkpoint failed"]
        self.assertEqual(len(failed), 1, failed)
        self.assertIn("agent 1", failed[0]["reason"])

    def test_disk_that_stays_full_is_an_error_at_the_end(self):
        run, result = self.run_failing(0, "file.write=enospc")
        self.one_error(result, "the last checkpoint could not be written", "No space left on device",
                       "make room")
        self.assertEqual(list((run / "checkpoints").glob("*/manifest.json")), [])


class Kept(CheckpointCase):
    def rounds(self, run):
        """Of the finished checkpoints; nothing else may lie beside them."""
        folders = sorted((run / "checkpoints").iterdir())
        for folder in folders:
            self.assertEqual(sorted(path.name for path in folder.iterdir()),
                             ["manifest.json", "model.safetensors", "state.safetensors"])
        return [int(folder.name.removeprefix("round-")) for folder in folders]

    def test_the_newest_and_the_best_stay(self):
        run = self.new_path("run")
        sets = {"epochs": 6, "checkpoint.every_rounds": 0, "checkpoint.keep_last": 1,
                "checkpoint.keep_best": 2, "stop.metric": "loss", "optimizer.lr": 0.3, "data.noise": 4}
        report = self.train(self.job, 2, sets, run_dir=run)
        self.assertEqual([it["round"] for it in self.checkpoints_told(run)], [10, 20, 30, 40, 50, 60])
        losses = {it["round"]: it["test"]["loss"] for it in self.records(run, "metrics.jsonl")
                  if it["record"] == "epoch"}
        best = sorted(losses, key=losses.get)[:2]
        self.assertNotEqual(sorted(best), [50, 60], "so that the best are not the newest")
        self.assertEqual(self.rounds(run), sorted({*best, 60}))
        self.assertEqual(report["checkpoint"].rsplit("/", 1)[1], "round-0000000060")

    def test_the_last_k(self):
        for keep in (1, 3):
            run = self.new_path("run")
            self.train(self.job, 2, {"checkpoint.keep_last": keep, "checkpoint.keep_best": 0}, run_dir=run)
            self.assertEqual(self.rounds(run), list(CHECKPOINTS[-keep:]))


class FullDisk(CheckpointCase):
    def test_a_limit_on_file_sizes_is_an_error_and_no_signal(self):
        run = self.new_path("run")
        limit = 40 * 1024  # for shared memory too
        process = self.start("run", self.job, "-n", 2, "--quiet", "--no-pin", "--run-dir", run,
                             *instep_test.settings(WIDE),
                             before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
                             # Its coordinator's half-made file goes with the run directory too.
                             INSTEP_COORDINATOR_FAILPOINTS="file.rename=stop@1")
        self.one_error(self.finish(process), "File too large")
        self.assertFalse(run.exists())

    @unittest.skipUnless(os.geteuid() == 0, "only root may mount a file system")
    def test_room_for_one_checkpoint_and_not_for_two(self):
        disk = self.new_path("disk")
        disk.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=320k", "tmpfs", disk],
                          stderr=subprocess.DEVNULL).returncode != 0:
            self.skipTest("no file system may be mounted here")
        self.addCleanup(subprocess.run, ["umount", "-l", disk])
        wide = {**WIDE, "checkpoint.keep_last": 1, "checkpoint.keep_best": 0}
        straight = self.train(self.job, 1, wide)
        run = disk / "run"
        result = self.run_instep("run", self.job, "-n", 2, "--quiet", "--no-pin", "--run-dir", run,
                                 *instep_test.settings(wide), code=None)
        self.one_error(result, "the last checkpoint could not be written", "round-0000000020",
                       "needs", "are free there", "the newest whole one is", "round-0000000004",
                       resumable=True)
        failed = [it for it in self.records(run, "events.jsonl")
                  if it.get("kind") == "checkpoint failed"]
        self.assertGreaterEqual(len(failed), len(CHECKPOINTS) - 2, failed)
        self.assertEqual([it.name for it in (run / "checkpoints").iterdir()], ["round-0000000004"],
                         "what failed takes no room")
        self.assertEqual(self.inspect(run)["round"], CHECKPOINTS[0])
        subprocess.run(["mount", "-o", "remount,size=4m", disk], check=True)
        self.assertEqual(self.resume(run, 1)["state_sha256"], straight["state_sha256"])


class Damaged(CheckpointCase):
    def setUp(self):
        super().setUp()
        self.finished = self.new_path("finished")
        self.ends_like_the_straight_run(self.train(self.job, 2, run_dir=self.finished))

    def copy(self):
        run = self.new_path("copy")
        shutil.copytree(self.finished, run)
        return run

    def test_the_one_before_is_used_and_said(self):
        for harm in (flip_a_bit, cut_short, os.remove):
            for name in ("manifest.json", "model.safetensors", "state.safetensors"):
                if name == "manifest.json" and harm is os.remove:
                    continue  # that makes it an unfinished one
                with self.subTest(harm=harm.__name__, name=name):
                    run = self.copy()
                    harm(run / "checkpoints" / NEWEST / name)
                    result = self.run_instep("resume", run, "-n", 1, "--no-pin")
                    self.assertIn(NEWEST, result.err)
                    self.assertIn("using round-0000000016", result.err)
                    self.assertEqual(len(result.err.splitlines()), 1, result)
                    self.assertIn("going on from round 16", result.out)
                    self.ends_like_the_straight_run(self.report(run))

    def test_none_that_is_whole_is_an_error_and_no_fresh_start(self):
        run = self.copy()
        for folder in (run / "checkpoints").iterdir():
            flip_a_bit(folder / "model.safetensors")
        for command in ("resume", "eval", "inspect"):
            self.refused(command, run, parts=("round-0000000020", "round-0000000016"))
        self.refused("predict", run, self.job, parts=("round-0000000020",))

    def test_another_format_version_is_named(self):
        run = self.copy()
        manifest = run / "checkpoints" / NEWEST / "manifest.json"
        text = manifest.read_text().replace('"format": 1', '"format": 2', 1)
        content = text[:text.rindex(',\n  "checksum"')]
        manifest.write_text(
            f'{content},\n  "checksum": "{hashlib.sha256(content.encode()).hexdigest()}"\n}}\n')
        for command in ("eval", "inspect"):
            self.refused(command, manifest.parent, parts=("format", "2", "1"))
        result = self.run_instep("resume", run, "-n", 1, "--no-pin", code=None)
        self.assertIn("format", result.err)
        # It would have to be written over to go on, and it may be worth more than this run.
        self.assertIn(result.code, (0, 2), result)
        self.assertIn('"format": 2', manifest.read_text())

    def test_weights_of_another_model(self):
        weights = self.finished / "checkpoints" / NEWEST / "model.safetensors"
        self.refused("run", self.job, "-n", 1, "--quiet", "--run-dir", self.new_path("run"), "--set",
                     f"model.init={weights}", "--set", "model.layers=[20, 8, 2]",
                     parts=("model.safetensors", "16", "8"))
        # The same model takes them.
        report = self.train(self.job, 1, {"model.init": str(weights), "optimizer.lr": 0})
        self.assertEqual(report["parameters_sha256"], self.straight["parameters_sha256"])

    def test_a_resumed_run_keeps_its_job(self):
        run = self.copy()
        self.refused("resume", run, "--set", "model.layers=[20, 8, 2]",
                     parts=("model.layers", "epochs", "new run"))
        self.refused("resume", run, "--set", "optimizer.lr=0.5", parts=("optimizer.lr",))
        more = self.resume(run, 2, {"epochs": 3})
        self.assertEqual(more["state_sha256"], self.train(self.job, 3, {"epochs": 3})["state_sha256"])

    def test_eval_predict_and_inspect_of_a_checkpoint(self):
        checkpoint = self.finished / "checkpoints" / NEWEST
        report = self.evaluate(checkpoint, 2)
        self.assertEqual(report["test"], self.straight["test"])
        self.assertEqual(report["parameters_sha256"], self.straight["parameters_sha256"])
        seen = self.inspect(checkpoint)
        self.assertEqual(seen["state_sha256"], self.straight["state_sha256"])
        self.assertEqual(seen["job"], self.straight["job"])
        names = [tensor["name"] for file in seen["files"] for tensor in file["tensors"]]
        self.assertEqual(len(names), len(set(names)))
        text = self.run_instep("inspect", self.finished).out
        self.assertIn(self.straight["state_sha256"], text)
        self.assertIn("[16,20]", text)
        samples = self.new_path("samples.csv")
        rows = [",".join(["0.5"] * 20), ",".join(["-1"] * 20)]
        samples.write_text(",".join(f"x{i}" for i in range(20)) + "\n" + "\n".join(rows) + "\n")
        predicted = self.run_instep("predict", checkpoint, samples).out.splitlines()
        self.assertEqual(len(predicted), 2)
        for line in predicted:
            label, probability = line.split()
            self.assertIn(label, ("0", "1"))
            self.assertTrue(0.5 <= float(probability) <= 1)


if __name__ == "__main__":
    instep_test.main()
