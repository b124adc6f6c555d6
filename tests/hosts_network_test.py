"""The network of hosts that other tests run on, by programs that are none of ours."""
# ctest: SKIP_RETURN_CODE 77

import os
import signal
import subprocess
import sys

import instep_test
from hosts_case import JOIN_LINE, HostsCase
from hosts_network import Network, command, names, remove_leftovers

SERVER = """
import socket, sys
server = socket.create_server((sys.argv[1], 5000))
print("listening", flush=True)
connection, _ = server.accept()
count = 0
while data := connection.recv(1 << 20):
    count += len(data)
print(count, flush=True)
"""
CLIENT = """
import socket, sys
connection = socket.create_connection((sys.argv[1], 5000))
connection.sendall(bytes(int(sys.argv[2])))
"""


class HostsNetwork(HostsCase):
    def test_hosts_hear_each_other_and_nobody_else(self):
        server = self.start_on(0, sys.executable, "-c", SERVER, self.network.address(0))
        self.wait_for(server, "server", lambda: "listening" in server.printed())
        self.end_of(self.start_on(2, sys.executable, "-c", CLIENT, self.network.address(0), 3_000_000))
        self.assertEqual(self.end_of(server).out, "listening\n3000000\n")
        self.assertGreater(self.network.counted(2)[1], 3_000_000)
        self.assertLess(self.network.counted(1)[0], 100_000)
        # Another network with the same addresses has no such server.
        other = Network(1)
        self.addCleanup(other.close)
        done = subprocess.run([*other.on(0), sys.executable, "-c", CLIENT, self.network.address(0), "1"],
                              capture_output=True)
        self.assertNotEqual(done.returncode, 0)

    def test_a_rate_limits_each_host(self):
        self.network.limit(100)
        for device, name in (("eth0", self.network.name(1)), ("port1", self.network.switch)):
            self.assertIn("tbf", command("tc", "-n", name, "qdisc", "show", "dev", device))

    def test_kill_ends_all_of_one_host_alone(self):
        # The first has left its own session, and one of another session with another parent behind.
        lost = self.start_on(1, "sh", "-c", "setsid sleep 1000 & echo up; exec sleep 1000")
        other = self.start_on(2, "sleep", "1000")
        self.wait_for(lost, "both", lambda: len(self.network.pids(1)) == 2)
        self.kill(lost)
        self.assertEqual(lost.process.returncode, -signal.SIGKILL)
        self.assertEqual(self.network.pids(1), [])
        self.assertIsNone(other.process.poll())

    def test_a_host_that_ends_early_fails_the_wait_and_is_shown(self):
        host = self.start_on(1, "sh", "-c", "echo said; echo wrong >&2; exit 3")
        with self.assertRaisesRegex(AssertionError, r"(?s)before a miracle.*exit code 3.*said.*wrong"):
            self.wait_for(host, "a miracle", lambda: False)

    def test_the_join_line_is_found(self):
        line = "instep://10.77.0.1:4600/abcdef.x@sha256:00"
        for quote in ("", "'"):
            host = self.start_on(0, "echo", f"to join:\n  instep agent --join {quote}{line}{quote}\n")
            self.assertEqual(self.join_line(host), line)
        self.assertIsNone(JOIN_LINE.search("see instep agent --join instep://x"))

    def test_what_a_killed_test_leaves_is_removed(self):
        # Made by a process that is killed before it can clean up; a program of its host goes on.
        code = ("import sys, time; from hosts_network import Network; network = Network(1)\n"
                "import subprocess; subprocess.Popen([*network.on(0), 'sleep', '1000'], stdout=subprocess.DEVNULL)\n"
                "print(network.base, flush=True); time.sleep(1000)")
        maker = subprocess.Popen([sys.executable, "-B", "-c", code], stdout=subprocess.PIPE, text=True,
                                 cwd=os.path.dirname(os.path.abspath(__file__)), env=self.environment)
        base = maker.stdout.readline().strip()
        self.wait_until("its program", lambda: any(b"sleep" in line for line in self.living().values()))
        remove_leftovers()
        self.assertIn(f"{base}-host0", names(), "a living one's network stays")
        maker.kill()
        maker.communicate()
        remove_leftovers()
        self.assertEqual([name for name in names() if name.startswith(base)], [])
        self.nothing_is_left()


if __name__ == "__main__":
    instep_test.main()
