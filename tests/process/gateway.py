#!/usr/bin/python3
"""The JSON gateway beside a real etcd 3.5's: the same calls in the same order, the same answers.

Every path is called, in the right way and in wrong ones; what is compared is the status, the headers that mean something
and the body, with ids and what the releases differ in left out. Then what only ours is asked: back-pressure, pieces, the
whitelist, websockets. Without a real etcd (ETCD35_BIN) the answers recorded below are what is expected."""
import base64
import gzip
import http.client
import json
import os
import re
import socket
import threading
import time

import certificates
import clusters
import etcd
from etcd import ETCD35, expect

# Of a release before 3.6, whose messages have fewer fields.
NEWER_FIELDS = re.compile(r',"(hash_revision|storageVersion|dbSizeQuota|downgradeInfo)":("[^"]*"|\{[^}]*\})')
VOLATILE = re.compile(r'"(cluster_id|member_id|raft_term|memberID|leader|raftIndex|raftAppliedIndex|raftTerm|dbSize|dbSizeInUse|hash)"'
                      r':("[^"]*"|\d+)')
HEADERS = ["Content-Type", "Grpc-Metadata-Content-Type", "Transfer-Encoding", "WWW-Authenticate", "Access-Control-Allow-Origin",
           "Access-Control-Allow-Methods", "Access-Control-Allow-Headers", "X-Content-Type-Options", "Connection"]


def b64(text):
    return base64.b64encode(text.encode()).decode()


def normal(body):
    """protojson has blanks or not, also no-break ones, as the build goes."""
    body = body.replace("proto:\u00a0", "proto: ")
    body = re.sub(r'([0-9}\]"e]), "', r'\1,"', body)
    body = NEWER_FIELDS.sub("", body)
    return VOLATILE.sub(r'"\1":<>', body)


class Caller:
    def __init__(self, port, context=None):
        self.port = port
        self.context = context

    def send(self, path, body="{}", method="POST", headers=None, timeout=10):
        connection = (http.client.HTTPSConnection("127.0.0.1", self.port, timeout=timeout, context=self.context)
                      if self.context else http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout))
        connection.request(method, path, body=body.encode() if isinstance(body, str) else body, headers=headers or {})
        return connection, connection.getresponse()

    def call(self, path, body="{}", method="POST", headers=None):
        connection, answer = self.send(path, body, method, headers)
        text = answer.read().decode()
        connection.close()
        shown = {name: answer.getheader(name) for name in HEADERS if answer.getheader(name)}
        return answer.status, shown, normal(text)

    def json(self, path, timeout=10, **fields):
        connection, answer = self.send(path, json.dumps(fields), timeout=timeout)
        text = answer.read().decode()
        connection.close()
        return json.loads(text)

    def lines(self, path, body, count, headers=None, timeout=10):
        """The first lines of a stream, which is then left."""
        connection, answer = self.send(path, body, headers=headers, timeout=timeout)
        result = [answer.status, answer.getheader("Content-Type")]
        for _ in range(count):
            result.append(normal(answer.readline().decode()))
        connection.sock.close()
        connection.close()
        return result


# ---- the same calls to both ----

K = b64("foo")
CALLS = [
    ("kv/put", '{"key":"%s","value":"YmFy"}' % K),
    ("kv/put", '{"key":"%s","value":"YmF6","prevKv":true}' % K),
    ("kv/put", '{"key":"%s","value":"YmF6","prev_kv":true,"no_such_field":[{"a":1}]}' % K),
    ("kv/put", '{"key":"%s","lease":5}' % K),
    ("kv/put", '{"key":"%s"' % K),
    ("kv/put", '{"key":"%s","key":"%s"}' % (K, K)),
    ("kv/put", '{"key":"%s","value":"-_8"}' % K),
    ("kv/put", '{"key":"%s","value":"a"}' % K),
    ("kv/put", '{"key":"%s"} more' % K),
    ("kv/put", '{"key":"%s",}' % K),
    ("kv/put", "{'key':1}"),
    ("kv/put", "[1]"), ("kv/put", "null"), ("kv/put", '"text"'), ("kv/put", "nul"), ("kv/put", "-"), ("kv/put", "5"),
    ("kv/put", ""), ("kv/put", "  \n"), ("kv/put", '{"key":5}'), ("kv/put", '{"key":"!!"}'), ("kv/put", '{"lease":"x"}'),
    ("kv/put", '{"lease":1.5}'), ("kv/put", '{"lease":9223372036854775808}'), ("kv/put", '{"lease":" 1"}'),
    ("kv/put", '{"key":"%s","prev_kv":"true"}' % K),
    ("kv/put", '{"key":\n  "\\ud800"}'), ("kv/put", '{"key":"\\x"}'), ("kv/put", '{"\\u006bey":"%s"}' % K),
    ("kv/range", '{"key":"%s"}' % K),
    ("kv/range", '{"key":"%s","limit":"1","revision":null,"serializable":true}' % K),
    ("kv/range", '{"key":"AA==","rangeEnd":"AA","sort_order":"DESCEND","sortTarget":3,"limit":1e0}'),
    ("kv/range", '{"key":"%s","sort_order":"SIDEWAYS"}' % K),
    ("kv/range", '{"key":"%s","sort_order":true}' % K),
    ("kv/range", '{"key":"%s","revision":"1000000"}' % K),
    ("kv/range", '{"key":"bm9uZQ=="}'),
    ("kv/txn", '{"compare":[{"target":"CREATE","key":"%s","createRevision":"2"}],'
               '"success":[{"requestPut":{"key":"%s","value":"YmFy"}}]}' % (K, K)),
    ("kv/txn", '{"compare":[{"version":"4","result":"EQUAL","target":"VERSION","key":"%s"}],'
               '"success":[{"request_range":{"key":"%s"}}],"failure":[{"requestDeleteRange":{"key":"YQ=="}},'
               '{"request_txn":{"success":[{"request_put":{"key":"YQ=="}}]}}]}' % (K, K)),
    ("kv/txn", '{"success":[{"request_put":{"key":"YQ=="},"request_range":{"key":"YQ=="}}]}'),
    ("kv/txn", '{"success":[{}]}'), ("kv/txn", '{"success":{}}'), ("kv/txn", '{"success":[null]}'), ("kv/txn", "{}"),
    ("kv/deleterange", '{"key":"YQ==","prev_kv":true}'),
    ("kv/compaction", '{"revision":"100000"}'), ("kv/compaction", '{"revision":"3","physical":true}'),
    ("kv/compaction", '{"revision":"2"}'), ("kv/range", '{"key":"%s","revision":"1"}' % K),
    ("lease/grant", '{"TTL":"100","ID":"77"}'), ("lease/grant", '{"TTL":100,"ID":77}'),
    ("lease/grant", '{"TTL":99999999999}'), ("kv/put", '{"key":"bGVhc2Vk","lease":"77"}'),
    ("lease/timetolive", '{"ID":"1","keys":true}'), ("kv/lease/timetolive", '{"ID":1}'),
    ("lease/leases", "{}"), ("kv/lease/leases", "{}"), ("lease/revoke", '{"ID":1}'), ("kv/lease/revoke", '{"ID":"77"}'),
    ("lease/revoke", '{"ID":-1}'),
    ("lease/keepalive", '{"ID":5}{"ID":"6"}'), ("lease/keepalive", ""), ("lease/keepalive", '{"ID"'),
    ("lease/keepalive", '{"ID":5}  [] {"ID":7}'), ("lease/keepalive", '{"ID":1}x'),
    ("cluster/member/list", "{}"), ("cluster/member/list", '{"linearizable":true}'), ("cluster/member/remove", '{"ID":5}'),
    ("cluster/member/add", '{"peerURLs":["x"]}'), ("cluster/member/update", '{"ID":"5","peerURLs":["http://127.0.0.1:1"]}'),
    ("cluster/member/promote", '{"ID":"5"}'), ("cluster/member/add", '{"peerURLs":"x"}'), ("cluster/member/remove", '{"ID":-1}'),
    ("maintenance/alarm", "{}"), ("maintenance/alarm", '{"action":"ACTIVATE","memberID":"7","alarm":"NOSPACE"}'),
    ("maintenance/status", "{}"), ("maintenance/alarm", '{"action":2,"memberID":"7","alarm":1}'),
    ("maintenance/status", "{}"), ("maintenance/defragment", "{}"), ("maintenance/hash", "{}"), ("maintenance/hashkv", "{}"),
    ("maintenance/hashkv", '{"revision":"100000"}'), ("maintenance/transfer-leadership", '{"targetID":"5"}'),
    ("maintenance/downgrade", '{"action":"VALIDATE","version":"x"}'), ("maintenance/snapshot", "{"),
    ("lock/lock", '{"name":"bA==","lease":"5"}'), ("lock/unlock", "{}"), ("lock/unlock", '{"key":"bm9uZQ=="}'),
    ("election/leader", '{"name":"ZQ=="}'), ("election/resign", "{}"), ("election/proclaim", '{"value":"YQ=="}'),
    ("election/proclaim", '{"leader":{"name":"ZQ==","key":"ZS8x","rev":"1","lease":"1"},"value":"YQ=="}'),
    ("election/campaign", '{"name":"ZQ==","lease":"5","value":"YQ=="}'),
]
SPECIAL = [
    ("/v3/kv/put", "", "GET", {}), ("/v3/kv/put", "", "HEAD", {}), ("/v3/kv/put", "", "DELETE", {}),
    ("/v3/kv/put", "{}", "PUT", {}), ("/v3/watch", "", "GET", {}),
    ("/v3/kv/nothing", "{}", "POST", {}), ("/v3/", "{}", "POST", {}), ("/v3/kv/put/", "{}", "POST", {}),
    ("/v3alpha/kv/put", "{}", "POST", {}), ("/v3beta/kv/put", '{"key":"%s"}' % K, "POST", {}),
    ("/v3/kv/%70ut", '{"key":"%s"}' % K, "POST", {}), ("/v3/kv/put?pretty", '{"key":"%s"}' % K, "POST", {}),
    ("/v3/kv/put", '{"key":"%s"}' % K, "POST", {"Grpc-Timeout": "1n"}),
    ("/v3/kv/put", '{"key":"%s"}' % K, "POST", {"Grpc-Timeout": "x"}),
    ("/v3/kv/put", '{"key":"%s"}' % K, "POST", {"Grpc-Timeout": "20S", "Grpc-Metadata-Hasleader": "true"}),
    ("/v3/kv/put", '{"key":"%s"}' % K, "POST", {"Authorization": "nobody.1"}),
    ("/v3/kv/put", '{"key":"%s"}' % K, "POST", {"Content-Type": "text/plain", "Accept": "text/html"}),
    ("/v3/kv/put", "", "OPTIONS", {"Origin": "http://a.example", "Access-Control-Request-Method": "POST"}),
    ("/v3/watch", '{"create', "POST", {"Grpc-Timeout": "200m"}),
]


def compare_calls(callers):
    answers = []
    for caller in callers:
        given = [(path, body, caller.call("/v3/" + path, body)) for path, body in CALLS]
        given += [(f"{method} {path} {headers}", body, caller.call(path, body, method, headers))
                  for path, body, method, headers in SPECIAL]
        answers.append(given)
    differences = [f"{ours[0]} {ours[1]}\n  ours {ours[2]}\n  real {real[2]}"
                   for ours, real in zip(*answers) if own_words(ours) != own_words(real)]
    expect(not differences, "\n".join(differences))
    return len(answers[0])


# What 3.6 answers otherwise than 3.5, and what depends on ports.
def own_words(given):
    path, body, (status, headers, text) = given
    text = re.sub(r'127\.0\.0\.1:\d+', "HOST", text)
    text = re.sub(r'"version":"[^"]*"', '"version":<>', text)
    if path == "cluster/member/list":
        text = re.sub(r'"ID":"\d+"', '"ID":<>', text).replace('"name":"real"', '"name":"ours"')
    if path.startswith("HEAD"):
        text = ""
    return status, headers, text


def compare_streams(callers):
    """Watches with events, at an old revision, refused ones; observing an election; a deadline in the middle."""
    def ask(caller):
        result = []
        caller.call("/v3/kv/put", '{"key":"dw==","value":"MQ=="}')
        start = int(caller.json("/v3/kv/range", key="dw==")["kvs"][0]["mod_revision"])
        caller.call("/v3/kv/put", '{"key":"dw==","value":"Mg=="}')
        caller.call("/v3/kv/deleterange", '{"key":"dw=="}')
        result.append(caller.lines("/v3/watch", '{"create_request":{"key":"dw==","start_revision":%d,"prev_kv":true}}' % start, 2))
        # A real one may answer these in any order.
        result.append(sorted(map(str, caller.lines(
            "/v3/watch", '{"createRequest":{"key":"AA==","range_end":"AA=="}} {"progress_request":{}}', 2))))
        result.append(caller.lines("/v3/watch", '{"create_request":{"key":"dw==","start_revision":"1"}}', 2))
        result.append(caller.lines("/v3/watch", '{"create_request":{"key":"Yg==","range_end":"YQ=="}}', 1))
        result.append(caller.lines("/v3/watch", '{"create_request":{"key":"dw=="}}', 2, {"Grpc-Timeout": "300m"}))
        return result
    ours, real = (ask(caller) for caller in callers)
    for mine, theirs in zip(ours, real):
        expect(mine == theirs, f"a stream differs:\n  ours {mine}\n  real {theirs}")


def compare_elections(callers):
    """Locks that wait, candidates that take over, an observer; the same steps on both."""
    def ask(caller):
        steps, seen = [], []
        caller.json("/v3/lease/grant", TTL=100, ID=9001)
        caller.json("/v3/lease/grant", TTL=100, ID=9002)
        keep = lambda value: re.sub(r'"(\w*revision|rev)":"\d+"', r'"\1":<>',
                                    normal(json.dumps(value, separators=(",", ":"))))
        lock = caller.json("/v3/lock/lock", name=b64("m"), lease=9001)
        steps += [keep(lock), keep(caller.json("/v3/lock/lock", name=b64("m"), lease=9001))]
        waiting = Later(lambda: caller.json("/v3/lock/lock", name=b64("m"), lease=9002))
        wait_for(lambda: count(caller, "m/") == 2, "the second to ask for the lock")
        steps.append(keep(caller.json("/v3/lock/unlock", key=lock["key"])))
        steps.append(keep(waiting.result()))
        # Who gives up waiting leaves no key behind.
        connection = start_request(caller, "/v3/lock/lock", {"name": b64("m"), "lease": 9001})
        wait_for(lambda: count(caller, "m/") == 2, "the lock's next to wait")
        connection.close()
        wait_for(lambda: count(caller, "m/") == 1, "the key of who gave up to go")

        caller.json("/v3/election/campaign", name=b64("e"), value=b64("a"), lease=9001)
        stream, answer = caller.send("/v3/election/observe", json.dumps({"name": b64("e")}), timeout=20)
        seen.append(answer.readline())
        leader = caller.json("/v3/election/campaign", name=b64("e"), value=b64("b"), lease=9001)["leader"]
        seen.append(answer.readline())
        other = Later(lambda: caller.json("/v3/election/campaign", name=b64("e"), value=b64("c"), lease=9002))
        wait_for(lambda: count(caller, "e/") == 2, "the second candidate")
        steps.append(keep(caller.json("/v3/election/proclaim", leader=leader, value=b64("d"))))
        seen.append(answer.readline())
        steps.append(keep(caller.json("/v3/election/proclaim", leader=dict(leader, rev="1"), value=b64("d"))))
        steps.append(keep(caller.json("/v3/election/leader", name=b64("e"))))
        steps.append(keep(caller.json("/v3/election/resign", leader=dict(leader, rev="1"))))
        caller.json("/v3/election/resign", leader=leader)
        steps.append(keep(other.result()))
        seen.append(answer.readline())
        # The lease of the leader ends.
        caller.json("/v3/lease/revoke", ID=9002)
        steps.append(keep(caller.json("/v3/election/leader", name=b64("e"))))
        stream.close()
        return steps + [json.loads(line)["result"]["kv"]["value"] for line in seen]
    ours, real = (ask(caller) for caller in callers)
    for mine, theirs in zip(ours, real):
        expect(mine == theirs, f"lock and election differ:\n  ours {mine}\n  real {theirs}")


class Later:
    """A call that is under way."""

    def __init__(self, call):
        self.call = call
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        self.answer = self.call()

    def result(self):
        self.thread.join()
        return self.answer


def wait_for(condition, what):
    deadline = time.monotonic() + 20
    while not condition():
        expect(time.monotonic() < deadline, f"waited in vain for {what}")
        time.sleep(0.05)


def count(caller, prefix):
    end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
    return int(caller.json("/v3/kv/range", key=b64(prefix), range_end=b64(end), count_only=True).get("count", 0))


def start_request(caller, path, fields):
    """Sends a request; its answer is not read."""
    body = json.dumps(fields).encode()
    connection = socket.create_connection(("127.0.0.1", caller.port))
    connection.settimeout(20)
    connection.sendall(b"POST %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n%s" % (path.encode(), len(body), body))
    return connection


# ---- what is ours to keep ----

def check_without_real(caller):
    """Some answers as a real 3.5.30 gave them."""
    recorded = [
        ("/v3/kv/put", '{"key":"Zm9v","key":"YmFy"}', 400, '{"code":3,"message":"proto: (line 1:15): duplicate field \\"key\\""}'),
        ("/v3/kv/put", '{"key":"Zm9v"', 400, '{"code":3,"message":"unexpected EOF"}'),
        ("/v3/lease/revoke", '{"ID":1}', 404, '{"code":5,"message":"etcdserver: requested lease not found"}'),
        ("/v3/kv/nothing", "{}", 404, '{"code":5,"message":"Not Found"}'),
        ("/v3/election/leader", '{"name":"Zm9v"}', 500, '{"code":2,"message":"election: no leader"}'),
    ]
    for path, body, status, text in recorded:
        answer = caller.call(path, body)
        expect((answer[0], answer[2]) == (status, text), f"{path} {body}: {answer}")


def check_pieces(caller):
    """A body that comes byte by byte, requests while answers come, and a connection for more than one request."""
    connection = http.client.HTTPConnection("127.0.0.1", caller.port, timeout=20)
    for path, status in (("/v3/kv/nothing", 404), ("/v3/kv/put", 200), ("/v3/lease/keepalive", 200), ("/v3/kv/put", 200)):
        connection.request("POST", path, body='{"key":"cA==","ID":1}')
        answer = connection.getresponse()
        expect(answer.status == status and answer.read(), f"{path} on a used connection: {answer.status}")
        expect(connection.sock is not None, f"{path} ended the connection")
    connection.close()
    stream = socket.create_connection(("127.0.0.1", caller.port))
    stream.settimeout(20)
    stream.sendall(b"POST /v3/watch HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    for byte in b'{"create_request":{"key":"cA=="}}':
        stream.sendall(b"1\r\n%c\r\n" % byte)
    read_until(stream, b'"created":true}}\n')
    caller.call("/v3/kv/put", '{"key":"cA=="}')
    read_until(stream, b'"events":[{"kv":{"key":"cA=="')
    for request, answer in ((b'{"progress_request":{}}', b'"watch_id":"-1"}}\n'),
                            (b'{"cancel_request":{}}', b'"canceled":true}}\n')):
        stream.sendall(b"%x\r\n%s\r\n" % (len(request), request))
        read_until(stream, answer)
    stream.close()


def read_until(connection, text):
    """Reads until the text has come; returns how many lines did."""
    lines, tail = 0, b""
    while text not in tail:
        piece = connection.recv(65536)
        expect(piece, f"the connection ended before {text[-60:]}: {tail[-500:]}")
        lines += piece.count(b"\n")
        tail = (tail + piece)[-len(text) - 65536:]
    return lines


class WebSocket:
    """As a browser has it; the frames by hand."""

    def __init__(self, caller, path, headers=()):
        self.socket = socket.create_connection(("127.0.0.1", caller.port))
        self.socket.settimeout(20)
        lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", "Upgrade: websocket", "Connection: keep-alive, Upgrade",
                 "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *headers]
        self.socket.sendall("\r\n".join([*lines, "", ""]).encode())
        self.input = self.socket.makefile("rb")
        self.status = self.input.readline().decode()
        self.headers = {}
        for line in iter(self.input.readline, b"\r\n"):
            if not line:
                break
            name, value = line.decode().split(":", 1)
            self.headers[name.lower()] = value.strip()

    def send(self, payload, opcode=1, final=True, mask=True):
        payload = payload.encode() if isinstance(payload, str) else payload
        size = len(payload)
        head = bytes([(0x80 if final else 0) | opcode])
        head += bytes([(0x80 if mask else 0) | (size if size < 126 else 126)])
        head += size.to_bytes(2, "big") if size >= 126 else b""
        key = b"abcd" if mask else b""
        self.socket.sendall(head + key + (bytes(byte ^ key[i % 4] for i, byte in enumerate(payload)) if mask else payload))

    def receive(self):
        """(opcode, payload); opcode None at the end."""
        head = self.input.read(2)
        if len(head) < 2:
            return None, b""
        size = head[1] & 127
        if size >= 126:
            size = int.from_bytes(self.input.read(2 if size == 126 else 8), "big")
        return head[0] & 15, self.input.read(size)

    def text(self):
        opcode, payload = self.receive()
        expect(opcode == 1, f"a frame of kind {opcode}: {payload}")
        return normal(payload.decode())

    def close(self):
        self.socket.close()


def compare_websockets(callers):
    """The lines of requests and answers as messages."""
    def ask(caller):
        steps = []
        for path, request in (("kv/put", '{"key":"d3M=","value":"MQ=="}'), ("kv/range", '{"key":"d3M="}'), ("kv/put", "{}"),
                              ("kv/put", "[]")):
            one = WebSocket(caller, "/v3/" + path)
            one.send(request)
            steps.append((path, one.status, one.headers.get("sec-websocket-accept"), one.text()))
            one.close()
        stream = WebSocket(caller, "/v3/watch")
        stream.send('{"create_request":{"key":"d3M="}}')
        steps.append(stream.text())
        caller.call("/v3/kv/put", '{"key":"d3M=","value":"Mg=="}')
        steps.append(stream.text())
        stream.send('{"create_request":', final=False)
        stream.send('{"key":"d3M=","watch_id":9}}', opcode=0)
        steps.append(stream.text())
        stream.close()
        return steps
    ours, real = (ask(caller) for caller in callers)
    for mine, theirs in zip(ours, real):
        expect(mine == theirs, f"a websocket differs:\n  ours {mine}\n  real {theirs}")


def check_websocket(server, caller):
    """What browsers and others may do to it."""
    stream = WebSocket(caller, "/v3/watch")
    expect(stream.headers["sec-websocket-accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", stream.headers)
    stream.send(b"are you there", opcode=9)
    expect(stream.receive() == (10, b"are you there"), "no pong")
    stream.send(b"\x03\xe8", opcode=8)
    expect(stream.receive() == (8, b"\x03\xe8") and stream.receive()[0] is None, "no close for a close")
    done = WebSocket(caller, "/v3/kv/put", ["Sec-WebSocket-Protocol: Bearer, some.token"])
    expect(done.headers.get("sec-websocket-protocol") == "Bearer", done.headers)
    done.send('{"key":"d3M="}')
    expect(done.text().startswith('{"header"') and done.receive() == (8, b"\x03\xe8"), "a unary method's end")
    for payload, opcode, options, code in ((b"x", 1, {"mask": False}, 1002), (b"x", 0, {}, 1002), (b"x", 3, {}, 1002),
                                           (b"x" * 126, 9, {}, 1002), (b"x", 9, {"final": False}, 1002)):
        bad = WebSocket(caller, "/v3/watch")
        bad.send(payload, opcode, **options)
        expect(bad.receive() == (8, code.to_bytes(2, "big")), f"a frame that is none: {opcode} {options}")
        bad.close()
    large = WebSocket(caller, "/v3/kv/put")
    large.socket.sendall(b"\x81\xff" + (1 << 40).to_bytes(8, "big") + b"abcd")
    expect(large.receive() == (8, b"\x03\xf1"), "a frame of a terabyte")
    expect(" 404 " in WebSocket(caller, "/v3/kv/nothing").status, "a websocket to nowhere")
    flood = WebSocket(caller, "/v3/watch")
    before = server.memory()[0]
    flood.socket.settimeout(1)
    pings = (b"\x89\xfdabcd" + b"p" * 125) * 1000
    try:
        for _ in range(400):  # 50 MB of pings, and no pong is read
            flood.socket.sendall(pings)
    except OSError:
        pass
    expect(server.memory()[0] - before < 40e6, "pongs pile up")
    flood.close()
    server.check_alive()


def check_memory(server, caller):
    """Clients that do not read, and bodies that do not end, cost little."""
    value = "x" * 50000
    for i in range(20):
        caller.call("/v3/kv/put", json.dumps({"key": b64("big"), "value": b64(value + str(i))}))
    before = server.memory()[0]
    idle = []
    for _ in range(20):
        connection = start_request(caller, "/v3/watch", {"create_request": {"key": b64("big")}})
        read_until(connection, b'"created":true')
        idle.append(connection)
    for i in range(300):
        caller.call("/v3/kv/put", json.dumps({"key": b64("big"), "value": b64(value + str(i))}))
    grown = server.memory()[0] - before
    # 20 streams of 15 MB each are owed; each may hold its window and what the kernel does not take.
    print(f"{len(idle)} watches whose clients do not read cost {grown / 1e6:.0f} MB, of 300 owed", flush=True)
    expect(grown < 150e6, f"{grown} bytes more for clients that do not read")
    # One that begins to read gets everything.
    read_until(idle[0], ('"value":"%s"' % b64(value + "299")).encode())
    for connection in idle:
        connection.close()
    endless = socket.create_connection(("127.0.0.1", caller.port))
    endless.settimeout(20)
    endless.sendall(b"POST /v3/kv/put HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    piece = b'{"key":"' + b"a" * 65528
    status = b""
    try:
        for _ in range(400):
            endless.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
            piece = b"a" * 65536
        status = endless.recv(4096)
    except OSError:
        pass  # it is cut off
    endless.close()
    expect(status == b"" or b" 429 " in status.split(b"\r\n")[0], f"an endless body: {status[:200]}")
    many = '{"success":[' + "{}," * 200000 + "{}]}"
    expect(caller.call("/v3/kv/txn", many)[2] == '{"code":3,"message":"proto: more than 131072 fields in one request"}', "many")
    deep = caller.call("/v3/kv/txn", '{"success":[{"request_txn":' * 200 + "{}" + "}]}" * 200)
    expect(deep[2] == '{"code":3,"message":"proto: exceeded max recursion depth"}', deep)
    server.check_alive()


def enable_auth(caller):
    """root, and a user ann who may read and write what begins with a/."""
    for path, fields in (("user/add", {"name": "root", "password": "r"}), ("role/add", {"name": "root"}),
                         ("user/grant", {"user": "root", "role": "root"}), ("user/add", {"name": "ann", "password": "a"}),
                         ("role/add", {"name": "some"}), ("user/grant", {"user": "ann", "role": "some"}),
                         ("role/grant", {"name": "some", "perm": {"permType": "READWRITE", "key": b64("a/"),
                                                                  "range_end": b64("a0")}}),
                         ("enable", {})):
        expect("code" not in caller.json("/v3/auth/" + path, **fields), f"auth/{path}")


def compare_rights(callers):
    """Tokens over the gateway; locks and elections have the rights of who asks."""
    def ask(caller):
        enable_auth(caller)
        root, ann = (caller.json("/v3/auth/authenticate", name=name, password=name[0])["token"] for name in ("root", "ann"))
        steps = []
        for token in (None, "nobody.1", ann, root, "Bearer " + root):
            headers = {"Authorization": token} if token else {}
            if token and token.startswith("Bearer") and caller is not callers[0]:
                steps.append(steps[-1])  # 3.5 knows no Bearer
                continue
            answers = [caller.call("/v3/kv/put", '{"key":"%s"}' % b64("bx"), headers=headers),
                       caller.call("/v3/kv/put", '{"key":"%s"}' % b64("a/x"), headers=headers),
                       caller.call("/v3/lock/lock", '{"name":"%s"}' % b64("b"), headers=headers),
                       caller.call("/v3/election/leader", '{"name":"%s"}' % b64("a"), headers=headers),
                       caller.call("/v3/election/campaign", '{"name":"%s","value":"eA=="}' % b64("c"), headers=headers)]
            if token == ann:
                answers.append(caller.call("/v3/lock/lock", '{"name":"%s"}' % b64("a/l"), headers=headers))
                answers.append(caller.lines("/v3/watch", '{"create_request":{"key":"%s"}}' % b64("b/x"), 1, headers))
            if token in (root, ann):
                answers = [re.sub(r'"(\w*revision|rev|lease|key)":"[^"]*"', r'"\1":<>', str(answer)) for answer in answers]
            steps.append(str(answers) if token != "Bearer " + root else steps[-1])
            if token == "Bearer " + root:
                expect([answer[0] for answer in answers[:3]] == [200, 200, 200], f"Bearer: {answers}")
            # The next one must not wait for this one's lock.
            for prefix in ("b/", "a/", "c/"):
                caller.call("/v3/kv/deleterange", json.dumps({"key": b64(prefix), "range_end": b64(prefix[0] + "0")}),
                            headers={"Authorization": root})
        return steps
    ours, real = (ask(caller) for caller in callers)
    for mine, theirs in zip(ours, real):
        expect(mine == theirs, f"rights differ:\n  ours {mine}\n  real {theirs}")


def check_certificates(scratch):
    """Who shows a certificate is its user for gRPC, also in a lock; over the gateway that is refused."""
    if not certificates.OPENSSL:
        print("certificates: left out (no openssl)")
        return
    authority = certificates.Authority(scratch.path("ca"), "authority")
    secure = certificates.Security(authority, authority.issue("server", names="IP:127.0.0.1"), authority.issue("root"))
    server = scratch.server("secure", security=secure).start()
    caller = Caller(server.port, secure.context(protocols=("http/1.1",)))
    enable_auth(caller)
    refused = caller.call("/v3/kv/put", '{"key":"Zm9v"}')
    expect(refused[0] == 400 and refused[2] == "CommonName of client sending a request against gateway will be ignored and not "
           "used as expected\n", refused)
    with etcd.Client(server) as client:
        # LockRequest{name: "x"}, as root by its certificate.
        expect(b"x/" in client.raw("/v3lockpb.Lock/Lock", b"\n\x01x"), "a lock by certificate")
    server.stop()


def check_failover(scratch):
    """Who waits for a lock on a follower gets it in spite of the leader's death; who observes an election goes on."""
    cluster = clusters.Cluster(scratch, {name: etcd.OURS for name in ("x", "y", "z")})
    cluster.start()
    leader = cluster.leader()
    follower, other = (Caller(server.port) for server in cluster.servers if server is not leader)
    follower.json("/v3/lease/grant", TTL=300, ID=41)
    lock = follower.json("/v3/lock/lock", name=b64("l"), lease=41)
    follower.json("/v3/election/campaign", name=b64("e"), value=b64("1"), lease=41)
    waiting = Later(lambda: follower.json("/v3/lock/lock", name=b64("l"), timeout=60))
    stream, answer = other.send("/v3/election/observe", json.dumps({"name": b64("e")}), timeout=30)
    expect(json.loads(answer.readline())["result"]["kv"]["value"] == b64("1"), "the leader of the election")
    wait_for(lambda: count(other, "l/") == 2, "the second to ask for the lock")
    # Before it waits it reads, and a read may end with its leader.
    wait_for(lambda: "\netcd_debugging_mvcc_watcher_total 1\n" in follower.call("/metrics", "", "GET")[2],
             "the second to wait for the first")
    leader.kill()
    clusters.wait_for("a new leader", cluster.leader)
    expect(waiting.thread.is_alive(), f"the lock ended with the leader: {getattr(waiting, 'answer', None)}")
    other.json("/v3/lock/unlock", key=lock["key"])
    expect("key" in waiting.result(), f"{waiting.result()}")
    other.json("/v3/election/campaign", name=b64("e"), value=b64("2"), lease=41)
    expect(json.loads(answer.readline())["result"]["kv"]["value"] == b64("2"), "the election's new value")
    stream.close()
    for server in cluster.running():
        server.kill()


def check_other_paths(caller):
    """What operators look at, and what is not there."""
    for name, part in (("", "not written in Go"), ("heap", "<malloc"), ("goroutine", "etcd-io"), ("cmdline", "--enable-pprof"),
                       ("queues", "tasks waiting"), ("buildinfo", "OpenSSL")):
        answer = caller.call("/debug/pprof/" + name, "", "GET")
        expect(answer[0] == 200 and part in answer[2], f"/debug/pprof/{name}: {answer}")
    answer = caller.call("/debug/pprof/profile", "", "GET")
    expect(answer[0] == 501 and "perf record" in answer[2], answer)
    connection, answer = caller.send("/metrics", "", "GET", {"Accept-Encoding": "br, gzip"})
    expect(answer.getheader("Content-Encoding") == "gzip", answer.getheaders())
    expect(b"etcd_server_has_leader 1\n" in gzip.decompress(answer.read()), "the metrics in gzip")
    connection.close()
    for encoding in ("br", "gzip;q=0"):
        connection, answer = caller.send("/metrics", "", "GET", {"Accept-Encoding": encoding})
        expect(b"etcd_server_has_leader 1\n" in answer.read(), f"the metrics in {encoding}")
        connection.close()
    for path, method, status, text in (("/config/local/log", "PUT", 404, "404 page not found\n"),
                                       ("/v2/keys", "GET", 404, "404 page not found\n"),
                                       ("/version", "POST", 405, "Method Not Allowed\n")):
        answer = caller.call(path, '{"Level":"DEBUG"}', method)
        expect((answer[0], answer[2]) == (status, text), f"{method} {path}: {answer}")


def check_limit(scratch):
    """As many JSON requests at once as a connection may have streams: further ones wait their turn."""
    server = scratch.server("few", flags=["--max-concurrent-streams=3", "--io-threads=2"]).start()
    caller = Caller(server.port)
    watches = [start_request(caller, "/v3/watch", {"create_request": {"key": "Zm9v"}}) for _ in range(3)]
    for watch in watches:
        read_until(watch, b'"created":true')
    late = caller.call("/v3/kv/put", '{"key":"Zm9v"}', headers={"Grpc-Timeout": "200m"})
    expect(late[0] == 504 and "deadline" in late[2], late)
    given_up = start_request(caller, "/v3/kv/put", {"key": "Zm9v"})
    waiting = [Later(lambda i=i: caller.call("/v3/kv/put", '{"key":"%s"}' % b64(str(i)))) for i in range(5)]
    stream = start_request(caller, "/v3/watch", {"create_request": {"key": "Zm9v"}})
    time.sleep(0.3)
    expect(all(one.thread.is_alive() for one in waiting), "somebody got more than the limit")
    given_up.close()
    for _ in range(2):  # one for the stream, one for the others
        watches.pop().close()
    expect([one.result()[0] for one in waiting] == [200] * 5, "those who waited")
    read_until(stream, b'"created":true')
    server.stop()


def check_host_and_origin(scratch):
    http_port, = etcd.free_ports(1)
    server = scratch.server("listed", flags=["--cors=http://a.com:1", "--host-whitelist=127.0.0.1", "--enable-pprof",
                                             f"--listen-client-http-urls=http://127.0.0.1:{http_port}"]).start()
    caller = Caller(http_port)
    body = '{"key":"Zm9v"}'
    expect(caller.call("/v3/kv/put", body)[0] == 200, "the HTTP port")
    evil = caller.call("/v3/kv/put", body, headers={"Host": "evil.example"})
    expect(evil[0] == 421 and 'etcd --host-whitelist "evil.example"' in evil[2], evil)
    listed = caller.call("/v3/kv/put", body, headers={"Origin": "http://a.com:1"})
    expect(listed[1].get("Access-Control-Allow-Origin") == "http://a.com:1", listed)
    for origin, status in (("http://a.com:1", " 101 "), ("http://b.com:1", " 403 ")):
        opened = WebSocket(caller, "/v3/watch", ["Origin: " + origin])
        expect(status in opened.status, f"a websocket from {origin}: {opened.status}")
        opened.close()
    other = caller.call("/v3/kv/put", body, headers={"Origin": "http://b.com:1"})
    expect("Access-Control-Allow-Origin" not in other[1], other)
    check_other_paths(caller)
    server.stop()
    off = scratch.server("off", flags=["--enable-grpc-gateway=false"]).start()
    expect(Caller(off.port).call("/v3/kv/put", body)[0] == 404, "the gateway though it is off")
    off.stop()


def run(scratch):
    # Memory is looked at: what AddressSanitizer keeps of what was freed must not count.
    server = scratch.server("ours", environment={"ASAN_OPTIONS": "quarantine_size_mb=1"}).start()
    ours = Caller(server.port)
    check_without_real(ours)
    if ETCD35:
        real_server = scratch.server("real", program=os.path.join(ETCD35, "etcd")).start()
        callers = [ours, Caller(real_server.port)]
        print(f"{compare_calls(callers)} calls answered as by the real one", flush=True)
        compare_streams(callers)
        compare_elections(callers)
        compare_websockets(callers)
        compare_rights([Caller(scratch.server(f"{name}-auth", program=program).start().port)
                        for name, program in (("ours", etcd.OURS), ("real", real_server.program))])
        real_server.stop()
    else:
        print("only our own: ETCD35_BIN names no folder with a real etcd 3.5")
    check_pieces(ours)
    check_websocket(server, ours)
    check_memory(server, ours)
    server.stop()
    check_limit(scratch)
    check_failover(scratch)
    check_host_and_origin(scratch)
    check_certificates(scratch)


etcd.main(run)
