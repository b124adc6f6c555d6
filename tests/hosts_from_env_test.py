"""`instep agent --from-env`: the processes that torchrun, mpirun or srun start on a host train as one group."""

import os
import shutil
import signal
import subprocess
import sys

import instep_test
from instep_test import settings
from launcher_variables import srun, torchrun, without_launchers
from run_case import RunCase


class FromEnv(RunCase):
    def setUp(self):
        super().setUp()
        self.environment = without_launchers(self.environment)
        self.port = os.getpid()  # of no meaning but to tell this test's jobs from others that run beside it

    def start_group(self, environments, *more):
        return [self.start("agent", "--from-env", self.job, "--no-pin", *more, **it) for it in environments]

    def by_launcher(self, *command):
        """Runs a launcher to its end; gives the exit code and what was printed."""
        return self.finish(self.start_command(*command))

    def trains_as_a_run(self, *launcher):
        run = self.new_path("run")
        result = self.by_launcher(*launcher, instep_test.INSTEP, "agent", "--from-env", self.job, "--run-dir", run)
        self.assertEqual(result.code, 0, result)
        report = self.report(run)
        self.assertEqual(report["agents"], 2)
        self.assert_same_bits(self.train(self.job, 1), report)
        self.assertEqual(result.out.count("run directory"), 1, result)
        self.nothing_is_left()

    def test_torchrun(self):
        words = [sys.executable, "-m", "torch.distributed.run"]
        known = subprocess.run([*words, "--help"], capture_output=True, env=self.environment)
        if known.returncode != 0:
            self.skipTest("this Python has no torchrun")
        self.trains_as_a_run(*words, "--standalone", "--nproc-per-node=2", "--no-python")

    def test_mpirun(self):
        if not shutil.which("mpirun"):
            self.skipTest("there is no mpirun")
        self.environment["OMPI_ALLOW_RUN_AS_ROOT"] = self.environment["OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"] = "1"
        self.trains_as_a_run("mpirun", "--oversubscribe", "-np", 2)

    def test_slurms_variables(self):
        run = self.new_path("run")
        group = self.start_group((srun(k, 3, self.port) for k in (2, 1, 0)), "--run-dir", run)
        for process in group:
            self.assertEqual(self.finish(process).code, 0)
        self.assertEqual(self.report(run)["agents"], 3)

    def test_two_jobs_at_once(self):
        runs = [self.new_path("run"), self.new_path("run")]
        groups = [self.start_group((torchrun(k, 2, f"{self.port}-{run.name}") for k in (0, 1)), "--run-dir", run)
                  for run in runs]
        for group, run in zip(groups, runs):
            for process in group:
                self.assertEqual(self.finish(process).code, 0)
            self.assertEqual(self.report(run)["agents"], 2)

    def test_all_end_with_the_first_ones_code(self):
        group = self.start_group((torchrun(k, 2, self.port) for k in (0, 1)), "--set", "epochs=none")
        first, second = (self.finish(process) for process in group)
        self.assertEqual((first.code, second.code), (2, 2))
        self.assertIn("epochs", first.err)
        self.assertEqual(second.err + second.out, "")

    def test_processors_of_all(self):
        # Launchers bind each of their processes to one; agents shall have all of them.
        mine = os.sched_getaffinity(0)
        if len(mine) < 2:
            self.skipTest("there is one processor only")
        run, group = self.new_path("run"), []
        self.addCleanup(os.sched_setaffinity, 0, mine)
        for rank, processor in enumerate(sorted(mine)[:2]):
            os.sched_setaffinity(0, {processor})
            group += self.start_group([torchrun(rank, 2, self.port)], "--run-dir", run, *settings({"epochs": 1000000}))
        self.wait_until("checkpoint", lambda: self.checkpoints_told(run), process=group[0])
        self.assertEqual(os.sched_getaffinity(group[0].pid), set(sorted(mine)[:2]))
        for pid in self.agents():
            self.assertEqual(os.sched_getaffinity(pid), set(sorted(mine)[:2]))
        group[0].terminate()
        self.assertEqual([self.finish(it).code for it in group], [0, 0])

    def test_the_first_ones_death_ends_all(self):
        run = self.new_path("run")
        first, second = self.start_group((torchrun(k, 2, self.port) for k in (0, 1)), "--run-dir", run,
                                         *settings({"epochs": 1000000}))
        self.wait_until("checkpoint", lambda: self.checkpoints_told(run), process=first)
        first.kill()
        result = self.finish(second)
        self.assertEqual(result.code, 1)
        self.assertEqual(result.err, "instep: the process with local rank 0 has died\n")
        self.nothing_is_left()

    def test_a_schedulers_signals_are_a_stop(self):
        # To every process of the job, as schedulers send them.
        for number in (signal.SIGUSR1, signal.SIGTERM):
            with self.subTest(signal=number):
                run = self.new_path("run")
                group = self.start_group((torchrun(k, 2, f"{self.port}-{int(number)}") for k in (0, 1)), "--run-dir",
                                         run, *settings({"epochs": 1000000, "evaluate_each_epoch": False}))
                self.wait_until("checkpoint", lambda: self.checkpoints_told(run), process=group[0])
                for pid in sorted(self.living()):
                    os.kill(pid, number)
                for process in group:
                    result = self.finish(process)
                    self.assertEqual(result.code, 0, result)
                self.assertEqual(self.state(run), "stopped")
                self.nothing_is_left()
                self.goes_on_as_if_never_stopped(run, 2)

    def test_two_with_the_same_rank(self):
        run = self.new_path("run")
        first, second = self.start_group((torchrun(k, 2, self.port) for k in (0, 1)), "--run-dir", run,
                                         *settings({"epochs": 1000000}))
        self.wait_until("checkpoint", lambda: self.checkpoints_told(run), process=first)
        (again,) = self.start_group([torchrun(0, 2, self.port)])
        result = self.finish(again)
        self.assertEqual(result.code, 2)
        self.assertIn("another process with local rank 0 of the same torchrun job", result.err)
        first.terminate()
        self.assertEqual([self.finish(it).code for it in (first, second)], [0, 0])

    def test_bad_environments(self):
        job = ("agent", "--from-env", self.job)
        half = torchrun(0, 2)
        del half["WORLD_SIZE"]
        several = torchrun(0, 4, 29500, (0, 2), "10.0.0.1")
        mpirun = {f"OMPI_COMM_WORLD_{name}": value
                  for name, value in (("RANK", "0"), ("SIZE", "4"), ("LOCAL_RANK", "0"), ("LOCAL_SIZE", "2"))}
        secret = {"INSTEP_SECRET": "0123456789abcdef"}
        for words, environment, parts in (
                (job, {}, ["none of RANK (torchrun)"]),
                (job, half, ["WORLD_SIZE is not"]),
                (job, {**torchrun(0, 2), "LOCAL_RANK": "2"}, ["LOCAL_RANK=2 must be below LOCAL_WORLD_SIZE=2"]),
                (job, several, ["several hosts", "INSTEP_SECRET", "--insecure", "instep run --hosts"]),
                (job, mpirun, ["several hosts", "-x INSTEP_SECRET"]),
                (job, {**several, "INSTEP_SECRET": "0123456789abcde"},
                 ["INSTEP_SECRET has 15 characters", "at least 16"]),
                (job, {**several, "INSTEP_SECRET": ""}, ["INSTEP_SECRET has 0 characters"]),
                ((*job, "--insecure"), {**several, **secret}, ["--insecure", "INSTEP_SECRET is set"]),
                (job, {**mpirun, **secret}, ["mpirun", "--address HOST:PORT", "MASTER_ADDR"]),
                (job, {**several, **secret, "MASTER_ADDR": "127.0.0.1"}, ["127.0.0.1", "each host's own"]),
                (job, {**several, **secret, "MASTER_PORT": "70000"}, ["MASTER_PORT=70000", "--address"]),
                ((*job, "--address", "node7:0"), {**several, **secret}, ["--address", "not 0"]),
                (job, {**several, **secret, "RANK": "5"}, ["RANK=5 must be below WORLD_SIZE=4"]),
                (job, {**torchrun(0, 8, 1, (0, 4), "10.0.0.1"), **secret, "LOCAL_WORLD_SIZE": "1"},
                 ["8 agents in all: the job has 4 shards"]),
                (("agent", "--join", "x", "--address", "a:1"), {}, ["--address requires --from-env"]),
                (job, {**torchrun(1, 2), **srun(0, 2)}, ["RANK=1", "SLURM_PROCID=0", "contradict"]),
                (job, torchrun(0, 65), ["started 65 processes here; a host holds 1 to 64 agents"]),
                ((*job, "-n", 2), torchrun(0, 2), ["-n says nothing"]),
                ((*job, "--join", "x"), {}, ["--join excludes --from-env"]),
                ((*job, "--name", "x"), {}, ["--name requires --join"]),
                (("agent", "--from-env"), {}, ["--from-env needs a job file"]),
                (("agent",), {}, ["--join LINE", "--from-env"]),
                (("agent", "--join", "x", "--set", "epochs=1"), {}, ["--set epochs=1 is of use only with --from-env"]),
                (("agent", "--join", "x", self.job), {}, [self.job, "only with --from-env"])):
            with self.subTest(words=words, environment=environment):
                self.refused(*words, parts=parts, **environment)


if __name__ == "__main__":
    instep_test.main()
