"""Hosts on lines that lose packets and change their order: what TCP makes of it takes longer, and nothing else."""
# ctest: SKIP_RETURN_CODE 77

import instep_test
from hosts_case import LARGE, HostsCase, Unavailable
from hosts_network import Relayed, command


class Lossy(HostsCase):
    def make_network(self):
        try:
            return Relayed(self.hosts_wanted, 1000, 1, 1500, "--lose", 5, "--late", 10)
        except Unavailable as error:
            self.skipTest(str(error))

    def counter(self, host, file, name):
        """One of the kernel's, of a host's connections so far."""
        lines = command(*self.network.on(host), "cat", f"/proc/net/{file}").splitlines()
        names, values = next(pair for pair in zip(lines, lines[1:]) if f" {name} " in f"{pair[0]} ")
        return int(values.split()[names.split().index(name)])

    def nobody_is_lost(self, sets):
        self.same_as_alone(self.job, sets)
        self.assertEqual(sorted(it["what"] for it in self.audit(self.hosts[0])),
                         ["done", "enrolled", "enrolled", "joined", "joined", "listening"])
        for host in range(self.hosts_wanted):
            self.assertGreater(self.counter(host, "snmp", "RetransSegs"), 0)
            self.assertGreater(self.counter(host, "netstat", "TCPOFOQueue"), 0)

    def test_many_short_rounds(self):
        self.nobody_is_lost({"epochs": 8, "evaluate_each_epoch": False})

    def test_rounds_of_many_packets(self):
        self.nobody_is_lost({**LARGE, "epochs": 1, "data.samples": 320})


if __name__ == "__main__":
    instep_test.main()
