"""What plain TCP makes of a network, for links.py: plain.py ME BYTES TIMES ADDRESS…, on every host at once.

Each host sends so many bytes to each of the others, and gets as many from it, over one connection a pair, with all of
it ready from the beginning. Prints the seconds that each of so many times took, one a line.
"""
import socket
import sys
import threading
import time

PORT = 5000
PIECE = 1 << 20


def link(me, addresses):
    """A connection to each other host: this one calls those before it."""
    listener = socket.create_server((addresses[me], PORT))
    out = []
    for address in addresses[:me]:
        while True:
            try:
                out.append(socket.create_connection((address, PORT)))
                break
            except ConnectionRefusedError:
                time.sleep(0.05)  # it is not there yet
    return out + [listener.accept()[0] for _ in addresses[me + 1:]]


def send(to, count):
    piece = bytes(PIECE)
    while count > 0:
        to.sendall(piece[:min(count, PIECE)])
        count -= PIECE


def receive(of, count):
    piece = bytearray(PIECE)
    while count > 0:
        came = of.recv_into(piece, min(count, PIECE))
        if came == 0:
            sys.exit("a connection has ended")
        count -= came


def main():
    me, count, times, addresses = int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]
    links = link(me, addresses)
    for _ in range(times):
        begin = time.monotonic()
        threads = [threading.Thread(target=what, args=(it, count)) for it in links for what in (send, receive)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        print(time.monotonic() - begin, flush=True)


main()
