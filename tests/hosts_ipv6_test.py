"""Hosts that know each other by IPv6 addresses alone."""
# ctest: SKIP_RETURN_CODE 77

import instep_test
from hosts_case import PORT, HostsCase
from launcher_variables import torchrun, without_launchers


class HostsIpv6(HostsCase):
    hosts_wanted = 3

    def setUp(self):
        super().setUp()
        self.environment = without_launchers(self.environment)
        try:
            self.network.use_ipv6()
        except OSError as error:
            self.skipTest(f"no IPv6 here: {error}")

    def all_in_brackets(self, coordinator):
        """What the audit says of where hosts are."""
        for event in self.audit(coordinator):
            if "address" in event and event["address"]:
                self.assertRegex(event["address"], r"^\[fd77::\d\]:\d+$", event)

    def same(self, hosts):
        alone = self.alone()
        for report in self.reports(hosts):
            self.assert_same_bits(alone, report)
        self.all_in_brackets(hosts[0])
        for host in hosts[1:]:
            self.assertGreater(self.network.counted(host.number)[1], 10_000)

    def test_hosts_join_by_a_line_with_brackets(self):
        first = self.start_coordinator(self.job, agents=1, least=3)
        line = self.join_line(first)
        self.assertTrue(line.startswith(f"instep://[fd77::1]:{PORT}/"), line)
        self.assertIn(f"listening on [fd77::1]:{PORT}; ", first.printed())
        # The second one says where it listens; the third one listens where it comes from.
        self.same([first, self.start_agents(1, line, "--listen", "[fd77::2]:4700"), self.start_agents(2, line)])
        self.assertIn("[fd77::2]:4700", [it.get("address") for it in self.audit(first)])

    def test_insecure(self):
        first = self.start_coordinator(self.job, "--insecure", agents=1, least=2)
        words = f"agent --join [fd77::1]:{PORT} --insecure"
        self.wait_for(first, "line to type", lambda: words in first.printed())
        other = self.start_on(1, instep_test.INSTEP, *words.split(), "-n", 1, "--run-dir", "run", "--no-pin")
        self.same([first, other])

    def test_a_launcher_that_gives_an_address(self):
        hosts = [self.start_on(k, instep_test.INSTEP, "agent", "--from-env", self.job, "--no-pin", "--run-dir", "run",
                               INSTEP_SECRET="a secret that 2 hosts have",
                               **torchrun(k, 2, 29500, (0, 1), self.network.address(0))) for k in (0, 1)]
        hosts[1].run_dir = hosts[1].run_dir.with_name("run-rank1")
        self.same(hosts)
        self.assertIn("listening on [fd77::1]:29501 (MASTER_ADDR and MASTER_PORT + 1)\n", hosts[0].printed())

    def test_addresses_without_brackets(self):
        bad = self.start_on(0, instep_test.INSTEP, "coordinator", self.job, "--listen", "fd77::1", "--run-dir", "run")
        self.not_let_in(bad, "--listen: ", "an IPv6 address stands in brackets")


if __name__ == "__main__":
    instep_test.main()
