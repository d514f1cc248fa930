#!/usr/bin/python3
"""Members come and go while a client writes: joining, learners and their promotion, removal, replacement.

A member that joins gets everything and serves; a learner does not vote and becomes a voter when it has caught up, asked of
any member; a removed member ends by itself, and again when it is started once more; who was in a cluster before, or is not
expected by it, is refused. Every acknowledged write is there at the end, and HashKV is equal on all.
"""
import sys

sys.dont_write_bytecode = True

import os
import shutil
import time

import etcd
from clusters import LIMIT, Cluster, Writer, wait_for
from etcd import expect, grpc


def refused(call, *texts):
    try:
        call()
    except grpc.RpcError as error:
        expect(error.details() in texts, f"refused with {error.details()!r}, not {texts}")
        return
    raise etcd.Failure(f"not refused, which should be: {texts}")


def does_not_start(server, text, flags=()):
    server.spawn(flags)
    try:
        code = server.process.wait(LIMIT)
    except etcd.subprocess.TimeoutExpired:
        raise etcd.Failure(f"{server.name} goes on without: {text}\n{server.log_tail()}") from None
    expect(code == 1 and text in server.log_tail(), f"it ended with {code} and without: {text}\n{server.log_tail()}")
    server.process = None


def one_becomes_three(scratch):
    cluster = Cluster(scratch, {"a": etcd.OURS})
    cluster.start()
    writer = Writer(cluster)
    cluster.join("b")
    cluster.join("c")
    with etcd.Client(cluster.servers[2]) as client:
        members = {member.name: list(member.peerURLs) for member in client.member_list_().members}
    expect(members == {server.name: [server.peer_url] for server in cluster.servers}, f"members: {members}")
    return cluster, writer


def a_learner_is_promoted(cluster):
    learner = cluster.join("learner", learner=True)
    member = cluster.id_of(learner)
    with etcd.Client(learner) as client:
        refused(lambda: client.put(b"k", b"v"), "etcdserver: rpc not supported for learner")
        refused(lambda: client.get(b"k"), "etcdserver: rpc not supported for learner")
        client.get(b"k", serializable=True)
    other = cluster.servers[0]
    with etcd.Client(other) as client:
        wait_for("the voters are connected", lambda: refused_learner(client))
        refused(lambda: client.member_promote(1), "etcdserver: member not found")
        voter = cluster.id_of(cluster.servers[1])
        refused(lambda: client.member_promote(voter), "etcdserver: can only promote a learner member")
    follower = next(server for server in cluster.servers[:3] if server is not cluster.leader(cluster.servers[:3]))
    answer = cluster.change(lambda client: client.member_promote(member), follower)
    expect(len(answer.members) == len(cluster.servers), f"the answer to a promotion: {answer}")
    learner.wait_ready(LIMIT)
    with etcd.Client(learner) as client:
        client.put(b"by the learner that was", b"v")
    return learner


def refused_learner(client):
    """There may be one learner at a time."""
    try:
        client.member_add("http://127.0.0.1:9", learner=True)
    except grpc.RpcError as error:
        if "too many learner members in cluster" in error.details():
            return True
        expect("unhealthy cluster" in error.details(), f"a second learner: {error.details()}")
        return False
    raise etcd.Failure("a second learner was added")


def a_removed_leader_ends(cluster, victim):
    """And hands over first, so that nobody waits for an election timeout."""
    member = cluster.id_of(victim)
    others = [server for server in cluster.servers if server is not victim]
    cluster.change(lambda client: client.member_remove(ID=member), others[0])
    leader, seconds = cluster.wait_for_leader(not_in=(victim,), among=others)
    print(f"  {victim.name} was removed: {leader.name} leads after {seconds:.3f} s", flush=True)
    with open(victim.log_path, "rb") as log:
        expect(b"leadership transfer starting" in log.read(), f"{victim.name} did not hand over")
    cluster.ends_as_removed(victim)
    with etcd.Client(cluster.servers[0]) as client:
        refused(lambda: client.member_remove(ID=member), "etcdserver: member not found")
    # Its data says so, or the others do: it ends again.
    victim.spawn()
    code = victim.process.wait(LIMIT)
    expect(code == 0 and "the member has been permanently removed from the cluster" in victim.log_tail(),
           f"{victim.name} was started again and ended with {code}:\n{victim.log_tail()}")
    victim.process = None


def a_member_moves(cluster, server):
    """It gets another address for its peers; the others find it there."""
    member = cluster.id_of(server)
    server.stop()
    server.peer_port = etcd.free_ports(1)[0]
    other = next(other for other in cluster.running() if other is not server)
    cluster.change(lambda client: client.member_update(ID=member, peerURLs=[server.peer_url]), other)
    server.start()
    with etcd.Client(server) as client:
        client.put(b"from another address", b"v")
        urls = {m.ID: list(m.peerURLs) for m in client.member_list_().members}
        expect(urls[member] == [server.peer_url], f"{server.name} is said to be at {urls[member]}")


def who_is_not_expected_is_refused(scratch, cluster):
    stranger = scratch.server("stranger")
    stranger.initial_cluster = ",".join(f"{server.name}={server.peer_url}" for server in (*cluster.servers, stranger))
    does_not_start(stranger, "member count is unequal", ["--initial-cluster-state=existing"])
    known = cluster.servers[-1]
    stranger.initial_cluster = ",".join(
        f"{server.name}={server.peer_url}" for server in (*cluster.servers[:-1], stranger))
    does_not_start(stranger, "PeerURLs: no match found for existing member", ["--initial-cluster-state=existing"])
    stranger.initial_cluster = f"nobody=http://127.0.0.1:9,stranger={stranger.peer_url}"
    does_not_start(stranger, "could not retrieve cluster information from the given URLs",
                   ["--initial-cluster-state=existing"])
    expect(known in cluster.running(), "a member ended")


def a_first_member_without_its_data(cluster):
    """It must not found its cluster a second time."""
    lost = cluster.servers[0]
    lost.kill()
    shutil.rmtree(lost.data)
    does_not_start(lost, "has already been bootstrapped")
    return lost


def replace(cluster, lost, name):
    """Its place is taken by a new member at the same address."""
    with etcd.Client(next(server for server in cluster.running() if server is not lost)) as client:
        members = {member.name: member.ID for member in client.member_list_().members}
    lost.member_id = members[lost.name]
    cluster.remove(lost, still_running=False)
    return cluster.join(name)


def run(scratch):
    cluster, writer = one_becomes_three(scratch)
    print("one became three", flush=True)
    a_learner_is_promoted(cluster)
    print("a learner was promoted", flush=True)
    a_removed_leader_ends(cluster, cluster.wait_for_leader()[0])
    print("a leader was removed", flush=True)
    a_member_moves(cluster, cluster.wait_for_leader()[0])
    print("a leader has moved", flush=True)
    who_is_not_expected_is_refused(scratch, cluster)
    writer.finish()
    revision, _ = cluster.catch_up()
    for server in cluster.servers:
        writer.check(server)
    expect(not writer.errors, f"errors that no client tries again: {writer.errors[:3]}")
    print(f"{len(writer.acknowledged)} writes acknowledged, {writer.unknown} of unknown outcome, at most "
          f"{writer.longest:.1f} s without one, revision {revision}", flush=True)
    cluster.stop()


def run_replacement(scratch):
    cluster = Cluster(scratch, {"x": etcd.OURS, "y": etcd.OURS, "z": etcd.OURS})
    cluster.start()
    writer = Writer(cluster)
    time.sleep(0.5)
    lost = a_first_member_without_its_data(cluster)
    replace(cluster, lost, "w")
    writer.finish()
    cluster.catch_up()
    for server in cluster.servers:
        writer.check(server)
    expect(not writer.errors, f"errors that no client tries again: {writer.errors[:3]}")
    print(f"a lost member was replaced: {len(writer.acknowledged)} writes acknowledged, {writer.unknown} of unknown outcome",
          flush=True)
    cluster.stop()


def run_force(scratch):
    """--force-new-cluster: two of three are lost for good, the third one becomes a cluster of its own."""
    cluster = Cluster(scratch, {"p": etcd.OURS, "q": etcd.OURS, "r": etcd.OURS}, flags=["--snapshot-count=50"])
    cluster.start()
    writer = Writer(cluster)
    wait_for("some writes", lambda: len(writer.acknowledged) > 200)
    writer.finish()
    cluster.catch_up()
    cluster.join("listener", learner=True)
    left, *lost = cluster.servers
    with etcd.Client(left) as client:
        revision = client.revision()
        before = client.hash_kv(revision)
    for server in cluster.servers:
        server.kill()
    for server in lost:
        cluster.servers.remove(server)
    left.start(["--force-new-cluster"])
    with etcd.Client(left) as client:
        expect([member.name for member in client.member_list_().members] == [left.name], "the lost ones are still members")
        after = client.hash_kv(revision)
        expect((after.hash, after.header.revision) == (before.hash, revision), f"HashKV {after} after {before}")
        client.put(b"alone", b"v")
    writer.check(left)
    left.stop()
    handed_over(left, writer)
    left.start()
    cluster.join("s")
    cluster.join("t")
    cluster.catch_up()
    # Who comes back after all is told that it was removed.
    lost[0].spawn()
    code = lost[0].process.wait(LIMIT)
    expect(code == 0 and "permanently removed" in lost[0].log_tail(), f"a lost one ended with {code}:\n{lost[0].log_tail()}")
    lost[0].process = None
    cluster.stop()
    print("one of three went on alone and got company again", flush=True)


def handed_over(server, writer):
    """What was forced a real etcd understands."""
    real = os.path.join(etcd.ETCD35, "etcd")
    if not etcd.ETCD35 or not os.access(real, os.X_OK):
        return
    ours, server.program = server.program, real
    server.start()
    writer.check(server)
    with etcd.Client(server) as client:
        expect(len(client.member_list_().members) == 1, "a real etcd knows of more members")
    server.process.send_signal(etcd.signal.SIGTERM)
    server.process.wait(LIMIT)
    server.program = ours


def all_three(scratch):
    run(scratch)
    run_replacement(scratch)
    run_force(scratch)


etcd.main(all_three)
