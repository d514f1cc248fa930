#!/usr/bin/env python3
"""Files of real etcd are read as etcd reads them, and etcd accepts files that we wrote.

For etcd 3.4 (ETCD34_BIN, default /usr/bin) and 3.5 (ETCD35_BIN): run a server, put, delete and compact through its
etcdctl, stop it, and compare the rows of bucket "key" with what it answered. Then rewrite the file with the engine and let
etcd's tools check it and etcd serve it. Exits with 77 (skipped) when neither is there.
"""
import base64
import json
import os
import random
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
from real_etcd import RealEtcd  # noqa: E402
from wire import read_fields  # noqa: E402

TOOL = os.path.abspath("tests/bolt/bolt_tool")
MANY = 1500  # rows put through the JSON gateway


class Etcd(RealEtcd):
    def post(self, method, message):
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        request = urllib.request.Request(f"{self.endpoint}/v3/{method}", json.dumps(message).encode())
        return json.load(opener.open(request, timeout=10))

    def all_keys(self):
        answer = json.loads(self.ctl("get", "", "--prefix", "-w", "json"))
        return answer["header"]["revision"], {
            base64.b64decode(kv["key"]): (kv.get("create_revision"), kv.get("mod_revision"), kv.get("version"),
                                          base64.b64decode(kv.get("value", "")), kv.get("lease", 0))
            for kv in answer.get("kvs", [])}


def decode_key_value(message):
    """mvccpb.KeyValue: key 1, create_revision 2, mod_revision 3, version 4, value 5, lease 6."""
    return {1: b"", 2: 0, 3: 0, 4: 0, 5: b"", 6: 0, **dict(read_fields(message))}


def tool(*arguments):
    result = subprocess.run([TOOL, *arguments], capture_output=True, text=True)
    if result.returncode != 0:
        raise SystemExit(f"bolt_tool {' '.join(arguments)}: {result.stdout}{result.stderr}")
    return result.stdout


def keys_in_file(path):
    """The newest state that the rows of bucket "key" describe."""
    keys, previous = {}, b""
    for line in tool("dump", path, "key").splitlines():
        row, value = (bytes.fromhex(part) for part in line.split(" "))
        assert row > previous, "rows out of order"
        previous = row
        kv = decode_key_value(value)
        if len(row) == 18:
            keys.pop(kv[1], None)
        else:
            assert int.from_bytes(row[:8], "big") == kv[3]
            keys[kv[1]] = (kv[2], kv[3], kv[4], kv[5], kv[6])
    return keys


def same(what, left, right):
    if left != right:
        differing = [k for k in set(left) | set(right) if left.get(k) != right.get(k)] if isinstance(left, dict) else ""
        raise SystemExit(f"{what} differ: {str(differing or (left, right))[:500]}")


def use(etcd):
    rng = random.Random(1)
    for i in range(12):
        etcd.ctl("put", f"ctl/{i}", "v" * (i * 50))
    for size in (5000, 100_000, 1_400_000):
        etcd.ctl("put", f"big/{size}", stdin=bytes(rng.randrange(1, 128) for _ in range(size)))
    lease = etcd.ctl("lease", "grant", "3600").split()[1].decode()
    etcd.ctl("put", "leased", "x", "--lease", lease)
    for i in range(MANY):
        key = f"many/{rng.randrange(400):05}"
        etcd.post("kv/put", {"key": base64.b64encode(key.encode()).decode(),
                             "value": base64.b64encode(bytes(rng.randrange(256) for _ in range(rng.randrange(400)))).decode()})
    etcd.ctl("del", "many/0000", "--prefix")
    etcd.ctl("del", "ctl/3")
    etcd.ctl("put", "ctl/3", "again")
    etcd.ctl("compact", str(etcd.all_keys()[0] - 200))
    etcd.ctl("put", "after", "compaction")
    time.sleep(1.0)


def status(folder, version, path):
    program = "etcdutl" if version == "3.5" else "etcdctl"
    result = subprocess.run([os.path.join(folder, program), "snapshot", "status", path, "-w", "json"],
                            capture_output=True, env=dict(os.environ, ETCDCTL_API="3"))
    if result.returncode != 0:
        raise SystemExit(f"{version}: snapshot status {path}: {result.stderr.decode()}")
    answer = json.loads(result.stdout)
    del answer["totalSize"]
    return answer


def run(folder, version, temporary):
    data = os.path.join(temporary, f"data-{version}")
    db = os.path.join(data, "member", "snap", "db")
    with Etcd(folder, data) as etcd:
        use(etcd)
        etcd.ctl("snapshot", "save", os.path.join(temporary, "saved"))
        _, expected = etcd.all_keys()
    assert len(expected) > 300
    tool("check", db)
    same("keys in etcd's file", keys_in_file(db), expected)
    same("keys in a saved snapshot", keys_in_file(os.path.join(temporary, "saved")), expected)
    before = status(folder, version, db)

    for verb in ("compact", "image"):
        copy = os.path.join(temporary, verb)
        tool(verb, db, copy)
        same(f"status of the {verb} copy", status(folder, version, copy), before)
    tool("churn", db)
    tool("check", db)
    same("status after rewriting", status(folder, version, db), before)
    if version == "3.5":
        subprocess.run([os.path.join(folder, "etcdutl"), "defrag", "--data-dir", data], check=True, capture_output=True)
        tool("check", db)
        same("status after etcd's defrag", status(folder, version, db), before)
        tool("churn", db)
    with Etcd(folder, data) as etcd:
        same("keys that etcd serves from our file", etcd.all_keys()[1], expected)
        etcd.ctl("put", "one", "more")
        etcd.ctl("defrag")
        _, expected = etcd.all_keys()
    tool("check", db)
    same("keys after etcd went on", keys_in_file(db), expected)
    print(f"etcd {version}: ok, {len(expected)} keys")


def main():
    ran = False
    for version, folder in (("3.4", os.environ.get("ETCD34_BIN", "/usr/bin")), ("3.5", os.environ.get("ETCD35_BIN", ""))):
        program = os.path.join(folder, "etcd")
        if not folder or not os.access(program, os.X_OK):
            print(f"etcd {version}: not found (set ETCD{version.replace('.', '')}_BIN to its folder)")
            continue
        found = subprocess.run([program, "--version"], capture_output=True, text=True).stdout
        if f"etcd Version: {version}." not in found:
            print(f"etcd {version}: {program} is another version")
            continue
        with tempfile.TemporaryDirectory() as temporary:
            run(folder, version, temporary)
        ran = True
    return 0 if ran else 77


sys.exit(main())
