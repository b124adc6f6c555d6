"""A run on several agents ends where the plain loop of docs/semantics.md does, written out in libtorch alone."""

import os
import subprocess

import instep_test

PLAIN_LOOP = os.environ.get("INSTEP_PLAIN_LOOP") or instep_test.ROOT / "build/tests/plain_loop"

RESNET = """\
version = 1
batch = 72
shards = 4
[model]
kind = "resnet20"
[data]
format = "synthetic"
samples = 160
test_samples_count = 0
shape = [3, 32, 32]
[optimizer]
kind = "sgd"
lr = 0.1
momentum = 0.9
nesterov = true
"""


class PlainLoop(instep_test.Case):
    def plain(self, job, rounds):
        """`parameters_sha256` after so many rounds of the plain loop."""
        environment = {**self.environment, "MKL_CBWR": "AUTO", "OMP_NUM_THREADS": "1"}
        done = subprocess.run([str(PLAIN_LOOP), str(job), str(rounds)], stdout=subprocess.PIPE, text=True,
                              env=environment, check=True, timeout=instep_test.TIMEOUT_S)
        return done.stdout.strip()

    def test_resnet20_on_four_agents_is_a_plain_loop_over_ghost_batches(self):
        # Three rounds, the last with 16 samples: four a shard.
        job = self.job_file(RESNET)
        report = self.train(job, 4)
        self.assertEqual(report["rounds"], 3)
        self.assertEqual(report["parameters_sha256"], self.plain(job, 3))
        self.assertNotEqual(report["parameters_sha256"], self.plain(job, 2))


if __name__ == "__main__":
    instep_test.main()
