#!/usr/bin/env python3
"""Our etcd beside a real one, interleaved: throughput, latency, memory, start time.

usage: bench.py --ours DIR/etcd [--peer etcd] [--rounds N] [--seconds S] [--keys N] [--loader DIR/bench_load]
                [--watcher DIR/bench_watch] [--tls]

Both servers run on loopback with their data side by side; h2load drives one after the other, so that a slow moment of the
machine hits both. Printed are medians over the rounds and the ratio ours / peer (times and memory: smaller is better).
Nothing is asserted: read the ratios. With --tls the last shape is measured once more over TLS 1.3 (ECDSA P-256, AES-128).
At the end three members of each are started on loopback; all clients speak with the leader.
"""
import argparse
import os
import re
import shutil
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
import wire  # noqa: E402
from ports import free_port  # noqa: E402

KEY = b"bench-key-000001"
VALUE = b"v" * 256
SHAPES = [(1, 1), (8, 10), (100, 10)]


def frame(fields):
    data = wire.message(fields)
    return b"\0" + struct.pack(">I", len(data)) + data


CALLS = {
    "put": ("/etcdserverpb.KV/Put", frame({1: KEY, 2: VALUE})),
    "range": ("/etcdserverpb.KV/Range", frame({1: KEY})),
    "serializable range": ("/etcdserverpb.KV/Range", frame({1: KEY, 7: 1})),
}


def make_certificate(work):
    paths = os.path.join(work, "cert.pem"), os.path.join(work, "key.pem")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=bench", "-addext", "subjectAltName=IP:127.0.0.1", "-out", paths[0], "-keyout", paths[1]],
                   check=True, capture_output=True)
    return paths


class Server:
    def __init__(self, name, program, work, certificate=None):
        self.name, self.program = name, program
        self.together = None  # the --initial-cluster of several
        self.data = os.path.join(work, name)
        self.log = open(os.path.join(work, name + ".log"), "w")
        self.client, self.secure, self.peer = free_port(), free_port(), free_port()
        self.certificate = certificate
        self.process = None

    def spawn(self):
        client, peer = "http://127.0.0.1:%d" % self.client, "http://127.0.0.1:%d" % self.peer
        listen, flags = client, []
        if self.certificate:
            listen += ",https://127.0.0.1:%d" % self.secure
            flags = ["--cert-file=" + self.certificate[0], "--key-file=" + self.certificate[1]]
        self.process = subprocess.Popen(
            [self.program, "--name=" + self.name, "--data-dir=" + self.data, "--listen-client-urls=" + listen, *flags,
             "--advertise-client-urls=" + client, "--listen-peer-urls=" + peer,
             "--initial-advertise-peer-urls=" + peer, "--initial-cluster=" + (self.together or self.name + "=" + peer),
             "--log-level=error", "--quota-backend-bytes=8589934592"],
            stdout=self.log, stderr=self.log)

    def start(self):
        began = time.monotonic()
        self.spawn()
        self.wait_healthy()
        return time.monotonic() - began

    def get(self, path):
        with urllib.request.urlopen("http://127.0.0.1:%d%s" % (self.client, path), timeout=1) as answer:
            return answer.read()

    def wait_healthy(self):
        while True:
            try:
                if b'"true"' in self.get("/health"):
                    return
            except OSError:
                pass
            if self.process.poll() is not None:
                sys.exit("%s ended while starting: see %s" % (self.name, self.log.name))
            time.sleep(0.002)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)

    def resident(self):
        with open("/proc/%d/status" % self.process.pid) as f:
            return int(re.search(r"VmRSS:\s+(\d+)", f.read()).group(1)) / 1024


class Three:
    """Three members of one kind; the ports are the leader's."""

    def __init__(self, name, program, work):
        self.name = name
        self.members = [Server("%s%d" % (name, number), program, work) for number in range(3)]
        for member in self.members:
            member.together = ",".join("%s=http://127.0.0.1:%d" % (other.name, other.peer) for other in self.members)

    def start(self):
        for member in self.members:
            member.spawn()
        for member in self.members:
            member.wait_healthy()
        leaders = [member for member in self.members if b"\netcd_server_is_leader 1\n" in member.get("/metrics")]
        self.client = leaders[0].client

    def stop(self):
        for member in self.members:
            member.stop()

    def kill(self):
        for member in self.members:
            if member.process and member.process.poll() is None:
                member.process.kill()


def unit_seconds(text):
    number, unit = re.fullmatch(r"([0-9.]+)(us|ms|s)", text).groups()
    return float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1}[unit]


def h2load(server, call, connections, streams, seconds, work, tls=False):
    path, body = CALLS[call]
    body_file = os.path.join(work, "body")
    with open(body_file, "wb") as f:
        f.write(body)
    out = subprocess.run(
        ["h2load", "-D", str(seconds), "-c", str(connections), "-m", str(streams), "-t", "1",
         "-H", "content-type: application/grpc", "-H", "te: trailers", "-d", body_file,
         ("https://127.0.0.1:%d%s" if tls else "http://127.0.0.1:%d%s") % (server.secure if tls else server.client, path)],
        capture_output=True, text=True, check=True).stdout
    rate = float(re.search(r"finished in [^,]+, ([0-9.]+) req/s", out).group(1))
    failed = re.search(r"(\d+) failed, (\d+) errored, (\d+) timeout", out).groups()
    if any(int(x) for x in failed):
        print("  warning: %s %s: %s failed, %s errored, %s timed out" % ((server.name, call) + failed))
    latency = re.search(r"time for request:\s+(\S+)\s+(\S+)\s+(\S+)", out)
    return rate, unit_seconds(latency.group(3))


def row(what, ours, peer, form, smaller_is_better=False):
    a, b = statistics.median(ours), statistics.median(peer) if peer else None
    text = "%-34s %12s" % (what, form % a)
    if b is not None:
        text += " %12s   %5.2f x%s" % (form % b, a / b if b else 0, " (smaller is better)" if smaller_is_better else "")
    print(text, flush=True)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--ours", required=True)
    parser.add_argument("--peer", default=os.environ.get("BENCH_PEER"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4)
    parser.add_argument("--keys", type=int, default=0, help="also load so many keys and measure memory and restart")
    parser.add_argument("--loader", help="the bench_load program, for --keys")
    parser.add_argument("--watcher", help="the bench_watch program: also measure the fan-out of events")
    parser.add_argument("--tls", action="store_true", help="measure over TLS, too")
    options = parser.parse_args()
    if not shutil.which("h2load"):
        sys.exit("bench: h2load is missing (Debian: nghttp2-client)")
    work = tempfile.mkdtemp(prefix="etcd-bench")
    certificate = make_certificate(work) if options.tls else None
    servers = [Server("ours", options.ours, work, certificate)]
    if options.peer:
        servers.append(Server("peer", options.peer, work, certificate))
    try:
        run(servers, options, work)
        for server in servers:
            server.stop()
        three_members(options, work)
    finally:
        for server in servers:
            if server.process and server.process.poll() is None:
                server.process.kill()
        shutil.rmtree(work, ignore_errors=True)


def run(servers, options, work):
    print("%-34s %12s %12s   ratio" % ("", "ours", "peer"))
    for server in servers:
        server.start()
    time.sleep(1)
    idle = [[server.resident()] for server in servers]
    row("resident idle, MB", idle[0], idle[1] if len(idle) > 1 else None, "%.1f", True)
    for call in CALLS:
        for connections, streams in SHAPES:
            measure(servers, options, work, call, connections, streams)
        if options.tls:
            measure(servers, options, work, call, *SHAPES[-1], tls=True)
    if options.watcher:
        watch_fan_out(servers, options)
    after = [[server.resident()] for server in servers]
    row("resident after load, MB", after[0], after[1] if len(after) > 1 else None, "%.1f", True)
    if options.keys and options.loader:
        load_and_restart(servers, options)


def three_members(options, work):
    threes = [Three("three-ours", options.ours, work)]
    if options.peer:
        threes.append(Three("three-peer", options.peer, work))
    try:
        for three in threes:
            three.start()
        time.sleep(1)
        for call in ("put", "range"):
            for connections, streams in SHAPES:
                measure(threes, options, work, call, connections, streams, prefix="3 members: ")
        for three in threes:
            three.stop()
    finally:
        for three in threes:
            three.kill()


def measure(servers, options, work, call, connections, streams, tls=False, prefix=""):
    rates, latencies = [[] for _ in servers], [[] for _ in servers]
    for _ in range(options.rounds):
        for i, server in enumerate(servers):
            rate, latency = h2load(server, call, connections, streams, options.seconds, work, tls)
            rates[i].append(rate)
            latencies[i].append(latency * 1e3)
    title = "%s%s%s %dx%d" % (prefix, call, ", TLS" if tls else "", connections, streams)
    row(title + ", req/s", rates[0], rates[1] if len(servers) > 1 else None, "%.0f")
    if (connections, streams) == (1, 1):
        row(title + ", mean ms", latencies[0], latencies[1] if len(servers) > 1 else None, "%.3f", True)


def watch_fan_out(servers, options):
    times = [[] for _ in servers]
    for _ in range(options.rounds):
        for i, server in enumerate(servers):
            out = subprocess.run([options.watcher, "127.0.0.1:%d" % server.client, "100", "10000", "11"],
                                 capture_output=True, text=True, check=True).stdout
            times[i].append(float(out))
    row("1 put to 10000 watchers, ms", times[0], times[1] if len(servers) > 1 else None, "%.1f", True)


def load_and_restart(servers, options):
    memory, start = [], []
    for server in servers:
        subprocess.run([options.loader, "127.0.0.1:%d" % server.client, str(options.keys)], check=True)
        time.sleep(1)
        memory.append([server.resident()])
    row("resident with %d keys, MB" % options.keys, memory[0], memory[1] if len(memory) > 1 else None, "%.0f", True)
    for server in servers:
        server.stop()
        start.append([server.start()])
    row("start to healthy, s", start[0], start[1] if len(start) > 1 else None, "%.2f", True)
    memory = [[server.resident()] for server in servers]
    row("resident after restart, MB", memory[0], memory[1] if len(memory) > 1 else None, "%.0f", True)


main()
