#!/usr/bin/python3
"""The far end of a container's TCP connections: counts every byte.
Usage: tcp_peer.py echo ADDRESS PORT PROGRESS STOP    sends a stream with no repetition and wants it back, until the file STOP is there
       tcp_peer.py lines ADDRESS PORT PROGRESS STOP   listens, and wants the lines n1, n2 … in order, until then
Writes how far it came into the file PROGRESS. The last line of its output is "whole N" or why not."""
import os
import socket
import struct
import sys
import threading
import time

BLOCK = 4096  # bytes; each 8 of them are their own number


def block(number):
    first = number * BLOCK // 8
    return struct.pack(f"<{BLOCK // 8}Q", *range(first, first + BLOCK // 8))


def tell(path, count):
    with open(path + ".new", "w") as file:
        file.write(f"{count}\n")
    os.replace(path + ".new", path)


def echo(address, port, progress, stop):
    peer = socket.create_connection((address, port), timeout=60)
    sent = []

    def send():
        number = 0
        while not os.path.exists(stop):
            peer.sendall(block(number))
            number += 1
            time.sleep(0.001)
        peer.shutdown(socket.SHUT_WR)
        sent.append(number)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    number, have = 0, b""
    while True:
        got = peer.recv(65536)
        if not got:
            break
        have += got
        while len(have) >= BLOCK:
            if have[:BLOCK] != block(number):
                return f"block {number} is not what was sent"
            have = have[BLOCK:]
            number += 1
        tell(progress, number)
    sender.join(60)
    if sent != [number] or have:
        return f"{sent} blocks were sent, {number} and {len(have)} bytes came back"
    return number


def lines(address, port, progress, stop):
    listener = socket.create_server((address, port))
    peer, _ = listener.accept()
    peer.settimeout(60)
    count, rest = 0, b""
    while not os.path.exists(stop):
        got = peer.recv(65536)
        if not got:
            return f"it ended after line {count}"
        *whole, rest = (rest + got).split(b"\n")
        for line in whole:
            count += 1
            if line != b"n%d" % count:
                return f"{line!r} came as line {count}"
        tell(progress, count)
    return count


def main():
    kind, address, port, progress, stop = sys.argv[1:]
    try:
        result = {"echo": echo, "lines": lines}[kind](address, int(port), progress, stop)
    except OSError as error:
        result = f"the connection failed: {error}"
    print(f"whole {result}" if isinstance(result, int) else result)
    return 0 if isinstance(result, int) else 1


sys.exit(main())
