"""For tests that a job ends with one hash wherever it runs."""

import instep_test

JOB = """\
version = 1
epochs = 2
batch = 24
shards = 8
[data]
format = "synthetic"
samples = 64
test_samples_count = 0
classes = 3
noise = 0.5
"""
AGENTS = (2, 3, 5, 8, 12)


class EverywhereCase(instep_test.Case):
    def setUp(self):
        super().setUp()
        self.job = self.job_file(JOB)

    def everywhere(self, sets):
        """One hash on any number of agents, under servers, and resumed on another number. Returns the report."""
        alone = self.train(self.job, 1, sets)
        for n in AGENTS:
            self.assert_same_bits(alone, self.train(self.job, n, sets), f"{n} agents")
        for policy in ({"policy.kind": "sharded"}, {"policy.kind": "parameter-server", "policy.servers": 2}):
            other = self.train(self.job, 3, {**sets, **policy})
            self.assertEqual(other["state_sha256"], alone["state_sha256"], policy)
        half = self.train(self.job, 2, {**sets, "epochs": 1})
        self.assertNotEqual(half["state_sha256"], alone["state_sha256"])
        self.assertEqual(self.resume(half["run_dir"], 3, {"epochs": 2})["state_sha256"], alone["state_sha256"])
        return alone
