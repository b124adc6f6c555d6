"""For tests of runs on several hosts: a network of them (hosts_network.py), a coordinator on host 0, agents on others.

Where no network can be made (it needs root and iproute2) the script ends as skipped, with exit code 77.
"""

import json
import pathlib
import re
import subprocess

import instep_test
import run_case
from hosts_network import Network, Unavailable
from run_case import RunCase

PORT = 4600
JOIN_LINE = re.compile(r"^  instep agent --join '?(instep://[^\s']+)'?", re.MULTILINE)

BARE = """\
version = 1
[data]
format = "synthetic"
test_samples_count = 100
"""
# Its BatchNorm's statistics are carried from round to round with their shards.
RESNET = {**run_case.RESNET, "shards": 8, "epochs": 2}
# Large enough that sums leave while others are computed, one weight much larger than the others.
LARGE = {"shards": 4, "model.layers": [20, 1500, 800, 2], "epochs": 2}
# Long enough to be hurt in its midst.
LONG = {"epochs": 30, "shards": 8, "evaluate_each_epoch": False, "model.layers": [20, 2000, 2],
        "checkpoint.every_rounds": 200}

try:
    Network(1).close()
except Unavailable as error:
    print(f"skipped: no network of hosts can be made here: {error}")
    raise SystemExit(77) from None


class Host:
    """What runs on a host: the last command that was started there, its run directory and what it has printed."""

    def __init__(self, number, folder):
        self.number, self.run_dir = number, folder / "run"
        self.out_path, self.err_path = folder / "out", folder / "err"
        self.process = None

    def printed(self):
        return self.out_path.read_text()

    def result(self):
        return instep_test.Result(self.process.args, self.process.poll(), self.printed(), self.err_path.read_text())

    def __str__(self):
        logs = [f"--- {path.name}\n{path.read_text()}" for path in sorted(self.run_dir.glob("logs/*"))]
        return "\n".join([f"host {self.number}: {self.result()}", *logs])


class HostsCase(RunCase):
    hosts_wanted = 3
    reports_alone = {}  # each is made once a script: job and settings -> report

    def setUp(self):
        super().setUp()
        self.network = self.make_network()
        self.addCleanup(self.network.close)
        self.hosts = []

    def make_network(self):
        return Network(self.hosts_wanted)

    def start_on(self, number, *words, **environment):
        """Starts a command on a host, in a folder and with a state folder of the host's own."""
        folder = self.new_path(f"host{number}")
        folder.mkdir()
        host = Host(number, folder)
        with open(host.out_path, "w") as out, open(host.err_path, "w") as err:
            host.process = subprocess.Popen(
                [*self.network.on(number), *map(str, words)], stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                cwd=folder, start_new_session=True,
                env={**self.environment, "XDG_STATE_HOME": str(folder / "state"), **environment})
        self.addCleanup(instep_test.kill_group, host.process)
        self.hosts.append(host)
        return host

    def start_coordinator(self, job, *arguments, agents=1, least, most=None, sets=None, **environment):
        """The coordinator on host 0 with so many agents of its own; training begins with `least` of them in all, and
        there are never more than `most` (else: as many)."""
        return self.start_on(0, instep_test.INSTEP, "coordinator", job, "--listen", self.network.place(0, PORT),
                             "-n", f"{least}:{most or least}", "--local", agents, "--run-dir", "run", "--no-pin",
                             *instep_test.settings(sets or {}), *arguments, **environment)

    def join_line(self, coordinator):
        """As the coordinator prints it, when it listens."""
        found = self.wait_for(coordinator, "join line", lambda: JOIN_LINE.search(coordinator.printed()))
        return found[1]

    def start_agents(self, number, line, *arguments, agents=1, **environment):
        """`instep agent` on a host, that joins with so many agents."""
        return self.start_on(number, instep_test.INSTEP, "agent", "--join", line, "-n", agents, "--name",
                             f"host{number}", "--run-dir", "run", "--no-pin", *arguments, **environment)

    def start_all(self, job, agents=(1, 2, 1), *arguments, least=None, most=None, sets=None):
        """A run on hosts with so many agents each, the coordinator first; it begins with `least` of them, else with
        all. self.line is that by which more can join, up to `most`."""
        coordinator = self.start_coordinator(job, *arguments, agents=agents[0], least=least or sum(agents),
                                             most=most or sum(agents), sets=sets)
        self.line = self.join_line(coordinator)
        return [coordinator, *(self.start_agents(k, self.line, agents=n) for k, n in enumerate(agents[1:], 1))]

    def under_way(self, agents, *arguments, until_round, **options):
        """As start_all: such a run of this test's job, of which every host has told of a round as late as that one. Its
        lines are slow until hurry(), so that what shall happen to it does so before its end."""
        self.network.limit(50)
        hosts = self.start_all(self.job, agents, *arguments, **options)
        for host in hosts:
            self.wait_for_round(host, until_round)
        return hosts

    def in_its_midst(self):
        """A run that has got some way; fewer agents may finish it."""
        return self.under_way((1, 2, 1), until_round=10, least=1, sets=LONG)

    def left_waiting(self, *arguments, agents=(1, 1), until_round=10, sets=LONG):
        """A run whose last host is lost, and which stands still for that."""
        hosts = self.under_way(agents, *arguments, until_round=until_round, sets=sets)
        self.kill(hosts[-1])
        for host in hosts[:-1]:
            self.waits(host)
        return hosts

    def told(self, host, words):
        return any(words in it.get("text", "") for it in self.events(host))

    def waits(self, host, words="agents are there: the run waits"):
        self.wait_for(host, words, lambda: self.told(host, words))

    def with_room(self, agents, mbit, *, most=8, sets):
        """As start_all: such a run of this test's job that has just begun. Its lines are so slow until hurry() that it
        does not end before others have come in, however long they take to start."""
        self.network.limit(mbit)
        hosts = self.start_all(self.job, agents, least=1, most=most, sets=sets)
        self.alone(sets)  # while the first ones wait whether more come
        for host in hosts:
            self.wait_for(host, "its first round", lambda host=host: any(
                it["record"] == "view" for it in self.events(host)))
        return hosts

    def hurry(self):
        self.network.limit(10000)

    def alone(self, sets=None, job=None):
        """The report of this test's job, else of that one, trained by one agent on no host. Its run directory may be
        that of an earlier test, and gone."""
        job = pathlib.Path(job or self.job)
        key = (job.read_text() if job.is_file() else str(job), json.dumps(sets or {}, sort_keys=True))
        if key not in HostsCase.reports_alone:
            HostsCase.reports_alone[key] = report = self.train(job, 1, sets)
            report["parameters"] = pathlib.Path(report["checkpoint"], "model.safetensors").stat().st_size // 4
        return HostsCase.reports_alone[key]

    def end_as_alone(self, hosts, sets):
        """All of them end well, with the bits of one agent that trains this test's job on no host."""
        self.hurry()
        alone = self.alone(sets)
        for host, report in zip(hosts, self.reports(hosts)):
            self.assert_same_bits(alone, report, f"{host}\n{sets}")
            self.assert_every_sample_once(report, alone["samples"]["due"])

    def wait_for(self, host, what, condition, limit_s=60):
        """As wait_until; a host whose command ends meanwhile fails the test."""
        def look():
            value = condition()
            if not value and host.process.poll() is not None:
                value = condition()  # what it did last
                if not value:
                    self.fail(f"it ended before {what}")
            return value
        try:
            return self.wait_until(what, look, limit_s)
        except self.failureException as late:
            raise self.failureException(f"{late}\n{self.all_hosts()}") from None

    def events(self, host):
        return self.records(host.run_dir, "events.jsonl")

    def audit(self, host):
        return self.records(host.run_dir, "audit.jsonl")

    def happened(self, host, what):
        return [it for it in self.audit(host) if it["what"] == what]

    def wait_for_round(self, host, number, limit_s=60):
        """Until a host has told of a round as late as that one."""
        def reached():
            return any(it.get("round", 0) >= number for it in self.records(host.run_dir, "metrics.jsonl"))
        self.wait_for(host, f"round {number}", reached, limit_s)

    def is_in(self, host):
        """Waits until a host that has come late has its first round."""
        def told():
            return any("this host comes into the run" in it.get("text", "") for it in self.events(host))
        self.wait_for(host, "its first round", told)

    def end_of(self, host, code=0, limit_s=instep_test.TIMEOUT_S):
        """Waits for the end of a host's command; gives what it printed."""
        try:
            host.process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.fail(f"host {host.number} took over {limit_s} s: {self.all_hosts()}")
        self.assertEqual(host.process.returncode, code, self.all_hosts())
        return host.result()

    def reports(self, hosts, limit_s=instep_test.TIMEOUT_S):
        """Waits until all hosts have ended well; their reports."""
        for host in hosts:
            self.end_of(host, limit_s=limit_s)
        self.nothing_is_left()
        return [self.report(host.run_dir) for host in hosts]

    def not_let_in(self, host, *parts, code=2):
        """A command that ends with a single error, which says all this, and leaves nothing."""
        result = self.end_of(host, code)
        self.assertEqual(len(result.err.strip().splitlines()), 1, result)
        for part in parts:
            self.assertIn(part, result.err)
        self.assertFalse(host.run_dir.exists(), result)

    def trained_by(self, hosts, agents):
        """The reports of all hosts say so many agents of all that trained the last rounds."""
        for host in hosts:
            report = self.report(host.run_dir)
            self.assertEqual((report["hosts"], report["agents"]), (len(hosts), agents), host)

    def kill(self, host):
        """kill -9 of every process of a host."""
        self.network.kill(host.number)
        host.process.wait()

    def all_hosts(self):
        return "\n".join(map(str, self.hosts))

    def same_as_alone(self, job, sets=None, agents=(1, 2, 1)):
        """Trains on hosts, and with one agent on none: all end with the same bits. That the hosts have shared the work
        is told by what they sent: in each round a tenth of a byte a parameter at the least, whatever codec there is."""
        alone = self.alone(sets, job)
        hosts = self.start_all(job, agents, sets=sets)
        reports = self.reports(hosts)
        for host, report in zip(hosts, reports):
            self.assert_same_bits(alone, report, f"host {host.number} of {agents}: {sets}")
        self.trained_by(hosts, sum(agents))
        least = alone["rounds"] * alone["parameters"] / 10
        for host in hosts[1:]:  # the first has sent the data too
            sent = self.network.counted(host.number)[1]
            self.assertGreater(sent, least, f"host {host.number} took no part: {sets}")
        return reports
