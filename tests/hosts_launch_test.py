"""`instep run --hosts`: a run of several hosts from one command. In the place of ssh stands a script that runs the
words here, in a folder a host."""

import json
import os
import signal

import instep_test
from instep_test import INSTEP, settings
from run_case import RunCase

# As ssh: a host, "--", and words for a shell there. It notes what can be seen of it from outside.
RSH = """\
#!/bin/sh
host=$1
mkdir -p "$HOSTS/$host" && cd "$HOSTS/$host" || exit 255
tr '\\0' ' ' < /proc/$$/cmdline > words
case $host in
  unknown) echo "ssh: Could not resolve hostname unknown: Name or service not known" >&2; exit 255 ;;
  deaf) exec sleep 1000 ;;
  flaky) if [ -e came ] && [ ! -e again ]; then touch again; echo "ssh: no route" >&2; exit 255; fi; touch came ;;
esac
shift 2
unset INSTEP_FAILPOINTS
sh -c "$*"
code=$?
echo $code > code
exit $code
"""


class Launch(RunCase):
    def setUp(self):
        super().setUp()
        self.hosts = self.new_path("hosts")
        self.rsh = self.new_path("rsh")
        self.rsh.write_text(RSH)
        self.rsh.chmod(0o755)
        self.environment["HOSTS"] = str(self.hosts)

    def words(self, hosts, *more, listen="127.0.0.1"):
        where = ("--hosts", hosts) if isinstance(hosts, str) else ("--hostfile", hosts)
        return ("run", self.job, *where, "--rsh", self.rsh, "--listen", listen, "--no-pin", *more)

    def of_host(self, name, file):
        return (self.hosts / name / file).read_text()

    def run_of_host(self, name):
        (run,) = (self.hosts / name / "runs").iterdir()
        return run

    def test_one_command_trains_on_all_hosts(self):
        file = self.new_path("hostfile")
        file.write_text("# ours\nlocalhost slots=2\nb:1\nme@c slots=4 max_slots=1\n")
        run = self.new_path("run")
        result = self.run_instep(*self.words(file, "--run-dir", run))
        self.assertEqual(result.err, "")
        for line in ("starting b, me@c by ", "host b has joined with 1 agent\n", "host me_c has joined with 1 agent\n"):
            self.assertIn(line, result.out)
        report = self.report(run)
        self.assert_same_bits(self.train(self.job, 1), report)
        for name in ("b", "me@c"):
            self.assertEqual(self.report(self.run_of_host(name))["state_sha256"], report["state_sha256"])
            self.assertEqual(self.of_host(name, "code"), "0\n")
            said = (run / f"logs/host-{name}.log").read_text()
            self.assertIn("instep", said)
            self.assertNotIn("the coordinator is not heard any more", said)
        self.nothing_is_left()

    def test_the_token_is_on_no_command_line(self):
        run = self.new_path("run")
        self.run_instep(*self.words("localhost:1,b:1", "--run-dir", run))
        words = self.of_host("b", "words")
        self.assertIn("b -- ", words)
        self.assertIn("agent --join - ", words)
        self.assertNotIn("instep://", words)

    def test_a_host_that_cannot_be_reached_ends_the_run(self):
        run = self.new_path("run")
        result = self.run_instep(*self.words("localhost:1,b:1,unknown,deaf", "--run-dir", run), code=2)
        self.one_error(result, "host unknown has not joined: ", "-rsh ended with exit code 255; its last words:")
        self.assertIn("    ssh: Could not resolve hostname unknown: Name or service not known\n", result.err)
        self.assertFalse(run.exists())

    def test_an_rsh_that_is_none(self):
        self.refused("run", self.job, "--hosts", "localhost,b", "--listen", "127.0.0.1", "--rsh", "no-such-shell -x",
                     parts=["no program 'no-such-shell'"])

    def test_a_host_without_instep(self):
        result = self.run_instep(*self.words("localhost:1,b:1", "--remote-instep", "no/such"), code=2)
        self.one_error(result, "host b has not joined: ",
                       "exit code 127 (instep must be installed there, or --remote-instep say where it is)")
        self.assertIn("no/such", result.err)

    def test_where_and_what_runs_there(self):
        folder = self.new_path("it's here")
        folder.mkdir()
        (folder / "my instep").symlink_to(INSTEP)
        self.run_instep(*self.words("localhost:1,b:1", "--remote-dir", folder, "--remote-instep", "./my instep"))
        self.assertEqual([it.name for it in folder.iterdir() if it.name != "my instep"], ["runs"])

    def under_way(self, *words, epochs=1000000):
        """A run that has got some way, its directory, and the process on this machine."""
        run = self.new_path("run")
        process = self.start(*self.words(*words, "--run-dir", run,
                                         *settings({"epochs": epochs, "evaluate_each_epoch": False})))
        self.goes_on(run, process)
        return run, process

    def goes_on(self, run, process):
        told = len(self.checkpoints_told(run))
        self.wait_until("next checkpoint", lambda: len(self.checkpoints_told(run)) > told, process=process)

    def kill_host(self, name, number=signal.SIGKILL):
        for pid, command in self.living().items():
            if f"--join - --name {name}".encode() in command and command.startswith(bytes(INSTEP)):
                os.kill(pid, number)

    def tells(self, run, process, words, times=1):
        """Waits until the run has said so, so many times."""
        def told():
            return [it for it in self.records(run, "events.jsonl") if words in it.get("text", "")]
        self.wait_until(words, lambda: len(told()) >= times, process=process)

    def ends_as_if_never_stopped(self, run, process, *other_runs):
        """Stopped on all hosts; those `other_runs` end with the same bits."""
        self.run_instep("stop", run, "--quiet")
        self.assertEqual(self.finish(process).code, 0)
        self.nothing_is_left()
        for other in other_runs:
            self.assert_same_bits(self.report(run), self.report(other))
        self.goes_on_as_if_never_stopped(run)

    def test_a_host_that_dies_in_mid_run_is_started_again(self):
        run, process = self.under_way("localhost:1,b:1")
        for times in (1, 2):
            self.kill_host("b")
            self.tells(run, process, "host b is lost", times)
            self.tells(run, process, "host b is started again by ", times)
            self.tells(run, process, "host b has joined with 1 agent", times + 1)
            self.wait_until("its part", lambda: len(list((self.hosts / "b/runs").iterdir())) == times + 1,
                            process=process)
        newest = max((self.hosts / "b/runs").iterdir(), key=lambda it: it.stat().st_mtime)
        self.tells(newest, process, "this host comes into the run")
        self.goes_on(run, process)
        self.ends_as_if_never_stopped(run, process, newest)

    def test_a_run_with_too_few_agents_waits_for_the_host_that_is_started_again(self):
        run, process = self.under_way("localhost:1,b:1", "-n", "2:2")
        self.kill_host("b")
        self.tells(run, process, "1 of at least 2 agents are there: the run waits 60 s for hosts to join")
        self.tells(run, process, "the run goes on with 2 agents on 2 hosts")
        self.goes_on(run, process)
        self.ends_as_if_never_stopped(run, process)

    def test_a_start_that_fails_is_tried_again(self):
        run, process = self.under_way("localhost:1,flaky:1")
        self.kill_host("flaky")
        self.tells(run, process, f"host flaky: {self.rsh.name} ended with exit code 255; it is started again in 1 s")
        self.tells(run, process, "host flaky has joined", 2)
        self.assertIn("ssh: no route\n", (run / "logs/host-flaky.log").read_text())
        self.ends_as_if_never_stopped(run, process)

    def test_a_host_that_ends_well_is_not_started_again(self):
        run, process = self.under_way("localhost:1,b:1")
        self.kill_host("b", signal.SIGTERM)
        self.tells(run, process, "host b leaves")
        self.wait_until("its command's end", (self.hosts / "b/code").exists, process=process)
        self.goes_on(run, process)
        self.ends_as_if_never_stopped(run, process)
        self.assertEqual(len(list((self.hosts / "b/runs").iterdir())), 1)

    def test_a_host_that_dies_in_mid_run_is_gone_on_without(self):
        run, process = self.under_way("localhost:1,b:1", "--no-replace")
        self.kill_host("b")
        self.tells(run, process, "host b is lost")
        self.goes_on(run, process)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(self.finish(process).code, 0)
        self.nothing_is_left()
        self.goes_on_as_if_never_stopped(run)

    def test_others_join_up_to_the_most(self):
        run, process = self.under_way("localhost:1,b:1", "-n", "2:3")
        line = self.run_instep("token", run, "--make").out.strip()
        other, late = self.new_path("other"), self.new_path("late")
        join = ("agent", "--join", line, "-n", 1, "--no-pin")
        third = self.start(*join, "--run-dir", other)
        self.tells(other, third, "this host comes into the run")
        self.goes_on(run, process)
        self.assertIn("the run has 3 agents of at most 3", self.run_instep(*join, "--run-dir", late, code=1).err)
        self.ends_as_if_never_stopped(run, process, other)
        self.assertEqual(self.finish(third).code, 0)

    def test_fewer_than_the_least_end_the_run(self):
        run, process = self.under_way("localhost:1,b:1", "-n", "2:3", "--no-replace", "--elastic-timeout", "1s")
        self.kill_host("b")
        self.assertIn("1 of at least 2 agents are left", self.finish(process).err)
        self.assertIn("the run waits 1 s for hosts to join", str(self.records(run, "events.jsonl")))
        self.goes_on_as_if_never_stopped(run)

    def test_resumed_on_all_hosts(self):
        run, process = self.under_way("localhost:1,b:1", epochs=1000000)
        self.run_instep("stop", run, "--quiet")
        self.assertEqual(self.finish(process).code, 0)
        rounds = self.report(run)["rounds"]
        epochs = int(self.inspect(run)["data_epoch"]) + 2
        again = ("resume", run, *self.words("localhost:1,b:1,c:2")[2:], "--set", f"epochs={epochs}")
        self.assertIn("host c has joined with 2 agents", self.run_instep(*again).out)
        report = self.report(run)
        self.assertGreater(report["rounds"], rounds)
        self.assertEqual(report["rounds"], 10 * epochs)
        straight = self.train(self.job, 1, {"epochs": epochs, "evaluate_each_epoch": False})
        for other in (report, self.report(self.run_of_host("c"))):
            self.assertEqual(other["state_sha256"], straight["state_sha256"])
        alone = ("resume", run, "--hosts", "localhost:2", "--no-pin", "--set", f"epochs={epochs + 1}")
        self.run_instep(*alone)
        self.assertEqual(self.report(run)["rounds"], 10 * epochs + 10)

    def test_the_first_hosts_launcher_is_killed(self):
        # That it has ended is seen at once, also where it is known by a name.
        for listen, name in (("127.0.0.1", "b"), ("localhost", "c")):
            run = self.new_path("run")
            process = self.start(*self.words(f"localhost:1,{name}:1", "--run-dir", run, *settings({"epochs": 1000000}),
                                             listen=listen))
            self.wait_until("checkpoint", lambda: self.checkpoints_told(run), process=process)
            process.kill()
            self.finish(process)
            self.wait_until("end of all hosts", lambda: not self.living())
            other = self.run_of_host(name)
            self.assertEqual(json.loads((other / "run.json").read_text())["message"],
                             "the coordinator is gone: the coordinator has ended")
            self.goes_on_as_if_never_stopped(other, 2)

    def test_a_stop_while_hosts_are_waited_for(self):
        run = self.new_path("run")
        process = self.start(*self.words("localhost:1,b:1,deaf", "--run-dir", run))
        log = run / "logs/launcher.log"
        self.wait_until("host b", lambda: log.exists() and "host b has joined" in log.read_text(), process=process)
        words = f"waiting for deaf: what {self.rsh.name} says is in {run}/logs\n"
        self.wait_until(words, lambda: words in log.read_text(), process=process)
        process.send_signal(signal.SIGINT)
        self.assertEqual(self.finish(process).code, 130)
        self.nothing_is_left()

    def test_only_this_machine(self):
        run = self.new_path("run")
        self.run_instep("run", self.job, "--hosts", f"{os.uname().nodename}:2", "--no-pin", "--run-dir", run)
        self.assertEqual(self.report(run)["agents"], 2)

    def test_bad_lists(self):
        empty, bad = self.new_path("empty"), self.new_path("bad")
        empty.write_text("# nobody\n")
        bad.write_text("localhost\nb slots=0\n")
        run = ("run", self.job)
        for words, parts in (
                (("--hosts", "b,c"), ["none of the hosts is this machine", "add localhost", "on b"]),
                (("--hosts", "localhost,b:0"), ["--hosts: found '0'; allowed: 1 to 64 slots"]),
                (("--hosts", "localhost,b,b:2"), ["--hosts: host b is listed twice"]),
                (("--hosts", "localhost:1,127.0.0.1:1"), ["localhost and 127.0.0.1 are both this machine"]),
                (("--hosts", "localhost:4,b:4"), ["the hosts have 8 slots, and the job 4 shards"]),
                (("--hosts", "localhost,b", "--listen", "x:y"), ["--listen: "]),
                (("--hosts", "localhost,b", "--rsh", " "), ["--rsh needs a command"]),
                (("--hosts", "localhost:2,b:1", "-n", 2), ["the hosts have 3 slots, and -n allows 2 agents"]),
                (("--hosts", "localhost:2,b:1", "-n", "3:5"), ["5 agents in all: the job has 4 shards"]),
                (("--hosts", "localhost:2", "-n", 3), ["-n is of all hosts together", "localhost:2"]),
                (("--hosts", "localhost,b", "--hostfile", empty), ["--hostfile excludes --hosts"]),
                (("--hosts", "localhost,b", "--", "true"), ["one host only"]),
                (("--hostfile", empty), [empty, "lists no host"]),
                (("--hostfile", bad), [f"{bad}:2: found '0'; allowed: 1 to 64 slots"]),
                (("--hostfile", self.folder / "none"), [self.folder / "none", "No such file"]),
                (("--remote-dir", "x"), ["--remote-dir is of use only with --hosts"]),
                (("--listen", "x"), ["--listen is of use only with --hosts"])):
            with self.subTest(words=words):
                self.refused(*run, *words, parts=parts)

    def test_bad_flags_of_resume(self):
        run = ("resume", self.new_path("run"))
        hosts = ("--hosts", "localhost,b")
        for words, part in (((*hosts, "--local", 1), "--hosts excludes --local"),
                            ((*hosts, "--insecure"), "--hosts excludes --insecure"),
                            (("--rsh", "x"), "--rsh is of use only with --hosts"),
                            (hosts, "no run")):
            with self.subTest(words=words):
                self.refused(*run, *words, parts=[part])

    def test_a_line_to_join_by_on_the_standard_input(self):
        self.refused("agent", "--join", "-", parts=["no line to join by on the standard input"])


if __name__ == "__main__":
    instep_test.main()
