#!/usr/bin/python3
"""`etcd gateway start` passes connections on to members that answer, and only to those."""
import sys

sys.dont_write_bytecode = True

import os
import signal
import socket
import subprocess
import threading

import clusters
import etcd
from etcd import OURS, expect

ETCDCTL = os.path.join(os.path.dirname(OURS), "etcdctl")


class Gateway:
    """Its process, with the interface that etcd.Client wants of a server."""

    host, security = "127.0.0.1", None

    def __init__(self, scratch, endpoints, *flags):
        self.port, = etcd.free_ports(1)
        self.log_path = scratch.path("gateway.log")
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                [OURS, "gateway", f"--endpoints={','.join(endpoints)}", "start", "--listen-addr", f"127.0.0.1:{self.port}",
                 *flags], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def says(self, text):
        with open(self.log_path, encoding="utf-8") as log:
            return text in log.read()

    def wait_for(self, text):
        clusters.wait_for(f"the gateway says: {text}", lambda: self.says(text))


def check_command():
    for words, code, text in ((["start", "--nope"], 1, "Error: unknown flag: --nope\nUsage:\n  etcd gateway start"),
                              (["start", "--retry-delay=x"], 1, 'Error: invalid argument "x" for "--retry-delay" flag: '),
                              (["start", "--endpoints"], 1, "Error: flag needs an argument: --endpoints"),
                              (["start", "--endpoints=localhost:1", "--listen-addr=127.0.0.1:1"], 1,
                               "should not resolve to the gateway listen addr"),
                              (["start", "--endpoints="], 1, "no endpoints found"),
                              (["start", "--endpoints=nonsense"], 1, 'error parsing endpoint "nonsense"'),
                              (["start", "--help"], 0, "--listen-addr"), ([], 0, "etcd gateway [command]")):
        ended = subprocess.run([OURS, "gateway", *words], capture_output=True, text=True, timeout=20, check=False)
        expect(ended.returncode == code and text in ended.stdout + ended.stderr, f"{words}: {ended}")
    proxy = subprocess.run([OURS, "grpc-proxy", "start"], capture_output=True, text=True, timeout=20, check=False)
    expect(proxy.returncode == 1 and "not part of this release" in proxy.stderr, f"{proxy}")


def get(gateway, key):
    """By a connection of its own."""
    with etcd.Client(gateway) as client:
        return client.get(key)


def members_reached(gateway, tries):
    return {get(gateway, b"k").header.member_id for _ in range(tries)}


def check_choice(scratch):
    one, two = scratch.server("one").start(), scratch.server("two").start()
    dead, = etcd.free_ports(1)
    gateway = Gateway(scratch, [f"http://127.0.0.1:{dead}", one.endpoint, f"127.0.0.1:{two.port}"], "--retry-delay=500ms")
    try:
        gateway.wait_for("ready to proxy client requests")
        expect(len(members_reached(gateway, 12)) == 2, "not both members are used")
        gateway.wait_for("deactivated endpoint")
        gateway.wait_for("failed to activate endpoint (stay inactive for another interval)")
        check_bytes(gateway, one, two)
        one.kill()
        expect(len(members_reached(gateway, 6)) == 1, "a dead member is used")
        one.start()
        gateway.wait_for("activated")
        clusters.wait_for("both members again", lambda: len(members_reached(gateway, 6)) == 2)
        two.kill()
        one.kill()
        with socket.create_connection(("127.0.0.1", gateway.port)) as nobody:
            nobody.settimeout(20)
            expect(nobody.recv(1) == b"", "a connection to nobody stays open")
    finally:
        gateway.process.send_signal(signal.SIGTERM)
        ended = gateway.process.wait(20)
    expect(ended == -signal.SIGTERM, f"the gateway ended with {ended}")
    for word in ("Sanitizer", "runtime error"):
        expect(not gateway.says(word), f"{word} in {gateway.log_path}")


def resident(process):
    with open(f"/proc/{process.pid}/status", encoding="utf-8") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) // 1024


def check_bytes(gateway, one, two):
    """Much goes through unchanged, several connections at a time; who does not read does not fill the gateway."""
    value = bytes(range(256)) * 4000
    for server in (one, two):
        with etcd.Client(server) as client:
            for i in range(40):
                client.put(b"big%d" % i, value)
    wrong = []

    def read():
        with etcd.Client(gateway) as client:
            found = client.get(b"big", range_end=b"bih")
            if [kv.value for kv in found.kvs] != [value] * 40:
                wrong.append(len(found.kvs))

    readers = [threading.Thread(target=read) for _ in range(4)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    expect(not wrong, f"other bytes than were written: {wrong}")
    before = resident(gateway.process)
    idle = [socket.create_connection(("127.0.0.1", gateway.port)) for _ in range(4)]
    for connection in idle:  # many answers are asked for, none is read
        connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 100)
    with etcd.Client(gateway) as client:
        expect(client.get(b"big0").count == 1, "the gateway is held up by those who do not read")
    grown = resident(gateway.process) - before
    expect(grown < 40, f"4 connections that nobody reads from took {grown} MiB")
    for connection in idle:
        connection.close()


def run(scratch):
    check_command()
    check_choice(scratch)


etcd.main(run)
