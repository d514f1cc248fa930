#!/usr/bin/python3
"""Damaged files of a data directory: the server says which one and where, does not start, and leaves all as it was.

Bit flips and cuts in log, database and snapshot of a stopped member. What a power cut can leave, and only that, is
repaired. etcdutl refuses what it is given in the same way.
"""
import sys

sys.dont_write_bytecode = True

import hashlib
import os
import shutil
import subprocess
import struct

import etcd
from etcd import expect

OUR_DIRECTORY = os.path.dirname(etcd.OURS)
LIMIT = 60
KEYS = 150


def contents(data):
    """Every file's digest; what is only preallocated or made anew at each start does not count."""
    found = {}
    for directory, _, names in os.walk(data):
        for name in names:
            path = os.path.join(directory, name)
            if name.endswith(".tmp") or name == ".touch":
                continue
            with open(path, "rb") as file:
                found[os.path.relpath(path, data)] = hashlib.sha256(file.read()).hexdigest()
    return found


def flip(path, offset, bits=1):
    with open(path, "r+b") as file:
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ bits]))


def flip_value(path, key):
    """A bit of the key's value, in all pages that have it: some may be of before."""
    with open(path, "rb") as file:
        data = file.read()
    at = data.find(key)
    expect(at >= 0, f"{key} is not in {path}")
    while at >= 0:
        flip(path, at + 100)
        at = data.find(key, at + 1)


def wipe(path, offset, size):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(bytes(size))


def records(path):
    """(offset, size of the frame) of each record of a log file."""
    with open(path, "rb") as file:
        data = file.read()
    found, offset = [], 0
    while offset + 8 <= len(data):
        size, = struct.unpack_from("<Q", data, offset)
        if size == 0:
            break
        body = size & (1 << 56) - 1
        padding = size >> 56 & 7 if size >> 63 else 0
        found.append((offset, 8 + body + padding))
        offset += 8 + body + padding
    return found


def newest(directory, ending):
    return os.path.join(directory, max(name for name in os.listdir(directory) if name.endswith(ending)))


def be_like(server, template):
    server.name, server.peer_port = template.name, template.peer_port
    server.port, server.endpoint = template.port, template.endpoint


def refused(scratch, template, what, damage, *words):
    """The server does not start on a damaged copy, says `words`, and has changed nothing."""
    server = scratch.server(what.replace(" ", "-"))
    be_like(server, template)
    shutil.copytree(template.data, server.data)
    damage(server.data)
    before = contents(server.data)
    server.spawn()
    try:
        code = server.process.wait(LIMIT)
    except subprocess.TimeoutExpired:
        raise etcd.Failure(f"{what}: the server runs on it:\n{server.log_tail()}") from None
    server.process = None
    server.check_log()
    said = server.log_tail()
    expect(code == 1, f"{what}: exit {code}\n{said}")
    for word in words:
        expect(word in said, f"{what}: no '{word}' in\n{said}")
    after = contents(server.data)
    changed = [name for name in before | after if before.get(name) != after.get(name)]
    expect(not changed, f"{what}: changed {changed}")
    shutil.rmtree(server.data)
    print(f"{what}: refused", flush=True)


def tool_refuses(reasons, *words):
    done = subprocess.run([os.path.join(OUR_DIRECTORY, "etcdutl"), *words], capture_output=True, text=True, check=False,
                          timeout=60)
    expect(done.returncode != 0 and done.returncode > 0, f"etcdutl {' '.join(words)}: exit {done.returncode}")
    expect("Sanitizer" not in done.stderr, done.stderr)
    said = done.stdout + done.stderr
    expect(any(reason in said for reason in reasons), f"etcdutl {' '.join(words)}: none of {reasons} in {said}")


def log_damage(scratch, template):
    name = os.path.basename(newest(os.path.join(template.data, "member/wal"), ".wal"))
    found = records(os.path.join(template.data, "member/wal", name))
    offset, size = found[len(found) // 2]
    path = f"member/wal/{name}"
    where = (name, f"at position: {offset}")
    refused(scratch, template, "log, a bit of an entry", lambda data: flip(os.path.join(data, path), offset + size - 12),
            "walpb: crc mismatch", *where)
    refused(scratch, template, "log, the type of a record", lambda data: flip(os.path.join(data, path), offset + 9),
            "a record is said to be", name)
    refused(scratch, template, "log, a size too large", lambda data: flip(os.path.join(data, path), offset + 5),
            "wal: the size of a record is damaged", *where)
    refused(scratch, template, "log, a size that reaches over zeros", lambda data: flip(os.path.join(data, path), offset + 2),
            "wal: the size of a record is damaged", *where)
    refused(scratch, template, "log, a size of zero", lambda data: wipe(os.path.join(data, path), offset, 8),
            "wal: the size of a record is damaged", *where)
    refused(scratch, template, "log is gone", lambda data: os.remove(os.path.join(data, path)), "the database in",
            "but there is no log in")
    # The end is cut off within what the database already holds.
    refused(scratch, template, "log, cut short", lambda data: os.truncate(os.path.join(data, path), offset + size // 2 // 8 * 8),
            "is cut off behind index", "but the backend holds entries up to index")


def database_damage(scratch, template):
    path = "member/snap/db"
    size = os.path.getsize(os.path.join(template.data, path))
    refused(scratch, template, "database, both metas", lambda data: (flip(os.path.join(data, path), 16),
                                                                     flip(os.path.join(data, path), 4096 + 16)),
            "member/snap/db")
    refused(scratch, template, "database, cut in half", lambda data: os.truncate(os.path.join(data, path), 4096 * 3),
            "member/snap/db")
    refused(scratch, template, "database, text", lambda data: write(os.path.join(data, path), b"text" * 4096),
            "member/snap/db")
    refused(scratch, template, "database, wiped", lambda data: wipe(os.path.join(data, path), 8192, size - 8192),
            "member/snap/db")
    refused(scratch, template, "database, a bit of a value", lambda data: flip_value(os.path.join(data, path), b"key/077"),
            "member/snap/db: its rows are not those that were written", "remove this member from the cluster")
    refused(scratch, template, "database is gone", lambda data: os.remove(os.path.join(data, path)), "member/snap/db")
    damaged = scratch.path("damaged.db")
    for what, change in (("metas", lambda: (flip(damaged, 16), flip(damaged, 4096 + 16))),
                         ("cut", lambda: os.truncate(damaged, 4096 * 3)),
                         ("a value", lambda: flip_value(damaged, b"key/077")),
                         ("wiped", lambda: wipe(damaged, 8192, size - 8192))):
        shutil.copy(os.path.join(template.data, path), damaged)
        change()
        with open(damaged, "rb") as file:
            before = file.read()
        # A hash of wrong values is what hashkv is there for.
        for command in (("snapshot", "status"), ("hashkv",))[:1 if what == "a value" else 2]:
            tool_refuses((damaged, "integrity check failed"), *command, damaged)
        with open(damaged, "rb") as file:
            expect(file.read() == before, f"{what}: etcdutl has changed the file")
    print("etcdutl refuses damaged databases", flush=True)


def snapshot_damage(scratch, template):
    """The log and the database hold all that is in them, so that the server says what it found, keeps it and goes on."""
    names = sorted(name for name in os.listdir(os.path.join(template.data, "member/snap")) if name.endswith(".snap"))
    expect(len(names) > 1, f"{names}: too few snapshots to damage")
    for what, damaged in (("newest", names[-1:]), ("all", names)):
        server = scratch.server(f"{what}-damaged")
        be_like(server, template)
        shutil.copytree(template.data, server.data)
        directory = os.path.join(server.data, "member/snap")
        originals = {}
        for name in damaged:
            flip(os.path.join(directory, name), 200)
            with open(os.path.join(directory, name), "rb") as file:
                originals[name] = file.read()
        server.start()
        with etcd.Client(server) as client:
            expect(client.everything(count_only=True).count == KEYS, f"{what}: keys are missing")
        server.stop()
        with open(server.log_path, encoding="utf8") as log:
            said = log.read()
        for name, content in originals.items():
            expect(name in said, f"{what}: {name} is not named in the log")
            with open(os.path.join(directory, name + ".broken"), "rb") as file:
                expect(file.read() == content, f"{what}: {name}.broken is not what was found")
        shutil.rmtree(server.data)
        print(f"snapshot files, {what} damaged: named, kept aside, nothing is missing", flush=True)


def write(path, content):
    with open(path, "wb") as file:
        file.write(content)


def run(scratch):
    server = scratch.server("template", flags=["--snapshot-count=40"])
    server.name = "m"
    server.start()
    with etcd.Client(server) as client:
        for number in range(KEYS):
            client.put(b"key/%03d" % number, b"v" * 700)
    server.stop()
    log_damage(scratch, server)
    database_damage(scratch, server)
    snapshot_damage(scratch, server)
    server.start()
    with etcd.Client(server) as client:
        expect(client.everything(count_only=True).count == KEYS, "the template itself is damaged")
    server.stop()


etcd.main(run)
