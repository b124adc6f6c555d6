"""Hosts that die, leave, fall silent or lose each other in the midst of a run: the same bits, and nothing lost."""
# ctest: SKIP_RETURN_CODE 77

import os
import signal
import subprocess

import instep_test
from hosts_case import LARGE, LONG, HostsCase

# Of which agents of one host die at a named place.
HURT = {**LARGE, "shards": 6, "epochs": 4}


class HostsFaults(HostsCase):
    def same(self, hosts):
        self.end_as_alone(hosts, LONG)

    def agents_on(self, host):
        return [pid for pid in self.network.pids(host.number) if pid in self.agents()]

    def test_a_host_dies(self):
        hosts = self.in_its_midst()
        self.kill(hosts[2])
        self.same(hosts[:2])
        self.trained_by(hosts[:2], 3)
        self.assertEqual([it["name"] for it in self.happened(hosts[0], "lost")], ["host2"])

    def test_all_others_die_at_once(self):
        hosts = self.in_its_midst()
        self.kill(hosts[2])
        self.kill(hosts[1])
        self.same(hosts[:1])

    def test_agents_die_on_every_host(self):
        hosts = self.in_its_midst()
        for host in hosts:
            os.kill(self.agents_on(host)[0], signal.SIGKILL)
        self.same(hosts)
        for host in hosts:
            self.assertEqual(len([it for it in self.events(host) if it.get("kind") == "died"]), 1, host)
        self.assertFalse(self.happened(hosts[0], "lost"))

    def an_agent_dies_at(self, *points):
        """One of host 1, each time in a run of its own."""
        calm = self.alone(HURT)
        self.use_failing_program()
        for point in points:
            with self.subTest(point=point):
                coordinator = self.start_coordinator(self.job, agents=1, least=4, sets=HURT)
                line = self.join_line(coordinator)
                hosts = [coordinator, self.start_agents(1, line, agents=2, FAIL=f"{point}=kill@5", FAIL_AGENT="1"),
                         self.start_agents(2, line)]
                for report in self.reports(hosts):
                    self.assert_same_bits(calm, report)
                self.assertEqual(len([it for it in self.events(hosts[1]) if it.get("kind") == "died"]), 1)

    def test_an_agent_dies_in_its_backward_pass(self):
        # Other hosts have sums of it already.
        self.an_agent_dies_at("round.told")

    def test_an_agent_dies_in_a_forward_pass_that_was_begun_ahead(self):
        # Of the next round, while the sums of the round that is due are on their way.
        self.an_agent_dies_at("ahead.begin", "ahead.waits", "ahead.over")

    def test_a_host_dies_while_the_others_have_begun_the_next_round(self):
        # Theirs was made with parameters that were not all there when its shards came to them.
        calm = self.alone(HURT)
        self.use_failing_program()
        coordinator = self.start_coordinator(self.job, agents=1, least=3, most=4, sets=HURT)
        line = self.join_line(coordinator)
        lost = self.start_agents(2, line, FAIL="ahead.begin=stop@4", FAIL_AGENT="0")
        hosts = [coordinator, self.start_agents(1, line, agents=2)]
        self.wait_for(lost, "an agent that stands still", lambda: any(
            instep_test.process_state(pid) == "T" for pid in self.network.pids(2)))
        self.kill(lost)
        for report in self.reports(hosts):
            self.assert_same_bits(calm, report)

    def test_a_host_leaves(self):
        hosts = self.in_its_midst()
        os.kill(hosts[1].process.pid, signal.SIGTERM)
        self.end_of(hosts[1], code=0)
        self.assertIn("has left the run", hosts[1].result().err)
        self.same([hosts[0], hosts[2]])
        self.assertEqual([it["name"] for it in self.happened(hosts[0], "left")], ["host1"])

    def test_the_first_host_dies(self):
        # The others finish the round with the right bits, save and end; what they saved goes on as if nothing had been.
        hosts = self.in_its_midst()
        self.kill(hosts[0])
        calm = self.alone(LONG)
        for host in hosts[1:]:
            self.assertIn("the coordinator is gone", self.end_of(host, code=1).err)
            self.assertLess(self.report(host.run_dir)["rounds"], calm["rounds"])
            self.run_instep("resume", host.run_dir, "-n", 2, "--quiet", "--no-pin")
            self.assert_same_bits(calm, self.report(host.run_dir))

    def test_a_stop_on_the_first_host_stops_all(self):
        hosts = self.in_its_midst()
        self.run_instep("stop", hosts[0].run_dir, "--quiet")
        reports = self.reports(hosts)
        self.assertEqual(len({report["rounds"] for report in reports}), 1)
        for report in reports[1:]:
            self.assert_same_bits(reports[0], report)
        for host in hosts:
            self.run_instep("resume", host.run_dir, "-n", 1, "--quiet", "--no-pin")
            self.assert_same_bits(self.alone(LONG), self.report(host.run_dir))

    def test_a_launcher_that_stands_still(self):
        hosts = self.in_its_midst()
        for host in hosts[:2]:
            os.kill(host.process.pid, signal.SIGSTOP)
        before = self.audit(hosts[0])
        for host in hosts[:2]:
            os.kill(host.process.pid, signal.SIGCONT)
        self.same(hosts)
        self.assertEqual([it["what"] for it in self.audit(hosts[0])[len(before):]], ["done"])

    def test_links_that_break_are_made_again(self):
        hosts = self.in_its_midst()
        broken = subprocess.run([*self.network.on(1), "ss", "--kill", "--tcp", "state", "established"],
                                capture_output=True, text=True)
        if "not supported" in broken.stderr:
            self.skipTest("this kernel does not break connections for others")
        self.assertGreater(len(broken.stdout.splitlines()), 2, broken.stderr)
        self.same(hosts)
        self.assertFalse(self.happened(hosts[0], "lost"))
        self.assertTrue(self.happened(hosts[0], "came back"))


if __name__ == "__main__":
    instep_test.main()
