"""A network of a given rate and delay between namespaces, where the kernel has no netem: relay.py MBIT MS MTU NAMESPACE…

Makes a tun device eth0 in each namespace and passes IPv4 packets on by the last byte of their address, 1 for the first
namespace: each is as long on its host's line as the rate says, MS on its way, and then on the other host's line.
Nothing is lost. Prints "ready" when the devices are there; they go with this process.
"""
import ctypes
import fcntl
import heapq
import os
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


class Lines:
    """When packets arrive."""

    def __init__(self, hosts, mbit, delay_s):
        self.byte_s, self.delay_s = 8 / (mbit * 1e6), delay_s
        self.out_free, self.in_free = [0.0] * hosts, [0.0] * hosts

    def arrival(self, source, target, size, now):
        takes = size * self.byte_s
        left = self.out_free[source] = max(now, self.out_free[source]) + takes
        # Its first byte may come in while its last is on the way.
        there = self.in_free[target] = max(left + self.delay_s, self.in_free[target] + takes)
        return there


def relay(tuns, lines, mtu):
    under_way, number = [], 0
    while True:
        wait = max(0.0, under_way[0][0] - time.monotonic()) if under_way else None
        for tun in select.select(tuns, [], [], wait)[0]:
            try:
                packet = os.read(tun, mtu)
            except BlockingIOError:
                continue
            if packet[0] >> 4 != 4 or not 1 <= packet[19] <= len(tuns):
                continue  # IPv6's search for neighbours, multicast
            target, now = packet[19] - 1, time.monotonic()
            number += 1  # of two at one time the earlier goes first
            at = lines.arrival(tuns.index(tun), target, len(packet), now)
            heapq.heappush(under_way, (at, number, target, packet))
        now = time.monotonic()
        while under_way and under_way[0][0] <= now:
            _, _, target, packet = heapq.heappop(under_way)
            os.write(tuns[target], packet)


def main():
    mbit, ms, mtu, namespaces = float(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    tuns = [make_tun(name, mtu) for name in namespaces]
    enter(f"/proc/{os.getppid()}/ns/net")  # who ends all that runs on a host means not this
    print("ready", flush=True)
    relay(tuns, Lines(len(tuns), mbit, ms / 1e3), mtu)


main()
