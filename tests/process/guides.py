#!/usr/bin/python3
"""What doc/operator.md tells operators to type works: its `sh` blocks are run, in order, against a member of ours."""
import sys

sys.dont_write_bytecode = True

import os
import re
import shutil
import subprocess

import etcd
from etcd import OURS, expect

GUIDES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "doc")


def blocks_of(name):
    with open(os.path.join(GUIDES, name), encoding="utf-8") as guide:
        return re.findall(r"^```sh\n(.*?)^```$", guide.read(), re.MULTILINE | re.DOTALL)


def options_named(name):
    with open(os.path.join(GUIDES, name), encoding="utf-8") as guide:
        return set(re.findall(r"--([a-z][a-z-]+)", guide.read()))


def check_options():
    """Every option that a guide names exists, in one of the programs."""
    known = ""
    for program in (OURS, "./etcdctl", "./etcdutl", "./etcdtop"):
        shown = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=60, check=False)
        known += shown.stdout + shown.stderr
    for words in (["etcdctl", "member", "add"], ["etcdutl", "snapshot", "restore"], ["etcdctl", "get"], ["etcdctl", "endpoint", "status"]):
        known += subprocess.run([f"./{words[0]}", *words[1:], "--help"], capture_output=True, text=True, timeout=60,
                                check=False).stdout
    for name in ("operator.md", "triage.md"):
        for option in options_named(name):
            expect(f"--{option}" in known, f"doc/{name}: no program has --{option}")


def run(scratch):
    if shutil.which("curl") is None:
        etcd.skip("curl is not there")
    for program in ("./etcdctl", "./etcdutl", "./etcdtop"):
        if not os.access(program, os.X_OK):
            etcd.skip(f"{program} is not there")
    check_options()
    server = scratch.server("guide").start()
    environment = dict(os.environ, PATH=os.getcwd() + os.pathsep + os.environ["PATH"], ENDPOINT=server.endpoint,
                       DATA=server.data)
    blocks = blocks_of("operator.md")
    expect(len(blocks) >= 4, f"{len(blocks)} blocks")
    for block in blocks:
        ran = subprocess.run(["sh", "-e", "-c", block], env=environment, capture_output=True, text=True, timeout=120, check=False)
        expect(ran.returncode == 0, f"{block}\n{ran.stdout}{ran.stderr}")
    restored = etcd.Server(server.data + ".restored", name="default")
    scratch.servers.append(restored)
    restored.initial_cluster = ""
    restored.start()
    with etcd.Client(restored) as client:
        expect(client.get(b"greeting").kvs[0].value == b"hello again", "what was restored")
    restored.stop()
    server.stop()


etcd.main(run)
