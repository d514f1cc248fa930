#!/usr/bin/python3
"""Users, roles and permissions at random, the same on our server and on a real etcd 3.5 (ETCD35_BIN): the same answers, and
in the end the same rows, byte for byte but for the passwords' salts.

AUTH_SEED: another sequence; AUTH_ROUNDS: how many.
"""
import sys

sys.dont_write_bytecode = True

import os
import random
import re
import subprocess
import time

import etcd
from auth_client import OK, User
from etcd import expect

SEED = etcd.setting("AUTH_SEED", int(time.time()))
ROUNDS = etcd.setting("AUTH_ROUNDS", 1)
STEPS = 500
REAL = os.path.join(etcd.ETCD35, "etcd") if etcd.ETCD35 else ""
BOLT_TOOL = os.path.join(os.path.dirname(etcd.OURS), "tests/bolt/bolt_tool")
NAMES = ["root", "a", "b", "c", ""]
ROLES = ["root", "r1", "r2", "r3", ""]
KEYS = [b"", b"a", b"b", b"c", b"\0", b"zz", b"a\0"]


def both(users, path, fields):
    """The call on each; the answers, which must be the same."""
    answers = [user.call(path, fields) for user in users]
    contents = [{number: value for number, value in answer.fields.items() if number != 1} for answer in answers]
    is_role_root = path == "Auth/RoleGet" and fields[1] == "root"  # of which 3.6 tells what it may do
    expect(answers[0].status == answers[1].status and (is_role_root or contents[0] == contents[1]),
           f"{path} {fields}: ours {answers[0]}, real {answers[1]}")
    return answers


def has_room(users, role):
    """From the 13th permission of a role on, Go's sort puts several on one key in an order of its own."""
    return len(both(users, "Auth/RoleGet", {1: role})[0].fields.get(2, [])) < 12


def change(generator, users):
    name, role = generator.choice(NAMES), generator.choice(ROLES)
    key, end = generator.choice(KEYS), generator.choice(KEYS)
    kind = generator.randrange(12)
    if kind == 0:
        both(users, "Auth/UserAdd", {1: name, 2: "pw", 3: {} if generator.random() < 0.8 else {1: 1}})
    elif kind == 1 and generator.random() < 0.3:
        both(users, "Auth/UserDelete", {1: name})
    elif kind == 2:
        both(users, "Auth/UserGrantRole", {1: name, 2: role})
    elif kind == 3:
        both(users, "Auth/UserRevokeRole", {1: name, 2: role})
    elif kind == 4:
        both(users, "Auth/RoleAdd", {1: role})
    elif kind == 5 and generator.random() < 0.3:
        both(users, "Auth/RoleDelete", {1: role})
    elif kind in (6, 7) and has_room(users, role):
        both(users, "Auth/RoleGrantPermission", {1: role, 2: {1: generator.randrange(3), 2: key, 3: end}})
    elif kind in (6, 7, 8):
        both(users, "Auth/RoleRevokePermission", {1: role, 2: key, 3: end})
    elif kind == 9:
        both(users, "Auth/RoleGet", {1: role})
        both(users, "Auth/UserGet", {1: name})
    elif kind == 10:
        both(users, "Auth/UserList", {})
        both(users, "Auth/RoleList", {})
    elif generator.random() < 0.9:
        both(users, "Auth/AuthEnable", {})
    else:
        both(users, "Auth/AuthDisable", {})


def log_in(generator, servers, nobody):
    """As somebody, who then asks for all ranges there are; root's connections, if it was root."""
    name = generator.choice(NAMES)
    answers = [user.call("Auth/Authenticate", {1: name, 2: "pw"}) for user in nobody]
    expect(answers[0].status == answers[1].status, f"a login of {name}: ours {answers[0]}, real {answers[1]}")
    if answers[0].status != OK:
        return None
    users = [User(server, [("token", answer.fields[2][0].decode())]) for server, answer in zip(servers, answers)]
    for key in KEYS[1:]:
        for end in KEYS:
            both(users, "KV/Range", {1: key, 2: end})
            if generator.random() < 0.2:
                both(users, "KV/DeleteRange", {1: key, 2: end})
    if name == "root":
        return users
    for user in users:
        user.close()
    return None


def rows_are_the_same(servers):
    if not os.access(BOLT_TOOL, os.X_OK):
        print("  without tests/bolt/bolt_tool: rows are not compared", flush=True)
        return
    for bucket in ("auth", "authUsers", "authRoles"):
        dumps = [subprocess.run([BOLT_TOOL, "dump", f"{server.data}/member/snap/db", bucket], capture_output=True, text=True,
                                check=True).stdout for server in servers]
        dumps = [re.sub(b"$2a$04$".hex() + "[0-9a-f]{106}", "HASH", dump) for dump in dumps]
        expect(dumps[0] == dumps[1], f"rows of {bucket}: ours {dumps[0]}, real {dumps[1]}")


def run_round(scratch, seed):
    generator = random.Random(seed)
    servers = [scratch.server(f"{name}-{seed}", program=program, flags=["--bcrypt-cost=4"]).start()
               for name, program in (("ours", etcd.OURS), ("real", REAL))]
    nobody, root = [User(server) for server in servers], None
    for _ in range(STEPS):
        change(generator, root if root and generator.random() < 0.9 else nobody)
        if generator.random() < 0.1:
            root = log_in(generator, servers, nobody)
    for server in servers:
        server.stop()
    rows_are_the_same(servers)


def run(scratch):
    if not REAL or not os.access(REAL, os.X_OK):
        etcd.skip("no etcd 3.5 (set ETCD35_BIN to its directory)")
    for seed in range(SEED, SEED + ROUNDS):
        print(f"AUTH_SEED={seed}", flush=True)
        run_round(scratch, seed)


etcd.main(run)
