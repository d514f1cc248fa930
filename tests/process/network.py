"""A network of its own for the members of a cluster, so that it can be cut: each member in a network namespace, all on one
bridge, on which the test itself has the first address. Needs root and iproute2; available() says why it cannot be had.

Links are cut one way at a time: what a member sends to another goes to an Ethernet address that nobody has, so that it is
lost without a word, as when a switch fails. The test still reaches every member.
"""
import os
import random
import re
import subprocess

_random = random.SystemRandom()
_NOBODY = "02:00:00:00:00:ff"


def _ip(*words, check=True):
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=check)


def available():
    """None, or why there can be no such network."""
    name = f"cetcd-try-{os.getpid()}"
    try:
        done = _ip("netns", "add", name, check=False)
        if done.returncode == 0:
            done = _ip("-n", name, "link", "add", "b0", "type", "bridge", check=False)
            _ip("netns", "del", name, check=False)
    except OSError as error:
        return f"{error} (Debian: iproute2)"
    return None if done.returncode == 0 else f"no network namespaces here: {done.stderr.strip()}"


def _sweep():
    """What tests have left that were killed themselves."""
    for line in _ip("netns", "list", check=False).stdout.splitlines():
        found = re.match(r"(ce(\d+)n\d+)-\d+\b", line)
        if found and not os.path.exists(f"/proc/{found[2]}"):
            _ip("netns", "del", line.split()[0], check=False)
            _ip("link", "del", found[1], check=False)


class Place:
    """Where one member runs: Server(place=...)."""

    def __init__(self, network, number):
        self.network = network
        self.address = f"{network.prefix}.{number + 1}"
        self.namespace = f"{network.name}-{number}"
        self.command = ("ip", "netns", "exec", self.namespace)
        link = f"{network.name}p{number}"
        _ip("netns", "add", self.namespace)
        network.namespaces.append(self.namespace)
        _ip("link", "add", link, "type", "veth", "peer", "name", "e0", "netns", self.namespace)
        _ip("link", "set", link, "master", network.name, "up")
        for device in ("lo", "e0"):
            _ip("-n", self.namespace, "link", "set", device, "up")
        _ip("-n", self.namespace, "addr", "add", f"{self.address}/24", "dev", "e0")

    def lose(self, other):
        """Nothing that is sent from here arrives there."""
        _ip("-n", self.namespace, "neigh", "replace", other.address, "lladdr", _NOBODY, "dev", "e0", "nud", "permanent")

    def reach(self, other):
        _ip("-n", self.namespace, "neigh", "del", other.address, "dev", "e0", check=False)

    def delay(self, milliseconds):
        """What is sent from here takes so much longer. False: this kernel cannot (netem)."""
        words = ["tc", "-n", self.namespace, "qdisc", "replace", "dev", "e0", "root", "netem", "delay", f"{milliseconds}ms"]
        return subprocess.run(words, capture_output=True, check=False).returncode == 0


class Network:
    def __init__(self, scratch):
        _sweep()
        self.name = f"ce{os.getpid()}n{len(scratch.networks)}"
        self.prefix = f"10.{_random.randrange(200, 255)}.{_random.randrange(1, 255)}"
        self.namespaces = []
        self.places = []
        scratch.networks.append(self)
        _ip("link", "add", self.name, "type", "bridge")
        _ip("link", "set", self.name, "up")
        _ip("addr", "add", f"{self.prefix}.1/24", "dev", self.name)

    def place(self):
        self.places.append(Place(self, len(self.places) + 1))
        return self.places[-1]

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
        for namespace in self.namespaces:
            _ip("netns", "del", namespace, check=False)
        _ip("link", "del", self.name, check=False)
