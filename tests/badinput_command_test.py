"""Mistakes on the command line and in what it names: one clear error, exit code 2, nothing left behind.
Own programs that are none, or that die, are named with their exit code or signal."""

import os
import shutil
import unittest

import instep_test
from instep_test import MNIST
from run_case import RunCase


class Words(RunCase):
    def test_flags_and_commands(self):
        for words, *parts in ((["rum", self.job], "no command 'rum'", "did you mean 'run'?"),
                              (["run", self.job, "--quit"], "no flag --quit", "did you mean '--quiet'?"),
                              (["run", self.job, "extra"], "does not expect 'extra'"),
                              (["run"], "needs a job file"),
                              (["check"], "JOB"),
                              (["predict", self.folder], "INPUT"),
                              (["ls", "extra"], "extra"),
                              (["run", self.job, "--set"], "--set"),
                              (["resume", self.folder, "--", "program"], "takes no program")):
            with self.subTest(words):
                self.refused(*words, parts=parts)

    def test_numbers_of_agents(self):
        for number in ("0", "65", "-1", "2.5", "many", "", "99999999999"):
            for command in ("run", "check"):
                with self.subTest(number, command=command):
                    self.refused(command, self.job, "-n", number, parts=(f"'{number}'", "1 to 64"))

    def test_ranges_of_agents(self):
        for text, allowed in (("4:2", "MIN at most MAX"), ("0:2", "1 to 64"), ("2:65", "1 to 64"), ("2:", "MIN:MAX"),
                              (":2", "MIN:MAX"), ("1:2:3", "MIN:MAX"), ("a:b", "MIN:MAX")):
            for flag in ("-n", "--nnodes"):
                with self.subTest(text, flag=flag):
                    self.refused("run", self.job, flag, text, parts=(f"'{text}'", allowed))
        self.refused("check", self.job, "-n", "2:4", parts=("'2:4'", "1 to 64"))
        self.refused("run", self.job, "-n", "2", "--nnodes", "3", parts=("excludes",))

    def test_drills(self):
        for flag, text, *parts in (("--fault", "join at 1; kil 2 at 100", "part 2, 'kil 2 at 100'", "'kill'?"),
                                   ("--fault", "kill 2", "part 1", "at ROUND", "'kill 2 at 100'"),
                                   ("--fault", "kill 99 at 1", "'99'", "0 to 63"),
                                   ("--fault", "hang 1 at 2 for 5", "'5'", "250ms, 5s or 2min"),
                                   ("--fault", "slow 1 by 1x at 2", "'1x'", "above 1x"),
                                   ("--fault", "", "part 1 is empty"),
                                   ("--chaos", "seed=7", "lacks the mean time", "mtbf=2s"),
                                   ("--chaos", "mtbf=2s,kinds=flip", "'flip'", "kill, hang, join, leave"),
                                   ("--chaos", "mtbf=0s", "'0s'", "10ms")):
            with self.subTest(text):
                for command in ("run", "resume"):
                    self.refused(command, self.job, flag, text, parts=(flag, *parts))

    def test_help_and_version_are_no_errors(self):
        for words in (["--help"], ["run", "--help"], ["--version"]):
            result = self.run_instep(*words)
            self.assertIn("instep", result.out)
            self.assertEqual(result.err, "")
        self.assertEqual(self.run_instep(code=None).code, 2)


class Paths(RunCase):
    def test_directories_that_are_taken(self):
        taken = self.new_path("taken")
        taken.mkdir()
        (taken / "precious").write_text("mine")
        self.refused("run", self.job, "--run-dir", taken, parts=(taken, "is not empty", "instep resume"))
        self.refused("run", self.job, "--run-dir", self.job, parts=(self.job, "is not a folder"))
        run = self.new_path("run")
        self.start_endless(run)
        for words in (["run", self.job, "--run-dir", run], ["resume", run]):
            result = self.run_instep(*words, code=2)
            self.assertEqual(len(result.err.splitlines()), 1, result)
            self.assertIn("is in use by a running instep (process ", result.err)

    def test_places_where_nothing_can_be_written(self):
        self.refused("run", self.job, "--run-dir", "/proc/run", parts=("/proc/run",))
        self.refused("run", self.job, "--report", self.folder / "missing/report.json",
                     parts=("missing/report.json", "choose another file"))
        self.refused("run", self.job, "--report", self.folder, parts=("--report", "is a folder"))

    @unittest.skipIf(os.geteuid() == 0, "root may write anywhere")
    def test_folders_of_others(self):
        self.refused("run", self.job, "--run-dir", "/usr/run", parts=("/usr/run", "Permission denied"))

    def test_runs_and_checkpoints_that_are_none(self):
        empty = self.new_path("empty")
        empty.mkdir()
        for command in ("resume", "inspect", "eval", "stop"):
            self.refused(command, "missing", parts=("no run 'missing'", "instep ls"))
            self.refused(command, empty, parts=(empty,))
        self.refused("scale", "missing", "-n", "2", parts=("no run 'missing'", "instep ls"))
        self.refused("scale", empty, "-n", "2", parts=(empty,))
        self.refused("scale", empty, parts=("--agents is required",))
        self.refused("scale", empty, "-n", "0", parts=("'0'", "1 to 64"))
        self.refused("predict", "missing", self.job, parts=("no run 'missing'",))
        run = self.new_path("first")
        self.train(self.job, 1, {"epochs": 1}, run_dir=run)
        self.refused("resume", run.name[:-1], parts=("did you mean", run.name))
        self.refused("stop", run, parts=(run, "is not running"))
        self.refused("scale", run, "-n", "2", parts=(run, "is not running"))
        self.refused("predict", run, "missing.csv", parts=("missing.csv", "does not exist"))
        wrong = self.new_path("wrong.csv")
        wrong.write_text("a,b\n1,2\n")
        self.refused("predict", run, wrong, parts=("wrong.csv", "2", "20"))
        shutil.rmtree(run)
        self.assertNotIn(str(run), self.run_instep("ls").out)

    def test_data_of_the_checkpoint_that_are_gone(self):
        data = self.new_path("data")
        shutil.copytree(MNIST / "data", data)
        sets = {"epochs": 1, "data.limit": 400, "data.test_limit": 100, "batch": 100, "model.layers": [784, 10]}
        job = self.job_file((MNIST / "mnist.toml").read_text().replace('"data/', f'"{data}/'))
        run = self.new_path("run")
        self.train(job, 1, sets, run_dir=run)
        images = data / "train-images-idx3-ubyte.gz"
        os.truncate(images, 1000)
        for command in ("eval", "resume"):
            more = ["--set", "epochs=2"] if command == "resume" else []
            result = self.run_instep(command, run, "-n", 1, "--quiet", *more, code=None)
            self.one_error(result, images, resumable=command == "resume")


class OwnProgram(RunCase):
    def run_program(self, *words, agents=2):
        run = self.new_path("run")
        result = self.run_instep("run", "-n", agents, "--quiet", "--no-pin", "--run-dir", run, "--",
                                 *words, code=None)
        return run, result

    def test_programs_that_cannot_be_run(self):
        plain = self.new_path("plain")
        plain.write_text("no program")
        for program in ("./missing", "no-such-program-anywhere", plain, self.folder):
            self.refused("run", "-n", 2, "--", program, parts=(program, "check its path"))
        plain.chmod(0o755)
        os.truncate(plain, 0)
        plain.write_bytes(b"\x7fELF")
        run, result = self.run_program(plain)
        self.one_error(result, plain, "Exec format error", code=1)

    def test_a_program_that_is_not_ours(self):
        run, result = self.run_program("true")
        self.one_error(result, "agent ", "ended with exit code 0 before it joined the run",
                       "does the program construct instep::Run?", code=1)
        self.assertEqual(self.state(run), "failed")

    def test_a_crash_is_named_with_its_signal(self):
        run, result = self.run_program("sh", "-c", "kill -SEGV $$")
        self.one_error(result, "was killed by signal 11 (Segmentation fault)", code=1)

    def test_the_end_of_its_log_is_shown(self):
        run, result = self.run_program("sh", "-c", "echo what went wrong >&2; exit 3", agents=1)
        self.assertEqual(result.code, 1)
        self.assertIn("agent 0 ended with exit code 3", result.err)
        self.assertIn("what went wrong", result.err)
        self.nothing_is_left()

    def test_its_children_go_with_it(self):
        script = "sleep 1000 & test $INSTEP_AGENT = 1 && exit 3; wait"
        run, result = self.run_program("sh", "-c", script)
        self.one_error(result, "agent 1 ended with exit code 3", code=1)

    def test_one_that_never_joins_ends_on_ctrl_c(self):
        process = self.start("run", "-n", 2, "--run-dir", self.new_path("run"), "--", "sleep", "1000")
        self.wait_until("program", lambda: [pid for pid, command in self.living().items()
                                            if command.split(b" ")[0].endswith(b"/sleep")], process=process)
        process.send_signal(2)
        process.send_signal(2)
        self.assertEqual(self.finish(process).code, 130)
        self.nothing_is_left()


if __name__ == "__main__":
    instep_test.main()
