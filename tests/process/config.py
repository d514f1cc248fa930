#!/usr/bin/python3
"""Every option of the table: accepted from a file, as a flag and as a variable, shown in the start-up log, and with the
effect that its row promises.

The rows come from the program itself (tests/unit/test_options --rows). Each live one must be in EFFECTS, with the check here
that shows its effect, or the test elsewhere that does. What is wrong with wrong values is tests/unit/test_options' business.
"""
import http.client
import json
import os
import re
import signal
import socket
import ssl
import struct
import subprocess
import threading
import time

import grpc

import etcd
import certificates
import network
from etcd import OURS, expect

HERE = os.path.dirname(os.path.abspath(__file__))
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("ETCD_")}
ETCDCTL = os.path.join(os.path.dirname(OURS), "etcdctl")
# Built without sanitizers, which do not let memory be locked.
RELEASE = os.path.join(os.environ.get("RELEASE_DIR", "/nowhere"), "etcd")


class Row:
    def __init__(self, line):
        self.name, self.use, self.type, self.initial, self.file, self.logged = line.split("\t")


def read_rows():
    listed = subprocess.run(["./tests/unit/test_options", "--rows"], capture_output=True, text=True, check=True)
    rows = [Row(line) for line in listed.stdout.splitlines()]
    expect(len(rows) > 150, f"{len(rows)} rows")
    return rows


def log_lines(server):
    with open(server.log_path, encoding="utf-8") as log:
        return [json.loads(line) for line in log if line.startswith("{")]


def wait_for(condition, message, timeout=30):
    deadline = time.monotonic() + timeout
    while not condition():
        expect(time.monotonic() < deadline, message)
        time.sleep(0.05)


def line_of(server, message):
    return next((line for line in log_lines(server) if line["msg"] == message), None)


def get(port, path):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body


def metric(server, name):
    found = re.search(rf"^{re.escape(name)} (\S+)$", get(server.port, "/metrics")[1], re.MULTILINE)
    expect(found is not None, f"no {name}")
    return float(found.group(1))


# ---- accepted and shown, whatever the source ----

# Options whose values are files, accounts or other servers: their own tests start servers with them.
ELSEWHERE = re.compile(r"(peer-)?(client-)?(cert|key)-file|(peer-)?trusted-ca-file|(client|peer)-crl-file|(peer-)?auto-tls|"
                       r"(peer-)?client-cert-auth|(client|peer)-cert-allowed-.*|(peer-)?skip-client-san-verification|"
                       r"self-signed-cert-validity|cipher-suites|tls-.*-version|auth-token|auth-token-ttl|bcrypt-cost|"
                       r"force-new-cluster|initial-cluster-state|corrupt-check-time|compact-hash-check-time|"
                       r"discovery-(token|endpoints|srv)|config-file|version")
# (what stands in the source, what stands in the log); others get a value that their type suggests.
VALUES = {
    "name": ("m7", "m7"),
    "initial-cluster-token": ("token-7", "token-7"),
    "heartbeat-interval": ("150", "150ms"),
    "election-timeout": ("1500", "1.5s"),
    "snapshot-count": ("9000", 9000),
    "max-request-bytes": ("2000000", 2000000),
    "quota-backend-bytes": ("100000000", 100000000),
    "io-threads": ("2", 2),
    "max-cluster-version": ("3.6", "3.6"),
    "auto-compaction-mode": ("revision", "revision"),
    "auto-compaction-retention": ("1000", 1000),
    "cors": ("http://a.example:80", ["http://a.example:80"]),
    "host-whitelist": ("127.0.0.1,localhost", ["127.0.0.1", "localhost"]),
    "logger": ("zap", "zap"),
    "log-level": ("debug", "debug"),
    "log-format": ("json", "json"),
    "enable-log-rotation": ("true", True),
    "log-rotation-config-json": ('{"maxsize":5}', '{"maxsize":5}'),
    "metrics": ("extensive", "extensive"),
    "feature-gates": ("TxnModeWriteWithSharedBuffer=false", "TxnModeWriteWithSharedBuffer=false"),
    "memory-mlock": ("false", False),  # the system may not let us: check_memory_lock
    "auth-token-ttl": ("307", 307),
    "bcrypt-cost": ("8", 8),
    "cipher-suites": ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"]),
    "compact-hash-check-time": ("17s", "17s"),
    "corrupt-check-time": ("17s", "17s"),
    "initial-cluster-state": ("new", "new"),
    "peer-skip-client-san-verification": ("true", True),
    "skip-client-san-verification": ("true", True),
    "self-signed-cert-validity": ("2", 2),
    "tls-max-version": ("TLS1.3", "TLS1.3"),
    "discovery-fallback": ("proxy", "proxy"),
    "discovery-password": ("secret", "***"),
    "distributed-tracing-address": ("localhost:4318", "localhost:4318"),
}


def suggest(row):
    if row.type == "bool":
        value = row.initial != "true"
        return "true" if value else "false", value
    if row.type in ("uint", "uint32", "int"):
        value = int(row.initial) - 1 if row.type == "uint32" else int(row.initial) + 7
        return str(value), value
    if row.type == "duration":
        return "17s", "17s"
    expect(row.type == "string", f"{row.name}: no value is known for a test of a {row.type}")
    return "text", "text"


def choose_values(rows, scratch, name):
    """A value other than the default for every option that a lone server can have."""
    client, peer, web, metrics = etcd.free_ports(4)
    url = lambda port: f"http://127.0.0.1:{port}"
    own = dict(VALUES)
    own["data-dir"] = (scratch.path(name),) * 2
    own["wal-dir"] = (scratch.path(name + ".wal"),) * 2
    own["log-outputs"] = (f"stderr,{scratch.path(name)}.rotated", ["stderr", scratch.path(name) + ".rotated"])
    own["initial-cluster"] = (f"m7={url(peer)}",) * 2
    for key, port in (("listen-client-urls", client), ("advertise-client-urls", client), ("listen-peer-urls", peer),
                      ("initial-advertise-peer-urls", peer), ("listen-client-http-urls", web),
                      ("listen-metrics-urls", metrics)):
        own[key] = (url(port), [url(port)])
    chosen = {}
    for row in rows:
        taken = row.name in own or not ELSEWHERE.fullmatch(row.name)
        if row.logged != "-" and row.use in ("live", "without-effect") and taken:
            chosen[row.name] = own.get(row.name) or suggest(row)
    return chosen, client


def write_block(block, depth=0):
    return "".join(f"{'  ' * depth}{key}:" + (f" {value}\n" if isinstance(value, str) else "\n" + write_block(value, depth + 1))
                   for key, value in block.items())


def yaml_of(rows, chosen):
    """The values as a YAML file, blocks where the rows have them."""
    top = {}
    for row in rows:
        if row.name not in chosen or row.file == "":
            continue
        text, shown = chosen[row.name]
        if row.type == "list":
            text = "[" + ", ".join(f"'{item}'" for item in shown) + "]"
        elif row.type not in ("bool", "uint", "uint32", "int"):
            text = f"'{text}'"
        *blocks, key = row.file.split("/")
        place = top
        for block in blocks:
            place = place.setdefault(block, {})
        place[key] = text
    return write_block(top)


def start_with(scratch, name, client, arguments, environment):
    server = scratch.server(name)
    server.port, server.endpoint = client, f"http://127.0.0.1:{client}"
    with open(server.log_path, "ab") as log:
        server.process = subprocess.Popen([OURS, *arguments], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                          env={**CLEAN, **environment})
    server.wait_ready()
    return server


def check_source(rows, scratch, source):
    name = "from-" + source
    chosen, client = choose_values(rows, scratch, name)
    arguments, environment = [], {}
    if source == "file":
        path = scratch.path("all.yml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(yaml_of(rows, chosen))
        arguments = [f"--config-file={path}"]
        chosen = {row.name: chosen[row.name] for row in rows if row.name in chosen and row.file != ""}
    elif source == "flags":
        arguments = [f"--{key}={text}" for key, (text, _) in chosen.items()]
    else:
        environment = {"ETCD_" + key.upper().replace("-", "_"): text for key, (text, _) in chosen.items()}
    server = start_with(scratch, name, client, arguments, environment)
    line = line_of(server, "starting an etcd server")
    for row in rows:
        if row.name in chosen:
            expect(row.logged in line, f"{source}: {row.logged} is not in the start-up log")
            expect(line[row.logged] == chosen[row.name][1],
                   f"{source}: {row.logged} is {line[row.logged]!r} in the log, {chosen[row.name][1]!r} was said")
    unknown = [l for l in log_lines(server) if "unknown key" in l["msg"] or "unrecognized" in l["msg"]]
    expect(not unknown, f"{source}: {unknown}")
    server.stop()
    expect(os.path.getsize(scratch.path(name) + ".rotated") > 1000, f"{source}: the second output is empty")
    print(f"{len(chosen)} options from {source}", flush=True)


def check_refused(rows, scratch):
    """What this release does not have says so and does not start."""
    refused = [row for row in rows if row.use == "refused"]
    for row in refused:
        text = {"bool": "true" if row.initial != "true" else "false", "uint": "77", "duration": "7s"}.get(row.type, "x")
        ended = subprocess.run([OURS, f"--{row.name}={text}", f"--data-dir={scratch.path('refused')}"], env=CLEAN,
                               capture_output=True, text=True, timeout=20, check=False)
        expect(ended.returncode == 1 and f"--{row.name}={text}: " in ended.stderr, f"--{row.name}={text}: {ended.stderr}")
    print(f"{len(refused)} options refused", flush=True)


# ---- effects ----

def put_many(client, count, value=b"v"):
    for i in range(count):
        client.put(b"k%d" % i, value)


def expect_error(call, text):
    try:
        call()
    except grpc.RpcError as error:
        expect(text in error.details(), error.details())
        return
    raise etcd.Failure(f"no error with {text!r}")


def check_limits_and_threads(scratch):
    server = scratch.server("other", flags=[
        "--max-txn-ops=2", "--max-request-bytes=2000", "--io-threads=2", "--initial-cluster-token=z", "--max-cluster-version=3.6",
        "--watch-progress-notify-interval=100ms", "--enable-grpc-gateway=false", "--enable-pprof",
        "--feature-gates=FastLeaseKeepAlive=false"]).start()
    with etcd.Client(server) as client:
        put = etcd.rpc.RequestOp(request_put=etcd.rpc.PutRequest(key=b"a", value=b"b"))
        other = etcd.rpc.RequestOp(request_put=etcd.rpc.PutRequest(key=b"c", value=b"d"))
        third = etcd.rpc.RequestOp(request_put=etcd.rpc.PutRequest(key=b"e", value=b"f"))
        client.txn(success=[put, other])
        expect_error(lambda: client.txn(success=[put, other, third]), "etcdserver: too many operations in txn request")
        client.put(b"k", b"v" * 1500)
        expect_error(lambda: client.put(b"k", b"v" * 3000), "etcdserver: request is too large")
        member, = client.member_list_().members
        expect(member.name == "other" and list(member.clientURLs) == [server.endpoint] and
               list(member.peerURLs) == [server.peer_url], f"{member}")
        create = etcd.rpc.WatchCreateRequest(key=b"w", progress_notify=True)
        stream = client.watch(iter([etcd.rpc.WatchRequest(create_request=create)]))
        expect(next(stream).created and not next(stream).events, "a notification of progress")
        stream.cancel()
    tasks = f"/proc/{server.process.pid}/task"
    names = []
    for task in os.listdir(tasks):
        with open(f"{tasks}/{task}/comm", encoding="utf-8") as comm:
            names.append(comm.read().strip())
    expect(names.count("etcd-io") == 2, f"threads: {names}")
    wait_for(lambda: json.loads(get(server.port, "/version")[1])["etcdcluster"] == "3.6.0", "cluster version 3.6")
    expect(get(server.port, "/v3/kv/range")[0] == 404, "the gateway is there")
    expect(get(server.port, "/debug/pprof/")[0] == 200, "/debug/pprof/")
    expect('etcd_server_feature_enabled{name="FastLeaseKeepAlive",stage="BETA"} 0' in get(server.port, "/metrics")[1], "gate")
    expect(says(server, "the feature gate FastLeaseKeepAlive is ignored: "), "nothing is said of a gate without effect")
    server.stop()


def check_files(scratch):
    wal = scratch.path("wal-apart")
    server = scratch.server("files", flags=[f"--wal-dir={wal}", "--snapshot-count=10", "--snapshot-catchup-entries=5",
                                            "--log-level=debug"]).start()
    with etcd.Client(server) as client:
        put_many(client, 150)
    wait_for(lambda: "saved snapshot to disk" in server.log_tail(1 << 20), "no snapshot after 10 entries")
    expect(any(name.endswith(".wal") for name in os.listdir(wal)), "the log is not where it should be")
    expect(not os.path.exists(server.data + "/member/wal"), "a second log")
    expect(line_of(server, "starting an etcd server")["wal-dir-dedicated"] == wal, "wal-dir-dedicated")
    kept = [line["compact-index"] for line in log_lines(server) if line["msg"] == "compacted Raft logs"]
    expect(kept and max(kept) > 90, f"what is kept behind snapshots: {kept}")
    server.stop()


def commits(server):
    return metric(server, "etcd_disk_backend_commit_duration_seconds_count")


def check_batches(scratch):
    by_limit = scratch.server("by-limit", flags=["--backend-batch-interval=1h", "--backend-batch-limit=5"]).start()
    by_time = scratch.server("by-time", flags=["--backend-batch-interval=1h", "--unsafe-no-fsync"]).start()
    before = {server: commits(server) for server in (by_limit, by_time)}
    grown = lambda server: commits(server) - before[server]
    with etcd.Client(by_limit) as client, etcd.Client(by_time) as other:
        put_many(client, 50)
        # While one is under way there is no other: a slow disk has few for many puts.
        wait_for(lambda: grown(by_limit) >= 5 or put_many(client, 5), f"{grown(by_limit)} commits of five puts or more")
        put_many(other, 50)
    expect(grown(by_time) == 0, f"{grown(by_time)} commits within the interval")
    expect(metric(by_limit, "etcd_disk_wal_fsync_duration_seconds_count") > 50, "puts without a sync")
    synced = metric(by_time, "etcd_disk_wal_fsync_duration_seconds_count")
    expect(synced < 50, f"--unsafe-no-fsync: {synced} syncs")
    by_limit.stop()
    by_time.stop()


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, payload, stream=0):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def open_watch():
    """The headers of a call to Watch, plainly encoded, with END_HEADERS."""
    fields = ((b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/etcdserverpb.Watch/Watch"), (b":authority", b"x"),
              (b"content-type", b"application/grpc"), (b"te", b"trailers"))
    block = b"".join(b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value for name, value in fields)
    return frame(1, 4, block, stream=1)


def read_frames(connection, seconds):
    """(kind, flags, payload) of what comes until then or until the end; None marks the end."""
    data, deadline = b"", time.monotonic() + seconds
    while time.monotonic() < deadline:
        connection.settimeout(max(0.01, deadline - time.monotonic()))
        try:
            portion = connection.recv(65536)
        except TimeoutError:
            return
        except ConnectionError:
            portion = b""
        if not portion:
            yield None
            return
        data += portion
        while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
            size = int.from_bytes(data[:3], "big")
            yield data[3], data[4], data[9:9 + size]
            data = data[9 + size:]


def connect(server):
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=20)
    connection.sendall(PREFACE + frame(4, 0, b"") + open_watch())
    return connection


def ends_early(connection, pings):
    """Whether the server closes a connection that pings so often while it watches."""
    for _ in range(pings):
        try:
            connection.sendall(frame(6, 0, b"12345678"))
        except ConnectionError:
            return True
        time.sleep(0.02)
    return any(got is None or got[0] == 7 for got in read_frames(connection, 1))


def check_connections(scratch):
    strict = scratch.server("strict", flags=["--max-concurrent-streams=7", "--grpc-keepalive-interval=1s",
                                             "--grpc-keepalive-timeout=1s"]).start()
    patient = scratch.server("patient", flags=["--grpc-keepalive-min-time=1ms"]).start()
    connection = connect(strict)
    settings = next(got for got in read_frames(connection, 20) if got[0] == 4)
    values = dict(struct.iter_unpack(">HI", settings[2]))
    expect(values.get(3) == 7, f"SETTINGS of the server: {values}")
    # It is never answered: after a second it is asked, after another it is closed.
    kinds = [got and got[0] for got in read_frames(connection, 30)]
    expect(6 in kinds and kinds[-1] is None, f"frames on a silent connection: {kinds}")
    expect(ends_early(connect(strict), 12), "twelve pings in a moment are fine by default")
    expect(not ends_early(connect(patient), 12), "--grpc-keepalive-min-time=1ms forbids pings")
    for server in (strict, patient):
        server.stop()


def check_shared_port(scratch):
    first = scratch.server("port-1", flags=["--socket-reuse-port"]).start()
    second = scratch.server("port-2", flags=["--socket-reuse-port"])
    third = scratch.server("port-3")
    for server in (second, third):
        server.port, server.endpoint = first.port, first.endpoint
        server.spawn()
    expect(third.process.wait(30) == 1, "a port was shared without --socket-reuse-port")
    wait_for(lambda: "ready to serve client requests" in second.log_tail(1 << 20), "the second server of a shared port")
    second.stop()
    first.stop()


def start_three(scratch, name, flags_of):
    servers = [scratch.server(f"{name}{n}", flags=flags_of(n)) for n in range(3)]
    for server in servers:
        server.initial_cluster = ",".join(f"{other.name}={other.peer_url}" for other in servers)
        server.spawn()
    for server in servers:
        server.wait_ready()
    return servers


def leader_of(servers):
    leads = lambda server: metric(server, "etcd_server_is_leader") == 1
    wait_for(lambda: any(leads(server) for server in servers), "a leader")
    return next(server for server in servers if leads(server))


def says(server, text):
    return text in server.log_tail(1 << 20)


def check_timing(scratch):
    """A heartbeat a second is few bytes, and the shortest lease outlives an election."""
    servers = start_three(scratch, "slow", lambda n: ["--heartbeat-interval=1000", "--election-timeout=5000",
                                                      f"--pre-vote={'false' if n else 'true'}",
                                                      f"--initial-election-tick-advance={'false' if n == 1 else 'true'}"])
    leader = leader_of(servers)
    with etcd.Client(leader) as client:
        expect(client.grant(1).TTL == 7, "a lease must last one and a half election timeouts")
    sent = lambda: sum(float(value) for value in re.findall(r"^etcd_network_peer_sent_bytes_total\{.*\} (\S+)$",
                                                            get(leader.port, "/metrics")[1], re.MULTILINE))
    before = sent()
    time.sleep(3)
    grown = sent() - before
    expect(grown < 1000, f"an idle leader sent {grown} bytes in three seconds")
    expect(not any(says(server, "became pre-candidate") for server in servers[1:]), "--pre-vote=false")
    advanced = [says(server, "initialized peer connections; fast-forwarding election ticks") for server in servers]
    expect(not advanced[1] and (advanced[0] or advanced[2]), f"--initial-election-tick-advance: {advanced}")
    for server in servers:
        server.kill()


def check_silent_peer(scratch):
    """A leader sees that a follower, which is frozen, says nothing and takes nothing."""
    servers = start_three(scratch, "peer", lambda n: ["--raft-read-timeout=6s", "--raft-write-timeout=1s"])
    expect(line_of(servers[0], "starting an etcd server")["raft-write-timeout"] == "5s", "the least is 5 s")
    leader = leader_of(servers)
    frozen = next(server for server in servers if server is not leader)
    frozen.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    try:
        with etcd.Client(leader) as client:
            put_many(client, 40, b"x" * 1000000)
        wait_for(lambda: says(leader, "nothing was heard for too long"), "--raft-read-timeout")
        expect(time.monotonic() - began > 4, "too soon")
        wait_for(lambda: says(leader, "the other member does not read"), "--raft-write-timeout")
    finally:
        frozen.process.send_signal(signal.SIGCONT)
    for server in servers:
        server.kill()


def check_learners(scratch):
    server = scratch.server("learners", flags=["--max-learners=2"]).start()
    add = lambda i: subprocess.run([ETCDCTL, f"--endpoints={server.endpoint}", "member", "add", f"l{i}", "--learner",
                                    f"--peer-urls=http://127.0.0.1:{i}"], env=CLEAN, capture_output=True, text=True,
                                   timeout=60, check=False)
    for i in (1, 2):
        added = add(i)
        expect(added.returncode == 0, f"learner {i}: {added.stdout}{added.stderr}")
    refused = add(3)
    expect(refused.returncode != 0 and "too many learner members in cluster" in refused.stdout + refused.stderr, f"{refused}")
    server.stop()


def check_compaction(scratch):
    server = scratch.server("compaction", flags=["--compaction-batch-limit=10", "--compaction-sleep-interval=100ms"]).start()
    with etcd.Client(server) as client:
        put_many(client, 60)
        began = time.monotonic()
        client.compact(client.revision() - 1)
        took = time.monotonic() - began
    expect(took > 0.4, f"60 revisions, 10 at a time with pauses of 100 ms, took {took} s")
    server.stop()


def check_defragmentation(scratch):
    server = scratch.server("sparse").start()
    with etcd.Client(server) as client:
        for i in range(30):
            client.put(b"k%d" % i, b"x" * 100000)
        client.delete(b"k", range_end=b"l")
        client.compact(client.revision())
    server.stop()
    server.start(["--bootstrap-defrag-threshold-megabytes=1000"])
    size = lambda: metric(server, "etcd_mvcc_db_total_size_in_bytes")
    before = size()
    skipped = line_of(server, "Skipping defragmentation")
    expect(skipped is not None and skipped["bootstrap-defrag-threshold"] == "1.0 GB", f"{skipped}")
    server.stop()
    server.start(["--bootstrap-defrag-threshold-megabytes=1"])
    expect(line_of(server, "finished defragmenting directory") is not None, "nothing was defragmented")
    with etcd.Client(server) as client:
        client.put(b"k", b"v")
        expect(client.get(b"k").count == 1, "a key after the defragmentation")
    expect(size() < before / 2, f"{before} bytes, {size()} after a defragmentation")
    server.stop()


def check_health_while_defragmenting(scratch):
    """With the gate, who watches the health learns that the member is being defragmented, and that it is over."""
    server = scratch.server("gate", flags=["--feature-gates=StopGRPCServiceOnDefrag=true"]).start()
    seen = []
    with etcd.Client(server) as client:
        for i in range(200):
            client.put(b"k%d" % i, b"x" * 100000)
        stream = client.channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=120)

        def collect():
            try:
                for message in stream:
                    seen.append(message[1])
            except grpc.RpcError:
                pass

        collector = threading.Thread(target=collect)
        collector.start()
        for _ in range(20):  # one that is over at once is not noticed
            ran = subprocess.run([ETCDCTL, f"--endpoints={server.endpoint}", "defrag"], env=CLEAN, capture_output=True, text=True,
                                 timeout=60, check=False)
            expect(ran.returncode == 0, ran.stdout + ran.stderr)
            if 2 in seen:
                break
        wait_for(lambda: seen[-1:] == [1] and 2 in seen, f"the health went {seen}")
        stream.cancel()
        collector.join()
    server.stop()


def check_local_address(scratch):
    """With the gate, connections to peers begin at the address that peers are told, even if it is the second of its kind."""
    reason = network.available()
    if reason is not None:
        print(f"SetMemberLocalAddr: {reason}", flush=True)
        return
    net = network.Network(scratch)
    servers = []
    for n in range(2):
        place = net.place()
        second = f"{net.prefix}.{100 + n}"
        subprocess.run(["ip", "-n", place.namespace, "addr", "add", f"{second}/24", "dev", "e0"], check=True)
        server = scratch.server(f"local{n}", place=place, flags=["--feature-gates=SetMemberLocalAddr=true"])
        url = f"http://{second}:{server.peer_port}"
        server.flags += [f"--listen-peer-urls={url}", f"--initial-advertise-peer-urls={url}"]
        server.second, server.told = second, f"{server.name}={url}"
        servers.append(server)
    for server in servers:
        server.initial_cluster = ",".join(other.told for other in servers)
        server.spawn()
    for server in servers:
        server.wait_ready()
    one, other = servers
    shown = subprocess.run([*one.place.command, "ss", "-Htn", "state", "established", "dst", other.second, "dport",
                            f"= {other.peer_port}"], capture_output=True, text=True, check=True).stdout.splitlines()
    starts = {line.split()[2].rpartition(":")[0] for line in shown}
    expect(starts == {one.second}, f"connections to the other member begin at {starts}")
    expect(line_of(one, "starting an etcd server")["local-address"] == one.second, "local-address in the log")
    for server in servers:
        server.kill()


def check_default_host(scratch):
    """Who listens on every address and was told no other advertises the one that the default route starts from."""
    reason = network.available()
    if reason is not None:
        print(f"detected default host: {reason}", flush=True)
        return
    net = network.Network(scratch)
    place = net.place()
    subprocess.run(["ip", "-n", place.namespace, "route", "add", "default", "via", f"{net.prefix}.1"], check=True)
    server = scratch.server("anywhere", place=place)
    client, peer = etcd.free_ports(2)
    config = scratch.path("anywhere.yml")
    with open(config, "w", encoding="utf-8") as file:
        file.write(f"name: anywhere\ndata-dir: {server.data}\nlisten-client-urls: http://0.0.0.0:{client}\n"
                   f"listen-peer-urls: http://0.0.0.0:{peer}\n")
    server.port, server.endpoint = client, f"http://{place.address}:{client}"
    with open(server.log_path, "ab") as log:
        server.process = subprocess.Popen([*place.command, OURS, f"--config-file={config}"], stdin=subprocess.DEVNULL, stdout=log,
                                          stderr=log, env=CLEAN)
    server.wait_ready()
    with etcd.Client(server) as connection:
        member, = connection.member_list_().members
        expect(list(member.clientURLs) == [server.endpoint] and list(member.peerURLs) == [f"http://{place.address}:{peer}"],
               f"{member}")
    expect(line_of(server, "detected default host for advertise")["host"] == place.address, "the host in the log")
    server.kill()


def check_certificates_to_show(scratch):
    """To other members a member shows the certificate that is for that; of clients only the allowed names come in."""
    if certificates.OPENSSL is None:
        print("no certificates: openssl is not there", flush=True)
        return
    authority = certificates.Authority(scratch.path("ca"), "ca")
    own, dialer, alice, bob = (authority.issue(name, names="IP:127.0.0.1") for name in ("own", "dialer", "alice", "bob"))
    security = certificates.Security(authority, own, alice, peers=True, flags=[
        f"--peer-client-cert-file={dialer.certificate}", f"--peer-client-key-file={dialer.key}"])
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=authority.certificate)
    context.load_cert_chain(own.certificate, own.key)
    context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(30)
        server = scratch.server("shows", security=security)
        server.initial_cluster = f"{server.name}={server.peer_url},other=https://127.0.0.1:{other.getsockname()[1]}"
        server.spawn()
        accepted, _ = other.accept()
        with context.wrap_socket(accepted, server_side=True) as connection:
            subject = dict(pair for pairs in connection.getpeercert()["subject"] for pair in pairs)
        expect(subject["commonName"] == "dialer", f"the member shows {subject}")
        server.kill()
    names = scratch.server("names", security=certificates.Security(authority, own, alice, flags=[
        "--client-cert-allowed-cn=alice,carol", f"--client-cert-file={own.certificate}", f"--client-key-file={own.key}"])).start()
    for pair, code in ((alice, 0), (bob, 1)):
        ran = subprocess.run([ETCDCTL, f"--endpoints={names.endpoint}", *names.security.tool_flags(pair), "--command-timeout=5s",
                              "put", "k", "v"], env=CLEAN, capture_output=True, text=True, timeout=60, check=False)
        expect((ran.returncode != 0) == (code != 0), f"{pair.certificate}: {ran.stdout}{ran.stderr}")
    expect("client certificate authentication failed" in names.log_tail(1 << 20), "why bob was refused")
    names.stop()


def check_memory_lock(scratch):
    if not os.access(RELEASE, os.X_OK):
        print("memory-mlock: no build without sanitizers (RELEASE_DIR)", flush=True)
        return
    server = scratch.server("locked", program=RELEASE, flags=["--memory-mlock"])
    server.spawn()
    wait_for(lambda: server.process.poll() is not None or "ready to serve" in server.log_tail(1 << 20), "neither")
    if server.process.poll() is not None:
        expect("--memory-mlock: the system refuses to lock memory" in server.log_tail(), server.log_tail())
        return
    with open(f"/proc/{server.process.pid}/status", encoding="utf-8") as status:
        locked = int(re.search(r"VmLck:\s+(\d+)", status.read()).group(1))
    expect(locked > 1000, f"{locked} kB are locked")
    server.stop()


def check_old_files(scratch):
    """What is more than so many of old snapshots and segments of the log goes at the next look, the first of which is soon after
    a start. A segment has 64 MiB."""
    server = scratch.server("old", flags=["--snapshot-count=10", "--snapshot-catchup-entries=1", "--unsafe-no-fsync"])
    server.start(["--max-snapshots=0", "--max-wals=0"])
    with etcd.Client(server) as client:
        put_many(client, 110, b"x" * 1400000)
    server.stop()
    count = lambda kind: len([name for name in os.listdir(f"{server.data}/member/{kind}") if name.endswith("." + kind)])
    expect(count("snap") > 4 and count("wal") > 2, f"{count('snap')} snapshots, {count('wal')} segments")
    for snapshots, segments in ((4, 2), (2, 1)):
        server.start([f"--max-snapshots={snapshots}", f"--max-wals={segments}"])
        wait_for(lambda: (count("snap"), count("wal")) == (snapshots, segments),
                 f"{count('snap')} snapshots and {count('wal')} segments, not {snapshots} and {segments}")
        server.stop()


def check_cluster(scratch):
    """Members of the same name and address are others if the token is; who is strict lets nobody in who would cost the quorum."""
    ids = []
    for token in ("one", "two"):
        server = scratch.server("token-" + token, flags=[f"--initial-cluster-token={token}"])
        server.name = "same"
        if ids:
            server.peer_port = first.peer_port
        else:
            first = server
        server.start()
        with etcd.Client(server) as client:
            header = client.status_().header
            ids.append((header.cluster_id, header.member_id))
        server.stop()
    expect(ids[0][0] != ids[1][0] and ids[0][1] != ids[1][1], f"cluster and member: {ids}")
    for strict, says in (("true", "not enough started members"), ("false", "Deadline Exceeded")):
        server = scratch.server("strict-" + strict, flags=[f"--strict-reconfig-check={strict}"]).start()
        with etcd.Client(server, timeout=5) as client:
            client.member_add("http://127.0.0.1:1")
            expect_error(lambda: client.member_add("http://127.0.0.1:2"), says)
        server.kill()


def check_log(scratch):
    """A level that leaves lines out, etcd's old form, and files that are put aside."""
    quiet = scratch.server("quiet", flags=["--log-level=error"]).start()
    old = scratch.server("old-form", flags=["--logger=capnslog"]).start()
    path = scratch.path("turning.log")
    turning = scratch.server("turning", flags=["--log-level=debug", f"--log-outputs={path}", "--enable-log-rotation",
                                               '--log-rotation-config-json={"maxsize":1,"maxbackups":2}']).start()
    kept = lambda: {name for name in os.listdir(scratch.directory) if name.startswith("turning-")}
    seen = set()
    with etcd.Client(turning) as client:

        def third_file():
            """Lines of one kind are sampled: 100 a second, of 4 KiB because of the key."""
            for _ in range(50):
                client.put(b"k" * 3900, b"v")
            seen.update(kept())
            return len(seen) > 2

        wait_for(third_file, "files of a MiB", 60)
    wait_for(lambda: len(kept()) == 2, f"{kept()} are kept, not two")
    expect(all(os.path.getsize(scratch.path(name)) < 1.1 * (1 << 20) for name in kept()), "a file larger than was said")
    for server in (quiet, old, turning):
        server.stop()
    expect(log_lines(quiet) == [], f"--log-level=error: {log_lines(quiet)[:3]}")
    expect(re.search(r"^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} I \| ", old.log_tail(1 << 20), re.MULTILINE), old.log_tail())


def check_descriptors(scratch):
    """A warning once four fifths of the descriptors are open, and not before."""
    limit, program = 200, scratch.path("few-descriptors")
    with open(program, "w", encoding="utf-8") as script:
        script.write(f"#!/bin/bash\nulimit -n {limit}\nfor i in {{1..100}}; do exec {{fd}}</dev/null; done\nexec {OURS} \"$@\"\n")
    os.chmod(program, 0o755)
    server = scratch.server("descriptors", program=program).start()
    warned = lambda: line_of(server, "80% of file descriptors are used")
    missing = int(limit * 0.8 - metric(server, "os_fd_used"))
    expect(0 < missing < 45, f"{missing} connections would be needed")
    expect(metric(server, "os_fd_limit") == limit and warned() is None, f"{warned()}")
    connections = [socket.create_connection(("127.0.0.1", server.port), timeout=20) for _ in range(missing + 1)]
    wait_for(warned, "no warning", 60)
    line = warned()
    expect(list(line) == ["level", "ts", "caller", "msg", "used", "limit"] and line["level"] == "warn" and
           line["limit"] == limit and limit * 0.8 <= line["used"] <= limit, f"{line}")
    for connection in connections:
        connection.close()
    server.stop()


def check_lease_checkpoints(scratch):
    """Every five minutes a leader notes how long leases have left: the next leader goes on from there, and, if that is kept,
    the member after a restart. Takes as long, so it is for the soak."""
    gates = lambda *names: ["--feature-gates=" + ",".join(name + "=true" for name in names)]
    kept = scratch.server("kept", flags=gates("LeaseCheckpoint", "LeaseCheckpointPersist")).start()
    lost = scratch.server("lost", flags=gates("LeaseCheckpoint")).start()
    told = start_three(scratch, "told", lambda n: gates("LeaseCheckpoint"))
    untold = start_three(scratch, "untold", lambda n: [])
    for server in (kept, lost, told[0], untold[0]):
        with etcd.Client(server) as client:
            client.grant(1000, lease=7)
    time.sleep(310)
    for server in (kept, lost):
        server.stop()
        server.start()
    for servers in (told, untold):
        leader = leader_of(servers)
        other = next(server for server in servers if server is not leader)
        with etcd.Client(other) as client:
            member = client.status_().header.member_id
        with etcd.Client(leader) as client:
            client.move_leader(member)
        wait_for(lambda: metric(other, "etcd_server_is_leader") == 1, "another leader")
    for server, least, most in ((kept, 600, 720), (lost, 950, 1000), (told[0], 600, 720), (untold[0], 950, 1000)):
        with etcd.Client(server) as client:
            left = client.time_to_live(ID=7).TTL
        expect(least <= left <= most, f"{server.name}: {left} s of 1000 are left")
    for server in (kept, lost, *told, *untold):
        server.kill()


def check_sample(scratch):
    """The configuration file of etcd's older documentation, with ports of our own."""
    client, peer = etcd.free_ports(2)
    with open(os.path.join(HERE, "sample.yml"), encoding="utf-8") as sample:
        text = sample.read()
    for port, own in (("2379", client), ("2380", peer)):
        text = text.replace(f"localhost:{port}", f"localhost:{own}")
    path = scratch.path("sample.yml")
    text = text.replace("initial-cluster:\n", f"initial-cluster: default=http://localhost:{peer}\n")
    with open(path, "w", encoding="utf-8") as file:
        file.write(text.replace("data-dir:\n", f"data-dir: {scratch.path('sample')}\n"))
    server = start_with(scratch, "sample", client, [f"--config-file={path}"], {})
    warned = [line["msg"] for line in log_lines(server) if line["level"] == "warn"]
    expect(any("--enable-v2 is ignored" in line for line in warned), f"{warned}")
    expect(not any("unknown key" in line for line in warned), f"{warned}")
    with etcd.Client(server) as connection:
        connection.put(b"k", b"v")
    server.stop()


# Where the effect of each live option is shown: a check above, or (file, what stands there).
SURFACE = "process/surface.py"
EFFECTS = {
    "name": check_limits_and_threads, "data-dir": check_files, "wal-dir": check_files, "snapshot-count": check_files,
    "snapshot-catchup-entries": check_files,
    "heartbeat-interval": check_timing, "election-timeout": check_timing, "initial-election-tick-advance": check_timing,
    "pre-vote": check_timing, "listen-peer-urls": ("process/peer_http.py", "peer_port"),
    "listen-client-urls": check_sample, "listen-client-http-urls": (SURFACE, "--listen-client-http-urls"),
    "listen-metrics-urls": (SURFACE, "--listen-metrics-urls"), "max-snapshots": check_old_files, "max-wals": check_old_files, "quota-backend-bytes": (SURFACE, "--quota-backend-bytes"),
    "backend-batch-interval": check_batches, "backend-batch-limit": check_batches, "unsafe-no-fsync": check_batches,
    "max-txn-ops": check_limits_and_threads, "max-request-bytes": check_limits_and_threads,
    "max-concurrent-streams": check_connections, "grpc-keepalive-min-time": check_connections,
    "grpc-keepalive-interval": check_connections, "grpc-keepalive-timeout": check_connections,
    "socket-reuse-port": check_shared_port, "enable-grpc-gateway": check_limits_and_threads,
    "raft-read-timeout": check_silent_peer, "raft-write-timeout": check_silent_peer,
    "memory-mlock": check_memory_lock, "feature-gates": check_health_while_defragmenting, "io-threads": check_limits_and_threads,
    "initial-advertise-peer-urls": check_local_address,
    "initial-cluster": check_silent_peer,
    "initial-cluster-token": check_cluster,
    "advertise-client-urls": check_default_host, "strict-reconfig-check": check_cluster,
    "max-cluster-version": check_limits_and_threads, "auto-compaction-mode": (SURFACE, "auto-compaction"),
    "auto-compaction-retention": (SURFACE, "--auto-compaction-retention"), "max-learners": check_learners,
    **{name: ("process/discovery.py", "--" + name) for name in (
        "discovery-srv-name", "discovery-insecure-transport", "discovery-cacert", "discovery-cert", "discovery-key",
        "discovery-user", "discovery-password", "discovery-dial-timeout", "discovery-request-timeout",
        "discovery-keepalive-time", "discovery-keepalive-timeout", "discovery-insecure-skip-tls-verify")},
    "downgrade-check-time": ("process/orders.py", "--downgrade-check-time"), "cors": (SURFACE, "--cors"),
    "host-whitelist": (SURFACE, "--host-whitelist"), "logger": check_log,
    "log-outputs": (SURFACE, "--log-outputs"), "log-level": check_log, "log-format": (SURFACE, "--log-format"),
    "enable-log-rotation": check_log, "log-rotation-config-json": check_log,
    "metrics": (SURFACE, "--metrics=extensive"), "enable-pprof": check_limits_and_threads,
    "warning-apply-duration": (SURFACE, "--warning-apply-duration"),
    "warning-unary-request-duration": (SURFACE, "--warning-unary-request-duration"),
    "compaction-batch-limit": check_compaction, "compaction-sleep-interval": check_compaction,
    "watch-progress-notify-interval": check_limits_and_threads,
    "bootstrap-defrag-threshold-megabytes": check_defragmentation, "client-cert-file": check_certificates_to_show,
    "client-key-file": check_certificates_to_show, "client-cert-allowed-cn": check_certificates_to_show,
    "peer-client-cert-file": check_certificates_to_show, "peer-client-key-file": check_certificates_to_show,
}


# The same of each feature gate. Of those without effect it is said so in the log.
GATES = {
    "CompactHashCheck": ("process/corruption.py", "CompactHashCheck=true"),
    "FastLeaseKeepAlive": check_limits_and_threads,
    "InitialCorruptCheck": ("process/corruption.py", "InitialCorruptCheck=true"),
    # In real time check_lease_checkpoints shows these.
    "LeaseCheckpoint": ("sim/test_sim_lease.c", "a_new_leader_goes_on_from_the_checkpoint"),
    "LeaseCheckpointPersist": ("sim/test_sim_lease.c", "a_checkpoint_survives_a_restart_of_all"),
    "PriorityRequest": ("process/behind.py", "PriorityRequest="),
    "SetMemberLocalAddr": check_local_address,
    "StopGRPCServiceOnDefrag": check_health_while_defragmenting,
    "TxnModeWriteWithSharedBuffer": ("unit/test_options.c", "TxnModeWriteWithSharedBuffer is ignored"),
}


def elsewhere(row):
    """The test of another subject that starts members with it."""
    for name in sorted(os.listdir(HERE)):
        if not ELSEWHERE.fullmatch(row.name) or not name.endswith(".py") or name == os.path.basename(__file__):
            continue
        with open(os.path.join(HERE, name), encoding="utf-8") as file:
            if re.search(rf"--{row.name}\b", file.read()):
                return "process/" + name, "--" + row.name
    return None


def check_is_shown(what, shown):
    expect(shown is not None, f"{what}: no test shows its effect")
    if isinstance(shown, tuple):
        with open(os.path.join(HERE, "..", shown[0]), encoding="utf-8") as file:
            expect(shown[1] in file.read(), f"{what}: tests/{shown[0]} has nothing about {shown[1]!r}")


def check_effects_are_shown(rows):
    for row in rows:
        if row.use == "live" and row.logged != "-":
            check_is_shown("--" + row.name, EFFECTS.get(row.name) or elsewhere(row))
    listed = subprocess.run([OURS, "--help"], env=CLEAN, capture_output=True, text=True, check=True).stdout
    words = re.search(r"--feature-gates .*?Name=false:([^.]*)\.", listed, re.DOTALL).group(1)
    for gate in re.findall(r"\w+", words):
        if gate not in ("AllAlpha", "AllBeta"):
            check_is_shown(gate, GATES.get(gate))


def run(scratch):
    rows = read_rows()
    check_effects_are_shown(rows)
    checks = sorted({shown for shown in EFFECTS.values() if callable(shown)} | {check_descriptors},
                    key=lambda check: check.__name__)
    tasks = [(source, lambda source=source: check_source(rows, scratch, source)) for source in ("file", "flags", "variables")]
    tasks += [(check.__name__, lambda check=check: check(scratch)) for check in checks]
    tasks.append(("refused", lambda: check_refused(rows, scratch)))
    if etcd.setting("CONFIG_CHECKPOINTS", 0):
        tasks.append((check_lease_checkpoints.__name__, lambda: check_lease_checkpoints(scratch)))
    etcd.side_by_side(tasks, at_once=4)


etcd.main(run)
