"""Codecs: the same bits on any number of agents, through resumes and rounds that are not applied, and training that
comes as far as it does without."""
from safetensors.numpy import load_file

import instep_test
from instep_test import MNIST

SMALL = {"epochs": 2, "batch": 96, "data.limit": 700, "data.test_limit": 300}
CODECS = ({"codec.kind": "bf16"}, {"codec.kind": "int8"}, {"codec.kind": "top-k", "codec.keep": 0.05})


class Codecs(instep_test.Case):
    def test_the_same_bits_on_any_number_of_agents(self):
        plain = self.train(MNIST, 1, SMALL)["parameters_sha256"]
        seen = {plain}
        for codec in CODECS:
            for nodes in (0, 1, 3):
                sets = {**SMALL, **codec, "codec.nodes": nodes, "optimizer.clip_norm": 1.0 if nodes == 3 else 0}
                alone = self.train(MNIST, 1, sets)
                self.assertNotIn(alone["parameters_sha256"], seen, "each is arithmetic of its own")
                seen.add(alone["parameters_sha256"])
                for n in (2, 5):
                    self.assert_same_bits(alone, self.train(MNIST, n, sets), f"{n} agents: {sets}")
            servers = {"policy.kind": "parameter-server", "policy.servers": 2, "debug.shuffle_exchange": 7}
            self.assert_same_bits(alone, self.train(MNIST, 3, {**sets, **servers}), "servers")

    def test_a_resumed_run_goes_on_with_what_was_kept_back(self):
        for codec in CODECS:
            sets = {**SMALL, **codec}
            whole = self.train(MNIST, 2, sets)
            half = self.train(MNIST, 3, {**sets, "epochs": 1})
            state = load_file(f"{half['checkpoint']}/state.safetensors")
            kept = {name: values for name, values in state.items() if ".residual." in name}
            self.assertEqual(len(kept), 4 * 8 if codec["codec.kind"] == "top-k" else 0, "tensors times shards")
            self.assertTrue(all(values.any() for values in kept.values()))
            resumed = self.resume(half["run_dir"], 1, {"epochs": 2})
            self.assertEqual(resumed["state_sha256"], whole["state_sha256"])

    def test_training_comes_as_far(self):
        plain = self.train(MNIST, 2)
        for codec in ({"codec.kind": "bf16"}, {"codec.kind": "int8"}, {"codec.kind": "top-k"}):
            report = self.train(MNIST, 2, codec)
            self.assert_every_sample_once(report, 600000)
            self.assertNotEqual(report["parameters_sha256"], plain["parameters_sha256"])
            self.assertGreater(report["test"]["accuracy"], plain["test"]["accuracy"] - 0.005, codec)

    def test_a_run_says_that_one_host_gains_nothing(self):
        result = self.run_instep("run", MNIST, "-n", 1, "--run-dir", self.new_path("run"),
                                 *instep_test.settings({**SMALL, "codec.kind": "int8"}))
        self.assertIn('codec.kind = "int8" makes nothing faster here', result.out + result.err)


if __name__ == "__main__":
    instep_test.main()
