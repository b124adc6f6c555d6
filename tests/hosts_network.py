"""Hosts on one machine: network namespaces that a switch joins. For tests and benchmarks; needs root and iproute2.

The switch is a bridge in a namespace of its own, so nothing of the machine's own network is touched, and any number
of processes may have networks at once, all with the same addresses. Names hold the number of the process that made
them: what a killed one has left behind is removed when the next network is made.
"""

import itertools
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import time

RELAY = pathlib.Path(__file__).resolve().parent.parent / "bench/relay.py"
NAME = re.compile(r"instep-(\d+)-\d+-(?:switch|host\d+)")
counter = itertools.count()
IPV4, IPV6 = "10.77.0.{}", "fd77::{}"


class Unavailable(Exception):
    """No network can be made here; says why."""


def command(*words, stdin=None):
    """The standard output of a command that must succeed."""
    done = subprocess.run(words, input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        raise OSError(f"{' '.join(words)}: {done.stderr.strip()}")
    return done.stdout


def pids_in(name):
    return [int(word) for word in command("ip", "netns", "pids", name).split()]


def end_all_in(name, limit_s=20):
    """Kills every process of a namespace, and what they may start meanwhile."""
    end = time.monotonic() + limit_s
    while pids := pids_in(name):
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it has ended
        if time.monotonic() > end:
            raise OSError(f"processes {pids} of {name} cannot be killed")
        time.sleep(0.001)


def remove(name):
    end_all_in(name)
    command("ip", "netns", "del", name)


def names():
    return [line.split()[0] for line in command("ip", "netns", "list").splitlines() if line]


def lives(pid):
    return os.path.exists(f"/proc/{pid}")


def remove_leftovers():
    for name in names():
        made = NAME.fullmatch(name)
        if made and not lives(made[1]):
            try:
                remove(name)
            except OSError:
                pass  # another process removes it too


class Network:
    def __init__(self, hosts):
        self.base = f"instep-{os.getpid()}-{next(counter)}"
        self.switch = f"{self.base}-switch"
        self.hosts = range(hosts)
        self.addresses = IPV4
        try:
            remove_leftovers()
            self.build()
        except OSError as error:  # no `ip`, not allowed, or a kernel without bridges
            self.close()
            raise Unavailable(str(error)) from None

    def build(self):
        self.batch(None, f"netns add {self.switch}", *(f"netns add {self.name(k)}" for k in self.hosts))
        self.wire()
        for k in self.hosts:
            self.batch(self.name(k), f"addr add {self.address(k)}/24 dev eth0", "link set eth0 up", "link set lo up")

    def wire(self):
        """Gives every host its eth0."""
        self.batch(self.switch, "link add bridge0 type bridge", "link set bridge0 up", *(
            line for k in self.hosts for line in (
                f"link add port{k} type veth peer name eth0 netns {self.name(k)}",
                f"link set port{k} master bridge0 up")))

    @staticmethod
    def batch(name, *lines):
        where = ("-n", name) if name else ()
        command("ip", *where, "-batch", "-", stdin="\n".join(lines) + "\n")

    def close(self):
        """Ends whatever runs on the hosts, and removes them."""
        try:
            left = [name for name in names() if name.startswith(self.base + "-")]
        except OSError:
            return  # no `ip`: nothing was made
        for name in left:
            remove(name)

    def name(self, host):
        return f"{self.base}-host{host}"

    def address(self, host):
        return self.addresses.format(host + 1)

    def place(self, host, port):
        """HOST:PORT, for a command line."""
        address = self.address(host)
        return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"

    def use_ipv6(self):
        """From now on hosts have IPv6 addresses alone; an OSError where the kernel knows none."""
        for k in self.hosts:
            self.batch(self.name(k), f"addr add {IPV6.format(k + 1)}/64 dev eth0 nodad",
                       f"addr del {self.address(k)}/24 dev eth0")
        self.addresses = IPV6

    def on(self, host):
        """What goes before a command that shall run on a host. Not `ip netns exec`, which hides the cgroups."""
        return ["nsenter", f"--net=/run/netns/{self.name(host)}", "--"]

    def pids(self, host):
        return pids_in(self.name(host))

    def kill(self, host):
        """kill -9 of all that runs there. The machine itself stays: it says that the connections are gone."""
        end_all_in(self.name(host))

    def unplug(self, host):
        """The others hear nothing more of it, not even an end."""
        self.batch(self.switch, f"link set port{host} down")

    def plug(self, host):
        self.batch(self.switch, f"link set port{host} up")

    def limit(self, mbit, hosts=None, outward=True):
        """So many Mbit/s from each of these hosts, else of all, and to it; what comes faster waits in a queue of up to
        half a second. Not `outward`: to it only."""
        for k in self.hosts if hosts is None else hosts:
            for where, device in ((self.name(k), "eth0"), (self.switch, f"port{k}"))[0 if outward else 1:]:
                command("tc", "-n", where, "qdisc", "replace", "dev", device, "root", "tbf", "rate",
                        f"{mbit}mbit", "burst", f"{max(128, 2 * mbit)}kb", "latency", "500ms")

    def counted(self, host):
        """Bytes that a host has received and sent so far, with all headers."""
        (link,) = json.loads(command("ip", "-n", self.name(host), "-json", "-s", "link", "show", "eth0"))
        return link["stats64"]["rx"]["bytes"], link["stats64"]["tx"]["bytes"]


class Relayed(Network):
    """Lines of a rate and a delay, packets of up to `mtu` bytes; with `options` some are lost or late (relay.py)."""

    def __init__(self, hosts, mbit, ms, mtu, *options):
        self.words, self.relay = [str(it) for it in (*options, mbit, ms, mtu)], None
        super().__init__(hosts)

    def wire(self):
        self.relay = subprocess.Popen([sys.executable, RELAY, *self.words, *map(self.name, self.hosts)],
                                      stdout=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
        if self.relay.stdout.readline() != "ready\n":
            raise OSError("no tun devices can be made here")

    def close(self):
        if self.relay:
            self.relay.kill()
            self.relay.wait()
            self.relay.stdout.close()
        super().close()
