"""`instep run --hosts`: a run of several hosts from one command. In the place of ssh stands a script that runs the
words here, in a folder a host."""

import os
import pathlib
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

    def words(self, hosts, *more):
        where = ("--hosts", hosts) if isinstance(hosts, str) else ("--hostfile", hosts)
        return ("run", self.job, *where, "--rsh", self.rsh, "--listen", "127.0.0.1", "--no-pin", *more)

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
            self.assertIn("instep", (run / f"logs/host-{name}.log").read_text())
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
        self.one_error(result, "host b has not joined: ", "exit code 127")
        self.assertIn("no/such", result.err)

    def test_where_and_what_runs_there(self):
        folder = self.new_path("it's here")
        folder.mkdir()
        (folder / "my instep").symlink_to(INSTEP)
        self.run_instep(*self.words("localhost:1,b:1", "--remote-dir", folder, "--remote-instep", "./my instep"))
        self.assertEqual([it.name for it in folder.iterdir() if it.name != "my instep"], ["runs"])

    def test_a_host_that_dies_in_mid_run_is_gone_on_without(self):
        run = self.new_path("run")
        process = self.start(*self.words("localhost:1,b:1", "--run-dir", run, *settings({"epochs": 2000})))
        self.wait_until("checkpoint", lambda: self.checkpoints_told(run), process=process)
        for pid, command in self.living().items():
            if b"--join - --name b" in command and command.startswith(bytes(INSTEP)):
                os.kill(pid, signal.SIGKILL)
        lost = lambda: [it for it in self.records(run, "events.jsonl") if "host b is lost" in it.get("text", "")]
        self.wait_until("loss", lost, process=process)
        told = len(self.checkpoints_told(run))
        self.wait_until("next checkpoint", lambda: len(self.checkpoints_told(run)) > told, process=process)
        process.send_signal(signal.SIGTERM)
        self.assertEqual(self.finish(process).code, 0)
        self.nothing_is_left()
        self.goes_on_as_if_never_stopped(run)

    def test_the_first_hosts_launcher_is_killed(self):
        run = self.new_path("run")
        process = self.start(*self.words("localhost:1,b:1", "--run-dir", run, *settings({"epochs": 1000000})))
        self.wait_until("checkpoint", lambda: self.checkpoints_told(run), process=process)
        process.kill()
        self.finish(process)
        self.wait_until("end of all hosts", lambda: not self.living())
        self.goes_on_as_if_never_stopped(self.run_of_host("b"), 2)

    def test_a_stop_while_hosts_are_waited_for(self):
        run = self.new_path("run")
        process = self.start(*self.words("localhost:1,b:1,deaf", "--run-dir", run))
        log = run / "logs/launcher.log"
        self.wait_until("host b", lambda: log.exists() and "host b has joined" in log.read_text(), process=process)
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
                (("--hosts", "localhost,b", "-n", 2), ["-n says nothing where hosts are listed"]),
                (("--hosts", "localhost,b", "--hostfile", empty), ["--hostfile excludes --hosts"]),
                (("--hosts", "localhost,b", "--", "true"), ["one host only"]),
                (("--hostfile", empty), [empty, "lists no host"]),
                (("--hostfile", bad), [f"{bad}:2: found '0'; allowed: 1 to 64 slots"]),
                (("--hostfile", self.folder / "none"), [self.folder / "none", "No such file"]),
                (("--remote-dir", "x"), ["--remote-dir is of use only with --hosts"]),
                (("--listen", "x"), ["--listen is of use only with --hosts"])):
            with self.subTest(words=words):
                self.refused(*run, *words, parts=parts)

    def test_a_line_to_join_by_on_the_standard_input(self):
        self.refused("agent", "--join", "-", parts=["no line to join by on the standard input"])


if __name__ == "__main__":
    instep_test.main()
