"""Ports for the servers that tests start.

Not "port 0": the system takes those from the range that outgoing connections use as well, so that between choosing one and
listening on it some client may have it. These come from below that range, at random, and are free when they are handed out.
"""
import random
import socket

_FIRST, _LAST = 10000, 32000
_random = random.SystemRandom()
_given = set()


def free_port():
    while True:
        port = _random.randrange(_FIRST, _LAST)
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port


def free_ports(count):
    return [free_port() for _ in range(count)]
