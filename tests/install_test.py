"""The installed package serves a project of one's own: `cmake --install`, then examples/custom_loop and
examples/trainer are
configured, built and run from folders of their own, alone and under the installed `instep run`.

INSTEP_BIN names the built program (default: build/bin/instep); what is installed is its build:
    INSTEP_BIN=build/bin/instep python3 tests/install_test.py
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = pathlib.Path(os.environ.get("INSTEP_BIN") or ROOT / "build/bin/instep").resolve().parent.parent
DATA = ROOT / "examples/mnist/data"
SAMPLES = 1500
JOB = """
batch = 32
[model]
kind = "mlp"
layers = [20, 8, 2]
[data]
format = "synthetic"
samples = 64
"""


def environment(folder):
    """The package itself must know where libtorch is, and no run of a test is in anybody's `instep ls`."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("INSTEP_", "OMP_", "MKL_"))}
    clean["XDG_STATE_HOME"] = str(folder / "state")
    return clean


def hashes(report):
    """What ends alike on any number of agents."""
    return report["parameters_sha256"], report["state_sha256"]


class InstallTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if re.search(r"^INSTEP_SANITIZE:\w+=.", (BUILD / "CMakeCache.txt").read_text(), re.M):
            raise unittest.SkipTest("a package of sanitized libraries is nobody's")
        cls.folder = pathlib.Path(tempfile.mkdtemp(prefix="instep-install-"))
        cls.addClassCleanup(shutil.rmtree, cls.folder, ignore_errors=True)
        cls.run_command("cmake", "--install", BUILD, "--prefix", cls.folder / "first")
        # Nothing in the package may know where it was installed.
        cls.prefix = (cls.folder / "first").rename(cls.folder / "moved")
        cls.instep = cls.prefix / "bin/instep"
        cls.program, cls.trainer = cls.build("custom_loop"), cls.build("trainer")

    @classmethod
    def build(cls, example):
        folder = cls.folder / f"build-{example}"
        cls.run_command("cmake", "-G", "Ninja", "-S", ROOT / "examples" / example, "-B", folder,
                        f"-DCMAKE_PREFIX_PATH={cls.prefix}", "-DCMAKE_CXX_FLAGS=-Wall -Wextra -Werror")
        cls.run_command("cmake", "--build", folder)
        return folder / example

    @classmethod
    def run_command(cls, *command, code=0):
        done = subprocess.run([str(word) for word in command], cwd=cls.folder, env=environment(cls.folder),
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              text=True, timeout=240)
        if done.returncode != code:
            raise AssertionError(f"{' '.join(done.args)}\nexit code {done.returncode}\n{done.stdout}")
        return done.stdout

    def alone(self, name, *arguments):
        """The hashes of the final state, from the checkpoint that `--instep.run-dir` asks for."""
        run_dir = self.folder / name
        self.run_command(self.program, f"--data={DATA}", f"--samples={SAMPLES}", "--instep.epochs=1",
                         f"--instep.run-dir={run_dir}", *arguments)
        manifests = sorted(run_dir.glob("checkpoints/*/manifest.json"))
        return hashes(json.loads(manifests[-1].read_text()))

    def under_agents(self, agents, *arguments, sets=()):
        """The report, and what the program printed."""
        name = f"n{agents}-{len(list(self.folder.iterdir()))}"
        report = self.folder / f"{name}.json"
        printed = self.run_command(self.instep, "run", "-n", agents, "--run-dir", self.folder / name,
                                   "--report", report, *sets, "--", self.program, f"--data={DATA}",
                                   f"--samples={SAMPLES}", "--instep.epochs=1", *arguments)
        kept = json.loads((self.folder / name / "report.json").read_text())
        self.assertEqual(json.loads(report.read_text()), kept)
        return kept, printed

    def test_the_prefix_is_complete_and_names_no_source(self):
        for file in ("bin/instep", "libexec/instep/instep-agent", "include/instep/instep.h",
                     "include/instep/run.h", "include/instep/dataset.h", "include/instep/losses.h",
                     "include/instep/trainer.h"):
            self.assertTrue((self.prefix / file).is_file(), file)
        for file in self.prefix.rglob("instepTargets*.cmake"):
            text = file.read_text()
            for place in (ROOT, BUILD, self.folder):
                self.assertNotIn(str(place), text, file.name)

    def test_the_same_state_alone_and_on_one_two_and_three_agents(self):
        due = self.alone("alone")
        for agents in (1, 2, 3):
            report, printed = self.under_agents(agents)
            self.assertEqual(hashes(report), due, f"{agents} agents")
            self.check(report, agents)
            self.assertEqual(printed.count("epoch 1: train loss"), 1, printed)

    def check(self, report, agents):
        rounds = -(-SAMPLES // 256)
        self.assertEqual((report["version"], report["agents"], report["shards"]), (1, agents, 8))
        self.assertEqual((report["rounds"], report["data_epochs"]), (rounds, 1))
        self.assertEqual(report["samples"], {"due": SAMPLES, "counted": SAMPLES, "missed": 0, "repeated": 0})
        self.assertEqual(len(report["train"]["loss"]), 1)
        self.assertLess(report["test"]["loss"], 2.3)  # of guessing among ten classes
        self.assertGreater(report["test"]["accuracy"], 0.2)
        self.assertEqual(report["job"]["batch"], 256)
        self.assertTrue(pathlib.Path(report["checkpoint"]).is_dir())
        self.assertGreater(report["seconds"]["start"], 0)
        self.assertEqual(report["bytes"]["sent"] > 0, agents > 1)
        self.assertEqual((report["events"], report["stopped"]), ([], ""))

    def test_a_trainer_has_the_same_state_alone_and_on_one_two_and_three_agents(self):
        lines = [line for line in (ROOT / "examples/trainer/main.cc").read_text().splitlines()
                 if line.strip() and not line.strip().startswith("//")]
        self.assertLessEqual(len(lines), 15)
        run_dir = self.folder / "trainer-alone"
        shown = self.run_command(self.trainer, f"--instep.run-dir={run_dir}")
        self.assertIn("total 121 parameters, 121 of them trained\n", shown)
        self.assertEqual(shown.count("validation_accuracy"), 20, shown)
        manifests = sorted(run_dir.glob("checkpoints/*/manifest.json"))
        due = hashes(json.loads(manifests[-1].read_text()))
        for agents in (1, 2, 3):
            kept = self.folder / f"trainer-{agents}"
            shown = self.run_command(self.instep, "run", "-n", agents, "--run-dir", kept, "--", self.trainer)
            report = json.loads((kept / "report.json").read_text())
            self.assertEqual(hashes(report), due, f"{agents} agents")
            self.assertEqual(shown.count("total 121 parameters"), 1, shown)
            self.assertGreater(report["validation"]["accuracy"], 0.85)
            self.assertEqual(report["samples"]["counted"], 20 * 3200)

    def test_an_optimizer_of_its_own_steps_everywhere_alike(self):
        due = self.alone("alone-rmsprop", "--optimizer=rmsprop")
        report, _ = self.under_agents(3, "--optimizer=rmsprop")
        self.assertEqual(hashes(report), due)
        self.check(report, 3)

    def test_the_commands_settings_win_over_the_programs(self):
        report, _ = self.under_agents(2, "--instep.batch=512", sets=("--set", "batch=500"))
        self.assertEqual(report["job"]["batch"], 500)
        self.assertEqual(report["rounds"], 3)

    def test_a_mistake_ends_all_agents_with_one_line(self):
        printed = self.run_command(self.instep, "run", "-n", 2, "--run-dir", self.folder / "bad", "--",
                                   self.program, f"--data={DATA}", "--optimizer=rmsprop",
                                   "--instep.policy.kind=sharded", code=2)
        self.assertIn('use policy.kind = "all-reduce"', printed)

    def test_the_pages_show_what_is_tested(self):
        examples = [ROOT / "examples/custom_loop", ROOT / "examples/trainer"]
        shown = {language: "".join((example / file).read_text() for example in examples)
                 for language, file in (("cpp", "main.cc"), ("cmake", "CMakeLists.txt"))}
        blocks = re.findall(r"^```(cpp|cmake)\n(.*?)^```", (ROOT / "docs/library.md").read_text(), re.M | re.S)
        self.assertGreater(len(blocks), 5)
        for language, block in blocks:
            for line in block.splitlines():
                self.assertIn(line + "\n", shown[language])
            if language == "cpp":
                self.assertIn(block, shown[language])
        cases = "".join(path.read_text() for path in (ROOT / "src").glob("*/*_test.cc"))
        names = re.findall(r"`([A-Z][a-z]*(?:[A-Z][a-z]*){3,})`", (ROOT / "docs/determinism.md").read_text())
        self.assertGreater(len(names), 8)
        for name in names:
            self.assertIn(f", {name})", cases)

    def test_the_built_in_agent_is_found(self):
        (self.folder / "job.toml").write_text(JOB)
        report = self.folder / "job.json"
        self.run_command(self.instep, "run", "job.toml", "-n", 2, "--run-dir", self.folder / "job",
                         "--report", report)
        self.assertEqual(json.loads(report.read_text())["samples"]["counted"], 64)


if __name__ == "__main__":
    unittest.main(verbosity=2)
