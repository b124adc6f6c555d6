"""Hosts that come into a run under way: from the round on with which they come in they compute, and the bits are the
same."""
# ctest: SKIP_RETURN_CODE 77 TIMEOUT 1200

import os
import signal

import instep_test
from hosts_case import BARE, PORT, RESNET, HostsCase

LONG = {"epochs": 30, "shards": 8, "model.layers": [20, 2000, 2], "checkpoint.every_rounds": 200}


class HostsJoining(HostsCase):
    hosts_wanted = 4

    def begin(self, agents=(1, 1), most=8, sets=LONG, mbit=15):
        return self.with_room(agents, mbit, most=most, sets=sets)

    def join(self, number, *arguments, **options):
        return self.start_agents(number, self.line, *arguments, **options)

    def same(self, hosts, sets=LONG):
        self.end_as_alone(hosts, sets)

    def test_one_comes_in(self):
        hosts = self.begin()
        before = self.network.counted(2)[1]
        hosts.append(self.join(2, agents=2))
        self.is_in(hosts[2])
        self.same(hosts)
        self.trained_by(hosts, 4)
        # It has computed its shards: some 40,000 parameters' sums a round.
        self.assertGreater(self.network.counted(2)[1] - before, 1000000)

    def test_two_come_in_at_once(self):
        hosts = self.begin()
        hosts += [self.join(2), self.join(3, agents=2)]
        self.is_in(hosts[2])
        self.is_in(hosts[3])
        self.same(hosts)

    def test_one_in_the_place_of_one_that_is_lost(self):
        hosts = self.begin()
        self.kill(hosts[1])
        again = self.join(1)
        self.is_in(again)
        self.same([hosts[0], again])

    def test_a_host_comes_back_after_it_has_left(self):
        hosts = self.begin()
        os.kill(hosts[1].process.pid, signal.SIGTERM)
        self.end_of(hosts[1], code=0)
        again = self.join(1)
        self.is_in(again)
        self.same([hosts[0], again])

    def test_what_comes_along(self):
        # Optimizers' moments, an average, what a codec keeps back, and which epochs were how good.
        for sets in ({"model.dropout": 0.2, "split.validation": 0.2, "links.compression": "always"},
                     {"ema.decay": 0.9, "policy.kind": "sharded"}, {"codec.kind": "top-k", "codec.keep": 0.05},
                     {"codec.kind": "bf16", "optimizer.kind": "sgd"}):
            with self.subTest(sets=sets):
                sets = {**LONG, **sets}
                hosts = self.begin(sets=sets)
                hosts.append(self.join(2, agents=2))
                self.is_in(hosts[2])
                self.same(hosts, sets)

    def test_carried_buffers_come_along(self):
        self.job = self.job_file(BARE)
        sets = {**RESNET, "epochs": 12}
        hosts = self.begin(sets=sets, mbit=10)
        hosts.append(self.join(2))
        self.is_in(hosts[2])
        self.same(hosts, sets)

    def test_they_come_in_the_midst_of_a_round(self):
        # Links so slow that the others have made some blocks' updates of the round already, and not the rest.
        sets = {**LONG, "model.layers": [20, 20000, 2], "epochs": 12, "evaluate_each_epoch": False}
        hosts = self.begin(sets=sets, mbit=60)
        for number in (2, 3):
            hosts.append(self.join(number))
            self.is_in(hosts[-1])
        self.same(hosts, sets)

    def test_one_dies_while_it_comes_in(self):
        hosts = self.begin()
        for number, point in ((2, "state.comes=kill@1"), (3, "state.came=kill@1")):
            lost = self.join(number, INSTEP_FAILPOINTS=point)
            lost.process.wait(instep_test.TIMEOUT_S)
        again = self.join(2)
        self.is_in(again)
        self.same([*hosts, again])
        lost = [it["name"] for it in self.audit(hosts[0]) if it["what"] == "lost"]
        self.assertEqual(lost, ["host2", "host3"])

    def test_others_die_while_one_comes_in(self):
        hosts = self.begin(agents=(1, 1, 1))
        new = self.join(3)
        self.kill(hosts[1])
        self.is_in(new)
        self.kill(hosts[2])
        self.same([hosts[0], new])

    def test_agents_die_on_a_host_that_came_late(self):
        hosts = self.begin()
        new = self.join(2, agents=2)
        self.is_in(new)
        for pid in self.network.pids(2):
            if pid in self.agents():
                os.kill(pid, signal.SIGKILL)
        self.same([*hosts, new])

    def test_the_first_host_dies_before_one_is_in(self):
        hosts = self.begin()
        new = self.join(2)
        self.wait_for(hosts[0], "the hello", lambda: any(it["name"] == "host2" and it["what"] == "joined"
                                                         for it in self.audit(hosts[0])))
        self.kill(hosts[0])
        self.end_of(new, code=1)
        self.assertIn("the coordinator", new.result().err)

    def resume(self, number, run, *arguments, agents=1, least):
        """`instep resume` on a host, with so many agents, where others join."""
        host = self.start_on(number, instep_test.INSTEP, "resume", run, "--listen", self.network.place(number, PORT),
                             "-n", least, "--local", agents, "--no-pin", *arguments)
        host.run_dir = run
        self.line = self.join_line(host)
        return host

    def test_a_run_goes_on_on_many_hosts(self):
        # What is left of a run whose first host died, elsewhere and on other hosts than before.
        hosts = self.begin(agents=(1, 2))
        self.kill(hosts[0])
        self.end_of(hosts[1], code=1)
        again = self.resume(1, hosts[1].run_dir, least=3)
        self.same([again, self.join(2), self.join(3)])

    def test_a_finished_run_goes_on_for_more_epochs(self):
        few = {**LONG, "epochs": 10}
        hosts = self.start_all(self.job, (1, 1), sets=few)
        self.reports(hosts)
        again = self.resume(0, hosts[0].run_dir, "--set", f"epochs={LONG['epochs']}", least=2)
        self.same([again, self.join(1)])

    def test_a_drill_in_a_run_that_goes_on(self):
        many = {**LONG, "epochs": 60}
        hosts = self.start_all(self.job, (2, 1), sets={**many, "epochs": 6})
        self.reports(hosts)
        again = self.resume(0, hosts[0].run_dir, "--set", f"epochs={many['epochs']}", "--fault",
                            "kill 0 at 100; slow 1 by 2x at 200; leave 1 at 300", agents=2, least=3)
        other = self.join(1)
        self.same([again, other], many)
        drilled = [line.split("drill: ")[1] for line in (again.run_dir / "logs/launcher.log").read_text().splitlines()
                   if "drill: " in line]
        self.assertEqual(drilled, ["kill 0 at 100", "slow 1 by 2x at 200", "leave 1 at 300"])
        kinds = [it.get("kind") for it in self.events(again)]
        self.assertEqual((kinds.count("died"), kinds.count("left")), (1, 1), kinds)
        self.assertNotIn("died", [it.get("kind") for it in self.events(other)])

    def test_too_many(self):
        hosts = self.begin(most=3)
        refused = self.end_of(self.join(2, agents=2), code=1)
        self.assertIn("the run has 2 agents of at most 3 (-n MIN:MAX), and the host brings 2", refused.err)
        self.same(hosts)


if __name__ == "__main__":
    instep_test.main()
