#!/usr/bin/python3
"""Leaders of a five-member cluster are killed, stopped and cut off, while clients that remember write, add and read.

Each member has a network of its own (network.py): the leader is cut off from the others both ways, or only what it sends or
only what is sent to it is lost. Every time the others elect a leader, and the one of before comes back as a follower. Then
the same with links that take 20 ms each way, give or take 5, and lose one frame of a hundred (where there can be such). At
the end no acknowledged write is lost, no addition counts twice, no read was stale, HashKV is equal on all. How long there
was no leader is printed.

LEADER_ROUNDS: how many leaders; LEADER_SLOW_ROUNDS: with slow links; LEADER_SEED: another order.
"""
import sys

sys.dont_write_bytecode = True

import random
import statistics
import time

import etcd
import network
from clusters import Cluster, Load, wait_for
from etcd import expect

ROUNDS = etcd.setting("LEADER_ROUNDS", 6)
SLOW_ROUNDS = etcd.setting("LEADER_SLOW_ROUNDS", 4)
SEED = etcd.setting("LEADER_SEED", int(time.time()))
ELECTION = 1.0  # --election-timeout
DELAY, JITTER, LOSS = 20, 5, 1  # ms, ms, percent: of the slow links, each way
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


def leaders_fall(cluster, load, rounds, generator, links):
    hows = ["killed", "stopped", *WAYS]
    times = []
    for number in range(rounds):
        if number % len(hows) == 0:
            generator.shuffle(hows)
        load.goes_on()
        fallen = Round(cluster, hows[number % len(hows)])
        fallen.run()
        times.append(fallen.seconds)
        load.check_errors()
    median = statistics.median(times)
    print(f"{rounds} leaders fell, {links}: without a leader for {median:.2f} s (median), {max(times):.2f} s (longest)", flush=True)
    # A few rounds on a busy machine prove nothing about the median.
    expect(median <= (1.5 if rounds >= 50 else 3) * ELECTION, f"the median is {median:.2f} s")


def run(scratch):
    reason = network.available()
    if reason:
        etcd.skip(reason)
    not_slow = network.available(slow=True)
    print(f"LEADER_SEED={SEED}", flush=True)
    generator = random.Random(SEED)
    net = network.Network(scratch, slow=not not_slow)
    cluster = Cluster(scratch, {f"m{number}": etcd.OURS for number in range(1, 6)}, network=net)
    print(f"five members: a leader after {cluster.start():.1f} s", flush=True)
    load = Load(cluster)
    leaders_fall(cluster, load, ROUNDS, generator, "links without latency")
    if not_slow:
        print(f"latency not tried: {not_slow}", flush=True)
    else:
        net.delay(DELAY, JITTER, LOSS)
        leaders_fall(cluster, load, SLOW_ROUNDS, generator, f"links of {DELAY} ± {JITTER} ms and {LOSS} % loss ({net.slow.kind})")
        net.delay(0)
    load.finish()
    cluster.stop()


etcd.main(run)
