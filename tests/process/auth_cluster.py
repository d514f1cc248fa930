#!/usr/bin/python3
"""Users and roles in clusters, in data directories that change hands, and by certificates.

Every member judges alike: ours alone, and ours beside a real etcd 3.5 (ETCD35_BIN), with authentication enabled by either.
A member that was away and comes back by a snapshot knows who may do what. Directories with users go back and forth between
ours and real ones of 3.4 (ETCD34_BIN) and 3.5, with the same passwords and permissions. Clients log in anew by themselves.
"""
import sys

sys.dont_write_bytecode = True

import os
import subprocess
import time
import urllib.error
import urllib.request

import etcd
from auth_client import (AUTH_FAILED, BAD_TOKEN, DENIED, OK, OLD_REVISION, READ, READWRITE, USER_EMPTY, WRITE, User, as_user,
                         enable, fields_of)
from clusters import Cluster, wait_for
from etcd import expect

CHEAP = ["--bcrypt-cost=4"]
REAL = f"{etcd.ETCD35}/etcd" if etcd.ETCD35 else None
CTL = os.path.join(os.path.dirname(etcd.OURS), "etcdctl")
TOP = os.path.join(os.path.dirname(etcd.OURS), "etcdtop")
BOLT_TOOL = os.path.join(os.path.dirname(etcd.OURS), "tests/bolt/bolt_tool")


# ---- one answer on every member ----

def settled(server, call, expected):
    """A member that is a moment behind says that its view of users is old, and clients ask again. A real etcd may besides
    be asked an entry too early for a token that another member has just given."""
    passing = [OLD_REVISION] + ([BAD_TOKEN] if server.program != etcd.OURS else [])
    answer = call()
    for _ in range(20):
        if answer.status == expected or answer.status not in passing:
            break
        time.sleep(0.05)
        answer = call()
    return answer


def on_each(servers, metadata, path, fields, expected=None):
    answers = []
    for server in servers:
        with User(server, metadata) as user:
            answers.append(settled(server, lambda: user.call(path, fields), expected).status)
    return answers


def expect_everywhere(servers, user, path, fields, expected):
    found = on_each(servers, user.metadata, path, fields, expected)
    expect(set(found) == {expected}, f"{path} {fields}: {found} instead of {expected} on every member")


def keys_agree(servers):
    def ask():
        found = set()
        for server in servers:
            with as_user(server, "root", "rootpw") as root:
                found.add(root.must("Maintenance/HashKV").fields[2][0])
        return len(found) == 1
    wait_for("all members have the same keys", ask)


def rows_agree(servers):
    """Of users and roles, byte for byte, in the databases of members that have stopped."""
    if not os.access(BOLT_TOOL, os.X_OK):
        print("  without tests/bolt/bolt_tool: rows are not compared", flush=True)
        return
    for bucket in ("auth", "authUsers", "authRoles"):
        found = {subprocess.run([BOLT_TOOL, "dump", f"{server.data}/member/snap/db", bucket], capture_output=True, text=True,
                                check=True).stdout for server in servers}
        expect(len(found) == 1 and len(found.pop()) > 0, f"rows of {bucket} differ: {found}")


def permissions_are_the_same(servers, root):
    """A user who reads [a,c) and [c,e), writes "w" and everything from "x" on; all ranges on all members."""
    root.add_role("mixed", (READ, b"a", b"c"), (READ, b"c", b"e"), (WRITE, b"w", b""), (READWRITE, b"x", b"\0"))
    root.add_user("mia", "miapw", "mixed")
    with as_user(servers[0], "mia", "miapw") as mia:
        for key, end, expected in ((b"a", b"", OK), (b"a", b"e", OK), (b"b", b"d", OK), (b"a", b"e\0", DENIED),
                                   (b"a", b"f", DENIED), (b"d", b"\0", DENIED), (b"e", b"", DENIED), (b"w", b"", DENIED),
                                   (b"x", b"\0", OK), (b"zz", b"", OK), (b"\0", b"\0", DENIED), (b"", b"\0", None)):
            if expected:
                expect_everywhere(servers, mia, "KV/Range", {1: key, 2: end}, expected)
        for key, expected in ((b"a", DENIED), (b"w", OK), (b"w\0", DENIED), (b"x", OK), (b"zz", OK)):
            expect_everywhere(servers, mia, "KV/Put", {1: key, 2: b"mia"}, expected)
        expect_everywhere(servers, mia, "KV/DeleteRange", {1: b"x", 2: b"y"}, OK)
        expect_everywhere(servers, mia, "KV/DeleteRange", {1: b"v", 2: b"y"}, DENIED)
        expect_everywhere(servers, mia, "KV/Txn", {1: {3: b"a", 4: 0}, 2: {2: {1: b"w"}}}, OK)
        expect_everywhere(servers, mia, "KV/Txn", {1: {3: b"a", 4: 0}, 3: {2: {1: b"v"}}}, DENIED)
        # What one member changes counts on every other at once.
        with User(servers[1], root.metadata) as other:
            other.must("Auth/RoleRevokePermission", {1: "mixed", 2: b"x", 3: b"\0"})
        expect_everywhere(servers, mia, "KV/Put", {1: b"x"}, DENIED)
        expect_everywhere(servers, mia, "KV/Range", {1: b"a", 2: b"e"}, OK)
        with User(servers[2], root.metadata) as other:
            other.must("Auth/UserChangePassword", {1: "mia", 2: "new"})
        expect_everywhere(servers, mia, "KV/Range", {1: b"a"}, BAD_TOKEN)
    with as_user(servers[2], "mia", "new") as mia:
        expect_everywhere(servers, mia, "KV/Range", {1: b"a"}, OK)
        root.must("Auth/UserRevokeRole", {1: "mia", 2: "mixed"})
        expect_everywhere(servers, mia, "KV/Range", {1: b"a"}, DENIED)
    with User(servers[0]) as nobody:
        expect_everywhere(servers, nobody, "KV/Range", {1: b"a"}, USER_EMPTY)
        expect_everywhere(servers, nobody, "KV/Put", {1: b"a"}, USER_EMPTY)


def tokens_hold_everywhere_at_once(servers):
    """A login on one member, and at once a call on each other, many times over: none may not know the token yet."""
    for turn in range(12):
        server = servers[turn % len(servers)]
        with as_user(server, "root", "rootpw") as root:
            for other in servers:
                if other.program != etcd.OURS:
                    continue  # see settled
                with User(other, root.metadata) as user:
                    for fields in ({1: b"a", 7: 1}, {1: b"a"}):
                        answer = user.call("KV/Range", fields)
                        expect(answer.status == OK, f"a token of {server.name} on {other.name}: {answer}")
                    answer = user.call("Watch/Watch", {1: {1: b"a"}}, stream=True)
                    expect(answer.fields.get(6) is None, f"a watch with a token of {server.name} on {other.name}: {answer}")


def leases_are_judged_by_every_member(servers, root):
    """Also by members that must ask the leader."""
    root.add_role("l", (READWRITE, b"l", b"m"))
    root.add_user("lea", "leapw", "l")
    root.must("Lease/LeaseGrant", {1: 600, 2: 41})
    root.must("KV/Put", {1: b"secret/leased", 2: b"x", 3: 41})
    with as_user(servers[0], "lea", "leapw") as lea:
        lea.must("Lease/LeaseGrant", {1: 600, 2: 42})
        lea.must("KV/Put", {1: b"l/1", 2: b"x", 3: 42})
        for server in servers:
            with User(server, lea.metadata) as user:
                for lease, expected in ((41, DENIED), (42, OK)):
                    found = {user.call("Lease/LeaseTimeToLive", {1: lease, 2: 1}).status}
                    if server.program == etcd.OURS:  # 3.5.16 keeps leases alive for anybody
                        found.add(user.call("Lease/LeaseKeepAlive", {1: lease}, stream=True).status)
                    expect(found == {expected}, f"lease {lease} on {server.name}: {found}")
                expect(user.call("KV/Put", {1: b"l/2", 3: 41}).status == DENIED, "a foreign lease takes a key")
                expect(user.call("Lease/LeaseRevoke", {1: 41}).status == DENIED, "a foreign lease is ended")
        lea.must("Lease/LeaseRevoke", {1: 42})
    # What expires is revoked in root's name, although nobody is logged in who could.
    root.must("Lease/LeaseGrant", {1: 2, 2: 43})
    root.must("KV/Put", {1: b"short", 2: b"x", 3: 43})
    wait_for("a lease expires", lambda: not root.must("KV/Range", {1: b"short"}).fields.get(2))


def leader_of(servers, root):
    for server in servers:
        with User(server, root.metadata) as user:
            status = user.must("Maintenance/Status")
            if status.fields.get(4) == fields_of(status.fields[1][0])[2]:
                return server
    return None


def promotion_takes_an_administrator(cluster, root):
    """Asked of a member that does not lead, which asks the leader, who asks for a name, too."""
    leader = wait_for("a leader", lambda: leader_of(cluster.running(), root))[0]
    asked = next(server for server in cluster.running() if server is not leader)
    learner = cluster._new_server("learner", etcd.OURS)
    with User(asked, root.metadata) as user:
        def add():
            answer = user.call("Cluster/MemberAdd", {1: learner.peer_url, 2: 1})
            return answer if answer.status == OK else None
        added = wait_for("members that are connected for long enough", add)[0]
        learner_id = fields_of(added.fields[2][0])[1][0]
        learner.initial_cluster = cluster._list()
        learner.spawn(["--initial-cluster-state=existing"])
        for headers in ({}, {"Authorization": "nonsense"}):
            request = urllib.request.Request(f"{leader.peer_url}/members/promote/{learner_id}", method="POST", headers=headers)
            try:
                urllib.request.urlopen(request, timeout=10)
                raise etcd.Failure(f"the peer port promotes for anybody who shows {headers}")
            except urllib.error.HTTPError as error:
                expect(error.code == 500, f"promotion by anybody: {error.code}")
        with as_user(asked, "mia", "new") as mia:
            expect(mia.call("Cluster/MemberPromote", {1: learner_id}).status == DENIED, "anybody may promote")
        wait_for("the learner is promoted",
                 lambda: user.call("Cluster/MemberPromote", {1: learner_id}).status == OK)
        learner.wait_ready()
        user.must("Cluster/MemberRemove", {1: learner_id})
    cluster.servers.remove(learner)
    learner.process.wait(30)
    learner.process = None


def members_judge_alike(scratch, programs, enabled_by):
    cluster = Cluster(scratch, programs, flags=CHEAP)
    cluster.start()
    servers = cluster.servers
    root = enable(servers[enabled_by])
    tokens_hold_everywhere_at_once(servers)
    permissions_are_the_same(servers, root)
    leases_are_judged_by_every_member(servers, root)
    if set(programs.values()) == {etcd.OURS}:
        promotion_takes_an_administrator(cluster, root)
    keys_agree(servers)
    root.close()
    for server in servers:
        server.stop()
    rows_agree(servers)
    print(f"  {', '.join(programs)}: enabled by {list(programs)[enabled_by]}", flush=True)


# ---- a member that was away ----

def who_comes_back_by_snapshot_knows(scratch):
    """Its log has nothing of users; after the snapshot it must judge as the others do, or its data would differ."""
    cluster = Cluster(scratch, {f"s{n}": etcd.OURS for n in range(3)},
                      flags=[*CHEAP, "--snapshot-count=100", "--snapshot-catchup-entries=20"])
    cluster.start()
    away = next(server for server in cluster.servers if server is not cluster.wait_for_leader()[0])
    away.kill()
    others = [server for server in cluster.servers if server is not away]
    root = enable(others[0])
    root.add_role("k", (READWRITE, b"k", b"l"))
    root.add_user("kim", "kimpw", "k")
    root.add_user("kai", "kaipw")
    for number in range(400):
        root.must("KV/Put", {1: b"k/%d" % number, 2: b"x"})
    away.start()
    with as_user(away, "kim", "kimpw") as kim, as_user(away, "kai", "kaipw") as kai:
        for number in range(10):
            expect(kim.put(b"k/%d" % number, b"kim").status == OK, "a permission was lost on the way")
            expect(kai.put(b"k/%d" % number, b"kai").status == DENIED, "a permission was made up on the way")
            expect(kai.call("KV/Range", {1: b"k", 2: b"l", 7: 1}).status == DENIED, "it shows its keys to anybody")
    with User(away) as nobody:
        expect(nobody.call("KV/Range", {1: b"k", 7: 1}).status == USER_EMPTY, "it lets nobody read")
    keys_agree(cluster.servers)
    with urllib.request.urlopen(f"{away.endpoint}/metrics", timeout=10) as metrics:
        received = [line.split()[1] for line in metrics.read().decode().splitlines()
                    if line.startswith("etcd_network_snapshot_receive_success")]
    expect(received and received[0] != "0", "it came back without a snapshot: the test tests nothing")
    root.close()
    for server in cluster.servers:
        server.stop()
    rows_agree(cluster.servers)
    print("  a member back by snapshot", flush=True)


# ---- signed tokens ----

def key_pair(directory, name, *kind):
    private, public = f"{directory}/{name}.key", f"{directory}/{name}.pub"
    for arguments in (["genpkey", *kind, "-out", private], ["pkey", "-in", private, "-pubout", "-out", public]):
        done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
        expect(done.returncode == 0, f"openssl {arguments}: {done.stderr}")
    return private, public


def signed_tokens(scratch, programs):
    private, public = key_pair(scratch.directory, "rs", "-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")
    token = f"--auth-token=jwt,sign-method=RS256,priv-key={private},pub-key={public},ttl=8s"
    cluster = Cluster(scratch, programs, flags=[*CHEAP, token])
    cluster.start()
    servers = cluster.servers
    root = enable(servers[0])
    root.add_role("j", (READWRITE, b"j", b"k"))
    root.add_user("jo", "jopw", "j")
    with as_user(servers[1], "jo", "jopw") as jo, as_user(servers[2], "root", "rootpw") as admin:
        expect_everywhere(servers, jo, "KV/Put", {1: b"j"}, OK)
        expect_everywhere(servers, jo, "KV/Range", {1: b"x"}, DENIED)
        # The token says of when it is: after any change keys are refused until the next login; administrators' calls and
        # what needs just a user are not.
        admin.must("Auth/RoleAdd", {1: "new"})
        expect_everywhere(servers, jo, "KV/Put", {1: b"j"}, OLD_REVISION)
        expect_everywhere(servers, jo, "KV/Range", {1: b"j"}, OLD_REVISION)
        expect_everywhere(servers, jo, "KV/Txn", {2: {2: {1: b"j"}}}, OLD_REVISION)
        expect_everywhere(servers, admin, "Auth/UserList", {}, OK)
        ours = [server for server in servers if server.program == etcd.OURS]
        expect_everywhere(ours, jo, "Lease/LeaseGrant", {1: 100}, OK)
        forged = jo.metadata[0][1][:-4] + ("AAAA" if not jo.metadata[0][1].endswith("AAAA") else "BBBB")
        with User(servers[0], [("token", forged)]) as mallory:
            expect_everywhere(servers, mallory, "KV/Range", {1: b"j"}, BAD_TOKEN)
        with as_user(servers[0], "jo", "jopw") as again:
            expect_everywhere(servers, again, "KV/Put", {1: b"j"}, OK)
            wait_for("the token is over",
                     lambda: set(on_each(servers, again.metadata, "Auth/AuthStatus", {}, BAD_TOKEN)) == {BAD_TOKEN})
    # Members that can only verify: nobody logs in there, and leases still end.
    root.close()
    for server in servers:
        server.stop()
        server.flags = [*CHEAP, f"--auth-token=jwt,sign-method=RS256,pub-key={public},ttl=60s"]
    print(f"  signed tokens: {', '.join(programs)}", flush=True)


def verifying_only(scratch):
    private, public = key_pair(scratch.directory, "es", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
    server = scratch.server("verify", flags=[*CHEAP, f"--auth-token=jwt,sign-method=ES256,priv-key={private},ttl=60s"])
    server.start()
    root = enable(server)
    server.stop()
    server.flags = [*CHEAP, f"--auth-token=jwt,sign-method=ES256,pub-key={public}"]
    server.start()
    with User(server) as nobody:
        answer = nobody.call("Auth/Authenticate", {1: "root", 2: "rootpw"}).status
        expect(answer == (2, "auth: token signing attempted with verify-only key"), f"a login without a key: {answer}")
        expect(nobody.call("Auth/Authenticate", {1: "root", 2: "no"}).status == AUTH_FAILED, "a wrong password opens")
    root.must("Lease/LeaseGrant", {1: 2, 2: 5})
    root.must("KV/Put", {1: b"leased", 2: b"x", 3: 5})
    wait_for("a lease expires", lambda: not root.must("KV/Range", {1: b"leased"}).fields.get(2))
    with urllib.request.urlopen(f"{server.endpoint}/health", timeout=10) as health:
        expect(b'"true"' in health.read(), "without a key to sign with it is not healthy")
    root.close()
    server.stop()
    for flags, text in ((["--auth-token=jwt,sign-method=RS256"], "auth: missing key data"),
                        (["--auth-token=nonsense"], "auth: invalid auth options")):
        refused = scratch.server("refused", flags=flags)
        refused.spawn()
        expect(refused.process.wait(20) == 1 and text in refused.log_tail(), f"{flags}: {refused.log_tail()}")
        refused.process = None


# ---- directories that change hands ----

def directories_change_hands(scratch, chain):
    """(name, program)s one after the other: the same users, the same answers, and each adds a user of its own."""
    server = scratch.server("-".join(name for name, _ in chain))
    before = None
    for number, (name, program) in enumerate(chain):
        server.program = program
        server.start()
        if number == 0:
            with User(server) as nobody:
                nobody.add_role("r", (READ, b"a", b"c"), (WRITE, b"b", b""), (READWRITE, b"x", b"\0"))
                nobody.add_user("ann", "annpw", "r")
                nobody.must("Auth/UserAdd", {1: "certified", 3: {1: 1}})
                nobody.add_user("void", "")
            root = enable(server)
        else:
            root = as_user(server, "root", "rootpw")
        now = {"users": root.must("Auth/UserList").fields[2], "roles": root.must("Auth/RoleList").fields[2],
               "permissions": root.must("Auth/RoleGet", {1: "r"}).fields[2],
               "ann": root.must("Auth/UserGet", {1: "ann"}).fields.get(2)}
        expect(before in (None, now), f"{name} found {now}, not {before}")
        with as_user(server, "ann", "annpw") as ann:
            for path, fields, expected in (("KV/Range", {1: b"a", 2: b"c"}, OK), ("KV/Range", {1: b"a", 2: b"d"}, DENIED),
                                           ("KV/Put", {1: b"b"}, OK), ("KV/Put", {1: b"a"}, DENIED),
                                           ("KV/Put", {1: b"y"}, OK)):
                found = ann.call(path, fields).status
                expect(found == expected, f"{name}: {path} {fields}: {found}")
        with User(server) as nobody:
            for earlier in range(number):
                expect(isinstance(nobody.login(f"user{earlier}", f"pw{earlier}"), str), f"{name}: user{earlier} is shut out")
            expect(nobody.login("certified", "").status[0] == 2, "a user without password logs in")
            expect(nobody.login("ann", "wrong").status == AUTH_FAILED, "a wrong password opens")
        root.add_user(f"user{number}", f"pw{number}", "r")
        root.must("Auth/RoleGrantPermission", {1: "r", 2: {1: READ, 2: b"p%d" % number}})
        before = {"users": root.must("Auth/UserList").fields[2], "roles": now["roles"],
                  "permissions": root.must("Auth/RoleGet", {1: "r"}).fields[2], "ann": now["ann"]}
        root.close()
        if number % 2:
            server.kill()
        else:
            server.stop()
    print(f"  a directory: {' -> '.join(name for name, _ in chain)}", flush=True)


# ---- certificates ----

def a_library_logs_in(server, security, pair):
    """python3-etcd3 by name and password, which takes a connection that encrypts; its certificate is somebody else's."""
    import etcd3
    library = etcd3.client(host=server.host, port=server.port, user="root", password="rootpw", timeout=20,
                           ca_cert=security.authority.certificate, cert_cert=pair.certificate, cert_key=pair.key)
    library.put("library", "x")
    expect(library.get("library")[0] == b"x", "it reads something else than it wrote")
    library.close()


def certificates_are_users(scratch):
    import certificates
    if not certificates.OPENSSL:
        print("  without openssl: no certificates", flush=True)
        return
    authority = certificates.Authority(scratch.path("ca"), "ca")
    pair = authority.issue("server", names="IP:127.0.0.1")
    ann, ghost, rootpair = (authority.issue(name) for name in ("ann", "ghost", "root"))
    security = certificates.Security(authority, pair, client=ann)
    server = scratch.server("tls", flags=CHEAP, security=security).start()

    def user(certificate, metadata=()):
        found = User(server, metadata)
        found.channel = etcd.grpc.secure_channel(f"{server.host}:{server.port}", security.credentials(certificate))
        return found
    with user(rootpair) as admin, user(ann) as by_name, user(ghost) as nobody_known, \
            user(ann, [("grpcgateway-accept", "*/*")]) as gateway, user(ann, [("token", "nonsense")]) as wrong:
        admin.add_role("r", (READWRITE, b"a", b"b"))
        admin.must("Auth/UserAdd", {1: "ann", 3: {1: 1}})
        admin.must("Auth/UserGrantRole", {1: "ann", 2: "r"})
        admin.must("Auth/UserAdd", {1: "root", 2: "rootpw", 3: {}})
        admin.must("Auth/UserGrantRole", {1: "root", 2: "root"})
        admin.must("Auth/AuthEnable")
        for who, path, fields, expected in (
                (by_name, "KV/Put", {1: b"a", 2: b"x"}, OK), (by_name, "KV/Put", {1: b"c"}, DENIED),
                (by_name, "KV/Range", {1: b"a"}, OK), (by_name, "Auth/UserList", {}, DENIED),
                (nobody_known, "KV/Range", {1: b"a"}, DENIED), (nobody_known, "Maintenance/Status", {}, OK),
                (nobody_known, "Auth/UserList", {}, (9, "etcdserver: user name not found")),
                (gateway, "KV/Range", {1: b"a"}, USER_EMPTY), (wrong, "KV/Range", {1: b"a"}, BAD_TOKEN),
                (admin, "Auth/UserList", {}, OK)):
            found = who.call(path, fields).status
            expect(found == expected, f"{path} {fields}: {found}, not {expected}")
        expect(by_name.call("Watch/Watch", {1: {1: b"a"}}, stream=True).fields.get(6) is None, "a certificate may not watch")
        token = by_name.login("root", "rootpw")
        with user(ann, [("token", token)]) as both:
            expect(both.call("Auth/UserList").status == OK, "a token does not come before the certificate")
        a_library_logs_in(server, security, ann)
        admin.must("Auth/UserDelete", {1: "ann"})
        expect(by_name.call("KV/Range", {1: b"a"}).status == DENIED, "a user that is gone reads by certificate")
    server.stop()
    print("  users by certificate", flush=True)


# ---- etcdctl ----

def dashboards_log_in_anew(server, environment, pexpect):
    """Refreshed less often than a token lasts."""
    once = subprocess.run([TOP, "--endpoints", server.endpoint, "--user", "root:other", "--once"], capture_output=True,
                          text=True, env=environment, timeout=30, check=False)
    expect(once.returncode == 0 and "HEALTHY" in once.stdout, f"etcdtop --once: {once}")
    once = subprocess.run([TOP, "--endpoints", server.endpoint, "--once"], capture_output=True, text=True, env=environment,
                          timeout=30, check=False)
    expect(once.returncode == 1 and "user name is empty" in once.stdout, f"etcdtop --once by nobody: {once}")
    top = pexpect.spawn(TOP, ["--endpoints", server.endpoint, "--user", "root:other", "-d", "3s"], timeout=20,
                        env=dict(environment, TERM="xterm"), encoding="utf8", dimensions=(24, 80))
    try:
        top.expect("HEALTHY")
        until = time.monotonic() + 8
        seen = ""
        while time.monotonic() < until:
            try:
                seen += top.read_nonblocking(4096, timeout=0.2)
            except pexpect.TIMEOUT:
                pass
        expect("auth token" not in seen and "CRITICAL" not in seen, f"etcdtop has lost its login: {seen!r}")
        top.send("q")
        top.expect(pexpect.EOF)
    finally:
        top.close(force=True)


def tools_log_in_anew(scratch):
    """The shell stays while tokens come and go; passwords are asked for without an echo."""
    try:
        import pexpect
    except ImportError:
        print("  without python3-pexpect: no shell", flush=True)
        return
    if not os.access(CTL, os.X_OK):
        print("  without etcdctl: no shell", flush=True)
        return
    server = scratch.server("short", flags=[*CHEAP, "--auth-token-ttl=2"]).start()
    root = enable(server)
    root.must("KV/Put", {1: b"k", 2: b"value-of-k"})
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ETCDCTL_")}
    environment.update(TERM="dumb", HOME=scratch.directory)
    shell = pexpect.spawn(CTL, ["--endpoints", server.endpoint, "--user", "root"], env=environment, timeout=20,
                          encoding="utf8")
    try:
        shell.expect("Password: ")
        expect(shell.waitnoecho(10), "the password is echoed")
        shell.sendline("rootpw")
        for _ in range(3):
            shell.expect("> ")
            shell.sendline("get k")
            shell.expect("value-of-k")
            time.sleep(2.5)  # the token is over
        before = shell.before + shell.after
        expect("rootpw" not in before, "the password is on the screen")
        shell.sendline("user passwd root")
        shell.expect("Password of root: ")
        shell.sendline("other")
        shell.expect("again for confirmation: ")
        shell.sendline("other")
        shell.expect("Password updated")
    finally:
        shell.close(force=True)
    with as_user(server, "root", "other") as again:
        lease = fields_of(again.must("Lease/LeaseGrant", {1: 5}).data)[2][0]
        keeper = subprocess.Popen([CTL, "--endpoints", server.endpoint, "--user", "root:other", "lease", "keep-alive",
                                   f"{lease:x}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        watcher = subprocess.Popen([CTL, "--endpoints", server.endpoint, "--user", "root:other", "watch", "k"],
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        for _ in range(35):
            time.sleep(0.2)
            again.must("Maintenance/Status")
        expect(again.must("Lease/LeaseTimeToLive", {1: lease}).fields[3][0] <= 5, "the lease was not kept alive")
        again.must("KV/Put", {1: b"k", 2: b"seen"})
        expect([watcher.stdout.readline() for _ in range(3)] == ["PUT\n", "k\n", "seen\n"], "the watch has ended")
        for process in (keeper, watcher):
            process.kill()
            process.wait()
    if os.access(TOP, os.X_OK):
        dashboards_log_in_anew(server, environment, pexpect)
    root.close()
    server.stop()
    print("  etcdctl's shell, keep-alive and watch, and etcdtop, with tokens of two seconds", flush=True)


def run(scratch):
    ours = etcd.OURS
    members_judge_alike(scratch, {"a0": ours, "a1": ours, "a2": ours}, 0)
    who_comes_back_by_snapshot_knows(scratch)
    signed_tokens(scratch, {"j0": ours, "j1": ours, "j2": ours})
    verifying_only(scratch)
    certificates_are_users(scratch)
    tools_log_in_anew(scratch)
    if not REAL or not os.access(REAL, os.X_OK):
        print("no etcd 3.5 (ETCD35_BIN): no mixed clusters, no directories that change hands")
        return
    members_judge_alike(scratch, {"b0": ours, "b1": REAL, "b2": REAL}, 1)
    signed_tokens(scratch, {"k0": ours, "k1": REAL, "k2": ours})
    directories_change_hands(scratch, [("ours", ours), ("3.5", REAL), ("ours", ours), ("3.5", REAL)])
    old = os.path.join(etcd.ETCD34, "etcd")
    if os.access(old, os.X_OK):
        directories_change_hands(scratch, [("3.4", old), ("ours", ours), ("3.5", REAL), ("ours", ours)])


etcd.main(run)
