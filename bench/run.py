"""Runs the benchmarks and keeps what they print: ./dev bench [NAME], or with --table the table of
the newest results as Markdown. bench/README.md says what each measures and how to read it."""
import functools
import glob
import json
import os
import shutil
import socket
import subprocess
import sys
import time

import hosts
import links
from faults import faults
from places import BUILD, INSTEP, OUT, PYTHON, ROOT, WORK, agents_of, children, run
from record import Bench, grid, markdown

EXCHANGE = os.path.join(BUILD, "bench", "exchange_bench")
TRAINING = os.path.join(BUILD, "bench", "training_bench")
PLAIN = os.path.join(BUILD, "bench", "plain_bench")
DECIDE = os.path.join(BUILD, "bench", "decide_bench")
LEARN = os.path.join(BUILD, "bench", "learn_bench")
CPUS = sorted(os.sched_getaffinity(0))

# Model, an agent's batch, seconds of a measurement, least ratio to the plain processes at S=2.
MODELS = {"mnist": ("784-64-10, Adam", 64, 1.5, 1.25),
          "wide": ("1024-4096-4096-1000, SGD", 8, 3.0, 1.4),
          "resnet20": ("resnet20, SGD", 64, 5.0, 0.98),
          "gpt": ("gpt 4x256, 128 tokens, AdamW", 8, 5.0, 0.98)}
SMALL = ("mnist", "wide")


# --- exchange


def exchange(bench):
    # Agents, KiB, of a chunk, rounds, buffers written anew or not, what is due of arena and
    # ordinary memory: times the bound (100 MiB) or microseconds (1 MiB).
    for agents, kib, chunk, rounds, again, due in (
            (2, 100 << 10, 128, 40, False, (1.25, 2.5)), (2, 1 << 10, 512, 2000, False, None),
            (2, 1 << 10, 512, 2000, True, (20, 120)), (4, 100 << 10, 128, 20, False, (2.5, None))):
        command = [EXCHANGE, "--agents", str(agents), "--kib", str(kib), "--rounds", str(rounds),
                   "--chunk-kib", str(chunk)] + (["--again", "1"] if again else [])
        seconds = json.loads(run(command))["seconds"]
        small = kib == 1 << 10
        unit, scale = ("us", 1e6) if small else ("ms", 1e3)
        # A round has taken as long as its slowest agent.
        times = {mode: [scale * max(of_agents) for of_agents in rounds]
                 for mode, rounds in seconds.items()}
        for mode, most in zip(("arena", "ordinary"), due or (None, None)):
            bench.line(f"exchange, {mode} memory, {kib >> 10} MiB" +
                       (", the same buffers again" if again else ""), " ".join(command), unit,
                       times[mode], times["bound"], "bandwidth bound", at_most=most,
                       of_figure=small, n=agents, S=agents)


# --- training


def gather_figures(processes):
    figures = []
    for k in range(processes):
        with open(f"{OUT}.{k}", encoding="utf-8") as file:
            figures.append(json.load(file))
        os.remove(f"{OUT}.{k}")
    return figures


def rate(figures):
    return sum(item["samples_per_s"] for item in figures)


def together(commands, envs=None):
    """Starts all and waits for all; every one must succeed."""
    running = [subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                env={**os.environ, **(envs[i] if envs else {})})
               for i, command in enumerate(commands)]
    codes = [process.wait() for process in running]
    if any(codes):
        sys.exit(f"{' '.join(commands[0])}: exit codes {codes}")


def plain_commands(model, seconds, processes=2, batch=None):
    batch = batch or MODELS[model][1]
    return [[PLAIN, "--model", model, "--batch", str(batch), "--seconds",
             str(seconds), "--out", OUT, "--cpu", str(CPUS[k % len(CPUS)]), "--number", str(k)]
            for k in range(processes)]


def plain(model, seconds, batch=None):
    """Samples/s of two libtorch processes that never talk, at once."""
    commands = plain_commands(model, seconds, 2, batch)
    together(commands)
    return rate(gather_figures(2))


def instep_command(model, seconds, agents, shards, batch, sets=()):
    return [INSTEP, "run", "-n", str(agents), "--quiet", "--run-dir", os.path.join(WORK, "run"),
            *(word for it in sets for word in ("--set", it)), "--", TRAINING, "--model", model,
            "--batch", str(batch), "--shards", str(shards), "--seconds", str(seconds), "--out", OUT]


def instep(model, seconds, agents=2, shards=2, batch=None, sets=()):
    command = instep_command(model, seconds, agents, shards, batch or 2 * MODELS[model][1], sets)
    shutil.rmtree(os.path.join(WORK, "run"), ignore_errors=True)
    run(command)
    return rate(gather_figures(min(agents, shards))), " ".join(command)


def ddp_worker(model, seconds, rank, port):
    command = [PYTHON, "bench/ddp.py", "--model", model, "--batch",
               str(MODELS[model][1]), "--seconds", str(seconds), "--out", OUT, "--cpu",
               str(CPUS[rank % len(CPUS)])]
    env = {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1",
           "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1", "TORCH_CPP_LOG_LEVEL": "ERROR"}
    return command, env


def ddp(model, seconds):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    workers = [ddp_worker(model, seconds, rank, port) for rank in range(2)]
    together([w[0] for w in workers], [w[1] for w in workers])
    return gather_figures(2)


def has_torch():
    probe = [PYTHON, "-c", "import torch.distributed as d; assert d.is_available()"]
    return subprocess.run(probe, capture_output=True).returncode == 0


def paired(model, seconds, shards, pairs):
    """Samples/s of two agents, of two plain processes, and the agents' command."""
    ours, peer = [], []
    for pair in range(pairs):
        # Whoever comes first alternates, so that a slow drift of the machine cancels.
        if pair % 2 == 0:
            peer.append(plain(model, seconds))
        figure, command = instep(model, seconds, shards=shards)
        ours.append(figure)
        if pair % 2 == 1:
            peer.append(plain(model, seconds))
    return ours, peer, command


def training(bench):
    for model in SMALL:
        title, batch, seconds, least = MODELS[model]
        ours, peer, command = paired(model, seconds, 2, 9)
        bench.line(f"training {title}", command, "samples/s", ours, peer, "two plain libtorch",
                   at_least=least, n=2, S=2, batch=2 * batch)
        if not has_torch():
            print(f"    no DDP figure: {PYTHON} has no torch (INSTEP_BENCH_PYTHON names another)")
            continue
        ddp_line(bench, model)


def ddp_line(bench, model):
    title, batch, seconds, _ = MODELS[model]
    ours, peer = [], []
    for _ in range(3):
        peer.append(rate(ddp(model, seconds)))
        ours.append(plain(model, seconds))
    command = " ".join(ddp_worker(model, seconds, 0, "…")[0]).replace(PYTHON, "python")
    bench.line(f"PyTorch DDP {title}", command, "samples/s", peer, ours, "two plain libtorch",
               n=2, batch=2 * batch)


def deep(bench):
    for model in ("resnet20", "gpt"):
        title, batch, seconds, least = MODELS[model]
        for shards, due in ((2, least), (8, 0.95)):
            ours, peer, command = paired(model, seconds, shards, 3)
            bench.line(f"training {title}", command, "samples/s", ours, peer,
                       "two plain libtorch", at_least=due, n=2, S=shards, batch=2 * batch)
        # What libtorch itself makes of batches as small as a shard of eight.
        small = [plain(model, seconds, 2 * batch // 8) for _ in range(len(ours))]
        bench.line(f"training {title}", command, "samples/s", ours, small,
                   f"two plain libtorch with batches of {2 * batch // 8}", n=2, S=8,
                   batch=2 * batch)
        if has_torch():
            ddp_line(bench, model)


def codecs(bench):
    for model in SMALL:
        title, batch, seconds, _ = MODELS[model]
        for codec in ("bf16", "int8", "top-k"):
            ours, peer = [], []
            for _ in range(5):
                peer.append(instep(model, seconds)[0])
                figure, command = instep(model, seconds, sets=[f"codec.kind={codec}"])
                ours.append(figure)
            bench.line(f"{codec}, {title}", command, "samples/s", ours, peer, "no codec", n=2, S=2,
                       batch=2 * batch)


def table(bench):
    for model in SMALL:
        title, batch, seconds, _ = MODELS[model]
        seconds = {"mnist": 1.0, "wide": 2.0}[model]
        for agents in (1, 2, 4):
            for shards in (2, 4, 8, 16):
                ours, peer = [], []
                for _ in range(2):
                    peer.append(plain(model, seconds))
                    figure, command = instep(model, seconds, agents, shards)
                    ours.append(figure)
                bench.line(f"table {title}", command, "samples/s", ours, peer,
                           "two plain libtorch", n=agents, S=shards, batch=2 * batch)
    print(grid(bench.lines))


def run_mnist(agents, extra):
    report = os.path.join(WORK, "report.json")
    command = [INSTEP, "run", "examples/mnist", "-n", str(agents), "--quiet", "--run-dir",
               os.path.join(WORK, "run"), "--report", report] + extra
    shutil.rmtree(os.path.join(WORK, "run"), ignore_errors=True)
    run(command)
    with open(report, encoding="utf-8") as file:
        return json.load(file), " ".join(command)


def mnist(bench):
    ours, peer = [], []
    for pair in range(6):
        if pair % 2 == 0:
            peer.append(plain("mnist", 1.5))
        report, command = run_mnist(2, [])
        ours.append(report["train"]["samples_per_s"])
        if pair % 2 == 1:
            peer.append(plain("mnist", 1.5))
    bench.line("instep run examples/mnist, its data loaded", command, "samples/s", ours, peer,
               "two plain libtorch without loading", at_least=1.0, n=2, S=report["shards"],
               batch=report["job"]["batch"])


# --- learning


def english():
    """About 1 MB of English that a Debian machine has: licences, and Python's own manual. The last
    twentieth is the test set."""
    paths = sorted(path for path in glob.glob("/usr/share/common-licenses/*")
                   if not os.path.islink(path))
    paths += sorted(glob.glob("/usr/lib/python3*/pydoc_data/topics.py"))[-1:]
    text = b""
    for path in paths:
        with open(path, "rb") as file:
            text += file.read()
    cut = len(text) * 19 // 20
    sets = []
    for name, part in (("train", text[:cut]), ("test", text[cut:])):
        path = os.path.abspath(os.path.join(WORK, f"text.{name}"))
        with open(path, "wb") as file:
            file.write(part)
        sets.append(f"data.{name}_samples={path}")
    return sets


def learn(bench):
    for model, metric, due in (("resnet20", "accuracy", 0.9), ("gpt", "loss", 2.0)):
        job = f"bench/jobs/{model}.toml"
        sets = english() if model == "gpt" else []
        directory = os.path.join(WORK, f"learn-{model}")
        shutil.rmtree(directory, ignore_errors=True)
        command = [INSTEP, "run", job, "-n", "2", "--quiet", "--run-dir", directory]
        for each in sets:
            command += ["--set", each]
        run(command)
        with open(os.path.join(directory, "report.json"), encoding="utf-8") as file:
            report = json.load(file)
        with open(os.path.join(directory, "metrics.jsonl"), encoding="utf-8") as file:
            epochs = [line for line in map(json.loads, file) if line["record"] == "epoch"]
        out = os.path.join(WORK, f"learn-{model}.json")
        run([LEARN, job, out] + sets)
        with open(out, encoding="utf-8") as file:
            plain_loop = json.load(file)
        words = {"at_least": due} if metric == "accuracy" else {"at_most": due}
        bench.line(f"learning {model}, test {metric}", " ".join(command), metric,
                   [report["test"][metric]], [plain_loop[f"test_{metric}"][-1]],
                   "plain libtorch, the whole batch at once", of_figure=True, n=2,
                   S=report["shards"], batch=report["job"]["batch"],
                   curve=[{"train_loss": e["train_loss"], **e["test"]} for e in epochs],
                   peer_curve=plain_loop, **words)


# --- the coordinator


def decide(bench):
    what = {"words": "looks at all agents", "death": "a death and the view after it",
            "planned": "a newcomer and the planned view"}
    for agents, shards in ((1000, 2000), (1000, 1500), (64, 100)):
        command = [DECIDE, str(agents), str(shards)]
        figures = json.loads(run(command))
        for kind, title in what.items():
            # Not the median: it is the slowest decision that holds the others up.
            bench.line(f"decide(), slowest of {len(figures[kind])}: {title}", " ".join(command),
                       "ms", [max(figures[kind])], at_most=5, n=agents, S=shards)


# --- start and memory


def start(bench):
    for agents in (2, 4):
        seconds = []
        for _ in range(7):
            report, command = run_mnist(agents, ["--set", "epochs=1"])
            seconds.append(report["seconds"]["start"])
        bench.line("command to the end of the first round", command, "s", seconds,
                   at_most=0.7 if agents == 2 else None, n=agents, S=report["shards"],
                   batch=report["job"]["batch"])
    if has_torch():
        firsts = [max(w["first_s"] for w in ddp("mnist", 0.2)) for _ in range(3)]
        command, _ = ddp_worker("mnist", 0.2, 0, 0)
        bench.line("PyTorch DDP, worker's start to its first step",
                   " ".join(command).replace(PYTHON, "python"), "s", firsts, n=2, batch=128)


def pss_mb(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="utf-8") as file:
        for line in file:
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1e3 * 1.024
    return 0.0


def memory(bench):
    for model in SMALL:
        title, batch, _, _ = MODELS[model]
        sizes = {"mnist": [784, 64, 10], "wide": [1024, 4096, 4096, 1000]}[model]
        model_mb = 4e-6 * sum((a + 1) * b for a, b in zip(sizes, sizes[1:]))
        ours, peer, launcher = [], [], []
        for _ in range(3):
            wait_s = 2.5
            running = [subprocess.Popen(command, stdin=subprocess.DEVNULL)
                       for command in plain_commands(model, 4)]
            time.sleep(wait_s)
            peer.append(sum(pss_mb(process.pid) for process in running))
            for process in running:
                process.wait()
            gather_figures(2)
            command = instep_command(model, 4, 2, 2, 2 * batch)
            shutil.rmtree(os.path.join(WORK, "run"), ignore_errors=True)
            with subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL) as process:
                time.sleep(wait_s)
                agents = agents_of(process.pid)
                if len(agents) != 2:
                    sys.exit(f"{' '.join(command)}: {len(agents)} agents and not 2")
                ours.append(sum(pss_mb(agent) for agent in agents))
                others = set(children(process.pid)) - set(agents)  # the coordinator
                launcher.append(sum(pss_mb(pid) for pid in [process.pid, *others]))
                if process.wait() != 0:
                    sys.exit(f"{' '.join(command)}: exit code {process.returncode}")
            gather_figures(2)
        allowed = [value + 2 * model_mb for value in peer]
        bench.line(f"memory {title}, model {model_mb:.1f} MB", " ".join(command), "MB", ours,
                   allowed, "two plain libtorch and two model sizes", at_most=1.0, n=2, S=2,
                   batch=2 * batch, launcher=launcher)


BENCHES = {"exchange": exchange, "training": training, "deep": deep, "codecs": codecs,
           "table": table, "mnist": mnist, "start": start, "memory": memory, "learn": learn,
           "decide": decide, "faults": faults, "links": lambda bench: links.links(bench, has_torch()),
           "hosts": hosts.hosts}
# One figure of a benchmark alone; what it prints is kept for itself and stands in no table.
FIGURES = {f"hosts.{name}": functools.partial(hosts.hosts, names=[name]) for name in hosts.FIGURES}


def main():
    names = sys.argv[1:]
    os.chdir(ROOT)
    if names == ["--table"]:
        print(markdown(BENCHES), end="")
        return
    for name in names:
        if name not in {**BENCHES, **FIGURES}:
            sys.exit(f"no benchmark {name!r}; there are {', '.join([*BENCHES, *FIGURES])}, and --table")
    os.makedirs(WORK, exist_ok=True)
    began = time.time()
    for name in names or BENCHES:
        print(f"{name}:", flush=True)
        for old in glob.glob(OUT + ".*"):
            os.remove(old)
        bench = Bench(name)
        {**BENCHES, **FIGURES}[name](bench)
        bench.keep()
    print(f"{time.time() - began:.0f} s in all\n\n{markdown(BENCHES)}", end="")


main()
