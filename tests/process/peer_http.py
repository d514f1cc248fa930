#!/usr/bin/python3
"""What the peer port answers, asked of our server and of a real etcd 3.5 (ETCD35_BIN) with the same words: status, text and
the headers that other members look at. Members of any release read these answers, and some end for good on a wrong one.
"""
import sys

sys.dont_write_bytecode = True

import http.client
import os
import struct

import etcd
import wire
from etcd import expect

STRANGER = "abcdef0123456789"


def ask(server, method, path, body=None, headers=None, read_body=True):
    """(status, the headers that count, body)"""
    connection = http.client.HTTPConnection("127.0.0.1", server.peer_port, timeout=10)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        names = ("Allow", "Content-Type", "X-Etcd-Cluster-Id", "X-Server-Version")
        seen = {name: response.getheader(name) for name in names if response.getheader(name) is not None}
        return response.status, seen, response.read() if read_body else b""
    finally:
        connection.close()


def ids(server):
    with etcd.Client(server) as client:
        header = client.status_().header
        return f"{header.cluster_id:x}", f"{header.member_id:x}"


def heartbeat(to, sender):
    """A heartbeat of term 1, as POST /raft carries it."""
    return wire.message({1: 8, 2: to, 3: sender, 4: 1, 5: 0, 6: 0, 8: 0})


def questions(cluster_id, member_id):
    """name, method, path, body, headers"""
    member = {"X-Server-From": STRANGER, "X-Server-Version": "3.5.16", "X-Min-Cluster-Version": "3.0.0",
              "X-Etcd-Cluster-ID": cluster_id, "X-Raft-To": member_id}

    def but(**changes):
        return {**member, **{name.replace("_", "-"): value for name, value in changes.items()}}
    message = f"/raft/stream/message/{STRANGER}"
    append = f"/raft/stream/msgapp/{STRANGER}"
    own = int(member_id, 16)
    stranger = int(STRANGER, 16)
    lease = b"\x08\x81\x01"
    return [
        ("no such path", "GET", "/nothing", None, {}),
        ("no such raft path", "GET", "/raft/nothing", None, member),
        ("stream from a stranger", "GET", message, None, member),
        ("append stream from a stranger", "GET", append, None, member),
        ("stream of another cluster", "GET", message, None, but(X_Etcd_Cluster_ID="1")),
        ("stream without a cluster", "GET", message, None,
         {name: value for name, value in member.items() if name != "X-Etcd-Cluster-ID"}),
        ("stream of an old version", "GET", message, None, but(X_Server_Version="2.3.8")),
        ("stream without a version", "GET", message, None,
         {name: value for name, value in member.items() if name != "X-Server-Version"}),
        ("stream of a version to come", "GET", message, None,
         but(X_Server_Version="9.9.0", X_Min_Cluster_Version="9.9.0")),
        ("stream with the wrong method", "POST", message, b"", member),
        ("stream of no kind", "GET", f"/raft/stream/other/{STRANGER}", None, member),
        ("stream below a path", "GET", f"/raft/stream/message/more/{STRANGER}", None, member),
        ("stream from no id", "GET", "/raft/stream/message/xyz", None, member),
        ("stream from a long id", "GET", f"/raft/stream/message/1{STRANGER}", None, member),
        ("message with the wrong method", "GET", "/raft", None, member),
        ("message of another cluster", "POST", "/raft", heartbeat(own, stranger), but(X_Etcd_Cluster_ID="1")),
        ("message of an old version", "POST", "/raft", heartbeat(own, stranger), but(X_Server_Version="2.3.8")),
        ("no message", "POST", "/raft", b"\xff\xff\xff", member),
        ("snapshot with the wrong method", "GET", "/raft/snapshot", None, member),
        ("snapshot of another cluster", "POST", "/raft/snapshot", b"", but(X_Etcd_Cluster_ID="1")),
        ("members with the wrong method", "POST", "/members", b"", {}),
        ("hash with the wrong method", "POST", "/members/hashkv", b"", {}),
        ("hash of another cluster", "GET", "/members/hashkv", b'{"revision":1}', {"X-Etcd-Cluster-ID": "1"}),
        ("hash of no revision", "GET", "/members/hashkv", b"revision", {"X-Etcd-Cluster-ID": cluster_id}),
        ("hash of the future", "GET", "/members/hashkv", b'{"revision":1000}', {"X-Etcd-Cluster-ID": cluster_id}),
        ("hash of the past", "GET", "/members/hashkv", b'{"revision":2}', {"X-Etcd-Cluster-ID": cluster_id}),
        ("version with the wrong method", "POST", "/version", b"", {}),
        ("downgrade", "GET", "/downgrade/enabled", None, {}),
        ("downgrade with the wrong method", "POST", "/downgrade/enabled", b"", {}),
        ("lease with the wrong method", "GET", "/leases", None, {}),
        ("unknown lease kept alive", "POST", "/leases", lease, {}),
        ("no lease kept alive", "POST", "/leases", b"\xff", {}),
        ("promotion with the wrong method", "GET", "/members/promote/1", None, {}),
        ("promotion of nobody", "POST", "/members/promote/1", b"", {}),
        ("promotion of a voter", "POST", f"/members/promote/{own}", b"", {}),
        ("promotion of no id", "POST", "/members/promote/xyz", b"", {}),
        ("promotion without an id", "POST", "/members/promote/", b"", {}),
        ("unknown lease looked up", "POST", "/leases/internal", b"\x0a" + struct.pack("B", len(lease)) + lease, {}),
    ]


def answers(server):
    cluster_id, member_id = ids(server)
    seen = {}
    for name, method, path, body, headers in questions(cluster_id, member_id):
        status, found, text = ask(server, method, path, body, headers)
        if "X-Etcd-Cluster-Id" in found:
            expect(found["X-Etcd-Cluster-Id"] == cluster_id, f"{name}: the cluster is {found}")
            found["X-Etcd-Cluster-Id"] = "its own"
        if "X-Server-Version" in found:
            expect(len(found["X-Server-Version"].split(".")) == 3, f"{name}: a version that ends members: {found}")
            found["X-Server-Version"] = "its own"
        seen[name] = (status, found, text)
    return seen


def fill(server):
    server.start()
    with etcd.Client(server) as client:
        for number in range(10):
            client.put(b"key%d" % number, b"value")
        client.compact(5)
        expect(client.hash_kv().compact_revision == 5, "the compaction did not happen")


def run(scratch):
    etcd35 = os.path.join(etcd.ETCD35, "etcd")
    if not etcd.ETCD35 or not os.access(etcd35, os.X_OK):
        etcd.skip("no etcd 3.5 (set ETCD35_BIN to its directory)")
    ours, real = scratch.server("ours"), scratch.server("real", program=etcd35)
    fill(ours)
    fill(real)
    got, wanted = answers(ours), answers(real)
    different = [f"{name}:\n  ours {got[name]}\n  etcd {wanted[name]}" for name in wanted if got[name] != wanted[name]]
    expect(not different, f"{len(different)} of {len(wanted)} answers differ\n" + "\n".join(different))
    for server in (ours, real):
        status, _, text = ask(server, "GET", "/raft/probing")
        expect(status == 200 and text.startswith(b'{"OK":true,"Now":"') and text.endswith(b'"}\n'), f"probing: {text}")
        status, headers, text = ask(server, "GET", "/members")
        member_id = ids(server)[1]
        expect(status == 200 and b'"id":%d,"peerURLs":["%s"],"name":"%s"' % (
            int(member_id, 16), server.peer_url.encode(), server.name.encode()) in text, f"members: {text}")
        status, _, text = ask(server, "GET", "/version")
        expect(status == 200 and text.startswith(b'{"etcdserver":"3.'), f"version: {text}")
        status, headers, text = ask(server, "GET", "/members/hashkv", b'{"revision":9}',
                                    {"X-Etcd-Cluster-ID": ids(server)[0]})
        expect(headers == {"Content-Type": "application/json", "X-Etcd-Cluster-Id": ids(server)[0]},
               f"hashkv: {headers}")
        expect(status == 200 and b'"header":{' in text and b'"compact_revision":5' in text, f"hashkv: {text}")
        with etcd.Client(server) as client:
            lease = client.grant(100, lease=77).ID
        renewed = ask(server, "POST", "/leases", b"\x08%c" % lease)
        expect(renewed == (200, {"Content-Type": "application/protobuf"}, b"\x10%c\x18d" % lease),
               f"a lease kept alive: {renewed}")
    hashes = {ask(server, "GET", "/members/hashkv", b'{"revision":9}')[2].split(b'"hash":')[1].split(b",")[0]
              for server in (ours, real)}
    expect(len(hashes) == 1, f"the hashes differ: {hashes}")
    print(f"{len(wanted)} answers are etcd's")
    ours.stop()


etcd.main(run)
