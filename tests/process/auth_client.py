"""Calls as some user: what the tests of authentication share.

Requests are put together field by field, because python3-etcd3 knows neither all RPCs nor all fields; an answer is the
gRPC code, the text, and the bytes.
"""
from etcd import expect, grpc
from wire import fields_of, message

OK, USER_EMPTY, DENIED, BAD_TOKEN = (
    (0, ""), (3, "etcdserver: user name is empty"), (7, "etcdserver: permission denied"),
    (16, "etcdserver: invalid auth token"))
OLD_REVISION = (3, "etcdserver: revision of auth store is old")
AUTH_FAILED = (3, "etcdserver: authentication failed, invalid user ID or password")
USER_NOT_FOUND = (9, "etcdserver: user name not found")
READ, WRITE, READWRITE = 0, 1, 2


class Answer:
    def __init__(self, code, text, data=b""):
        self.status = (code, text)
        self.data = data
        self.fields = fields_of(data) if data else {}

    def __repr__(self):
        return f"{self.status} {self.data!r}" if self.data else f"{self.status}"


class User:
    """A connection whose calls show this metadata."""

    def __init__(self, server, metadata=(), timeout=20):
        self.server = server
        self.metadata = tuple(metadata)
        self.timeout = timeout
        self.channel = grpc.insecure_channel(f"{server.host}:{server.port}", options=[
            ("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1),
            ("grpc.max_receive_message_length", -1), ("grpc.initial_reconnect_backoff_ms", 100)])

    def close(self):
        self.channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def call(self, path, fields=None, stream=False, timeout=None):
        """One request, one answer (of a stream: the first)."""
        data = message(fields or {})
        path = f"/{path}" if path.count(".") > 1 or path.startswith("v3") else f"/etcdserverpb.{path}"
        options = {"timeout": timeout or self.timeout, "metadata": self.metadata}
        try:
            if not stream:
                return Answer(0, "", self.channel.unary_unary(path)(data, **options))
            answers = self.channel.stream_stream(path)(iter([data]), **options)
            try:
                return Answer(0, "", next(answers))
            except StopIteration:
                return Answer(0, "")
            finally:
                answers.cancel()
        except grpc.RpcError as error:
            return Answer(error.code().value[0], error.details())

    def must(self, path, fields=None, **options):
        answer = self.call(path, fields, **options)
        expect(answer.status == OK, f"{path} {fields}: {answer}")
        return answer

    # -- what the tests ask for again and again --

    def put(self, key, value, **more):
        return self.call("KV/Put", {1: key, 2: value, **more.get("fields", {})})

    def get(self, key, end=b"", **more):
        return self.call("KV/Range", {1: key, 2: end, **more.get("fields", {})})

    def login(self, name, password):
        """A token, or the answer that is none."""
        answer = self.call("Auth/Authenticate", {1: name, 2: password})
        return answer.fields[2][0].decode() if answer.status == OK else answer

    def add_user(self, name, password, *roles):
        self.must("Auth/UserAdd", {1: name, 2: password, 3: {}})
        for role in roles:
            self.must("Auth/UserGrantRole", {1: name, 2: role})

    def add_role(self, name, *permissions):
        """Permissions are (type, key, end)."""
        self.must("Auth/RoleAdd", {1: name})
        for kind, key, end in permissions:
            self.must("Auth/RoleGrantPermission", {1: name, 2: {1: kind, 2: key, 3: end}})

    def auth_status(self):
        fields = self.must("Auth/AuthStatus").fields
        return bool(fields.get(2, [0])[0]), fields.get(3, [0])[0]


def as_user(server, name, password, header="token"):
    with User(server) as nobody:
        token = nobody.login(name, password)
    expect(isinstance(token, str), f"{name} cannot log in: {token}")
    return User(server, [(header, token)])


def enable(server, password="rootpw"):
    """With the users there are, and root: returns a connection of root's."""
    with User(server) as nobody:
        if nobody.call("Auth/UserAdd", {1: "root", 2: password, 3: {}}).status == OK:
            nobody.must("Auth/UserGrantRole", {1: "root", 2: "root"})
        nobody.must("Auth/AuthEnable")
    return as_user(server, "root", password)


def everything(root):
    """All state that a call could change, as root sees it."""
    def listed(path, fields=None, number=2):
        return root.must(path, fields).fields.get(number, [])
    header = {"keys": root.must("KV/Range", {1: b"\0", 2: b"\0"})}
    state = {"revision": fields_of(header["keys"].fields[1][0]).get(3), "keys": header["keys"].fields.get(2, [])}
    state["leases"] = [(lease, root.must("Lease/LeaseTimeToLive", {1: fields_of(lease)[1][0], 2: 1}).fields.get(5))
                       for lease in listed("Lease/LeaseLeases")]
    state["members"] = listed("Cluster/MemberList")
    state["alarms"] = listed("Maintenance/Alarm")
    state["users"] = [(user, listed("Auth/UserGet", {1: user})) for user in listed("Auth/UserList")]
    state["roles"] = [(role, listed("Auth/RoleGet", {1: role})) for role in listed("Auth/RoleList")]
    state["auth"] = root.auth_status()
    return state


