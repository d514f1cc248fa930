"""Clusters of real processes, and clients that remember what was acknowledged: what the cluster tests share."""
import os
import signal
import threading
import time

import etcd
from etcd import expect, grpc, rpc

LIMIT = 30  # seconds: what takes so long never comes

# What etcd's own clients try again: the connection, the leader or the time was lost, nothing is wrong with the request.
RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED)


def wait_for(what, look, limit=LIMIT):
    """look() until it returns something; its answer, and the seconds it took."""
    begun = time.monotonic()
    last = None
    while time.monotonic() < begun + limit:
        try:
            found = look()
        except grpc.RpcError as error:
            found, last = None, error.details()
        if found:
            return found, time.monotonic() - begun
        time.sleep(0.02)
    raise etcd.Failure(f"{what}: not within {limit} s" + (f" ({last})" if last else ""))


def later(client, name, timeout=60, **fields):
    """Makes a call of etcd.Client's; its answer, a future of grpc's, is there later."""
    path, request, response = etcd.Client.UNARY[name]
    method = client.channel.unary_unary(f"/etcdserverpb.{path}", request.SerializeToString, response.FromString)
    return method.future(request(**fields), timeout=timeout)


class Cluster:
    """Servers that bootstrap together, and those that join later."""

    def __init__(self, scratch, programs, network=None, flags=(), security=None):
        self.scratch = scratch
        self.network = network
        self.flags = list(flags)
        self.security = security
        self.servers = []
        self.frozen = set()
        self.joined = 0
        for name, program in programs.items():
            self._new_server(name, program)
        self.initial = self._list()
        for server in self.servers:
            server.initial_cluster = self.initial

    def _new_server(self, name, program):
        place = self.network.place() if self.network else None
        server = self.scratch.server(name, program=program, flags=self.flags, place=place, security=self.security)
        self.servers.append(server)
        return server

    def _list(self):
        return ",".join(f"{server.name}={server.peer_url}" for server in self.servers)

    def is_running(self, server):
        return server.process is not None and server.process.poll() is None and server not in self.frozen

    def running(self):
        return [server for server in self.servers if self.is_running(server)]

    def start(self):
        for server in self.servers:
            server.spawn()
        _, seconds = wait_for("a leader that all know", self.leader)
        for server in self.servers:
            server.wait_ready(LIMIT)
        return seconds

    def leader(self, among=None):
        """The server that every running member follows; None: there is none yet."""
        found, leader = set(), None
        for server in among or self.running():
            with etcd.Client(server, timeout=1) as client:
                status = client.status_()
                if status.leader == status.header.member_id:
                    leader = server
                found.add(status.leader)
        return leader if len(found) == 1 and found != {0} else None

    def wait_for_leader(self, not_in=(), among=None, limit=LIMIT):
        def look():
            leader = self.leader(among)
            return leader if leader not in not_in else None
        return wait_for("a leader", look, limit)

    def id_of(self, server):
        with etcd.Client(server) as client:
            return client.status_().header.member_id

    def change(self, what, on=None, limit=LIMIT):
        """Calls what(client) on a member until it is not refused for what passes by itself: a quorum that is not connected
        for long enough yet, a learner that is behind, an election."""
        passing = ("unhealthy cluster", "not enough started members", "in sync with leader", "no leader", "leader changed",
                   "request timed out", "Deadline Exceeded", "proposal dropped")

        def look():
            server = on or self.running()[0]
            with etcd.Client(server, timeout=10) as client:
                try:
                    return what(client)
                except grpc.RpcError as error:
                    if not any(text in (error.details() or "") for text in passing) and error.code() not in RETRIED:
                        raise etcd.Failure(f"{server.name} refused: {error.details()}") from None
                    raise
        return wait_for("a change of the members", look, limit)[0]

    def join(self, name, program=etcd.OURS, learner=False, flags=(), on=None, kills=0):
        """member add, then the start of the new member, until it serves (a learner: until it answers); before that it is
        started and killed so many times."""
        on = on or self.running()[0]
        server = self._new_server(name, program)
        try:
            self.change(lambda client: client.member_add(server.peer_url, learner), on)
        except BaseException:
            self.servers.remove(server)
            raise
        server.initial_cluster = self._list()
        for number in range(kills):
            server.spawn(["--initial-cluster-state=existing", *flags])
            time.sleep(0.03 * (number + 1))
            server.kill()
        server.spawn(["--initial-cluster-state=existing", *flags])
        if learner:
            wait_for(f"{name} has joined", lambda: self.id_of(server))
        else:
            server.wait_ready(LIMIT)
        return server

    def remove(self, server, on=None, still_running=True):
        """member remove; the process must end by itself, without a complaint."""
        member = self.id_of(server) if still_running else server.member_id
        on = on or next(other for other in self.running() if other is not server)
        self.change(lambda client: client.member_remove(ID=member), on)
        if still_running:
            self.ends_as_removed(server)
        else:
            self.servers.remove(server)

    def ends_as_removed(self, server):
        self.servers.remove(server)
        try:
            code = server.process.wait(LIMIT)
        except etcd.subprocess.TimeoutExpired:
            raise etcd.Failure(f"{server.name} was removed and goes on:\n{server.log_tail()}") from None
        expect(code == 0, f"{server.name}, removed, ended with {code}:\n{server.log_tail()}")
        server.check_log()
        server.process = None

    def move_leader(self, target):
        """Orderly, and until everybody knows."""
        member = self.id_of(target)

        def look():
            leader = self.leader()
            if leader not in (None, target):  # it may lose the leadership by itself meanwhile
                with etcd.Client(leader, timeout=10) as client:
                    client.move_leader(member)
            return self.leader() is target
        wait_for(f"{target.name} leads", look)

    def freeze(self, server):
        """It stands still when this returns."""
        server.process.send_signal(signal.SIGSTOP)
        self.frozen.add(server)
        wait_for(f"{server.name} stands still",
                 lambda: os.waitid(os.P_PID, server.process.pid, os.WSTOPPED | os.WNOWAIT | os.WNOHANG))

    def thaw(self, server):
        server.process.send_signal(signal.SIGCONT)
        self.frozen.discard(server)

    def catch_up(self, limit=LIMIT):
        """Waits until all members have the same revision, then compares what they hold."""
        def look():
            with etcd.Client(self.servers[0], timeout=2) as client:
                revision = client.revision()
            for server in self.servers:
                with etcd.Client(server, timeout=2) as client:
                    if client.get(b"\0", serializable=True).header.revision != revision:
                        return None
            return revision
        revision, seconds = wait_for("all members have everything", look, limit)
        hashes = {}
        for server in self.servers:
            with etcd.Client(server) as client:
                answer = client.hash_kv(revision)
                hashes[server.name] = (answer.hash, answer.compact_revision)
        expect(len(set(hashes.values())) == 1, f"HashKV at {revision} differs: {hashes}")
        return revision, seconds

    def stop(self):
        for server in self.servers:
            server.process.send_signal(signal.SIGTERM)
        for server in self.servers:
            if server.program == etcd.OURS:
                server.stop()
            else:
                server.process.wait(LIMIT)


class Worker(threading.Thread):
    """A client that goes on until finish(): act(client) over and over on one member after the other, or, if it is loyal, on
    the same one until that fails.

    Errors that no client of etcd's would try again are kept in `errors`."""

    def __init__(self, cluster, loyal=False, pause=0):
        super().__init__(daemon=True)
        self.cluster = cluster
        self.loyal = loyal
        self.pause = pause
        self.answered = 0
        self.done = 0     # acts that were answered as wished
        self.unknown = 0  # and those that failed
        self.errors = []
        self.longest = 0  # seconds without an answer
        self.ended = threading.Event()
        self.start()

    def act(self, client):
        raise NotImplementedError

    def run(self):
        clients = {}
        turn, last = 0, time.monotonic()
        while not self.ended.is_set():
            servers = list(self.cluster.servers)
            server = servers[turn % len(servers)]
            turn += not self.loyal
            if server not in clients:
                clients[server] = etcd.Client(server, timeout=1)
            try:
                self.act(clients[server])
                self.answered += 1
                self.done += 1
                now = time.monotonic()
                self.longest, last = max(self.longest, now - last), now
                time.sleep(self.pause)
            except grpc.RpcError as error:
                self.unknown += 1
                turn += self.loyal
                # A real member that is being removed, or hands its leadership over, says so in words of its own.
                passing = server.program != etcd.OURS and error.details() in ("raft: stopped", "raft proposal dropped")
                if not is_retried(error) and not passing:
                    self.errors.append(f"{server.name}: {error.code()}: {error.details()}")
                time.sleep(0.01)
            except etcd.Failure as failure:
                self.errors.append(f"{server.name}: {failure}")
        for client in clients.values():
            client.close()

    def finish(self):
        self.ended.set()
        self.join()


class Writer(Worker):
    """Writes one key after the other and remembers what was acknowledged."""

    def __init__(self, cluster, prefix=b"written/", **options):
        self.prefix = prefix
        self.number = 0
        self.acknowledged = {}
        self.newest = None  # key and revision
        super().__init__(cluster, **options)

    def act(self, client):
        self.number += 1
        key = self.prefix + b"%06d" % self.number
        revision = client.put(key, b"%d" % self.number).header.revision
        self.acknowledged[key] = revision
        self.newest = key, revision

    def check(self, server):
        with etcd.Client(server) as client:
            end = self.prefix[:-1] + bytes([self.prefix[-1] + 1])
            found = {kv.key: kv.mod_revision for kv in client.range(key=self.prefix, range_end=end).kvs}
        lost = {key: revision for key, revision in self.acknowledged.items() if found.get(key) != revision}
        expect(not lost, f"{server.name} has lost {len(lost)} acknowledged writes, such as {sorted(lost)[:3]}")


class Reader(Worker):
    """What a writer has been told is written every member shows from then on."""

    def __init__(self, cluster, writer, **options):
        self.writer = writer
        super().__init__(cluster, **options)

    def act(self, client):
        if self.writer.newest is None:
            time.sleep(0.01)
            return
        key, revision = self.writer.newest
        answer = client.get(key)
        expect(answer.kvs and answer.kvs[0].mod_revision == revision and answer.header.revision >= revision,
               f"a stale read: {key} of revision {revision} reads {answer}")


class Counter(Worker):
    """Adds one to a number, over and over, by a transaction that fails when somebody else was faster."""

    KEY = b"counter"

    def act(self, client):
        kvs = client.get(self.KEY).kvs
        value = int(kvs[0].value) if kvs else 0
        revision = kvs[0].mod_revision if kvs else 0
        answer = client.txn(
            compare=[rpc.Compare(result=rpc.Compare.EQUAL, target=rpc.Compare.MOD, key=self.KEY, mod_revision=revision)],
            success=[rpc.RequestOp(request_put=rpc.PutRequest(key=self.KEY, value=b"%d" % (value + 1)))])
        self.done -= not answer.succeeded

    @classmethod
    def check(cls, cluster, counters):
        """Acknowledged additions are there; those of unknown outcome may be."""
        with etcd.Client(cluster.servers[0]) as client:
            value = int(client.get(cls.KEY).kvs[0].value)
        done, unknown = (sum(getattr(counter, name) for counter in counters) for name in ("done", "unknown"))
        expect(done <= value <= done + unknown, f"{done} additions acknowledged, {unknown} of unknown outcome: {value}")


class Load:
    """Clients that write, add and read, until finish(), and remember; some of them keep to one member."""

    def __init__(self, cluster, pause=0.002):
        self.cluster = cluster
        self.writers = [Writer(cluster, prefix=b"loyal/", loyal=True, pause=pause),
                        Writer(cluster, prefix=b"restless/", pause=pause)]
        self.counters = [Counter(cluster, loyal=True, pause=pause) for _ in range(2)]
        self.readers = [Reader(cluster, writer, pause=pause) for writer in self.writers]
        self.workers = [*self.writers, *self.counters, *self.readers]

    @property
    def acknowledged(self):
        return sum(len(writer.acknowledged) for writer in self.writers)

    def longest(self):
        """Seconds that a client was without an answer."""
        return max(worker.longest for worker in self.workers)

    def told(self):
        return (f"{self.acknowledged} writes and {sum(counter.done for counter in self.counters)} additions acknowledged, "
                f"{sum(reader.done for reader in self.readers)} reads, {sum(worker.unknown for worker in self.workers)} of "
                f"unknown outcome")

    def goes_on(self, times=10):
        """Waits until every client has been answered so many more times."""
        wanted = [(worker, worker.answered + times) for worker in self.workers]
        wait_for("every client goes on", lambda: all(worker.answered >= count for worker, count in wanted))

    def check_errors(self):
        errors = [error for worker in self.workers for error in worker.errors]
        expect(not errors, f"{len(errors)} errors that no client tries again, such as {errors[:3]}")

    def finish(self):
        """Everything acknowledged is there, on every member; all members hold the same."""
        for worker in self.workers:
            worker.finish()
        self.cluster.catch_up()
        for writer in self.writers:
            for server in self.cluster.servers:
                writer.check(server)
        Counter.check(self.cluster, self.counters)
        self.check_errors()
        print(self.told(), flush=True)


def is_retried(error):
    """A client of etcd's tries again elsewhere, or tells its user that the outcome is not known."""
    return error.code() in RETRIED or "learner" in (error.details() or "") and "not supported" in error.details()
