"""Whoever has no right to be in a run is not let in, learns why if it may know, and changes nothing."""
# ctest: SKIP_RETURN_CODE 77


import instep_test
import strangers
from hosts_case import PORT, HostsCase

LONG = {"epochs": 150, "evaluate_each_epoch": False, "model.layers": [20, 2000, 2], "checkpoint.every_rounds": 200}
RATE = 100  # strangers a second of each process


class Strangers(HostsCase):
    hosts_wanted = 2

    def waiting(self, *arguments):
        """A coordinator that waits for an agent more than it has."""
        coordinator = self.start_coordinator(self.job, *arguments, agents=1, least=2, sets=LONG)
        return coordinator, self.join_line(coordinator)

    def not_in_by(self, line, words, code=2):
        self.not_let_in(self.start_agents(1, line, "--orphan-timeout", "2s"), words, code=code)

    def test_a_line_that_is_wrong(self):
        coordinator, line = self.waiting()
        token = line.split("/")[3].split("@")[0]
        digit = "0" if line[-1] != "0" else "1"
        self.not_in_by(line[:-1] + digit, "fingerprint")
        self.not_in_by(line.replace(token, "a" * 6 + "." + "a" * 24), "token")
        self.not_in_by(line.replace(f":{PORT}", ":1"), "cannot reach", 1)
        self.not_in_by(line.replace(self.network.address(0), "nobody.invalid"), "nobody.invalid")
        self.not_in_by("instep://somewhere", "--join")
        reasons = [it["reason"] for it in self.audit(coordinator) if it["what"] == "refused"]
        self.assertEqual(len(reasons), 1, "the hub heard of one token")

    def test_a_token_that_is_over(self):
        coordinator, line = self.waiting("--token-ttl", "1s")

        def over():
            return "expired" in self.run_instep("token", coordinator.run_dir).out
        self.wait_for(coordinator, "end of the token", over)
        self.not_in_by(line, "expired")

    def test_an_address_that_cannot_be_had(self):
        self.waiting()
        for address, words in ((self.network.place(0, PORT), "another program has that port"),
                               ("10.99.99.99:4600", "10.99.99.99"), ("nobody.invalid:4600", "nobody.invalid"),
                               (":4600", "--listen")):
            other = self.start_on(0, instep_test.INSTEP, "coordinator", self.job, "--listen", address, "--run-dir",
                                  "run")
            self.assertIn(words, self.end_of(other, code=2).err)
            self.assertFalse(other.run_dir.exists())

    def test_attacks_change_nothing(self):
        calm = self.alone(LONG)
        coordinator, line = self.waiting()
        folder = self.new_path("stranger")
        strangers.make_certificate(folder)
        attackers = [strangers.start(self.network.on(1), self.network.address(0), PORT, folder, RATE)
                     for _ in range(2)]
        try:
            # They are at it when the host joins, and while it trains.
            self.wait_for(coordinator, "attack",
                          lambda: [it for it in self.audit(coordinator) if it["what"] == "turned away"])
            member = self.start_agents(1, line)
            for report in self.reports_under_attack([coordinator, member]):
                self.assert_same_bits(calm, report)
        finally:
            done = [strangers.finish(attacker) for attacker in attackers]
        for it in done:
            for kind in strangers.KINDS:
                self.assertGreater(it[kind], 0, it)
            self.assertEqual(it["answered"], 0, "a stranger was told something")
        joined = [it for it in self.audit(coordinator) if it["what"] in ("enrolled", "joined")]
        self.assertEqual([it.get("name") for it in joined], ["host1", "host1"], joined)
        away = [it for it in self.audit(coordinator) if it["what"] == "turned away"]
        self.assertGreater(sum(it.get("times", 1) for it in away), 4 * len(done))
        self.assertLess(len(away), 400, "an attack does not fill the disk")
        logged = (coordinator.run_dir / "logs/launcher.log").read_text().count("was turned away")
        came = sum(it[kind] for it in done for kind in set(strangers.KINDS))
        self.assertLess(logged, came / 4, "nor does what the log says of it")

    def reports_under_attack(self, hosts):
        for host in hosts:
            self.end_of(host)
        return [self.report(host.run_dir) for host in hosts]


if __name__ == "__main__":
    instep_test.main()
