#!/usr/bin/python3
"""Bad input against a running server, one attack after the other.

Each gets etcd's error or a closed stream; after each the server answers a put within a second. At the end its peak memory
must have stayed within bounds. Then the same over TLS, and what only TLS offers. Requests that gRPC can carry are compared
word for word; when ETCD35_BIN is set, real etcd answers them first, so that the table below cannot be wrong. Everything
below gRPC is made by hand on raw sockets.

ABUSE_CONNECTIONS: idle connections to open (fewer when the system allows fewer).
"""
import sys

sys.dont_write_bytecode = True

import contextlib
import os
import random
import socket
import ssl
import struct
import subprocess
import time
import urllib.request

import certificates
import etcd
import wire
from etcd import expect, grpc, rpc

CONNECTIONS = etcd.setting("ABUSE_CONNECTIONS", 10000)
SCALE = etcd.setting("ABUSE_SCALE", 1)
PEAK_LIMIT = 700 << 20  # with AddressSanitizer, which keeps freed memory for a while
KV, LEASE, MAINTENANCE = "/etcdserverpb.KV/", "/etcdserverpb.Lease/", "/etcdserverpb.Maintenance/"
INVALID, INTERNAL, UNIMPLEMENTED = "INVALID_ARGUMENT", "INTERNAL", "UNIMPLEMENTED"
OUT_OF_RANGE, EXHAUSTED, NOT_FOUND = "OUT_OF_RANGE", "RESOURCE_EXHAUSTED", "NOT_FOUND"


# ---- what gRPC can carry ----

def put_of(size):
    return rpc.PutRequest(key=b"big", value=b"x" * size).SerializeToString()


def txn_of(*operations):
    return rpc.TxnRequest(success=operations).SerializeToString()


def nested_txn(depth):
    """A transaction in a transaction in ..., some 8 bytes a level."""
    nested = b""
    for _ in range(depth):
        nested = wire.message({2: {4: nested}})
    return nested


get_k = rpc.RequestOp(request_range=rpc.RangeRequest(key=b"k"))
put_k = rpc.RequestOp(request_put=rpc.PutRequest(key=b"k"))
UNMARSHAL = "grpc: error unmarshalling request: "

# (path, message, code, text)
REQUESTS = [
    ("/etcdserverpb.Nope/X", b"", UNIMPLEMENTED, "unknown service etcdserverpb.Nope"),
    (KV + "Nope", b"", UNIMPLEMENTED, "unknown method Nope for service etcdserverpb.KV"),
    ("/x", b"", UNIMPLEMENTED, 'malformed method name: "/x"'),
    (KV + "Put", b"\xff\xff\xff", INTERNAL, UNMARSHAL + "unexpected EOF"),
    (KV + "Put", b"\x0a\x05ab", INTERNAL, UNMARSHAL + "unexpected EOF"),
    (KV + "Put", b"\x08\x01", INTERNAL, UNMARSHAL + "proto: wrong wireType = 0 for field Key"),
    (KV + "Put", b"\x02\x01a", INTERNAL, UNMARSHAL + "proto: PutRequest: illegal tag 0 (wire type 2)"),
    (KV + "Put", b"\x0b\x0c", INTERNAL, UNMARSHAL + "proto: wrong wireType = 3 for field Key"),
    (KV + "Range", b"\x18" + b"\xff" * 11, INTERNAL, UNMARSHAL + "proto: integer overflow"),
    (KV + "Put", b"", INVALID, "etcdserver: key is not provided"),
    (KV + "Range", b"", INVALID, "etcdserver: key is not provided"),
    (KV + "DeleteRange", b"", INVALID, "etcdserver: key is not provided"),
    (KV + "Put", put_of(1572864), INVALID, "etcdserver: request is too large"),
    (KV + "Put", put_of(2097152 - 20), INVALID, "etcdserver: request is too large"),
    (KV + "Put", put_of(2097152), EXHAUSTED, "grpc: received message larger than max (2097162 vs. 2097152)"),
    (KV + "Put", put_of(64 << 20), EXHAUSTED, "grpc: received message larger than max (67108874 vs. 2097152)"),
    (KV + "Txn", txn_of(*[get_k] * 129), INVALID, "etcdserver: too many operations in txn request"),
    (KV + "Txn", txn_of(rpc.RequestOp()), INVALID, "etcdserver: key not found"),
    (KV + "Txn", txn_of(put_k, put_k), INVALID, "etcdserver: duplicate key given in txn request"),
    (KV + "Txn", b"\x0a\x04\x08\x63\x10\x63", INVALID, "etcdserver: key is not provided"),
    (KV + "Range", rpc.RangeRequest(key=b"k", revision=1 << 40).SerializeToString(), OUT_OF_RANGE,
     "etcdserver: mvcc: required revision is a future revision"),
    (KV + "Compact", rpc.CompactionRequest(revision=1 << 40).SerializeToString(), OUT_OF_RANGE,
     "etcdserver: mvcc: required revision is a future revision"),
    (KV + "Compact", rpc.CompactionRequest(revision=-1).SerializeToString(), OUT_OF_RANGE,
     "etcdserver: mvcc: required revision has been compacted"),
    (KV + "Put", rpc.PutRequest(key=b"k", lease=99).SerializeToString(), NOT_FOUND,
     "etcdserver: requested lease not found"),
    (KV + "Put", rpc.PutRequest(key=b"none", ignore_value=True).SerializeToString(), INVALID,
     "etcdserver: key not found"),
    (KV + "Put", rpc.PutRequest(key=b"none", value=b"v", ignore_value=True).SerializeToString(), INVALID,
     "etcdserver: value is provided"),
    (LEASE + "LeaseGrant", rpc.LeaseGrantRequest(TTL=9000000001).SerializeToString(), OUT_OF_RANGE,
     "etcdserver: too large lease TTL"),
    (LEASE + "LeaseRevoke", rpc.LeaseRevokeRequest(ID=99).SerializeToString(), NOT_FOUND,
     "etcdserver: requested lease not found"),
    (MAINTENANCE + "HashKV", rpc.HashKVRequest(revision=99999).SerializeToString(), OUT_OF_RANGE,
     "etcdserver: mvcc: required revision is a future revision"),
]
STREAMS = [
    ("/etcdserverpb.Watch/Watch", b"\xff\xff", INTERNAL,
     "grpc: failed to unmarshal the received message: unexpected EOF"),
    (LEASE + "LeaseKeepAlive", b"\xff\xff", INTERNAL,
     "grpc: failed to unmarshal the received message: unexpected EOF"),
]
# Real etcd takes these on, or dies of them; here they are refused.
OURS_ALONE = [
    (KV + "Txn", nested_txn(4400), INTERNAL, UNMARSHAL + "proto: messages nested deeper than 100"),
    (KV + "Txn", nested_txn(20000), INTERNAL, UNMARSHAL + "proto: messages nested deeper than 100"),
    (KV + "Range", b"\x0a\x01k\x28\x63", INVALID, "etcdserver: invalid sort option"),
]


def answer_to(call):
    try:
        call()
        return "OK", ""
    except grpc.RpcError as error:
        return error.code().name, error.details()


def requests_get_etcds_errors(server, ours=True):
    with etcd.Client(server) as client:
        for path, message, code, text in REQUESTS + (OURS_ALONE if ours else []):
            found = answer_to(lambda: client.raw(path, message))
            expect(found == (code, text), f"{path} {message[:20]!r}: {found}, not {(code, text)}")
        for path, message, code, text in STREAMS:
            found = answer_to(lambda: next(client.channel.stream_stream(path)(iter([message]), timeout=10)))
            expect(found == (code, text), f"{path} {message[:20]!r}: {found}, not {(code, text)}")


def random_messages_are_survived(server):
    """Bits flipped and pieces cut out of sound messages; whatever the answer is, there is one."""
    generator = random.Random(7)
    sound = [(KV + "Txn", txn_of(put_k, get_k)), (KV + "Range", rpc.RangeRequest(key=b"k", range_end=b"z").SerializeToString()),
             (LEASE + "LeaseGrant", rpc.LeaseGrantRequest(TTL=5, ID=77).SerializeToString()),
             (MAINTENANCE + "Status", b"\x0a\x00")]
    with etcd.Client(server) as client:
        for _ in range(600 * SCALE):
            path, message = generator.choice(sound)
            data = bytearray(message)
            for _ in range(generator.randint(1, 4)):
                data[generator.randrange(len(data))] = generator.randrange(256)
            answer_to(lambda: client.raw(path, bytes(data[:generator.randint(0, len(data))]), timeout=5))


# ---- below gRPC ----

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS, ACK = 1, 4, 1
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def frame(kind, flags, stream, payload=b""):
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def literal(name, value):
    """A header field without indexing, for lengths below 127."""
    return b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value


def request_headers(path, content_type=b"application/grpc", method=b"POST"):
    return b"".join(literal(*pair) for pair in [
        (b":method", method), (b":scheme", b"http"), (b":path", path), (b":authority", b"localhost"),
        (b"content-type", content_type), (b"te", b"trailers")])


def grpc_message(data, flag=0, length=None):
    return struct.pack(">BI", flag, len(data) if length is None else length) + data


class Raw:
    """A TCP connection that speaks HTTP/2 as far as it likes."""

    def __init__(self, server, settings=b"", preface=True, timeout=10, plain=False):
        self.socket = socket.create_connection(("127.0.0.1", server.port), timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if server.security and not plain:
            context = server.security.context(protocols=("h2",) if preface else ())
            self.socket = context.wrap_socket(self.socket, server_hostname="127.0.0.1")
        if preface:
            self.send(PREFACE + frame(SETTINGS, 0, 0, settings))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        """False once the server has closed or no longer reads."""
        try:
            self.socket.sendall(data)
            return True
        except OSError:
            return False

    def frames(self, seconds=5):
        """What comes until the end of the connection, or `seconds` pass: (type, flags, stream, payload)."""
        self.socket.settimeout(0.5)
        data, deadline = b"", time.monotonic() + seconds
        while time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                try:
                    more = self.socket.recv(65536)
                except (ConnectionError, ssl.SSLError):
                    more = b""
                if not more:
                    yield "closed", 0, 0, b""
                    return
                data += more
            while len(data) >= 9 and len(data) >= 9 + int.from_bytes(data[:3], "big"):
                length = int.from_bytes(data[:3], "big")
                kind, flags, stream = struct.unpack(">BBI", data[3:9])
                yield kind, flags, stream, data[9:9 + length]
                data = data[9 + length:]

    def expect_end(self, what, stream=1, seconds=5, answered=None):
        """The stream or the connection ends: with an answer, without, or either."""
        data = False
        for kind, flags, number, _ in self.frames(seconds):
            data = data or kind == DATA
            if kind in ("closed", GOAWAY) or \
                    number == stream and (kind == RST_STREAM or kind in (DATA, HEADERS) and flags & END_STREAM):
                expect(answered is None or data == answered, f"{what}: {'no' if answered else 'an'} answer")
                return
        raise etcd.Failure(f"{what}: the server did not end it")

    def expect_closed(self, what, seconds=5):
        for kind, *_ in self.frames(seconds):
            if kind == "closed":
                return
        raise etcd.Failure(f"{what}: the server did not close the connection")


def bad_grpc_frames_end_their_stream(server):
    put = rpc.PutRequest(key=b"k", value=b"v").SerializeToString()
    bodies = {
        "cut in the length": b"\0\0\0",
        "cut in the message": grpc_message(put, length=100),
        "nothing at all": b"",
        "length 4 GiB": grpc_message(put, length=0xFFFFFFFF),
        "compressed without an encoding": grpc_message(put, flag=1),
        "unknown flag": grpc_message(put, flag=0x7f),
        "two messages": grpc_message(put) * 2,
    }
    for what, body in bodies.items():
        with Raw(server) as raw:
            raw.send(frame(HEADERS, END_HEADERS, 1, request_headers(KV.encode() + b"Put")) +
                     frame(DATA, END_STREAM, 1, body))
            raw.expect_end(what)
    with Raw(server) as raw:  # without an end, the answer must not wait for more
        raw.send(frame(HEADERS, END_HEADERS, 1, request_headers(KV.encode() + b"Put")) +
                 frame(DATA, 0, 1, grpc_message(put, length=0xFFFFFFFF)))
        raw.expect_end("length 4 GiB, unfinished")


def bad_headers_end_their_stream(server):
    body = grpc_message(rpc.RangeRequest(key=b"k").SerializeToString())
    good = request_headers(KV.encode() + b"Range")
    for what, headers in {
            "no :path": good.replace(literal(b":path", KV.encode() + b"Range"), b""),
            "no :method": good.replace(literal(b":method", b"POST"), b""),
            "two :path": literal(b":path", b"/x") + good,
            "unknown pseudo-header": literal(b":nope", b"x") + good,
            "pseudo-header at the end": good.replace(literal(b":scheme", b"http"), b"") + literal(b":scheme", b"http"),
            "upper case": good + literal(b"Abc", b"x"),
            "name with a space": good + literal(b"a b", b"x"),
            "empty name": good + literal(b"", b"x"),
            "value with a line feed": good + literal(b"abc", b"x\ny: z"),
            "connection": good + literal(b"connection", b"close")}.items():
        with Raw(server) as raw:
            raw.send(frame(HEADERS, END_HEADERS, 1, headers) + frame(DATA, END_STREAM, 1, body))
            raw.expect_end(what, answered=False)
    for what, headers in {
            "a URL as :authority, as etcdctl 3.4 has it":
                good.replace(literal(b":authority", b"localhost"), literal(b":authority", b"http://127.0.0.1:2379")),
            "no :authority": good.replace(literal(b":authority", b"localhost"), b"")}.items():
        with Raw(server) as raw:
            raw.send(frame(HEADERS, END_HEADERS, 1, headers) + frame(DATA, END_STREAM, 1, body))
            raw.expect_end(what, answered=True)


def http_status(server, *arguments):
    done = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "--max-time", "10", *arguments],
                          capture_output=True, text=True, check=False)
    return done.stdout


def wrong_methods_and_types_get_http_errors(server):
    base, h2 = server.endpoint, "--http2-prior-knowledge"
    grpc_type = "content-type: application/grpc"
    for arguments, wanted in [
            ([h2, base + "/version"], "415"),
            ([h2, "-X", "POST", base + KV + "Put"], "415"),
            ([h2, "-H", "content-type: text/plain", "-X", "POST", base + KV + "Put"], "415"),
            ([h2, "-H", "content-type: application/grpcx", "-X", "POST", base + KV + "Put"], "415"),
            ([h2, "-H", grpc_type, "-X", "GET", base + KV + "Put"], "405"),
            (["-X", "POST", base + "/version"], "405"),
            (["-X", "DELETE", base + "/health"], "405"),
            (["-H", grpc_type, "-d", "x", base + KV + "Put"], "404"),
            ([base + "/nope"], "404"),
            ([base + "/version"], "200")]:
        found = http_status(server, *arguments)
        expect(found == wanted, f"{' '.join(arguments)}: HTTP {found}, not {wanted}")


def broken_http2_ends_the_connection(server):
    good = request_headers(KV.encode() + b"Put")
    for what, data in {
            "frame of 16 MB": b"\xff\xff\xff" + frame(DATA, 0, 1)[3:] + b"x" * 100000,
            "DATA before HEADERS": frame(DATA, 0, 1, b"x"),
            "HEADERS on stream 0": frame(HEADERS, END_HEADERS, 0, good),
            "HEADERS on an even stream": frame(HEADERS, END_HEADERS, 2, good),
            "broken HPACK": frame(HEADERS, END_HEADERS, 1, b"\xff" * 40),
            "SETTINGS of 5 bytes": frame(SETTINGS, 0, 0, b"12345"),
            "PING of 3 bytes": frame(PING, 0, 0, b"123"),
            "WINDOW_UPDATE of 0": frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\0"),
            "window beyond 2^31": frame(WINDOW_UPDATE, 0, 0, b"\x7f\xff\xff\xff"),
            "CONTINUATION alone": frame(CONTINUATION, 0, 1, good),
            "PING inside headers": frame(HEADERS, 0, 1, good) + frame(PING, 0, 0, b"12345678")}.items():
        with Raw(server) as raw:
            raw.send(data)
            raw.expect_end(what)


def rapid_resets_are_survived(server):
    """Requests that are cancelled as soon as they are made (CVE-2023-44487)."""
    headers = request_headers(KV.encode() + b"Range")
    body = grpc_message(rpc.RangeRequest(key=b"\0", range_end=b"\0").SerializeToString())
    for _ in range(4):
        with Raw(server) as raw:
            for stream in range(1, 20000 * SCALE, 2):
                if not raw.send(frame(HEADERS, END_HEADERS, stream, headers) + frame(DATA, END_STREAM, stream, body) +
                                frame(RST_STREAM, 0, stream, struct.pack(">I", 8))):
                    break


def floods_are_survived(server):
    """Frames that ask for an answer, from a client that reads none."""
    for data in (frame(SETTINGS, 0, 0), frame(PING, 0, 0, b"12345678"),
                 frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 100)), frame(WINDOW_UPDATE, 0, 0, b"\0\0\0\1"),
                 frame(11, 0, 0, b"x" * 100), frame(DATA, 0, 1)):
        with Raw(server, timeout=2) as raw:
            for _ in range(300 * SCALE):
                if not raw.send(data * 1000):
                    break


def header_bombs_are_refused(server):
    headers = request_headers(KV.encode() + b"Put")
    with Raw(server, timeout=2) as raw:  # header fields without end (CVE-2024-28182)
        raw.send(frame(HEADERS, 0, 1, headers))
        for _ in range(4000 * SCALE):
            if not raw.send(frame(CONTINUATION, 0, 1, literal(b"a" * 100, b"b" * 100) * 80)):
                break
    with Raw(server, timeout=2) as raw:  # empty ones
        raw.send(frame(HEADERS, 0, 1, headers))
        for _ in range(200 * SCALE):
            if not raw.send(frame(CONTINUATION, 0, 1) * 1000):
                break
    with Raw(server, timeout=2) as raw:  # one field of 4 kB in the table, named 16,000 times a frame
        field = b"\x40" + b"\x01a" + b"\x7f" + bytes([(3900 - 127) & 127 | 128, (3900 - 127) >> 7]) + b"b" * 3900
        for stream in range(1, 200 * SCALE, 2):
            if not raw.send(frame(HEADERS, END_HEADERS | END_STREAM, stream, headers + field + b"\xbe" * 12000)):
                break


def garbage_is_closed(server):
    generator = random.Random(11)
    tls = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 500
    for data in (generator.randbytes(65536), tls, b"\0" * 5000, b"GET\r\n\r\n", b"FOO / HTTP/1.1\r\n\r\n",
                 b"GET / HTTP/9.9\r\n\r\n", b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nZZZ\r\n",
                 b"POST / HTTP/1.1\r\nContent-Length: -5\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n" + b"x: y\r\n" * 100000,
                 b"GET /" + b"a" * 3000000 + b" HTTP/1.1\r\n\r\n", PREFACE[:20] + b"x" * 100):
        with Raw(server, preface=False) as raw:
            raw.send(data)
            raw.expect_closed(f"{data[:30]!r}")


def slow_headers_hold_up_nobody(server):
    """Slowloris: requests that never finish."""
    raws = [Raw(server, preface=False) for _ in range(300)]
    for _ in range(4):
        for raw in raws:
            raw.send(b"GET / HTTP/1.1\r\nX: y\r\n" if random.random() < 0.2 else b"X")
        check_alive(server, "with slow headers")
        time.sleep(0.1)
    for raw in raws:
        raw.socket.close()


def slow_readers_hold_up_nobody(server):
    """Watches and large ranges that nobody reads; 60 MB are written meanwhile."""
    before = server.memory()[0]
    watch = rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=b"slow", prev_kv=True)).SerializeToString()
    raws = []
    for _ in range(20):
        raw = Raw(server, settings=struct.pack(">HI", 4, 0))  # an initial window of nothing
        for stream in (1, 3, 5):
            raw.send(frame(HEADERS, END_HEADERS, stream, request_headers(b"/etcdserverpb.Watch/Watch")) +
                     frame(DATA, 0, stream, grpc_message(watch)))
        raws.append(raw)
    with etcd.Client(server) as client:
        for number in range(60):
            client.put(b"slow", bytes([number]) * 1000000)
        grown = server.memory()[0] - before
        print(f"  60 unread watches of 60 MB: {grown >> 20} MB")
        expect(grown < 250 << 20, f"60 unread watches and 60 MB of puts took {grown >> 20} MB")
        # Large answers: each stream may hold one, no more.
        ask = grpc_message(rpc.RangeRequest(key=b"slow").SerializeToString())
        for raw in raws:
            raw.send(frame(HEADERS, END_HEADERS, 7, request_headers(KV.encode() + b"Range")) +
                     frame(DATA, END_STREAM, 7, ask))
        check_alive(server, "with unread answers")
        for raw in raws:
            raw.socket.close()
        client.compact(client.revision())


def unread_keep_alives_are_not_answered_for_ever(server):
    with etcd.Client(server) as client:
        lease = client.grant(1000).ID
        before = server.memory()[0]
        asks = grpc_message(rpc.LeaseKeepAliveRequest(ID=lease).SerializeToString()) * 500
        with Raw(server, settings=struct.pack(">HI", 4, 0)) as raw:
            raw.send(frame(HEADERS, END_HEADERS, 1, request_headers(LEASE.encode() + b"LeaseKeepAlive")))
            sent, windows = 0, {0: 65535, 1: 65535}
            deadline = time.monotonic() + 4
            incoming = raw.frames(4)
            while time.monotonic() < deadline and sent < 50000:
                while min(windows.values()) >= len(asks):
                    raw.send(frame(DATA, 0, 1, asks))
                    windows = {stream: window - len(asks) for stream, window in windows.items()}
                    sent += 500
                for kind, _, stream, payload in incoming:
                    expect(kind not in ("closed", GOAWAY, RST_STREAM), f"keep-alives were ended by {kind} {payload}")
                    if kind == WINDOW_UPDATE:
                        windows[stream] += struct.unpack(">I", payload)[0]
                    if kind == SETTINGS and payload:
                        for at in range(0, len(payload), 6):
                            name, value = struct.unpack(">HI", payload[at:at + 6])
                            windows[1] += value - 65535 if name == 4 else 0
                    if min(windows.values()) >= len(asks):
                        break
            check_alive(server, "with unread keep-alives")
            grown = server.memory()[0] - before
            print(f"  {sent} unread keep-alives: {grown >> 10} kB")
            expect(sent < 50000, "keep-alives are taken for ever though nobody reads the answers")


def peer_bodies_are_bounded(server):
    """Bodies without end on the peer port: an answer or the end, and no memory for them."""
    with urllib.request.urlopen(f"{server.peer_url}/members", timeout=10) as answer:
        cluster = answer.headers["X-Etcd-Cluster-ID"]
    before = server.memory()[0]
    for path in ("/raft", "/leases", "/leases/internal", "/raft/snapshot", "/members/promote/1", "/members/hashkv", "/nope"):
        with socket.create_connection(("127.0.0.1", server.peer_port), timeout=10) as client:
            head = f"POST {path} HTTP/1.1\r\nHost: a\r\nX-Etcd-Cluster-ID: {cluster}\r\nX-Server-Version: 3.5.0\r\n" \
                   "X-Min-Cluster-Version: 3.0.0\r\nTransfer-Encoding: chunked\r\n\r\n"
            client.sendall(head.encode())
            with contextlib.suppress(ConnectionError, TimeoutError):
                deadline = time.monotonic() + 10
                while time.monotonic() < deadline:
                    client.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
                raise etcd.Failure(f"{path} takes bodies without end")
            answer = b""
            with contextlib.suppress(ConnectionError, TimeoutError):
                answer = client.recv(100)
            expect(not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.1 500")), f"{path} answers {answer}")
    grown = server.memory()[0] - before
    print(f"  {grown >> 20} MB for endless bodies")
    expect(grown < 150 << 20, f"endless bodies on the peer port took {grown >> 20} MB")


def idle_connections_cost_little(server):
    count = min(CONNECTIONS, etcd.raise_descriptor_limit() - 300)
    if server.security:
        count = min(count, 300)  # each needs a handshake of us, too
    before = server.memory()[0]
    raws = []
    for number in range(count):
        raws.append(Raw(server))
        if number % 500 == 499:
            server.check_alive()
    check_alive(server, "with many connections")
    after = server.memory()[0]
    print(f"  {count} idle connections: {before >> 20} -> {after >> 20} MB, {(after - before) // count} bytes each")
    expect((after - before) // count < 150000, f"{(after - before) // count} bytes for an idle connection")
    for raw in raws:
        raw.socket.close()


# ---- what only TLS offers ----

HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"  # the begin of a handshake of 512 bytes


def open_handshakes(server, count=1500):
    """Handshakes that begin and never end, more than may be under way at once."""
    return [raw for raw in (Raw(server, plain=True, preface=False) for _ in range(count)) if raw.send(HELLO)]


def unfinished_handshakes_hold_up_nobody(server):
    before = server.memory()[0]
    raws = open_handshakes(server)
    slow = Raw(server, plain=True, preface=False)
    for byte in HELLO + b"x" * 30:
        slow.send(bytes([byte]))
        check_alive(server, "with unfinished handshakes")
    grown = server.memory()[0] - before
    print(f"  {len(raws)} unfinished handshakes: {grown >> 20} MB")
    expect(grown < 200 << 20, f"unfinished handshakes took {grown >> 20} MB")
    # The oldest gave way; the others end by themselves after ten seconds.
    raws[0].expect_closed("the oldest of too many handshakes")
    slow.expect_closed("a slow handshake", seconds=20)
    for raw in (*raws, slow):
        raw.socket.close()


def garbage_instead_of_a_handshake_is_closed(server):
    generator, raws = random.Random(12), []
    for data in (generator.randbytes(65536), b"\0" * 5000, b"GET / HTTP/1.1\r\n\r\n", PREFACE, b"\x15\x03\x01\0\2\2\x28",
                 b"\x16\x03\x01\xff\xff" + b"x" * 70000, b"\x16\x03\x01\0\4\x01\xff\xff\xff" * 1000,
                 b"\x16\x03\x01\0\0" * 10000, b"\x16\x03\x01\0\1\1" * 10000, HELLO + generator.randbytes(505),
                 b"\x17\x03\x03\x40\x00" + generator.randbytes(16384)):
        raws.append((data, Raw(server, preface=False, plain=True)))
        raws[-1][1].send(data)
    for data, raw in raws:  # what looks like the begin of a handshake has ten seconds
        raw.expect_closed(f"{data[:30]!r}", seconds=20)
        raw.socket.close()


def renegotiation_is_refused(server):
    pair = server.security.client
    done = subprocess.run(
        [certificates.OPENSSL, "s_client", "-connect", f"127.0.0.1:{server.port}", "-tls1_2", "-CAfile",
         server.security.authority.certificate, "-cert", pair.certificate, "-key", pair.key],
        input="R\n" + "GET /health HTTP/1.0\r\n\r\n" * 3, capture_output=True, text=True, errors="replace", timeout=20)
    expect("RENEGOTIATING" in done.stdout + done.stderr and '"health"' not in done.stdout, f"renegotiation: {done}")
    with open(server.log_path, encoding="utf8", errors="replace") as log:
        expect("local error: tls: no renegotiation" in log.read(), "the log does not tell of the renegotiation")


# ---- all of them ----

def check_alive(server, when):
    server.check_alive()
    with etcd.Client(server, timeout=5) as client:
        client.revision()  # the connection is made
        begun = time.monotonic()
        client.put(b"alive", when.encode())
        took = time.monotonic() - begun
    expect(took < 1, f"{when}: a put took {took:.1f} s")


ATTACKS = [
    requests_get_etcds_errors, random_messages_are_survived, bad_grpc_frames_end_their_stream,
    bad_headers_end_their_stream, wrong_methods_and_types_get_http_errors, broken_http2_ends_the_connection, rapid_resets_are_survived,
    floods_are_survived, header_bombs_are_refused, garbage_is_closed, slow_headers_hold_up_nobody,
    slow_readers_hold_up_nobody, unread_keep_alives_are_not_answered_for_ever, peer_bodies_are_bounded,
    idle_connections_cost_little,
]

TLS_ATTACKS = [
    unfinished_handshakes_hold_up_nobody, garbage_instead_of_a_handshake_is_closed, renegotiation_is_refused,
    bad_grpc_frames_end_their_stream, bad_headers_end_their_stream, broken_http2_ends_the_connection, rapid_resets_are_survived,
    floods_are_survived, header_bombs_are_refused, garbage_is_closed, slow_headers_hold_up_nobody,
    slow_readers_hold_up_nobody, unread_keep_alives_are_not_answered_for_ever, idle_connections_cost_little,
]


def attack_all(server, attacks):
    server.start()
    only = os.environ.get("ABUSE_ONLY", "")
    for attack in attacks:
        if only and only not in attack.__name__:
            continue
        begun = time.monotonic()
        attack(server)
        check_alive(server, f"after {attack.__name__}")
        now, peak = server.memory()
        print(f"{attack.__name__}: {time.monotonic() - begun:.1f} s, {now >> 20} MB, peak {peak >> 20} MB", flush=True)
    peak = server.memory()[1]
    print(f"peak RSS {peak >> 20} MB", flush=True)
    expect(peak < PEAK_LIMIT, f"the peak RSS was {peak >> 20} MB")
    server.stop()


def run(scratch):
    etcd.raise_descriptor_limit()
    real = os.path.join(etcd.ETCD35, "etcd")
    if etcd.ETCD35 and os.access(real, os.X_OK):
        other = scratch.server("real", program=real).start()
        requests_get_etcds_errors(other, ours=False)
        other.stop()
    sanitizer = {"ASAN_OPTIONS": "quarantine_size_mb=16:malloc_context_size=5"}
    attack_all(scratch.server(environment=sanitizer), ATTACKS)
    if not certificates.OPENSSL:
        print("no openssl command: not attacked over TLS")
        return
    authority = certificates.Authority(scratch.path("certificates"), "authority")
    security = certificates.Security(authority, authority.issue("server", names="IP:127.0.0.1"), authority.issue("client"))
    attack_all(scratch.server("tls", environment=sanitizer, security=security), TLS_ATTACKS)


etcd.main(run)
