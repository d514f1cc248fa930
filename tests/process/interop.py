#!/usr/bin/python3
"""Real clients against our server: etcdctl 3.4 and 3.5, python3-etcd3, and npm's etcd3.

etcdctl 3.4 is ETCD34_BIN/etcdctl (/usr/bin), 3.5 is ETCD35_BIN/etcdctl; npm's package is installed into a temporary
directory when npm can get it. What is missing is left out with a message; INTEROP_NPM=0 leaves npm out.
"""
import sys

sys.dont_write_bytecode = True

import os
import shutil
import subprocess
import threading
import time

import etcd
from etcd import expect


class Ctl:
    """One etcdctl on one server."""

    def __init__(self, program, server):
        self.command = [program, "--endpoints", server.endpoint]
        self.environment = dict(os.environ, ETCDCTL_API="3")

    def __call__(self, *arguments, stdin=None, code=0):
        done = subprocess.run([*self.command, *arguments], capture_output=True, text=True, input=stdin, timeout=30,
                              env=self.environment, check=False)
        expect(done.returncode == code, f"etcdctl {' '.join(arguments)} ended with {done.returncode}: {done.stderr}")
        return done.stdout if code == 0 else done.stderr

    def expect(self, wanted, *arguments, **options):
        found = self(*arguments, **options)
        expect(found == wanted, f"etcdctl {' '.join(arguments)}: {found!r}, not {wanted!r}")

    def start(self, *arguments):
        return subprocess.Popen([*self.command, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                                env=self.environment)


def read_lines(process, count, timeout=10):
    """That many lines of a running program's output."""
    lines = []

    def read():
        while len(lines) < count:
            line = process.stdout.readline()
            if not line:
                return
            lines.append(line.rstrip("\n"))
    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    reader.join(timeout)
    expect(len(lines) >= count, f"only {lines} after {timeout} s")
    return lines


def keys_with_etcdctl(ctl):
    ctl("del", "", "--from-key")
    ctl.expect("OK\n", "put", "a", "1")
    ctl.expect("OK\n", "put", "b", "2")
    ctl.expect("OK\na\n1\n", "put", "a", "3", "--prev-kv")
    ctl.expect("a\n3\n", "get", "a")
    ctl.expect("b\n2\na\n3\n", "get", "", "--from-key", "--order=DESCEND", "--sort-by=KEY")
    ctl.expect("3\n", "get", "a", "--print-value-only")
    ctl.expect("1\n", "del", "b")
    ctl.expect("0\n", "del", "b")
    ctl.expect("SUCCESS\n\nOK\n\na\n4\n", "txn", stdin='value("a") = "3"\n\nput a 4\nget a\n\nput a 5\n\n')
    ctl.expect("FAILURE\n\nOK\n", "txn", stdin='value("a") = "3"\n\nput a 4\n\nput c 5\n\n')
    text = ctl("put", "x", "y", "--lease=1234", code=1)
    expect("requested lease not found" in text, f"put with a lease that is not there: {text}")
    text = ctl("get", "x", "--rev=99999", code=1)
    expect("required revision is a future revision" in text, f"get of the future: {text}")


def watch_with_etcdctl(ctl):
    ctl("put", "w/0", "before")
    revision = int(ctl("get", "w/0", "-w", "fields").split('"Revision" : ')[1].split("\n")[0])
    process = ctl.start("watch", "w/", "--prefix", f"--rev={revision}")
    try:
        read_lines(process, 3)
        ctl("put", "w/1", "one")
        ctl("del", "w/1")
        lines = read_lines(process, 6)
        expect(lines == ["PUT", "w/1", "one", "DELETE", "w/1", ""], f"watch showed {lines}")
    finally:
        process.kill()
        process.wait()
    revision = int(ctl("get", "w/0", "-w", "fields").split('"Revision" : ')[1].split("\n")[0])
    ctl.expect(f"compacted revision {revision}\n", "compact", str(revision))
    process = ctl.start("watch", "w/0", "--rev=1")
    lines = read_lines(process, 1)
    expect("compact" in lines[0], f"a watch of the compacted past: {lines}")
    process.kill()
    process.wait()


def leases_with_etcdctl(ctl):
    words = ctl("lease", "grant", "60").split()
    lease = words[1]
    expect(words == ["lease", lease, "granted", "with", "TTL(60s)"], f"lease grant: {words}")
    ctl.expect("OK\n", "put", "leased", "v", f"--lease={lease}")
    expect(f"lease {lease} granted with TTL(60s), remaining(" in ctl("lease", "timetolive", lease), "timetolive")
    expect("attached keys([leased])" in ctl("lease", "timetolive", lease, "--keys"), "timetolive --keys")
    ctl.expect(f"lease {lease} keepalived with TTL(60)\n", "lease", "keep-alive", "--once", lease)
    expect(lease in ctl("lease", "list"), "lease list")
    ctl.expect(f"lease {lease} revoked\n", "lease", "revoke", lease)
    ctl.expect("", "get", "leased")
    short = ctl("lease", "grant", "1").split()[1]
    ctl("put", "short", "v", f"--lease={short}")
    deadline = time.monotonic() + 10
    while ctl("get", "short") != "" and time.monotonic() < deadline:
        time.sleep(0.2)
    ctl.expect("", "get", "short")


def locks_with_etcdctl(ctl):
    holder = ctl.start("lock", "mutex")
    key = read_lines(holder, 1)[0]
    expect(key.startswith("mutex/"), f"lock printed {key}")
    waiter = ctl.start("lock", "mutex", "echo", "mine")
    time.sleep(0.5)
    expect(waiter.poll() is None, "two hold one lock")
    holder.terminate()
    holder.wait(10)
    expect(waiter.wait(10) == 0 and "mine" in waiter.stdout.read(), "the lock was not handed on")
    leader = ctl.start("elect", "election", "me")
    lines = read_lines(leader, 2)
    expect(lines[0].startswith("election/") and lines[1] == "me", f"elect printed {lines}")
    leader.terminate()
    leader.wait(10)


def server_with_etcdctl(ctl, server):
    ctl("endpoint", "health")
    status = ctl("endpoint", "status", "-w", "simple")
    expect(status.startswith(server.endpoint + ", ") and ", 3.6." in status, f"endpoint status: {status}")
    members = ctl("member", "list")
    expect(", started, m, " in members, f"member list: {members}")
    expect(ctl("endpoint", "hashkv").startswith(server.endpoint + ", "), "endpoint hashkv")
    ctl.expect("", "alarm", "list")


def with_etcdctl(name, program, server):
    ctl = Ctl(program, server)
    keys_with_etcdctl(ctl)
    watch_with_etcdctl(ctl)
    leases_with_etcdctl(ctl)
    locks_with_etcdctl(ctl)
    server_with_etcdctl(ctl, server)
    print(f"etcdctl {name}: ok", flush=True)


def with_python(server):
    import etcd3
    client = etcd3.client(host="127.0.0.1", port=server.port, timeout=10)
    client.delete_prefix("py/")
    client.put("py/a", "1")
    client.put("py/b", "2")
    expect(client.get("py/a")[0] == b"1", "get")
    expect([value for value, _ in client.get_prefix("py/", sort_order="descend")] == [b"2", b"1"], "get_prefix")
    expect([value for value, _ in client.get_range("py/a", "py/b")] == [b"1"], "get_range")
    succeeded, answers = client.transaction(
        compare=[client.transactions.value("py/a") == "1", client.transactions.version("py/a") > 0],
        success=[client.transactions.put("py/a", "3"), client.transactions.get("py/a")],
        failure=[client.transactions.delete("py/a")])
    expect(succeeded and answers[1][0][0] == b"3", f"transaction: {answers}")
    expect(client.replace("py/a", "3", "4") and not client.replace("py/a", "3", "5"), "replace")
    expect(client.put_if_not_exists("py/new", "1") and not client.put_if_not_exists("py/new", "2"), "put_if_not_exists")
    events, cancel = client.watch_prefix("py/w")
    client.put("py/w1", "x")
    client.delete("py/w1")
    first, second = next(events), next(events)
    expect((first.key, first.value, type(second).__name__) == (b"py/w1", b"x", "DeleteEvent"), f"watch: {first} {second}")
    cancel()
    lease = client.lease(30)
    client.put("py/leased", "v", lease)
    expect(lease.granted_ttl == 30 and lease.keys == [b"py/leased"] and lease.refresh()[0].TTL == 30, "lease")
    lease.revoke()
    expect(client.get("py/leased") == (None, None), "a key outlived its lease")
    with client.lock("py-lock", ttl=20) as lock:
        expect(lock.is_acquired() and client.get(lock.key)[0] == lock.uuid, "lock")
    expect(client.get(lock.key) == (None, None), "unlock")  # its wait for a taken lock fails with today's tenacity
    expect(client.delete_prefix("py/").deleted == 3, "delete_prefix")
    expect([member.name for member in client.members] == ["m"] and client.status().leader.name == "m", "members")
    client.close()
    print("python3-etcd3: ok", flush=True)


NODE_SCRIPT = r"""
const { Etcd3 } = require('etcd3');
const assert = require('assert');
const client = new Etcd3({ hosts: process.argv[2] });
(async () => {
    await client.delete().prefix('js/');
    await client.put('js/a').value('1');
    assert.strictEqual(await client.get('js/a').string(), '1');
    await client.put('js/b').value('2');
    assert.deepStrictEqual(await client.getAll().prefix('js/').strings(), { 'js/a': '1', 'js/b': '2' });
    assert.deepStrictEqual(await client.getAll().prefix('js/').sort('Key', 'Descend').keys(), ['js/b', 'js/a']);
    const txn = await client.if('js/a', 'Value', '==', '1').then(client.put('js/a').value('3')).else(client.get('js/a')).commit();
    assert.strictEqual(txn.succeeded, true);
    const watcher = await client.watch().prefix('js/w').create();
    const seen = new Promise((resolve) => {
        const events = [];
        const add = (text) => { events.push(text); if (events.length === 2) resolve(events); };
        watcher.on('put', (kv) => add('put ' + kv.key + ' ' + kv.value)).on('delete', (kv) => add('delete ' + kv.key));
    });
    await client.put('js/w1').value('x');
    await client.delete().key('js/w1');
    assert.deepStrictEqual(await seen, ['put js/w1 x', 'delete js/w1']);
    await watcher.cancel();
    const lease = client.lease(20);
    await lease.put('js/leased').value('v');
    assert.strictEqual(await client.get('js/leased').string(), 'v');
    await lease.keepaliveOnce();
    await lease.revoke();
    assert.strictEqual(await client.get('js/leased').string(), null);
    const lock = client.lock('js-lock');
    await lock.acquire();
    await assert.rejects(client.lock('js-lock').acquire());
    await lock.release();
    const election = client.election('js-election', 10);
    const campaign = election.campaign('me');
    await new Promise((resolve, reject) => campaign.on('elected', resolve).on('error', reject));
    assert.strictEqual(await election.leader(), 'me');
    await campaign.resign();
    assert.strictEqual(await client.delete().prefix('js/').then((answer) => answer.deleted), '2');
    client.close();
})().catch((error) => { console.error(error); process.exit(1); });
setTimeout(() => { console.error('timeout'); process.exit(2); }, 40000).unref();
"""


def with_node(scratch, server):
    if not etcd.setting("INTEROP_NPM", 1) or not shutil.which("npm") or not shutil.which("node"):
        print("npm etcd3: left out (no npm or node)")
        return
    folder = scratch.path("npm")
    os.mkdir(folder)
    with open(os.path.join(folder, "package.json"), "w") as package:
        package.write('{"name": "interop", "version": "1.0.0", "private": true}')
    try:
        done = subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--silent", "etcd3"], cwd=folder, timeout=90,
                              capture_output=True, text=True, check=False, env=etcd.ORIGINAL_ENVIRONMENT)
    except subprocess.TimeoutExpired:
        print("npm etcd3: left out (npm install took too long)")
        return
    if done.returncode != 0:
        print(f"npm etcd3: left out (npm install failed: {done.stderr.strip()[:300]})")
        return
    with open(os.path.join(folder, "interop.js"), "w") as script:
        script.write(NODE_SCRIPT)
    done = subprocess.run(["node", "interop.js", server.endpoint], cwd=folder, timeout=60, capture_output=True, text=True,
                          check=False)
    expect(done.returncode == 0, f"npm etcd3: {done.stdout}{done.stderr}")
    print("npm etcd3: ok", flush=True)


def run(scratch):
    server = scratch.server().start()
    for name, folder in (("3.4", etcd.ETCD34), ("3.5", etcd.ETCD35)):
        program = os.path.join(folder, "etcdctl")
        if folder and os.access(program, os.X_OK):
            with_etcdctl(name, program, server)
        else:
            print(f"etcdctl {name}: left out (not in {folder or 'ETCD35_BIN'})")
    with_python(server)
    with_node(scratch, server)
    server.stop()


etcd.main(run)
