"""`instep run --hosts` by OpenSSH, with an sshd on each of the other hosts. Skipped where there is no sshd: what installs
the tools for tests shall not start one on anybody's machine."""
# ctest: SKIP_RETURN_CODE 77

import os
import pathlib
import shutil
import signal

import instep_test
from hosts_case import HostsCase
from hosts_network import command
from instep_test import INSTEP, settings

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
if SSHD is None or shutil.which("ssh") is None:
    print("skipped: OpenSSH's server and client are not installed")
    raise SystemExit(77)
if pathlib.Path("~root").expanduser() in INSTEP.parents:
    print("skipped: hosts that have a home of their own would not have what is built in this one")
    raise SystemExit(77)

CONFIG = """\
Port 22
HostKey {folder}/hostkey
PidFile {folder}/pid
AuthorizedKeysFile {folder}/authorized
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
StrictModes no
"""
# A host is a machine with a home and a place for sshd of its own: what is mounted is its alone.
MACHINE = 'mount -t tmpfs none /run && mkdir /run/sshd && mount --bind "$0" ~root && exec "$@"'


class Ssh(HostsCase):
    def setUp(self):
        super().setUp()
        self.keys = self.new_path("keys")
        self.keys.mkdir()
        self.make_key(self.keys / "id_ed25519")
        for host in (1, 2):
            self.start_sshd(host)
        self.use_key(self.home(0))

    @staticmethod
    def make_key(path):
        command("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(path))

    def home(self, host):
        folder = self.folder / f"home{host}"
        (folder / ".ssh").mkdir(parents=True, exist_ok=True, mode=0o700)
        return folder

    def use_key(self, home):
        shutil.copy(self.keys / "id_ed25519", home / ".ssh")
        (home / ".ssh/id_ed25519").chmod(0o600)
        (home / ".ssh/known_hosts").write_text("".join(
            f"{self.network.address(host)} {(self.sshd_folder(host) / 'hostkey.pub').read_text()}" for host in (1, 2)))

    def sshd_folder(self, host):
        return self.folder / f"sshd{host}"

    def start_sshd(self, host):
        folder = self.sshd_folder(host)
        if not folder.exists():
            folder.mkdir()
            self.make_key(folder / "hostkey")
            shutil.copy(self.keys / "id_ed25519.pub", folder / "authorized")
            (folder / "config").write_text(CONFIG.format(folder=folder))
        (folder / "pid").unlink(missing_ok=True)
        machine = self.start_machine(host, SSHD, "-D", "-e", "-f", folder / "config")
        self.wait_for(machine, "sshd", (folder / "pid").exists)

    def start_machine(self, host, *words):
        return self.start_on(host, "unshare", "--mount", "sh", "-c", MACHINE, self.home(host), *words)

    def start_run(self, *more, hosts=(1, 2), sets=None):
        """`instep run --hosts` on host 0, by ssh."""
        listed = ",".join(f"{self.network.address(k)}:1" for k in (0, *hosts))
        return self.start_machine(0, INSTEP, "run", self.job, "--hosts", listed, "--no-pin", "--run-dir", "run", *more,
                                  *settings(sets or {}))

    def runs_of(self, host):
        """Their names are the times when they began."""
        return sorted((self.home(host) / "runs").iterdir())

    def no_command_is_left(self):
        """On the other hosts only their sshd lives."""
        self.wait_until("end of all commands", lambda: all(len(self.network.pids(k)) == 1 for k in (1, 2)))
        self.assertEqual(self.network.pids(0), [])

    def under_way(self, *more):
        host = self.start_run(*more, sets={"epochs": 1000000, "evaluate_each_epoch": False})
        self.goes_on(host)
        return host

    def goes_on(self, host):
        told = len(self.checkpoints_told(host.run_dir))
        self.wait_for(host, "next checkpoint", lambda: len(self.checkpoints_told(host.run_dir)) > told)

    def tells(self, host, words, times=1):
        self.wait_for(host, words, lambda: host.printed().count(words) >= times)

    def test_all_hosts_end_with_the_same_bits(self):
        host = self.start_run()
        self.end_of(host)
        report = self.report(host.run_dir)
        self.assert_same_bits(self.train(self.job, 1), report)
        for other in (1, 2):
            (run,) = self.runs_of(other)
            self.assert_same_bits(report, self.report(run))
        self.no_command_is_left()

    def test_what_ssh_says_and_what_to_do(self):
        b = self.network.address(2)
        known = self.home(0) / ".ssh/known_hosts"
        known.write_text(known.read_text().splitlines(keepends=True)[0])
        advice = f"(`ssh {b}` must work here without any question)"
        self.refused_by(b, advice, "Host key verification failed.")
        self.use_key(self.home(0))
        (self.home(0) / ".ssh/id_ed25519").unlink()
        self.refused_by(b, advice, "Permission denied (publickey).", hosts=(2,))
        self.use_key(self.home(0))
        self.refused_by(b, "instep must be installed there", "instep: not found", "--remote-instep", "instep",
                        hosts=(2,))
        self.network.kill(2)
        self.refused_by(b, advice, "Connection refused")

    def refused_by(self, name, advice, words, *more, hosts=(1, 2)):
        result = self.end_of(self.start_run(*more, hosts=hosts), 2)
        self.assertIn(f"instep: host {name} has not joined: ssh ended with exit code ", result.err)
        self.assertIn(advice, result.err)
        self.assertIn(words, result.err)

    def test_an_interrupt_ends_the_run_on_all_hosts(self):
        host = self.under_way()
        os.killpg(host.process.pid, signal.SIGINT)  # as a terminal does: its commands hear it too
        self.end_of(host, 130)
        self.no_command_is_left()
        for other in (1, 2):
            (run,) = self.runs_of(other)
            self.assertEqual(self.report(run)["state_sha256"], self.report(host.run_dir)["state_sha256"])

    def test_the_starter_is_killed(self):
        host = self.under_way()
        self.kill(host)
        self.no_command_is_left()
        for other in (1, 2):
            (run,) = self.runs_of(other)
            self.goes_on_as_if_never_stopped(run, 1)

    def test_a_machine_that_dies_and_comes_back(self):
        host = self.under_way()
        name = f"host {self.network.address(2)}"
        self.network.kill(2)
        self.tells(host, f"{name} is lost")
        self.tells(host, f"{name}: ssh ended with exit code 255; it is started again in")
        self.start_sshd(2)
        self.tells(host, f"{name} has joined with 1 agent", 2)
        self.wait_for(host, "second run directory", lambda: len(self.runs_of(2)) == 2)
        again = self.runs_of(2)[-1]
        self.wait_for(host, "its part", lambda: any(
            "this host comes into the run" in it.get("text", "") for it in self.records(again, "events.jsonl")))
        self.goes_on(host)
        host.process.send_signal(signal.SIGTERM)
        self.end_of(host)
        self.no_command_is_left()
        self.assertEqual(self.report(again)["state_sha256"], self.report(host.run_dir)["state_sha256"])


if __name__ == "__main__":
    instep_test.main()
