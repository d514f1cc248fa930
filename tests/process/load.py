#!/usr/bin/python3
"""A mixed load and SIGTERM, for a server whose sanitizer then has nothing to say.

h2load (if there) puts and reads on many streams while watches, leases, transactions, compactions, range and metrics requests,
cancelled calls and broken connections run; then the server is told to stop in the middle of it. With AddressSanitizer that
looks for leaks, with ThreadSanitizer (tsan.sh) for races. LOAD_SECONDS: how long.
"""
import sys

sys.dont_write_bytecode = True

import os
import random
import shutil
import subprocess
import threading
import time
import urllib.request

import etcd
from etcd import grpc, rpc

SECONDS = etcd.setting("LOAD_SECONDS", 6)
EXPECTED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)


class Load:
    def __init__(self, server):
        self.server = server
        self.end = time.monotonic() + SECONDS
        self.stopping = threading.Event()
        self.failures = []
        self.calls = 0

    def repeat(self, action):
        """Runs it over and over on connections of its own, until the server is gone."""
        generator = random.Random(action.__name__)
        while not self.stopping.is_set() and not self.failures:
            with etcd.Client(self.server, timeout=10) as client:
                try:
                    for _ in range(generator.randint(1, 100)):
                        action(client, generator)
                        self.calls += 1
                except grpc.RpcError as error:
                    if self.stopping.is_set():
                        return
                    if error.code() not in EXPECTED and "etcdserver: " not in (error.details() or ""):
                        self.failures.append(f"{action.__name__}: {error.code()}: {error.details()}")
                except OSError as error:
                    if not self.stopping.is_set():
                        self.failures.append(f"{action.__name__}: {error}")


def put_and_read(client, generator):
    key = b"k/%d" % generator.randrange(50)
    client.put(key, b"v" * generator.randrange(2000), prev_kv=True)
    client.get(key, serializable=generator.random() < 0.5)
    if generator.random() < 0.1:
        client.delete(b"k/1", range_end=b"k/2")


def transact(client, generator):
    key = b"k/%d" % generator.randrange(50)
    client.txn(compare=[rpc.Compare(result=rpc.Compare.GREATER, target=rpc.Compare.VERSION, key=key, version=0)],
               success=[rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=b"t"))],
               failure=[rpc.RequestOp(request_range=rpc.RangeRequest(key=b"\0", range_end=b"\0"))])


def grant_and_revoke(client, generator):
    lease = client.grant(generator.choice((1, 100))).ID
    client.put(b"leased/%d" % generator.randrange(9), b"v", lease=lease)
    client.keep_alive(lease)
    client.time_to_live(ID=lease, keys=True)
    client.leases()
    if generator.random() < 0.5:
        client.revoke(lease)


def watch_a_while(client, generator):
    creates = [rpc.WatchRequest(create_request=rpc.WatchCreateRequest(
        key=b"k/", range_end=b"k0", prev_kv=True, start_revision=generator.choice((0, 0, 1))))
        for _ in range(generator.randint(1, 20))]
    creates.append(rpc.WatchRequest(cancel_request=rpc.WatchCancelRequest(watch_id=0)))
    waiting = threading.Event()

    def requests():
        yield from creates
        waiting.wait(5)  # else the end of the requests would be the end of the stream
    stream = client.watch(requests())
    for number, _ in enumerate(stream):
        if number > generator.randint(1, 200):
            break
    stream.cancel()
    waiting.set()


def compact_and_hash(client, generator):
    client.compact(client.revision() - generator.randrange(100), physical=generator.random() < 0.5)
    client.hash_kv()
    client.status_()
    client.member_list_()
    client.alarm()
    time.sleep(0.05)


def give_up(client, generator):
    """Calls that are cancelled, and a connection that breaks under them."""
    calls = [client.channel.unary_unary("/etcdserverpb.KV/Range").future(
        rpc.RangeRequest(key=b"\0", range_end=b"\0").SerializeToString()) for _ in range(20)]
    time.sleep(generator.random() * 0.01)
    for call in calls[::2]:
        call.cancel()


def scrape(client, generator):
    del client
    path = generator.choice(("/metrics", "/health", "/version"))
    try:
        with urllib.request.urlopen(load_server.endpoint + path, timeout=10) as answer:
            answer.read()
    except urllib.error.HTTPError:
        pass


load_server = None


def h2load(scratch, server, path, message, name):
    file = scratch.path(name)
    data = message.SerializeToString()
    with open(file, "wb") as body:
        body.write(b"\0" + len(data).to_bytes(4, "big") + data)
    return subprocess.Popen(["h2load", "-c", "10", "-m", "20", "-D", str(SECONDS + 2), "-d", file, "-H",
                             "content-type: application/grpc", "-H", "te: trailers", server.endpoint + path],
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def run(scratch):
    global load_server
    load_server = server = scratch.server(environment={
        "TSAN_OPTIONS": os.environ.get("TSAN_OPTIONS", "") + ":halt_on_error=0:second_deadlock_stack=1"})
    server.start(["--snapshot-count=1000", "--io-threads=3"])
    load = Load(server)
    actions = [put_and_read, transact, grant_and_revoke, watch_a_while, compact_and_hash, give_up, scrape]
    threads = [threading.Thread(target=load.repeat, args=(action,), daemon=True) for action in actions]
    for thread in threads:
        thread.start()
    others = []
    if shutil.which("h2load"):
        others.append(h2load(scratch, server, "/etcdserverpb.KV/Put", rpc.PutRequest(key=b"k/1", value=b"v" * 100), "put"))
        others.append(h2load(scratch, server, "/etcdserverpb.KV/Range", rpc.RangeRequest(key=b"k/1"), "range"))
    else:
        print("without h2load (Debian: nghttp2-client)")
    while time.monotonic() < load.end and not load.failures:
        server.check_alive()
        time.sleep(0.1)
    load.stopping.set()
    revision = "?"
    try:
        with etcd.Client(server) as client:
            revision = client.revision()
    except grpc.RpcError:
        pass
    begun = time.monotonic()
    server.stop(60)
    print(f"{load.calls} calls, revision {revision}, stopped within {time.monotonic() - begun:.1f} s", flush=True)
    for other in others:
        other.kill()
        other.wait()
    etcd.expect(not load.failures, f"{load.failures}")
    server.start()
    server.stop()


etcd.main(run)
