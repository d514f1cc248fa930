"""Real servers, and a client that hides nothing: what the process tests share.

Server starts, stops and kills a server program in a data directory; Client speaks gRPC to it with the messages of
python3-etcd3 and returns answers as they are. Scripts run in the build directory, where the program under test is ./etcd
(or ETCD_BIN). A script that misses its tools calls skip(): automake takes 77 for "skipped".
"""
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
from ports import free_ports  # noqa: E402

ORIGINAL_ENVIRONMENT = dict(os.environ)
# grpc reads its proxies from the environment; everything here is on loopback.
for _name in list(os.environ):
    if _name.lower().endswith("_proxy") or _name.startswith(("ETCD_", "ETCDCTL_")) and _name != "ETCD_BIN":
        del os.environ[_name]


def skip(reason):
    print(f"skipped: {reason}", flush=True)
    sys.exit(77)


try:
    import grpc
    import etcd3.etcdrpc as rpc
except ImportError as missing:
    skip(f"{missing} (Debian: python3-etcd3)")

OURS = os.path.abspath(os.environ.get("ETCD_BIN", "./etcd"))
ETCD34 = os.environ.get("ETCD34_BIN", "/usr/bin")
ETCD35 = os.environ.get("ETCD35_BIN", "")


def setting(name, default):
    """A number that the environment may change: longer runs for the soak, shorter ones while debugging."""
    return int(os.environ.get(name, default))


def raise_descriptor_limit():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


class Failure(Exception):
    pass


def expect(condition, message):
    if not condition:
        raise Failure(message)


class Server:
    """One member's process. Its ports stay the same over restarts; its output is appended to DATA.log.

    Alone in its cluster unless initial_cluster ("name=url,...", or "" for none) is set before it is started. With a place (of a
    network.Network) it runs there, at an address of its own. security (of certificates.py) makes its addresses https."""

    def __init__(self, data, program=OURS, flags=(), environment=None, name="m", place=None, security=None):
        self.data = data
        self.name = name
        self.initial_cluster = None
        self.program = program
        self.security = security
        self.flags = [*flags, *(security.flags if security else ())]
        self.environment = dict(os.environ, UBSAN_OPTIONS="print_stacktrace=1", **(environment or {}))
        self.port, self.peer_port = free_ports(2)
        self.place = place
        self.host = place.address if place else "127.0.0.1"
        self.peer_host = place.peer_address if place else self.host
        self.endpoint = f"http{'s' if security and security.clients else ''}://{self.host}:{self.port}"
        self.log_path = data + ".log"
        self.process = None

    @property
    def peer_url(self):
        return f"http{'s' if self.security and self.security.peers else ''}://{self.peer_host}:{self.peer_port}"

    def spawn(self, flags=()):
        initial_cluster = f"{self.name}={self.peer_url}" if self.initial_cluster is None else self.initial_cluster
        cluster = [f"--initial-cluster={initial_cluster}"] if initial_cluster else []
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                [*(self.place.command if self.place else ()), self.program, f"--name={self.name}", f"--data-dir={self.data}",
                 f"--listen-client-urls={self.endpoint}", f"--advertise-client-urls={self.endpoint}",
                 f"--listen-peer-urls={self.peer_url}", f"--initial-advertise-peer-urls={self.peer_url}",
                 *cluster, *self.flags, *flags],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment)

    def start(self, flags=(), timeout=30):
        self.spawn(flags)
        self.wait_ready(timeout)
        return self

    def wait_ready(self, timeout=30):
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise Failure(f"the server ended with {self.process.returncode} while starting:\n{self.log_tail()}")
            try:
                with Client(self, timeout=2) as client:
                    client.get(b"ready?")
                return
            except grpc.RpcError as error:
                if error.details() == "etcdserver: user name is empty":
                    return  # it serves, those that it knows
                time.sleep(0.02)
        raise Failure(f"not ready after {timeout} s:\n{self.log_tail()}")

    def stop(self, timeout=20):
        """SIGTERM; the process must end by itself, with nothing to say about leaks or races."""
        self.process.send_signal(signal.SIGTERM)
        try:
            code = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            self.process = None
            raise Failure(f"the server did not end within {timeout} s of SIGTERM:\n{self.log_tail()}") from None
        self.process = None
        expect(code in (0, -signal.SIGTERM), f"the server ended with {code}:\n{self.log_tail()}")
        self.check_log()

    def kill(self):
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def check_alive(self):
        expect(self.process.poll() is None, f"the server ended with {self.process.poll()}:\n{self.log_tail()}")

    def log_tail(self, size=6000):
        with open(self.log_path, "rb") as log:
            return log.read()[-size:].decode(errors="replace")

    def check_log(self):
        with open(self.log_path, "rb") as log:
            text = log.read().decode(errors="replace")
        for word in ("Sanitizer", "runtime error:", "Assertion"):
            at = text.find(word)
            expect(at < 0, f"the server's output has '{word}':\n{text[max(0, at - 500):at + 5000]}")

    def memory(self):
        """Resident memory now and at its peak, in bytes."""
        with open(f"/proc/{self.process.pid}/status") as status:
            rows = dict(line.split(":", 1) for line in status)
        return tuple(int(rows[name].split()[0]) * 1024 for name in ("VmRSS", "VmHWM"))


class Client:
    """One connection. Every call returns the whole answer or raises grpc.RpcError."""

    UNARY = {
        "range": ("KV/Range", rpc.RangeRequest, rpc.RangeResponse),
        "put_": ("KV/Put", rpc.PutRequest, rpc.PutResponse),
        "delete_range": ("KV/DeleteRange", rpc.DeleteRangeRequest, rpc.DeleteRangeResponse),
        "txn": ("KV/Txn", rpc.TxnRequest, rpc.TxnResponse),
        "compact_": ("KV/Compact", rpc.CompactionRequest, rpc.CompactionResponse),
        "grant_": ("Lease/LeaseGrant", rpc.LeaseGrantRequest, rpc.LeaseGrantResponse),
        "revoke_": ("Lease/LeaseRevoke", rpc.LeaseRevokeRequest, rpc.LeaseRevokeResponse),
        "time_to_live": ("Lease/LeaseTimeToLive", rpc.LeaseTimeToLiveRequest, rpc.LeaseTimeToLiveResponse),
        "leases_": ("Lease/LeaseLeases", rpc.LeaseLeasesRequest, rpc.LeaseLeasesResponse),
        "status_": ("Maintenance/Status", rpc.StatusRequest, rpc.StatusResponse),
        "hash_kv_": ("Maintenance/HashKV", rpc.HashKVRequest, rpc.HashKVResponse),
        "alarm": ("Maintenance/Alarm", rpc.AlarmRequest, rpc.AlarmResponse),
        "member_list_": ("Cluster/MemberList", rpc.MemberListRequest, rpc.MemberListResponse),
        "member_add_": ("Cluster/MemberAdd", rpc.MemberAddRequest, rpc.MemberAddResponse),
        "member_update": ("Cluster/MemberUpdate", rpc.MemberUpdateRequest, rpc.MemberUpdateResponse),
        "member_remove": ("Cluster/MemberRemove", rpc.MemberRemoveRequest, rpc.MemberRemoveResponse),
    }

    def __init__(self, server, timeout=20, credentials=None):
        self.timeout = timeout
        target, options = f"{server.host}:{server.port}", [
            ("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1),
            ("grpc.initial_reconnect_backoff_ms", 100)]
        if server.security and server.security.clients:
            self.channel = grpc.secure_channel(target, credentials or server.security.credentials(), options)
        else:
            self.channel = grpc.insecure_channel(target, options)
        for name, (path, request, response) in self.UNARY.items():
            method = self.channel.unary_unary(f"/etcdserverpb.{path}", request.SerializeToString, response.FromString)
            setattr(self, name, self._caller(method, request))

    def _caller(self, method, request):
        return lambda **fields: method(request(**fields), timeout=self.timeout)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.channel.close()

    def raw(self, path, data, timeout=None):
        """Bytes in, bytes out, for messages that no library would write."""
        return self.channel.unary_unary(path)(data, timeout=timeout or self.timeout)

    def get(self, key, **fields):
        return self.range(key=key, **fields)

    def everything(self, **fields):
        return self.range(key=b"\0", range_end=b"\0", **fields)

    def put(self, key, value, **fields):
        return self.put_(key=key, value=value, **fields)

    def delete(self, key, **fields):
        return self.delete_range(key=key, **fields)

    def compact(self, revision, physical=True):
        return self.compact_(revision=revision, physical=physical)

    def grant(self, ttl, lease=0):
        return self.grant_(TTL=ttl, ID=lease)

    def revoke(self, lease):
        return self.revoke_(ID=lease)

    def leases(self):
        return sorted(lease.ID for lease in self.leases_().leases)

    def member_add(self, peer_url, learner=False):
        """python3-etcd3's messages know nothing of learners."""
        request = rpc.MemberAddRequest(peerURLs=[peer_url]).SerializeToString() + (b"\x10\x01" if learner else b"")
        return rpc.MemberAddResponse.FromString(self.raw("/etcdserverpb.Cluster/MemberAdd", request))

    def member_promote(self, member):
        request = rpc.MemberRemoveRequest(ID=member).SerializeToString()  # the same fields
        return rpc.MemberListResponse.FromString(self.raw("/etcdserverpb.Cluster/MemberPromote", request))

    def move_leader(self, member):
        self.raw("/etcdserverpb.Maintenance/MoveLeader", rpc.MemberRemoveRequest(ID=member).SerializeToString())

    def hash_kv(self, revision=0):
        return self.hash_kv_(revision=revision)

    def revision(self):
        return self.get(b"\0").header.revision

    def watch(self, requests):
        """The stream of answers to an iterable of WatchRequest; the caller cancels it."""
        method = self.channel.stream_stream("/etcdserverpb.Watch/Watch", rpc.WatchRequest.SerializeToString,
                                            rpc.WatchResponse.FromString)
        return method(requests)

    def keep_alive(self, lease):
        method = self.channel.stream_stream("/etcdserverpb.Lease/LeaseKeepAlive",
                                            rpc.LeaseKeepAliveRequest.SerializeToString,
                                            rpc.LeaseKeepAliveResponse.FromString)
        return next(method(iter([rpc.LeaseKeepAliveRequest(ID=lease)]), timeout=self.timeout))

    def events(self, first, last, timeout=60):
        """All events of revisions first..last, from one watch."""
        create = rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=b"\0", range_end=b"\0",
                                                                        start_revision=first))
        method = self.channel.stream_stream("/etcdserverpb.Watch/Watch", rpc.WatchRequest.SerializeToString,
                                            rpc.WatchResponse.FromString)
        events = []
        if last < max(first, 2):  # revision 1 is the empty store
            return events
        stream = method(iter([create]), timeout=timeout)
        for answer in stream:
            expect(not answer.canceled,
                   f"the watch from {first} was cancelled, compact revision {answer.compact_revision}")
            events.extend(answer.events)
            if events and events[-1].kv.mod_revision >= last:
                break
        stream.cancel()
        expect(events and events[-1].kv.mod_revision >= last, f"the watch from {first} ended before {last}")
        return events


def side_by_side(checks, at_once=None):
    """Runs checks, (name, function), in threads of their own, so many at once or all; fails with every failure of them."""
    failures = []
    limit = threading.Semaphore(at_once or len(checks))

    def attempt(name, check):
        with limit:
            try:
                check()
                print(f"{name}: passed", flush=True)
            except BaseException as failure:
                failures.append(f"{name}: {failure!r}")

    threads = [threading.Thread(target=attempt, args=check) for check in checks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expect(not failures, "\n".join(failures))


class Scratch:
    """A temporary directory, and every server that was made in it: both are gone at the end. After a failure the logs'
    ends have been printed and KEEP=1 leaves the directory."""

    def __enter__(self):
        self.directory = tempfile.mkdtemp(prefix="etcd-process-")
        self.servers = []
        self.networks = []
        return self

    def path(self, name):
        return os.path.join(self.directory, name)

    def server(self, name="m", **options):
        server = Server(self.path(name), name=name, **options)
        self.servers.append(server)
        return server

    def report(self):
        for server in self.servers:
            if server.process is not None and server.process.poll() is not None:
                print(f"{server.data} ended with {server.process.returncode}:\n{server.log_tail()}")

    def __exit__(self, *_):
        for server in self.servers:
            server.kill()
        for network in self.networks:
            network.close()
        if os.environ.get("KEEP"):
            print(f"left in {self.directory}")
        else:
            shutil.rmtree(self.directory, ignore_errors=True)


def main(run):
    """Runs a script's run(scratch); a Failure is a failed test without a traceback of this module's inside."""
    if not os.access(OURS, os.X_OK):
        skip(f"{OURS} is not there")
    begun = time.monotonic()
    try:
        with Scratch() as scratch:
            try:
                run(scratch)
            except SystemExit:
                raise
            except BaseException:
                scratch.report()
                raise
    except SystemExit as skipped:
        os._exit(skipped.code)
    except BaseException as failure:
        if not isinstance(failure, Failure):
            traceback.print_exc(file=sys.stdout)
        print(f"FAILED: {failure}", flush=True)
        os._exit(1)  # threads of unfinished streams must not keep the process
    print(f"passed in {time.monotonic() - begun:.0f} s", flush=True)
    os._exit(0)
