#!/usr/bin/python3
"""Members whose data differ are found, and named.

Three members; one is stopped and a value in its database is changed behind its back. The initial check keeps it from
serving; without that the periodic check of the leader, or the hashes taken at a compaction, raise a CORRUPT alarm for it,
be it follower or leader. From then on the server answers as real etcd 3.5 does under such an alarm (ETCD35_BIN; else only
against what is listed here), also after a restart, until it is disarmed.
"""
import sys

sys.dont_write_bytecode = True

import json
import os
import subprocess
import time
import urllib.error
import urllib.request

import etcd
from etcd import expect, grpc, rpc

LIMIT = etcd.setting("CORRUPTION_LIMIT", 60)
CORRUPT = 2  # AlarmType
OUR_DIRECTORY = os.path.dirname(etcd.OURS)
BOLT_TOOL = os.path.join(OUR_DIRECTORY, "tests/bolt/bolt_tool")


def wait_for(what, look):
    """look() until it returns something."""
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        try:
            found = look()
        except grpc.RpcError:
            found = None
        if found:
            return found
        time.sleep(0.05)
    raise etcd.Failure(f"{what}: not within {LIMIT} s")


def make_cluster(scratch, name, flags):
    servers = [scratch.server(f"{name}{number}", flags=flags) for number in range(3)]
    for server in servers:
        server.initial_cluster = ",".join(f"{s.name}={s.peer_url}" for s in servers)
        server.spawn()
    for server in servers:
        server.wait_ready(LIMIT)
    return servers


def member_id(server):
    with etcd.Client(server, timeout=5) as client:
        return client.status_().header.member_id


def leader_of(servers):
    def look():
        for server in servers:
            with etcd.Client(server, timeout=2) as client:
                status = client.status_()
                if status.leader == status.header.member_id:
                    return server
        return None
    return wait_for("a leader", look)


def fill(server):
    with etcd.Client(server) as client:
        for number in range(40):
            client.put(b"key/%02d" % number, b"value %d" % number)
        client.compact(client.revision() - 10)
        client.put(b"last", b"value")


def wait_until_equal(servers):
    def look():
        revisions = set()
        for server in servers:
            with etcd.Client(server, timeout=2) as client:
                revisions.add(client.get(b"\0", serializable=True).header.revision)
        return len(revisions) == 1
    wait_for("all members have everything", look)


def damage(server):
    """Another last byte in the value of the newest row."""
    database = os.path.join(server.data, "member/snap/db")
    dump = subprocess.run([BOLT_TOOL, "dump", database, "key"], capture_output=True, text=True, check=True)
    key, value = dump.stdout.split("\n")[-2].split(" ")
    changed = value[:-2] + f"{int(value[-2:], 16) ^ 1:02x}"
    subprocess.run([BOLT_TOOL, "put", database, "key", key, changed], check=True)


def logged(server, text):
    with open(server.log_path, "rb") as log:
        return text.encode() in log.read()


def alarms(server):
    with etcd.Client(server, timeout=5) as client:
        return [(alarm.memberID, alarm.alarm) for alarm in client.alarm(action=0).alarms]


def disarm(server, member):
    with etcd.Client(server, timeout=5) as client:
        client.alarm(action=2, memberID=member, alarm=CORRUPT)


# ---- what is served under the alarm ----

def attempt(call):
    try:
        call()
        return "served"
    except grpc.RpcError as refusal:
        return f"{refusal.code().name}: {refusal.details()}"


def http(server, path):
    try:
        with urllib.request.urlopen(f"{server.endpoint}{path}", timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def behaviour(server, lease):
    """Each kind of call, and what came of it."""
    compare = rpc.Compare(result=rpc.Compare.EQUAL, target=rpc.Compare.VERSION, key=b"last", version=0)
    put = rpc.RequestOp(request_put=rpc.PutRequest(key=b"k", value=b"v"))
    get = rpc.RequestOp(request_range=rpc.RangeRequest(key=b"k"))
    with etcd.Client(server) as client:
        calls = {
            "range": lambda: client.get(b"last"),
            "serializable range": lambda: client.get(b"last", serializable=True),
            "put": lambda: client.put(b"k", b"v"),
            "delete": lambda: client.delete(b"k"),
            "txn": lambda: client.txn(compare=[compare], failure=[put]),
            "read-only txn": lambda: client.txn(compare=[compare], failure=[get]),
            "compact": lambda: client.compact(client.revision()),
            "grant": lambda: client.grant(100),
            "revoke": lambda: client.revoke(lease),
            "keep alive": lambda: client.keep_alive(lease),
            "time to live": lambda: client.time_to_live(ID=lease),
            "leases": client.leases,
            "status": client.status_,
            "hash": client.hash_kv,
            "members": client.member_list_,
            "alarms": lambda: client.alarm(action=0),
        }
        told = {name: attempt(call) for name, call in calls.items()}
    for path in ("/health", "/health?exclude=CORRUPT"):
        status, body = http(server, path)
        told[path] = (status, json.loads(body))
    for path in ("/livez", "/readyz/data_corruption"):
        told[path] = http(server, path)
    return told


REFUSED = ("put", "delete", "txn", "compact", "grant", "revoke")
REFUSAL = "DATA_LOSS: etcdserver: corrupt cluster"


def check_behaviour(server, lease):
    told = behaviour(server, lease)
    for name, answer in told.items():
        if name in REFUSED:
            expect(answer == REFUSAL, f"{server.name}, {name}: {answer}")
        elif isinstance(answer, str):
            expect(answer == "served", f"{server.name}, {name}: {answer}")
    expect(told["/health"] == (503, {"health": "false", "reason": "ALARM CORRUPT"}), f"/health: {told['/health']}")
    expect(told["/readyz/data_corruption"][0] == 503, f"/readyz: {told['/readyz/data_corruption']}")
    return told


def like_real_etcd(scratch):
    """The alarm is raised by a client, so that a server of which nothing is damaged can be asked."""
    program = os.path.join(etcd.ETCD35, "etcd")
    if not etcd.ETCD35 or not os.access(program, os.X_OK):
        print("no etcd 3.5 (ETCD35_BIN) to compare with", flush=True)
        return
    told = []
    for server in (scratch.server("ours"), scratch.server("real", program=program)):
        server.start()
        with etcd.Client(server) as client:
            client.put(b"last", b"value")
            lease = client.grant(1000).ID
            client.alarm(action=1, memberID=member_id(server), alarm=CORRUPT)
        answer = behaviour(server, lease)
        told.append(answer)
        server.kill()
    for name, ours in told[0].items():
        expect(ours == told[1][name], f"{name}: ours {ours}, real etcd {told[1][name]}")
    print("served under the alarm as by etcd 3.5", flush=True)


# ---- the checks ----

def refused_at_start(scratch):
    """Then, with the check off, found by the leader."""
    servers = make_cluster(scratch, "periodic", ["--corrupt-check-time=400ms"])
    fill(servers[0])
    wait_until_equal(servers)
    leader = leader_of(servers)
    with etcd.Client(leader) as client:
        lease = client.grant(1000).ID
    victim = next(server for server in servers if server is not leader)
    identity = member_id(victim)
    wait_for("a check without finding", lambda: logged(leader, "finished peer corruption check"))
    expect(not alarms(leader), "an alarm although nothing is wrong")
    victim.stop()
    victim.start(["--experimental-initial-corrupt-check"])
    expect(logged(victim, "initial corruption checking passed; no corruption"), "no initial check")
    victim.stop()
    damage(victim)
    victim.spawn(["--feature-gates=InitialCorruptCheck=true"])
    code = victim.process.wait(LIMIT)
    expect(code == 1, f"exit {code}:\n{victim.log_tail()}")
    victim.process = None
    expect(logged(victim, f"checkInitialHashKV failed") and
           logged(victim, f"{identity:x} found data inconsistency with peers"), f"log:\n{victim.log_tail()}")
    print("refused to serve with data that differ", flush=True)
    victim.start()
    wait_for("an alarm", lambda: alarms(leader))
    expect(alarms(victim) == [(identity, CORRUPT)], f"alarms {alarms(victim)}, damaged {identity}")
    for server in servers:
        check_behaviour(server, lease)
    for server in servers:
        server.stop()
    for server in servers:
        server.spawn()
    # Whoever leads now holds itself to be right, so that another one may be named as well.
    wait_for("members are back", lambda: (identity, CORRUPT) in alarms(servers[2]))
    wait_for("they refuse", lambda: check_behaviour(leader_of(servers), lease))
    for member, _ in alarms(servers[0]):
        disarm(servers[0], member)
    wait_for("an alarm again", lambda: alarms(servers[0]))
    for server in servers:
        server.stop()
    print("the leader's check names the damaged follower, after a disarming again", flush=True)


def all_check_at_once(scratch):
    """Members that restart together answer each other while they check."""
    servers = make_cluster(scratch, "together", [])
    fill(servers[0])
    wait_until_equal(servers)
    for server in servers:
        server.stop()
    for server in servers:
        server.spawn(["--feature-gates=InitialCorruptCheck=true"])
    for server in servers:
        server.wait_ready(LIMIT)
        expect(logged(server, "initial corruption checking passed"), f"{server.name} has not checked")
    for server in servers:
        server.stop()
    print("all check each other at the start", flush=True)


def found_by_compaction(scratch, damage_leader):
    flags = ["--feature-gates=CompactHashCheck=true", "--compact-hash-check-time=300ms"]
    servers = make_cluster(scratch, "leading" if damage_leader else "following", flags)
    fill(servers[0])
    wait_until_equal(servers)
    wait_for("a check of all", lambda: logged(leader_of(servers), "successfully checked hash on whole cluster"))
    expect(not alarms(servers[0]), "an alarm although nothing is wrong")
    victim = leader_of(servers)
    identity = member_id(victim)
    victim.stop()
    damage(victim)
    victim.start()
    if damage_leader:
        wait_for("the damaged one leads", lambda: move_leader(servers, identity))
    elif leader_of(servers) is victim:
        raise etcd.Failure("a restarted member leads at once")
    with etcd.Client(servers[0]) as client:
        client.compact(client.revision())
    wait_for("an alarm", lambda: alarms(servers[0]))
    expect(alarms(servers[0]) == [(identity, CORRUPT)], f"alarms {alarms(servers[0])}, damaged {identity}")
    with etcd.Client(servers[1]) as client:
        expect(attempt(lambda: client.put(b"k", b"v")) == REFUSAL, "a put")
    for server in servers:
        server.stop()
    print(f"compactions name the damaged {'leader' if damage_leader else 'follower'}", flush=True)


def move_leader(servers, target):
    leader = leader_of(servers)
    if member_id(leader) == target:
        return True
    with etcd.Client(leader, timeout=5) as client:
        client.raw("/etcdserverpb.Maintenance/MoveLeader",
                   rpc.MoveLeaderRequest(targetID=target).SerializeToString())
    return member_id(leader_of(servers)) == target


def run(scratch):
    if not os.access(BOLT_TOOL, os.X_OK):
        etcd.skip("no tests/bolt/bolt_tool")
    like_real_etcd(scratch)
    all_check_at_once(scratch)
    refused_at_start(scratch)
    found_by_compaction(scratch, damage_leader=False)
    found_by_compaction(scratch, damage_leader=True)


etcd.main(run)
