"""A network of its own for the members of a cluster, so that it can be cut: each member in a network namespace, all on one
bridge, on which the test itself has the first address. Needs root and iproute2; available() says why it cannot be had.

Links are cut one way at a time: what a member sends to another goes to an Ethernet address that nobody has, so that it is
lost without a word, as when a switch fails. The test still reaches every member.

With slow=True the members have a second bridge, for their peers' traffic alone, and every member's link to it can take time
and lose frames, each way by itself: by netem, the kernel's own, or, where the kernel has none, by slow_link. So a slow link
slows the members and not the test's clients.
"""
import ctypes
import os
import random
import re
import socket
import subprocess
import threading

_random = random.SystemRandom()
_NOBODY = "02:00:00:00:00:ff"
_CLONE_NEWNET = 0x40000000
SLOW_LINK = os.path.abspath(os.environ.get("SLOW_LINK", "tests/process/slow_link"))
UNDER_WAY = 4096  # frames, each way of a slow link


def _ip(*words, check=True):
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=check)


def _has_netem(namespace):
    words = ["tc", "-n", namespace, "qdisc", "add", "dev", "lo", "root", "netem", "delay", "1ms"]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


def available(slow=False):
    """None, or why there can be no such network."""
    name = f"cetcd-try-{os.getpid()}"
    try:
        done = _ip("netns", "add", name, check=False)
        if done.returncode == 0:
            done = _ip("-n", name, "link", "add", "b0", "type", "bridge", check=False)
            netem = slow and _has_netem(name)
            _ip("netns", "del", name, check=False)
    except OSError as error:
        return f"{error} (Debian: iproute2)"
    if done.returncode != 0:
        return f"no network namespaces here: {done.stderr.strip()}"
    if slow and not netem and not (os.access("/dev/net/tun", os.R_OK | os.W_OK) and os.access(SLOW_LINK, os.X_OK)):
        return f"no slow links here: the kernel has no netem, and there is no /dev/net/tun or no {SLOW_LINK}"
    return None


def _sweep():
    """What tests have left that were killed themselves."""
    for line in _ip("netns", "list", check=False).stdout.splitlines():
        found = re.match(r"(ce(\d+)n\d+)-\d+\b", line)
        if found and not os.path.exists(f"/proc/{found[2]}"):
            _ip("netns", "del", line.split()[0], check=False)
            for bridge in found[1], f"{found[1]}s":
                _ip("link", "del", bridge, check=False)


class _Cable:
    """One end in the namespace, one on the bridge."""

    def __init__(self, namespace, device, other, bridge, address=None):
        self.namespace, self.device, self.other = namespace, device, other
        self._make()
        if address:
            _ip("-n", namespace, "link", "set", device, "address", address)
        _ip("link", "set", other, "master", bridge, "up")
        _ip("-n", namespace, "link", "set", device, "up")

    def _make(self):
        _ip("link", "add", self.other, "type", "veth", "peer", "name", self.device, "netns", self.namespace)

    def close(self):
        """The devices go with their namespace."""


class _Netem(_Cable):
    """Each end delays what leaves there."""

    kind = "netem"

    def set(self, out, delay, jitter, loss):
        where = ["-n", self.namespace, "qdisc", "replace", "dev", self.device] if out else ["qdisc", "replace", "dev", self.other]
        subprocess.run(["tc", *where, "root", "netem", "limit", f"{UNDER_WAY}", "delay", f"{delay}ms", f"{jitter}ms", "loss",
                        f"{loss}%"], capture_output=True, check=True)


class _SlowLink(_Cable):
    """A process of slow_link.c carries the frames."""

    kind = "slow_link"

    def _make(self):
        self.process = subprocess.Popen([SLOW_LINK, self.namespace, self.device, self.other, f"{UNDER_WAY}"],
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self._answered("ready")

    def _answered(self, wanted):
        answer = self.process.stdout.readline().strip()
        if answer != wanted:
            raise OSError(f"slow_link: {answer or f'ended with {self.process.wait()}'}")

    def set(self, out, delay, jitter, loss):
        self.process.stdin.write(f"{'out' if out else 'in'} delay {delay} jitter {jitter} loss {loss}\n")
        self._answered("ok")

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


class Place:
    """Where one member runs: Server(place=...). address is for clients, peer_address for other members."""

    def __init__(self, network, number):
        self.network = network
        self.address = self.peer_address = f"{network.prefix}.{number + 1}"
        self.device = "e0"
        self.namespace = f"{network.name}-{number}"
        self.command = ("ip", "netns", "exec", self.namespace)
        _ip("netns", "add", self.namespace)
        network.namespaces.append(self.namespace)
        _ip("-n", self.namespace, "link", "set", "lo", "up")
        self.link = _Cable(self.namespace, "e0", f"{network.name}p{number}", network.name)
        _ip("-n", self.namespace, "addr", "add", f"{self.address}/24", "dev", "e0")
        if network.slow:
            self.device = "e1"
            self.ethernet = f"02:00:00:00:01:{number:02x}"
            self.peer_address = f"{network.peer_prefix}.{number + 1}"
            self.link = network.slow(self.namespace, "e1", f"{network.name}s{number}", network.peer_bridge, self.ethernet)
            network.slow_links.append(self.link)
            _ip("-n", self.namespace, "addr", "add", f"{self.peer_address}/24", "dev", "e1")

    def _neighbour(self, other, ethernet):
        _ip("-n", self.namespace, "neigh", "replace", other.peer_address, "lladdr", ethernet, "dev", self.device, "nud",
            "permanent")

    def lose(self, other):
        """Nothing that is sent from here arrives there."""
        self._neighbour(other, _NOBODY)

    def reach(self, other):
        if self.network.slow:  # nobody must ask for an address: where an answer takes seconds the kernel gives up
            self._neighbour(other, other.ethernet)
        else:
            _ip("-n", self.namespace, "neigh", "del", other.peer_address, "dev", self.device, check=False)

    def delay(self, milliseconds, jitter=0, loss=0, ways=2):
        """Frames between here and other members take so much longer, give or take the jitter, and so many percent of them are
        lost; ways: both, 1: only those that are sent from here, -1: only those that are sent to here."""
        if ways != -1:
            self.link.set(True, milliseconds, jitter, loss)
        if ways != 1:
            self.link.set(False, milliseconds, jitter, loss)

    def socket(self):
        """A UDP socket of the test's own process at the address for other members."""
        made = []

        def make():
            with open(f"/run/netns/{self.namespace}", "rb") as namespace:
                if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), _CLONE_NEWNET) != 0:
                    return
            made.append(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        thread = threading.Thread(target=make)  # the namespace is the thread's
        thread.start()
        thread.join()
        made[0].bind((self.peer_address, 0))
        return made[0]


class Network:
    def __init__(self, scratch, slow=False):
        _sweep()
        self.name = f"ce{os.getpid()}n{len(scratch.networks)}"
        self.prefix = f"10.{_random.randrange(200, 255)}.{_random.randrange(1, 255)}"
        self.namespaces = []
        self.places = []
        self.slow = None        # the class of its slow links
        self.slow_links = []
        scratch.networks.append(self)
        _ip("link", "add", self.name, "type", "bridge")
        _ip("link", "set", self.name, "up")
        _ip("addr", "add", f"{self.prefix}.1/24", "dev", self.name)
        if slow:
            self._prepare_slow_links()

    def _prepare_slow_links(self):
        self.peer_prefix = f"172.{_random.randrange(16, 32)}.{_random.randrange(1, 255)}"
        self.peer_bridge = f"{self.name}s"
        _ip("link", "add", self.peer_bridge, "type", "bridge")
        _ip("link", "set", self.peer_bridge, "up")
        _ip("netns", "add", f"{self.name}-0")
        self.slow = _Netem if _has_netem(f"{self.name}-0") else _SlowLink
        _ip("netns", "del", f"{self.name}-0")

    def place(self):
        new = Place(self, len(self.places) + 1)
        for other in self.places:
            other.reach(new)
            new.reach(other)
        self.places.append(new)
        return new

    def delay(self, milliseconds, jitter=0, loss=0):
        """From each member to each other one."""
        for place in self.places:
            place.delay(milliseconds, jitter, loss, ways=1)

    def cut(self, one, others, ways=2):
        """Between one and the others; ways=1: only what it sends is lost, -1: only what they send."""
        for other in others:
            if ways != -1:
                one.lose(other)
            if ways != 1:
                other.lose(one)

    def heal(self):
        for one in self.places:
            for other in self.places:
                if one is not other:
                    one.reach(other)

    def close(self):
        for link in self.slow_links:
            link.close()
        for namespace in self.namespaces:
            _ip("netns", "del", namespace, check=False)
        for bridge in self.name, f"{self.name}s":
            _ip("link", "del", bridge, check=False)
        ended = [code for code in (link.process.returncode for link in self.slow_links if link.kind == "slow_link") if code]
        if ended:
            raise OSError(f"slow_link ended with {ended}")
