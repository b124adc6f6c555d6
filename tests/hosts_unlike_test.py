"""Hosts that cannot train together, or whose clocks are wrong: one clear error that says which is what."""
# ctest: SKIP_RETURN_CODE 77

import datetime
import os
import pathlib
import shutil

import instep_test
from hosts_case import HostsCase
from run_case import AGENT

# Where tests' own programs are built.
PRELOADS = pathlib.Path(os.environ.get("INSTEP_PLAIN_LOOP") or instep_test.ROOT / "build/tests/plain_loop").parent
DAY, YEAR = 86400, 365 * 86400
ENDLESS = {"epochs": 1000000, "evaluate_each_epoch": False}


def preloaded(name, **environment):
    """The environment of a command that loads one of tests/preload_*.cc first."""
    # A sanitizer wants to be first itself, unless it is told.
    sanitizer = ":".join(filter(None, [os.environ.get("ASAN_OPTIONS"), "verify_asan_link_order=0"]))
    return {"LD_PRELOAD": str(PRELOADS / f"{name}.so"), "ASAN_OPTIONS": sanitizer, **environment}


def clock_off_by(seconds):
    return preloaded("preload_clock", SHIFT_CLOCK_S=str(seconds))


def now():
    return datetime.datetime.now(datetime.timezone.utc)


class Unlike(HostsCase):
    hosts_wanted = 2

    def setUp(self):
        super().setUp()
        self.began = now()

    def dates_in(self, seconds):
        """A pattern of the dates that a clock which is off by so much may have shown since the test began: midnight may
        have passed."""
        shift = datetime.timedelta(seconds=seconds)
        return "|".join(sorted({(time + shift).strftime("%Y-%m-%d") for time in (self.began, now())}))

    def waiting(self, **environment):
        """A coordinator that waits for an agent more than it has, and its join line."""
        coordinator = self.start_coordinator(self.job, least=2, **environment)
        return coordinator, self.join_line(coordinator)

    def clock_is_named(self, host, joiners, valid_from):
        """An error that says what the joining host's clock says, and since when the certificate is valid."""
        self.not_let_in(host, "set the clock that is wrong")
        self.assertRegex(host.result().err, f"this machine's clock says ({self.dates_in(joiners)})")
        self.assertRegex(host.result().err, f"is valid from ({self.dates_in(valid_from)})")

    def test_a_joining_hosts_clock_is_far_off(self):
        coordinator, line = self.waiting()
        for seconds in (-3 * DAY, 11 * YEAR):
            self.clock_is_named(self.start_agents(1, line, **clock_off_by(seconds)), seconds, -DAY)
        # Hours are no matter, and the others are none the worse for it.
        slow = self.start_agents(1, line, **clock_off_by(-20 * 3600))
        for report in self.reports([coordinator, slow]):
            self.assert_same_bits(self.alone(), report)

    def test_the_coordinators_clock_is_far_off(self):
        for seconds in (3 * DAY, -11 * YEAR):
            with self.subTest(seconds=seconds):
                coordinator, line = self.waiting(**clock_off_by(seconds))
                self.clock_is_named(self.start_agents(1, line), 0, seconds - DAY)
                # A host whose clock is as wrong gets on with it.
                self.reports([coordinator, self.start_agents(1, line, **clock_off_by(seconds))])

    def of_another_version(self):
        """A copy of instep with another version, and both versions."""
        version = self.run_instep("--version").out.split()[-1]
        other = version[:-1] + ("1" if version[-1] != "1" else "2")
        folder = self.new_path("installed")
        (folder / "bin").mkdir(parents=True)
        shutil.copytree(AGENT.parents[1], folder / "libexec")
        program = folder / "bin/instep"
        words = [b"\0%s\0" % text.encode() for text in (version, other)]
        program.write_bytes(instep_test.INSTEP.read_bytes().replace(*words))
        program.chmod(0o755)
        self.assertEqual(self.finish(self.start_command(program, "--version")).out, f"instep {other}\n")
        return program, other, version

    def test_another_version_of_instep(self):
        program, other, mine = self.of_another_version()
        coordinator, line = self.waiting()
        newer = self.start_on(1, program, "agent", "--join", line, "-n", 1, "--run-dir", "run", "--no-pin")
        words = f"this run is trained by instep {mine}, and the host that wants to join has instep {other}"
        self.not_let_in(newer, words, "install the same one on all hosts")
        (refused,) = [it for it in self.audit(coordinator) if it["what"] == "refused"]
        self.assertIn(words, refused["reason"])
        self.reports([coordinator, self.start_agents(1, line)])

    def test_another_libtorch_ends_a_run_that_begins(self):
        coordinator, line = self.waiting()
        other = self.start_agents(1, line, **preloaded("preload_libtorch"))
        for host in (coordinator, other):
            self.one_line_names_both(self.end_of(host, 2).err)
            self.assertFalse(host.run_dir.exists(), host)

    def test_another_libtorch_is_refused_by_a_run_under_way(self):
        (coordinator,) = self.under_way((1,), until_round=8, most=2, sets=ENDLESS)
        other = self.start_agents(1, self.line, **preloaded("preload_libtorch"))
        self.one_line_names_both(self.end_of(other, 1).err)
        alike = self.start_agents(1, self.line)
        self.is_in(alike)
        self.run_instep("stop", coordinator.run_dir, "--quiet")
        self.assert_same_bits(*self.reports([coordinator, alike]))

    def test_the_report_names_the_libtorch_that_is_loaded(self):
        other = preloaded("preload_libtorch")
        coordinator, line = self.waiting(**other)
        for report in self.reports([coordinator, self.start_agents(1, line, **other)]):
            self.assertEqual(report["libtorch"], "1.99.7")

    def one_line_names_both(self, err):
        # Whichever host was ready first is named first.
        self.assertRegex(err.strip(), r"\A[^\n]* differ in libtorch: ('1\.99\.7' and '2\.|'2\.[\w.+]+' and '1\.99\.7')"
                                      r"[^\n]*the same job, build and settings[^\n]*\Z")


if __name__ == "__main__":
    instep_test.main()
