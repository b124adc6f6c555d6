"""The promise of instep across hosts: a job ends with the same bits, however many hosts train it."""
# ctest: SKIP_RETURN_CODE 77

import os
import signal

import instep_test
from hosts_case import BARE, LARGE, RESNET, HostsCase
from instep_test import MNIST, process_state

SMALL = {"epochs": 2, "batch": 96, "data.limit": 700, "data.test_limit": 300}
MLP = {"shards": 8, "model.layers": [20, 4000, 2]}


class SameBits(HostsCase):
    def test_mnist(self):
        reports = self.same_as_alone(MNIST, SMALL)
        self.assert_every_sample_once(reports[0], 2 * 700)

    def test_carried_buffers(self):
        self.same_as_alone(self.job_file(BARE), RESNET)

    def test_dropout_and_a_validation_set(self):
        self.same_as_alone(self.job, {**MLP, "model.dropout": 0.3, "split.validation": 0.2})

    def test_parameter_server(self):
        self.same_as_alone(self.job, {**MLP, "policy.kind": "parameter-server"})
        self.same_as_alone(self.job, {**MLP, "policy.kind": "parameter-server", "policy.servers": 2})

    def test_codecs(self):
        for codec in ({"codec.kind": "bf16"}, {"codec.kind": "int8", "codec.nodes": 2},
                      {"codec.kind": "top-k", "codec.keep": 0.05}):
            with self.subTest(codec=codec):
                self.same_as_alone(self.job, {**MLP, **codec})

    def test_a_norm_of_all_hosts(self):
        self.same_as_alone(self.job, {**MLP, "optimizer.clip_norm": 0.1})

    def test_shards_that_divide_nothing(self):
        self.same_as_alone(self.job, {**MLP, "shards": 7, "batch": 61}, agents=(2, 1, 1))
        self.same_as_alone(self.job, {**MLP, "shards": 3}, agents=(1, 1, 1))


class Compressed(HostsCase):
    def sent(self, sets, when):
        """Bytes that host 1 has sent in a run which ends with the bits of one agent alone. With a shard a host each
        sends as many sums as the others, in whatever order they have come."""
        before = self.network.counted(1)[1]
        self.same_as_alone(self.job, {**MLP, **sets, "shards": 3, "links.compression": when}, agents=(1, 1, 1))
        return self.network.counted(1)[1] - before

    def test_what_hosts_send_is_smaller_and_the_same(self):
        # Most of it is gradients' sums; parts of the bytes that a normal distribution's values leave.
        for codec, part in (("none", 0.92), ("bf16", 0.85), ("int8", 0.97)):
            with self.subTest(codec=codec):
                sets = {"codec.kind": codec}
                self.assertLess(self.sent(sets, "always"), part * self.sent(sets, "never"))


class Overlap(HostsCase):
    def stopped_on(self, number):
        return [pid for pid in self.network.pids(number) if process_state(pid) == "T"]

    def test_sums_leave_while_others_are_computed(self):
        self.use_failing_program()
        coordinator = self.start_coordinator(self.job, agents=1, least=3, sets=LARGE)
        line = self.join_line(coordinator)
        held = self.start_agents(1, line, FAIL="round.told=stop@1", FAIL_AGENT="0")
        hosts = [coordinator, held, self.start_agents(2, line)]
        (agent,) = self.wait_for(held, "an agent in its backward pass", lambda: self.stopped_on(1))
        # Two thirds of most of its 4.9 MB; to get in has taken some 10 kB.
        self.wait_for(held, "sums on their way", lambda: self.network.counted(1)[1] > 2_500_000)
        self.assertEqual(self.stopped_on(1), [agent])
        os.kill(agent, signal.SIGCONT)
        for report in self.reports(hosts):
            self.assert_same_bits(self.alone(LARGE), report)

    def test_large_models(self):
        for more in ({"shards": 6}, {"shards": 7, "batch": 61, "codec.kind": "bf16"}, {"optimizer.clip_norm": 0.1},
                     {"accumulate": 3}):
            with self.subTest(more=more):
                self.same_as_alone(self.job, {**LARGE, **more})


    def test_forward_passes_that_are_begun_ahead(self):
        # With random numbers of their own, other types, agents that own nothing, and parameters in lists.
        lstm = {"shards": 4, "epochs": 2, "model.kind": "lstm", "model.layers": 2, "model.inputs": 3, "model.outputs": 2,
                "model.width": 300, "model.dropout": 0.2, "data.shape": [6, 3], "data.classes": 2}
        for sets in (lstm, {**LARGE, "precision": "bf16"}, {**LARGE, "policy.kind": "parameter-server"}):
            with self.subTest(sets=sets):
                self.same_as_alone(self.job, sets)


class WhoIsIn(HostsCase):
    def test_two_hosts(self):
        hosts = self.start_all(MNIST, (1, 1), sets=SMALL)
        for report in self.reports(hosts):
            self.assert_same_bits(self.alone(SMALL, MNIST), report)

    def test_nothing_is_trained_before_the_least_are_in(self):
        coordinator = self.start_coordinator(self.job, agents=1, least=2, sets=MLP)
        line = self.join_line(coordinator)
        self.wait_for(coordinator, "audit log", lambda: self.audit(coordinator))
        self.assertFalse([it for it in self.records(coordinator.run_dir, "metrics.jsonl") if "round" in it])
        other = self.start_agents(1, line)
        for report in self.reports([coordinator, other]):
            self.assert_same_bits(self.alone(MLP), report)
        joined = [it for it in self.audit(coordinator) if it["what"] == "joined" and it.get("host")]
        self.assertEqual([it["name"] for it in joined], ["host1"])

    def test_a_token_of_ones_own_lets_in_as_often_as_it_says(self):
        coordinator = self.start_coordinator(self.job, agents=1, least=3, sets=MLP)
        first_line = self.join_line(coordinator)
        made = self.end_of(self.start_on(0, instep_test.INSTEP, "token", coordinator.run_dir, "--make", "--uses", 1))
        line = made.out.strip()
        members = [self.start_agents(1, line)]
        self.wait_for(coordinator, "first host",
                      lambda: any(it["what"] == "enrolled" for it in self.audit(coordinator)))
        refused = self.end_of(self.start_agents(2, line), code=2)
        self.assertIn("is used up", refused.err)
        members.append(self.start_agents(2, first_line))
        self.reports([coordinator, *members])
        shown = self.end_of(self.start_on(0, instep_test.INSTEP, "audit", coordinator.run_dir))
        self.assertRegex(shown.out, r"refused .*used up")


if __name__ == "__main__":
    instep_test.main()
