#!/usr/bin/python3
"""Leaders of a five-member cluster are killed, stopped and cut off, while clients that remember write, add and read.

Each member has a network of its own (network.py): the leader is cut off from the others both ways, or only what it sends or
only what is sent to it is lost. Every time the others elect a leader, and the one of before comes back as a follower. At
the end no acknowledged write is lost, no addition counts twice, no read was stale, HashKV is equal on all. How long there
was no leader is printed.

LEADER_ROUNDS: how many leaders; LEADER_SEED: another order.
"""
import sys

sys.dont_write_bytecode = True

import random
import statistics
import time

import etcd
import network
from clusters import LIMIT, Cluster, Counter, Reader, Writer, wait_for
from etcd import expect

ROUNDS = etcd.setting("LEADER_ROUNDS", 6)
SEED = etcd.setting("LEADER_SEED", int(time.time()))
ELECTION = 1.0  # --election-timeout
WAYS = {"cut off": 2, "unheard": 1, "deaf": -1}


class Round:
    """One leader falls, another is elected, the first one is back."""

    def __init__(self, cluster, how):
        self.cluster, self.how = cluster, how
        self.victim, _ = cluster.wait_for_leader()
        self.others = [server for server in cluster.servers if server is not self.victim]

    def fall(self):
        cluster, victim = self.cluster, self.victim
        if self.how == "killed":
            victim.kill()
        elif self.how == "stopped":
            cluster.freeze(victim)
        else:
            cluster.network.cut(victim.place, [server.place for server in self.others], WAYS[self.how])

    def rise(self):
        if self.how == "killed":
            self.victim.spawn()
        elif self.how == "stopped":
            self.cluster.thaw(self.victim)
        else:
            self.cluster.network.heal()
        wait_for(f"{self.victim.name} serves again", lambda: serves(self.victim))

    def run(self):
        begun = time.monotonic()
        self.fall()
        leader, _ = self.cluster.wait_for_leader(not_in=(self.victim,), among=self.others)
        self.seconds = time.monotonic() - begun
        self.rise()
        print(f"  {self.victim.name} {self.how}: {leader.name} leads after {self.seconds:.2f} s", flush=True)


def serves(server):
    with etcd.Client(server, timeout=2) as client:
        return client.get(b"\0").header.revision > 0


def slow_links(cluster):
    """With 20 ms from member to member the cluster goes on (where the kernel can delay packets)."""
    if not all(place.delay(20) for place in cluster.network.places):
        print("  this kernel delays no packets (netem): latency not tried", flush=True)
        return
    begun = time.monotonic()
    with etcd.Client(cluster.wait_for_leader()[0]) as client:
        for number in range(20):
            client.put(b"slow/%d" % number, b"v")
    print(f"  with 20 ms of latency 20 writes took {time.monotonic() - begun:.1f} s", flush=True)
    for place in cluster.network.places:
        place.delay(0)


def run(scratch):
    reason = network.available()
    if reason:
        etcd.skip(reason)
    print(f"LEADER_SEED={SEED}", flush=True)
    generator = random.Random(SEED)
    cluster = Cluster(scratch, {f"m{number}": etcd.OURS for number in range(1, 6)}, network=network.Network(scratch))
    print(f"five members: a leader after {cluster.start():.1f} s", flush=True)
    writers = [Writer(cluster, prefix=b"loyal/", loyal=True, pause=0.002), Writer(cluster, prefix=b"restless/", pause=0.002)]
    counters = [Counter(cluster, loyal=True, pause=0.002) for _ in range(2)]
    readers = [Reader(cluster, writer, pause=0.002) for writer in writers]
    workers = [*writers, *counters, *readers]
    hows = ["killed", "stopped", *WAYS]
    times = []
    for number in range(ROUNDS):
        if number % len(hows) == 0:
            generator.shuffle(hows)
        fallen = Round(cluster, hows[number % len(hows)])
        fallen.run()
        times.append(fallen.seconds)
        errors = [error for worker in workers for error in worker.errors]
        expect(not errors, f"{len(errors)} errors, such as {errors[:3]}")
    slow_links(cluster)
    for worker in workers:
        worker.finish()
    cluster.catch_up()
    for writer in writers:
        for server in cluster.servers:
            writer.check(server)
    Counter.check(cluster, counters)
    errors = [error for worker in workers for error in worker.errors]
    expect(not errors, f"{len(errors)} errors, such as {errors[:3]}")
    median = statistics.median(times)
    print(f"{ROUNDS} leaders fell: without a leader for {median:.2f} s (median), {max(times):.2f} s (longest); "
          f"{sum(len(writer.acknowledged) for writer in writers)} writes and {sum(counter.done for counter in counters)} "
          f"additions acknowledged, {sum(reader.done for reader in readers)} reads, "
          f"{sum(worker.unknown for worker in workers)} of unknown outcome", flush=True)
    # A few rounds on a busy machine prove nothing about the median.
    expect(median <= (1.5 if ROUNDS >= 50 else 3) * ELECTION, f"the median is {median:.2f} s")
    cluster.stop()


etcd.main(run)
