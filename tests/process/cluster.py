#!/usr/bin/python3
"""Clusters of three members (and of five), ours alone and together with real etcd 3.5 (ETCD35_BIN).

They bootstrap with one --initial-cluster; what is written on one is read on the others at once. While a client writes
without pause, members are killed with kill -9, stopped, or frozen, leaders first; whoever is left elects a leader, no
acknowledged write is lost, no read is stale, and who comes back catches up. At the end HashKV is equal on all, and nobody
complains about another.

CLUSTER_KILLS: how many disturbances each cluster of ours sees; CLUSTER_FIVE=1: real members in clusters of five, too;
CLUSTER_SEED: another sequence.
"""
import sys

sys.dont_write_bytecode = True

import os
import random
import time

import etcd
from clusters import LIMIT, Cluster, Writer, wait_for
from etcd import expect

KILLS = etcd.setting("CLUSTER_KILLS", 6)
FIVE = etcd.setting("CLUSTER_FIVE", 0)
SEED = etcd.setting("CLUSTER_SEED", int(time.time()))
def reads_are_linearizable(cluster, label):
    """What one member acknowledges the next one reads."""
    for number, server in enumerate(cluster.running()):
        value = b"%s/%d" % (label, number)
        with etcd.Client(server) as client:
            client.put(b"fresh", value)
        for other in cluster.running():
            with etcd.Client(other) as client:
                kvs = client.get(b"fresh").kvs
                expect(kvs and kvs[0].value == value, f"{other.name} reads {kvs} after {value} on {server.name}")


def leases_are_asked_of_the_leader(cluster):
    """Any member keeps a lease alive and tells what is left of it; let go, it ends with its keys."""
    ttl = 3
    clients = [etcd.Client(server) for server in cluster.running()]
    lease = clients[0].grant(ttl).ID
    clients[1].put(b"leased", b"v", lease=lease)
    until = time.monotonic() + 1.5 * ttl
    while time.monotonic() < until:
        for client in clients:
            expect(client.keep_alive(lease).TTL == ttl, "a lease was not kept alive")
            answer = client.time_to_live(ID=lease, keys=True)
            expect(0 < answer.TTL <= ttl and answer.grantedTTL == ttl and list(answer.keys) == [b"leased"],
                   f"a lease of {ttl} s kept alive just now: {answer}")
            expect(answer.header.member_id == client.status_().header.member_id, "a header of another member")
        time.sleep(0.1)
    expect(clients[2].get(b"leased").kvs, "a key went although its lease was kept alive")
    wait_for("the lease ends", lambda: not clients[2].get(b"leased").kvs)
    for client in clients:
        expect(client.keep_alive(lease).TTL == 0, "a lease lives on after its end")
        expect(client.time_to_live(ID=lease).TTL == -1, "a lease is known after its end")
        client.close()


def kill_and_restart(cluster, victim):
    was_leader = cluster.leader() is victim
    victim.kill()
    leader, seconds = cluster.wait_for_leader()
    if was_leader:
        print(f"  {victim.name} led and was killed: {leader.name} leads after {seconds:.1f} s", flush=True)
    reads_are_linearizable(cluster, b"without one")
    victim.start(timeout=LIMIT)


def freeze_and_thaw(cluster, victim):
    """A member that sleeps must not answer from its dreams when it wakes up."""
    was_leader = cluster.leader() is victim
    cluster.freeze(victim)
    leader, seconds = cluster.wait_for_leader(not_in=(victim,))
    if was_leader:
        print(f"  {victim.name} led and was frozen: {leader.name} leads after {seconds:.1f} s", flush=True)
    with etcd.Client(leader) as client:
        client.put(b"while you slept", b"%f" % time.monotonic())
        value = client.get(b"while you slept").kvs[0].value
    cluster.thaw(victim)

    def look():
        with etcd.Client(victim, timeout=2) as client:
            kvs = client.get(b"while you slept").kvs
            expect(kvs and kvs[0].value == value, f"{victim.name} woke up and read {kvs}")
            return True
    wait_for(f"{victim.name} reads again", look)


def stop_and_restart(cluster, victim):
    victim.stop()
    cluster.wait_for_leader()
    victim.start(timeout=LIMIT)


def disturb(cluster, generator, kills):
    writer = Writer(cluster)
    for number in range(kills):
        leader, _ = cluster.wait_for_leader()
        victim = leader if generator.random() < 0.7 else generator.choice(cluster.servers)
        what = (kill_and_restart, freeze_and_thaw, stop_and_restart)[number % 3]
        what(cluster, victim)
        time.sleep(generator.random())
    writer.finish()
    revision, seconds = cluster.catch_up()
    for server in cluster.servers:
        writer.check(server)
    expect(len(writer.acknowledged) > kills, f"only {len(writer.acknowledged)} writes were acknowledged")
    print(f"  {len(writer.acknowledged)} writes acknowledged, {writer.unknown} of unknown outcome, revision {revision}, "
          f"all there {seconds:.1f} s after the last", flush=True)
    return writer


def three_of_ours(scratch, generator):
    cluster = Cluster(scratch, {name: etcd.OURS for name in ("a1", "a2", "a3")})
    print(f"three of ours: a leader after {cluster.start():.1f} s", flush=True)
    reads_are_linearizable(cluster, b"first")
    leases_are_asked_of_the_leader(cluster)
    writer = disturb(cluster, generator, KILLS)
    for server in cluster.servers:
        server.kill()
    cluster.start()
    cluster.catch_up()
    for server in cluster.servers:
        writer.check(server)
    cluster.stop()


def lead_with(cluster, is_wanted):
    """Kills leaders until one of the wanted kind leads."""
    for _ in range(10):
        leader, _ = cluster.wait_for_leader()
        if is_wanted(leader):
            return leader
        leader.kill()
        successor, _ = cluster.wait_for_leader()
        leader.start(timeout=LIMIT)
        if is_wanted(successor):
            return successor
    raise etcd.Failure("nobody of that kind was elected in ten elections")


def log_has(server, text):
    with open(server.log_path, "rb") as log:
        return text in log.read()


def with_real_etcd(scratch, generator, etcd35, real, ours):
    cluster = Cluster(scratch, {**{f"real{real}{ours}{n}": etcd35 for n in range(real)},
                                **{f"ours{real}{ours}{n}": etcd.OURS for n in range(ours)}})
    for server in cluster.servers:
        server.flags += ["--experimental-initial-corrupt-check", "--experimental-corrupt-check-time=1s",
                         "--experimental-compact-hash-check-enabled", "--experimental-compact-hash-check-time=1s"]
    print(f"{ours} of ours, {real} of etcd 3.5: a leader after {cluster.start():.1f} s", flush=True)
    for is_ours in (True, False):
        leader = lead_with(cluster, lambda server: (server.program == etcd.OURS) == is_ours)
        reads_are_linearizable(cluster, b"led by %s" % leader.name.encode())
        leases_are_asked_of_the_leader(cluster)
        writer = Writer(cluster)
        time.sleep(1)
        with etcd.Client(leader) as client:
            client.compact(client.revision() - 5)
        wait_for("the leader compares hashes of a compaction with all members",
                 lambda: log_has(leader, b"successfully checked hash on whole cluster"))
        wait_for("the leader compares newest hashes", lambda: log_has(leader, b"finished peer corruption check"))
        victim = generator.choice([server for server in cluster.servers if server is not leader])
        kill_and_restart(cluster, victim)
        time.sleep(1)
        writer.finish()
        revision, _ = cluster.catch_up()
        for server in cluster.servers:
            writer.check(server)
        print(f"  led by {leader.name}: {len(writer.acknowledged)} writes acknowledged, {writer.unknown} of unknown "
              f"outcome, revision {revision}", flush=True)
    def versions():
        with etcd.Client(cluster.servers[0]) as client:
            expect(not client.alarm(action=0).alarms, "an alarm is raised")
        texts = set()
        for server in cluster.servers:
            with open(server.log_path, "rb") as log:
                texts.update(line for line in log.read().splitlines() if b"found data inconsistency" in line)
        return texts or {b""}
    expect(versions() == {b""}, f"a member found another inconsistent: {versions()}")
    cluster.stop()


def run(scratch):
    print(f"CLUSTER_SEED={SEED}", flush=True)
    generator = random.Random(SEED)
    three_of_ours(scratch, generator)
    etcd35 = os.path.join(etcd.ETCD35, "etcd")
    if etcd.ETCD35 and os.access(etcd35, os.X_OK):
        for members in (3, 5) if FIVE else (3,):
            for real in range(1, members):
                with_real_etcd(scratch, generator, etcd35, real=real, ours=members - real)
    else:
        print("no etcd 3.5 (ETCD35_BIN): not tried together with it")


etcd.main(run)
