"""Hosts that are lost until fewer agents are left than `-n MIN:MAX` asks for: the run stands still until others have
joined, with the same bits; or it ends, and goes on later."""
# ctest: SKIP_RETURN_CODE 77

import os
import signal

import instep_test
from hosts_case import LONG, HostsCase


class HostsWait(HostsCase):
    def goes_on_alone(self, host, sets=LONG):
        """`instep resume` of what a host has saved: as if nothing had been."""
        self.run_instep("resume", host.run_dir, "-n", 2, "--quiet", "--no-pin")
        self.assert_same_bits(self.alone(sets), self.report(host.run_dir))

    def test_a_host_that_comes_back_in_time(self):
        hosts = self.left_waiting()
        first = hosts[0]
        self.assertIn("1 of at least 2 agents are there: the run waits 60 s for hosts to join\n"
                      f"  on another machine: instep agent --join {self.line}\n", first.printed())
        for file in first.run_dir.rglob("*"):  # the token is shown, and kept nowhere
            if file.is_file():
                self.assertNotIn(self.line.encode(), file.read_bytes(), file)
        again = self.start_agents(1, self.line)
        self.is_in(again)
        self.waits(first, "the run goes on with 2 agents on 2 hosts")
        self.end_as_alone([first, again], LONG)
        self.trained_by([first, again], 2)
        self.assertEqual([it["what"] for it in self.audit(first)],
                         ["listening", "enrolled", "joined", "lost", "waiting", "enrolled", "joined", "went on",
                          "done"])

    def test_others_wait_too_until_enough_have_come(self):
        hosts = self.left_waiting(agents=(1, 1, 2))
        self.assertIn("2 of at least 4 agents are there", hosts[1].printed())
        self.assertNotIn("--join", hosts[1].printed())
        one = self.start_agents(2, self.line)
        self.waits(hosts[1], "3 of at least 4 agents are there")
        # An agent that dies meanwhile is a matter of its host.
        pid = next(pid for pid in self.network.pids(1) if pid in self.agents())
        os.kill(pid, signal.SIGKILL)
        other = self.start_agents(2, self.line)
        self.is_in(other)
        self.end_as_alone([*hosts[:2], one, other], LONG)

    def test_nobody_comes(self):
        # No checkpoint but that of the end: what was done until then is not done again.
        sets = {**LONG, "checkpoint.every_rounds": 0, "checkpoint.every_epochs": 0}
        hosts = self.left_waiting("--elastic-timeout", "1s", agents=(1, 2, 1), sets=sets)
        for host in hosts[:2]:
            self.assertIn("3 of at least 4 agents are left, and no others have joined within 1 s; go on with",
                          self.end_of(host, code=1).err)
            self.goes_on_alone(host)

    def test_a_run_that_waits_for_nobody(self):
        hosts = self.under_way((1, 2, 1), "--elastic-timeout", "0", until_round=10, least=4, sets=LONG)
        self.kill(hosts[2])
        for host in hosts[:2]:
            self.assertIn("3 of at least 4 agents are left; go on with", self.end_of(host, code=1).err)
            self.assertFalse(self.told(host, "the run waits"))

    def test_a_stop_of_a_run_that_waits(self):
        hosts = self.left_waiting(agents=(1, 2, 1))
        hosts[0].process.send_signal(signal.SIGTERM)
        reports = self.reports(hosts[:2])
        self.assert_same_bits(*reports)
        for host in hosts[:2]:
            self.goes_on_alone(host)

    def test_a_host_that_leaves_a_run_that_waits(self):
        hosts = self.left_waiting(agents=(1, 2, 1))
        hosts[1].process.send_signal(signal.SIGTERM)
        self.end_of(hosts[1], code=0)
        self.waits(hosts[0], "1 of at least 4 agents are there")
        again = [self.start_agents(1, self.line, agents=2), self.start_agents(2, self.line)]
        for host in again:
            self.is_in(host)
        self.end_as_alone([hosts[0], *again], LONG)

    def test_the_first_host_dies_while_the_run_waits(self):
        hosts = self.left_waiting(agents=(1, 2, 1))
        self.kill(hosts[0])
        self.assertIn("the coordinator is gone", self.end_of(hosts[1], code=1).err)
        self.goes_on_alone(hosts[1])


if __name__ == "__main__":
    instep_test.main()
