#!/usr/bin/python3
"""From real etcd 3.5 (ETCD35_BIN) to ours and back, member by member, without a stop.

Three real members serve a client that writes without pause. One after the other is replaced: a member of ours joins (the
first one as a learner, from the real leader's snapshot), leadership is passed to and fro, a real one leaves. When only ours
are left the same happens in the other direction: the real ones get our snapshots. At every majority HashKV is equal on all
members and on what the client remembers nothing is missing; nobody ends who was not removed.

MIXED_STRICT=1: with etcd's default --strict-reconfig-check, which makes each change wait for five seconds.
"""
import sys

sys.dont_write_bytecode = True

import os
import urllib.request

import etcd
from clusters import LIMIT, Cluster, Writer, wait_for
from etcd import expect, grpc, rpc

ETCD35 = os.path.join(etcd.ETCD35, "etcd")
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


def counts(cluster):
    ours = sum(server.program == etcd.OURS for server in cluster.servers)
    return f"{len(cluster.servers) - ours} real, {ours} of ours"


def all_are_equal(cluster, writer):
    expect(all(cluster.is_running(server) for server in cluster.servers), "a member has ended by itself")
    # The writer goes on meanwhile: any revision that all have will do.
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
    print(f"  {counts(cluster)}: HashKV equal at revision {revision}, {len(writer.acknowledged)} writes acknowledged, "
          f"{writer.unknown} of unknown outcome", flush=True)


def replace(cluster, writer, old, name, program, learner=False):
    stays = next(server for server in cluster.servers if server is not old)
    if cluster.leader() is old:
        cluster.move_leader(stays)
    new = cluster.join(name, program=program, learner=learner, flags=FLAGS, on=stays)
    if learner:
        member = cluster.id_of(new)
        cluster.change(lambda client: client.member_promote(member), stays)
        new.wait_ready(LIMIT)
        print(f"  {name} was promoted", flush=True)
    all_are_equal(cluster, writer)
    cluster.remove(old, on=stays)
    all_are_equal(cluster, writer)
    return new


def lead_by_turns(cluster):
    """To every member and back, among any mixture."""
    for server in [*cluster.servers, cluster.servers[0]]:
        cluster.move_leader(server)
        with etcd.Client(server) as client:
            client.put(b"led by", server.name.encode())
        for other in cluster.servers:
            with etcd.Client(other) as client:
                expect(client.get(b"led by").kvs[0].value == server.name.encode(), f"{other.name} reads an older leader's")


def there(cluster, writer):
    reals = list(cluster.servers)
    for number, real in enumerate(reals):
        new = replace(cluster, writer, real, f"ours{number}", etcd.OURS, learner=number == 0)
        if number == 0:
            expect(metric(new, "etcd_network_snapshot_receive_success") > 0, "ours joined without a snapshot")
            print(f"  {new.name} began with a snapshot of a real member", flush=True)
        if number < 2:
            lead_by_turns(cluster)


def back(cluster, writer):
    for number, ours in enumerate(list(cluster.servers)):
        new = replace(cluster, writer, ours, f"real{number + 3}", ETCD35, learner=number == 0)
        if number == 0:
            expect(metric(new, "etcd_network_snapshot_receive_success") > 0, "a real one joined without a snapshot")
            print(f"  {new.name} began with a snapshot of ours", flush=True)
        if number < 2:
            lead_by_turns(cluster)


def nobody_complains(cluster, servers):
    with etcd.Client(cluster.servers[0]) as client:
        expect(not client.alarm(action=0).alarms, "an alarm is raised")
    for server in servers:
        with open(server.log_path, "rb") as log:
            text = log.read()
        for word in (b"found data inconsistency", b"panic", b"Removing zombie member"):
            expect(word not in text, f"{server.name} says: {word.decode()}")
        if server.program == etcd.OURS:
            server.check_log()


def run(scratch):
    if not etcd.ETCD35 or not os.access(ETCD35, os.X_OK):
        etcd.skip("no etcd 3.5 (set ETCD35_BIN to its directory)")
    cluster = Cluster(scratch, {f"real{number}": ETCD35 for number in range(3)}, flags=FLAGS)
    print(f"three real members: a leader after {cluster.start():.1f} s", flush=True)
    leader, _ = cluster.wait_for_leader()
    fill(leader, KEPT + 700)
    writer = Writer(cluster, pause=0.005)
    there(cluster, writer)
    fill(cluster.leader(), KEPT + 700)
    back(cluster, writer)
    writer.finish()
    cluster.catch_up()
    for server in cluster.servers:
        writer.check(server)
    expect(not writer.errors, f"errors that no client tries again: {writer.errors[:3]}")
    expect(len(writer.acknowledged) > 100, f"only {len(writer.acknowledged)} writes were acknowledged")
    nobody_complains(cluster, scratch.servers)
    print(f"{len(writer.acknowledged)} writes acknowledged, at most {writer.longest:.1f} s without one", flush=True)
    cluster.stop()


etcd.main(run)
