#!/usr/bin/python3
"""What an operator orders a cluster to do, by our etcdctl: lead from there, go back to the version before.

Three members; leadership goes to each of them in turn, and to nobody who cannot have it. A downgrade is refused unless
it leads one minor version down; while one is on, the cluster's version goes there, and with its end it comes back.
"""
import sys

sys.dont_write_bytecode = True

import json
import os
import subprocess
import time
import urllib.request

import etcd
from etcd import expect

ETCDCTL = os.path.abspath(os.environ.get("ETCDCTL_BIN", "./etcdctl"))
LIMIT = 30


def wait_for(what, look):
    deadline = time.monotonic() + LIMIT
    while time.monotonic() < deadline:
        found = look()
        if found:
            return found
        time.sleep(0.05)
    raise etcd.Failure(f"{what}: not within {LIMIT} s")


def etcdctl(server, *words):
    done = subprocess.run([ETCDCTL, "--endpoints", server.endpoint, *words], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.strip(), done.stderr.strip()


def status(server):
    code, output, errors = etcdctl(server, "endpoint", "status", "-w", "json")
    expect(code == 0, f"endpoint status of {server.name}: {errors}")
    return json.loads(output)[0]["Status"]


def cluster_version(server):
    with urllib.request.urlopen(server.endpoint + "/version", timeout=5) as answer:
        return json.loads(answer.read())["etcdcluster"]


def members_move_the_leader(servers, ids):
    for target, member in ids.items():
        leader_id = status(servers[0])["leader"]
        leader = next(server for server in servers if ids[server.name] == leader_id)
        other = next(server for server in servers if server is not leader)
        code, _, errors = etcdctl(other, "move-leader", f"{member:x}")
        expect(code != 0 and "no leader endpoint given at" in errors, f"a follower moved the leader: {errors}")
        code, _, errors = etcdctl(leader, "move-leader", "1234")
        expect(code != 0 and errors.endswith("etcdserver: bad leader transferee"), f"an unknown member: {errors}")
        code, output, errors = etcdctl(leader, "move-leader", f"{member:x}")
        expect(code == 0 and output == f"Leadership transferred from {leader_id:x} to {member:x}",
               f"to {target}: {output} {errors}")
        expect(status(leader)["leader"] == member, f"{target} does not lead")
        # Who has just been elected learns of it by messages that may still be on their way.
        wait_for("all know the leader", lambda: all(status(server)["leader"] == member for server in servers))


def a_downgrade_is_one_step(servers):
    wait_for("cluster version 3.6", lambda: cluster_version(servers[1]) == "3.6.0")
    for words, text in ((("validate", "3.4"), "etcdserver: invalid downgrade target version"),
                        (("enable", "3.6.0"), "etcdserver: invalid downgrade target version"),
                        (("validate", "3.x"), "etcdserver: wrong downgrade target version format")):
        code, _, errors = etcdctl(servers[0], "downgrade", *words)
        expect(code != 0 and errors.endswith(text), f"downgrade {words}: {errors}")
    code, output, errors = etcdctl(servers[0], "downgrade", "validate", "3.5.12")
    expect((code, output) == (0, "Downgrade validate success, cluster version 3.6"), f"validate: {output} {errors}")
    expect("enabled" not in status(servers[0])["downgradeInfo"], "validating enables")


def a_downgrade_moves_the_version(servers):
    code, output, errors = etcdctl(servers[0], "downgrade", "enable", "3.5")
    expect((code, output) == (0, "Downgrade enable success, cluster version 3.6"), f"enable: {output} {errors}")
    wait_for("all know of the downgrade", lambda: all(
        status(server)["downgradeInfo"] == {"enabled": True, "targetVersion": "3.5.0"} for server in servers))
    begun = time.monotonic()
    wait_for("cluster version 3.5", lambda: all(cluster_version(server) == "3.5.0" for server in servers))
    print(f"the cluster version followed after {time.monotonic() - begun:.1f} s")
    code, _, errors = etcdctl(servers[1], "downgrade", "enable", "3.4")
    expect(code != 0 and errors.endswith("etcdserver: cluster has a downgrade job in progress"), f"twice: {errors}")
    for _ in range(2):  # there need not be one
        code, output, errors = etcdctl(servers[2], "downgrade", "cancel")
        expect(code == 0 and output.startswith("Downgrade cancel success, cluster version 3."),
               f"cancel: {output} {errors}")
    wait_for("cluster version 3.6", lambda: all(cluster_version(server) == "3.6.0" for server in servers))
    expect(all("enabled" not in status(server)["downgradeInfo"] for server in servers), "it is still enabled")


def run(scratch):
    if not os.access(ETCDCTL, os.X_OK):
        etcd.skip(f"{ETCDCTL} is not there")
    servers = [scratch.server(name, flags=["--max-cluster-version=3.6", "--downgrade-check-time=200ms"]) for name in ("a", "b", "c")]
    together = ",".join(f"{server.name}={server.peer_url}" for server in servers)
    for server in servers:
        server.initial_cluster = together
        server.spawn()
    for server in servers:
        server.wait_ready(LIMIT)
    ids = {server.name: status(server)["header"]["member_id"] for server in servers}
    members_move_the_leader(servers, ids)
    a_downgrade_is_one_step(servers)
    a_downgrade_moves_the_version(servers)
    for server in servers:
        server.stop()


etcd.main(run)
