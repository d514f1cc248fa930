#!/usr/bin/python3
"""Data directories go back and forth between our server and real etcd.

One writes (puts, deletes, transactions, leases, a compaction, more entries than a snapshot takes), is stopped or killed;
the next is started on the directory and must have the same keys, revisions, history, leases, members and HashKV, and write
on. Real etcd 3.5 (ETCD35_BIN) takes over what ours wrote at any time, also after kill -9; ours takes over from 3.5 and
from 3.4 (ETCD34_BIN, /usr/bin). Skipped without etcd 3.5.

DATADIR_SEED: another sequence; DATADIR_ROUNDS: hand-overs per chain.
"""
import sys

sys.dont_write_bytecode = True

import os
import random
import subprocess
import time

import etcd
from etcd import expect, rpc

SEED = etcd.setting("DATADIR_SEED", int(time.time()))
ROUNDS = etcd.setting("DATADIR_ROUNDS", 8)
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


def run(scratch):
    etcd35 = os.path.join(etcd.ETCD35, "etcd")
    if not etcd.ETCD35 or not os.access(etcd35, os.X_OK):
        etcd.skip("no etcd 3.5 (set ETCD35_BIN to its directory)")
    print(f"DATADIR_SEED={SEED}", flush=True)
    generator = random.Random(SEED)
    ours, real = ("ours", etcd.OURS), ("3.5", etcd35)
    run_chain(scratch, "ours-first", [ours, real] * (ROUNDS // 2), generator)
    run_chain(scratch, "3.5-first", [real, ours] * (ROUNDS // 2), generator)
    etcd34 = os.path.join(etcd.ETCD34, "etcd")
    if os.access(etcd34, os.X_OK):
        run_chain(scratch, "3.4-first", [("3.4", etcd34), ours, real, ours], generator)
        run_chain(scratch, "3.4-and-3.5-first", [("3.4", etcd34), real, ours, real], generator)
    else:
        print("no etcd 3.4 (ETCD34_BIN): its directories were not tried")


etcd.main(run)
