#!/usr/bin/python3
"""Debian's Prometheus scrapes three members, and finds what the dashboards and alerts made for etcd ask for.

The panels of Grafana's dashboard 3070 and of etcd's mixin, and the left sides of the mixin's alerts, must have data on a
cluster that is used; no alert may be on. Then a member is killed, and the alerts about it must find that.

`promtool check metrics` ends with 3, which stands for matters of style: it has 20 complaints about us. All of them are about
names that etcd gave, and it has the same about real etcd 3.4 and 3.5 (ETCD34_BIN, ETCD35_BIN), which are asked here.
"""
import sys

sys.dont_write_bytecode = True

import json
import math
import os
import shutil
import subprocess
import threading
import time
import urllib.parse
import urllib.request

import clusters
import etcd
from etcd import expect

HERE = os.path.dirname(os.path.abspath(__file__))
FAILED = "Unknown|FailedPrecondition|ResourceExhausted|Internal|Unavailable|DataLoss|DeadlineExceeded"
# The mixin names its job so; dashboard 3070 names none.
JOB = 'job=~".*etcd.*"'


def open_streams(service, job=""):
    names = f'grpc_service="etcdserverpb.{service}",grpc_type="bidi_stream"{job}'
    return f"sum(grpc_server_started_total{{{names}}}) - sum(grpc_server_handled_total{{{names}}})"


def slowest(metric, by="instance, le", job=""):
    return f"histogram_quantile(0.99, sum(rate({metric}_bucket{{{job}}}[5m])) by ({by}))"


DASHBOARD_3070 = [
    "sum(etcd_server_has_leader)",
    'sum(rate(grpc_server_started_total{grpc_type="unary"}[5m]))',
    'sum(rate(grpc_server_handled_total{grpc_type="unary",grpc_code!="OK"}[5m]))',
    open_streams("Watch"),
    open_streams("Lease"),
    "etcd_debugging_mvcc_db_total_size_in_bytes",
    "etcd_mvcc_db_total_size_in_bytes",
    slowest("etcd_disk_wal_fsync_duration_seconds"),
    slowest("etcd_disk_backend_commit_duration_seconds"),
    "process_resident_memory_bytes",
    "rate(etcd_network_client_grpc_received_bytes_total[5m])",
    "rate(etcd_network_client_grpc_sent_bytes_total[5m])",
    "sum(rate(etcd_network_peer_received_bytes_total[5m])) by (instance)",
    "sum(rate(etcd_network_peer_sent_bytes_total[5m])) by (instance)",
    "sum(rate(etcd_server_proposals_failed_total[5m]))",
    "sum(etcd_server_proposals_pending)",
    "sum(rate(etcd_server_proposals_committed_total[5m]))",
    "sum(rate(etcd_server_proposals_applied_total[5m]))",
    "changes(etcd_server_leader_changes_seen_total[1d])",
]

MIXIN_DASHBOARD = [
    f"sum(etcd_server_has_leader{{{JOB}}})",
    f'sum(rate(grpc_server_started_total{{{JOB},grpc_type="unary"}}[5m]))',
    f'sum(rate(grpc_server_handled_total{{{JOB},grpc_type="unary",grpc_code=~"{FAILED}"}}[5m]))',
    open_streams("Watch", "," + JOB),
    open_streams("Lease", "," + JOB),
    f"etcd_mvcc_db_total_size_in_bytes{{{JOB}}}",
    slowest("etcd_disk_wal_fsync_duration_seconds", job=JOB),
    slowest("etcd_disk_backend_commit_duration_seconds", job=JOB),
    f"process_resident_memory_bytes{{{JOB}}}",
    f"rate(etcd_network_client_grpc_received_bytes_total{{{JOB}}}[5m])",
    f"rate(etcd_network_client_grpc_sent_bytes_total{{{JOB}}}[5m])",
    f"sum(rate(etcd_network_peer_received_bytes_total{{{JOB}}}[5m])) by (instance)",
    f"sum(rate(etcd_network_peer_sent_bytes_total{{{JOB}}}[5m])) by (instance)",
    f"changes(etcd_server_leader_changes_seen_total{{{JOB}}}[1d])",
    slowest("etcd_network_peer_round_trip_time_seconds", job=JOB),
]

# Name, what is compared, with what. The second has data at all times.
ALERTS = [
    ("MembersDown", f"sum(up{{{JOB}}} == bool 0)", "> 0"),
    ("PeerFailures", f"count(rate(etcd_network_peer_sent_failures_total{{{JOB}}}[1m]) > bool 0.01) by (To)", "> 3"),
    ("InsufficientMembers", f"sum(up{{{JOB}}} == bool 1)", f"< (count(up{{{JOB}}}) + 1) / 2"),
    ("NoLeader", f"etcd_server_has_leader{{{JOB}}}", "== 0"),
    ("LeaderChanges", f"increase(max(etcd_server_leader_changes_seen_total{{{JOB}}})[15m:1s])", ">= 4"),
    ("FailedCalls", f'100 * sum(rate(grpc_server_handled_total{{{JOB},grpc_code=~"{FAILED}"}}[5m])) by (grpc_service) / '
     f"(sum(rate(grpc_server_handled_total{{{JOB}}}[5m])) by (grpc_service) > 0)", "> 5"),
    ("SlowCalls", slowest("grpc_server_handling_seconds", "instance, grpc_service, grpc_method, le",
                          f'{JOB},grpc_method!="Defragment",grpc_type="unary"') + " >= 0", "> 10"),
    ("SlowPeers", f"histogram_quantile(0.99, rate(etcd_network_peer_round_trip_time_seconds_bucket{{{JOB}}}[5m])) >= 0",
     "> 10"),
    ("FailedProposals", f"rate(etcd_server_proposals_failed_total{{{JOB}}}[15m])", "> 5"),
    ("SlowDisk", f"histogram_quantile(0.99, rate(etcd_disk_wal_fsync_duration_seconds_bucket{{{JOB}}}[5m]))", "> 10"),
    ("SlowCommit", f"histogram_quantile(0.99, rate(etcd_disk_backend_commit_duration_seconds_bucket{{{JOB}}}[5m]))", "> 10"),
    ("QuotaLow", f"last_over_time(etcd_mvcc_db_total_size_in_bytes{{{JOB}}}[5m]) / "
     f"last_over_time(etcd_server_quota_backend_bytes{{{JOB}}}[5m]) * 100", "> 95"),
    ("Growth", f"predict_linear(etcd_mvcc_db_total_size_in_bytes{{{JOB}}}[4h], 60)",
     f"> etcd_server_quota_backend_bytes{{{JOB}}}"),
    ("Fragmented", f"last_over_time(etcd_mvcc_db_total_size_in_use_in_bytes{{{JOB}}}[5m]) / "
     f"last_over_time(etcd_mvcc_db_total_size_in_bytes{{{JOB}}}[5m])",
     f"< 0.5 and etcd_mvcc_db_total_size_in_use_in_bytes{{{JOB}}} > 104857600"),
]


class Prometheus:
    def __init__(self, scratch, servers):
        self.port, = etcd.free_ports(1)
        self.log_path = scratch.path("prometheus.log")
        targets = ", ".join(f"'127.0.0.1:{server.port}'" for server in servers)
        rules, config = scratch.path("rules.yml"), scratch.path("prometheus.yml")
        with open(rules, "w", encoding="utf-8") as file:
            json.dump({"groups": [{"name": "etcd", "interval": "1s", "rules": [
                {"alert": name, "expr": f"({left}) {right}"} for name, left, right in ALERTS]}]}, file)
        with open(config, "w", encoding="utf-8") as file:
            file.write(f"global: {{scrape_interval: 500ms, scrape_timeout: 400ms}}\nrule_files: ['{rules}']\n"
                       f"scrape_configs:\n  - job_name: test-etcd\n    static_configs: [{{targets: [{targets}]}}]\n")
        checked = subprocess.run(["promtool", "check", "config", config], capture_output=True, text=True, check=False)
        expect(checked.returncode == 0, checked.stdout + checked.stderr)
        with open(self.log_path, "wb") as log:
            self.process = subprocess.Popen(
                ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={scratch.path('tsdb')}",
                 f"--web.listen-address=127.0.0.1:{self.port}"], stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def get(self, path, **parameters):
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}?{query}", timeout=20) as answer:
            return json.load(answer)["data"]

    def query(self, expression):
        """Its values; NaN, of a division by nothing, is no value."""
        found = self.get("/api/v1/query", query=expression)
        values = [float(sample["value"][1]) for sample in found["result"]]
        return [value for value in values if not math.isnan(value)]

    def firing(self):
        return sorted(alert["labels"]["alertname"] for alert in self.get("/api/v1/alerts")["alerts"]
                      if alert["state"] == "firing")

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


def use(servers, stop):
    """Puts, ranges, errors, leases and a watch on every member, for rates to be above nothing."""
    connections = [etcd.Client(server) for server in servers]
    create = etcd.rpc.WatchRequest(create_request=etcd.rpc.WatchCreateRequest(key=b"w"))
    streams = [client.watch(iter([create])) for client in connections]
    count = 0
    while not stop.is_set():
        for client in connections:
            try:
                client.put(b"k%d" % (count % 50), b"v" * 100)
                client.get(b"k0")
                client.keep_alive(client.grant(100).ID)
                client.grant(100, lease=-1 if count % 100 == 99 else 0)
                client.revoke(1)
            except etcd.grpc.RpcError:
                pass  # no such lease; at the end a member is killed
            count += 1
        time.sleep(0.02)
    for stream in streams:
        stream.cancel()
    for client in connections:
        client.close()


def lint(server):
    """promtool's complaints about the exposition, as (name of the metric, what is wrong with it). It ends with 3 when there are
    only such, which are matters of style: etcd's own names have them."""
    with urllib.request.urlopen(f"{server.endpoint}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
    expect(checked.returncode in (0, 3), f"promtool check metrics: {checked.stderr}")
    return {tuple(line.split(" ", 1)) for line in checked.stderr.splitlines()}


def check_lint(server):
    """It finds fault with no name but those that etcd gave."""
    complaints = lint(server)
    with open(os.path.join(HERE, "metric_families.txt"), encoding="utf-8") as file:
        given = {line.split()[0] for line in file}
    expect({name for name, _ in complaints} <= given, f"promtool check metrics: {complaints}")
    return complaints


def check_lint_of_real_ones(scratch, ours):
    """What promtool says of us it says, word for word, of a real etcd, too."""
    for name, folder in (("real-3.4", etcd.ETCD34), ("real-3.5", etcd.ETCD35)):
        program = os.path.join(folder, "etcd")
        if not folder or not os.access(program, os.X_OK):
            print(f"without {name} to compare promtool's complaints with", flush=True)
            continue
        real = scratch.server(name, program=program, flags=["--metrics=extensive"]).start()
        with etcd.Client(real) as client:
            client.put(b"k", b"v")
        complaints = lint(real)
        real.stop()
        expect(ours <= complaints, f"promtool's complaints about us and not {name}: {sorted(ours - complaints)}")
        print(f"promtool: {len(complaints)} complaints about {name}, among them the {len(ours)} about us", flush=True)


def check_panels(prometheus, name, expressions):
    for expression in expressions:
        values, _ = clusters.wait_for(f"{name}: data for {expression}", lambda: prometheus.query(expression))
        expect(all(value >= 0 for value in values), f"{expression} is {values}")
    print(f"{name}: data for {len(expressions)} expressions", flush=True)


def watch_cluster(prometheus, cluster):
    clusters.wait_for("three targets that are up", lambda: prometheus.query("sum(up)") == [3.0])
    check_panels(prometheus, "dashboard 3070", DASHBOARD_3070)
    check_panels(prometheus, "the mixin's dashboard", MIXIN_DASHBOARD)
    check_panels(prometheus, "the mixin's alerts", [left for _, left, _ in ALERTS])
    expect(prometheus.query("sum(etcd_server_has_leader)") == [3.0], "leaders known")
    expect(prometheus.query(open_streams("Watch")) == [3.0], f"{prometheus.query(open_streams('Watch'))} open watches")
    expect(prometheus.query('sum(rate(grpc_server_handled_total{grpc_code="NotFound"}[5m]))')[0] > 0, "no failed call")
    rules = prometheus.get("/api/v1/rules")["groups"][0]["rules"]
    broken = [rule["lastError"] for rule in rules if rule["health"] == "err"]
    expect(len(rules) == len(ALERTS) and not broken, f"rules: {broken}")
    expect(prometheus.firing() == [], f"on a healthy cluster: {prometheus.firing()}")
    victim = cluster.servers[0]
    victim.kill()
    clusters.wait_for("an alert about the killed member", lambda: "MembersDown" in prometheus.firing())
    failures = "sum(rate(etcd_network_peer_sent_failures_total[1m]))"
    clusters.wait_for("failures to send to the killed member", lambda: prometheus.query(failures)[:1] > [0.01])
    print(f"after a kill: {prometheus.firing()}", flush=True)


def run(scratch):
    for tool in ("prometheus", "promtool"):
        if shutil.which(tool) is None:
            etcd.skip(f"{tool} is not there (Debian: prometheus)")
    cluster = clusters.Cluster(scratch, {name: etcd.OURS for name in ("m1", "m2", "m3")}, flags=["--metrics=extensive"])
    cluster.start()
    stop = threading.Event()
    user = threading.Thread(target=use, args=(cluster.servers, stop))
    user.start()
    prometheus = Prometheus(scratch, cluster.servers)
    try:
        check_lint_of_real_ones(scratch, check_lint(cluster.servers[0]))
        clusters.wait_for("Prometheus", lambda: is_ready(prometheus))
        watch_cluster(prometheus, cluster)
    except BaseException:
        with open(prometheus.log_path, encoding="utf-8") as log:
            print(log.read()[-4000:])
        raise
    finally:
        prometheus.stop()
        stop.set()
        user.join()
    for server in cluster.running():
        server.stop()


def is_ready(prometheus):
    expect(prometheus.process.poll() is None, f"Prometheus ended with {prometheus.process.poll()}")
    try:
        return prometheus.query("vector(1)") == [1.0]
    except OSError:
        return False


etcd.main(run)
