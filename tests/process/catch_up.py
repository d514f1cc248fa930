#!/usr/bin/python3
"""A member that was away for longer than the others keep their log is brought up to date by a snapshot, and so is a new one.

What the leader sends is found complete: keys, leases, HashKV; a watch on the member that was away resumes without a gap; and
the memory of both ends stays bounded whatever the size of the database. Bodies that are cut off, damaged, silent or for
somebody else leave nothing behind. CATCH_UP_MIB: the size of the database (1024 in `make soak`); CATCH_UP_KILLS: how often whoever receives or sends is killed
in the middle; CATCH_UP_SEED: at other moments.
"""
import sys

sys.dont_write_bytecode = True

import http.client
import os
import random
import socket
import struct
import subprocess
import time
import urllib.request

import etcd
import wire
from clusters import LIMIT, Cluster, wait_for
from etcd import expect, rpc

MIB = etcd.setting("CATCH_UP_MIB", 8)
ROUNDS = etcd.setting("CATCH_UP_KILLS", 8)
SEED = etcd.setting("CATCH_UP_SEED", int(time.time()))
VALUE = os.urandom(64 * 1024)
# Beyond this a member's memory may not grow while a snapshot goes by; sanitizers and Python's own load add to it.
BOUND = etcd.setting("CATCH_UP_BOUND_MIB", 192) << 20
FLAGS = ["--snapshot-count=100", "--quota-backend-bytes=8589934592"]


def flags_of(server):
    return ["--snapshot-catchup-entries=50" if server.program == etcd.OURS else "--experimental-snapshot-catchup-entries=50"]


def metric(server, name):
    """The sum over all labels."""
    with urllib.request.urlopen(server.endpoint + "/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith((name + "{", name + " ")))


def private_memory(server):
    """Without the pages of files, which the kernel takes back when it likes."""
    with open(f"/proc/{server.process.pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("RssAnon"))


class Peak:
    """The most that processes take while something is waited for."""

    def __init__(self, *servers):
        self.before = {server: private_memory(server) for server in servers}
        self.peak = dict(self.before)

    def look(self):
        for server in self.peak:
            self.peak[server] = max(self.peak[server], private_memory(server))

    def report(self, indexes):
        """`indexes`: what the key index of a receiver may take besides."""
        for server, peak in self.peak.items():
            grown = peak - self.before[server]
            print(f"    {server.name}: {self.before[server] >> 20} MiB before, {peak >> 20} MiB at most", flush=True)
            if server.program == etcd.OURS:
                expect(grown < BOUND + indexes, f"{server.name} grew by {grown >> 20} MiB")


def fill(server, mib, prefix):
    count = mib * 16
    with etcd.Client(server) as client:
        for number in range(count):
            client.put(prefix + b"%06d" % number, VALUE)
        for number in range(300):  # more entries than anybody keeps
            client.put(prefix + b"small", b"%d" % number)
        return client.grant(1000, lease=0).ID, client.revision()


def caught_up(cluster, server, revision, peak=None):
    def look():
        if peak:
            peak.look()
        with etcd.Client(server, timeout=5) as client:
            return client.get(b"\0", serializable=True).header.revision >= revision
    return wait_for(f"{server.name} has caught up", look, LIMIT + 10 * MIB)[1]


def received(server):
    return metric(server, "etcd_network_snapshot_receive_success")


def a_follower_was_away(cluster, mib):
    leader, _ = cluster.wait_for_leader()
    away = next(server for server in cluster.servers if server is not leader)
    with etcd.Client(away) as client:
        client.put(b"watched/before", b"v")
        resume = client.revision() + 1
    away.kill()
    begun = time.monotonic()
    lease, revision = fill(leader, mib, b"fill/")
    with etcd.Client(leader) as client:
        client.put(b"watched/leased", b"v", lease=lease)
        revision = client.revision()
    print(f"  {away.name} was away for {time.monotonic() - begun:.0f} s and {revision} revisions", flush=True)
    away.spawn(flags_of(away))
    peak = Peak(leader, away)
    seconds = caught_up(cluster, away, revision, peak)
    expect(received(away) > 0, f"{away.name} was brought up to date without a snapshot")
    for name in ("etcd_snap_db_fsync_duration_seconds_count", "etcd_snap_db_save_total_duration_seconds_count"):
        expect(away.program != etcd.OURS or metric(away, name) > 0, f"{away.name}: no {name}")
    expect(metric(leader, "etcd_network_snapshot_send_success") > 0, f"{leader.name} counts no snapshot sent")
    print(f"  {away.name} got a snapshot from {leader.name} within {seconds:.1f} s", flush=True)
    peak.report(indexes=mib * 16 * 4096)
    away.wait_ready(LIMIT)
    with etcd.Client(away) as client:
        expect(lease in client.leases(), "a lease is missing after the snapshot")
        answer = client.time_to_live(ID=lease, keys=True)
        expect(list(answer.keys) == [b"watched/leased"], f"the keys of a lease after the snapshot: {answer}")
        watched = [event.kv.key for event in client.events(resume, revision) if event.kv.key.startswith(b"watched/")]
        expect(watched == [b"watched/leased"], f"a watch resumed at {resume} after the snapshot saw {watched}")
    cluster.catch_up()


def a_watch_goes_on(cluster):
    """A watch on a member that is cut off, not stopped, sees each event once although a snapshot passes it over them."""
    leader, _ = cluster.wait_for_leader()
    away = next(server for server in cluster.servers if server is not leader and server.program == etcd.OURS)
    before = received(away)
    with etcd.Client(away) as watcher:
        first = watcher.revision() + 1
        creates = iter([rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=b"seen/", range_end=b"seen0"))])
        stream = watcher.watch(creates_then_wait(creates))
        next(stream)
        cluster.freeze(away)
        with etcd.Client(leader) as client:
            wanted = []
            for number in range(1200):
                wanted.append(client.put(b"seen/%d" % (number % 7), b"v").header.revision)
        cluster.thaw(away)
        caught_up(cluster, away, wanted[-1])
        seen = []
        for answer in stream:
            expect(not answer.canceled, f"the watch was cancelled: {answer}")
            seen.extend(event.kv.mod_revision for event in answer.events)
            if seen and seen[-1] >= wanted[-1]:
                break
        stream.cancel()
    expect(seen == wanted and first <= seen[0], f"a watch saw {len(seen)} events of {len(wanted)}")
    expect(received(away) > before, f"{away.name} caught up without a snapshot")
    print(f"  a watch on {away.name} saw all of {len(seen)} events over {received(away) - before:.0f} snapshots", flush=True)


def creates_then_wait(creates):
    yield from creates
    time.sleep(60)


# ---- bodies that are no snapshots ----

def headers_of(server, sender):
    with etcd.Client(server) as client:
        cluster = client.status_().header.cluster_id
    return {"X-Etcd-Cluster-ID": f"{cluster:x}", "X-Server-Version": "3.6.0", "X-Min-Cluster-Version": "3.0.0",
            "X-Server-From": f"{sender:x}", "X-PeerURLs": "http://127.0.0.1:9", "Content-Type": "application/octet-stream"}


def snapshot_message(to, sender, index, kind=7):
    """A MsgSnap of term 1 (or another kind), of a snapshot of that index and term 1, as it goes before the database."""
    data = wire.message({1: kind, 2: to, 3: sender, 4: 1, 9: {2: {1: b"", 2: index, 3: 1}}})
    return struct.pack(">Q", len(data)) + data


def post(server, body, headers):
    connection = http.client.HTTPConnection(server.host, server.peer_port, timeout=30)
    try:
        connection.request("POST", "/raft/snapshot", body, headers)
        response = connection.getresponse()
        return response.status, response.read().decode().strip()
    finally:
        connection.close()


def nothing_is_left(server):
    def look():
        return not [name for name in os.listdir(os.path.join(server.data, "member", "snap"))
                    if name.startswith("tmp") or name.endswith(".snap.db")]
    wait_for("what was received in vain is gone", look)


def bad_bodies(scratch):
    server = scratch.server("alone").start()
    with etcd.Client(server) as client:
        own = client.status_().header.member_id
        client.put(b"k", b"v")
        before = client.hash_kv()
    sender = 0x1234
    headers = headers_of(server, sender)
    good = snapshot_message(own, sender, 1000)
    for what, body, status, text in (
            ("nothing", b"", 400, "failed to decode raft message (unexpected EOF)"),
            ("half a message", good[:-3], 400, "failed to decode raft message (unexpected EOF)"),
            ("a message too large", struct.pack(">Q", 1 << 40) + b"x" * 100, 400, "failed to decode raft message ("),
            ("no message", struct.pack(">Q", 3) + b"\xff\xff\xff", 400, "failed to decode raft message ("),
            ("a heartbeat", snapshot_message(own, sender, 1000, kind=8), 400, "wrong raft message type"),
            ("a message to another", snapshot_message(own + 1, sender, 1000), 500, "failed to process raft message ("),
            ("no database", good, 500, "failed to save KV snapshot ("),
            ("a short database", good + b"x" * 100, 500, "failed to save KV snapshot ("),
            ("zeros", good + bytes(1 << 20), 500, "failed to save KV snapshot (")):
        answer = post(server, body, headers)
        expect(answer[0] == status and answer[1].startswith(text), f"{what} was answered with {answer}")
    # A body that breaks off, and one that stops.
    path = "POST /raft/snapshot HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    for piece in (good, good + bytes(3 << 20)):
        with socket.create_connection((server.host, server.peer_port)) as connection:
            connection.sendall((path + lines + "\r\n").encode() + piece)
    with socket.create_connection((server.host, server.peer_port)) as connection:
        connection.sendall((path + lines + "\r\n").encode() + good + bytes(1 << 20))
        connection.settimeout(LIMIT)
        answer = connection.recv(4096).decode()
        expect(answer.startswith("HTTP/1.1 500 ") and "nothing was heard" in answer, f"a silent body: {answer}")
    nothing_is_left(server)
    with etcd.Client(server) as client:
        after = client.hash_kv()
        expect((after.hash, after.header.revision) == (before.hash, before.header.revision), "a refused snapshot changed data")
    expect(metric(server, "etcd_network_snapshot_receive_failures") >= 9, "failures are not counted")
    server.stop()
    print("no bad body was taken for a snapshot", flush=True)


def too_many_at_once(scratch):
    """Each may wait for its sender; more are refused."""
    server = scratch.server("crowded").start()
    with etcd.Client(server) as client:
        own = client.status_().header.member_id
    headers = headers_of(server, 0x1234)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    head = f"POST /raft/snapshot HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n{lines}\r\n".encode()
    waiting = []
    for number in range(4):
        waiting.append(socket.create_connection((server.host, server.peer_port)))
        waiting[-1].sendall(head + snapshot_message(own, 0x1234, 1000 + number))
    wait_for("they are being received", lambda: metric(server, "etcd_network_snapshot_receive_inflights_total") == 4)
    answer = post(server, snapshot_message(own, 0x1234, 2000), headers)
    expect(answer == (500, "failed to save KV snapshot (too many are being received)"), f"one too many: {answer}")
    for connection in waiting:
        connection.close()
    wait_for("they are over", lambda: metric(server, "etcd_network_snapshot_receive_inflights_total") == 0)
    server.stop()


def interrupted(scratch, mib, rounds):
    """Whoever receives or sends is killed in the middle, at some point of its own; in the end all is there."""
    cluster = three(scratch, {name: etcd.OURS for name in ("d1", "d2", "d3")}, "interruptions")
    generator = random.Random(SEED)
    leader, _ = cluster.wait_for_leader()
    away = next(server for server in cluster.servers if server is not leader)
    away.kill()
    _, revision = fill(leader, mib, b"fill/")
    for number in range(rounds):
        away.spawn()
        time.sleep(generator.random() * 0.4)  # the start takes a part of it
        away.kill()
        if number % 3 == 2:
            leader, _ = cluster.wait_for_leader()
            leader.kill()
            leader.start()
    away.spawn()
    caught_up(cluster, away, revision)
    cluster.catch_up()
    nothing_is_left(away)
    cluster.stop()
    print(f"  after {rounds} interruptions all is there", flush=True)


def a_receiver_sleeps(scratch, mib):
    """A member that is stopped while it receives is given up, and asked again when it is awake."""
    cluster = three(scratch, {name: etcd.OURS for name in ("e1", "e2", "e3")}, "a sleeper")
    leader, _ = cluster.wait_for_leader()
    away = next(server for server in cluster.servers if server is not leader)
    away.kill()
    _, revision = fill(leader, mib, b"fill/")
    away.spawn()

    def is_receiving():
        with open(away.log_path, "rb") as log:
            return b"receiving database snapshot" in log.read()
    wait_for("a snapshot begins", is_receiving)
    cluster.freeze(away)
    _, seconds = wait_for("it is given up", lambda: metric(leader, "etcd_network_snapshot_send_failures") > 0, 3 * LIMIT)
    cluster.thaw(away)
    caught_up(cluster, away, revision)
    cluster.catch_up()
    nothing_is_left(away)
    cluster.stop()
    print(f"  {away.name} slept, was given up after {seconds:.0f} s, and got it all when it was awake", flush=True)


class SmallDisk:
    """A member's folder of snapshots on a file system of its own; None where that cannot be mounted."""

    def __init__(self, server, mib):
        self.path = os.path.join(server.data, "member", "snap")
        os.makedirs(self.path, mode=0o700)
        self.mounted = self._mount(f"size={mib}m", "-t", "tmpfs", "tmpfs")

    def _mount(self, size, *words):
        done = subprocess.run(["mount", "-o", f"{size},mode=0700", *words, self.path], capture_output=True, text=True,
                              check=False)
        return done.returncode == 0

    def grow(self, mib):
        expect(self._mount(f"remount,size={mib}m"), "the small disk cannot be made larger")

    def close(self):
        if self.mounted:
            subprocess.run(["umount", self.path], check=False)


def a_disk_is_full(scratch, mib):
    """What cannot be stored is refused, the member goes on as it is, and gets everything when there is room."""
    cluster = Cluster(scratch, {name: etcd.OURS for name in ("c1", "c2", "c3")}, flags=FLAGS)
    for server in cluster.servers:
        server.flags += flags_of(server)
    away = cluster.servers[0]
    disk = SmallDisk(away, 4)
    try:
        if not disk.mounted:
            print("no file system can be mounted here: a full disk is not tried", flush=True)
            return
        cluster.start()
        away.kill()
        _, revision = fill(cluster.wait_for_leader()[0], mib, b"fill/")
        away.spawn()

        def is_refused():
            with open(away.log_path, "rb") as log:
                return b"failed to save incoming database snapshot" in log.read()
        wait_for("a refused snapshot", is_refused)
        away.check_alive()
        expect(b"no space left" in open(away.log_path, "rb").read().lower(), "the log does not say why")
        disk.grow(16 * mib)
        caught_up(cluster, away, revision)
        cluster.catch_up()
        cluster.stop()
        print("a snapshot too large for the disk came when there was room", flush=True)
    finally:
        away.kill()
        disk.close()


def three(scratch, programs, label):
    cluster = Cluster(scratch, programs, flags=FLAGS)
    for server in cluster.servers:
        server.flags += flags_of(server)
    print(f"{label}: a leader after {cluster.start():.1f} s", flush=True)
    return cluster


def run(scratch):
    print(f"CATCH_UP_SEED={SEED}", flush=True)
    bad_bodies(scratch)
    too_many_at_once(scratch)
    a_disk_is_full(scratch, 8)
    interrupted(scratch, 8, ROUNDS)
    if MIB > 100:  # what is on its way while the receiver sleeps must not fit into buffers
        a_receiver_sleeps(scratch, 128)
    cluster = three(scratch, {name: etcd.OURS for name in ("b1", "b2", "b3")}, "three of ours")
    a_watch_goes_on(cluster)
    cluster.stop()
    cluster = three(scratch, {name: etcd.OURS for name in ("a1", "a2", "a3")}, "three of ours")
    a_follower_was_away(cluster, MIB)
    cluster.join("a4", flags=flags_of(cluster.servers[0]), kills=8)
    # Perhaps in one of the lives before: its metrics are of the last one alone.
    with open(cluster.servers[-1].log_path, "rb") as log:
        expect(b"received and saved database snapshot" in log.read(), "a new member was filled without a snapshot")
    cluster.catch_up()
    cluster.stop()


etcd.main(run)
