"""`--insecure`: hosts join a coordinator by its address alone; every log says so, and nothing else is as open."""
# ctest: SKIP_RETURN_CODE 77

import re
import signal
import sys

import instep_test
from hosts_case import PORT, HostsCase

PRINTED = re.compile(r"^  instep (agent --join \S+ --insecure)$", re.MULTILINE)

# Speaks TLS to a port, and plain text; prints what it gets.
SPEAK = """\
import socket, ssl, sys
where = (sys.argv[1], int(sys.argv[2]))
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
with context.wrap_socket(socket.create_connection(where, 20)) as it:
    print(it.version())
with socket.create_connection(where, 20) as it:
    it.sendall(b"x" * 100)
    print(b"host" in it.recv(4096))
"""


class Insecure(HostsCase):
    hosts_wanted = 3

    def open_to_all(self, *arguments, **options):
        """A coordinator without a secret, and the words that it says to type on other hosts."""
        coordinator = self.start_coordinator(self.job, "--insecure", *arguments, **{"least": 2, **options})
        found = self.wait_for(coordinator, "line to type", lambda: PRINTED.search(coordinator.printed()))
        return coordinator, found[1].split()

    def join(self, *words, number=1):
        return self.start_on(number, instep_test.INSTEP, *words, "-n", 1, "--run-dir", "run", "--no-pin")

    def address(self):
        return f"{self.network.address(0)}:{PORT}"

    def test_all_logs_say_what_it_means(self):
        coordinator, words = self.open_to_all()
        self.assertEqual(words, ["agent", "--join", self.address(), "--insecure"])
        spoken = self.end_of(self.start_on(1, sys.executable, "-c", SPEAK, self.network.address(0), PORT))
        self.assertEqual(spoken.out, "TLSv1.3\nFalse\n")
        hosts = [coordinator, self.join(*words)]
        alone = self.alone()
        for report in self.reports(hosts):
            self.assert_same_bits(alone, report)
        means = f"--insecure: anyone who reaches {self.address()} can join this run"
        for host in hosts:
            self.assertIn(means, host.result().err)
            self.assertIn(means, (host.run_dir / "logs/launcher.log").read_text())
        audit = self.audit(coordinator)
        self.assertEqual([it["what"] for it in audit if it["what"] != "turned away"],
                         ["listening", "enrolled", "joined", "done"])
        self.assertIn(means, audit[0]["reason"])

    def test_a_line_of_an_open_run_says_it_too(self):
        # A host that had joined by such a line wrote no word of it.
        coordinator, _ = self.open_to_all()
        line = self.run_instep("token", coordinator.run_dir, "--make").out.strip()
        self.assertRegex(line, r"\Ainstep://")
        host = self.join("agent", "--join", line)
        self.reports([coordinator, host])
        means = f"--insecure: anyone who reaches {self.address()} can join this run"
        self.assertIn(means, host.result().err)
        self.assertIn(means, (host.run_dir / "logs/launcher.log").read_text())

    def test_one_side_alone_is_refused(self):
        secure = self.start_coordinator(self.job, least=2)
        line = self.join_line(secure)
        for words, parts in (((self.address(), "--insecure"), ["is no coordinator that was begun with --insecure"]),
                             ((self.address(),), [f"--join: {self.address()} lets nobody in by itself", "instep://"]),
                             ((line, "--insecure"), ["--join: ", "this line has a token", "leave --insecure out"])):
            self.not_let_in(self.join("agent", "--join", *words), *parts)
        self.assertEqual([it for it in self.audit(secure) if it["what"] in ("enrolled", "refused")], [])
        joined = self.start_agents(1, line)
        self.reports([secure, joined])
        self.assertNotIn("anyone who reaches", joined.result().err)
        open_one, words = self.open_to_all()
        self.not_let_in(self.join("agent", "--join", line), "its fingerprint is another than in the join line")
        self.reports([open_one, self.join(*words)])

    def test_a_resumed_run_may_be_open_too(self):
        secure = self.start_coordinator(self.job, least=1, sets={"epochs": 1})
        self.reports([secure])
        again = self.start_on(0, instep_test.INSTEP, "resume", secure.run_dir, "--listen", self.address(), "--insecure",
                              "-n", 2, "--local", 1, "--no-pin", "--set", "epochs=3")
        again.run_dir = secure.run_dir
        found = self.wait_for(again, "line to type", lambda: PRINTED.search(again.printed()))
        other = self.join(*found[1].split())
        for report in self.reports([again, other]):
            self.assert_same_bits(self.alone({"epochs": 3}), report)

    def test_a_host_of_an_earlier_run_is_none_of_this_one(self):
        # Both runs have the same key, and a host 1.
        endless = {"epochs": 1000000, "evaluate_each_epoch": False}
        first, words = self.open_to_all(sets=endless)
        left = self.join(*words)
        self.wait_for_round(first, 8)
        left.process.send_signal(signal.SIGSTOP)
        self.kill(first)
        again, words = self.open_to_all(sets=endless)
        other = self.join(*words, number=2)
        self.wait_for_round(other, 8)
        left.process.send_signal(signal.SIGCONT)
        self.assertIn("it belongs to another run", self.end_of(left, 1).err)
        self.run_instep("stop", again.run_dir, "--quiet")
        self.assert_same_bits(*self.reports([again, other]))
        self.assertEqual([it["what"] for it in self.audit(again)], ["listening", "enrolled", "joined", "done"])

    def test_flags_that_contradict(self):
        for words, part in ((("coordinator", self.job, "--insecure", "--token-ttl", "1h"), "--token-ttl"),
                            (("resume", "x", "--insecure"), "--insecure is of runs on many hosts"),
                            (("agent", "--insecure"), "--join LINE"),
                            (("agent", "--join", "a:0", "--insecure"), "port 0"),
                            (("agent", "--join", "a b", "--insecure"), "that is no host")):
            with self.subTest(words=words):
                self.one_error(self.run_instep(*words, code=2), part)


if __name__ == "__main__":
    instep_test.main()
