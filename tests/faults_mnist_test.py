"""examples/mnist under random kills, stops and continues prints one hash, on any number of agents."""

import instep_test
from faults_case import FaultCase
from instep_test import MNIST


class Mnist(FaultCase):
    def test_one_hash_on_1_to_12_agents(self):
        sets = {"epochs": 2}
        calm = self.undisturbed(sets, MNIST / "mnist.toml")
        faults = 0
        for n in range(1, 13):
            with self.subTest(n=n):
                report = self.disturbed("--chaos", f"mtbf=0.3s,seed={n},kinds=kill+hang+join+leave", n=n, sets=sets,
                                        job=MNIST / "mnist.toml")
                self.nothing_was_lost(report, calm)
                faults += len(self.kinds(report))
        self.assertGreater(faults, 12)


if __name__ == "__main__":
    instep_test.main()
