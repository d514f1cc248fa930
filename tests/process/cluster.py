#!/usr/bin/python3
"""Clusters of three members, ours alone and together with real etcd 3.5 (ETCD35_BIN).

They bootstrap with one --initial-cluster; what is written on one is read on the others at once. While a client writes
without pause, members are killed with kill -9, stopped, or frozen, leaders first; whoever is left elects a leader, no
acknowledged write is lost, no read is stale, and who comes back catches up. At the end HashKV is equal on all, and nobody
complains about another.

CLUSTER_KILLS: how many disturbances each cluster of ours sees; CLUSTER_SEED: another sequence.
"""
import sys

sys.dont_write_bytecode = True

import os
import random
import signal
import threading
import time

import etcd
from etcd import expect, grpc

KILLS = etcd.setting("CLUSTER_KILLS", 6)
SEED = etcd.setting("CLUSTER_SEED", int(time.time()))
LIMIT = 30  # seconds: what takes so long never comes


def wait_for(what, look, limit=LIMIT):
    """look() until it returns something; its answer, and the seconds it took."""
    begun = time.monotonic()
    while time.monotonic() < begun + limit:
        try:
            found = look()
        except grpc.RpcError:
            found = None
        if found:
            return found, time.monotonic() - begun
        time.sleep(0.02)
    raise etcd.Failure(f"{what}: not within {limit} s")


class Cluster:
    def __init__(self, scratch, programs):
        self.servers = [scratch.server(name, program=program) for name, program in programs.items()]
        together = ",".join(f"{server.name}={server.peer_url}" for server in self.servers)
        for server in self.servers:
            server.initial_cluster = together
        self.frozen = set()

    def running(self):
        return [s for s in self.servers if s.process is not None and s.process.poll() is None and s not in self.frozen]

    def start(self):
        for server in self.servers:
            server.spawn()
        _, seconds = wait_for("a leader that all know", self.leader)
        for server in self.servers:
            server.wait_ready(LIMIT)
        return seconds

    def leader(self):
        """The server that every running member follows."""
        found = set()
        for server in self.running():
            with etcd.Client(server, timeout=1) as client:
                status = client.status_()
                if status.leader == status.header.member_id:
                    leader = server
                found.add(status.leader)
        return leader if len(found) == 1 and found != {0} and "leader" in locals() else None

    def wait_for_leader(self, not_in=()):
        def look():
            leader = self.leader()
            return leader if leader not in not_in else None
        return wait_for("a leader", look)

    def catch_up(self):
        """Waits until all members have the same revision, then compares what they hold."""
        def look():
            with etcd.Client(self.servers[0], timeout=2) as client:
                revision = client.revision()
            for server in self.servers:
                with etcd.Client(server, timeout=2) as client:
                    if client.get(b"\0", serializable=True).header.revision != revision:
                        return None
            return revision
        revision, seconds = wait_for("all members have everything", look)
        hashes = {}
        for server in self.servers:
            with etcd.Client(server) as client:
                answer = client.hash_kv(revision)
                hashes[server.name] = (answer.hash, answer.compact_revision)
        expect(len(set(hashes.values())) == 1, f"HashKV at {revision} differs: {hashes}")
        return revision, seconds

    def stop(self):
        for server in self.servers:
            server.process.send_signal(signal.SIGTERM)
        for server in self.servers:
            if server.program == etcd.OURS:
                server.stop()
            else:
                server.process.wait(LIMIT)


class Writer(threading.Thread):
    """Writes one key after the other on any member that takes them, and remembers what was acknowledged."""

    def __init__(self, cluster):
        super().__init__(daemon=True)
        self.cluster = cluster
        self.acknowledged = {}
        self.unknown = 0
        self.ended = threading.Event()
        self.start()

    def run(self):
        clients = [etcd.Client(server, timeout=1) for server in self.cluster.servers]
        number = 0
        while not self.ended.is_set():
            number += 1
            key = b"written/%06d" % number
            try:
                answer = clients[number % len(clients)].put(key, b"%d" % number)
                self.acknowledged[key] = answer.header.revision
            except grpc.RpcError:
                self.unknown += 1
                time.sleep(0.01)
        for client in clients:
            client.close()

    def finish(self):
        self.ended.set()
        self.join()

    def check(self, server):
        with etcd.Client(server) as client:
            found = {kv.key: kv.mod_revision for kv in client.range(key=b"written/", range_end=b"written0").kvs}
        lost = {key: revision for key, revision in self.acknowledged.items() if found.get(key) != revision}
        expect(not lost, f"{server.name} has lost {len(lost)} acknowledged writes, such as {sorted(lost)[:3]}")


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
    victim.process.send_signal(signal.SIGSTOP)
    cluster.frozen.add(victim)
    leader, seconds = cluster.wait_for_leader(not_in=(victim,))
    if was_leader:
        print(f"  {victim.name} led and was frozen: {leader.name} leads after {seconds:.1f} s", flush=True)
    with etcd.Client(leader) as client:
        client.put(b"while you slept", b"%f" % time.monotonic())
        value = client.get(b"while you slept").kvs[0].value
    victim.process.send_signal(signal.SIGCONT)
    cluster.frozen.discard(victim)

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


def with_real_etcd(scratch, generator, etcd35, real, ours):
    cluster = Cluster(scratch, {**{f"real{real}{n}": etcd35 for n in range(real)},
                                **{f"ours{real}{n}": etcd.OURS for n in range(ours)}})
    for server in cluster.servers:
        if server.program == etcd35:
            server.flags += ["--experimental-initial-corrupt-check", "--experimental-corrupt-check-time=1s"]
    print(f"{ours} of ours, {real} of etcd 3.5: a leader after {cluster.start():.1f} s", flush=True)
    for is_ours in (True, False):
        leader = lead_with(cluster, lambda server: (server.program == etcd.OURS) == is_ours)
        reads_are_linearizable(cluster, b"led by %s" % leader.name.encode())
        leases_are_asked_of_the_leader(cluster)
        writer = Writer(cluster)
        time.sleep(3)  # a real leader compares hashes meanwhile
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
        with_real_etcd(scratch, generator, etcd35, real=1, ours=2)
        with_real_etcd(scratch, generator, etcd35, real=2, ours=1)
    else:
        print("no etcd 3.5 (ETCD35_BIN): not tried together with it")


etcd.main(run)
