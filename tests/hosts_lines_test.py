"""Hosts on lines of unequal rates: what is measured of them, and that a host on a thin one adds up less for the others
while the bits stay the same."""
# ctest: SKIP_RETURN_CODE 77 PROCESSORS 1

import instep_test
from hosts_case import HostsCase

# 1.8 MB of gradients a round: at 20 Mbit/s a round is the exchange, and little else.
LARGE = {"shards": 8, "model.layers": [20, 20000, 2], "epochs": 10, "evaluate_each_epoch": False}
THIN = 2


class ThinLine(HostsCase):
    def lines(self, host):
        """What a host says of its line, every few rounds."""
        return [it for it in self.records(host.run_dir, "metrics.jsonl") if it["record"] == "lines"]

    def spread_anew(self, host):
        return [it for it in self.events(host) if "has the slowest line" in it.get("text", "")]

    def adds_up_less(self, outward):
        self.network.limit(20, [THIN], outward)
        hosts = self.start_all(self.job, sets=LARGE)
        (news,) = self.wait_for(hosts[0], "change of the slices", lambda: self.spread_anew(hosts[0]), limit_s=200)
        self.assertIn(f"host host{THIN} has the slowest line", news["text"])
        self.wait_for(hosts[THIN], "smaller slice", lambda: self.lines(hosts[THIN])[-1]["share"] < 0.1, limit_s=200)
        self.network.limit(10000, [THIN])
        alone = self.alone(LARGE)
        for report in self.reports(hosts):
            self.assert_same_bits(alone, report)
        for host in hosts:
            first, last = self.lines(host)[0], self.lines(host)[-1]
            self.assertAlmostEqual(first["share"], 1 / 3, 2, host)
            self.assertAlmostEqual(last["share"], 0 if host.number == THIN else 1 / 2, 1, host)
            self.assertEqual(len(first["links"]), 2, host)
            for link in first["links"]:
                self.assertGreater(link["rtt_ms"], 0, host)
                # Between others there may be too little traffic to tell.
                if link["name"] == f"host{THIN}":
                    self.assertGreater(link["mb_per_s"], 0, host)

    def test_a_host_on_a_thin_line_adds_up_less(self):
        self.adds_up_less(outward=True)

    def test_a_way_in_that_is_thin_is_seen_by_the_others(self):
        self.adds_up_less(outward=False)

    def test_two_hosts_have_nothing_to_gain(self):
        self.network.limit(20, [1])
        hosts = self.start_all(self.job, (1, 1), sets={**LARGE, "epochs": 1})
        self.reports(hosts)
        self.assertTrue(self.lines(hosts[0]))
        self.assertFalse(self.spread_anew(hosts[0]))
        # Nobody has asked for it.
        self.assertLess(self.lines(hosts[0])[-1]["sent"], 0.95)


if __name__ == "__main__":
    instep_test.main()
