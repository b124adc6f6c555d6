"""One worker of PyTorch DistributedDataParallel on the benches' two models; run.py starts them.

RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT say who it is. Started directly and not by torchrun,
which would move the workers to another scheduling group. Writes what training_bench writes.
"""
import argparse
import json
import os
import time

STARTED = time.time()

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn.parallel import DistributedDataParallel  # noqa: E402


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=["mnist", "wide"], required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--cpu", type=int, required=True)
    parser.add_argument("--warm", type=float, default=0.5)
    parser.add_argument("--seconds", type=float, default=2)
    args = parser.parse_args()
    os.sched_setaffinity(0, {args.cpu})
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    torch.manual_seed(1)
    sizes = [784, 64, 10] if args.model == "mnist" else [1024, 4096, 4096, 1000]
    layers = []
    for wide_in, wide_out in zip(sizes, sizes[1:]):
        layers += [nn.Linear(wide_in, wide_out), nn.ReLU()]
    model = DistributedDataParallel(nn.Sequential(*layers[:-1]))
    if args.model == "mnist":
        optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    else:
        optimizer = torch.optim.SGD(model.parameters(), 0.01, fused=True)
    data = torch.randn(args.batch, sizes[0])
    target = torch.randint(0, sizes[-1], (args.batch,))

    def step():
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(data), target).backward()
        optimizer.step()

    # Every worker takes as many steps as rank 0 asks for, in portions that rank 0 measures.
    step()
    first = time.time() - STARTED

    def portion(seconds):
        steps = torch.tensor([1])
        begin = time.perf_counter()
        done = 0
        while True:
            for _ in range(int(steps)):
                step()
            done += int(steps)
            spent = time.perf_counter() - begin
            rest = max(0.0, seconds - spent)
            steps[0] = min(int(rest * done / spent / 2) + 1, 1000) if rest > 0 else 0
            dist.broadcast(steps, 0)
            if int(steps) == 0:
                return done, time.perf_counter() - begin

    portion(args.warm)
    steps, seconds = portion(args.seconds)
    with open(f"{args.out}.{dist.get_rank()}", "w", encoding="utf-8") as file:
        json.dump({"samples": steps * args.batch, "steps": steps, "seconds": seconds,
                   "samples_per_s": steps * args.batch / seconds, "first_s": first}, file)
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)  # gloo's threads may abort an orderly exit; all figures are written


main()
