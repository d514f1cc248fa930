#!/usr/bin/python3
"""Who may do what: every RPC by everybody, and every way around that was ever found.

The matrix: each RPC by nobody, with a wrong token, with one whose time is over, of a user that is gone, by users with and
without the permission it takes, and by root; code and text are what etcd answers, and what is refused changes nothing.
ETCD35_BIN: the same calls are made to a real etcd 3.5, and the answers compared.
"""
import sys

sys.dont_write_bytecode = True

import base64
import json
import subprocess
import time
import urllib.error
import urllib.request

import etcd
from auth_client import (AUTH_FAILED, BAD_TOKEN, DENIED, OK, READ, READWRITE, USER_EMPTY, USER_NOT_FOUND, WRITE, User,
                         as_user, enable, everything, fields_of)
from etcd import expect, rpc

SECRET = b"top-secret-value"
SECRET_LEASE, OWN_LEASE, NO_LEASE = 77, 78, 999

# ---- every RPC ----

FUTURE = (11, "etcdserver: mvcc: required revision is a future revision")
BAD_URLS = (3, "etcdserver: given member URLs are invalid")  # told before anybody is asked for a name
# Locks and elections are recipes of several calls, whose errors lose their codes.
RECIPE_EMPTY, RECIPE_DENIED, RECIPE_TOKEN = ((2, text) for _, text in (USER_EMPTY, DENIED, BAD_TOKEN))
OBSERVE, SILENT = "v3electionpb.Election/Observe", (0, "")
NO_SUCH_LEASE = (5, "etcdserver: requested lease not found")
NO_SUCH_MEMBER = (5, "etcdserver: member not found")
ROLE_NOT_FOUND = (9, "etcdserver: role name not found")


def needs_token(call):
    return call[1] not in NEEDS_NO_TOKEN and call[3] != BAD_URLS


def bad_token(call):
    if call[1] == OBSERVE:
        return SILENT
    return RECIPE_TOKEN if call[3] == RECIPE_EMPTY else BAD_TOKEN


def put_op(key, **more):
    return {2: {1: key, 2: b"x", **more}}


# What it is, the call, its request; then by nobody, bob (without any permission), ann (who reads and writes what starts
# with "a"), and root. A wrong token is refused always, except where `token` says otherwise.
CALLS = [
    ("range", "KV/Range", {1: b"a"}, USER_EMPTY, DENIED, OK, OK),
    ("range outside", "KV/Range", {1: b"b"}, USER_EMPTY, DENIED, DENIED, OK),
    ("range to the end", "KV/Range", {1: b"a", 2: b"\0"}, USER_EMPTY, DENIED, DENIED, OK),
    ("range, serializable", "KV/Range", {1: b"a", 7: 1}, USER_EMPTY, DENIED, OK, OK),
    ("range, only counted", "KV/Range", {1: b"b", 9: 1}, USER_EMPTY, DENIED, DENIED, OK),
    ("range, only keys", "KV/Range", {1: b"a", 2: b"c", 8: 1}, USER_EMPTY, DENIED, DENIED, OK),
    ("range of the past", "KV/Range", {1: b"b", 4: 2}, USER_EMPTY, DENIED, DENIED, OK),
    ("put", "KV/Put", {1: b"a", 2: b"x"}, USER_EMPTY, DENIED, OK, OK),
    ("put outside", "KV/Put", {1: b"b", 2: b"x"}, USER_EMPTY, DENIED, DENIED, OK),
    ("put with a lease that is not there", "KV/Put", {1: b"b", 3: NO_LEASE}, USER_EMPTY, DENIED, DENIED, NO_SUCH_LEASE),
    ("delete", "KV/DeleteRange", {1: b"a/none"}, USER_EMPTY, DENIED, OK, OK),
    ("delete outside", "KV/DeleteRange", {1: b"none"}, USER_EMPTY, DENIED, DENIED, OK),
    ("txn without anything", "KV/Txn", {}, OK, OK, OK, OK),
    ("txn that reads", "KV/Txn", {2: {1: {1: b"a"}}}, USER_EMPTY, DENIED, OK, OK),
    ("txn that writes", "KV/Txn", {2: put_op(b"a")}, USER_EMPTY, DENIED, OK, OK),
    ("txn that writes in the branch not taken", "KV/Txn", {3: put_op(b"b")}, USER_EMPTY, DENIED, DENIED, OK),
    ("txn that compares", "KV/Txn", {1: {3: b"b", 4: 0}, 2: put_op(b"a")}, USER_EMPTY, DENIED, DENIED, OK),
    ("txn in a txn", "KV/Txn", {3: {4: {2: {4: {3: put_op(b"b")}}}}}, USER_EMPTY, DENIED, DENIED, OK),
    ("compact", "KV/Compact", {1: 10 ** 9}, USER_EMPTY, DENIED, DENIED, FUTURE),
    ("lease grant", "Lease/LeaseGrant", {1: 1000, 2: OWN_LEASE}, USER_EMPTY, OK, "exists", "exists"),
    ("lease revoke", "Lease/LeaseRevoke", {1: NO_LEASE}, USER_EMPTY, NO_SUCH_LEASE, NO_SUCH_LEASE, NO_SUCH_LEASE),
    ("lease revoke of a foreign one", "Lease/LeaseRevoke", {1: SECRET_LEASE}, USER_EMPTY, DENIED, DENIED, None),
    ("lease keep-alive", "Lease/LeaseKeepAlive", {1: SECRET_LEASE}, USER_EMPTY, DENIED, DENIED, OK),
    ("lease time to live", "Lease/LeaseTimeToLive", {1: SECRET_LEASE}, USER_EMPTY, OK, OK, OK),
    ("lease time to live with keys", "Lease/LeaseTimeToLive", {1: SECRET_LEASE, 2: 1}, USER_EMPTY, DENIED, DENIED, OK),
    ("leases", "Lease/LeaseLeases", {}, USER_EMPTY, DENIED, DENIED, OK),
    ("member list", "Cluster/MemberList", {}, USER_EMPTY, OK, OK, OK),
    ("member list, linearizable", "Cluster/MemberList", {1: 1}, USER_EMPTY, OK, OK, OK),
    ("member add", "Cluster/MemberAdd", {1: "http://127.0.0.1:1"}, USER_EMPTY, DENIED, DENIED, None),
    ("member add of nothing", "Cluster/MemberAdd", {1: "http://"}, BAD_URLS, BAD_URLS, BAD_URLS, BAD_URLS),
    ("member remove", "Cluster/MemberRemove", {1: 1}, USER_EMPTY, DENIED, DENIED, NO_SUCH_MEMBER),
    ("member update", "Cluster/MemberUpdate", {1: 1, 2: "http://127.0.0.1:1"}, USER_EMPTY, DENIED, DENIED,
     NO_SUCH_MEMBER),
    ("member promote", "Cluster/MemberPromote", {1: 1}, USER_EMPTY, DENIED, DENIED, NO_SUCH_MEMBER),
    ("alarm get", "Maintenance/Alarm", {}, USER_EMPTY, OK, OK, OK),
    ("alarm activate", "Maintenance/Alarm", {1: 1}, USER_EMPTY, DENIED, DENIED, OK),
    ("alarm deactivate", "Maintenance/Alarm", {1: 2}, USER_EMPTY, DENIED, DENIED, OK),
    ("status", "Maintenance/Status", {}, USER_EMPTY, OK, OK, OK),
    ("defragment", "Maintenance/Defragment", {}, USER_EMPTY, DENIED, DENIED, OK),
    ("hash", "Maintenance/Hash", {}, USER_EMPTY, DENIED, DENIED, OK),
    ("hash of keys", "Maintenance/HashKV", {}, USER_EMPTY, DENIED, DENIED, OK),
    ("snapshot", "Maintenance/Snapshot", {}, USER_EMPTY, DENIED, DENIED, OK),
    ("move leader", "Maintenance/MoveLeader", {1: 1}, USER_EMPTY, DENIED, DENIED, (9, "etcdserver: bad leader transferee")),
    ("downgrade", "Maintenance/Downgrade", {2: "x"}, USER_EMPTY, DENIED, DENIED,
     (3, "etcdserver: wrong downgrade target version format")),
    ("auth enable", "Auth/AuthEnable", {}, USER_EMPTY, DENIED, DENIED, OK),
    ("auth disable", "Auth/AuthDisable", {}, USER_EMPTY, DENIED, DENIED, None),
    ("auth status", "Auth/AuthStatus", {}, USER_EMPTY, DENIED, DENIED, OK),
    ("authenticate", "Auth/Authenticate", {1: "ann", 2: "no"}, AUTH_FAILED, AUTH_FAILED, AUTH_FAILED, AUTH_FAILED),
    ("authenticate nobody", "Auth/Authenticate", {1: "ghost", 2: "no"}, AUTH_FAILED, AUTH_FAILED, AUTH_FAILED, AUTH_FAILED),
    ("user add", "Auth/UserAdd", {1: "ann", 2: "x", 3: {}}, USER_EMPTY, DENIED, DENIED,
     (9, "etcdserver: user name already exists")),
    ("user get", "Auth/UserGet", {1: "ann"}, USER_EMPTY, DENIED, OK, OK),
    ("user get of nobody", "Auth/UserGet", {1: "ghost"}, USER_EMPTY, DENIED, DENIED, USER_NOT_FOUND),
    ("user list", "Auth/UserList", {}, USER_EMPTY, DENIED, DENIED, OK),
    ("user delete", "Auth/UserDelete", {1: "ghost"}, USER_EMPTY, DENIED, DENIED, USER_NOT_FOUND),
    ("user delete root", "Auth/UserDelete", {1: "root"}, USER_EMPTY, DENIED, DENIED,
     (3, "etcdserver: invalid auth management")),
    ("user change password", "Auth/UserChangePassword", {1: "ghost", 2: "x"}, USER_EMPTY, DENIED, DENIED, USER_NOT_FOUND),
    ("own password", "Auth/UserChangePassword", {1: "ann", 2: "x"}, USER_EMPTY, DENIED, DENIED, None),
    ("user grant role", "Auth/UserGrantRole", {1: "ghost", 2: "root"}, USER_EMPTY, DENIED, DENIED, USER_NOT_FOUND),
    ("own role", "Auth/UserGrantRole", {1: "ann", 2: "root"}, USER_EMPTY, DENIED, DENIED, None),
    ("user revoke role", "Auth/UserRevokeRole", {1: "ghost", 2: "root"}, USER_EMPTY, DENIED, DENIED, USER_NOT_FOUND),
    ("role add", "Auth/RoleAdd", {1: "a-keys"}, USER_EMPTY, DENIED, DENIED, (9, "etcdserver: role name already exists")),
    ("role get", "Auth/RoleGet", {1: "a-keys"}, USER_EMPTY, DENIED, OK, OK),
    ("role get root", "Auth/RoleGet", {1: "root"}, USER_EMPTY, DENIED, DENIED, ROLE_NOT_FOUND),
    ("role list", "Auth/RoleList", {}, USER_EMPTY, DENIED, DENIED, OK),
    ("role delete", "Auth/RoleDelete", {1: "ghost"}, USER_EMPTY, DENIED, DENIED, ROLE_NOT_FOUND),
    ("role grant permission", "Auth/RoleGrantPermission", {1: "ghost", 2: {1: 2, 2: b"k"}}, USER_EMPTY, DENIED, DENIED,
     ROLE_NOT_FOUND),
    ("own permission", "Auth/RoleGrantPermission", {1: "a-keys", 2: {1: 2, 2: b"b"}}, USER_EMPTY, DENIED, DENIED, None),
    ("role revoke permission", "Auth/RoleRevokePermission", {1: "ghost", 2: b"k"}, USER_EMPTY, DENIED, DENIED,
     ROLE_NOT_FOUND),
    ("lock", "v3lockpb.Lock/Lock", {1: b"a/l", 2: OWN_LEASE}, RECIPE_EMPTY, RECIPE_DENIED, OK, OK),
    ("lock outside", "v3lockpb.Lock/Lock", {1: b"b/l", 2: OWN_LEASE}, RECIPE_EMPTY, RECIPE_DENIED, RECIPE_DENIED, None),
    ("unlock", "v3lockpb.Lock/Unlock", {1: b"none"}, RECIPE_EMPTY, RECIPE_DENIED, RECIPE_DENIED, OK),
    ("campaign", "v3electionpb.Election/Campaign", {1: b"b", 2: OWN_LEASE}, RECIPE_EMPTY, RECIPE_DENIED, RECIPE_DENIED, None),
    ("proclaim", "v3electionpb.Election/Proclaim", {1: {1: b"b", 2: b"b/1", 3: 1, 4: OWN_LEASE}}, RECIPE_EMPTY, RECIPE_DENIED,
     RECIPE_DENIED, (2, "election: not leader")),
    ("leader", "v3electionpb.Election/Leader", {1: b"a"}, RECIPE_EMPTY, RECIPE_DENIED, OK, OK),
    ("resign", "v3electionpb.Election/Resign", {1: {1: b"b", 2: b"b/1", 3: 1, 4: OWN_LEASE}}, RECIPE_EMPTY, RECIPE_DENIED,
     RECIPE_DENIED, OK),
    # The observer's stream just ends: no error and no data. Who has the permission goes on observing.
    ("observe", OBSERVE, {1: b"b"}, SILENT, SILENT, SILENT, OK),
    ("health", "grpc.health.v1.Health/Check", {}, OK, OK, OK, OK),
]
STREAMS = {"Lease/LeaseKeepAlive", "Maintenance/Snapshot", OBSERVE}
NEEDS_NO_TOKEN = {"Auth/Authenticate", "grpc.health.v1.Health/Check"}
ANSWERS = {"exists": (9, "etcdserver: lease already exists")}

# Where 3.5.16 differs from 3.6.14, whose behaviour this is.
REAL_DIFFERS = {
    "txn in a txn": "nested transactions were not looked into before 3.5.28",
    "lease keep-alive": "needed no permission before 3.5.28",
    "lease grant": "needed no user before 3.5.28",
    "lease revoke": "needed no user before 3.5.28",
    "lease time to live": "needed no user before 3.5.28",
    "leases": "leases whose keys one may not read were listed",
    "member list": "needed no user before 3.5.28",
    "member list, linearizable": "needed no user before 3.5.28",
    "alarm get": "needed no user before 3.5.28",
    "alarm activate": "needed no user before 3.5.28",
    "alarm deactivate": "needed no user before 3.5.28",
    "compact": "needed no user before 3.5.28",
    "status": "was for root before 3.5.28",
    "defragment": "another text and code before 3.6",
    "hash": "another text and code before 3.6",
    "hash of keys": "another text and code before 3.6",
    "snapshot": "another text and code before 3.6",
    "move leader": "another text and code before 3.6",
    "downgrade": "another text and code before 3.6",
}


def populate(server):
    """The users of the table; returns root."""
    with User(server) as nobody:
        nobody.add_role("a-keys", (READWRITE, b"a", b"b"))
        nobody.add_user("ann", "annpw", "a-keys")
        nobody.add_user("bob", "bobpw")
        nobody.add_user("gone", "gonepw", "a-keys")
        nobody.must("Lease/LeaseGrant", {1: 1000, 2: SECRET_LEASE})
        nobody.put(b"a", b"1")
        nobody.put(b"b", SECRET)
        nobody.put(b"b/leased", SECRET, fields={3: SECRET_LEASE})
    return enable(server)


def ask(user, call):
    _, path, fields = call[:3]
    return user.call(path, fields, stream=path in STREAMS)


def check_refusal(who, call, answer, expected, root, before):
    """Returns the state, which must be what it was."""
    expect(answer.status == expected, f"{call[0]} by {who}: {answer}, not {expected}")
    expect(not answer.data and SECRET not in answer.status[1].encode(), f"{call[0]} by {who} gave something away: {answer}")
    after = everything(root)
    expect(after == before, f"{call[0]} by {who} was refused and had an effect:\n{before}\n{after}")


def matrix(server, root):
    """Everybody's answers by (call, who)."""
    answers = {}
    with User(server) as nobody, as_user(server, "ann", "annpw") as ann, as_user(server, "bob", "bobpw") as bob, \
            as_user(server, "gone", "gonepw") as gone, \
            User(server, [("token", "nonsense")]) as wrong, User(server, [("token", "abcdefghijklmnop.3")]) as stranger, \
            User(server, [("authorization", "Basic cm9vdDpyb290cHc=")]) as basic, User(server, [("token", "")]) as empty:
        root.must("Auth/UserDelete", {1: "gone"})
        for column, who, user in ((3, "nobody", nobody), (4, "bob", bob), (5, "ann", ann), (6, "root", root)):
            for call in CALLS:
                if call[column] is None:
                    continue
                answers[call[0], who] = ask(user, call).status
        for who, user in (("wrong", wrong), ("stranger", stranger), ("basic", basic), ("empty", empty), ("gone", gone)):
            for call in CALLS:
                answers[call[0], who] = ask(user, call).status
    return answers


def refusals_have_no_effect(server, root):
    with User(server) as nobody, as_user(server, "ann", "annpw") as ann, as_user(server, "bob", "bobpw") as bob, \
            User(server, [("token", "nonsense")]) as wrong:
        root.call("Lease/LeaseGrant", {1: 1000, 2: OWN_LEASE})
        before = everything(root)
        for call in CALLS:
            for column, who, user in ((3, "nobody", nobody), (4, "bob", bob), (5, "ann", ann)):
                expected = ANSWERS.get(call[column], call[column])
                if expected in (USER_EMPTY, DENIED, AUTH_FAILED, RECIPE_EMPTY, RECIPE_DENIED) or call[1] == OBSERVE:
                    check_refusal(who, call, ask(user, call), expected, root, before)
            if needs_token(call):
                check_refusal("a wrong token", call, ask(wrong, call), bad_token(call), root, before)


def expected_answers():
    expected = {}
    for call in CALLS:
        for column, who in ((3, "nobody"), (4, "bob"), (5, "ann"), (6, "root")):
            if call[column] is not None:
                expected[call[0], who] = ANSWERS.get(call[column], call[column])
        for who in ("wrong", "stranger", "basic", "empty", "gone"):
            expected[call[0], who] = bad_token(call) if needs_token(call) else call[4]
    return expected


def every_call_by_everybody(server, root):
    found, expected = matrix(server, root), expected_answers()
    wrong = {key: (found[key], expected[key]) for key in expected if found[key] != expected[key]}
    expect(not wrong, "found, expected:\n" + "\n".join(f"  {call} by {who}: {pair}" for (call, who), pair in wrong.items()))
    refusals_have_no_effect(server, root)
    print(f"  {len(found)} calls", flush=True)
    return found


def a_real_etcd_answers_the_same(scratch, found):
    if not etcd.ETCD35:
        print("  without etcd 3.5 to compare with", flush=True)
        return
    server = scratch.server("real", program=f"{etcd.ETCD35}/etcd").start()
    root = populate(server)
    real = matrix(server, root)
    differ = {key: (found[key], real[key]) for key in found
              if real[key] != found[key] and key[0] not in REAL_DIFFERS}
    expect(not differ, "ours, real:\n" + "\n".join(f"  {call} by {who}: {pair}" for (call, who), pair in differ.items()))
    root.close()
    server.stop()


# ---- ways around, each published by etcd as an advisory or a fix ----

def write_only(server, root):
    """A user who writes "w" and reads nothing."""
    root.add_role("w-only", (WRITE, b"w", b""))
    root.add_user("wanda", "wandapw", "w-only")
    root.must("KV/Put", {1: b"w", 2: SECRET})
    return as_user(server, "wanda", "wandapw")


def prev_kv_does_not_read(server, root):
    with write_only(server, root) as wanda:
        for name, path, fields in (
                ("put", "KV/Put", {1: b"w", 2: b"x", 4: 1}),
                ("delete", "KV/DeleteRange", {1: b"w", 3: 1}),
                ("txn put", "KV/Txn", {2: put_op(b"w"), 3: {2: {1: b"w", 4: 1}}}),
                ("txn delete", "KV/Txn", {2: {3: {1: b"w", 3: 1}}}),
                ("nested put", "KV/Txn", {2: {4: {2: {2: {1: b"w", 2: b"x", 4: 1}}}}}),
                ("nested delete", "KV/Txn", {3: {4: {3: {3: {1: b"w", 3: 1}}}}}),
                ("nested range", "KV/Txn", {2: {4: {2: {1: {1: b"w"}}}}}),
                ("compare", "KV/Txn", {1: {2: 3, 3: b"w", 7: SECRET}, 2: put_op(b"w")}),
                ("nested compare", "KV/Txn", {2: {4: {1: {2: 3, 3: b"w", 7: SECRET}}}}),
                ("compare of a range", "KV/Txn", {1: {2: 2, 3: b"v", 6: 0, 64: b"x"}, 2: put_op(b"w")})):
            before = everything(root)
            check_refusal("wanda", (name,), wanda.call(path, fields), DENIED, root, before)
        expect(wanda.put(b"w", SECRET).status == OK, "who may write cannot")


def a_lease_with_foreign_keys_takes_no_more(server, root):
    """Whoever may attach a key to a lease could end the lease, and the foreign keys with it."""
    with as_user(server, "ann", "annpw") as ann:
        before = everything(root)
        for name, path, fields in (
                ("put", "KV/Put", {1: b"a", 2: b"x", 3: SECRET_LEASE}),
                ("txn", "KV/Txn", {2: {2: {1: b"a", 2: b"x", 3: SECRET_LEASE}}}),
                ("nested", "KV/Txn", {3: {4: {2: {2: {1: b"a", 2: b"x", 3: SECRET_LEASE}}}}})):
            check_refusal("ann", (name,), ann.call(path, fields), DENIED, root, before)
        expect(ann.put(b"a/own", b"x", fields={3: OWN_LEASE}).status == OK, "an own lease takes no key")
        expect(b"a/own" in ann.call("Lease/LeaseTimeToLive", {1: OWN_LEASE, 2: 1}).fields.get(5, []), "own keys are not told")
        expect(ann.call("Lease/LeaseKeepAlive", {1: OWN_LEASE}, stream=True).status == OK, "an own lease cannot be kept")
        expect(ann.call("Lease/LeaseRevoke", {1: OWN_LEASE}).status == OK, "an own lease cannot be ended")


def watch_answer(user, key, end=b""):
    answer = user.call("Watch/Watch", {1: {1: key, 2: end}}, stream=True)
    expect(answer.status == OK and answer.fields.get(3) == [1], f"watch of {key}..{end}: {answer}")
    return answer.fields.get(6, [b""])[0].decode()


def watches_end_where_permissions_do(server, root):
    denied = "rpc error: code = PermissionDenied desc = etcdserver: permission denied"
    root.add_role("foo-only", (READ, b"foo", b""))
    root.add_user("fred", "fredpw", "foo-only")
    with as_user(server, "fred", "fredpw") as fred, as_user(server, "ann", "annpw") as ann, User(server) as nobody, \
            User(server, [("token", "nonsense")]) as wrong:
        expect(watch_answer(fred, b"foo") == "", "who may read may not watch")
        expect(watch_answer(fred, b"foo", b"\0") == denied, "an open end went through")
        expect(watch_answer(fred, b"foo", b"fop") == denied, "a longer range went through")
        expect(watch_answer(fred, b"") == denied, "the smallest key went through")
        expect(watch_answer(fred, b"", b"\0") == denied, "everything went through")
        expect(watch_answer(ann, b"a", b"b") == "" and watch_answer(ann, b"a", b"b\0") == denied, "the end is off by one")
        expect(watch_answer(root, b"\0", b"\0") == "", "root may not watch")
        expect(watch_answer(nobody, b"a") == "rpc error: code = InvalidArgument desc = etcdserver: user name is empty",
               "nobody watches")
        expect(watch_answer(wrong, b"a") == "rpc error: code = Unauthenticated desc = etcdserver: invalid auth token",
               "a wrong token watches")


class Stream:
    """Requests one by one, answers one by one."""

    def __init__(self, user, path, request, response):
        import queue
        self.requests = queue.Queue()
        method = user.channel.stream_stream(path, request.SerializeToString, response.FromString)
        self.answers = method(iter(self.requests.get, None), metadata=user.metadata, timeout=30)

    def ask(self, request):
        self.requests.put(request)
        return next(self.answers)

    def close(self):
        self.requests.put(None)
        self.answers.cancel()


def rights_end_while_streams_go_on(server, root):
    """As in etcd: a watch goes on, what is asked for anew is judged anew."""
    root.add_role("stream", (READWRITE, b"s", b"t"))
    root.add_user("sue", "suepw", "stream")
    with as_user(server, "sue", "suepw") as sue:
        lease = fields_of(sue.must("Lease/LeaseGrant", {1: 600}).data)[2][0]
        sue.put(b"s/leased", b"x", fields={3: lease})
        watch = Stream(sue, "/etcdserverpb.Watch/Watch", rpc.WatchRequest, rpc.WatchResponse)
        keep = Stream(sue, "/etcdserverpb.Lease/LeaseKeepAlive", rpc.LeaseKeepAliveRequest, rpc.LeaseKeepAliveResponse)
        create = rpc.WatchRequest(create_request=rpc.WatchCreateRequest(key=b"s", range_end=b"t"))
        expect(watch.ask(create).created and keep.ask(rpc.LeaseKeepAliveRequest(ID=lease)).TTL == 600, "streams do not start")
        root.must("Auth/RoleRevokePermission", {1: "stream", 2: b"s", 3: b"t"})
        root.must("KV/Put", {1: b"s/1", 2: b"after"})
        expect(next(watch.answers).events[0].kv.key == b"s/1", "a watch that was allowed ended")
        refused = watch.ask(create)
        expect(refused.canceled and "permission denied" in refused.cancel_reason, f"a second watch went through: {refused}")
        try:
            keep.ask(rpc.LeaseKeepAliveRequest(ID=lease))
            raise etcd.Failure("a lease is kept alive by somebody who may not any more")
        except etcd.grpc.RpcError as error:
            expect((error.code().value[0], error.details()) == DENIED, f"{error}")
        watch.close()
        keep.close()
        expect(sue.call("KV/Range", {1: b"s"}).status == DENIED, "a revoked permission still counts")
        root.must("Auth/UserChangePassword", {1: "sue", 2: "other"})
        expect(sue.call("KV/Range", {1: b"s"}).status == BAD_TOKEN, "a token outlives the password it was given for")
        with User(server) as nobody:
            expect(nobody.login("sue", "suepw").status == AUTH_FAILED, "the old password still opens")
            expect(isinstance(nobody.login("sue", "other"), str), "the new password does not open")


# ---- the JSON gateway ----

def post(server, path, body, headers=()):
    request = urllib.request.Request(server.endpoint + path, json.dumps(body).encode(), dict(headers), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def the_gateway_passes_tokens_on(server):
    code, answer = post(server, "/v3/auth/authenticate", {"name": "ann", "password": "annpw"})
    expect(code == 200 and answer["token"], f"a login through the gateway: {code} {answer}")
    token = answer["token"]
    own, foreign = ({"key": base64.b64encode(key).decode()} for key in (b"a", b"b"))
    refusal = {name: {"code": code, "message": text} for name, (code, text) in
               {"empty": USER_EMPTY, "denied": DENIED, "token": BAD_TOKEN}.items()}
    for headers, ours, theirs in (
            ({}, (400, refusal["empty"]), (400, refusal["empty"])),
            ({"Authorization": token}, None, (403, refusal["denied"])),
            ({"Authorization": "Bearer " + token}, None, (403, refusal["denied"])),
            ({"Grpc-Metadata-Token": token}, None, (403, refusal["denied"])),
            ({"Authorization": "nonsense"}, (401, refusal["token"]), (401, refusal["token"])),
            ({"Authorization": ""}, (401, refusal["token"]), (401, refusal["token"]))):
        found = post(server, "/v3/kv/range", own, headers)
        expect(found == ours if ours else found[0] == 200 and "kvs" in found[1], f"{headers}: {found}")
        found = post(server, "/v3/kv/range", foreign, headers)
        expect(found == theirs and SECRET not in str(found).encode(), f"{headers}: {found}")
        found = post(server, "/v3/kv/put", {**foreign, "value": "eA=="}, headers)
        expect(found == theirs, f"{headers}: {found}")


# ---- passwords ----

def passwords_have_etcds_limits(server, root):
    no_password = (2, "auth: authentication failed, password was given for no password user")
    too_long = (2, "bcrypt: password length exceeds 72 bytes")
    with User(server) as nobody:
        root.must("Auth/UserAdd", {1: "certified", 3: {1: 1}})
        expect(nobody.login("certified", "").status == no_password and nobody.login("certified", "x").status == no_password,
               "a user without password logs in by one")
        root.must("Auth/UserChangePassword", {1: "certified", 2: "x"})
        expect(nobody.login("certified", "x").status == no_password, "a user without password got one")
        expect(root.call("Auth/UserAdd", {1: "long", 2: "x" * 73, 3: {}}).status == too_long, "73 bytes are a password")
        root.must("Auth/UserAdd", {1: "long", 2: "x" * 72, 3: {}})
        expect(isinstance(nobody.login("long", "x" * 72), str), "72 bytes are no password")
        expect(nobody.login("long", "x" * 71).status == AUTH_FAILED, "71 of 72 bytes open")
        root.must("Auth/UserAdd", {1: "void", 3: {}})  # an empty password is one, as in etcd
        expect(isinstance(nobody.login("void", ""), str), "an empty password does not open")
        root.must("Auth/UserChangePassword", {1: "void"})  # and this leaves none
        expect(nobody.login("void", "").status == AUTH_FAILED, "no password opens")
        expect(root.call("Auth/UserAdd", {1: b"a\0b", 2: "x"}).status[0] == 13, "a name with a zero byte was taken")


def timing_tells_no_names(server):
    """A name that is not there takes as long as a wrong password."""
    def seconds(name):
        with User(server) as nobody:
            nobody.call("Maintenance/Status")
            taken = []
            for _ in range(5):
                begun = time.monotonic()
                expect(nobody.login(name, "wrong").status == AUTH_FAILED, "a wrong password opens")
                taken.append(time.monotonic() - begun)
            return min(taken)
    there, absent = seconds("ann"), seconds("ghost")
    expect(absent > there / 3, f"a wrong password takes {there * 1000:.1f} ms, a wrong name {absent * 1000:.1f} ms")


def secrets_are_not_logged(server):
    with open(server.log_path, "rb") as log:
        text = log.read()
    for secret in (b"annpw", b"rootpw", b"wandapw", b"suepw", SECRET, b"$2a$"):
        expect(secret not in text, f"{secret} is in the log")
    for log in ("snap/db", "wal"):
        found = subprocess.run(["grep", "-rlaF", "-e", "annpw", "-e", "suepw", f"{server.data}/member/{log}"],
                               capture_output=True, text=True, check=False).stdout
        expect(not found, f"a password is in {found}")


# ---- tokens ----

def tokens_end(scratch):
    """With a TTL of three seconds: used it lasts, unused it is over, and no call takes it any more."""
    server = scratch.server("short", flags=["--auth-token-ttl=3", "--bcrypt-cost=4"]).start()
    root = populate(server)
    for _ in range(18):
        time.sleep(0.25)
        expect(root.call("Maintenance/Status").status == OK, "a token that is used ends")
    with as_user(server, "ann", "annpw") as ann, as_user(server, "root", "rootpw") as old_root:
        expect(ann.call("Maintenance/Status").status == OK, "a fresh token is refused")
        begun = time.monotonic()
        while time.monotonic() < begun + 4:
            root.must("Maintenance/Status")
            time.sleep(0.2)
        for call in CALLS:
            if not needs_token(call):
                continue
            for who, user in (("ann", ann), ("root", old_root)):
                answer = ask(user, call)
                expect(answer.status == bad_token(call), f"{call[0]} by {who} with a token whose time is over: {answer}")
        root.call("Maintenance/Status")
    with as_user(server, "ann", "annpw", header="authorization") as plain:
        expect(plain.get(b"a").status == OK, "the header 'authorization' is not looked at")
        with User(server, [("authorization", "Bearer " + plain.metadata[0][1])]) as bearer:
            expect(bearer.get(b"a").status == OK, "a bearer token is refused")
        with User(server, [("token", "nonsense"), plain.metadata[0]]) as both:
            expect(both.get(b"a").status == BAD_TOKEN, "the header 'token' does not come first")
    forgotten = as_user(server, "root", "rootpw")
    server.stop()
    server.start()
    expect(forgotten.call("Maintenance/Status").status == BAD_TOKEN, "a token outlives its server")
    with as_user(server, "root", "rootpw") as again:
        expect(again.auth_status()[0], "authentication is off after a restart")
        again.must("Auth/AuthDisable")
        expect(again.call("Auth/AuthStatus").status == OK, "a token matters although authentication is off")
        with User(server) as nobody:
            expect(nobody.get(b"b").fields.get(2), "authentication is off, and a key cannot be read")
            nobody.must("Auth/AuthEnable")
        expect(again.call("Maintenance/Status").status == BAD_TOKEN, "a token outlives authentication")
    for user in (root, forgotten):
        user.close()
    server.stop()


def tokens_from_the_future_are_refused_soon(server):
    for token in ("abcdefghijklmnop.18446744073709551615", "abcdefghijklmnop.999999"):
        with User(server, [("token", token)]) as user:
            begun = time.monotonic()
            expect(user.get(b"a").status == BAD_TOKEN, f"{token} was taken")
            expect(watch_answer(user, b"a").endswith("invalid auth token"), f"{token} watches")
            expect(time.monotonic() - begun < 6, f"{token} kept the caller waiting for {time.monotonic() - begun:.1f} s")


def strangers_take_no_places(server, root):
    """Of the few that there are for snapshots and defragmentation, although their tokens are waited for."""
    import threading
    answers = []

    def ask_for(path, stream):
        with User(server, [("token", "abcdefghijklmnop.999999")]) as stranger:
            answers.append(stranger.call(path, stream=stream).status)
    threads = [threading.Thread(target=ask_for, args=call)
               for call in [("Maintenance/Snapshot", True)] * 20 + [("Maintenance/Defragment", False)] * 4]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for path, stream in (("Maintenance/Snapshot", True), ("Maintenance/Defragment", False)):
            answer = root.call(path, stream=stream)
            expect(answer.status == OK, f"{path} by root while strangers ask for it: {answer.status}")
    expect(set(answers) == {BAD_TOKEN}, f"{answers}")


def run(scratch):
    server = scratch.server("ours", flags=["--bcrypt-cost=8", "--log-level=debug"]).start()
    root = populate(server)
    found = every_call_by_everybody(server, root)
    a_real_etcd_answers_the_same(scratch, found)
    prev_kv_does_not_read(server, root)
    a_lease_with_foreign_keys_takes_no_more(server, root)
    watches_end_where_permissions_do(server, root)
    rights_end_while_streams_go_on(server, root)
    the_gateway_passes_tokens_on(server)
    passwords_have_etcds_limits(server, root)
    timing_tells_no_names(server)
    tokens_from_the_future_are_refused_soon(server)
    strangers_take_no_places(server, root)
    root.close()
    server.stop()
    secrets_are_not_logged(server)
    tokens_end(scratch)


etcd.main(run)
