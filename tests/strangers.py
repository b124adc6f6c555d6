"""Strangers at a port, at a steady rate, for tests and benchmarks: as many half-open and slow connections as others;
those send random bytes, or come by TLS: with a certificate of their own, with a frame that claims 4 GiB, or one that is
no message.

    python strangers.py ADDRESS PORT FOLDER RATE     until its standard input ends; then says how many there were
"""
import collections
import json
import os
import select
import socket
import ssl
import subprocess
import sys
import time

TICK_S = 0.005
PATIENCE_S = 3  # with a port that does not answer
HELD = 1000  # half-open at once
SLOW_S = 1  # between two bytes
GREETING_BYTES = 32  # of a ping, which everybody hears
KINDS = ("half-open", "slow", "half-open", "slow", "random", "foreign", "claim", "nonsense")
FRAMES = {"claim": (1).to_bytes(4, "little") + b"\xff" * 28 + b"x" * 100,
          "nonsense": (1).to_bytes(4, "little") + (5).to_bytes(4, "little") + bytes(24) + b"\xa0" * 5}


def make_certificate(folder):
    """Of their own, in FOLDER; it needs openssl."""
    os.makedirs(folder, exist_ok=True)
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
                    "-days", "9", "-subj", "/CN=host-1", "-keyout", os.path.join(folder, "key.pem"), "-out",
                    os.path.join(folder, "cert.pem")], check=True, capture_output=True)


def start(before, address, port, folder, rate):
    """A process of strangers; `before` goes before the command. finish() ends it and gives what they did."""
    return subprocess.Popen([*before, sys.executable, "-B", __file__, address, str(port), str(folder), str(rate)],
                            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def finish(process):
    return json.loads(process.communicate()[0])


def context(folder=None):
    it = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    it.check_hostname, it.verify_mode = False, ssl.CERT_NONE
    if folder:
        it.load_cert_chain(os.path.join(folder, "cert.pem"), os.path.join(folder, "key.pem"))
    return it


class Tls:
    """A connection by TLS that says one thing, hears what there is to hear, and waits for nothing."""

    def __init__(self, connection, with_context, kind):
        connection.setblocking(False)
        self.connection, self.says = connection, FRAMES.get(kind, b"")
        self.until = time.monotonic() + PATIENCE_S
        self.into, self.out, self.heard, self.shaken = ssl.MemoryBIO(), ssl.MemoryBIO(), 0, False
        self.session = with_context.wrap_bio(self.into, self.out)
        self.step()

    def step(self):
        """Whether it goes on."""
        try:
            if not self.shaken:
                self.session.do_handshake()
                self.shaken = True
                if self.says:
                    self.session.write(self.says)
            while data := self.session.read(1 << 14):
                self.heard += len(data)
            return False
        except ssl.SSLWantReadError:
            return True
        except ssl.SSLError:
            return False
        finally:
            self.flush()

    def flush(self):
        if data := self.out.read():
            try:
                self.connection.send(data)
            except OSError:
                pass  # the end of it is heard by whoever reads

    def hear(self):
        try:
            data = self.connection.recv(1 << 16)
        except BlockingIOError:
            return True
        except OSError:
            return False
        self.into.write(data) if data else self.into.write_eof()
        return self.step() and bool(data)


class Strangers:
    def __init__(self, address, port, folder):
        self.where = (address, port)
        self.contexts = {"foreign": context(folder), "claim": context(), "nonsense": context()}
        self.count, self.failed, self.answered = collections.Counter(), 0, 0
        self.held, self.slow = collections.deque(), collections.deque()
        self.tls, self.poll = {}, select.epoll()
        self.slow_at = time.monotonic()

    def come(self, kind):
        self.count[kind] += 1
        try:
            connection = socket.create_connection(self.where, PATIENCE_S)
            if kind in self.contexts:
                self.tls[connection.fileno()] = Tls(connection, self.contexts[kind], kind)
                self.poll.register(connection, select.EPOLLIN)
            elif kind == "random":
                connection.send(os.urandom(4096))
                connection.close()
            else:
                connection.setblocking(False)
                self.held.append(connection)
                if kind == "slow":
                    self.slow.append(connection)
        except OSError:
            self.failed += 1

    def drip(self):
        """A byte more of each slow one's first record."""
        if time.monotonic() < self.slow_at:
            return
        self.slow_at += SLOW_S
        alive = collections.deque()
        for connection in self.slow:
            try:
                connection.send(b"\x16")
                alive.append(connection)
            except OSError:
                pass  # it was closed, by them or by us
        self.slow = alive

    def end(self, number):
        it = self.tls.pop(number)
        self.answered += it.heard > GREETING_BYTES
        it.connection.close()

    def go_on(self):
        for number, _ in self.poll.poll(0):
            if not self.tls[number].hear():
                self.end(number)
        now = time.monotonic()
        for number in [number for number, it in self.tls.items() if now > it.until]:
            self.end(number)
        self.drip()
        while len(self.held) > HELD:
            self.held.popleft().close()


def main():
    address, port, folder, rate = sys.argv[1], int(sys.argv[2]), sys.argv[3], float(sys.argv[4])
    strangers, began, came = Strangers(address, port, folder), time.monotonic(), 0
    due = 0
    while not select.select([sys.stdin], [], [], 0 if came < due else TICK_S)[0]:
        if came < due:
            strangers.come(KINDS[came % len(KINDS)])
            came += 1
        else:
            strangers.go_on()
        due = int((time.monotonic() - began) * rate)
    print(json.dumps({**strangers.count, "failed": strangers.failed, "answered": strangers.answered,
                      "cpu_s": time.process_time(), "seconds": time.monotonic() - began}))


if __name__ == "__main__":
    main()
