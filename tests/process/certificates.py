"""Authorities and certificates for tests, made by the openssl command, and what a server and its clients do with them."""
import os
import shutil
import ssl
import subprocess
import threading

import etcd
from etcd import grpc

OPENSSL = shutil.which("openssl")

_COUNTER = [0]
_BOOKS = threading.Lock()  # the books that `openssl ca` keeps are for one at a time


def openssl(*arguments, directory="."):
    done = subprocess.run([OPENSSL, *arguments], cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=60)
    etcd.expect(done.returncode == 0, f"openssl {' '.join(arguments)}: {done.stderr}")
    return done.stdout


class Pair:
    """A certificate and its key, in files."""

    def __init__(self, path):
        self.certificate, self.key = path + ".pem", path + ".key"

    def read(self):
        with open(self.certificate, "rb") as certificate, open(self.key, "rb") as key:
            return certificate.read(), key.read()

    def serial(self):
        """In lower-case hexadecimal."""
        return openssl("x509", "-in", self.certificate, "-noout", "-serial").split("=")[1].strip().lower()

    def replace(self, other):
        """Takes the other's place, one file after the other, as those who renew certificates do."""
        for mine, theirs in ((self.certificate, other.certificate), (self.key, other.key)):
            shutil.copy(theirs, mine + ".new")
            os.rename(mine + ".new", mine)


class Authority(Pair):
    """With a signer it stands between: its certificates come with its own behind them, and who trusts the signer trusts it."""

    def __init__(self, directory, name, kind=("ec", "-pkeyopt", "ec_paramgen_curve:P-256"), signer=None):
        super().__init__(os.path.join(directory, name))
        self.directory, self.name, self.kind = directory, name, kind
        self.signer = signer
        os.makedirs(directory, exist_ok=True)
        openssl("req", "-x509", "-newkey", *kind, "-nodes", "-keyout", self.key, "-out", self.certificate, "-days", "30",
                "-subj", f"/CN={name}", *(("-CA", signer.certificate, "-CAkey", signer.key) if signer else ()),
                directory=directory)
        with open(self.path("conf"), "w") as conf:
            conf.write(f"[ca]\ndefault_ca=c\n[c]\ndatabase={self.path('index')}\ncrlnumber={self.path('number')}\n"
                       f"serial={self.path('serial')}\nnew_certs_dir={directory}\ndefault_md=sha256\n"
                       "default_crl_days=30\npolicy=p\nunique_subject=no\ncopy_extensions=copy\n"
                       "[p]\ncommonName=optional\n")
        for file, text in (("index", ""), ("number", "01\n"), ("serial", "1000\n")):
            with open(self.path(file), "w") as out:
                out.write(text)

    def path(self, name):
        return os.path.join(self.directory, f"{self.name}.{name}")

    def issue(self, name, common=None, names="", start="", end=""):
        """names: "IP:127.0.0.1,DNS:a"; start and end: YYMMDDHHMMSSZ."""
        with _BOOKS:
            _COUNTER[0] += 1
            pair = Pair(os.path.join(self.directory, f"{name}-{_COUNTER[0]}"))
        request = pair.key[:-4] + ".csr"
        openssl("req", "-new", "-newkey", *self.kind, "-nodes", "-keyout", pair.key, "-out", request, "-subj",
                f"/CN={common or name}", "-addext", "extendedKeyUsage=serverAuth,clientAuth",
                *(("-addext", f"subjectAltName={names}") if names else ()))
        dates = ("-startdate", start, "-enddate", end) if end else ("-days", "20")
        with _BOOKS:
            openssl("ca", "-batch", "-notext", "-config", self.path("conf"), "-keyfile", self.key, "-cert", self.certificate,
                    "-in", request, "-out", pair.certificate, *dates)
        if self.signer:
            with open(self.certificate, encoding="ascii") as own, open(pair.certificate, "a", encoding="ascii") as out:
                out.write(own.read())
        return pair

    def revoke(self, *pairs, form="PEM"):
        """A new list of these and all that were revoked before."""
        books = ("-config", self.path("conf"), "-keyfile", self.key, "-cert", self.certificate)
        with _BOOKS:
            _COUNTER[0] += 1
            text = self.path(f"{_COUNTER[0]}.crl.pem")
            for pair in pairs:
                openssl("ca", *books, "-revoke", pair.certificate)
            openssl("ca", *books, "-gencrl", "-out", text)
        if form == "PEM":
            return text
        binary = text[:-4] + ".der"
        openssl("crl", "-in", text, "-outform", "DER", "-out", binary)
        return binary


class Security:
    """How a server is reached: the flags that say so, and what its clients show and trust."""

    def __init__(self, authority, server, client=None, clients=True, peers=False, flags=()):
        self.authority, self.server, self.client = authority, server, client
        self.clients, self.peers = clients, peers
        self.flags = [*flags]
        if clients:
            self.flags += [f"--cert-file={server.certificate}", f"--key-file={server.key}"]
        if clients and client:
            self.flags += [f"--trusted-ca-file={authority.certificate}", "--client-cert-auth"]
        if peers:
            self.flags += [f"--peer-cert-file={server.certificate}", f"--peer-key-file={server.key}",
                           f"--peer-trusted-ca-file={authority.certificate}", "--peer-client-cert-auth"]

    def credentials(self, client=None):
        with open(self.authority.certificate, "rb") as authority:
            roots = authority.read()
        pair = client or self.client
        certificate, key = pair.read() if pair else (None, None)
        return grpc.ssl_channel_credentials(roots, key, certificate)

    def context(self, client=None, protocols=("h2",)):
        """For sockets."""
        context = ssl.create_default_context(cafile=self.authority.certificate)
        pair = client or self.client
        if pair:
            context.load_cert_chain(pair.certificate, pair.key)
        if protocols:
            context.set_alpn_protocols(list(protocols))
        return context

    def tool_flags(self, client=None):
        """For etcdctl."""
        pair = client or self.client
        return [f"--cacert={self.authority.certificate}",
                *([f"--cert={pair.certificate}", f"--key={pair.key}"] if pair else [])]
