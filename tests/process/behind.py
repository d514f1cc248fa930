#!/usr/bin/python3
"""A member that has committed more than it has applied: the thread that commits to the database stands still, so that soon
nothing is applied any more.

Writes are refused when too many wait, and with the feature gate PriorityRequest the revocation of a lease only later. What the
peer port says of leases then, and that all that was taken is done afterwards.
"""
import sys

sys.dont_write_bytecode = True

import ctypes
import http.client
import os
import re
import time

import clusters
import etcd
from clusters import later
from etcd import expect

GAP = 5000  # committed and not applied, from which on writes are refused
APPLIED = 64 << 20  # bytes that may wait for the database
TOO_MANY = "etcdserver: too many requests"


class StillThread:
    """A thread of a server that stands still while the others go on. To be used by one thread."""

    SEIZE, INTERRUPT, DETACH, WAIT_ALL = 0x4206, 0x4207, 17, 0x40000000

    def __init__(self, server, name):
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.libc.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
        self.libc.ptrace.restype = ctypes.c_long
        self.thread = next(int(task) for task in os.listdir(f"/proc/{server.process.pid}/task")
                           if self.name_of(server, task) == name)

    @staticmethod
    def name_of(server, task):
        with open(f"/proc/{server.process.pid}/task/{task}/comm", encoding="utf-8") as comm:
            return comm.read().strip()

    def ask(self, request):
        if self.libc.ptrace(request, self.thread, None, None) != 0:
            raise OSError(ctypes.get_errno(), f"ptrace: {os.strerror(ctypes.get_errno())}")

    def __enter__(self):
        self.ask(self.SEIZE)
        self.ask(self.INTERRUPT)
        os.waitpid(self.thread, self.WAIT_ALL)
        return self

    def __exit__(self, *_):
        self.ask(self.DETACH)


def not_applied(server):
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    committed, applied = (float(re.search(rf"^etcd_server_proposals_{name}_total (\S+)$", text, re.MULTILINE).group(1))
                          for name in ("committed", "applied"))
    return committed - applied


def fall_behind(server, client):
    """Puts until one is refused; those that wait."""
    value = b"x" * 1000000
    puts = [later(client, "put_", key=b"large%d" % i, value=value) for i in range(APPLIED // len(value) + 8)]

    def waiting():
        return [put for put in puts if not put.done()]

    for start in range(0, 3 * GAP, 500):
        # Each is applied, or refused, or waits to be applied.
        clusters.wait_for("a fate for each put", lambda: not_applied(server) == len(waiting()) > 0)
        refused = [put.exception() for put in puts if put.done() and put.exception() is not None]
        if refused:
            expect({error.details() for error in refused} == {TOO_MANY}, f"{refused[0]}")
            return waiting()
        puts += [later(client, "put_", key=b"k%d" % (start + i), value=b"v") for i in range(500)]
    raise etcd.Failure(f"{len(puts)} puts, and none was refused")


def expect_lease_unknown(server, lease):
    """What other members are told who ask this one, the leader."""
    for path, body in (("/leases", b"\x08%c" % lease), ("/leases/internal", b"\x0a\x02\x08%c" % lease)):
        begun = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", server.peer_port, timeout=20)
        connection.request("POST", path, body)
        response = connection.getresponse()
        answer = response.status, response.read()
        connection.close()
        expect(answer == (408, b"waiting for node to catch up its applied index has timed out\n"), f"{path}: {answer}")
        expect(0.9 < time.monotonic() - begun < 10, f"{path} was answered after {time.monotonic() - begun} s")


def run_gate(scratch, enabled):
    # A long election timeout gives requests more time.
    server = scratch.server(f"priority-{enabled}".lower(), flags=[
        "--backend-batch-interval=1h", "--election-timeout=20000", f"--feature-gates=PriorityRequest={str(enabled).lower()}"]).start()
    with etcd.Client(server, timeout=60) as client:
        lease = client.grant(1000, lease=77).ID
        with StillThread(server, "etcd-backend"):
            taken = fall_behind(server, client)
            expect_lease_unknown(server, lease)
            revoked = later(client, "revoke_", ID=lease)
            refused = later(client, "put_", key=b"a", value=b"b")
            expect(refused.exception().details() == TOO_MANY, f"a put: {refused.exception()}")
            if not enabled:
                expect(revoked.exception().details() == TOO_MANY, f"a revocation: {revoked.exception()}")
            expect(revoked.done() != enabled, "a revocation was refused in spite of the gate")
        for put in taken:
            put.result()
        if enabled:
            revoked.result()
        expect((lease in client.leases()) != enabled, "the lease")
        client.put(b"a", b"b")
        expect(client.range(key=b"k", range_end=b"l", count_only=True).count >= GAP - 100, "puts were lost")
    server.stop()
    print(f"PriorityRequest={enabled}: {len(taken)} puts waited", flush=True)


def run(scratch):
    try:
        for enabled in (False, True):
            run_gate(scratch, enabled)
    except PermissionError as error:
        etcd.skip(f"no thread can be stopped: {error}")


etcd.main(run)
