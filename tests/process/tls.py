#!/usr/bin/python3
"""TLS as an attacker and an administrator would try it: openssl s_client, curl, etcdctl and python3-etcd3's gRPC against
listeners for clients, metrics and members.

Every certificate is made here by the openssl command. What is refused leaves a line in the log that says why, in etcd's
words; when ETCD35_BIN is set, real etcd answers the same questions first, so that the table cannot be wrong, and a cluster
of real and our members talks over TLS.

TLS_RENEWALS: how often certificates are renewed under load.
"""
import sys

sys.dont_write_bytecode = True

import concurrent.futures
import json
import os
import shutil
import socket
import ssl
import subprocess
import threading
import time

import etcd3

import certificates
import etcd
from certificates import Authority, Security
from clusters import Cluster, wait_for
from etcd import expect, grpc
from ports import free_port

CURL = shutil.which("curl")
REAL = os.path.join(etcd.ETCD35, "etcd") if etcd.ETCD35 else ""
REAL_CTL = os.path.join(etcd.ETCD35, "etcdctl") if etcd.ETCD35 else ""
OLD_CTL = os.path.join(etcd.ETCD34, "etcdctl")
OUR_TOP = os.path.join(os.path.dirname(etcd.OURS), "etcdtop")
OUR_CTL = os.path.join(os.path.dirname(etcd.OURS), "etcdctl")
REJECTED = "rejected connection on client endpoint"


class World:
    """The certificates of this test."""

    def __init__(self, directory):
        self.authority = Authority(directory, "good")
        self.other = Authority(directory, "bad")
        issue = self.authority.issue
        self.server = issue("server", names="IP:127.0.0.1,DNS:localhost")
        self.alice = issue("alice")
        self.bob = issue("bob", names="DNS:bob.example.com")
        self.old = issue("old", start="200101000000Z", end="200201000000Z")
        self.young = issue("young", start="400101000000Z", end="410101000000Z")
        self.mallory = self.other.issue("mallory", common="alice")
        self.elsewhere = issue("elsewhere", names="IP:10.9.8.7")
        self.stranger = issue("stranger", names="DNS:nowhere.invalid")
        self.local = issue("local", names="DNS:localhost")
        self.carol = issue("carol")
        self.lists = [self.authority.revoke(self.bob, self.carol), self.authority.revoke(form="DER")]


class Log:
    """What a server has logged since, or from its start on."""

    def __init__(self, server, whole=False):
        self.server = server
        self.at = 0 if whole else os.path.getsize(server.log_path)

    def lines(self):
        with open(self.server.log_path, "rb") as log:
            log.seek(self.at)
            for line in log.read().decode(errors="replace").splitlines():
                try:
                    yield json.loads(line)
                except ValueError:
                    pass

    def wait(self, message, error):
        """The line with that message whose error contains the text."""
        def look():
            return next((line for line in self.lines()
                         if line.get("msg") == message and error in line.get("error", "")), None)
        try:
            return wait_for(f"'{message}' with '{error}'", look, 10)[0]
        except etcd.Failure:
            raise etcd.Failure(f"no '{message}' with '{error}' in the log, but {list(self.lines())}") from None


def s_client(server, *flags, pair=None, seconds=10):
    """openssl s_client until the handshake is over, and a little longer for TLS 1.3's late answers."""
    command = [certificates.OPENSSL, "s_client", "-connect", f"127.0.0.1:{server.port}", "-CAfile",
               server.security.authority.certificate, "-verify_return_error", "-ign_eof", *flags]
    if pair:
        command += ["-cert", pair.certificate, "-key", pair.key]
    done = subprocess.run(command, input="GET /health HTTP/1.0\r\n\r\n", capture_output=True, text=True, errors="replace",
                          timeout=seconds)
    return done.stdout + done.stderr


def curl(url, security=None, pair=None, *flags):
    command = [CURL, "-sS", "-m", "10", "--noproxy", "*", *flags, url]
    if security:
        command += ["--cacert", security.authority.certificate]
        pair = pair or security.client
    if pair:
        command += ["--cert", pair.certificate, "--key", pair.key]
    return subprocess.run(command, capture_output=True, text=True, timeout=30)


def tool(program, server, *arguments, pair=None, flags=None, endpoint=None):
    """An etcdctl that succeeds at once or fails after a second."""
    environment = dict(os.environ, ETCDCTL_API="3")
    done = subprocess.run([program, f"--endpoints={endpoint or server.endpoint}", "--dial-timeout=5s",
                           *(server.security.tool_flags(pair) if flags is None else flags), *arguments],
                          capture_output=True, text=True, timeout=60, env=environment)
    return done


# ---- the matrix ----

def refusals(world):
    """(what, flags for s_client, certificate, what the log says, what the client sees)"""
    alice = world.alice
    verify = "tls: failed to verify certificate: x509: "
    return [
        ("no certificate", ["-tls1_3"], None, "tls: client didn't provide a certificate", "certificate required"),
        ("no certificate, TLS 1.2", ["-tls1_2"], None, "tls: client didn't provide a certificate", "alert"),
        ("wrong authority", [], world.mallory, verify + "certificate signed by unknown authority", "unknown ca"),
        ("expired", [], world.old, verify + "certificate has expired or is not yet valid: current time", "expired"),
        ("not yet valid", [], world.young, verify + "certificate has expired or is not yet valid", "alert"),
        ("old protocol", ["-tls1_1", "-cipher", "ALL:@SECLEVEL=0"], alice,
         "tls: client offered only unsupported versions: [302 301]", "protocol version"),
        ("oldest protocol", ["-tls1", "-cipher", "ALL:@SECLEVEL=0"], alice,
         "tls: client offered only unsupported versions: [301]", "protocol version"),
        ("weak cipher", ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA256"], alice,
         "tls: no cipher suite supported by both client and server", "handshake failure"),
        ("RSA key exchange", ["-tls1_2", "-cipher", "AES128-SHA"], alice,
         "tls: no cipher suite supported by both client and server", "handshake failure"),
        ("unknown protocol", ["-alpn", "foo"], alice,
         "tls: client requested unsupported application protocols ([foo])", "no application protocol"),
    ]


def the_matrix(world, server):
    for what, flags, pair, reason, seen in refusals(world):
        log = Log(server)
        output = s_client(server, *flags, pair=pair)
        line = log.wait(REJECTED, reason)
        expect(line["remote-addr"].startswith("127.0.0.1:") and line["level"] == "warn" and line["server-name"] == "",
               f"{what}: {line}")
        expect(server.program != etcd.OURS or seen in output, f"{what}: s_client says {output}")
        expect('"health":"true"' not in output, f"{what}: was served")
    log = Log(server)
    s_client(server, "-servername", "name.example", pair=world.mallory)
    expect(log.wait(REJECTED, "unknown authority")["server-name"] == "name.example", "no server-name")
    log = Log(server)  # a client that does not trust the server
    done = curl(f"{server.endpoint}/health", None, world.alice, "--cacert", world.other.certificate)
    expect(done.returncode == 60, f"curl took a server that it must not trust: {done}")
    log.wait(REJECTED, "")


def plain_text_is_refused(server):
    log = Log(server)
    done = curl(f"http://127.0.0.1:{server.port}/health")
    expect(done.returncode in (52, 56) and not done.stdout, f"plain text to a TLS port: {done}")
    log.wait(REJECTED, "tls: first record does not look like a TLS handshake")
    log = Log(server)
    done = tool(OUR_CTL, server, "--command-timeout=1s", "get", "x", flags=[], endpoint=f"http://127.0.0.1:{server.port}")
    expect(done.returncode != 0, f"etcdctl without TLS on a TLS port: {done}")
    log.wait(REJECTED, "tls: first record does not look like a TLS handshake")


def tls_to_plain_text_is_refused(server):
    done = curl(f"https://127.0.0.1:{server.port}/health", None, None, "-k")
    expect(done.returncode == 35, f"TLS to a plain port: {done}")
    with etcd.Client(server) as client:
        client.put(b"after", b"TLS")
    done = subprocess.run([OUR_CTL, f"--endpoints=https://127.0.0.1:{server.port}", "--command-timeout=1s",
                           "--insecure-skip-tls-verify", "get", "x"], capture_output=True, text=True, timeout=30)
    expect(done.returncode == 1 and "context deadline exceeded" in done.stderr, f"etcdctl with TLS on a plain port: {done}")


def half_a_handshake_is_told(server):
    log = Log(server)
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(b"\x16\x03\x01\x00\x05")
    log.wait(REJECTED, "unexpected EOF")


def who_may_come_in(world, server):
    for protocol in ("-tls1_2", "-tls1_3"):
        output = s_client(server, protocol, pair=world.alice)
        expect('"health":"true"' in output, f"{protocol}: {output}")
    expect("ALPN protocol: h2" in s_client(server, "-alpn", "h2,http/1.1", pair=world.alice), "h2 was not chosen")
    expect("No ALPN negotiated" in s_client(server, "-alpn", "http/1.1", pair=world.alice), "http/1.1 was chosen")
    for version in ("--http1.1", "--http2"):
        done = curl(f"{server.endpoint}/health", server.security, None, version)
        expect('"health":"true"' in done.stdout, f"curl {version}: {done}")
    for program in (OUR_CTL, OLD_CTL, REAL_CTL):
        if not program or not os.access(program, os.X_OK):
            continue
        done = tool(program, server, "put", "from", program)
        expect(done.stdout == "OK\n", f"{program}: {done}")
        done = tool(program, server, "get", "from", "--print-value-only")
        expect(done.stdout == program + "\n", f"{program}: {done}")
        done = tool(program, server, "endpoint", "health")
        expect(done.returncode == 0, f"{program}: {done}")


def others_may_come_in(world, server):
    """python3-etcd3's own client, and etcdtop, which also reads the metrics."""
    client = etcd3.client(host="127.0.0.1", port=server.port, ca_cert=world.authority.certificate,
                          cert_cert=world.alice.certificate, cert_key=world.alice.key, timeout=20)
    client.put("from", "python3-etcd3")
    expect(client.get("from")[0] == b"python3-etcd3", "python3-etcd3 does not read what it wrote")
    client.close()
    if server.program != etcd.OURS or not os.access(OUR_TOP, os.X_OK):
        return
    done = subprocess.run([OUR_TOP, f"--endpoints={server.endpoint}", *server.security.tool_flags(), "--once", "-o", "json"],
                          capture_output=True, text=True, timeout=60)
    expect(done.returncode == 0, f"etcdtop: {done}")
    shown = json.loads(done.stdout)
    expect(shown["watchers"] is not None, f"etcdtop did not read the metrics: {done.stdout}")


def tools_are_refused(world, server):
    log = Log(server)
    done = tool(OUR_CTL, server, "--command-timeout=1s", "get", "x", pair=world.mallory)
    expect(done.returncode == 1 and done.stderr.endswith("Error: context deadline exceeded\n"), f"{done}")
    log.wait(REJECTED, "unknown authority")
    log = Log(server)
    done = tool(OUR_CTL, server, "--command-timeout=1s", "get", "x", flags=[f"--cacert={world.other.certificate}"])
    expect(done.returncode == 1, f"{done}")
    # OpenSSL's clients send this alert of TLS 1.3 before they encrypt, which Go does not understand.
    log.wait(REJECTED, "remote error: tls: bad certificate" if server.program == etcd.OURS else "bad record MAC")
    for flags, says in ((["--cacert=/no/such"], "open /no/such: no such file or directory"),
                        ([f"--cert={world.alice.certificate}"], "KeyFile and CertFile must both be present[key: , cert: "),
                        ([f"--cert={world.alice.certificate}", f"--key={world.bob.key}"],
                         "tls: private key does not match public key")):
        done = tool(OUR_CTL, server, "get", "x", flags=flags)
        expect(done.returncode == 128 and says in done.stderr, f"{flags}: {done}")
    done = tool(OUR_CTL, server, "get", "from", flags=[
        "--insecure-skip-tls-verify", f"--cert={world.alice.certificate}", f"--key={world.alice.key}"])
    expect(done.returncode == 0 and done.stdout, f"--insecure-skip-tls-verify: {done}")


# ---- users ----

def the_name_is_the_user(scratch, world, program):
    """With --client-cert-auth the common name is the user of gRPC calls without a token; never of the gateway's."""
    server = one_server(scratch, world, f"user-{os.path.basename(os.path.dirname(program))}", program).start()
    for arguments in (["role", "add", "reader"], ["role", "grant-permission", "reader", "read", "mine"],
                      ["user", "add", "alice", "--no-password"], ["user", "grant-role", "alice", "reader"],
                      ["user", "add", "root:secret"], ["role", "add", "root"], ["user", "grant-role", "root", "root"],
                      ["put", "mine", "1"], ["auth", "enable"]):
        done = tool(OUR_CTL, server, *arguments)
        expect(done.returncode == 0, f"{arguments}: {done}")
    for pair, arguments, says in ((world.alice, ["get", "mine"], None),
                                  (world.alice, ["get", "other"], "permission denied"),
                                  (world.alice, ["put", "mine", "2"], "permission denied"),
                                  (world.server, ["get", "mine"], "permission denied")):
        done = tool(OUR_CTL, server, *arguments, pair=pair)
        expect((done.returncode == 0) == (says is None) and (says or "") in done.stderr,
               f"{pair.certificate} {arguments}: {done}")
    done = curl(f"{server.endpoint}/v3/kv/range", server.security, None, "-d", '{"key":"bWluZQ=="}', "-w", "%{http_code}")
    expect(done.stdout.endswith("400") and "CommonName of client sending a request against gateway will be ignored" in
           done.stdout, f"the gateway looks at the certificate: {done}")
    done = tool(OUR_CTL, server, "--user=root:secret", "get", "mine")
    expect(done.returncode == 0 and done.stdout == "mine\n1\n", f"a login over TLS: {done}")
    server.stop()


# ---- names, lists ----

def one_server(scratch, world, name, program=etcd.OURS, **options):
    security = Security(world.authority, world.server, world.alice, **options)
    return scratch.server(name, program=program, security=security)


def expect_rejected(world, server, pair, reason, message=REJECTED):
    log = Log(server)
    s_client(server, pair=pair)
    return log.wait(message, reason)


def revoked_and_wrong_names(scratch, world, program):
    carol = world.carol
    for number, path in enumerate(world.lists):
        metrics = free_port()
        server = one_server(scratch, world, f"crl{number}-{os.path.basename(os.path.dirname(program))}", program, flags=[
            f"--client-crl-file={path}", f"--listen-metrics-urls=https://127.0.0.1:{metrics}"]).start()
        line = expect_rejected(world, server, world.bob, f"transport: certificate serial {world.bob.serial()} revoked")
        expect(line["dns-names"] == ["bob.example.com"] and line["ip-addresses"] == [], f"{line}")
        expect('"health":"true"' in s_client(server, pair=world.alice), "a certificate that is not revoked was refused")
        # The second listener asks the same list.
        log = Log(server)
        done = curl(f"https://127.0.0.1:{metrics}/metrics", server.security, carol)
        expect(done.returncode != 0 and not done.stdout, f"the list is not asked on the metrics address: {done}")
        log.wait(REJECTED, f"transport: certificate serial {carol.serial()} revoked")
        done = curl(f"https://127.0.0.1:{metrics}/health", server.security)
        expect('"health":"true"' in done.stdout, f"{done}")
        server.stop()
    server = one_server(scratch, world, f"name-{os.path.basename(os.path.dirname(program))}", program,
                        flags=["--client-cert-allowed-hostname=bob.example.com"])
    server.security.client = world.bob
    server.start()
    expect_rejected(world, server, world.alice, "client certificate authentication failed")
    expect('"health":"true"' in s_client(server, pair=world.bob), "the allowed host was refused")
    server.stop()


def an_unreadable_list_lets_nobody_in(scratch, world):
    path = scratch.path("later.crl")
    shutil.copy(world.lists[0], path)
    server = one_server(scratch, world, "nocrl", flags=[f"--client-crl-file={path}"]).start()
    os.unlink(path)
    expect_rejected(world, server, world.alice, f"open {path}: no such file or directory")
    with open(path, "w") as file:
        file.write("nonsense")
    expect_rejected(world, server, world.alice, "x509: malformed crl")
    shutil.copy(world.lists[1], path)
    expect('"health":"true"' in s_client(server, pair=world.alice), "the list is back, and nobody is let in")
    dave = world.authority.issue("dave")
    expect('"health":"true"' in s_client(server, pair=dave), "a certificate that is not revoked was refused")
    shutil.copy(world.authority.revoke(dave), path)  # without a restart
    expect_rejected(world, server, dave, "revoked")
    server.kill()


def metrics_check_the_address(scratch, world, program):
    """A client whose certificate names another address: served on the client address, refused on that of metrics."""
    metrics = free_port()
    server = one_server(scratch, world, f"san-{os.path.basename(os.path.dirname(program))}", program,
                        flags=[f"--listen-metrics-urls=https://127.0.0.1:{metrics}"]).start()
    for pair, reason in ((world.elsewhere, "x509: certificate is valid for 10.9.8.7, not 127.0.0.1"),
                         (world.stranger, 'tls: "127.0.0.1" does not match any of DNSNames ["nowhere.invalid"]')):
        expect('"health":"true"' in s_client(server, pair=pair), "the address was compared on the client address")
        log = Log(server)
        done = curl(f"https://127.0.0.1:{metrics}/health", server.security, pair)
        expect(done.returncode != 0 and not done.stdout, f"{reason}: {done}")
        log.wait(REJECTED, reason)
    done = curl(f"https://127.0.0.1:{metrics}/health", server.security, world.local)
    expect('"health":"true"' in done.stdout, f"a name that leads to the address: {done}")
    server.stop()


def old_protocols_by_flag(scratch, world):
    server = one_server(scratch, world, "min13", flags=["--tls-min-version=TLS1.3"]).start()
    log = Log(server)
    s_client(server, "-tls1_2", pair=world.alice)
    log.wait(REJECTED, "tls: client offered only unsupported versions: [303 302 301]")
    server.stop()
    server = one_server(scratch, world, "suites", flags=[
        "--tls-max-version=TLS1.2", "--cipher-suites=TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"]).start()
    expect("Cipher is ECDHE-ECDSA-AES256-GCM-SHA384" in s_client(server, pair=world.alice), "another suite")
    log = Log(server)
    s_client(server, "-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-GCM-SHA256", pair=world.alice)
    log.wait(REJECTED, "tls: no cipher suite supported by both client and server")
    server.stop()


def authorities_of_the_system(scratch, world, program):
    """--client-cert-auth alone trusts whom the system trusts."""
    flags = [f"--cert-file={world.server.certificate}", f"--key-file={world.server.key}", "--client-cert-auth"]
    security = Security(world.authority, world.server, world.alice, flags=flags)
    security.flags = flags
    server = scratch.server(f"system-{os.path.basename(os.path.dirname(program))}", program=program, security=security,
                            environment={"SSL_CERT_FILE": world.authority.certificate, "SSL_CERT_DIR": "/nowhere"}).start()
    expect('"health":"true"' in s_client(server, pair=world.alice), "the system's authority is not trusted")
    expect_rejected(world, server, world.mallory, "unknown authority")
    server.stop()


def authorities_in_between(scratch, world, program):
    """Certificates that an authority in between has signed: the server shows it, clients bring it."""
    between = Authority(scratch.path("certificates"), f"between-{os.path.basename(os.path.dirname(program))}",
                        signer=world.authority)
    security = Security(world.authority, between.issue("inner-server", names="IP:127.0.0.1"), between.issue("inner-client"))
    server = scratch.server(between.name, program=program, security=security).start()
    expect('"health":"true"' in s_client(server, "-cert_chain", security.client.certificate, pair=security.client),
           "a chain of certificates was refused")
    done = tool(OUR_CTL, server, "put", "chain", "1")
    expect(done.stdout == "OK\n", f"etcdctl with a chain: {done}")
    alone = certificates.Pair(security.client.key[:-4] + "-alone")
    certificates.openssl("x509", "-in", security.client.certificate, "-out", alone.certificate)
    shutil.copy(security.client.key, alone.key)
    expect_rejected(world, server, alone, "unknown authority")
    server.stop()


# ---- one port for both ----

def both_on_one_port(scratch, world):
    server = one_server(scratch, world, "both", flags=[])
    server.flags.append(f"--listen-client-urls=https://127.0.0.1:{server.port},http://127.0.0.1:{server.port}")
    server.start()
    done = curl(f"http://127.0.0.1:{server.port}/health")
    expect('"health":"true"' in done.stdout, f"{done}")
    done = curl(f"https://127.0.0.1:{server.port}/health", server.security)
    expect('"health":"true"' in done.stdout, f"{done}")
    expect_rejected(world, server, world.mallory, "unknown authority")
    messages = [line.get("msg") for line in Log(server, whole=True).lines()]
    expect("serving client traffic securely" in messages and
           "serving client traffic insecurely; this is strongly discouraged!" in messages, "the log does not tell both")
    server.stop()


def a_unix_socket(scratch, world):
    path = scratch.path("socket")
    server = one_server(scratch, world, "unix", flags=[])
    server.flags.append(f"--listen-client-urls={server.endpoint},unixs://{path}")
    server.start()
    done = curl("https://localhost/health", server.security, None, "--unix-socket", path)
    expect('"health":"true"' in done.stdout, f"{done}")
    done = curl("http://localhost/health", None, None, "--unix-socket", path)
    expect(not done.stdout, f"plain text on a unixs address: {done}")
    server.stop()


# ---- self-signed ----

def self_signed(scratch):
    security = Security.__new__(Security)
    security.clients, security.peers, security.client = True, True, None
    security.flags = ["--auto-tls", "--peer-auto-tls", "--self-signed-cert-validity=3"]
    server = scratch.server("auto", security=security)
    security.authority = certificates.Pair(os.path.join(server.data, "fixtures/client/cert"))
    server.spawn()
    wait_for("the certificate", lambda: os.path.exists(security.authority.certificate))
    server.wait_ready()
    for side in ("client", "peer"):
        directory = os.path.join(server.data, "fixtures", side)
        expect(os.stat(f"{directory}/key.pem").st_mode & 0o777 == 0o600, "others may read the key")
        text = certificates.openssl("x509", "-in", f"{directory}/cert.pem", "-noout", "-text")
        for part in ("ECDSA" if "ECDSA" in text else "ecdsa-with-SHA512", "O = etcd", "IP Address:127.0.0.1", "P-521",
                     "TLS Web Server Authentication"):
            expect(part in text, f"{part} is not in {text}")
        dates = certificates.openssl("x509", "-in", f"{directory}/cert.pem", "-noout", "-dates")
        begin, end = (ssl.cert_time_to_seconds(line.split("=")[1]) for line in dates.split("\n")[:2])
        expect(end - begin == 3 * 365 * 24 * 3600, f"another validity: {dates}")
    before = security.authority.serial()
    server.stop()
    server.start()
    expect(security.authority.serial() == before, "the certificate was made anew")
    server.stop()


# ---- renewal ----

def renewal_under_load(scratch, world):
    """Certificates are renewed again and again while connections are made without pause: none fails."""
    live = certificates.Pair(scratch.path("live"))
    for mine, theirs in ((live.certificate, world.server.certificate), (live.key, world.server.key)):
        shutil.copy(theirs, mine)
    others = [world.authority.issue("server", names="IP:127.0.0.1,DNS:localhost") for _ in range(2)]
    server = scratch.server("renewed", security=Security(world.authority, live, world.alice)).start()
    failures, counts, stop = [], [0] * 3, threading.Event()

    def connect(number):
        while not stop.is_set():
            try:
                with etcd.Client(server, timeout=20) as client:
                    client.put(b"renewal", b"%d" % counts[number])
                counts[number] += 1
            except grpc.RpcError as error:
                failures.append(error.details())

    threads = [threading.Thread(target=connect, args=(number,)) for number in range(len(counts))]
    for thread in threads:
        thread.start()
    serials = set()
    for round_ in range(etcd.setting("TLS_RENEWALS", 8)):
        pair = others[round_ % 2]
        live.replace(pair)
        wanted = pair.serial()
        output = s_client(server, pair=world.alice)
        with open(scratch.path("shown.pem"), "w") as file:
            file.write(output)
        shown = certificates.Pair(scratch.path("shown")).serial()
        expect(shown == wanted, f"{shown} was shown after a renewal to {wanted}")
        serials.add(shown)
        before = sum(counts)
        wait_for("connections after the renewal", lambda: sum(counts) >= before + 5 or failures)
    stop.set()
    for thread in threads:
        thread.join()
    expect(not failures, f"{len(failures)} of {sum(counts)} connections failed: {failures[:3]}")
    expect(len(serials) == 2, "the certificate did not change")
    print(f"  {sum(counts)} connections while certificates were renewed", flush=True)
    log = Log(server)
    os.rename(live.key, live.key + ".gone")
    s_client(server, pair=world.alice)
    line = log.wait(REJECTED, f"open {live.key}: no such file or directory")
    expect(line["level"] == "warn", f"{line}")
    os.rename(live.key + ".gone", live.key)
    expect('"health":"true"' in s_client(server, pair=world.alice), "the key is back, and nobody is served")
    server.stop()


# ---- members ----

def cluster_over_tls(scratch, world, programs, flags=()):
    security = Security(world.authority, world.server, world.alice, peers=True, flags=flags)
    cluster = Cluster(scratch, programs, security=security)
    cluster.start()
    for number, server in enumerate(cluster.servers):
        with etcd.Client(server) as client:
            client.put(b"from", server.name.encode())
        for other in cluster.servers:
            with etcd.Client(other) as client:
                expect(client.get(b"from").kvs[0].value == server.name.encode(), f"{other.name} does not follow")
    victim = cluster.leader()
    victim.kill()
    cluster.wait_for_leader()
    with etcd.Client(cluster.running()[0]) as client:
        client.put(b"without", b"one")
    victim.start()
    with etcd.Client(victim) as client:
        wait_for("the one that was away has caught up", lambda: client.get(b"without").kvs)
    return cluster


def members_over_tls(scratch, world):
    cluster = cluster_over_tls(scratch, world, {name: etcd.OURS for name in ("s1", "s2", "s3")},
                               [f"--peer-crl-file={world.lists[0]}"])
    server = cluster.servers[0]
    peer = f"https://127.0.0.1:{server.peer_port}/version"
    for pair, reason in ((None, "tls: client didn't provide a certificate"),
                         (world.mallory, "certificate signed by unknown authority"),
                         (world.carol, f"transport: certificate serial {world.carol.serial()} revoked"),
                         (world.elsewhere, "x509: certificate is valid for 10.9.8.7, not 127.0.0.1"),
                         (world.stranger, 'does not match any of DNSNames ["nowhere.invalid"]')):
        log = Log(server)
        command = ["--cert", pair.certificate, "--key", pair.key] if pair else []
        done = curl(peer, None, None, "--cacert", world.authority.certificate, *command)
        expect(done.returncode != 0 and not done.stdout, f"{reason}: {done}")
        log.wait("rejected connection on peer endpoint", reason)
    done = curl(peer, None, world.server, "--cacert", world.authority.certificate)
    expect("etcdserver" in done.stdout, f"a member's certificate was refused: {done}")
    # A new member joins over TLS, with a snapshot.
    cluster.join("s4")
    with etcd.Client(cluster.servers[-1]) as client:
        expect(client.get(b"from").kvs, "who joined has no data")
    for server in cluster.servers:
        server.stop()


def members_must_have_the_name(scratch, world):
    """--peer-cert-allowed-cn binds both sides: the dialer refuses a server with another name, too."""
    security = Security(world.authority, world.server, world.alice, peers=True, flags=["--peer-cert-allowed-cn=someone"])
    cluster = Cluster(scratch, {"n1": etcd.OURS, "n2": etcd.OURS}, security=security)
    for server in cluster.servers:
        server.spawn()
    log = Log(cluster.servers[0], whole=True)
    log.wait("rejected connection on peer endpoint", "remote error: tls: bad certificate")
    for server in cluster.servers:
        server.kill()


def served_from_elsewhere(world, server, metrics):
    """Without these options see metrics_check_the_address."""
    for port, path, word in ((metrics, "health", '"health":"true"'), (server.peer_port, "version", "etcdserver")):
        done = curl(f"https://127.0.0.1:{port}/{path}", server.security, world.elsewhere)
        expect(word in done.stdout, f"the address was compared: {done}")
    server.stop()


def the_address_need_not_fit(scratch, world):
    metrics = free_port()
    server = one_server(scratch, world, "skip", peers=True, flags=[
        f"--listen-metrics-urls=https://127.0.0.1:{metrics}", "--skip-client-san-verification",
        "--peer-skip-client-san-verification"]).start()
    served_from_elsewhere(world, server, metrics)


def the_address_need_not_fit_by_file(scratch, world):
    """Both blocks of a file have the key."""
    metrics = free_port()
    block = {"cert-file": world.server.certificate, "key-file": world.server.key, "client-cert-auth": True,
             "trusted-ca-file": world.authority.certificate, "skip-client-san-verification": True}
    server = one_server(scratch, world, "skip-file", peers=True)
    config = scratch.path("skip.yml")
    with open(config, "w", encoding="utf-8") as file:
        json.dump({"name": "m", "data-dir": server.data, "listen-client-urls": server.endpoint,
                   "advertise-client-urls": server.endpoint, "listen-peer-urls": server.peer_url,
                   "initial-advertise-peer-urls": server.peer_url, "initial-cluster": f"m={server.peer_url}",
                   "listen-metrics-urls": f"https://127.0.0.1:{metrics}", "client-transport-security": block,
                   "peer-transport-security": block}, file)
    served_from_elsewhere(world, server.start([f"--config-file={config}"]), metrics)


def members_with_real_ones(scratch, world):
    cluster = cluster_over_tls(scratch, world, {"t1": REAL, "t2": etcd.OURS, "t3": REAL})
    for server in cluster.servers:
        server.stop()


# ---- what cannot start ----

def bad_flags_refuse_the_start(scratch, world):
    pair, files = world.server, [f"--cert-file={world.server.certificate}", f"--key-file={world.server.key}"]
    https = "https://127.0.0.1:{port}"
    for number, (client, flags, says) in enumerate((
            (https, [], "TLS key/cert (--cert-file, --key-file) must be provided for client url " + https +
             " with HTTPS scheme"),
            (https, [f"--cert-file={pair.certificate}"], "KeyFile and CertFile must both be present[key: , cert: "),
            (https, [f"--cert-file={pair.certificate}", f"--key-file={world.bob.key}"],
             "tls: private key does not match public key"),
            (https, [*files, "--trusted-ca-file=/no/such"], "open /no/such: no such file or directory"),
            (https, [*files, "--client-cert-file=/x"], "ClientKeyFile and ClientCertFile must both be present or both absent"),
            (https, ["--auto-tls", "--self-signed-cert-validity=0"],
             "selfSignedCertValidity is invalid,it should be greater than 0"),
            ("http://127.0.0.1:{port}", ["--listen-metrics-urls=https://127.0.0.1:1"],
             "client TLS key/cert (--cert-file, --key-file) must be provided for metrics secure url"),
            ("http://127.0.0.1:{port}", ["--listen-peer-urls=https://127.0.0.1:{peer}"],
             "cannot listen on TLS for 127.0.0.1:{peer}: KeyFile and CertFile are not presented"),
            ("http://127.0.0.1:{port}",
             ["--listen-peer-urls=https://127.0.0.1:{peer}", f"--peer-cert-file={pair.certificate}",
              f"--peer-key-file={pair.key}", "--peer-cert-allowed-cn=x", "--peer-cert-allowed-hostname=y"],
             'AllowedCNs and AllowedHostnames are mutually exclusive (cns=["x"], hostnames=["y"])'),
            (https, [*files, "--cipher-suites=NOPE"], 'unexpected TLS cipher suite "NOPE"'))):
        for program in (etcd.OURS, REAL):
            if not program:
                continue
            server = scratch.server(f"bad{number}-{'ours' if program == etcd.OURS else 'real'}", program=program)
            fill = {"port": server.port, "peer": server.peer_port}
            server.endpoint = client.format(**fill)
            server.flags = [flag.format(**fill) for flag in flags]
            server.spawn()
            try:
                code = server.process.wait(20)
            except subprocess.TimeoutExpired:
                raise etcd.Failure(f"{program} started with {flags}") from None
            expect(code == 1, f"{program} {flags} ended with {code}")
            expect(says.format(**fill) in server.log_tail(20000).replace('\\"', '"'),
                   f"{program} {flags} says {server.log_tail()}, not {says}")


def against(scratch, world, program):
    """What real etcd is asked as well."""
    server = one_server(scratch, world, f"m-{'ours' if program == etcd.OURS else 'real'}", program).start()
    the_matrix(world, server)
    plain_text_is_refused(server)
    half_a_handshake_is_told(server)
    who_may_come_in(world, server)
    others_may_come_in(world, server)
    tools_are_refused(world, server)
    server.stop()
    revoked_and_wrong_names(scratch, world, program)
    metrics_check_the_address(scratch, world, program)
    the_name_is_the_user(scratch, world, program)
    authorities_of_the_system(scratch, world, program)
    authorities_in_between(scratch, world, program)


def one_of_ours(scratch, world):
    plain = scratch.server("plain").start()
    tls_to_plain_text_is_refused(plain)
    plain.stop()
    an_unreadable_list_lets_nobody_in(scratch, world)
    old_protocols_by_flag(scratch, world)
    both_on_one_port(scratch, world)
    a_unix_socket(scratch, world)
    self_signed(scratch)
    the_address_need_not_fit(scratch, world)
    the_address_need_not_fit_by_file(scratch, world)
    bad_flags_refuse_the_start(scratch, world)


def clusters(scratch, world):
    members_over_tls(scratch, world)
    members_must_have_the_name(scratch, world)
    if REAL:
        members_with_real_ones(scratch, world)


def run(scratch):
    if not certificates.OPENSSL or not CURL:
        etcd.skip("no openssl or no curl command")
    world = World(scratch.path("certificates"))
    steps = [(renewal_under_load,), (clusters,), (one_of_ours,), (against, etcd.OURS)]
    if REAL:
        steps.insert(0, (against, REAL))

    def take(step, *arguments):
        begun = time.monotonic()
        step(scratch, world, *arguments)
        print(f"{' '.join([step.__name__, *arguments])}: {time.monotonic() - begun:.1f} s", flush=True)

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(take, *step) for step in steps]:
            done.result()


etcd.main(run)
