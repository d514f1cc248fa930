#!/usr/bin/python3
"""A rolling restart of three members under load: each is told to stop (SIGTERM) and started again, the leader too.

A leader hands over before it ends. Clients see nothing that a client of etcd's does not try again elsewhere, no acknowledged
write is lost, no read is stale, and without an answer for long is nobody. ROLLING_ROUNDS: how often all are restarted.
"""
import sys

sys.dont_write_bytecode = True

import etcd
from clusters import LIMIT, Cluster, Counter, Reader, Writer
from etcd import expect

ROUNDS = etcd.setting("ROLLING_ROUNDS", 2)


def restart(cluster, server):
    was_leader = cluster.leader() is server
    server.stop()
    _, seconds = cluster.wait_for_leader()
    server.start(timeout=LIMIT)
    if was_leader:
        print(f"  {server.name} led: another one leads {seconds:.2f} s after its end", flush=True)
    cluster.wait_for_leader()


def run(scratch):
    cluster = Cluster(scratch, {name: etcd.OURS for name in ("a", "b", "c")})
    cluster.start()
    writers = [Writer(cluster, prefix=b"loyal/", loyal=True), Writer(cluster, prefix=b"restless/")]
    counter = Counter(cluster, loyal=True)
    reader = Reader(cluster, writers[0])
    workers = [*writers, counter, reader]
    for _ in range(ROUNDS):
        for server in list(cluster.servers):
            restart(cluster, server)
        restart(cluster, cluster.wait_for_leader()[0])
    for worker in workers:
        worker.finish()
    cluster.catch_up()
    for writer in writers:
        for server in cluster.servers:
            writer.check(server)
    Counter.check(cluster, [counter])
    errors = [error for worker in workers for error in worker.errors]
    expect(not errors, f"{len(errors)} errors that no client tries again, such as {errors[:3]}")
    print(f"{ROUNDS * 4} restarts: {sum(worker.done for worker in workers)} answers, {sum(w.unknown for w in workers)} tries "
          f"failed, the longest time without an answer was {max(worker.longest for worker in workers):.1f} s", flush=True)
    cluster.stop()


etcd.main(run)
