"""The promise of instep: a job ends with the same bits on any number of agents, under any policy."""

import instep_test
from instep_test import MNIST, TEXTBOOK

# An eighth of a second of examples/mnist: ten rounds, the last one short.
SHORT = {"epochs": 1, "data.limit": 4900, "data.test_limit": 1000}
# Two epochs of a small batch.
SMALL = {"epochs": 2, "batch": 96, "data.limit": 700, "data.test_limit": 300}
AGENTS = (1, 2, 3, 5)


class SameBits(instep_test.Case):
    def same_on_all(self, sets, agents=AGENTS, job=MNIST):
        """Trains on each number of agents; all must end alike. Returns the first report."""
        reports = [self.train(job, n, sets) for n in agents]
        for n, report in zip(agents, reports):
            self.assertEqual(report["agents"], n)
            self.assert_same_bits(reports[0], report, f"{agents[0]} and {n} agents: {sets}")
        return reports[0]


class Agents(SameBits):
    def test_one_to_twelve_agents(self):
        # There are eight shards, so from the ninth agent on they only stand by.
        report = self.same_on_all(SHORT, range(1, 13))
        self.assert_every_sample_once(report, 4900)
        self.assertEqual(report["rounds"], 10)

    def test_full_epoch(self):
        report = self.same_on_all({"epochs": 1}, (2, 7))
        self.assert_every_sample_once(report, 60000)
        self.assertEqual(report["rounds"], 118)


class Policies(SameBits):
    def test_policies(self):
        straight = self.train(MNIST, 1, SMALL)
        for policy in ({"policy.kind": "all-reduce"}, {"policy.kind": "sharded"},
                       {"policy.kind": "parameter-server"},
                       {"policy.kind": "parameter-server", "policy.servers": 2}):
            report = self.same_on_all({**SMALL, **policy}, (2, 3, 5))
            self.assert_same_bits(straight, report, policy)

    def test_more_servers_than_agents_have_the_same_bits(self):
        straight = self.train(MNIST, 1, SMALL)
        servers = {"policy.kind": "parameter-server", "policy.servers": 4}
        self.assert_same_bits(straight, self.same_on_all({**SMALL, **servers}, (1, 3)))

    def test_shuffled_exchange(self):
        straight = self.train(MNIST, 3, SMALL)
        for seed, n in ((1, 1), (2, 2), (3, 3), (4, 3), (5, 4)):
            for policy in ("all-reduce", "sharded") if n == 3 else ("parameter-server",):
                shuffled = {"debug.shuffle_exchange": seed, "policy.kind": policy}
                self.assert_same_bits(straight, self.train(MNIST, n, {**SMALL, **shuffled}), shuffled)


class Optimizers(SameBits):
    def test_adam_clipped_round_robin(self):
        clipped = {**SMALL, "optimizer.kind": "adam", "partition.strategy": "round-robin"}
        tight = self.same_on_all({**clipped, "optimizer.clip_norm": 0.1})
        loose = self.train(MNIST, 2, {**clipped, "optimizer.clip_norm": 1e6})
        self.assertNotEqual(tight["parameters_sha256"], loose["parameters_sha256"])

    def test_adamw_with_groups_random_partition_and_validation_split(self):
        job = {**SMALL, "optimizer.kind": "adamw", "optimizer.weight_decay": 0.1,
               "optimizer.group": '[{match="*.bias", weight_decay=0, lr=0.01}]',
               "partition.strategy": "random", "split.validation": 0.2}
        grouped = self.same_on_all(job)
        self.assert_every_sample_once(grouped, 2 * 560)
        self.assertIsInstance(grouped["validation"]["loss"], float)
        alike = self.train(MNIST, 2, {**job, "optimizer.group": "[]"})
        self.assertNotEqual(grouped["parameters_sha256"], alike["parameters_sha256"])

    def test_nesterov_clipped_with_groups_stratified(self):
        report = self.same_on_all({
            **SMALL, "optimizer.kind": "sgd", "optimizer.momentum": 0.9, "optimizer.nesterov": True,
            "optimizer.clip_norm": 0.5, "partition.strategy": "stratified", "split.validation": 0.1,
            "split.stratified": True,
            "optimizer.group": '[{match="*.bias", momentum=0.5}, {match="2.*", lr=0.05}]'})
        self.assertEqual(report["samples"]["missed"], 0)


class OddSizes(SameBits):
    def test_shards_that_divide_nothing(self):
        # 103 samples over five shards, 997 samples in all: an uneven batch and a short last one.
        sets = {**SMALL, "shards": 5, "batch": 103, "data.limit": 997, "eval_batch": 77}
        report = self.same_on_all(sets, (1, 2, 3, 4, 5, 7))
        self.assert_every_sample_once(report, 2 * 997)
        # More agents than shards: the rest stand by, and it is said.
        run = self.new_path("run")
        result = self.run_instep("run", MNIST, "-n", 7, "--run-dir", run, *instep_test.settings(sets))
        self.assertRegex(result.out + result.err, r"agents 5-6 have no shard and stand by")
        self.assert_same_bits(report, self.report(run))

    def test_one_sample_a_shard_and_one_shard(self):
        tiny = {**SMALL, "data.limit": 50}
        self.assert_every_sample_once(self.same_on_all({**tiny, "batch": 8}, (1, 3)), 100)
        self.assert_every_sample_once(self.same_on_all({**tiny, "batch": 7, "shards": 1}, (1, 2)), 100)


class Seeds(SameBits):
    def test_what_is_part_of_the_job_changes_the_bits(self):
        straight = self.train(MNIST, 2, SMALL)
        for key, value in (("seed", 2), ("shards", 4), ("batch", 95), ("optimizer.lr", 0.002),
                           ("partition.strategy", "random")):
            other = self.train(MNIST, 2, {**SMALL, key: value})
            for name in ("job_hash", "parameters_sha256", "state_sha256"):
                self.assertNotEqual(straight[name], other[name], f"{name} with another {key}")

    def test_textbook(self):
        sets = {"epochs": 1, "data.test_limit": 500}
        self.assert_every_sample_once(self.same_on_all(sets, (1, 4), TEXTBOOK), 1000)


if __name__ == "__main__":
    instep_test.main()
