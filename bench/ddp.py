"""One worker of PyTorch DistributedDataParallel on the benches' models; run.py starts them.

RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT say who it is; what the device GLOO_SOCKET_IFNAME sends is
counted. Started directly and not by torchrun, which would move the workers to another scheduling
group. Writes what training_bench writes.
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


class Block(nn.Module):
    """Two convolutions of resnet20 and their shortcut, without parameters where it narrows."""

    def __init__(self, before, channels):
        super().__init__()
        stride = channels // before
        self.first = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
        self.second = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.norms = nn.ModuleList([nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)])
        self.stride, self.extra = stride, channels - before

    def forward(self, x):
        y = self.norms[1](self.second(torch.relu(self.norms[0](self.first(x)))))
        if self.extra:
            x = nn.functional.pad(x[:, :, ::self.stride, ::self.stride],
                                  (0, 0, 0, 0, self.extra // 2, self.extra - self.extra // 2))
        return torch.relu(x + y)


def resnet20():
    layers = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    before = 16
    for channels in (16, 32, 64):
        for _ in range(3):
            layers.append(Block(before, channels))
            before = channels
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10))


class Layer(nn.Module):
    """One layer of a decoder."""

    def __init__(self, width, heads):
        super().__init__()
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.into, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.wide = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.heads = heads

    def forward(self, x):
        samples, tokens, width = x.shape
        q, k, v = (part.view(samples, tokens, self.heads, -1).transpose(1, 2)
                   for part in self.into(self.norms[0](x)).split(width, 2))
        y = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(y.transpose(1, 2).reshape(samples, tokens, width))
        return x + self.wide(self.norms[1](x))


class Decoder(nn.Module):
    def __init__(self, layers=4, width=256, heads=4, tokens=128, vocabulary=256):
        super().__init__()
        self.tokens, self.places = nn.Embedding(vocabulary, width), nn.Embedding(tokens, width)
        self.layers = nn.Sequential(*[Layer(width, heads) for _ in range(layers)], nn.LayerNorm(width))
        self.head = nn.Linear(width, vocabulary, bias=False)

    def forward(self, x):
        return self.head(self.layers(self.tokens(x) + self.places.weight[:x.shape[1]]))


def workload(name, batch):
    """Network, a batch's data, its targets."""
    if name == "resnet20":
        return resnet20(), torch.randn(batch, 3, 32, 32), torch.randint(0, 10, (batch,))
    if name == "gpt":
        return Decoder(), torch.randint(0, 256, (batch, 128)), torch.randint(0, 256, (batch, 128))
    sizes = [784, 64, 10] if name == "mnist" else [1024, 4096, 4096, 1000]
    layers = []
    for wide_in, wide_out in zip(sizes, sizes[1:]):
        layers += [nn.Linear(wide_in, wide_out), nn.ReLU()]
    return (nn.Sequential(*layers[:-1]), torch.randn(batch, sizes[0]),
            torch.randint(0, sizes[-1], (batch,)))


def sent_bytes():
    """Since its host began, by the device that gloo uses."""
    with open("/proc/self/net/dev", encoding="utf-8") as file:
        for line in file:
            device, _, figures = line.partition(":")
            if device.strip() == os.environ.get("GLOO_SOCKET_IFNAME"):
                return int(figures.split()[8])
    return 0


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model", choices=["mnist", "wide", "resnet20", "gpt"], required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--cpu", type=int, help="bind to it")
    parser.add_argument("--warm", type=float, default=0.5)
    parser.add_argument("--seconds", type=float, default=2)
    args = parser.parse_args()
    if args.cpu is not None:
        os.sched_setaffinity(0, {args.cpu})
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    torch.manual_seed(1)
    network, data, target = workload(args.model, args.batch)
    model = DistributedDataParallel(network)
    if args.model == "mnist":
        optimizer = torch.optim.Adam(model.parameters(), 1e-3, fused=True)
    elif args.model == "gpt":
        optimizer = torch.optim.AdamW(model.parameters(), 3e-4, fused=True)
    elif args.model == "resnet20":
        optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, nesterov=True, fused=True)
    else:
        optimizer = torch.optim.SGD(model.parameters(), 0.01, fused=True)

    def step():
        optimizer.zero_grad()
        output = model(data)
        nn.functional.cross_entropy(output.flatten(0, -2), target.flatten()).backward()
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
    before = sent_bytes()
    steps, seconds = portion(args.seconds)
    sent = sent_bytes() - before
    with open(f"{args.out}.{dist.get_rank()}", "w", encoding="utf-8") as file:
        json.dump({"samples": steps * args.batch, "steps": steps, "seconds": seconds,
                   "samples_per_s": steps * args.batch / seconds, "first_s": first, "sent": sent}, file)
    dist.barrier()
    dist.destroy_process_group()
    os._exit(0)  # gloo's threads may abort an orderly exit; all figures are written


main()
