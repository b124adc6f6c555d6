"""Three hosts train the network of 25 million parameters, for run.py: each a network namespace with one agent, links
of several rates between them. Beside it PyTorch's DDP with Gloo on the same network. Needs root and iproute2."""
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time

from places import INSTEP, OUT, PYTHON, ROOT, WORK, run

sys.path.append(os.path.join(ROOT, "tests"))
import instep_test  # noqa: E402
from hosts_network import Network, Relayed, Unavailable  # noqa: E402

HOSTS = 3
PORT = 4600
BATCH = 8  # of an agent
PARAMETERS = sum((a + 1) * b for a, b in ((1024, 4096), (4096, 4096), (4096, 1000)))
JOB = os.path.join(ROOT, "bench", "jobs", "wide.toml")
SETS = ["--set", f"shards={HOSTS}", "--set", f"batch={HOSTS * BATCH}", "--set", 'optimizer.kind="sgd"', "--set",
        "optimizer.lr=0.01", "--set", "epochs=1000000", "--set", "evaluate_each_epoch=false"]

# Title, Mbit/s, milliseconds each way, bytes of a packet, seconds of a measurement, how often.
LINKS = (("no limit", None, 0, None, 10, 3), ("1 Gbit/s, 1 ms", 1000, 1, 65000, 20, 3),
         ("100 Mbit/s, 20 ms", 100, 20, 9000, 45, 2))
# What a job may say of what goes over its links: the first wherever there is a rate, all where it is low.
VARIANTS = {"not compressed": {"links.compression": "never"},
            "not compressed, codec bf16": {"links.compression": "never", "codec.kind": "bf16", "codec.nodes": HOSTS},
            "not compressed, codec int8": {"links.compression": "never", "codec.kind": "int8", "codec.nodes": HOSTS},
            "codec bf16": {"codec.kind": "bf16", "codec.nodes": HOSTS},
            "codec int8": {"codec.kind": "int8", "codec.nodes": HOSTS}}
LOW_MBIT = 100
LIMIT_S = 300  # of waiting for anything


def make(mbit, ms, mtu):
    return Network(HOSTS) if mbit is None else Relayed(HOSTS, mbit, ms, mtu)


def wait_for(what, look, alive, pause=0.002):
    end = time.monotonic() + LIMIT_S
    while not (value := look()):
        if any(process.poll() is not None for process in alive):
            sys.exit(f"a process ended before {what}")
        if time.monotonic() > end:
            sys.exit(f"no {what} within {LIMIT_S} s")
        time.sleep(pause)
    return value


class Run:
    """A run on all hosts of a network. Times are of this process's clock."""

    def __init__(self, network, job=JOB, sets=SETS, agents=1, least=1):
        """`agents`: of a host; training begins with `least` in all, if the others take long."""
        self.network, self.began, self.processes = network, time.monotonic(), []
        self.folder = os.path.join(os.path.abspath(WORK), "hosts")
        shutil.rmtree(self.folder, ignore_errors=True)
        first = [INSTEP, "coordinator", job, "--listen", f"{network.address(0)}:{PORT}", "-n",
                 f"{least}:{agents * len(network.hosts)}", "--local", str(agents), "--no-pin", *sets]
        self.command = " ".join(first).replace(ROOT + "/", "")
        self.start(0, first)
        line = wait_for("join line", lambda: re.search(r"--join '?(instep://[^\s']+)", self.printed(0)), self.processes)
        for host in network.hosts[1:]:
            self.start(host, [INSTEP, "agent", "--join", line[1], "-n", str(agents), "--no-pin", "--name",
                              f"host{host}"])

    def start(self, host, command):
        folder = os.path.join(self.folder, str(host))
        os.makedirs(folder)
        with open(os.path.join(folder, "out"), "w", encoding="utf-8") as out:
            self.processes.append(subprocess.Popen(
                [*self.network.on(host), os.path.abspath(INSTEP), *command[1:], "--run-dir", "run"], cwd=folder,
                stdin=subprocess.DEVNULL, stdout=out, stderr=out))

    def printed(self, host):
        with open(os.path.join(self.folder, str(host), "out"), encoding="utf-8") as file:
            return file.read()

    def records(self, name):
        """Of the coordinator's host."""
        path = os.path.join(self.folder, "0", "run", name)
        if not os.path.exists(path):
            return []
        with open(path, encoding="utf-8") as file:
            return [json.loads(line) for line in file.read().splitlines(keepends=True) if line.endswith("\n")]

    def rounds(self):
        """(round, when it was complete), about two a second."""
        return [(it["round"], self.began + it["at_s"]) for it in self.records("metrics.jsonl")
                if it["record"] == "rounds"]

    def all_in(self):
        """Whether the coordinator has heard of all the others."""
        joined = [it for it in self.records("audit.jsonl") if it["what"] == "joined" and it["host"] > 0]
        return len(joined) == len(self.network.hosts) - 1

    def wait_past(self, when, what):
        """The first round told of that was complete after that time."""
        return wait_for(what, lambda: next((it for it in self.rounds() if it[1] > when), None), self.processes)

    def measure(self, seconds):
        """Seconds a step, and bytes that the busiest host sends in one."""
        wait_for("all hosts", self.all_in, self.processes)
        begin = self.wait_past(self.wait_past(time.monotonic(), "first round")[1], "warm round")
        before = [self.network.counted(host)[1] for host in self.network.hosts]
        end = self.wait_past(begin[1] + seconds, "end of the measurement")
        sent = [self.network.counted(host)[1] - was for host, was in zip(self.network.hosts, before)]
        steps = end[0] - begin[0]
        return (end[1] - begin[1]) / steps, max(sent) / steps

    def lose_one(self):
        """Seconds from kill -9 of all of a host to the next complete round of the others. Where rounds take less than
        half a second, not every one is told of, and it may be a later one."""
        at = time.monotonic()
        self.network.kill(self.network.hosts[-1])
        self.processes.pop().wait()
        return self.wait_past(at, "round after the loss of a host")[1] - at

    def end(self):
        """Seconds from the start to the end of the first round, as the report says."""
        self.processes[0].send_signal(signal.SIGTERM)
        for process in self.processes:
            process.wait(LIMIT_S)
        with open(os.path.join(self.folder, "0", "run", "report.json"), encoding="utf-8") as file:
            return json.load(file)["seconds"]["start"]


def ddp(network, seconds):
    """Three workers: seconds a step, bytes that the busiest sends in one, seconds to the first step; the command."""
    command = [PYTHON, "bench/ddp.py", "--model", "wide", "--batch", str(BATCH), "--seconds", str(seconds),
               "--out", OUT]
    workers = [subprocess.Popen(network.on(rank) + command, stdin=subprocess.DEVNULL, env={
        **os.environ, "RANK": str(rank), "WORLD_SIZE": str(HOSTS), "MASTER_ADDR": network.address(0),
        "MASTER_PORT": "29500", "GLOO_SOCKET_IFNAME": "eth0", "OMP_NUM_THREADS": "1",
        "TORCH_CPP_LOG_LEVEL": "ERROR"}) for rank in network.hosts]
    codes = [worker.wait() for worker in workers]
    if any(codes):
        sys.exit(f"{' '.join(command)}: exit codes {codes}")
    figures = []
    for rank in network.hosts:
        with open(f"{OUT}.{rank}", encoding="utf-8") as file:
            figures.append(json.load(file))
        os.remove(f"{OUT}.{rank}")
    steps = figures[0]["steps"]
    return (figures[0]["seconds"] / steps, max(it["sent"] for it in figures) / steps,
            max(it["first_s"] for it in figures), " ".join(command).replace(PYTHON, "python"))


def plain(network, times):
    """Seconds that a step's bytes take over plain TCP, each time those of the slowest host; the command."""
    count = int(4 * PARAMETERS * 2 / HOSTS)  # to each other host
    command = [PYTHON, "bench/plain.py"]
    last = [str(count), str(times), *map(network.address, network.hosts)]
    hosts = [subprocess.Popen([*network.on(host), *command, str(host), *last], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, text=True) for host in network.hosts]
    seconds = [host.communicate()[0].split() for host in hosts]
    if any(host.returncode for host in hosts):
        sys.exit(f"{' '.join(command)} has failed")
    return [max(map(float, it)) for it in zip(*seconds)], " ".join([*command, "HOST", *last]).replace(PYTHON, "python")


def plain_once(network, times):
    try:
        return plain(network, times)
    finally:
        network.close()


def alone():
    """Seconds a step of as many agents on one host, which send nothing."""
    directory = os.path.join(WORK, "run")
    shutil.rmtree(directory, ignore_errors=True)
    run([INSTEP, "run", JOB, "-n", str(HOSTS), "--quiet", "--no-pin", "--run-dir", directory, *SETS,
         "--set", "stop.wall_seconds=10"])
    with open(os.path.join(directory, "report.json"), encoding="utf-8") as file:
        report = json.load(file)
    return HOSTS * BATCH / report["train"]["samples_per_s"]


def links(bench, torch):
    """`torch`: whether Python has it, for DDP."""
    try:
        Network(1).close()
    except Unavailable as error:
        sys.exit(f"no network of hosts can be made here: {error}")
    compute = statistics.median(alone() for _ in range(3))
    print(f"    a step of {HOSTS} agents on one host: {compute:.3g} s", flush=True)
    for link in LINKS:
        measure_link(bench, compute, torch, *link)


def instep_once(network, seconds, **sets):
    """A step's seconds, its bytes, seconds to the first round, seconds that the loss of a host costs; the command."""
    try:
        hosts = Run(network, sets=[*SETS, *instep_test.settings(sets)])
        step, sent = hosts.measure(seconds)
        loss = hosts.lose_one()
        return step, sent, hosts.end(), loss, hosts.command
    finally:
        network.close()


def ddp_once(network, seconds):
    try:
        return ddp(network, seconds)
    finally:
        network.close()


def variants(mbit):
    return [it for it in VARIANTS if mbit and (mbit <= LOW_MBIT or "codec" not in it)]


def measure_link(bench, compute, torch, title, mbit, ms, mtu, seconds, times):
    ours, peers, others = [], [], {it: [] for it in variants(mbit)}
    tcp, tcp_command = plain_once(make(mbit, ms, mtu), times + 1)
    for turn in range(times):
        if torch:
            peers.append(ddp_once(make(mbit, ms, mtu), seconds))
        ours.append(instep_once(make(mbit, ms, mtu), seconds))
        for name, figures in others.items():
            if turn > 0 and "codec" in name:
                continue  # once: it takes long
            figures.append(instep_once(make(mbit, ms, mtu), seconds, **VARIANTS[name]))
    facts = {"n": HOSTS, "batch": HOSTS * BATCH, "compute_s": compute}
    rated = [4e-6 * PARAMETERS * 2 * (HOSTS - 1) / HOSTS * 8 / mbit] * times if mbit else None
    # The first is TCP's, who has to find out first what the lines carry.
    bench.line(f"plain TCP, 3 hosts, {title}: a step's bytes", tcp_command, "s", tcp[1:], rated, "bytes/rate", n=HOSTS)
    for name, figures, shards in (("", ours, {"S": HOSTS}),
                                  *((f"{it}, ", others[it], {"S": HOSTS}) for it in others),
                                  ("PyTorch DDP, ", peers, {})):
        if not figures:
            continue
        steps, sent, starts, *rest = zip(*figures)
        command, what = figures[0][-1], f"{name}3 hosts, {title}"
        bound = [max(compute, it * 8e-6 / mbit if mbit else 0) for it in sent]
        bench.line(f"{what}: a step", command, "s", list(steps), bound, "computing, or bytes/rate if that is longer",
                   **shards, **facts)
        # What each has to send in an all-reduce, whatever the algorithm.
        least = [4e-6 * PARAMETERS * 2 * (HOSTS - 1) / HOSTS] * len(sent)
        bench.line(f"{what}: a host sends in a step", command, "MB", [it / 1e6 for it in sent], least,
                   "least of an all-reduce", **shards, **facts)
        bench.line(f"{what}: start to the first step", command, "s", list(starts), **shards, **facts)
        if figures is not peers:
            bench.line(f"{what}: kill -9 of a host to the next complete round", command, "s", list(rest[0]), **shards,
                       **facts)
    for name, figures in others.items():
        bench.line(f"{name}, 3 hosts, {title}: a step", figures[0][-1], "s", [it[0] for it in figures],
                   [it[0] for it in ours], "none of this", S=HOSTS, **facts)
    if peers:
        bench.line(f"3 hosts, {title}: a step", ours[0][-1], "s", [it[0] for it in ours], [it[0] for it in peers],
                   "PyTorch DDP with Gloo", S=HOSTS, **facts)
