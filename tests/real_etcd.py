"""A real etcd of any release and its etcdctl, for scripts about its files. Nothing but Python is needed."""
import os
import signal
import subprocess
import time

from ports import free_ports


class RealEtcd:
    """The only member of its cluster, with the programs of a folder, on a data directory that may be there already; `with`
    starts and stops it, kill() does not ask."""

    FLAGS = ()

    def __init__(self, folder, data):
        self.folder = folder
        self.data = data
        self.env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        self.env["ETCDCTL_API"] = "3"

    def __enter__(self):
        client, peer = free_ports(2)
        self.endpoint = f"http://127.0.0.1:{client}"
        # A directory that is there keeps the peer URL of its first start; a single member does not need it.
        peer_url = f"http://127.0.0.1:{peer}"
        self.log = open(self.data + ".log", "ab")
        self.process = subprocess.Popen(
            [os.path.join(self.folder, "etcd"), "--name", "m", "--data-dir", self.data,
             "--listen-client-urls", self.endpoint, "--advertise-client-urls", self.endpoint,
             "--listen-peer-urls", peer_url, "--initial-advertise-peer-urls", peer_url,
             "--initial-cluster", f"m={peer_url}", *self.FLAGS], stdout=self.log, stderr=self.log, env=self.env)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                self.ctl("get", "ready")
                return self
            except subprocess.CalledProcessError:
                time.sleep(0.1)
        self.__exit__()
        with open(self.data + ".log", encoding="utf-8", errors="replace") as log:
            raise SystemExit(f"etcd did not start:\n{log.read()[-3000:]}")

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(30)
        self.log.close()

    def kill(self):
        self.process.kill()
        self.process.wait(30)

    def ctl(self, *arguments, stdin=None):
        return subprocess.run([os.path.join(self.folder, "etcdctl"), "--dial-timeout", "2s", "--endpoints", self.endpoint,
                               *arguments], check=True, capture_output=True, env=self.env, input=stdin).stdout
