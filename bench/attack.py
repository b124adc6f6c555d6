"""Rounds a second while strangers are at the port of a run, for hosts.py."""
import os
import subprocess
import sys
import time

from hosted import ENDLESS, SAMPLES, SMALL, alone, must_be_same, on_network, reported, sets
from links import PORT, Run, wait_for
from places import INSTEP, WORK, run
import strangers

ATTACKERS, PAIRS, WINDOW_S, WARM_S, HALF_OPEN = 2, 5, 11, 1, 10_000
# Of all attackers together: half of what comes is half-open.
ATTACK_RATE = 2 * HALF_OPEN / (PAIRS * (WINDOW_S + WARM_S))
IDLE_PORT = PORT + 1
# Takes in nobody, and has room for all of them in its queue.
LISTENER = """
import socket, sys
with open("/proc/sys/net/core/somaxconn", "w") as most:
    most.write("65535")
server = socket.create_server((sys.argv[1], int(sys.argv[2])), backlog=65535)
print("listening", flush=True)
sys.stdin.read()
"""


def attacked(hosts, folder, port):
    """Rounds a second while strangers are at that port of the first host, and what they did."""
    network = hosts.network
    attackers = [strangers.start(network.on(2), network.address(0), port, folder, ATTACK_RATE / ATTACKERS)
                 for _ in range(ATTACKERS)]
    begin = hosts.wait_past(time.monotonic() + WARM_S, "rounds under attack")
    end = hosts.wait_past(begin[1] + WINDOW_S, "rounds under attack")
    done = [strangers.finish(it) for it in attackers]
    if any(it["answered"] for it in done):
        sys.exit("a stranger was told something")
    return (end[0] - begin[0]) / (end[1] - begin[1]), done


def attacked_idle(hosts, folder):
    listener = subprocess.Popen([*hosts.network.on(0), sys.executable, "-c", LISTENER, hosts.network.address(0),
                                 str(IDLE_PORT)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    listener.stdout.readline()
    try:
        return attacked(hosts, folder, IDLE_PORT)
    finally:
        listener.communicate()


def summed(done, key):
    return sum(it.get(key, 0) for attackers in done for it in attackers)


def attack(bench):
    folder, shards, batch = os.path.abspath(os.path.join(WORK, "stranger")), 3, 96
    strangers.make_certificate(folder)

    def measure(network):
        hosts = Run(network, SMALL, sets(shards, batch, ENDLESS))
        wait_for("all hosts", hosts.all_in, hosts.processes)
        hosts.wait_past(time.monotonic(), "first round")
        ours, peers = [], []
        for pair in range(PAIRS):
            for idle in ((True, False) if pair % 2 == 0 else (False, True)):
                (peers if idle else ours).append(attacked_idle(hosts, folder) if idle
                                                 else attacked(hosts, folder, PORT))
        hosts.end()
        return ours, peers, hosts

    ours, peers, hosts = on_network(3, measure)
    at_run, at_idle = [it[1] for it in ours], [it[1] for it in peers]
    print(f"    at the run's port {summed(at_run, 'half-open') + summed(at_run, 'slow')} half-open and slow ones, "
          f"{summed(at_run, 'random')} with random bytes, {summed(at_run, 'foreign')} with a foreign certificate, "
          f"{summed(at_run, 'claim')} claims of 4 GiB, {summed(at_run, 'nonsense')} with nonsense; "
          f"{summed(at_run, 'failed')} did not get a connection ({summed(at_idle, 'failed')} at the idle one)",
          flush=True)
    print("    processors that the strangers themselves take: "
          f"{summed(at_run, 'cpu_s') / sum(it['seconds'] for it, *_ in at_run):.2f} at the run's port, "
          f"{summed(at_idle, 'cpu_s') / sum(it['seconds'] for it, *_ in at_idle):.2f} at the idle one", flush=True)
    bench.line(f"{ATTACK_RATE:.0f} strangers a second at the run's port", hosts.command, "rounds/s",
               [it[0] for it in ours], [it[0] for it in peers],
               "at an idle port of the same host, where nobody accepts", at_least=0.9, n=3, S=shards, batch=batch)
    same_as_undisturbed(hosts, shards, batch)


def same_as_undisturbed(hosts, shards, batch):
    """To the end of the epoch of data, and beside it one agent that did it all."""
    run_dir = os.path.join(hosts.folder, "0", "run")
    rounds = reported(run_dir)["rounds"]
    epochs = rounds // (SAMPLES // batch) + 1
    run([INSTEP, "resume", run_dir, "-n", "1", "--quiet", "--no-pin", "--set", f"epochs={epochs}"])
    must_be_same(f"after {rounds} rounds, most of them under attack", reported(run_dir)["state_sha256"],
                 alone(sets(shards, batch, epochs))["state_sha256"])
