"""One worker of PyTorch's elastic launcher on 784-64-10, for `run.py faults`:

    torchrun --standalone --nproc-per-node 3 --max-restarts N bench/elastic.py FILE

After each step rank 0 appends its own process, that of rank 1 and CLOCK_MONOTONIC in seconds to FILE.
"""
import os
import sys
import time

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

torch.set_num_threads(1)
dist.init_process_group("gloo")
rank = dist.get_rank()
pids = [None] * dist.get_world_size()
dist.all_gather_object(pids, os.getpid())
torch.manual_seed(1)
net = DistributedDataParallel(nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10)))
optimizer = torch.optim.Adam(net.parameters(), fused=True)
data, target = torch.rand(64, 784), torch.randint(10, (64,))
with open(sys.argv[1], "a", encoding="utf-8") as file:
    while True:
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(data), target).backward()
        optimizer.step()
        if rank == 0:
            print(pids[0], pids[1], time.monotonic(), file=file, flush=True)
