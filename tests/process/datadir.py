#!/usr/bin/python3
"""Data directories go back and forth between our server and real etcd.

One writes (puts, deletes, transactions, leases, a compaction, more entries than a snapshot takes), is stopped or killed;
the next is started on the directory and must have the same keys, revisions, history, leases, members and HashKV, and write
on. Real etcd 3.5 (ETCD35_BIN) takes over what ours wrote at any time, also after kill -9; ours takes over from 3.5 and
from 3.4 (ETCD34_BIN, /usr/bin). So do whole clusters with a learner and a removed member. A database of a later release
is refused, and one at 3.6 is handed back after a downgrade. Skipped without etcd 3.5.

DATADIR_SEED: another sequence; DATADIR_ROUNDS: hand-overs per chain.
"""
import sys

sys.dont_write_bytecode = True

import json
import os
import random
import shutil
import subprocess
import time

import etcd
from etcd import expect, rpc

SEED = etcd.setting("DATADIR_SEED", int(time.time()))
ROUNDS = etcd.setting("DATADIR_ROUNDS", 4)
SNAPSHOT_COUNT = 50
LONG_TTL = 50000


def write(client, generator, label):
    """Something of everything; ends with writes after the compaction, so that HashKV is not the cached one."""
    leases = [client.grant(LONG_TTL).ID for _ in range(3)]
    keys = [b"key/%02d" % n for n in range(30)] + [b"bin/\0\xff\x80", b"\xff"]
    for step in range(generator.choice((10, 70, 200))):
        key = generator.choice(keys)
        what = generator.random()
        if what < 0.6:
            lease = generator.choice(leases) if generator.random() < 0.2 else 0
            client.put(key, b"%s/%d" % (label, step) * generator.choice((1, 1, 20, 500)), lease=lease)
        elif what < 0.75:
            client.delete(key)
        elif what < 0.8:
            client.delete(b"key/1", range_end=b"key/2")
        else:
            other = generator.choice([k for k in keys if k != key])
            client.txn(compare=[rpc.Compare(result=rpc.Compare.EQUAL, target=rpc.Compare.VERSION, key=key, version=0)],
                       success=[rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=label)),
                                rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=other))],
                       failure=[rpc.RequestOp(request_put=rpc.PutRequest(key=other, value=label, prev_kv=True)),
                                rpc.RequestOp(request_range=rpc.RangeRequest(key=key))])
    client.revoke(leases.pop())
    if generator.random() < 0.6:
        client.compact(client.revision() - generator.randrange(5))
    for key in keys[:10]:
        client.put(key, b"after " + label)


def lease_state(client, lease):
    answer = client.time_to_live(ID=lease, keys=True)
    expect(answer.TTL > LONG_TTL // 2, f"lease {lease} has {answer.TTL} s left of {answer.grantedTTL}")
    return answer.grantedTTL, sorted(answer.keys)


def state(client):
    """All that must be the same after a hand-over."""
    everything = client.everything()
    revision = everything.header.revision
    newest = client.hash_kv(revision)
    compacted = newest.compact_revision
    return {
        "cluster": everything.header.cluster_id,
        "member": everything.header.member_id,
        "revision": revision,
        "keys": list(everything.kvs),
        "compacted": compacted,
        "hashes": [client.hash_kv(r).hash for r in range(max(compacted + 1, 1, revision - 20), revision + 1)],
        "history": client.events(max(compacted, 0) + 1, revision),
        "leases": {lease: lease_state(client, lease) for lease in client.leases()},
        "members": [(m.ID, m.name, list(m.peerURLs), list(m.clientURLs)) for m in client.member_list_().members],
    }


def compare(before, after, where):
    for name, value in before.items():
        expect(value == after[name], f"{where}: {name} was {str(value)[:1500]}, is {str(after[name])[:1500]}")


def check_files(data):
    """What etcd's own tool says about the database of a stopped member."""
    tool = os.path.join(etcd.ETCD35, "etcdutl")
    if os.access(tool, os.X_OK):
        done = subprocess.run([tool, "snapshot", "status", os.path.join(data, "member/snap/db")], capture_output=True,
                              text=True, check=False)
        expect(done.returncode == 0, f"etcdutl refuses the database: {done.stderr}")


def run_chain(scratch, name, programs, generator):
    """programs: (name, path) one after the other on one directory."""
    server = scratch.server(name, flags=[f"--snapshot-count={SNAPSHOT_COUNT}"])
    before, where = None, ""
    for number, (program_name, program) in enumerate(programs):
        server.program = program
        server.start()
        where += f" -> {program_name}"
        with etcd.Client(server) as client:
            if before is not None:
                compare(before, state(client), where)
            write(client, generator, b"%s %d" % (program_name.encode(), number))
            if generator.random() < 0.3:
                time.sleep(0.2)  # the last batch is committed; else only the log has it
            before = state(client)
        if generator.random() < 0.5:
            server.stop()
            check_files(server.data)
            where += ", stopped"
        else:
            server.kill()
            where += ", killed"
        if program == etcd.OURS:
            server.check_log()
    print(f"{name}:{where}; revision {before['revision']}, compacted at {before['compacted']}", flush=True)


# ---- clusters: learners, removed members, several members' history ----

def wait_for(what, look, seconds=40):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            found = look()
        except etcd.grpc.RpcError:
            found = None
        if found:
            return found
        time.sleep(0.05)
    raise etcd.Failure(f"{what}: not within {seconds} s")


def etcdctl(server, *words):
    done = subprocess.run([os.path.join(os.path.dirname(etcd.OURS), "etcdctl"), f"--endpoints={server.endpoint}", *words],
                          capture_output=True, text=True, check=False, timeout=60)
    expect(done.returncode == 0, f"etcdctl {' '.join(words)}: {done.stdout}{done.stderr}")
    return done.stdout


def found_cluster(scratch, name, program):
    """Three voters, of which one is removed again, and a learner; more entries than several snapshots take."""
    servers = [scratch.server(f"{name}-{n}", program=program, flags=[f"--snapshot-count={SNAPSHOT_COUNT}"])
               for n in range(4)]
    voters, learner = servers[:3], servers[3]
    for server in voters:
        server.initial_cluster = ",".join(f"{s.name}={s.peer_url}" for s in voters)
        server.spawn()
    for server in voters:
        server.wait_ready(40)
    # Members can be added once the others have been connected for five seconds.
    wait_for("a learner is added", lambda: add_learner(voters[0], learner))
    learner.initial_cluster = voters[0].initial_cluster + f",{learner.name}={learner.peer_url}"
    learner.spawn(["--initial-cluster-state=existing"])
    wait_for("the learner has told its name", lambda: f"started, {learner.name}," in etcdctl(voters[0], "member", "list"))
    return voters, learner


def add_learner(server, learner):
    try:
        return etcdctl(server, "member", "add", learner.name, "--learner", f"--peer-urls={learner.peer_url}")
    except etcd.Failure as refusal:
        if "unhealthy cluster" in str(refusal):
            return None
        raise


def remove_last(voters):
    """The one that is removed ends by itself."""
    last = voters.pop()
    with etcd.Client(last) as client:
        identity = client.status_().header.member_id
    wait_for("a member is removed", lambda: try_to_remove(voters[0], identity))
    wait_for("the removed member ends", lambda: last.process.poll() is not None)
    last.process = None
    return identity


def try_to_remove(server, identity):
    try:
        return etcdctl(server, "member", "remove", f"{identity:x}")
    except etcd.Failure as refusal:
        if "unhealthy cluster" in str(refusal):
            return None
        raise


def all_equal(servers, revision):
    """Every member has everything, and the same."""
    def look():
        hashes = set()
        for server in servers:
            with etcd.Client(server, timeout=5) as client:
                answer = client.hash_kv(revision)
                hashes.add((answer.hash, answer.compact_revision))
        return hashes if len(hashes) == 1 else None
    return wait_for(f"equal hashes at {revision}", look)


def cluster_state(servers):
    """What the cluster's state is, whichever voter is asked. Members tell of themselves who they are."""
    with etcd.Client(servers[0]) as client:
        found = state(client)
    found.pop("member")
    rows = [line.split(", ") for line in etcdctl(servers[0], "member", "list").splitlines()]
    found["learners"] = [row[0] for row in rows if row[-1] == "true"]
    return found


def serializable_revision(server):
    with etcd.Client(server, timeout=5) as client:
        return client.get(b"\0", serializable=True).header.revision


def run_cluster(scratch, name, programs, generator):
    """A cluster founded by the first program goes through the others, all members at once, killed or stopped."""
    voters, learner = found_cluster(scratch, name, programs[0][1])
    servers = [*voters, learner]
    with etcd.Client(voters[0]) as client:
        write(client, generator, name.encode())
    removed = remove_last(voters)
    servers = [*voters, learner]
    before, where = None, ""
    for program_name, program in programs:
        where += f" -> {program_name}"
        for server in servers:
            if server.process is None:
                server.program = program
                server.spawn()
        for server in voters:
            server.wait_ready(40)
        if before is not None:
            compare(before, cluster_state(voters), where)
        with etcd.Client(voters[0]) as client:
            write(client, generator, b"%s cluster" % program_name.encode())
        before = cluster_state(voters)
        expect(len(before["learners"]) == 1 and removed not in [m[0] for m in before["members"]], f"{where}: {before['members']}")
        hashes = all_equal(voters, before["revision"])
        wait_for("the learner has everything", lambda: serializable_revision(learner) == before["revision"])
        for server in servers:
            # A learner is not asked for hashes while it runs.
            if server is not learner and generator.random() < 0.5:
                server.kill()
            else:
                server.process.terminate()
                server.process.wait(30)
                server.process = None
        told = json.loads(utl(os.path.dirname(etcd.OURS), "hashkv", os.path.join(learner.data, "member/snap/db"),
                              f"--rev={before['revision']}", "-w", "json"))
        expect(hashes == {(told["hash"], told["compactRevision"])}, f"{where}: hashes {hashes}, the learner has {told}")
        for server in servers:
            if program == etcd.OURS:
                server.check_log()
    print(f"{name}:{where}; revision {before['revision']}, {len(before['members'])} members, one of them a learner, "
          "one removed", flush=True)


# ---- storage versions ----

def utl(directory, *words, code=0):
    done = subprocess.run([os.path.join(directory, "etcdutl"), *words], capture_output=True, text=True, check=False,
                          timeout=60)
    expect(done.returncode == code, f"etcdutl {' '.join(words)}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def refuses_to_start(server, reason):
    server.spawn()
    code = server.process.wait(30)
    server.process = None
    expect(code != 0 and reason in server.log_tail(), f"exit {code}, not with '{reason}':\n{server.log_tail()}")


def migrate_there_and_back(scratch, server, bolt_tool):
    """etcdutl migrate on a copy: 3.5 has no row for its storage version, 3.6 has one."""
    copy, ours = scratch.path("migrated"), os.path.dirname(etcd.OURS)
    shutil.copytree(server.data, copy)
    said = utl(ours, "migrate", f"--data-dir={copy}", "--target-version=3.5", code=1)
    expect("cannot downgrade storage, WAL contains newer entries" in said, said)
    for target, rows in (("3.5", []), ("3.6", [b"3.6.0".hex()])):
        utl(ours, "migrate", f"--data-dir={copy}", f"--target-version={target}", "--force")
        dump = subprocess.run([bolt_tool, "dump", os.path.join(copy, "member/snap/db"), "meta"], capture_output=True,
                              text=True, check=True).stdout
        found = [line.split(" ")[1] for line in dump.splitlines() if line.startswith(b"storageVersion".hex())]
        expect(found == rows, f"migrated to {target}: {found}")


def storage_versions(scratch, etcd35):
    """A cluster at 3.6 is not taken over by 3.5 until its storage is migrated, and nobody takes over what is newer."""
    ours = os.path.dirname(etcd.OURS)
    server = scratch.server("at-3.6", flags=["--max-cluster-version=3.6"]).start()
    with etcd.Client(server) as client:
        write(client, random.Random(SEED), b"at 3.6")
        wait_for("the storage version is 3.6", lambda: '"storageVersion":"3.6.0"' in
                 etcdctl(server, "endpoint", "status", "-w", "json"))
        before = state(client)
    server.stop()
    server.flags = []
    server.start()  # also without the flag it stays at what the cluster has agreed on
    with etcd.Client(server) as client:
        compare(before, state(client), "at 3.6, restarted")
    server.stop()
    utl(ours, "migrate", f"--data-dir={server.data}", "--target-version=3.7", code=1)
    database = os.path.join(server.data, "member/snap/db")
    bolt_tool = os.path.join(ours, "tests/bolt/bolt_tool")
    if not os.access(bolt_tool, os.X_OK):
        etcd.skip("no tests/bolt/bolt_tool; the rest passed")
    version = b"storageVersion".hex()
    migrate_there_and_back(scratch, server, bolt_tool)
    subprocess.run([bolt_tool, "put", database, "meta", version, b"3.7.0".hex()], check=True)
    refuses_to_start(server, "3.7.0")
    subprocess.run([bolt_tool, "put", database, "meta", version, b"3.6.0".hex()], check=True)
    server.start()
    with etcd.Client(server) as client:
        compare(before, state(client), "after a refused start")
    server.stop()
    server.program = etcd35
    refuses_to_start(server, "invalid downgrade")
    server.program = etcd.OURS
    server.start()
    with etcd.Client(server) as client:
        compare(before, state(client), "after 3.5 has refused it")
        etcdctl(server, "downgrade", "enable", "3.5")
        wait_for("the storage version is 3.5", lambda: '"storageVersion":"3.5.0"' in
                 etcdctl(server, "endpoint", "status", "-w", "json"))
        before = state(client)
    server.stop()
    for program in (etcd35, etcd.OURS):
        server.program = program
        server.start()
        with etcd.Client(server) as client:
            compare(before, state(client), "downgraded")
        server.stop()
    print("storage versions: what is newer is refused, what was downgraded is taken over by etcd 3.5", flush=True)


def run(scratch):
    etcd35 = os.path.join(etcd.ETCD35, "etcd")
    if not etcd.ETCD35 or not os.access(etcd35, os.X_OK):
        etcd.skip("no etcd 3.5 (set ETCD35_BIN to its directory)")
    print(f"DATADIR_SEED={SEED}", flush=True)
    generator = random.Random(SEED)
    ours, real = ("ours", etcd.OURS), ("3.5", etcd35)
    run_chain(scratch, "ours-first", [ours, real] * (ROUNDS // 2), generator)
    run_chain(scratch, "3.5-first", [real, ours] * (ROUNDS // 2), generator)
    run_cluster(scratch, "cluster-3.5", [real, ours, real, ours], generator)
    storage_versions(scratch, etcd35)
    etcd34 = os.path.join(etcd.ETCD34, "etcd")
    if os.access(etcd34, os.X_OK):
        run_chain(scratch, "3.4-first", [("3.4", etcd34), ours, real, ours], generator)
        run_cluster(scratch, "cluster-3.4", [("3.4", etcd34), ours, real, ours], generator)
        run_chain(scratch, "3.4-and-3.5-first", [("3.4", etcd34), real, ours, real], generator)
    else:
        print("no etcd 3.4 (ETCD34_BIN): its directories were not tried")


etcd.main(run)
