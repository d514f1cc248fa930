#!/usr/bin/env python3
"""Logs and snapshot files of real etcd are read as etcd reads them, and etcd goes on from logs that we wrote.

For etcd 3.4 (ETCD34_BIN, default /usr/bin) and 3.5 (ETCD35_BIN): run a server with frequent snapshots, stop it, kill it,
fill more than one segment, and each time look into its data directory and start it again on what we left there. Exits with
77 (skipped) when neither is there.
"""
import os
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
from real_etcd import RealEtcd  # noqa: E402

TOOL = os.path.abspath("tests/storage/wal_tool")
SNAPSHOT_COUNT = 40
LARGE_VALUE = "x" * (1 << 20)
LARGE_PUTS = 66  # more than a segment of 64,000,000 bytes


class Etcd(RealEtcd):
    FLAGS = ("--snapshot-count", str(SNAPSHOT_COUNT), "--max-request-bytes", str(4 << 20))

    def put(self, numbers):
        for number in numbers:
            self.ctl("put", f"key-{number}", f"value-{number}")

    def check(self, numbers):
        lines = self.ctl("get", "key-", "--prefix").decode().split("\n")
        found = dict(zip(lines[0::2], lines[1::2]))
        for number in numbers:
            assert found.get(f"key-{number}") == f"value-{number}", f"key-{number} is {found.get(f'key-{number}')}"


def tool(*arguments):
    result = subprocess.run([TOOL, *arguments], capture_output=True, text=True)
    assert result.returncode == 0, f"wal_tool {arguments}: {result.stderr}"
    lines = []
    for line in result.stdout.splitlines():
        word, *fields = line.split(" ")
        lines.append((word, {k: v if k == "hex" else int(v) for k, v in (field.split("=") for field in fields)}))
    return lines


def find(lines, word):
    return [fields for name, fields in lines if name == word]


def check_dump(version, data, keys):
    wal, snap = f"{data}/member/wal", f"{data}/member/snap"
    lines = tool("dump", wal, snap)
    snapshot, state, entries = find(lines, "snapshot")[0], find(lines, "state")[0], find(lines, "entry")
    assert find(lines, "metadata")[0]["hex"].startswith("08"), lines
    records = find(lines, "record")
    assert records[0] == {"index": 0, "term": 0, "voters": 0}, records
    if snapshot["index"] > 0:
        assert snapshot["voters"] == 1 and snapshot["size"] > 500, snapshot
        voters = 0 if version == "3.4" else 1
        assert {"index": snapshot["index"], "term": snapshot["term"], "voters": voters} in records, (snapshot, records)
    for i, entry in enumerate(entries):
        assert entry["index"] == snapshot["index"] + 1 + i, entry
        assert 0 < entry["term"] <= state["term"], entry
    last = entries[-1]["index"] if entries else snapshot["index"]
    assert snapshot["index"] <= state["commit"] <= last, (snapshot, state, last)
    logged = " ".join(entry["hex"] for entry in entries)
    for key in keys:
        assert f"key-{key}".encode().hex() in logged, f"key-{key} is not in the log"
    encoded = find(tool("encode", wal), "encoded")[0]
    assert encoded["records"] > len(entries), encoded
    return snapshot, encoded["segments"]


def run(version, folder):
    with tempfile.TemporaryDirectory() as top:
        data = f"{top}/data"
        wal, snap = f"{data}/member/wal", f"{data}/member/snap"
        with Etcd(folder, data) as etcd:
            etcd.put(range(10))
        snapshot, _ = check_dump(version, data, range(10))
        assert snapshot["index"] == 0, snapshot
        with Etcd(folder, data) as etcd:
            etcd.put(range(10, 60))
            etcd.kill()
        snapshot, _ = check_dump(version, data, [59])
        assert snapshot["index"] > SNAPSHOT_COUNT, snapshot
        tool("recover", wal, snap)
        with Etcd(folder, data) as etcd:
            etcd.check(range(60))
            for number in range(LARGE_PUTS):
                etcd.ctl("put", f"large-{number % 4}", stdin=LARGE_VALUE.encode())
            etcd.put(range(60, 62))
            etcd.kill()
        _, segments = check_dump(version, data, [61])
        assert segments == 2, segments
        tool("recover", wal, snap)
        assert find(tool("rewrite", wal, f"{top}/new"), "rewritten")[0]["segments"] == 2
        shutil.rmtree(wal)
        shutil.move(f"{top}/new", wal)
        with Etcd(folder, data) as etcd:
            etcd.check(range(62))
            etcd.put(range(62, 64))
        check_dump(version, data, [63])


def main():
    tried = False
    for version, folder in (("3.4", os.environ.get("ETCD34_BIN", "/usr/bin")), ("3.5", os.environ.get("ETCD35_BIN", ""))):
        programs = [os.path.join(folder, name) for name in ("etcd", "etcdctl")]
        if not folder or not all(os.access(program, os.X_OK) for program in programs):
            print(f"etcd {version}: not found in '{folder}', skipped")
            continue
        run(version, folder)
        print(f"etcd {version}: ok")
        tried = True
    return 0 if tried else 77


sys.exit(main())
