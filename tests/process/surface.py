#!/usr/bin/python3
"""What operators, service managers and dashboards see: flags, environment, files, exit codes, the log, HTTP, metrics."""
import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import etcd
from etcd import OURS, expect

HERE = os.path.dirname(os.path.abspath(__file__))
ETCDCTL = os.path.abspath(os.environ.get("ETCDCTL_BIN", "./etcdctl"))
# ETCD_* variables of whoever runs the tests are not the server's.
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("ETCD_")}


def run_server(*arguments, environment=None, timeout=20):
    return subprocess.run([OURS, *arguments], env={**CLEAN, **(environment or {})}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=timeout, check=False)


def get(port, path, method="GET", headers=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, headers=headers or {})
    answer = connection.getresponse()
    body = answer.read().decode()
    connection.close()
    return answer.status, body, dict(answer.getheaders())


def log_lines(server):
    with open(server.log_path, encoding="utf-8") as log:
        return [json.loads(line) for line in log]


def messages(server):
    return [line["msg"] for line in log_lines(server)]


def in_order(lines, wanted):
    at = 0
    for text in wanted:
        while at < len(lines) and lines[at] != text:
            at += 1
        expect(at < len(lines), f"'{text}' is missing, or stands too early, in:\n" + "\n".join(lines))


# ---- before anything is served ----

def check_version_and_help():
    shown = run_server("--version")
    lines = shown.stdout.splitlines()
    expect(shown.returncode == 0 and shown.stderr == "", f"--version: {shown}")
    for line, start in zip(lines, ["etcd Version: 3.", "Git SHA: ", "Go Version: ", "Go OS/Arch: linux/"]):
        expect(line.startswith(start), f"--version: {line}")
    helped = run_server("--help")
    expect(helped.returncode == 0 and "Usage:" in helped.stderr, f"--help: {helped.stderr}")
    expect("  --data-dir ''\n    " in helped.stdout and "Usage:" not in helped.stdout, f"--help: {helped.stdout}")


def check_refusals(scratch):
    usage = run_server("--isten-client-urls=x")
    expect(usage.returncode == 2, f"an unknown flag ends with {usage.returncode}")
    expect(usage.stderr.startswith("flag provided but not defined: -isten-client-urls\nUsage:"), usage.stderr)
    cases = [
        (["stray"], {}, "warn", "failed to verify flags", '"stray" is not a valid flag'),
        (["--name=a"], {"ETCD_NAME": "a"}, "fatal", "conflicting environment variable is shadowed by corresponding "
         "command-line flag (either unset environment variable or disable flag))", None),
        ([], {"ETCD_HEARTBEAT_INTERVAL": "abc"}, "warn", "failed to verify flags",
         'invalid value "abc" for ETCD_HEARTBEAT_INTERVAL: parse error'),
        (["--listen-client-urls=http://127.0.0.1:1"], {}, "warn", "advertise client URLs are not set",
         "--advertise-client-urls is required when --listen-client-urls is set explicitly"),
        (["--proxy=on"], {}, "warn", "failed to verify flags",
         "--proxy=on: there is no v2 proxy; clients reach the members' --advertise-client-urls"),
        (["--config-file=/nowhere.yml"], {}, "warn", "failed to verify flags",
         "open /nowhere.yml: No such file or directory"),
    ]
    for arguments, environment, level, message, error in cases:
        refused = run_server(*arguments, environment=environment)
        line = json.loads(refused.stderr)
        expect(refused.returncode == 1 and refused.stdout == "", f"{arguments}: {refused}")
        expect((line["level"], line["msg"]) == (level, message), f"{arguments}: {line}")
        expect(error is None or line["error"] == error, f"{arguments}: {line}")
    not_a_directory = scratch.path("file")
    with open(not_a_directory, "w", encoding="utf-8"):
        pass
    refused = run_server(f"--data-dir={not_a_directory}")
    expect(refused.returncode == 1 and "failed to list data directory" in refused.stderr, refused.stderr)


# ---- a life ----

def check_life(scratch):
    server = scratch.server("life", environment={"ETCD_MAX_WALS": "4", "ETCD_NO_SUCH_OPTION": "1"},
                            flags=["--snapshot-catchup-entries=1000"])
    server.start()
    with etcd.Client(server) as client:
        client.put(b"k", b"v")
    server.stop()
    process = server.start().process
    server.stop()
    expect(process.returncode == -signal.SIGTERM, f"SIGTERM ends with {process.returncode}")
    lines = log_lines(server)
    for line in lines:
        expect(list(line)[:2] == ["level", "ts"] and line["caller"] and line["msg"], f"a bad line: {line}")
        expect(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d{4})", line["ts"]), line["ts"])
        expect(line["level"] in ("debug", "info", "warn"), f"not in an ordinary life: {line}")
    in_order(messages(server), [
        "Running: ", "recognized and used environment variable", "Initialize and start etcd server",
        "configuring peer listeners", "configuring client listeners", "starting an etcd server", "opened backend db",
        "starting local member", "enabled backend quota with default value", "starting etcd server", "kvstore restored",
        "added member", "ready to serve client requests",
        "serving client traffic insecurely; this is strongly discouraged!", "notifying init daemon",
        "successfully notified init daemon", "received signal; shutting down", "closing etcd server",
        "closed etcd server", "server has already been initialized", "restarting local member",
        "ready to serve client requests", "closed etcd server"])
    with open(server.log_path, encoding="utf-8") as log:
        text = log.read()
    for part in ('"snapshot-catchup-entries":1000', '"max-wals":4', '"environment-variable":"ETCD_NO_SUCH_OPTION=1"',
                 '"logger":"raft"', '"signal":"terminated"'):
        expect(part in text, f"{part} is missing in the log")


# Fields that pipelines read, as etcd 3.5 has them.
FIELDS = {
    "configuring peer listeners": ["listen-peer-urls"],
    "starting local member": ["local-member-id", "cluster-id"],
    "enabled backend quota with default value": ["quota-name", "quota-size-bytes", "quota-size"],
    "starting etcd server": ["local-member-id", "local-server-version", "cluster-version"],
    "kvstore restored": ["current-rev"],
    "added member": ["cluster-id", "local-member-id", "added-peer-id", "added-peer-peer-urls", "added-peer-is-learner"],
    "now serving peer/client/metrics": ["local-member-id", "initial-advertise-peer-urls", "listen-peer-urls",
                                        "advertise-client-urls", "listen-client-urls", "listen-metrics-urls"],
    "serving peer traffic": ["address"],
    "published local member to cluster through raft": ["local-member-id", "local-member-attributes", "cluster-id",
                                                       "publish-timeout"],
    "set initial cluster version": ["cluster-id", "local-member-id", "cluster-version"],
    "serving client traffic insecurely; this is strongly discouraged!": ["traffic", "address"],
    "compact tree index": ["revision"],
    "finished scheduled compaction": ["compact-revision", "took", "hash", "current-db-size-bytes", "current-db-size",
                                      "current-db-size-in-use-bytes", "current-db-size-in-use"],
    "defragmenting": ["path", "current-db-size-bytes", "current-db-size", "current-db-size-in-use-bytes",
                      "current-db-size-in-use"],
    "finished defragmenting directory": ["path", "current-db-size-bytes-diff", "current-db-size-bytes", "current-db-size",
                                         "current-db-size-in-use-bytes-diff", "current-db-size-in-use-bytes",
                                         "current-db-size-in-use", "took"],
    "received signal; shutting down": ["signal"],
    "closing etcd server": ["name", "data-dir", "advertise-peer-urls", "advertise-client-urls"],
    "skipped leadership transfer for single voting member cluster": ["local-member-id", "current-leader-member-id"],
    "stopping serving peer traffic": ["address"],
    "closed etcd server": ["name", "data-dir", "advertise-peer-urls", "advertise-client-urls"],
}


def check_fields(scratch):
    server = scratch.server("fields").start()
    with etcd.Client(server) as client:
        client.put(b"k", b"v")
        client.put(b"k", b"w")
        client.compact(2)
    etcdctl(server, "defrag")
    server.stop()
    lines = {line["msg"]: line for line in log_lines(server)}
    for message, fields in FIELDS.items():
        expect(message in lines, f"the log does not say: {message}")
        missing = [field for field in fields if field not in lines[message]]
        expect(not missing, f"{message}: {missing} are not in {lines[message]}")


def check_signals(scratch):
    """What ends a server, how, and what does not."""
    for number, code in ((signal.SIGQUIT, 2), (signal.SIGHUP, -signal.SIGHUP), (signal.SIGINT, -signal.SIGINT)):
        server = scratch.server(f"signal-{number}").start()
        for ignored in (signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE):
            server.process.send_signal(ignored)
        with etcd.Client(server) as client:
            client.put(b"k", b"v")
        server.process.send_signal(number)
        ended = server.process.wait(20)
        expect(ended == code, f"signal {number} ended the server with {ended}:\n{server.log_tail()}")
        expect(number != signal.SIGQUIT or "SIGQUIT: quit\n" in server.log_tail(), server.log_tail())


def check_console_and_files(scratch):
    lines = scratch.path("lines.log")
    server = scratch.server("console", flags=["--log-format=console", f"--log-outputs={lines}"])
    server.start()
    server.stop()
    with open(lines, encoding="utf-8") as log:
        first = log.readline()
    expect(re.match(r"\S+\tinfo\tserver/main\.c:\d+\tRunning: \t\{\"args\": \[", first), first)
    expect(os.path.getsize(server.log_path) == 0, "something was written besides the log file")
    old = scratch.server("capnslog", flags=["--logger=capnslog"])
    old.start()
    old.stop()
    with open(old.log_path, encoding="utf-8") as log:
        for line in log:
            expect(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{6} [IW] \| [a-z]+: ", line), line)


def check_config_file(scratch):
    port, peer_port = etcd.free_ports(2)
    path = scratch.path("etcd.yml")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"name: y\ndata-dir: {scratch.path('yaml')}\nlisten-client-urls: http://127.0.0.1:{port}\n"
                   f"advertise-client-urls: http://127.0.0.1:{port}\nlisten-peer-urls: http://127.0.0.1:{peer_port}\n"
                   f"initial-advertise-peer-urls: http://127.0.0.1:{peer_port}\nno-such-key: 1\nmax-snapshots: 5\n"
                   "auto-compaction-mode: periodic\nauto-compaction-retention: \"1\"\ndiscovery-fallback: 'proxy'\n"
                   "client-transport-security:\n  cert-file:\n  client-cert-auth: false\n")
    server = scratch.server("yaml")
    server.port = port
    with open(server.log_path, "ab") as log:
        server.process = subprocess.Popen([OURS, f"--config-file={path}", "--name=other"], stdin=subprocess.DEVNULL,
                                          stdout=log, stderr=log, env={**CLEAN, "ETCD_NAME": "another"})
    server.wait_ready()
    unknown = [line for line in log_lines(server) if line.get("key") == "no-such-key"]
    expect(len(unknown) == 1 and unknown[0]["place"] == f"{path}:7", f"the unknown key: {unknown}")
    expect('"name":"y"' in server.log_tail(100000), "the file's name was not taken")
    server.stop()


def check_ports_and_locks(scratch):
    holder = scratch.server("held").start()
    port_taken = scratch.server("port")
    port_taken.port, port_taken.endpoint = holder.port, holder.endpoint
    port_taken.spawn()
    expect(port_taken.process.wait(20) == 1, "a taken port did not end the server with 1")
    expect(f"listen tcp 127.0.0.1:{holder.port}: bind: address already in use" in port_taken.log_tail(),
           port_taken.log_tail())
    few = scratch.path("few descriptors")
    done = subprocess.run(["sh", "-c", 'ulimit -n 150 && exec "$@"', "sh", OURS, f"--data-dir={few}"], capture_output=True,
                          text=True, timeout=20)
    expect(done.returncode == 1 and "file descriptor limit of etcd process is too low; please set higher" in done.stderr,
           f"150 descriptors: {done}")
    waiting = etcd.Server(holder.data)
    waiting.log_path = scratch.path("waiting.log")
    scratch.servers.append(waiting)
    waiting.spawn()
    time.sleep(1)
    waiting.check_alive()
    holder.stop()
    waiting.wait_ready()
    waiting.stop()


def check_notification(scratch):
    path = scratch.path("notify.socket")
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(path)
    listener.settimeout(20)
    server = scratch.server("notify", environment={"NOTIFY_SOCKET": path})
    server.spawn()
    expect(listener.recv(100) == b"READY=1", "the service manager was told something else")
    with etcd.Client(server) as client:
        client.put(b"k", b"v")
    server.stop()
    listener.close()


# ---- what is served ----

def check_http(scratch):
    metrics_port, = etcd.free_ports(1)
    server = scratch.server("http", flags=[f"--listen-metrics-urls=http://127.0.0.1:{metrics_port}", "--cors=http://a.com:1",
                                           "--host-whitelist=127.0.0.1"]).start()
    status, body, headers = get(server.port, "/version")
    version = json.loads(body)
    expect(status == 200 and sorted(version) == ["etcdcluster", "etcdserver", "storage"], body)
    expect(headers["Content-Type"] == "application/json", headers)
    status, body, headers = get(server.port, "/health")
    expect((status, body) == (200, '{"health":"true","reason":""}'), body)
    expect(headers["Content-Type"].startswith("text/plain"), headers)
    for method in ("HEAD", "POST"):
        status, _, headers = get(server.port, "/health", method)
        expect(status == 405 and headers["Allow"] == "GET", f"{method} /health: {status}")
    for port in (server.port, metrics_port):
        expect(get(port, "/livez")[:2] == (200, "ok\n"), "/livez")
        expect(get(port, "/livez?verbose")[:2] == (200, "[+]serializable_read ok\nok\n"), "/livez?verbose")
        expect(get(port, "/readyz")[:2] == (200, "ok\n"), "/readyz")
        expect(get(port, "/readyz/data_corruption?verbose")[1] == "[+]data_corruption ok\nok\n", "one check")
        expect(get(port, "/readyz/no_such_check")[0] == 404, "an unknown check")
    status, body, headers = get(metrics_port, "/version")
    expect((status, body) == (404, "404 page not found\n"), "the metrics port has /version")
    expect("Access-Control-Allow-Origin" not in headers, "the metrics port allows origins")
    status, body, _ = get(server.port, "/version", headers={"Host": "evil.example"})
    expect(status == 421 and 'etcd --host-whitelist "evil.example"' in body, f"host whitelist: {status} {body}")
    allowed = get(server.port, "/version", "OPTIONS", {"Origin": "http://a.com:1"})
    expect(allowed[0] == 200 and allowed[2]["Access-Control-Allow-Origin"] == "http://a.com:1", allowed)
    refused = get(server.port, "/version", headers={"Origin": "http://b.com:1"})
    expect("Access-Control-Allow-Origin" not in refused[2], refused)
    variables = json.loads(get(server.port, "/debug/vars")[1])
    expect(variables["raft.status"]["raftState"] == "StateLeader", variables)
    expect(get(server.port, "/debug/pprof/")[0] == 404, "profiles without --enable-pprof")
    check_alarm(server)
    server.stop()


def check_alarm(server):
    with etcd.Client(server) as client:
        member = client.status_().header.member_id
        client.alarm(action=1, memberID=member, alarm=1)
        status, body, _ = get(server.port, "/health")
        expect((status, body) == (503, '{"health":"false","reason":"ALARM NOSPACE"}\n'), body)
        expect(get(server.port, "/health?exclude=NOSPACE")[0] == 200, "an excluded alarm")
        expect(get(server.port, "/readyz")[0] == 200, "/readyz minds a full disk")
        client.alarm(action=2, memberID=member, alarm=1)
        client.alarm(action=1, memberID=member, alarm=2)
        status, body, _ = get(server.port, "/readyz")
        expect(status == 503 and "[-]data_corruption failed: alarm activated: CORRUPT\n" in body and "\nok\n" not in body,
               body)
        expect(get(server.port, "/readyz?exclude=data_corruption")[0] == 200, "an excluded check")
        expect(get(server.port, "/livez")[0] == 200, "/livez minds an alarm")
        client.alarm(action=2, memberID=member, alarm=2)


# HELP, TYPE and samples of the text format, taken strictly.
SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[A-Za-z_]+="(?:[^"\\\n]|\\.)*",?)+)\})? (-?[0-9.]+(?:e[+-][0-9]+)?|\+Inf|NaN)')


def parse_metrics(text):
    families, name = {}, None
    expect(text.endswith("\n"), "the last line is cut")
    for line in text.splitlines():
        if line.startswith("# HELP "):
            name = line.split(" ")[2]
            expect(name not in families, f"{name} comes twice")
            expect(not families or name > max(families), f"{name} is not in order")
            families[name] = {"type": None, "samples": {}}
        elif line.startswith("# TYPE "):
            _, _, typed, kind = line.split(" ")
            expect(typed == name and kind in ("counter", "gauge", "histogram", "summary"), line)
            families[name]["type"] = kind
        else:
            sample = SAMPLE.fullmatch(line)
            expect(sample is not None, f"not a sample: {line}")
            base, labels, value = sample.groups()
            family = families[name]
            suffixes = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}
            expect(base in [name + suffix for suffix in suffixes.get(family["type"], ("",))], f"{line} is not of {name}")
            names = [label.split("=")[0] for label in re.findall(r'[A-Za-z_]+="', labels or "")]
            expect([n for n in names if n != "le"] == sorted(n for n in names if n != "le"), f"labels of {line}")
            expect((base, labels) not in family["samples"], f"{line} comes twice")
            family["samples"][base, labels] = float(value)
    for name, family in families.items():
        expect(family["samples"], f"{name} is empty")
        counts = [value for (base, _), value in family["samples"].items() if base.endswith("_bucket")]
        expect(all(value == int(value) for value in counts), f"buckets of {name}")
    return families


def check_metrics(scratch):
    server = scratch.server("metrics", flags=["--metrics=extensive"]).start()
    with etcd.Client(server) as client:
        for i in range(10):
            client.put(b"k%d" % i, b"v")
        client.everything()
        client.delete(b"k1")
        client.txn(success=[], failure=[])
        client.revoke(client.grant(100).ID)
        client.compact(5)
    get(server.port, "/readyz")
    _, text, headers = get(server.port, "/metrics")
    expect(headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8; escaping=underscores", headers)
    families = parse_metrics(text)
    with open(os.path.join(HERE, "metric_families.txt"), encoding="utf-8") as wanted:
        for line in wanted:
            name, kind, *labels = line.split()
            expect(name in families, f"{name} is missing")
            expect(families[name]["type"] == kind, f"{name} is a {families[name]['type']}, not a {kind}")
            wanted_labels = labels[0].split(",") if labels else []
            for _, found in families[name]["samples"]:
                names = [label for label in re.findall(r'([A-Za-z_]+)="', found or "") if label not in ("le", "quantile")]
                expect(names == wanted_labels, f"{name} has labels {names}, not {wanted_labels}")
    value = lambda name, labels=None: families[name.partition("|")[0]]["samples"][name.replace("|", ""), labels]
    expect(value("etcd_server_has_leader") == 1, "no leader")
    expect(value("etcd_mvcc_put_total") == 10, f"{value('etcd_mvcc_put_total')} puts")
    expect(value("etcd_server_apply_duration_seconds|_count", 'op="Put",success="true",version="v3"') == 10, "applies")
    expect(value("etcd_debugging_lease_ttl_total|_bucket", 'le="128"') == 1, "the lease's time to live")
    expect(value("grpc_server_handled_total",
                 'grpc_code="OK",grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"') == 10, "handled")
    expect(value("grpc_server_handling_seconds|_count",
                 'grpc_method="Put",grpc_service="etcdserverpb.KV",grpc_type="unary"') == 10, "handling")
    expect(value("etcd_server_client_requests_total", 'client_api_version="unknown",type="unary"') >= 14, "requests")
    expect(value("process_resident_memory_bytes") > 1e6 and value("process_open_fds") > 3, "the process")
    expect(value("etcd_disk_wal_fsync_duration_seconds|_count") > 0, "no sync of the log")
    for phase in ("rebalance", "spill", "write"):
        name = f"etcd_debugging_disk_backend_commit_{phase}_duration_seconds|_count"
        expect(value(name) == value("etcd_disk_backend_commit_duration_seconds|_count") > 0, name)
    if shutil.which("promtool"):
        checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        expect("error" not in checked.stderr.lower(), checked.stderr)
    server.stop()


def check_slow_requests(scratch):
    server = scratch.server("slow", flags=["--warning-unary-request-duration=1\u00b5s", "--warning-apply-duration=1ns"])
    server.start()
    with etcd.Client(server) as client:
        client.put(b"foo", b"SECRET")
        client.everything()
    server.stop()
    lines = log_lines(server)
    put = [line for line in lines if line["msg"] == "request stats" and line["response type"] == "/etcdserverpb.KV/Put"]
    expect(len(put) == 1 and put[0]["level"] == "warn", f"{len(put)} lines about the put")
    expect(put[0]["request content"] == 'key:"foo" value_size:6' and put[0]["request count"] == 1, f"{put[0]}")
    expect(put[0]["remote"].startswith("127.0.0.1:") and put[0]["response size"] > 0, f"{put[0]}")
    applied = [line for line in lines if line["msg"] == "apply request took too long" and "put:<" in line["request"]]
    expect(len(applied) == 1 and applied[0]["expected-duration"] == "1ns", f"{applied}")
    expect(applied[0]["request"].endswith(' > put:<key:"foo" value_size:6 >'), applied[0]["request"])
    ranges = [line for line in lines if line.get("prefix") == "read-only range "]
    expect(any(line["response"].startswith("range_response_count:1 size:") for line in ranges), f"{ranges}")
    expect("SECRET" not in server.log_tail(1 << 20), "a value was logged")


def etcdctl(server, *words):
    """A command of ours, which must succeed."""
    ran = subprocess.run([ETCDCTL, f"--endpoints={server.endpoint}", *words], env=CLEAN, capture_output=True, text=True,
                         timeout=60, check=False)
    expect(ran.returncode == 0, f"etcdctl {words}: {ran.stdout}{ran.stderr}")
    return ran.stdout


def expect_no_space(call, what):
    try:
        call()
    except etcd.grpc.RpcError as error:
        expect(error.code() == etcd.grpc.StatusCode.RESOURCE_EXHAUSTED and
               error.details() == "etcdserver: mvcc: database space exceeded", f"{what}: {error}")
        return True
    raise etcd.Failure(f"{what} went through")


def fill(client):
    """Puts until there is no space; the first and the last key that went through."""
    for count in range(10000):
        try:
            client.put(b"full%04d" % count, b"x" * 1000)
        except etcd.grpc.RpcError as error:
            expect("database space exceeded" in error.details(), f"{error}")
            expect(count > 0, "there was no space from the beginning")
            return b"full0000", b"full%04d" % (count - 1)
    raise etcd.Failure("the quota was never reached")


def is_full_but_serves(server, client, first, last):
    expect(etcdctl(server, "alarm", "list").count("alarm:NOSPACE") == 1, "one alarm")
    expect(get(server.port, "/health")[0] == 503 and get(server.port, "/readyz")[0] == 200, "health while full")
    put = etcd.rpc.PutRequest(key=b"more", value=b"x")
    expect_no_space(lambda: client.put(b"more", b"x"), "a put")
    expect_no_space(lambda: client.txn(success=[etcd.rpc.RequestOp(request_put=put)]), "a put in a transaction")
    expect_no_space(lambda: client.grant(100), "a lease")
    expect(client.get(last).count == 1 and client.get(b"more").count == 0, "reads while full")
    expect(client.txn(success=[etcd.rpc.RequestOp(request_range=etcd.rpc.RangeRequest(key=last))]).succeeded, "a read in a txn")
    client.delete(first)


def check_no_space(scratch):
    """Writes are refused and everything else goes on, over restarts, until there is room and the alarm is off."""
    quota = 13 * 4096  # the smallest that test suites of etcd's use
    server = scratch.server("full", flags=[f"--quota-backend-bytes={quota}"]).start()
    with etcd.Client(server) as client:
        expect(client.status_().dbSize < quota, "full from the beginning")
        first, last = fill(client)
        is_full_but_serves(server, client, first, last)
    server.stop()
    server.start()
    with etcd.Client(server) as client:
        expect(client.get(first).count == 0, "the delete was lost")
        is_full_but_serves(server, client, last, b"full0001")
        client.delete(b"full", range_end=b"fulm")
        etcdctl(server, "compaction", str(client.revision()))
        expect_no_space(lambda: client.put(b"more", b"x"), "a put before the alarm is off")
    server.stop()
    server.start()
    etcdctl(server, "defrag")
    expect("alarm:NOSPACE" in etcdctl(server, "alarm", "disarm"), "disarming says what it disarmed")
    with etcd.Client(server) as client:
        client.put(b"more", b"x")
        expect(get(server.port, "/health")[0] == 200 and etcdctl(server, "alarm", "list") == "", "healthy again")
    server.stop()
    server.start()
    with etcd.Client(server) as client:
        client.put(b"yet more", b"x")
        expect(client.get(b"more").count == 1, "what was put after the recovery")
    server.stop()
    text = server.log_tail(1 << 20)
    for message in ("message exceeded backend quota; raising alarm", "alarm raised", "alarm disarmed"):
        expect(message in text, f"the log does not say: {message}")


def check_http_alone(scratch):
    http_port, = etcd.free_ports(1)
    server = scratch.server("split", flags=[f"--listen-client-http-urls=http://127.0.0.1:{http_port}"]).start()
    expect(get(http_port, "/health")[0] == 200, "/health on the HTTP port")
    try:
        get(server.port, "/health")
        raise etcd.Failure("the gRPC port answers HTTP")
    except (http.client.HTTPException, ConnectionError):
        pass
    server.stop()


def check_auto_compaction(scratch):
    server = scratch.server("compaction", flags=["--auto-compaction-retention=1s"]).start()
    with etcd.Client(server) as client:
        for _ in range(5):
            client.put(b"k", b"v")
        deadline = time.monotonic() + 20
        while "completed auto periodic compaction" not in server.log_tail():
            expect(time.monotonic() < deadline, "nothing was compacted")
            time.sleep(0.1)
    server.stop()


def run(scratch):
    check_version_and_help()
    check_refusals(scratch)
    checks = [check_life, check_fields, check_signals, check_console_and_files, check_config_file, check_ports_and_locks, check_notification, check_http,
              check_metrics, check_no_space, check_slow_requests, check_http_alone, check_auto_compaction]
    # Each waits for most of its time; side by side they are done in a few seconds.
    etcd.side_by_side([(check.__name__, lambda check=check: check(scratch)) for check in checks])


etcd.main(run)
