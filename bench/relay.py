"""A network of a given rate and delay between namespaces, where the kernel has no netem: relay.py MBIT MS MTU NAMESPACE…

Makes a tun device eth0 in each namespace and passes IPv4 packets on by the last byte of their address, 1 for the first
namespace: each is as long on its host's line as the rate says, MS on its way, and then on the other host's line.
With --lose PERCENT so many are lost; with --late PERCENT so many come up to five times MS later, behind others.
Prints "ready" when the devices are there; they go with this process.
"""
import argparse
import ctypes
import fcntl
import heapq
import os
import random
import select
import struct
import sys
import time

TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
CLONE_NEWNET = 0x40000000


def enter(path):
    libc = ctypes.CDLL(None, use_errno=True)
    where = os.open(path, os.O_RDONLY)
    if libc.setns(where, CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), f"cannot enter {path}")
    os.close(where)


def make_tun(namespace, mtu):
    enter(f"/run/netns/{namespace}")
    tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
    fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH22x", b"eth0", IFF_TUN | IFF_NO_PI))
    if os.system(f"ip link set eth0 mtu {mtu} txqueuelen 1000") != 0:
        raise OSError(f"no eth0 in {namespace}")
    return tun


class Line:
    """A host's, one way: carries one packet at a time, in the order in which they come to it."""

    def __init__(self, mbit):
        self.byte_s, self.free = 8 / (mbit * 1e6), 0.0

    def carried(self, size, now):
        self.free = max(now, self.free) + size * self.byte_s
        return self.free


def relay(tuns, mbit, delay_s, mtu, lose, late):
    leaving, coming = [Line(mbit) for _ in tuns], [Line(mbit) for _ in tuns]
    chance = random.Random(1)
    under_way, number = [], 0  # (when, number, target, packet, whether it is at the target's line yet)
    while True:
        wait = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
        for tun in select.select(tuns, [], [], wait)[0]:
            try:
                packet = os.read(tun, mtu)
            except BlockingIOError:
                continue
            if packet[0] >> 4 != 4 or not 1 <= packet[19] <= len(tuns):
                continue  # IPv6's search for neighbours, multicast
            if chance.random() < lose:
                continue
            number += 1  # of two at one time the earlier goes first
            # Its first byte comes to the other line while its last is on the way.
            line = leaving[tuns.index(tun)]
            at = line.carried(len(packet), time.monotonic()) - len(packet) * line.byte_s + delay_s
            if chance.random() < late:
                at += chance.uniform(0, 5 * delay_s)
            heapq.heappush(under_way, (at, number, packet[19] - 1, packet, False))
        now = time.monotonic()
        while under_way and under_way[0][0] <= now:
            at, _, target, packet, there = heapq.heappop(under_way)
            if there:
                os.write(tuns[target], packet)
                continue
            # Not before this: who comes late from another host must not wait for what is not here yet.
            number += 1
            heapq.heappush(under_way, (coming[target].carried(len(packet), at), number, target, packet, True))


def main():
    words = argparse.ArgumentParser()
    words.add_argument("--lose", type=float, default=0)
    words.add_argument("--late", type=float, default=0)
    words.add_argument("mbit", type=float)
    words.add_argument("ms", type=float)
    words.add_argument("mtu", type=int)
    words.add_argument("namespaces", nargs="+")
    given = words.parse_args()
    tuns = [make_tun(name, given.mtu) for name in given.namespaces]
    enter(f"/proc/{os.getppid()}/ns/net")  # who ends all that runs on a host means not this
    print("ready", flush=True)
    relay(tuns, given.mbit, given.ms / 1e3, given.mtu, given.lose / 100, given.late / 100)


main()
