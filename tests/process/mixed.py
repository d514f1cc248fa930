#!/usr/bin/python3
"""From real etcd 3.5 (ETCD35_BIN) to ours and back, member by member, without a stop: with three members and with five.

Real members serve clients that write, add and read without pause. One after the other is replaced: a member of ours joins
(the first one as a learner, from the real leader's snapshot), leadership is passed to and fro, a real one leaves. When only
ours are left the same happens in the other direction: the real ones get our snapshots. At every majority HashKV is equal on
all members, and on what the clients remember nothing is missing; nobody ends who was not removed.

MIXED_LONG=1: every member joins as a learner, from a snapshot of a leader of the other kind if there is one; every member
leads in every mixture, and in every mixture a leader of each kind is killed.
MIXED_STRICT=1: with etcd's default --strict-reconfig-check, which makes each change wait for five seconds.
"""
import sys

sys.dont_write_bytecode = True

import os
import urllib.request

import etcd
from clusters import LIMIT, Cluster, Load, wait_for
from etcd import expect, grpc, rpc

ETCD35 = os.path.join(etcd.ETCD35, "etcd")
LONG = etcd.setting("MIXED_LONG", 0)
STRICT = etcd.setting("MIXED_STRICT", 0)
FLAGS = ["--snapshot-count=100", f"--strict-reconfig-check={'true' if STRICT else 'false'}"]
KEPT = 5000  # entries that a real leader keeps for members that are behind


def metric(server, name):
    with urllib.request.urlopen(server.endpoint + "/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name + "{"))


def fill(server, count):
    """Many entries at once."""
    with etcd.Client(server) as client:
        put = client.channel.unary_unary("/etcdserverpb.KV/Put", rpc.PutRequest.SerializeToString,
                                         rpc.PutResponse.FromString)
        waiting = []
        for number in range(count):
            waiting.append(put.future(rpc.PutRequest(key=b"fill/%d" % (number % 500), value=b"v%d" % number), timeout=LIMIT))
            if len(waiting) == 500:
                for call in waiting:
                    call.result()
                waiting = []
        for call in waiting:
            call.result()


def is_ours(server):
    return server.program == etcd.OURS


def counts(cluster):
    ours = sum(map(is_ours, cluster.servers))
    return f"{len(cluster.servers) - ours} real, {ours} of ours"


def all_are_equal(cluster, load):
    expect(all(cluster.is_running(server) for server in cluster.servers), "a member has ended by itself")
    # The load goes on meanwhile: any revision that all have will do.
    def look():
        revisions = []
        for server in cluster.servers:
            with etcd.Client(server, timeout=2) as client:
                revisions.append(client.get(b"\0", serializable=True).header.revision)
        answers = {}
        for server in cluster.servers:
            with etcd.Client(server, timeout=5) as client:
                answer = client.hash_kv(min(revisions))
                answers[server.name] = (answer.hash, answer.compact_revision)
        expect(len(set(answers.values())) == 1, f"HashKV at {min(revisions)} differs: {answers}")
        return min(revisions)
    def know_the_same():
        lists = []
        for server in cluster.servers:
            with etcd.Client(server, timeout=2) as client:
                lists.append([member.SerializeToString() for member in client.member_list_().members])
        return all(members == lists[0] for members in lists)
    wait_for("all know the same members", know_the_same)
    revision, _ = wait_for("HashKV of all", look)
    print(f"  {counts(cluster)}: HashKV equal at revision {revision}, {load.told()}", flush=True)


def of_each_kind(cluster):
    """One real member and one of ours, if there are both."""
    kinds = [[server for server in cluster.servers if is_ours(server) == ours] for ours in (False, True)]
    return [servers[0] for servers in kinds if servers]


def join(cluster, load, name, program, on, first):
    """As a learner and from a snapshot, if it is the first of its kind."""
    if first or LONG:
        other_kind = [server for server in cluster.servers if server.program != program]
        if cluster.leader() not in other_kind:
            cluster.move_leader(other_kind[0])
        fill(cluster.wait_for_leader()[0], KEPT + 700)
    new = cluster.join(name, program=program, learner=bool(first or LONG), flags=FLAGS, on=on)
    if first or LONG:
        expect(metric(new, "etcd_network_snapshot_receive_success") > 0, f"{name} joined without a snapshot")
        member = cluster.id_of(new)
        cluster.change(lambda client: client.member_promote(member), on)
        new.wait_ready(LIMIT)
        print(f"  {name} began with a snapshot and was promoted", flush=True)
    all_are_equal(cluster, load)


def replace(cluster, load, old, name, program, first):
    stays = next(server for server in cluster.servers if server is not old)
    join(cluster, load, name, program, stays, first)
    if cluster.leader() is old:
        cluster.move_leader(stays)
    cluster.remove(old, on=stays)
    all_are_equal(cluster, load)


def lead_by_turns(cluster, servers):
    """Leadership is passed to each of them and back, among any mixture."""
    for server in [*servers, servers[0]]:
        cluster.move_leader(server)
        with etcd.Client(server) as client:
            client.put(b"led by", server.name.encode())
        for other in cluster.servers:
            with etcd.Client(other) as client:
                expect(client.get(b"led by").kvs[0].value == server.name.encode(), f"{other.name} reads an older leader's")


def leaders_are_killed(cluster, servers):
    for victim in servers:
        cluster.move_leader(victim)
        victim.kill()
        leader, seconds = cluster.wait_for_leader(among=[server for server in cluster.servers if server is not victim])
        print(f"  {victim.name} was killed: {leader.name} leads after {seconds:.2f} s", flush=True)
        victim.start(timeout=LIMIT)
        cluster.wait_for_leader()


def replace_all(cluster, load, program, kind):
    """Its members are all of the other kind."""
    olds = list(cluster.servers)
    for number, old in enumerate(olds):
        replace(cluster, load, old, f"{kind}{len(olds)}{number}", program, first=number == 0)
        mixed = of_each_kind(cluster)
        if len(mixed) == 2:
            lead_by_turns(cluster, cluster.servers if LONG or len(cluster.servers) == 3 else mixed)
        if LONG:
            leaders_are_killed(cluster, mixed)
            all_are_equal(cluster, load)


def nobody_complains(cluster, servers):
    with etcd.Client(cluster.servers[0]) as client:
        expect(not client.alarm(action=0).alarms, "an alarm is raised")
    for server in servers:
        with open(server.log_path, "rb") as log:
            text = log.read()
        for word in (b"found data inconsistency", b"panic", b"Removing zombie member"):
            expect(word not in text, f"{server.name} says: {word.decode()}")
        if is_ours(server):
            server.check_log()


def there_and_back(scratch, size):
    cluster = Cluster(scratch, {f"real{size}{number}": ETCD35 for number in range(size)}, flags=FLAGS)
    print(f"{size} real members: a leader after {cluster.start():.1f} s", flush=True)
    load = Load(cluster, pause=0.01)
    replace_all(cluster, load, etcd.OURS, "ours")
    replace_all(cluster, load, ETCD35, "back")
    load.finish()
    expect(load.acknowledged > 100, f"only {load.acknowledged} writes were acknowledged")
    nobody_complains(cluster, scratch.servers)
    print(f"{size} members there and back: at most {load.longest():.1f} s without an answer", flush=True)
    cluster.stop()


def run(scratch):
    if not etcd.ETCD35 or not os.access(ETCD35, os.X_OK):
        etcd.skip("no etcd 3.5 (set ETCD35_BIN to its directory)")
    for size in 3, 5:
        there_and_back(scratch, size)


etcd.main(run)
