#!/usr/bin/python3
"""Trace lines of slow requests, ours and those of a real etcd 3.5 (ETCD35_BIN): the leader of three members is asked while
the others stand still for a moment, and what it then tells must have the same fields, details and steps."""
import sys

sys.dont_write_bytecode = True

import json
import os
import re
import time

import clusters
import etcd
from etcd import expect, rpc

PAUSE = 0.4  # seconds; well below an election timeout
KEYS = ["level", "ts", "caller", "msg", "detail", "duration", "start", "end", "steps", "step_count"]
AGREEMENT = "agreement among raft nodes before linearized reading"
# By operation, numbers left out: the detail, and the step that took longest.
EXPECTED = {
    ("range", "{range_begin:slow; range_end:; response_count:N; response_revision:N; }", AGREEMENT),
    ("range", "{range_begin:a; range_end:b; response_count:N; response_revision:N; }", AGREEMENT),
    ("range", "{range_begin:given up; range_end:; }", AGREEMENT),
    ("put", "{key:put; req_size:N; response_revision:N; }", "process raft request"),
    ("transaction", "{read_only:false; response_revision:N; number_of_response:N; }", "process raft request"),
    ("transaction", "{read_only:false; number_of_response:N; response_revision:N; }", "process raft request"),
    ("transaction", "{read_only:true; number_of_response:N; response_revision:N; }", AGREEMENT),
    ("compact", "{revision:N; response_revision:N; }", "process raft request"),
    ("linearizableReadLoop", "{readStateIndex:N; appliedIndex:N; }", "read index received"),
}
# etcd has no line for it.
OURS_ALONE = {("delete_range", "{key:delete; range_end:; response_revision:N; }", "process raft request")}


def requests(client):
    """One of each kind."""
    put = rpc.RequestOp(request_put=rpc.PutRequest(key=b"txn", value=b"SECRET"))
    get = rpc.RequestOp(request_range=rpc.RangeRequest(key=b"txn"))
    delete = rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=b"gone"))
    return [clusters.later(client, name, **fields) for name, fields in (
        ("range", {"key": b"slow"}), ("range", {"key": b"a", "range_end": b"b"}), ("put_", {"key": b"put", "value": b"SECRET"}),
        ("txn", {"success": [put, get]}), ("txn", {"success": [get]}),
        ("txn", {"success": [delete]}), ("delete_range", {"key": b"delete"}),
        ("compact_", {"revision": 3, "physical": True}))]


def traces(server):
    with open(server.log_path, encoding="utf-8") as log:
        lines = [json.loads(line) for line in log if line.startswith("{")]
    return [line for line in lines if line["msg"].startswith("trace[")]


def seconds(text):
    value, unit = re.fullmatch(r"([\d.]+)(s|ms|\u00b5s|ns)", text).groups()
    return float(value) * {"s": 1, "ms": 1e-3, "\u00b5s": 1e-6, "ns": 1e-9}[unit]


def shape(line):
    """What a line says, without its numbers."""
    expect(list(line) == KEYS and line["level"] == "info", f"fields: {line}")
    number, operation = re.fullmatch(r"trace\[(\d+)\] (\w+)", line["msg"]).groups()
    expect(line["step_count"] == len(line["steps"]) > 0, f"{line}")
    for key in ("start", "end"):
        expect(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3,6}(Z|[+-]\d{4})", line[key]), f"{key}: {line}")
    expect(line["start"] < line["end"] and seconds(line["duration"]) > 0.1, f"{line}")
    steps = []
    for step in line["steps"]:
        own, name, took = re.fullmatch(r"trace\[(\d+)\] '(.*)' .*\(duration: (\S+)\)", step).groups()
        expect(own == number, f"{step} in {line}")
        steps.append((seconds(took), name))
    expect(sum(took for took, _ in steps) <= seconds(line["duration"]) + 0.001, f"{line}")
    return operation, re.sub(r"\d+", "N", line["detail"]), max(steps)[1]


def check(scratch, prefix, program, expected):
    cluster = clusters.Cluster(scratch, {f"{prefix}{n}": program for n in range(3)}, flags=["--election-timeout=4000"])
    cluster.start()
    leader, _ = cluster.wait_for_leader()
    with etcd.Client(leader) as client:
        for key in (b"slow", b"a", b"delete", b"txn"):
            client.put(key, b"SECRET")
        others = [server for server in cluster.servers if server is not leader]
        for server in others:
            cluster.freeze(server)
        asked = requests(client)
        given_up = clusters.later(client, "range", timeout=PAUSE * 0.75, key=b"given up")
        time.sleep(PAUSE)
        for server in others:
            cluster.thaw(server)
        for answer in asked:
            answer.result()
        expect(given_up.exception() is not None, "an answer although nobody agreed")
    found = {shape(line) for line in traces(leader)}
    expect(expected <= found, f"{program}: missing {expected - found}, found {found}")
    known = {operation for operation, _, _ in expected}
    expect({operation for operation, _, _ in found} <= known, f"{program}: {found - expected}")
    expect("SECRET" not in json.dumps(traces(leader)), "a value was logged")
    cluster.stop()
    print(f"{os.path.basename(os.path.dirname(program))}/etcd: {len(found)} kinds of lines", flush=True)


def run(scratch):
    checks = [("ours", lambda: check(scratch, "ours", etcd.OURS, EXPECTED | OURS_ALONE))]
    real = os.path.join(etcd.ETCD35, "etcd")
    if etcd.ETCD35 and os.access(real, os.X_OK):
        checks.append(("real", lambda: check(scratch, "real", real, EXPECTED)))
    else:
        print("without etcd 3.5 to compare with", flush=True)
    etcd.side_by_side(checks)


etcd.main(run)
