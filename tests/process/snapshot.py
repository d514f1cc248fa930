#!/usr/bin/python3
"""Snapshots and defragmentation of running servers, and what etcdutl makes of files.

What ours saved, etcd 3.5's etcdutl (3.4's etcdctl) restores and its server serves, and the other way round: the same keys,
revisions, leases, HashKV. One file makes a cluster of three. Damaged files are refused by name and stay as they were. Snapshots that are taken while others write are
each a state that was; a client that does not read costs little memory; defragmentation loses nothing, also when the server
is killed in the middle.

Without etcd 3.5 (ETCD35_BIN) its part is left out, and the script says so (77).
"""
import sys

sys.dont_write_bytecode = True

import concurrent.futures
import hashlib
import json
import os
import random
import subprocess
import threading
import time
import urllib.request

import etcd
from etcd import expect, grpc, rpc

LONG_TTL = 50000
LOAD_SECONDS = etcd.setting("SNAPSHOT_LOAD_SECONDS", 4)
OUR_TOOLS = os.path.dirname(etcd.OURS)
WITH_VERSION_36 = ["--max-cluster-version=3.6"]


def run_tool(directory, *words, code=0):
    """Output and errors of etcdctl or etcdutl in that directory."""
    done = subprocess.run([os.path.join(directory, words[0]), *words[1:]], capture_output=True, text=True, check=False,
                          timeout=120)
    expect(done.returncode == code, f"{directory}/{' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def snapshot_of(client, on_message=None):
    """All bytes, the digest at the end included; checks what every message says."""
    method = client.channel.unary_stream("/etcdserverpb.Maintenance/Snapshot", rpc.SnapshotRequest.SerializeToString,
                                         rpc.SnapshotResponse.FromString)
    messages = []
    for message in method(rpc.SnapshotRequest(), timeout=120):
        messages.append(message)
        if on_message is not None:
            on_message()
    image = b"".join(m.blob for m in messages[:-1])
    expect(messages[-1].blob == hashlib.sha256(image).digest(), "the last message is not the digest of the others")
    left = len(image)
    for number, message in enumerate(messages[:-1]):
        left -= len(message.blob)
        expect(message.remaining_bytes == left, f"message {number}: {message.remaining_bytes} remain, not {left}")
        expect(len(message.blob) == 32768 or left == 0, f"message {number} has {len(message.blob)} bytes")
    expect(messages[-1].remaining_bytes == 0 and not messages[-1].HasField("header"), "the last message")
    return image + messages[-1].blob


def defragment(client, timeout=120):
    answer = client.raw("/etcdserverpb.Maintenance/Defragment", b"", timeout=timeout)
    expect(answer == b"", f"Defragment answered {answer!r}")


def write_some(client):
    """A little of everything; ends with a compaction and writes after it."""
    generator = random.Random(1)
    leases = [client.grant(LONG_TTL).ID for _ in range(3)]
    for step in range(200):
        key = b"key/%02d" % generator.randrange(40)
        if generator.random() < 0.8:
            client.put(key, b"%d" % step * generator.choice((1, 50, 900)),
                       lease=generator.choice(leases) if generator.random() < 0.2 else 0)
        else:
            client.delete(key)
    client.revoke(leases[0])
    client.compact(client.revision() - 50)
    for step in range(20):
        client.put(b"after/%d" % step, b"x")


def state(client):
    """All that a snapshot carries to another cluster."""
    everything = client.everything()
    revision = everything.header.revision
    compacted = client.hash_kv(revision).compact_revision
    return {
        "revision": revision,
        "keys": list(everything.kvs),
        "compacted": compacted,
        "hashes": [client.hash_kv(r).hash for r in range(compacted + 1, revision + 1)],
        "history": client.events(compacted + 1, revision),
        "leases": [(lease, client.time_to_live(ID=lease).grantedTTL,
                    sorted(client.time_to_live(ID=lease, keys=True).keys)) for lease in client.leases()],
    }


def compare(before, after, where):
    for name, value in before.items():
        expect(value == after[name], f"{where}: {name} was {str(value)[:1500]}, is {str(after[name])[:1500]}")


def file_tool(tools):
    """Who works on snapshot files: etcdutl, but before 3.5 etcdctl."""
    return "etcdutl" if os.access(os.path.join(tools, "etcdutl"), os.X_OK) else "etcdctl"


def restore_member(tools, file, server, members, *flags):
    cluster = ",".join(f"{member.name}={member.peer_url}" for member in members)
    run_tool(tools, file_tool(tools), "snapshot", "restore", file, f"--data-dir={server.data}", f"--name={server.name}",
             f"--initial-cluster={cluster}", f"--initial-advertise-peer-urls={server.peer_url}", *flags)


def restore(scratch, tools, file, name, *flags):
    """A server whose directory the tools made from the file; not started."""
    server = scratch.server(name, program=os.path.join(tools, "etcd"))
    restore_member(tools, file, server, [server], *flags)
    return server


# ---- between the two ----

def hand_over(scratch, name, giver, taker, server_tools=None):
    """What `giver` serves, the other's etcdctl saves, `taker`'s tools restore and its server serves; then it writes on."""
    source = scratch.server(f"{name}-source", program=os.path.join(giver, "etcd")).start()
    file = scratch.path(f"{name}.db")
    with etcd.Client(source) as client:
        write_some(client)
        before = state(client)
        saver = taker if giver == OUR_TOOLS else OUR_TOOLS
        run_tool(saver, "etcdctl", f"--endpoints={source.endpoint}", "snapshot", "save", file)
    source.stop()
    statuses = [json.loads(run_tool(tools, file_tool(tools), "snapshot", "status", file, "-w", "json"))
                for tools in {giver, taker}]
    for status in statuses:
        expect(status["hash"] == statuses[0]["hash"], f"{name}: statuses differ: {statuses}")
        expect(status["revision"] == before["revision"], f"{name}: {status}")
        expect(status["totalSize"] == os.path.getsize(file) - 32, f"{name}: {status}")
    target = restore(scratch, taker, file, f"{name}-target")
    target.program = os.path.join(server_tools or taker, "etcd")
    target.start()
    with etcd.Client(target) as client:
        compare(before, state(client), name)
        members = client.member_list_().members
        expect([m.name for m in members] == [target.name], f"{name}: members {members}")
        client.put(b"one more", b"")
        expect(client.revision() == before["revision"] + 1, f"{name}: revision after a put")
    target.stop()
    target.start()
    with etcd.Client(target) as client:
        expect(client.get(b"one more").count == 1, f"{name}: the put is lost")
    target.stop()
    print(f"{name}: the same after saving and restoring", flush=True)


def restore_cluster(scratch, name, tools_of):
    """Three members, each from the same file with the tools of its own program; also when one of them starts late."""
    source = scratch.server(f"{name}-source").start()
    file = scratch.path(f"{name}.db")
    with etcd.Client(source) as client:
        write_some(client)
        before = state(client)
        with open(file, "wb") as output:
            output.write(snapshot_of(client))
    source.stop()
    members = [scratch.server(f"{name}-{number}", program=os.path.join(tools, "etcd"))
               for number, tools in enumerate(tools_of)]
    for member, tools in zip(members, tools_of):
        restore_member(tools, file, member, members, f"--initial-cluster-token={name}", f"--wal-dir={member.data}.wal")
        member.initial_cluster = ",".join(f"{m.name}={m.peer_url}" for m in members)
        member.flags = [f"--wal-dir={member.data}.wal"]
    for member in members[:2]:
        member.spawn()
    for member in members[:2]:
        member.wait_ready(40)
    with etcd.Client(members[0]) as client:
        compare(before, state(client), f"{name}, two of three")
        client.put(b"one more", b"")
        revision = client.revision()
    members[2].spawn()
    members[2].wait_ready(40)
    hashes = set()
    for member in members:
        with etcd.Client(member) as client:
            expect(client.get(b"one more").count == 1, f"{name}: {member.name} misses a put")
            expect(len(client.member_list_().members) == 3, f"{name}: {client.member_list_().members}")
            answer = client.hash_kv(revision)
            hashes.add((answer.hash, answer.compact_revision))
    expect(len(hashes) == 1, f"{name}: HashKV differs: {hashes}")
    for member in members:
        member.process.terminate()
    for member in members:
        member.process.wait(40)
        member.process = None
        member.check_log()
    print(f"{name}: a cluster of three from one file", flush=True)


def bump_revision(scratch, tools, server_tools, name):
    source = scratch.server(f"{name}-source").start()
    file = scratch.path(f"{name}.db")
    with etcd.Client(source) as client:
        write_some(client)
        keys = [(kv.key, kv.value) for kv in client.everything().kvs]
        revision = client.revision()
        with open(file, "wb") as output:
            output.write(snapshot_of(client))
    source.stop()
    target = restore(scratch, tools, file, f"{name}-target", "--bump-revision=1000000", "--mark-compacted")
    target.program = os.path.join(server_tools, "etcd")
    target.start()
    with etcd.Client(target) as client:
        expect(client.revision() == revision + 1000000, f"{name}: revision {client.revision()}, it was {revision}")
        expect([(kv.key, kv.value) for kv in client.everything().kvs] == keys, f"{name}: other keys")
        try:
            client.get(b"k", revision=revision)
            expect(False, f"{name}: the old revision can still be read")
        except grpc.RpcError as refusal:
            expect("compacted" in refusal.details(), f"{name}: {refusal.details()}")
        client.put(b"k", b"")
        expect(client.revision() == revision + 1000001, f"{name}: revision after a put")
    target.stop()
    print(f"{name}: the revision is raised", flush=True)


def older_takes_over(scratch, tools, file, before, name):
    """What a cluster at 3.6 saved, etcd 3.5 serves: a restored cluster finds out by itself which version it speaks."""
    target = restore(scratch, tools, file, name)
    target.program = os.path.join(etcd.ETCD35, "etcd")
    target.start()
    with etcd.Client(target) as client:
        compare(before, state(client), name)
    target.stop()
    print(f"{name}: etcd 3.5 serves what a cluster at 3.6 saved", flush=True)


def save_of_36(scratch):
    server = scratch.server("at-3.6", flags=WITH_VERSION_36).start()
    file = scratch.path("at-3.6.db")
    with etcd.Client(server) as client:
        write_some(client)
        deadline = time.monotonic() + 20
        while client.status_().version and "3.6.0" not in run_tool(
                OUR_TOOLS, "etcdctl", f"--endpoints={server.endpoint}", "snapshot", "save", file):
            expect(time.monotonic() < deadline, "the storage version does not become 3.6")
            time.sleep(0.2)
        before = state(client)
    server.stop()
    target = restore(scratch, OUR_TOOLS, file, "at-3.6-target").start()
    with etcd.Client(target) as client:
        compare(before, state(client), "at 3.6")
    target.stop()
    return file, before


# ---- damage ----

def refuse_damage(scratch):
    source = scratch.server("damage").start()
    with etcd.Client(source) as client:
        for step in range(300):
            client.put(b"key/%d" % step, b"v" * 500)
        good = snapshot_of(client)
    source.stop()
    file = scratch.path("damaged.db")
    flipped = bytearray(good)
    flipped[len(good) // 2] ^= 4
    cases = [("flipped bit", bytes(flipped), [], "expected sha256 ["),
             ("without digest", good[:-32], [], "snapshot missing hash but --skip-hash-check=false"),
             ("cut short", good[:len(good) // 2 // 512 * 512], ["--skip-hash-check"], "invalid database"),
             ("cut to two pages", good[:8192], ["--skip-hash-check"], "invalid database"),
             ("no database", os.urandom(65536), ["--skip-hash-check"], "invalid database"),
             ("empty", b"", ["--skip-hash-check"], "invalid database")]
    for what, content, flags, reason in cases:
        with open(file, "wb") as output:
            output.write(content)
        data = scratch.path("from-damaged")
        said = run_tool(OUR_TOOLS, "etcdutl", "snapshot", "restore", file, f"--data-dir={data}", *flags, code=1)
        expect(reason in said, f"{what}: {said}")
        expect(not os.path.exists(data), f"{what}: something is left in {data}")
        with open(file, "rb") as left:
            expect(left.read() == content, f"{what}: the file was changed")
        if "invalid" in reason:
            said = run_tool(OUR_TOOLS, "etcdutl", "snapshot", "status", file, code=1)
            expect(reason in said, f"status, {what}: {said}")
    print("damaged files are refused", flush=True)


def hash_of_file(scratch):
    """etcdutl hashkv tells what the server tells."""
    source = scratch.server("hashkv").start()
    file = scratch.path("hashkv.db")
    with etcd.Client(source) as client:
        write_some(client)
        with open(file, "wb") as output:
            output.write(snapshot_of(client))
        revision = client.revision()
        for asked in (0, revision, revision - 5):
            told = json.loads(run_tool(OUR_TOOLS, "etcdutl", "hashkv", file, f"--rev={asked}", "-w", "json"))
            answer = client.hash_kv(asked)
            busy = run_tool(OUR_TOOLS, "etcdutl", "hashkv", os.path.join(source.data, "member/snap/db"), code=1)
            expect("stop the etcd that has it open" in busy, f"hashkv of a file in use: {busy}")
            expect((told["hash"], told["hashRevision"], told["compactRevision"]) ==
                   (answer.hash, asked or revision, answer.compact_revision), f"hashkv: {told}, the server: {answer}")
    source.stop()
    print("hashkv agrees with the server", flush=True)


# ---- under load ----

class Load:
    """Puts key/0, key/1, ... one after the other; `slowest` is the longest that one took."""

    def __init__(self, server, acknowledged=-1):
        self.client = etcd.Client(server)
        self.acknowledged = acknowledged
        self.slowest = 0.0
        self.failure = None
        self.stopping = False
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        try:
            while not self.stopping:
                begun = time.monotonic()
                self.client.put(b"load/%07d" % (self.acknowledged + 1), b"v" * 200)
                self.slowest = max(self.slowest, time.monotonic() - begun)
                self.acknowledged += 1
        except grpc.RpcError as failure:
            self.failure = failure

    def stop(self, may_fail=False):
        self.stopping = True
        self.thread.join()
        expect(may_fail or self.failure is None, f"a put failed: {self.failure}")
        self.client.close()


def check_load(client, acknowledged, where):
    """Everything that was acknowledged is there, and nothing after a gap."""
    keys = [kv.key for kv in client.range(key=b"load/", range_end=b"load0", keys_only=True).kvs]
    expect(len(keys) > acknowledged, f"{where}: {len(keys)} keys, {acknowledged + 1} were acknowledged")
    expect(keys == [b"load/%07d" % number for number in range(len(keys))], f"{where}: there are gaps")


def snapshots_under_load(scratch):
    server = scratch.server("under-load").start()
    with etcd.Client(server) as client:
        for step in range(2000):
            client.put(b"fill/%d" % step, os.urandom(1500))
    load = Load(server)
    files = []
    deadline = time.monotonic() + LOAD_SECONDS
    with etcd.Client(server) as client:
        while time.monotonic() < deadline:
            floor = load.acknowledged
            files.append((floor, snapshot_of(client)))
            time.sleep(0.2)
    load.stop()
    server.stop()
    path = scratch.path("under-load.db")
    for floor, content in files[::max(1, len(files) // 4)]:
        with open(path, "wb") as output:
            output.write(content)
        run_tool(OUR_TOOLS, "etcdutl", "snapshot", "status", path)
        target = restore(scratch, OUR_TOOLS, path, f"under-load-{floor}").start()
        with etcd.Client(target) as client:
            check_load(client, floor, f"snapshot after {floor} puts")
        target.stop()
    print(f"{len(files)} snapshots during {load.acknowledged + 1} puts, the slowest put took {load.slowest:.2f} s",
          flush=True)


def metric(server, name):
    with urllib.request.urlopen(f"{server.endpoint}/metrics", timeout=10) as answer:
        rows = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if not line.startswith("#"))
    return float(rows[name])


def open_transactions(server):
    return metric(server, "etcd_mvcc_db_open_read_transactions")


def slow_clients(scratch):
    """Whoever does not read holds little memory, and what was begun for those who leave is let go."""
    server = scratch.server("slow").start()
    with etcd.Client(server) as client:
        for step in range(24):
            client.put(b"big/%d" % step, os.urandom(1024 * 1024))
        client.compact(client.revision())
        idle = open_transactions(server)
        before, _ = server.memory()
        channels = [grpc.insecure_channel(f"127.0.0.1:{server.port}", options=[
            ("grpc.use_local_subchannel_pool", 1), ("grpc.http2.bdp_probe", 0), ("grpc.enable_http_proxy", 0)])
            for _ in range(10)]
        streams = []
        for channel in channels:
            method = channel.unary_stream("/etcdserverpb.Maintenance/Snapshot", rpc.SnapshotRequest.SerializeToString,
                                          rpc.SnapshotResponse.FromString)
            streams.append(method(rpc.SnapshotRequest(), timeout=120))
            next(streams[-1])
        time.sleep(1.5)
        client.put(b"still", b"served")
        during, _ = server.memory()
        for stream in streams:
            stream.cancel()
        for channel in channels:
            channel.close()
        deadline = time.monotonic() + 10
        while open_transactions(server) > idle:
            expect(time.monotonic() < deadline, f"{open_transactions(server)} read transactions stay open")
            client.put(b"tick", b"")
            time.sleep(0.05)
        grown = (during - before) / 1024 / 1024
        expect(grown < 40, f"ten clients that do not read cost {grown:.0f} MiB")
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda _: attempt_snapshot(server), range(20)))
        expect(answers.count("whole") >= 16, f"{answers}")
        expect(set(answers) <= {"whole", "etcdserver: too many requests"}, f"{answers}")
        method = client.channel.unary_stream("/etcdserverpb.Maintenance/Snapshot")
        next(method(b"", timeout=120))
        server.stop()  # with a stream that nobody reads
    print(f"ten clients that do not read cost {grown:.1f} MiB", flush=True)


def attempt_snapshot(server):
    try:
        with etcd.Client(server) as client:
            snapshot_of(client)
        return "whole"
    except grpc.RpcError as refusal:
        return refusal.details()


def defragment_under_load(scratch):
    server = scratch.server("defragment").start()
    with etcd.Client(server) as client:
        for step in range(1500):
            client.put(b"fill", os.urandom(8000))
        client.compact(client.revision())
        size = client.status_().dbSize
        deadline = time.monotonic() + 10
        while metric(server, "etcd_mvcc_db_total_size_in_use_in_bytes") > size / 2:  # pages get free with a later commit
            expect(time.monotonic() < deadline, "compaction sets no pages free")
            client.put(b"tick", b"")
            time.sleep(0.05)
        defragment(client)
        after = client.status_().dbSize
        expect(after < size / 2, f"{size} bytes before, {after} after")
        expect(metric(server, "etcd_mvcc_db_total_size_in_bytes") == after, "the metric has the old size")
    load = Load(server)
    deadline, count = time.monotonic() + LOAD_SECONDS, 0
    with etcd.Client(server) as client:
        while time.monotonic() < deadline:
            defragment(client)
            count += 1
        before = client.hash_kv(client.revision())
        expect(client.hash_kv(before.header.revision).hash is not None, "HashKV")
    load.stop()
    with etcd.Client(server) as client:
        check_load(client, load.acknowledged, "after defragmentation")
        last = state(client)
    server.stop()
    run_tool(OUR_TOOLS, "etcdutl", "snapshot", "status", os.path.join(server.data, "member/snap/db"))
    server.start()
    with etcd.Client(server) as client:
        compare(last, state(client), "restarted after defragmentation")
    server.stop()
    with open(server.log_path, encoding="utf8") as log:
        text = log.read()
    for line in ("starting defragment", '"defragmenting"', "finished defragmenting directory", '"finished defragment"'):
        expect(line in text, f"the log does not have {line}")
    print(f"{count} times during {load.acknowledged + 1} puts, the slowest put took {load.slowest:.2f} s", flush=True)


def kill_while_defragmenting(scratch):
    server = scratch.server("killed").start()
    generator = random.Random(7)
    acknowledged = -1
    for _ in range(6):
        load = Load(server, acknowledged)
        stop = threading.Event()

        def again():
            try:
                with etcd.Client(server) as client:
                    while not stop.is_set():
                        defragment(client)
            except grpc.RpcError:
                pass
        thread = threading.Thread(target=again)
        thread.start()
        time.sleep(0.3 + generator.random() / 2)
        server.kill()
        stop.set()
        thread.join()
        load.stop(may_fail=True)
        server.start()
        with etcd.Client(server) as client:
            check_load(client, load.acknowledged, "killed while defragmenting")
            acknowledged = client.range(key=b"load/", range_end=b"load0", count_only=True).count - 1
        left = [name for name in os.listdir(os.path.join(server.data, "member/snap")) if name.startswith("db.tmp")]
        expect(not left, f"left over: {left}")
    server.stop()
    print(f"killed six times while defragmenting, {acknowledged + 1} keys are there", flush=True)


def manual_is_current():
    """The page in the sources is what the command table makes."""
    page = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../doc/etcdutl.1")
    with open(page, encoding="utf8") as file:
        expect(file.read() == run_tool(OUR_TOOLS, "etcdutl", "--help-man"), "doc/etcdutl.1 is old: make update-man")


def run(scratch):
    ours, real = OUR_TOOLS, etcd.ETCD35
    expect(os.access(os.path.join(ours, "etcdutl"), os.X_OK), "no etcdutl beside the server")
    manual_is_current()
    refuse_damage(scratch)
    hash_of_file(scratch)
    hand_over(scratch, "ours-to-ours", ours, ours)
    restore_cluster(scratch, "three", [ours, ours, ours])
    bump_revision(scratch, ours, ours, "bump")
    snapshots_under_load(scratch)
    slow_clients(scratch)
    defragment_under_load(scratch)
    kill_while_defragmenting(scratch)
    file, before = save_of_36(scratch)
    if os.access(os.path.join(etcd.ETCD34, "etcdctl"), os.X_OK) and os.access(os.path.join(etcd.ETCD34, "etcd"), os.X_OK):
        hand_over(scratch, "ours-to-3.4", ours, etcd.ETCD34)
        hand_over(scratch, "3.4-to-ours", etcd.ETCD34, ours)
    else:
        print("no etcd 3.4 (ETCD34_BIN): snapshots were not exchanged with it", flush=True)
    if not real or not os.access(os.path.join(real, "etcdutl"), os.X_OK):
        etcd.skip("the part with etcd 3.5 (set ETCD35_BIN to its directory); the rest passed")
    hand_over(scratch, "ours-to-3.5", ours, real)
    hand_over(scratch, "3.5-to-ours", real, ours)
    hand_over(scratch, "restored-by-ours-served-by-3.5", ours, ours, server_tools=real)
    hand_over(scratch, "restored-by-3.5-served-by-ours", real, real, server_tools=ours)
    bump_revision(scratch, ours, real, "bump-3.5")
    restore_cluster(scratch, "three-mixed", [ours, real, ours])
    older_takes_over(scratch, real, file, before, "at-3.6-restored-by-3.5")
    older_takes_over(scratch, ours, file, before, "at-3.6-restored-by-ours")


etcd.main(run)
