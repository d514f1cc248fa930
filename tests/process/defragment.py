#!/usr/bin/python3
"""How long requests wait while the database is defragmented: hardly longer than otherwise.

A database of which half is free is defragmented while small puts and ranges go on; the longest that one of them took is
compared with the same load left alone. The machine may be busy with other things, so that a stall counts only when it comes
again each time.

DEFRAGMENT_MEGABYTES: size of the database; DEFRAGMENT_SECONDS: of each of the two runs.
"""
import sys

sys.dont_write_bytecode = True

import os
import subprocess
import time

import etcd
from etcd import expect

MEGABYTES = etcd.setting("DEFRAGMENT_MEGABYTES", 48)
SECONDS = etcd.setting("DEFRAGMENT_SECONDS", 4)
STALL_MAX = 100  # milliseconds beyond the undisturbed run's
TRIES = 3
VALUE = 1024
KEYS = MEGABYTES * 480  # written twice
PROGRAMS = os.path.join(os.path.dirname(etcd.OURS), "tests/bench")


def program(name, server, *words):
    return [os.path.join(PROGRAMS, name), f"127.0.0.1:{server.port}", *map(str, words)]


def fill(server):
    """Two values of each key, of which the older one is compacted away."""
    for _ in range(2):
        subprocess.run(program("bench_load", server, KEYS, VALUE), check=True)
    with etcd.Client(server, timeout=300) as client:
        client.compact(client.revision())
        client.put(b"compacted", b"")


class Probe:
    def __init__(self, server):
        self.process = subprocess.Popen(program("bench_stall", server, KEYS, SECONDS), stdout=subprocess.PIPE, text=True)

    def result(self):
        """{"puts": (count, 99.9 %, longest), "ranges": ...}, in milliseconds."""
        output = self.process.communicate(timeout=SECONDS + 60)[0]
        expect(self.process.returncode == 0, f"the load failed: {output}")
        rows = [line.split() for line in output.splitlines()]
        return {row[0]: (int(row[1]), float(row[3]), float(row[5])) for row in rows}


def show(title, result):
    for kind, (count, most, longest) in result.items():
        print(f"  {title:12} {count:8} {kind:7} 99.9 % within {most:6.1f} ms, longest {longest:6.1f} ms", flush=True)


def measure(server):
    alone = Probe(server).result()
    probe = Probe(server)
    defragmentations, last = 0, 0
    begun = time.monotonic()
    time.sleep(SECONDS / 10)
    with etcd.Client(server, timeout=600) as client:
        while defragmentations == 0 or time.monotonic() + 1.5 * last < begun + SECONDS * 0.95:
            at = time.monotonic()
            client.raw("/etcdserverpb.Maintenance/Defragment", b"", timeout=600)
            last = time.monotonic() - at
            defragmentations += 1
        size = client.status_().dbSize
    expect(time.monotonic() < begun + SECONDS, f"a defragmentation takes {last:.1f} s: raise DEFRAGMENT_SECONDS")
    beside = probe.result()
    print(f"{defragmentations} times, the last one in {last:.2f} s, {size / 2**20:.0f} MiB afterwards", flush=True)
    show("left alone", alone)
    show("defragmented", beside)
    return max(row[2] for row in beside.values()) - max(row[2] for row in alone.values())


def run(scratch):
    for name in ("bench_load", "bench_stall"):
        if not os.access(os.path.join(PROGRAMS, name), os.X_OK):
            etcd.skip(f"no tests/bench/{name}")
    server = scratch.server(flags=[f"--quota-backend-bytes={8 << 30}"]).start()
    begun = time.monotonic()
    fill(server)
    with etcd.Client(server) as client:
        size = client.status_().dbSize
    print(f"{size / 2**20:.0f} MiB, filled in {time.monotonic() - begun:.0f} s", flush=True)
    stalls = []
    while not stalls or (stalls[-1] >= STALL_MAX and len(stalls) < TRIES):
        stalls.append(measure(server))
    print(f"longest stall beyond the undisturbed run's: {stalls[-1]:.1f} ms", flush=True)
    expect(stalls[-1] < STALL_MAX, f"each time requests waited too long while defragmenting: {stalls} ms")
    server.stop()


etcd.main(run)
