"""Hosts that hear nothing of each other for as long as one may be silent, or wait as long as they may: what the product's
time-outs are for. Processors have little to do meanwhile."""
# ctest: SKIP_RETURN_CODE 77 PROCESSORS 1

import os
import signal
import subprocess
import time

import instep_test
from hosts_case import LONG, HostsCase


class HostsSilence(HostsCase):
    def linked(self, one, other):
        found = subprocess.run([*self.network.on(one), "ss", "--no-header", "--tcp", "state", "established", "dst",
                                self.network.address(other)], capture_output=True, text=True, check=True)
        return bool(found.stdout.strip())

    def test_a_first_host_that_stands_still_while_it_looks_for_another(self):
        # The ten seconds that a host has for its link were over when the first one went on, and it lost that host.
        hosts = self.in_its_midst()
        self.network.unplug(2)
        self.wait_for(hosts[0], "end of the links", lambda: not self.linked(0, 2))
        os.kill(hosts[0].process.pid, signal.SIGSTOP)
        time.sleep(11)  # that is how long it stands still
        self.network.plug(2)
        os.kill(hosts[0].process.pid, signal.SIGCONT)
        self.end_as_alone(hosts, LONG)
        self.assertFalse(self.happened(hosts[0], "lost"))
        self.assertIn("host2", [it["name"] for it in self.happened(hosts[0], "came back")])

    def test_a_cable_is_pulled(self):
        # No connection ends, neither side hears a thing: the others find out by the silence. It takes 20 s.
        hosts = self.in_its_midst()
        self.network.unplug(2)
        (lost,) = self.wait_for(hosts[0], "loss of the host", lambda: self.happened(hosts[0], "lost"))
        self.assertEqual(lost["name"], "host2")
        self.kill(hosts[2])
        self.end_as_alone(hosts[:2], LONG)

    def test_the_time_of_a_run_that_waits(self):
        sets = {**LONG, "epochs": 1000000, "stop.wall_seconds": 15}
        hosts = self.left_waiting(until_round=2, sets=sets)
        (report,) = self.reports(hosts[:1])
        self.assertEqual(report["stopped"], "wall time")


if __name__ == "__main__":
    instep_test.main()
