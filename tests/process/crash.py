#!/usr/bin/python3
"""kill -9 in a loop under a mixed load: nothing acknowledged is ever lost, and there is one history.

Every round starts the server on what the last kill left, checks it against everything remembered, then lets several
connections put, delete, run transactions, grant and revoke leases and compact, until the process is killed. Remembered are:
each acknowledged write with its revision and effect, each write whose outcome is unknown, each revision that any answer showed,
each event that a live watch delivered. After a restart

  - a watch from revision 1 (or from the compaction) replays revisions one by one, each key's versions without a gap, and
    what earlier rounds saw unchanged;
  - every acknowledged write is in it at its revision with its effect, none twice, nothing that nobody asked for;
  - leases are those granted and not revoked, with nothing lost;
  - HashKV is what the replayed history computes to.

CRASH_KILLS: kills in all; CRASH_SEED: another sequence. The last third of the rounds compacts.
"""
import sys

sys.dont_write_bytecode = True

import itertools
import random
import threading
import time

import etcd
from etcd import expect, grpc, rpc
from history import DELETE, PUT, History, Inconsistent

KILLS = etcd.setting("CRASH_KILLS", 100)
SEED = etcd.setting("CRASH_SEED", int(time.time()))
CONNECTIONS = 6
KEYS = 40
SHORT_TTL, LONG_TTL = 1, 100000


class Ledger:
    """All that clients know, over all rounds. Appending to a list is all that threads do at the same time."""

    def __init__(self):
        self.acknowledged = []   # (revision, effect)
        self.unknown = {}        # effect: how many times it may still turn up
        self.unknown_total = 0
        self.granted = {}        # lease: ttl
        self.maybe_granted = set()
        self.revoked = set()     # acknowledged
        self.maybe_revoked = set()
        self.seen_revision = 1
        self.live_events = []


def put_effect(*pairs):
    return tuple((PUT, key, value) for key, value in pairs)


def delete_effect(keys):
    return tuple((DELETE, key, b"") for key in keys)


def effect_of(events):
    return tuple((event.type, event.kv.key, event.kv.value) for event in events)


class Worker(threading.Thread):
    """One connection that sends one write after the other until the server is gone."""

    def __init__(self, server, ledger, name, seed):
        super().__init__(daemon=True)
        self.server, self.ledger, self.label = server, ledger, name
        self.random = random.Random(seed)
        self.count = 0
        self.effects = None
        self.leases = []
        self.wrong = None

    def key(self):
        return b"key/%02d" % self.random.randrange(KEYS)

    def value(self):
        self.count += 1
        return b"%s/%d/%s" % (self.label, self.count, b"." * self.random.choice((0, 10, 100, 1000)))

    def acknowledge(self, answer, effect):
        self.ledger.acknowledged.append((answer.header.revision, effect))

    def put(self, client):
        pair = self.key(), self.value()
        lease = self.random.choice(self.leases) if self.leases and self.random.random() < 0.3 else 0
        self.effects = [put_effect(pair)]
        try:
            self.acknowledge(client.put(*pair, lease=lease), self.effects[0])
        except grpc.RpcError as error:
            # A short lease may be gone; then nothing was written.
            if lease == 0 or "requested lease not found" not in (error.details() or ""):
                raise
            self.leases.remove(lease)

    def delete(self, client):
        key = self.key()
        self.effects = [delete_effect([key])]
        answer = client.delete(key)
        if answer.deleted:
            self.acknowledge(answer, self.effects[0])

    def delete_range(self, client):
        first = self.random.randrange(KEYS - 3)
        key, end = b"key/%02d" % first, b"key/%02d" % (first + 3)
        keys = [b"key/%02d" % n for n in range(first, first + 3)]
        self.effects = [delete_effect(k for n, k in enumerate(keys) if mask >> n & 1) for mask in range(1, 8)]
        answer = client.delete(key, range_end=end, prev_kv=True)
        if answer.deleted:
            self.acknowledge(answer, delete_effect(kv.key for kv in answer.prev_kvs))

    def txn(self, client):
        """Two puts and a look, or one put, depending on whether a key is there."""
        keys = self.random.sample([b"key/%02d" % n for n in range(KEYS)], 3)
        two = put_effect((keys[0], self.value()), (keys[1], self.value()))
        one = put_effect((keys[2], self.value()))
        self.effects = [two, one]

        def put(change):
            return rpc.RequestOp(request_put=rpc.PutRequest(key=change[1], value=change[2]))
        answer = client.txn(
            compare=[rpc.Compare(result=rpc.Compare.GREATER, target=rpc.Compare.CREATE, key=keys[0], create_revision=0)],
            success=[put(two[0]), rpc.RequestOp(request_range=rpc.RangeRequest(key=keys[0])), put(two[1])],
            failure=[put(one[0])])
        effect = two if answer.succeeded else one
        self.acknowledge(answer, effect)
        if answer.succeeded and answer.responses[1].response_range.kvs[0].value != two[0][2]:
            self.wrong = "a transaction did not read its own write"

    def grant(self, client):
        self.effects = []
        ttl = self.random.choice((SHORT_TTL, LONG_TTL))
        lease = self.random.getrandbits(62) | 1
        self.ledger.maybe_granted.add(lease)
        client.grant(ttl, lease)
        self.ledger.granted[lease] = ttl
        self.leases.append(lease)

    def revoke(self, client):
        self.effects = []
        if not self.leases:
            return
        lease = self.leases.pop(self.random.randrange(len(self.leases)))
        self.ledger.maybe_revoked.add(lease)
        try:
            client.revoke(lease)
            self.ledger.revoked.add(lease)
        except grpc.RpcError as error:
            if "requested lease not found" not in (error.details() or ""):
                raise

    def read(self, client):
        self.effects = []
        before = self.ledger.seen_revision
        answer = client.get(self.key(), serializable=self.random.random() < 0.3)
        if answer.header.revision < before:
            self.wrong = f"a read showed revision {answer.header.revision} after {before}"
        self.ledger.seen_revision = max(self.ledger.seen_revision, answer.header.revision)

    def run(self):
        actions = [self.put] * 10 + [self.delete] * 3 + [self.delete_range] + [self.txn] * 4 + \
                  [self.grant, self.revoke, self.read, self.read]
        with etcd.Client(self.server) as client:
            while True:
                try:
                    self.random.choice(actions)(client)
                except grpc.RpcError as error:
                    self.fail(error)
                    return
                except ValueError:  # the channel is closed
                    return

    def fail(self, error):
        """The outcome is unknown if the connection broke; any other error is one that a client must not see."""
        for effect in self.effects:
            self.ledger.unknown[effect] = self.ledger.unknown.get(effect, 0) + 1
        self.ledger.unknown_total += 1 if self.effects else 0
        if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED):
            self.wrong = f"a write failed: {error.code()}: {error.details()}"


class Checker:
    """Holds the one history and compares each restarted server with it and with the ledger."""

    def __init__(self):
        self.history = History()
        self.ledger = Ledger()
        self.compact_asked = -1

    def replay(self, client):
        """Returns the current revision; self.history has come up to it."""
        last = client.revision()
        expect(last >= self.history.revision, f"revision {last} after {self.history.revision} was replayed")
        expect(last >= self.ledger.seen_revision, f"revision {last} after {self.ledger.seen_revision} was seen")
        if self.compact_asked >= 0:
            self.find_compaction(client)
        first = max(1, self.history.compacted + 1)
        replayed, again = self.history.revision, []
        for event in client.events(first, last):
            if event.kv.mod_revision <= replayed:
                again.append(event)
                continue
            try:
                self.history.add(event)
            except Inconsistent as error:
                raise etcd.Failure(str(error)) from None
        before = [event for revision in range(first, replayed + 1) for event in self.history.by_revision.get(revision, ())]
        for old, new in itertools.zip_longest(before, again):
            expect(old == new, f"what was {old} is now {new}")
        expect(self.history.revision == last or last == 1, f"the history ends at {self.history.revision}, not {last}")
        return last

    def find_compaction(self, client):
        """A compaction asked for just before a kill may or may not have happened; ask the server."""
        try:
            client.get(b"x", revision=max(1, self.history.compacted))
            compacted = self.history.compacted
        except grpc.RpcError:
            compacted = self.compact_asked
        if compacted > self.history.compacted:
            self.history.compact(compacted)

    def check_writes(self, first):
        """Every acknowledged write of the round is there; whatever is there was asked for."""
        ledger, history = self.ledger, self.history
        claimed = {}
        for revision, effect in ledger.acknowledged:
            expect(revision not in claimed, f"revision {revision} was acknowledged twice")
            claimed[revision] = effect
            expect(revision in history.by_revision, f"acknowledged revision {revision} ({effect}) is missing")
            found = effect_of(history.by_revision[revision])
            expect(found == effect, f"revision {revision} was acknowledged as {effect} but holds {found}")
        attached = self.attached
        for revision in range(first, history.revision + 1):
            events = history.by_revision[revision]
            effect = effect_of(events)
            if revision not in claimed:
                if ledger.unknown.get(effect, 0) > 0 and effect[0][0] == PUT:
                    ledger.unknown[effect] -= 1
                elif effect not in ledger.unknown:
                    self.expect_lease_end(revision, [event.kv.key for event in events])
            for event in events:
                attached.pop(event.kv.key, None)
                if event.type == PUT and event.kv.lease:
                    attached[event.kv.key] = event.kv.lease
        for event in ledger.live_events:
            expect(event in history.by_revision.get(event.kv.mod_revision, ()), f"a watch showed {event}, now gone")
        ledger.acknowledged.clear()
        ledger.unknown.clear()
        ledger.live_events.clear()

    attached = {}

    def expect_lease_end(self, revision, keys):
        leases = {self.attached.get(key) for key in keys}
        expect(len(leases) == 1, f"nobody asked for the deletion of {keys} at {revision}")
        lease = leases.pop()
        expect(lease is not None, f"nobody asked for what revision {revision} holds: {keys}")
        expect(keys == sorted(key for key, owner in self.attached.items() if owner == lease),
               f"revision {revision} deleted {keys}, which is not all that lease {lease} held")
        expect(lease in self.ledger.maybe_revoked or self.ledger.granted.get(lease, SHORT_TTL) == SHORT_TTL,
               f"lease {lease} ended at {revision} without a reason")

    def check_leases(self, client):
        ledger, found = self.ledger, set(client.leases())
        for lease, ttl in ledger.granted.items():
            if ttl == LONG_TTL and lease not in ledger.maybe_revoked:
                expect(lease in found, f"lease {lease} was granted and is missing")
        unexpected = found - ledger.maybe_granted
        expect(not unexpected, f"nobody asked for the leases {unexpected}")
        back = found & ledger.revoked
        expect(not back, f"leases {back} were revoked and are back")

    def check_hash(self, client):
        """Leases may end while we look: only an answer for the replayed revision counts."""
        answer = client.hash_kv(self.history.revision)
        expect(answer.compact_revision == self.history.compacted,
               f"compacted at {answer.compact_revision}, the history at {self.history.compacted}")
        mine = self.history.hash()
        expect(answer.hash == mine, f"HashKV({self.history.revision}) is {answer.hash}, the history has {mine}")

    def check(self, client):
        first = self.history.revision + 1
        self.replay(client)
        self.check_writes(first)
        self.check_leases(client)
        self.check_hash(client)
        self.check_values(client)

    def check_values(self, client):
        answer = client.everything(revision=self.history.revision)
        expect(list(answer.kvs) == [kv for _, kv in sorted(self.history.live.items())],
               f"the keys at revision {self.history.revision} are not those of the history")


def watch_live(server, ledger, first, ready):
    """Collects what a watch shows while the load runs; ends with the server."""
    with etcd.Client(server) as client:
        try:
            request = rpc.WatchCreateRequest(key=b"\0", range_end=b"\0", start_revision=first)
            stream = client.watch(iter([rpc.WatchRequest(create_request=request)]))
            for answer in stream:
                ready.set()
                ledger.live_events.extend(answer.events)
                ledger.seen_revision = max(ledger.seen_revision, answer.header.revision)
        except grpc.RpcError:
            ready.set()


def run_load(server, checker, generator, round_number, compacting):
    ledger = checker.ledger
    watching = threading.Event()
    watcher = threading.Thread(target=watch_live, daemon=True,
                               args=(server, ledger, checker.history.revision + 1, watching))
    watcher.start()
    watching.wait(10)
    workers = [Worker(server, ledger, b"%d/%d" % (round_number, n), generator.random()) for n in range(CONNECTIONS)]
    for worker in workers:
        worker.start()
    time.sleep(generator.uniform(0.02, 0.5))
    if compacting and generator.random() < 0.7 and checker.history.revision > max(checker.history.compacted, 1):
        lowest = max(checker.history.compacted + 1, checker.history.revision - 300, 1)
        checker.compact_asked = generator.randint(lowest, checker.history.revision)
        with etcd.Client(server) as client:
            client.compact(checker.compact_asked, physical=generator.random() < 0.5)
        time.sleep(generator.uniform(0, 0.2))
    server.check_alive()
    server.kill()
    for thread in [*workers, watcher]:
        thread.join(30)
        expect(not thread.is_alive(), "a call did not end when the server was killed")
    for worker in workers:
        expect(worker.wrong is None, worker.wrong)
    ledger.seen_revision = max([ledger.seen_revision, *(revision for revision, _ in ledger.acknowledged)])


def run(scratch):
    print(f"CRASH_SEED={SEED}", flush=True)
    generator = random.Random(SEED)
    checker = Checker()
    server = scratch.server()
    kills = acknowledged = starting = 0
    while kills < KILLS:
        snapshot_count = generator.choice((20, 100, 100, 10000))
        flags = [f"--snapshot-count={snapshot_count}", f"--backend-batch-limit={generator.choice((1, 100, 10000))}",
                 f"--compaction-batch-limit={generator.choice((100, 1000))}"]
        if generator.random() < 0.15:
            server.spawn(flags)
            time.sleep(generator.uniform(0, 0.2))
            server.kill()
            kills, starting = kills + 1, starting + 1
            continue
        server.start(flags)
        with etcd.Client(server) as client:
            checker.check(client)
        run_load(server, checker, generator, kills, compacting=kills >= KILLS * 2 // 3)
        acknowledged += len(checker.ledger.acknowledged)
        kills += 1
    server.start()
    with etcd.Client(server) as client:
        checker.check(client)
    server.stop()
    print(f"{kills} kills ({starting} while starting), {acknowledged} acknowledged writes, "
          f"{checker.ledger.unknown_total} of unknown outcome, {checker.history.revision} revisions, "
          f"compacted at {checker.history.compacted}")


etcd.main(run)
