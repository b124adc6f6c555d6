"""For benchmarks of many hosts: runs of the small network on a network of namespaces, and on none."""
import json
import os
import shutil
import sys

from places import INSTEP, ROOT, WORK, run

sys.path.append(os.path.join(ROOT, "tests"))
from hosts_network import Network  # noqa: E402

SMALL = os.path.join(ROOT, "bench", "jobs", "small.toml")
ENDLESS = 1_000_000  # epochs
SAMPLES = 4096  # an epoch's, of bench/jobs/small.toml


def sets(shards, batch, epochs, *more):
    return [word for it in (f"shards={shards}", f"batch={batch}", f"epochs={epochs}", "evaluate_each_epoch=false",
                            *more) for word in ("--set", it)]


def reported(run_dir):
    with open(os.path.join(run_dir, "report.json"), encoding="utf-8") as file:
        return json.load(file)


def alone(with_sets, job=SMALL):
    """The report of one agent that does it all."""
    directory = os.path.join(WORK, "run")
    shutil.rmtree(directory, ignore_errors=True)
    run([INSTEP, "run", job, "-n", "1", "--quiet", "--no-pin", "--run-dir", directory, *with_sets])
    return reported(directory)


def must_be_same(what, hash_of_hosts, hash_alone):
    if hash_of_hosts != hash_alone:
        sys.exit(f"{what}: state_sha256 {hash_of_hosts}, and {hash_alone} with one agent")
    print(f"    {what}: state_sha256 as with one agent, {hash_alone[:16]}…", flush=True)


def end_by_itself(hosts):
    """Waits for a run that has an end; its report, and every host's state."""
    for process in hosts.processes:
        if process.wait(300) != 0:
            sys.exit(f"{hosts.command}: exit code {process.returncode}")
    reports = [reported(os.path.join(hosts.folder, str(k), "run")) for k in hosts.network.hosts]
    if len({it["state_sha256"] for it in reports}) != 1:
        sys.exit(f"{hosts.command}: hosts end with different states")
    return reports[0]


def on_network(hosts, measure):
    network = Network(hosts)
    try:
        return measure(network)
    finally:
        network.close()
