"""What hosts that train together cost and bear, for run.py: network namespaces as in links.py, and the small network
wherever nothing else is said. One figure alone: ./dev bench hosts.NAME. Needs root, iproute2 and openssl."""
import functools
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time

from attack import attack
from faults import Events, percentile
from hosted import ENDLESS, SMALL, Network, alone, end_by_itself, must_be_same, on_network, sets
from hosts_network import Unavailable
from links import BATCH, HOSTS, JOB, LINKS, PARAMETERS, PORT, SETS, Run, make, wait_for
from places import BUILD, run

# --- size

SIZE_HOSTS, SIZE_AGENTS, SIZE_EPOCHS = 16, 4, 40


def private_mb(pid):
    """What one process more takes: of what the system could drop and read again from its file, nothing."""
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
        words = [line.split() for line in file]
    return sum(int(it[1]) for it in words if it[0] in ("Private_Dirty:", "Shared_Dirty:")) / 1024


def memory_of_one(network):
    """MB of a host's agent, and of all else that runs on the host."""
    hosts = Run(network, SMALL, sets(1, 8, ENDLESS))
    wait_for("first rounds", hosts.rounds, hosts.processes)
    agent, others = 0.0, 0.0
    for pid in network.pids(0):
        with open(f"/proc/{pid}/cmdline", encoding="utf-8") as file:
            is_agent = "instep-agent" in file.read()
        agent, others = agent + is_agent * private_mb(pid), others + (not is_agent) * private_mb(pid)
    return agent, others


def available_mb():
    with open("/proc/meminfo", encoding="utf-8") as file:
        return next(int(line.split()[1]) / 1024 for line in file if line.startswith("MemAvailable:"))


def agents_that_fit():
    """Of a host, where all are to have a reserve of a quarter."""
    agent, others = on_network(1, memory_of_one)
    free = 0.75 * available_mb()
    fit = int((free / SIZE_HOSTS - others) / agent)
    print(f"    an agent takes {agent:.0f} MB, a host without agents {others:.0f} MB; {free:.0f} MB may be taken",
          flush=True)
    if fit < 1:
        sys.exit("too little memory for an agent on each host")
    if fit < SIZE_AGENTS:
        print(f"    so {fit} agents a host, and not {SIZE_AGENTS}", flush=True)
    return min(fit, SIZE_AGENTS)


def size(bench):
    agents = agents_that_fit()
    shards = SIZE_HOSTS * SIZE_AGENTS
    batch, every = 8 * shards, sets(shards, 8 * shards, SIZE_EPOCHS)

    def measure(network):
        hosts = Run(network, SMALL, every, agents, agents * SIZE_HOSTS)
        return end_by_itself(hosts), hosts.command

    reports = []
    for _ in range(3):
        report, words = on_network(SIZE_HOSTS, measure)
        reports.append(report)
    (state,) = {it["state_sha256"] for it in reports}
    must_be_same(f"{agents * SIZE_HOSTS} agents on {SIZE_HOSTS} hosts, {report['rounds']} rounds", state,
                 alone(every)["state_sha256"])
    facts = {"n": agents * SIZE_HOSTS, "S": shards, "batch": batch}
    what = f"{SIZE_HOSTS} hosts with {agents} agents each"
    bench.line(f"{what}: start to the first complete round", words, "s", [it["seconds"]["start"] for it in reports],
               **facts)
    bench.line(f"{what}: rounds", words, "rounds/s", [it["rounds"] / it["seconds"]["train"] for it in reports], **facts)


# --- control traffic

CONTROL_S = 20
HEADERS_BYTES = 20 + 20 + 12  # IP, TCP and its time stamps, of every segment


def connections(network):
    """Of the first host's port: (address of the other end, port) -> bytes that went both ways, segments."""
    text = subprocess.run([*network.on(0), "ss", "-tinH", "state", "established"], capture_output=True, text=True,
                          check=True).stdout
    out = {}
    for head, figures in zip(*[iter(text.splitlines())] * 2):
        local, peer = re.findall(r"([\d.]+):(\d+)", head)
        known = {key: int(value) for key, value in re.findall(r"(\w+):(\d+)", figures)}
        if int(local[1]) == PORT:
            out[peer] = (known.get("bytes_sent", 0) + known.get("bytes_received", 0),
                         known["segs_out"] + known["segs_in"])
    return out


def control_links(network, seconds):
    """Bytes a second of each other host's link to the hub, and with headers; of its link for sums."""
    before, began = connections(network), time.monotonic()
    time.sleep(seconds)
    after, passed = connections(network), time.monotonic() - began
    plain, headed, bulk = [], [], []
    for host in network.hosts[1:]:
        # Two links to this port: one to the hub, and one for sums, which is never idle.
        links = sorted(tuple((a - b) / passed for a, b in zip(after[key], before[key]))
                       for key in after if key[0] == network.address(host))
        if len(links) != 2:
            sys.exit(f"{len(links)} links of host {host} to the first one, and not 2")
        plain.append(links[0][0])
        headed.append(links[0][0] + HEADERS_BYTES * links[0][1])
        bulk.append(links[1][0])
    return plain, headed, bulk


def control(bench):
    words, facts = "", {"n": 3, "S": 3, "batch": 96}

    def measure(network):
        nonlocal words
        hosts = Run(network, SMALL, sets(3, 96, ENDLESS))
        words = hosts.command
        wait_for("all hosts", hosts.all_in, hosts.processes)
        hosts.wait_past(time.monotonic(), "first round")
        begin = hosts.rounds()[-1]
        figures = control_links(network, CONTROL_S)
        end = hosts.rounds()[-1]
        rate = (end[0] - begin[0]) / (end[1] - begin[1])
        at = time.monotonic()
        network.unplug(2)
        lost = wait_for("end of the patience", lambda: audited(hosts, "lost"), hosts.processes)
        after = hosts.wait_past(time.monotonic(), "round after the loss of a host")
        return (*figures, rate, after[1] - at, lost[0]["reason"])

    plain, headed, bulk, rate, silence, why = on_network(3, measure)
    what = "links between hosts and the hub, one agent a host, an agent"
    print(f"    {rate:.0f} rounds/s meanwhile; a link for sums {statistics.median(bulk) / 1e6:.3g} MB/s", flush=True)
    bench.line(f"{what}: bytes both ways", words, "B/s", plain, at_most=1000, **facts)
    bench.line(f"{what}: with headers of TCP and IP", words, "B/s", headed, at_most=1000, **facts)
    print(f"    a host whose cable was pulled is lost: {why}", flush=True)
    bench.line("a host's cable pulled to the next complete round of the others", words, "s", [silence], **facts)


def audited(hosts, what):
    return [it for it in hosts.records("audit.jsonl") if it["what"] == what]


# --- death of a host

DEATHS, WIDE_DEATHS = 20, 10


def kill_at_once(network, host):
    pids = network.pids(host)
    at = time.monotonic()
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    network.kill(host)  # whoever was just being started
    return at


def one_death(job, with_sets, rounds_before, network):
    """Seconds from kill -9 of all of a host to the first round that the others complete without it, by this process's
    clock; the usual round's. Each round is an epoch of data, of which a line tells at once."""
    hosts = Run(network, job, with_sets)
    run_dir = os.path.join(hosts.folder, "0", "run")
    metrics, audit = Events(run_dir, "metrics.jsonl"), Events(run_dir, "audit.jsonl")

    def epochs():
        return [it["at_s"] for it in metrics.read() if it["record"] == "epoch"]

    wait_for("all hosts", hosts.all_in, hosts.processes)
    before = wait_for("rounds", lambda: len(epochs()) > rounds_before and epochs(), hosts.processes)
    usual = before[-rounds_before // 2:]
    at = kill_at_once(network, 2)
    hosts.processes.pop().wait()
    look = functools.partial(wait_for, alive=hosts.processes, pause=0.0005)
    look("loss of the host", lambda: any(it["what"] == "lost" for it in audit.read()))
    rounds = len(epochs())
    look("round after it", lambda: len(epochs()) > rounds)
    return time.monotonic() - at, statistics.median(b - a for a, b in zip(usual, usual[1:])), hosts.command


def deaths(bench, of, times, job, batch, with_sets, rounds_before):
    seconds, usual, words = zip(*(
        on_network(HOSTS, functools.partial(one_death, job, with_sets, rounds_before)) for _ in range(times)))
    took = [1e3 * it for it in seconds]
    print(f"    a usual round of {of} takes {1e3 * statistics.median(usual):.2g} ms", flush=True)
    bench.line(f"{of}: kill -9 of all of a host to the next complete round of the other two, {times} times", words[0],
               "ms", took, n=HOSTS, S=HOSTS, batch=batch, p99=percentile(took, 0.99))


def death(bench):
    deaths(bench, "small network", DEATHS, SMALL, 96, sets(HOSTS, 96, ENDLESS, "data.samples=96"), 100)
    batch = HOSTS * BATCH
    deaths(bench, "25 million parameters", WIDE_DEATHS, JOB, batch, [*SETS, "--set", f"data.samples={batch}"], 10)


# --- TLS

LINK = os.path.join(BUILD, "bench", "link_bench")
TLS_TIMES, TLS_S = 5, 3
CIPHER, RECORD_BYTES = "aes-128-gcm", 1 << 14  # what links agree on where both ends are OpenSSL


def cipher_speed(*words):
    """Bytes a second, with the tag that proves each record."""
    text = run(["openssl", "speed", "-mr", "-aead", *words, "-evp", CIPHER, "-bytes", str(RECORD_BYTES), "-seconds",
                "1"])
    return float(re.search(r"^\+F:.*:([\d.]+)$", text, re.MULTILINE)[1])


def tls(bench):
    links_rate, bounds, parts = [], [], []

    def carried(network, kind):
        command = [LINK, kind, network.name(0), network.name(1), network.address(0), str(TLS_S)]
        return json.loads(run(command))["bytes_per_s"], " ".join(command)

    for _ in range(TLS_TIMES):
        figure, words = on_network(2, functools.partial(carried, kind="tls"))
        copy, _ = on_network(2, functools.partial(carried, kind="tcp"))
        parts.append((cipher_speed(), cipher_speed("-decrypt"), copy))
        links_rate.append(figure / 1e6)
        bounds.append(1e-6 / sum(1 / it for it in parts[-1]))
    encrypt, decrypt, copy = (statistics.median(it) / 1e6 for it in zip(*parts))
    print(f"    {CIPHER} encrypts {encrypt:,.0f} and decrypts {decrypt:,.0f} MB/s; TCP alone carries {copy:,.0f} MB/s",
          flush=True)
    bench.line("a link by TLS between two namespaces, one way", words, "MB/s", links_rate, bounds,
               "1/(1/encrypt + 1/decrypt + 1/copy)", at_least=0.8)


# --- start

MODEL_BYTES = 4 * PARAMETERS
START_TIMES = 3


def start(bench):
    for title, mbit, ms, mtu, *_ in LINKS[:2]:
        seconds = []
        for _ in range(START_TIMES):
            network = make(mbit, ms, mtu)
            try:
                hosts = Run(network)
                wait_for("all hosts", hosts.all_in, hosts.processes)
                hosts.wait_past(time.monotonic(), "first round")
                seconds.append(hosts.end())
            finally:
                network.close()
        round_trips = 4 * 2 * ms / 1e3
        due = 1.5 + round_trips + (MODEL_BYTES * 8e-6 / mbit if mbit else 0)
        bench.line(f"3 hosts, {title}: start to the first complete round, 25 million parameters", hosts.command, "s",
                   seconds, [due] * len(seconds), "1.5 s, four round trips and the model's bytes by the rate",
                   at_most=1.0, n=HOSTS, S=HOSTS, batch=HOSTS * BATCH)


FIGURES = {"size": size, "control": control, "attack": attack, "death": death, "tls": tls, "start": start}


def hosts(bench, names=tuple(FIGURES)):
    try:
        Network(1).close()
    except Unavailable as error:
        sys.exit(f"no network of hosts can be made here: {error}")
    for name in names:
        began = time.monotonic()
        FIGURES[name](bench)
        print(f"    {name}: {time.monotonic() - began:.0f} s", flush=True)
