"""How runs end: Ctrl-C, `instep stop`, a killed launcher, agents killed where nobody takes their place. What is left
can go on."""

import os
import pathlib
import re
import signal

import instep_test
from instep_test import process_state
from run_case import RunCase


class Interrupt(RunCase):
    def test_ctrl_c_saves_a_checkpoint_and_the_run_can_go_on(self):
        run = self.new_path("run")
        process = self.start_endless(run)
        self.assertEqual(len(self.agents()), 2)
        process.send_signal(signal.SIGINT)
        result = self.finish(process)
        self.assertEqual(result.code, 130, result)
        self.assertEqual(result.err, "")
        self.assertIn("stopped (interrupt)", result.out)
        self.nothing_is_left()
        self.assertEqual(self.report(run)["stopped"], "interrupt")
        self.assertEqual(self.inspect(run)["round"], self.report(run)["rounds"])
        self.assertEqual(self.inspect(run)["state_sha256"], self.report(run)["state_sha256"])
        self.assertEqual(self.state(run), "stopped")
        self.goes_on_as_if_never_stopped(run)
        self.assertEqual(self.state(run), "finished")

    def test_before_the_first_round_it_leaves_nothing(self):
        run = self.new_path("run")
        process = self.start("run", self.job, "-n", 2, "--no-pin", "--run-dir", run)
        self.wait_until("agent", self.agents, process=process)
        process.send_signal(signal.SIGSTOP)  # it sees the interrupt before any agent's word
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGCONT)
        result = self.finish(process)
        self.assertEqual(result.code, 130, result)
        self.nothing_is_left()

    def test_the_second_one_ends_everything_at_once(self):
        run = self.new_path("run")
        self.use_failing_program()
        # Agent 1 stops dead while it writes; nobody can save any more.
        process = self.start("run", self.job, "-n", 2, "--no-pin", "--run-dir", run,
                             "--set", "epochs=1000000", FAIL="file.sync=stop@1", FAIL_AGENT="1")
        self.wait_until("stopped agent", lambda: [
            pid for pid in self.agents() if process_state(pid) == "T"], process=process)
        process.send_signal(signal.SIGINT)
        log = run / "logs/launcher.log"
        self.wait_until("word of the interrupt", lambda: "Ctrl-C again" in log.read_text(),
                        process=process)
        process.send_signal(signal.SIGINT)
        result = self.finish(process)
        self.one_error(result, "ended at once", code=130)
        self.assertEqual(self.state(run), "stopped")


class Stop(RunCase):
    def test_by_directory_and_by_name(self):
        for how in ("directory", "name"):
            with self.subTest(how):
                run = self.new_path("run")
                process = self.start_endless(run)
                self.assertEqual(self.state(run), "running")
                asked = self.run_instep("stop", run if how == "directory" else run.name)
                self.assertIn(str(run), asked.out)
                result = self.finish(process)
                self.assertEqual(result.code, 0, result)
                self.assertIn("stopped (stop)", result.out)
                self.nothing_is_left()
                self.assertEqual(self.state(run), "stopped")
                self.assertEqual(self.inspect(run)["round"], self.report(run)["rounds"])
                self.refused("stop", run, parts=("is not running",))

    def test_terminate_and_hang_up_are_the_same_request(self):
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
            with self.subTest(number):
                run = self.new_path("run")
                process = self.start_endless(run)
                process.send_signal(number)
                result = self.finish(process)
                self.assertEqual(result.code, 0, result)
                self.assertEqual(self.report(run)["stopped"], "stop")
                self.nothing_is_left()


class Killed(RunCase):
    # The promise is two seconds; the rest is for a machine that is busy with other tests.
    LIMIT_S = 2 + 2

    def test_launcher_leaves_no_process_and_no_shared_memory(self):
        run = self.new_path("run")
        process = self.start_endless(run)
        agents = self.agents()
        self.assertEqual(len(agents), 2)
        for agent in agents:  # their shared memory is nothing but descriptors and mappings
            maps = pathlib.Path(f"/proc/{agent}/maps").read_text()
            self.assertIn("/memfd:", maps)
            self.assertNotIn("/dev/shm/", maps)
        process.kill()
        self.wait_until("end of the agents", lambda: not self.living(), limit_s=self.LIMIT_S)
        process.wait()
        self.nothing_is_left()
        # A process gives up its descriptors, the run's lock among them, after its memory.
        self.wait_until("end of the run", lambda: self.state(run) == "died", limit_s=self.LIMIT_S)
        self.goes_on_as_if_never_stopped(run)
        self.assertEqual(self.state(run), "finished")

    def test_launcher_takes_along_what_its_agents_have_started(self):
        run = self.new_path("run")
        self.use_failing_program()
        process = self.start_endless(run, CHILD="yes")
        self.assertEqual(len(self.living()), 2 + 2 + 2)  # launcher, coordinator; agents; a child each
        process.kill()
        self.wait_until("end of all", lambda: not self.living(), limit_s=self.LIMIT_S)
        process.wait()
        self.goes_on_as_if_never_stopped(run)

    def test_launcher_before_the_agents_have_joined(self):
        process = self.start("run", self.job, "-n", 3, "--no-pin", "--run-dir", self.new_path("run"))
        self.wait_until("agent", self.agents, process=process)
        process.kill()
        self.wait_until("end of the agents", lambda: not self.living(), limit_s=self.LIMIT_S)
        self.nothing_is_left()

    def test_resume_right_after_the_launcher_was_killed(self):
        # The old agents may still be saving into the directory.
        run = self.new_path("run")
        process = self.start_endless(run)
        process.kill()
        process.wait()
        self.goes_on_as_if_never_stopped(run, agents=2)

    def test_the_last_agent_ends_the_run_with_one_clear_error(self):
        for first, last in ((1, 0), (0, 1)):
            with self.subTest(last=last):
                run = self.new_path("run")
                process = self.start_endless(run, "--quiet", "--no-replace")
                numbers = {self.number_of(pid): pid for pid in self.agents()}
                os.kill(numbers[first], signal.SIGKILL)
                self.wait_until("death", lambda: [it for it in self.records(run, "events.jsonl")
                                                  if it.get("kind") == "died"], process=process)
                self.assertEqual(self.agents(), [numbers[last]])
                os.kill(numbers[last], signal.SIGKILL)
                result = self.finish(process)
                self.one_error(result, f"agent {last} was killed by signal 9 (Killed)", code=1,
                               resumable=True)
                self.assertEqual(self.state(run), "failed")
                self.assertIn(f"agent {last} ", (run / "run.json").read_text())
                self.goes_on_as_if_never_stopped(run)

    def test_agent_while_they_start(self):
        for more in ((), ("--no-replace",)):
            with self.subTest(more):
                run = self.new_path("run")
                process = self.start("run", self.job, "-n", 2, "--quiet", "--no-pin", "--run-dir", run, *more)
                pid = self.wait_until("agent", self.agents, process=process)[0]
                number = self.number_of(pid)
                os.kill(pid, signal.SIGSEGV)
                result = self.finish(process)
                if more:
                    self.one_error(result, f"agent {number} was killed by signal 11", code=1)
                    continue
                self.assertEqual(result.code, 0, result)  # another one was started
                self.nothing_is_left()
                self.assertEqual(self.report(run)["state_sha256"], self.train(self.job, 1)["state_sha256"])

    def number_of(self, pid):
        environment = pathlib.Path(f"/proc/{pid}/environ").read_text()
        return int(re.search(r"INSTEP_AGENT=(\d+)", environment).group(1))


if __name__ == "__main__":
    instep_test.main()
