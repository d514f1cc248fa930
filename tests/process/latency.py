#!/usr/bin/python3
"""A cluster whose links take time: three members of a slow network (network.py), clients that write, add and read.

First that the links are as slow, as unsteady and as lossy as they are told, each way by itself. Then many leases are renewed
through a follower that is not near its leader. Then a follower that is 300 ms away: the others go on at their rate, no election
happens, and the follower answers, late but right. Then a leader farther away than any election timeout: another one leads, and
goes on leading when the links are as before. Then links of which nobody knows what they will be like next. Nothing is lost.

LATENCY_ROUNDS: how many followers and leaders; LATENCY_STORM: seconds of changing links; LATENCY_SEED: other changes.
"""
import sys

sys.dont_write_bytecode = True

import random
import statistics
import threading
import time

import etcd
import network
from clusters import LIMIT, Cluster, Load, wait_for
from etcd import expect, rpc

ROUNDS = etcd.setting("LATENCY_ROUNDS", 1)
STORM = etcd.setting("LATENCY_STORM", 6)
SEED = etcd.setting("LATENCY_SEED", int(time.time()))
NEAR = 50           # ms
LEASES, RENEWALS, TTL = 100, 3, 20
FAR = 300           # ms
TOO_FAR = 2500      # ms: --election-timeout is 1000, a follower waits for up to twice that
LATE = 25           # ms that a busy machine may add to what is measured


class Probe:
    """Datagrams from one member's place to another's, and back."""

    def __init__(self, one, other):
        self.one, self.other = one.socket(), other.socket()
        for end in self.one, self.other:
            end.settimeout(10)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.one.close()
        self.other.close()

    def trips(self, count):
        """Milliseconds each way, of so many round trips."""
        there, back = [], []
        for number in range(count):
            for one, other, times in (self.one, self.other, there), (self.other, self.one, back):
                begun = time.monotonic()
                one.sendto(b"%d" % number, other.getsockname())
                expect(other.recv(100) == b"%d" % number, "another datagram arrived")
                times.append(1000 * (time.monotonic() - begun))
        return there, back

    def arrived(self, count, pause, patience, limit=LIMIT):
        """Which of so many, sent one after the other for at most so many seconds, arrive: until none has for so long."""
        self.other.settimeout(patience)
        seen = []

        def collect():
            try:
                while True:
                    seen.append(int(self.other.recv(100)))
            except TimeoutError:
                pass
        collector = threading.Thread(target=collect)
        collector.start()
        until = time.monotonic() + limit
        for number in range(count):
            if time.monotonic() > until:
                break
            self.one.sendto(b"%d" % number, self.other.getsockname())
            time.sleep(pause)
        collector.join()
        return seen


def lower_quarter(values):
    return statistics.quantiles(values, n=4)[0]


def takes(what, values, wanted):
    found = lower_quarter(values)
    expect(wanted - 1 <= found <= wanted + LATE, f"{what}: {found:.1f} ms, set was {wanted}")
    return found


def links_are_as_told(scratch):
    net = network.Network(scratch, slow=True)
    one, other, third = net.place(), net.place(), net.place()
    with Probe(one, other) as probe, Probe(other, third) as elsewhere:
        there, back = probe.trips(20)
        found = [takes("without latency", there, 0), takes("and back", back, 0)]
        one.delay(40, ways=1)
        there, back = probe.trips(10)
        found += [takes("what is sent from here", there, 40), takes("but not what is sent to here", back, 0)]
        one.delay(0, ways=1)
        one.delay(30, ways=-1)
        there, back = probe.trips(10)
        found += [takes("not what is sent from here", there, 0), takes("but what is sent to here", back, 30)]
        one.delay(0, ways=-1)
        net.delay(20)
        there, back = probe.trips(10)
        found += [takes("from each to each other", there, 20), takes("and back", back, 20)]
        found.append(takes("elsewhere", elsewhere.trips(10)[0], 20))
        net.delay(30, jitter=20)
        there = sum(probe.trips(20), [])
        expect(min(there) >= 9 and max(there) - min(there) > 15, f"30 ± 20 ms took {sorted(there)}")
        net.delay(0)
        one.delay(0, loss=20, ways=1)
        arrived = len(probe.arrived(400, 0.0005, patience=0.5))
        expect(260 <= arrived <= 370, f"of 400 datagrams, 20 % of them to be lost, {arrived} arrived")
        one.delay(2000, ways=1)
        seen = probe.arrived(network.UNDER_WAY + 1000, 0, patience=2.5, limit=1)  # the last one goes before the first arrives
        expect(len(seen) <= network.UNDER_WAY, f"{len(seen)} were under way at a time")
        expect(seen == sorted(seen) and len(seen) > 100, f"of {network.UNDER_WAY + 1000} in a row came {len(seen)}: {seen[:20]}")
    print(f"links are as told ({net.slow.kind}): {', '.join(f'{value:.1f}' for value in found)} ms, jitter {min(there):.1f} to "
          f"{max(there):.1f} ms, {arrived} of 400 arrived with 20 % loss, {len(seen)} under way at a time", flush=True)


def rate(server):
    """Writes a second, of many at a time: the best of a few tries, for a busy machine."""
    best = 0
    with etcd.Client(server) as client:
        put = client.channel.unary_unary("/etcdserverpb.KV/Put", rpc.PutRequest.SerializeToString, rpc.PutResponse.FromString)
        for _ in range(4):
            begun = time.monotonic()
            for _ in range(5):
                calls = [put.future(rpc.PutRequest(key=b"rate/%d" % number, value=b"v" * 100), timeout=LIMIT)
                         for number in range(50)]
                for call in calls:
                    call.result()
            best = max(best, 250 / (time.monotonic() - begun))
    return best


def term(server):
    with etcd.Client(server) as client:
        return client.status_().raftTerm


def late_but_right(leader, far):
    """Through a member that is far away: seconds of writes and of reads, which see what the leader was just told."""
    times = []
    with etcd.Client(leader) as near, etcd.Client(far) as client:
        for number in range(2):
            value = b"%d" % number
            near.put(b"far", value)
            begun = time.monotonic()
            expect(client.get(b"far").kvs[0].value == value, "a stale read through the follower that is far away")
            read = time.monotonic()
            client.put(b"from far", value)
            times.append((read - begun, time.monotonic() - read))
            expect(near.get(b"from far").kvs[0].value == value, "the leader does not know what the far one acknowledged")
    reads, writes = (statistics.median(column) for column in zip(*times))
    expect(min(reads, writes) >= 2 * FAR / 1000, f"through a member {FAR} ms away: {times}")
    return reads, writes


def leases_live_on(cluster):
    """A follower has to ask the leader about leases; many clients that renew theirs do not wait for each other."""
    leader, _ = cluster.wait_for_leader()
    follower = next(server for server in cluster.servers if server is not leader)
    errors = []

    def renew(client, lease):
        keep_alive = client.channel.stream_stream("/etcdserverpb.Lease/LeaseKeepAlive",
                                                  rpc.LeaseKeepAliveRequest.SerializeToString,
                                                  rpc.LeaseKeepAliveResponse.FromString)
        asked = threading.Semaphore(1)

        def requests():
            for _ in range(RENEWALS):
                asked.acquire()
                yield rpc.LeaseKeepAliveRequest(ID=lease)
        for answer in keep_alive(requests(), timeout=LIMIT):
            if answer.TTL != TTL:
                errors.append(answer)
            asked.release()
    with etcd.Client(leader) as client:
        leases = [client.grant(TTL).ID for _ in range(LEASES)]
    cluster.network.delay(NEAR)
    with etcd.Client(follower) as client:
        threads = [threading.Thread(target=renew, args=(client, lease)) for lease in leases]
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.monotonic() - begun
    cluster.network.delay(0)
    print(f"{LEASES} leases were renewed {RENEWALS} times each, by a follower {NEAR} ms away, in {seconds:.2f} s", flush=True)
    expect(not errors, f"{len(errors)} renewals that came too late, such as {errors[:1]}")
    # To the leader and back, from there to another one and back, for each.
    by_turns = LEASES * RENEWALS * 4 * NEAR / 1000
    expect(seconds < by_turns / 10, f"the renewals took {seconds:.2f} s, one after the other would be {by_turns:.0f} s")


def a_follower_is_far_away(cluster):
    leader, _ = cluster.wait_for_leader()
    far = next(server for server in cluster.servers if server is not leader)
    begun, before = term(leader), rate(leader)
    far.place.delay(FAR)
    after = rate(leader)
    reads, writes = late_but_right(leader, far)
    terms = {server.name: term(server) for server in cluster.servers}
    far.place.delay(0)
    print(f"{far.name} {FAR} ms away: {after:.0f} writes/s (before: {before:.0f}); through it a read took {reads:.2f} s, a write "
          f"{writes:.2f} s", flush=True)
    expect(set(terms.values()) == {begun}, f"an election: the term was {begun}, now {terms}")
    expect(after >= before / 2, f"{before:.0f} writes/s before, {after:.0f} with a follower far away")


def the_leader_is_too_far_away(cluster):
    old, _ = cluster.wait_for_leader()
    others = [server for server in cluster.servers if server is not old]
    old.place.delay(TOO_FAR)
    new, seconds = cluster.wait_for_leader(not_in=(old,), among=others)
    with etcd.Client(new) as client:
        client.put(b"led by", new.name.encode())
    _, known = wait_for(f"{old.name} knows", lambda: cluster.leader() is new)
    newer = term(new)
    old.place.delay(0)
    with etcd.Client(old) as client:
        _, healed = wait_for(f"{old.name} serves again", lambda: client.get(b"led by").kvs[0].value == new.name.encode())
    print(f"{old.name} {TOO_FAR} ms away: {new.name} leads after {seconds:.2f} s, {old.name} knows {known:.2f} s later, and "
          f"serves {healed:.2f} s after the links are as before", flush=True)
    expect(cluster.leader() is new and term(new) == newer, f"an election when the links were as before: {newer}, {term(new)}")


def links_change(cluster, load, generator):
    """One member's or everybody's, one way or both, for a second or so; some are cut."""
    net = cluster.network
    until = time.monotonic() + STORM
    changes = 0
    while time.monotonic() < until:
        one, other = generator.sample(net.places, 2)
        delay = generator.choice([0, 5, 50, 200, 600, 1500])
        jitter, loss = generator.choice([0, delay / 2, delay]), generator.choice([0, 1, 5, 20])
        what = generator.random()
        if what < 0.6:
            one.delay(delay, jitter, loss, ways=generator.choice([2, 1, -1]))
        elif what < 0.8:
            net.delay(min(delay, 100), 0, loss)
        elif what < 0.9:
            one.lose(other)
        else:
            net.heal()
        changes += 1
        time.sleep(1.5 * generator.random())
        load.check_errors()
    net.heal()
    for place in net.places:
        place.delay(0)
    begun = time.monotonic()
    load.goes_on()
    print(f"links changed {changes} times, every client goes on {time.monotonic() - begun:.1f} s after the last", flush=True)


def run(scratch):
    reason = network.available(slow=True)
    if reason:
        etcd.skip(reason)
    print(f"LATENCY_SEED={SEED}", flush=True)
    links_are_as_told(scratch)
    net = network.Network(scratch, slow=True)
    cluster = Cluster(scratch, {f"m{number}": etcd.OURS for number in range(1, 4)}, network=net)
    cluster.start()
    load = Load(cluster)
    for _ in range(ROUNDS):
        leases_live_on(cluster)
        a_follower_is_far_away(cluster)
        the_leader_is_too_far_away(cluster)
        load.goes_on()
        load.check_errors()
    links_change(cluster, load, random.Random(SEED))
    load.finish()
    cluster.stop()


etcd.main(run)
