#!/usr/bin/python3
"""Members come and go while a client writes: joining, learners and their promotion, removal, replacement.

A member that joins gets everything and serves; a learner does not vote and becomes a voter when it has caught up, asked of
any member; a removed member ends by itself, and again when it is started once more; who was in a cluster before, or is not
expected by it, is refused. Every acknowledged write is there at the end, and HashKV is equal on all.
"""
import sys

sys.dont_write_bytecode = True

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


def a_removed_member_ends(cluster, victim):
    member = cluster.id_of(victim)
    cluster.remove(victim)
    with etcd.Client(cluster.servers[0]) as client:
        refused(lambda: client.member_remove(ID=member), "etcdserver: member not found")
    # Its data says so, or the others do: it ends again.
    victim.spawn()
    code = victim.process.wait(LIMIT)
    expect(code == 0 and "the member has been permanently removed from the cluster" in victim.log_tail(),
           f"{victim.name} was started again and ended with {code}:\n{victim.log_tail()}")
    victim.process = None


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
    a_removed_member_ends(cluster, cluster.leader())
    print("a leader was removed", flush=True)
    who_is_not_expected_is_refused(scratch, cluster)
    # Any member may be the one that is founded anew: those who founded this cluster have ids of its token.
    founders = [server for server in cluster.servers if server.name == "a"]
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


def both(scratch):
    run(scratch)
    run_replacement(scratch)


etcd.main(both)
