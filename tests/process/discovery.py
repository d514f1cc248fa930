#!/usr/bin/python3
"""Members that find each other: at another etcd (--discovery-endpoints), and by SRV records of a domain (--discovery-srv).

Three members come up one after the other, knowing nothing but the service; a fourth is told that the cluster is full. The
service is an etcd of ours, and a real one (ETCD35_BIN); the members are ours, or ours and real ones together. A service that
falls silent is noticed by its members. SRV records come from a server in this script, in a mount namespace where
/etc/resolv.conf names it; without the rights for one that part is skipped.
"""
import sys

sys.dont_write_bytecode = True

import os
import socket
import struct
import subprocess
import tempfile
import threading
import time

import certificates
import clusters
import etcd
from etcd import expect

DOMAIN = "cluster.example"


def put(server, key, value):
    with etcd.Client(server) as client:
        client.put(key.encode(), value.encode())


def names_of(server):
    with etcd.Client(server) as client:
        return sorted(member.name for member in client.member_list_().members)


def members_of(scratch, prefix, programs, flags):
    servers = [scratch.server(f"{prefix}{i}", program=program, flags=flags) for i, program in enumerate(programs)]
    for server in servers:
        server.initial_cluster = ""  # an empty flag is no flag
    return servers


def is_one_cluster(servers):
    for server in servers:
        server.wait_ready()
    for server in servers:
        wanted = sorted(other.name for other in servers)
        clusters.wait_for(f"all members at {server.name}", lambda: names_of(server) == wanted)
    with etcd.Client(servers[0]) as client:
        client.put(b"found", b"each other")
    for server in servers:
        with etcd.Client(server) as client:
            expect(client.get(b"found").count == 1, f"{server.name} does not have the key")


def by_registry(scratch, prefix, service, programs):
    token = "token-" + prefix
    flags = [f"--discovery-endpoints={service.endpoint}", f"--discovery-token={token}"]
    servers = members_of(scratch, prefix, programs, flags)
    servers[0].spawn()
    if programs[0] == etcd.OURS:
        ended = servers[0].process.wait(30)
        expect(ended == 1 and "discovery: size key not found" in servers[0].log_tail(), servers[0].log_tail())
    else:
        servers[0].kill()
    put(service, f"/_etcd/registry/{token}/_config/size", "3")
    for server in servers:
        server.spawn()
    is_one_cluster(servers)
    late = members_of(scratch, prefix + "late", [etcd.OURS], flags)[0]
    late.spawn()
    expect(late.process.wait(30) == 1 and "discovery: cluster is full" in late.log_tail(), late.log_tail())
    # Who is a member already does not ask again.
    servers[0].kill()
    put(service, f"/_etcd/registry/{token}/_config/size", "1")
    servers[0].start()
    for server in servers:
        server.kill()
    print(f"three members found each other at {os.path.basename(os.path.dirname(service.program))}/etcd", flush=True)


def refusals(scratch):
    for flags, text in (
            (["--discovery-token=t"], "both --discovery-token and --discovery-endpoints must be set"),
            (["--discovery-endpoints=http://127.0.0.1:1", "--discovery-token=t", "--initial-cluster=default=http://localhost:2380"],
             "multiple discovery or bootstrap flags are set"),
            ([f"--discovery-srv={DOMAIN}", "--initial-cluster=default=http://localhost:2380"],
             "multiple discovery or bootstrap flags are set")):
        ended = subprocess.run([etcd.OURS, f"--data-dir={scratch.path('refused')}", *flags], capture_output=True, text=True,
                               timeout=20, check=False)
        expect(ended.returncode == 1 and text in ended.stderr, f"{flags}: {ended.stderr}")


def by_secure_registry(scratch):
    """The service asks for a certificate and for a user; a member that has neither is not let in."""
    if certificates.OPENSSL is None:
        print("no discovery over TLS: openssl is not there", flush=True)
        return
    authority = certificates.Authority(scratch.path("ca"), "ca")
    server_pair = authority.issue("server", names="IP:127.0.0.1")
    client_pair = authority.issue("client")
    stranger_authority = certificates.Authority(scratch.path("other-ca"), "other-ca")
    service = scratch.server("secure", security=certificates.Security(authority, server_pair, client_pair)).start()
    tool = [os.path.join(os.path.dirname(etcd.OURS), "etcdctl"), f"--endpoints={service.endpoint}",
            *service.security.tool_flags()]
    for words in (["user", "add", "root:secret"], ["user", "grant-role", "root", "root"],
                  ["put", "/_etcd/registry/safe/_config/size", "1"],
                  ["put", "/_etcd/registry/careless/_config/size", "1"], ["auth", "enable"]):
        ran = subprocess.run([*tool, *words], capture_output=True, text=True, timeout=60, check=False)
        expect(ran.returncode == 0, f"{words}: {ran.stdout}{ran.stderr}")
    asked = [f"--discovery-endpoints={service.endpoint}", "--discovery-token=safe", "--discovery-insecure-transport=false",
             f"--discovery-cacert={authority.certificate}", f"--discovery-cert={client_pair.certificate}",
             f"--discovery-key={client_pair.key}", "--discovery-dial-timeout=5s", "--discovery-request-timeout=5s"]
    let_in, stranger = (members_of(scratch, name, [etcd.OURS], flags)[0] for name, flags in (
        ("safe", asked + ["--discovery-user=root", "--discovery-password=secret"]),
        ("wrong", asked + ["--discovery-user=root", "--discovery-password=guess"])))
    stranger.spawn()
    expect(stranger.process.wait(60) == 1 and "authentication failed" in stranger.log_tail(), stranger.log_tail())
    let_in.start()
    expect(names_of(let_in) == [let_in.name], "a cluster of one, found by TLS")
    for server in (let_in, stranger):
        for word in ("secret", "guess"):
            expect(word not in server.log_tail(1 << 20), f"the password is in the log of {server.name}")
    let_in.stop()
    doubting = [flag.replace("=safe", "=careless") for flag in asked if "cacert" not in flag] + [
        f"--discovery-cacert={stranger_authority.certificate}", "--discovery-user=root", "--discovery-password=secret",
        "--discovery-dial-timeout=1s"]
    careful, careless = (members_of(scratch, name, [etcd.OURS], flags)[0] for name, flags in (
        ("careful", doubting), ("careless", doubting + ["--discovery-insecure-skip-tls-verify"])))
    careful.spawn()
    expect(careful.process.wait(60) == 1 and "certificate" in careful.log_tail(), careful.log_tail())
    careless.start()
    careless.stop()
    service.stop()
    print("a member was let in by certificate and password", flush=True)


# ---- a service that falls silent ----

class Relay(threading.Thread):
    """Passes connections on to a service. While it is deaf, nothing on the first of them; it looks for HTTP/2 pings there."""

    def __init__(self, service):
        super().__init__(daemon=True)
        self.service = service
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.endpoint = f"http://127.0.0.1:{self.socket.getsockname()[1]}"
        self.deaf = False
        self.connections = 0
        self.pinged = self.closed = None  # when, while it was deaf

    def run(self):
        while True:
            client, _ = self.socket.accept()
            self.connections += 1
            service = socket.create_connection(("127.0.0.1", self.service.port))
            arguments = client, service, self.connections == 1
            threading.Thread(target=self.pass_requests, args=arguments, daemon=True).start()
            threading.Thread(target=self.pass_answers, args=arguments, daemon=True).start()

    def pass_answers(self, client, service, is_first):
        while data := receive(service):
            if not (is_first and self.deaf):
                client.sendall(data)

    def pass_requests(self, client, service, is_first):
        seen, at = b"", len(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        while data := receive(client):
            seen += data
            while len(seen) >= at + 9:
                size, kind, flags = int.from_bytes(seen[at:at + 3], "big"), seen[at + 3], seen[at + 4]
                at += 9 + size
                if is_first and self.deaf and kind == 6 and not flags & 1 and self.pinged is None:
                    self.pinged = time.monotonic()
            if not (is_first and self.deaf):
                service.sendall(data)
        if is_first and self.deaf:
            self.closed = time.monotonic()
        service.close()


def receive(connection):
    try:
        return connection.recv(65536)
    except OSError:
        return b""


def by_silent_registry(scratch):
    """One member asks after ten seconds of silence whether the service is there, and turns to it anew a second later; another
    one would wait for an hour. Ten seconds are the least that gRPC allows."""
    service = scratch.server("silent").start()
    members, relays = [], []
    for name, often in (("soon", "10s"), ("late", "1h")):
        put(service, f"/_etcd/registry/{name}/_config/size", "2")
        relay = Relay(service)
        relay.start()
        member, = members_of(scratch, name, [etcd.OURS], [
            f"--discovery-endpoints={relay.endpoint}", f"--discovery-token={name}", f"--discovery-keepalive-time={often}",
            "--discovery-keepalive-timeout=1s"])
        member.spawn()
        members.append(member)
        relays.append(relay)
    for member in members:
        clusters.wait_for(f"{member.name} waits", lambda: "waiting for peers from discovery service" in member.log_tail())
    begun = time.monotonic()
    for relay in relays:
        relay.deaf = True
    soon, late = relays
    clusters.wait_for("a ping and the end of the connection", lambda: soon.closed)
    expect(soon.pinged is not None and soon.pinged - begun > 8, f"a ping after {soon.pinged} - {begun}")
    expect(soon.closed - soon.pinged < 5, f"closed {soon.closed - soon.pinged} s after a ping")
    expect(late.pinged is None and late.closed is None, "a ping in spite of --discovery-keepalive-time=1h")
    put(service, "/_etcd/registry/soon/members/1", "other=http://127.0.0.1:1")
    clusters.wait_for("the other member is found", lambda: "found the whole cluster" in members[0].log_tail(1 << 16))
    expect(soon.connections > 1, "no second connection")
    for member in members:
        member.kill()
    service.stop()
    print(f"a silent service was noticed after {soon.closed - begun:.0f} s", flush=True)


# ---- the DNS ----

def name_bytes(name):
    return b"".join(bytes([len(part)]) + part.encode() for part in name.rstrip(".").split(".")) + b"\0"


class Dns(threading.Thread):
    """Answers SRV queries for one name, and addresses of the hosts in its records, over UDP."""

    def __init__(self, service, ports):
        super().__init__(daemon=True)
        self.service, self.ports = service, ports
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.53", 53))

    def answers(self, name, kind):
        if kind == 33 and name == self.service:
            return [struct.pack(">HHH", 0, 1, port) + name_bytes(f"m{i}.{DOMAIN}") for i, port in enumerate(self.ports)]
        if kind == 1 and name.endswith(DOMAIN) and not name.startswith("_"):
            return [socket.inet_aton("127.0.0.1")]
        return []

    def run(self):
        while True:
            query, source = self.socket.recvfrom(4096)
            at, parts = 12, []
            while query[at]:
                parts.append(query[at + 1:at + 1 + query[at]].decode())
                at += query[at] + 1
            kind, = struct.unpack(">H", query[at + 1:at + 3])
            question = query[12:at + 5]
            found = self.answers(".".join(parts).lower(), kind)
            known = found or ".".join(parts).lower().endswith(DOMAIN) and not parts[0].startswith("_")
            head = query[:2] + struct.pack(">HHHHH", 0x8580 if known else 0x8583, 1, len(found), 0, 0)
            rows = [b"\xc0\x0c" + struct.pack(">HHIH", kind, 1, 60, len(data)) + data for data in found]
            self.socket.sendto(head + question + b"".join(rows), source)


def by_srv(scratch):
    servers = members_of(scratch, "srv", [etcd.OURS] * 3, [f"--discovery-srv={DOMAIN}", "--discovery-srv-name=x"])
    Dns(f"_etcd-server-x._tcp.{DOMAIN}", [server.peer_port for server in servers]).start()
    stranger = scratch.server("stranger", flags=[f"--discovery-srv={DOMAIN}", "--discovery-srv-name=x"])
    nowhere = scratch.server("nowhere", flags=["--discovery-srv=no.such.example"])
    for server, text in ((stranger, 'cannot find local etcd member'), (nowhere, "no such host")):
        server.initial_cluster = ""
        server.spawn()
        expect(server.process.wait(60) == 1 and text in server.log_tail(), server.log_tail())
    for server in servers:
        server.spawn()
    is_one_cluster(servers)
    for server in servers:
        server.kill()
    print("three members found each other by SRV records", flush=True)


def by_srv_in_namespace(scratch):
    """This script again, where the resolver is ours."""
    with tempfile.NamedTemporaryFile("w", dir=scratch.directory, delete=False) as resolver:
        resolver.write("nameserver 127.0.0.53\noptions timeout:2 attempts:1\n")
    script = ('mount --bind "$1" "$(readlink -f /etc/resolv.conf)" && ip link set lo up && shift && exec "$@"')
    command = ["unshare", "--mount", "--net", "sh", "-c", script, "sh", resolver.name]
    if os.geteuid() != 0:
        command[1:1] = ["--map-root-user"]
    probe = subprocess.run([*command, "true"], capture_output=True, text=True, timeout=20, check=False)
    if probe.returncode != 0:
        print(f"no SRV records: {probe.stderr.strip()}", flush=True)
        return
    again = subprocess.run([*command, sys.executable, os.path.abspath(__file__), "srv"], capture_output=True, text=True,
                           timeout=300, check=False)
    print(again.stdout, end="")
    expect(again.returncode == 0, again.stderr)


def by_services(scratch):
    refusals(scratch)
    service = scratch.server("service").start()
    by_registry(scratch, "ours", service, [etcd.OURS] * 3)
    real = os.path.join(etcd.ETCD35, "etcd")
    if etcd.ETCD35 and os.access(real, os.X_OK):
        real_service = scratch.server("real", program=real).start()
        by_registry(scratch, "atreal", real_service, [etcd.OURS] * 3)
        real_service.stop()
    service.stop()
    by_secure_registry(scratch)
    by_srv_in_namespace(scratch)


def run(scratch):
    if sys.argv[1:] == ["srv"]:
        by_srv(scratch)
    else:
        etcd.side_by_side([("a silent service", lambda: by_silent_registry(scratch)),
                           ("services that answer", lambda: by_services(scratch))])


etcd.main(run)
