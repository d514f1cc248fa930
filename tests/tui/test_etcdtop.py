#!/usr/bin/env python3
"""etcdtop on a pseudo-terminal, against a real server.

Runs in the build folder: ./etcdtop (or ETCDTOP) and ./etcdctl (or ETCDCTL), and as server ./etcd, else etcd in ETCD35_BIN, else the one in PATH. Exits
with 77 (automake: skipped) when python3-pexpect, python3-pyte or a server is missing.
"""
import base64
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import termios
import time
import unittest
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
from ports import free_port  # noqa: E402

try:
    import pexpect
    import pyte
except ImportError as missing:
    # The distribution's packages belong to the distribution's python.
    system = "/usr/bin/python3"
    if os.path.exists(system) and os.environ.get("ETCDTOP_TEST_PYTHON") != system:
        os.environ["ETCDTOP_TEST_PYTHON"] = system
        os.execv(system, [system] + sys.argv)
    print(f"skipped: {missing} (packages python3-pexpect python3-pyte)")
    sys.exit(77)

ETCDTOP = os.path.abspath(os.environ.get("ETCDTOP", "etcdtop"))
ETCDCTL = os.path.abspath(os.environ.get("ETCDCTL", "etcdctl"))
PATIENCE = 20  # seconds; a loaded machine and sanitizers take their time

UP, DOWN, RIGHT, LEFT = "\x1bOA", "\x1bOB", "\x1bOC", "\x1bOD"
HOME, END, PAGE_UP, PAGE_DOWN, DELETE = "\x1b[1~", "\x1b[4~", "\x1b[5~", "\x1b[6~", "\x1b[3~"
F1, F2, F3, F5, F10 = "\x1bOP", "\x1bOQ", "\x1bOR", "\x1b[15~", "\x1b[21~"
ENTER, ESCAPE, TAB, BACKSPACE = "\r", "\x1b", "\t", "\x7f"


def server_program():
    for program in ("etcd", os.path.join(os.environ.get("ETCD35_BIN", "/nonexistent"), "etcd")):
        if os.access(program, os.X_OK):
            return os.path.abspath(program)
    return shutil.which("etcd")


class Server:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix="etcdtop-")
        self.client, self.peer = f"127.0.0.1:{free_port()}", f"127.0.0.1:{free_port()}"
        self.process = None

    def start(self):
        self.log = open(os.path.join(self.folder, "log"), "ab")
        self.process = subprocess.Popen(
            [server_program(), "--name", "m1", "--data-dir", os.path.join(self.folder, "data"),
             "--listen-client-urls", f"http://{self.client}", "--advertise-client-urls", f"http://{self.client}",
             "--listen-peer-urls", f"http://{self.peer}", "--initial-advertise-peer-urls", f"http://{self.peer}",
             "--initial-cluster", f"m1=http://{self.peer}"], stdout=self.log, stderr=self.log)
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if self.control("endpoint", "health", "--command-timeout=1s") is not None:
                return self
            time.sleep(0.05)
        raise RuntimeError("the server did not start: " + open(os.path.join(self.folder, "log")).read()[-2000:])

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.log.close()
        self.process = None

    def close(self):
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    def control(self, *words, given=b""):
        """What etcdctl prints, or None when it fails."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("ETCDCTL_")}
        result = subprocess.run([ETCDCTL, "--endpoints", self.client, *words], input=given, capture_output=True,
                                timeout=60, env=env)
        return result.stdout if result.returncode == 0 else None

    def put(self, key, value):
        given = value if isinstance(value, bytes) else value.encode()
        if self.control("put", "--", key, given=given) is None:
            raise RuntimeError(f"put {key} failed")

    def put_many(self, keys):
        puts = "".join(f"put {key} x\n" for key in keys)
        if self.control("txn", given=f"\n{puts}\n\n".encode()) is None:
            raise RuntimeError("txn failed")

    def get(self, key):
        printed = self.control("get", "--print-value-only", "--", key)
        return printed.decode()[:-1] if printed else None

    def clear(self):
        self.control("del", "--prefix", "")


class Screen(pyte.Screen):
    """With the scrolling that curses uses and pyte lacks."""

    def scroll(self, count, start, step):
        row = self.cursor.y
        for _ in range(count or 1):
            self.cursor.y = start
            step()
        self.cursor.y = row

    def scroll_down(self, count=1):
        self.scroll(count, self.margins.top if self.margins else 0, self.reverse_index)

    def scroll_up(self, count=1):
        self.scroll(count, self.margins.bottom if self.margins else self.lines - 1, self.index)


class Stream(pyte.ByteStream):
    csi = dict(pyte.ByteStream.csi, S="scroll_up", T="scroll_down")
    events = pyte.ByteStream.events | {"scroll_up", "scroll_down"}


class Terminal:
    """One etcdtop and what its screen shows."""

    def __init__(self, *arguments, width=80, height=24, term="screen-256color", **environment):
        env = {k: v for k, v in os.environ.items() if not k.startswith("ETCDCTL_") and k != "NO_COLOR"}
        env.update({"TERM": term, "LC_ALL": "C.UTF-8"}, **environment)
        self.screen = Screen(width, height)
        self.stream = Stream(self.screen)
        self.raw = b""
        self.started = time.monotonic()
        self.child = pexpect.spawn(ETCDTOP, list(arguments), dimensions=(height, width), env=env, timeout=PATIENCE)
        self.child.delaybeforesend = None

    def pump(self, seconds):
        """Reads what comes for that long."""
        end = time.monotonic() + seconds
        while True:
            left = end - time.monotonic()
            try:
                piece = self.child.read_nonblocking(65536, max(left, 0.001))
                self.raw += piece
                self.stream.feed(piece)
            except pexpect.TIMEOUT:
                pass
            except pexpect.EOF:
                return
            if left <= 0:
                return

    def text(self):
        return "\n".join(line.rstrip() for line in self.screen.display)

    def row_with(self, text):
        for number, line in enumerate(self.screen.display):
            if text in line:
                return number
        return None

    def wait(self, *wanted, absent=(), patience=PATIENCE):
        """Until the screen shows all of `wanted` (texts or patterns) and none of `absent`."""
        deadline = time.monotonic() + patience
        absent = (absent,) if isinstance(absent, str) else absent
        while True:
            text = self.text()
            found = all(w.search(text) if isinstance(w, re.Pattern) else w in text for w in wanted)
            if found and not any(a in text for a in absent):
                return text
            if time.monotonic() > deadline or not self.child.isalive():
                raise AssertionError(f"waited for {wanted} without {absent}:\n{text}")
            self.pump(0.05)

    def send(self, *keys):
        for key in keys:
            self.child.send(key)
            self.pump(0.08 if key == ESCAPE else 0.02)

    def resize(self, width, height):
        self.screen.resize(height, width)
        self.child.setwinsize(height, width)

    def ended(self):
        """Exit status, after everything was read."""
        deadline = time.monotonic() + PATIENCE
        while self.child.isalive() and time.monotonic() < deadline:
            self.pump(0.05)
        self.pump(0.1)
        self.child.close()
        return self.child.exitstatus

    def close(self):
        if not self.child.closed:
            self.child.close(force=True)


class Case(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server().start()

    @classmethod
    def tearDownClass(cls):
        cls.server.close()

    def top(self, *arguments, endpoints=None, **settings):
        terminal = Terminal("--endpoints", endpoints or self.server.client, "-d", "300ms", *arguments, **settings)
        self.addCleanup(terminal.close)
        return terminal


class Overview(Case):
    def test_first_frame_comes_at_once_and_shows_the_member(self):
        top = self.top()
        top.wait("etcdtop", "q quit")
        self.assertLess(time.monotonic() - top.started, 5)
        text = top.wait("HEALTHY 1/1", "m1", self.server.client, "★ leader", "leader m1", "all is well")
        self.assertRegex(text, r"rev +\d+ term +\d+")
        top.wait(re.compile(r"put +\d[\d.k]*/s range +\d"))

    def test_it_fits_every_size(self):
        top = self.top()
        top.wait("HEALTHY 1/1")
        for width, height, wanted in ((120, 40, ("ID", "PEER")), (80, 24, ("RTT", "FSYNC")), (60, 15, ("ROLE", "DB"))):
            top.resize(width, height)
            text = top.wait("HEALTHY 1/1", "q quit", "events", *wanted)
            lines = text.split("\n")
            self.assertIn("q quit", lines[height - 1])
            self.assertTrue(lines[0].rstrip().endswith("1/1"))
        top.resize(20, 4)
        top.pump(0.3)
        top.resize(3, 1)
        top.pump(0.3)
        top.resize(80, 24)
        top.wait("HEALTHY 1/1", "q quit", "events")

    def test_keys_select_members_and_open_their_page(self):
        dead = f"127.0.0.1:{free_port()}"
        top = self.top(endpoints=f"{self.server.client},{dead}")
        top.wait("DEGRADED 1/2", "✖ down", re.compile(r"does not answer \(dial tcp"))
        cursor = lambda: next(line for line in top.screen.display if line.startswith("▸"))
        self.assertIn("m1", cursor())
        for down, up in ((DOWN, UP), ("j", "\x10"), ("\x0e", UP), (END, HOME), ("G", "g")):
            top.send(down)
            top.wait(re.compile(r"^▸ .*" + dead, re.M))
            top.send(up)
            top.wait(re.compile(r"^▸ m1", re.M))
        for opening in (ENTER, RIGHT):
            top.send(opening)
            top.wait("member", "● answers", "raft term", "leader", f"http://{self.server.peer}")
            top.send(LEFT)
            top.wait("findings")
        top.send(ENTER, "G")
        top.wait("history", "commit p99")
        top.send("g")
        top.wait("endpoint")
        top.send("q")
        top.wait("findings")

    def test_filter_hides_members_until_escape(self):
        dead = f"127.0.0.1:{free_port()}"
        top = self.top(endpoints=f"{self.server.client},{dead}")
        top.wait("DEGRADED 1/2", "✖ down")
        row = re.compile(re.escape(dead) + " +✖ down")
        for start in ("/", F3):
            top.send(start, "m1")
            top.wait("/m1: 1 of 2")
            self.assertIsNone(row.search(top.text()))
            top.send(ENTER)
            top.wait("/m1: 1 of 2", "q quit")
            top.send(ESCAPE)
            top.wait(row, absent="/m1: 1 of 2")

    def test_help_lists_the_keys_of_the_view(self):
        top = self.top()
        top.wait("HEALTHY 1/1")
        for key in ("?", F1):
            top.send(key)
            top.wait("Keys of this view (overview)", "browse the keys", "Everywhere", "run an etcdctl command")
            top.send(ESCAPE)
            top.wait("findings")
        top.send("k")
        top.wait("keys  all")
        top.send("?")
        top.wait("Keys of this view (keys)", "show the key's earlier values")
        top.send("q")
        top.wait("keys  all")

    def test_the_endpoint_is_copied_to_the_clipboard(self):
        top = self.top()
        top.wait("HEALTHY 1/1")
        top.send("y")
        top.wait("copied " + self.server.client)
        self.assertIn(b"\x1b]52;c;" + base64.b64encode(self.server.client.encode()) + b"\x07", top.raw)
        top.send("\x0c")  # ^L
        top.wait("HEALTHY 1/1")

    def test_it_quits_and_gives_the_terminal_back(self):
        for keys, status in ((("q",), 0), ((F10,), 0), (("\x03",), 0), (("k", "q", "q"), 0)):
            top = self.top()
            top.wait("HEALTHY 1/1")
            top.send(*keys)
            descriptor = os.dup(top.child.child_fd)
            try:
                self.assertEqual(top.ended(), status)
                self.assertTrue(termios.tcgetattr(descriptor)[3] & (termios.ECHO | termios.ICANON))
            finally:
                os.close(descriptor)
            self.assertIn(b"\x1b[?1049l", top.raw)
            self.assertNotIn(b"ERROR: ", top.raw)

    def test_an_unknown_terminal_is_refused(self):
        top = self.top(term="nonsense")
        self.assertEqual(top.ended(), 2)
        self.assertIn(b'the terminal "nonsense" is not known', top.raw)

    def test_a_signal_gives_the_terminal_back(self):
        top = self.top()
        top.wait("HEALTHY 1/1")
        top.child.kill(signal.SIGTERM)
        self.assertEqual(top.ended(), 128 + signal.SIGTERM)
        self.assertIn(b"\x1b[?1049l", top.raw)

    def test_ascii_and_one_colour_are_enough(self):
        for settings in ({"LC_ALL": "C"}, {"arguments": ("--ascii",)}):
            top = self.top(*settings.pop("arguments", ()), term="vt100", **settings)
            top.wait("* HEALTHY 1/1", "* leader", "q quit")
            self.assertTrue(all(byte < 0x80 for byte in top.raw))
            self.assertIsNone(re.search(rb"\x1b\[[0-9;]*3[0-7]m", top.raw))
        top = self.top(NO_COLOR="1")
        top.wait("● HEALTHY 1/1")
        self.assertIsNone(re.search(rb"\x1b\[[0-9;]*[34][0-8][;m]", top.raw))
        top = self.top(term="screen")
        top.wait("● HEALTHY 1/1")
        self.assertIsNone(re.search(rb"\x1b\[38;5;", top.raw))


class Commands(Case):
    def test_commands_run_and_recall(self):
        top = self.top()
        top.wait("HEALTHY 1/1")
        top.send(":put /cmd/a 'hello there'", ENTER)
        top.wait(":put /cmd/a", "OK")
        self.assertEqual(self.server.get("/cmd/a"), "hello there")
        top.send("q", ":get /cmd/a", ENTER)
        top.wait(":get /cmd/a", "hello there")
        top.send("q", ":", UP, UP)
        top.wait(":put /cmd/a 'hello there'")
        top.send(DOWN)
        top.wait(":get /cmd/a")
        top.send(ESCAPE)
        top.wait("q quit")
        top.send(":nonsense", ENTER)
        top.wait("unknown command", "(exit status 1)")

    def test_commands_are_completed(self):
        top = self.top()
        top.wait("HEALTHY 1/1")
        top.send(":mem", TAB)
        top.wait(re.compile("^:member$", re.M))
        top.send("l", TAB, "--wr", TAB)
        top.wait(":member list --write-out")
        top.send("table", ENTER)
        top.wait(":member list --write-out table", "| started |", "m1")
        top.send("q", ":end", TAB, TAB)
        top.wait("hashkv", "health", "status")
        top.send(ESCAPE)

    def test_long_output_is_paged_and_filtered(self):
        self.server.put_many([f"/long/{i:03}" for i in range(60)])
        top = self.top()
        top.wait("HEALTHY 1/1")
        top.send(":get --prefix /long/ --print-value-only=false --keys-only", ENTER)
        top.wait("/long/059")  # it follows the end
        top.send("g")
        top.wait("/long/000", absent="/long/059")
        top.send(PAGE_DOWN)
        top.wait(absent="/long/000")
        top.send("G")
        top.wait("/long/059")
        top.send("/", "/long/01")
        top.wait("/long/010", "/long/019", absent="/long/059")
        top.send(ENTER, "q")
        top.wait("findings")
        self.server.clear()

    def test_an_endless_command_streams_until_it_is_stopped(self):
        top = self.top()
        top.wait("HEALTHY 1/1")
        top.send(":watch --prefix /w", ENTER)
        for _ in range(PATIENCE):  # until the watch is there
            self.server.put("/w/1", "seen")
            top.pump(0.5)
            if "seen" in top.text():
                break
        top.wait("PUT", "/w/1", "seen")
        top.send("\x03")
        top.wait("(stopped)")
        top.send("q")
        top.wait("findings")
        top.send(":get /w/1", ENTER)
        top.wait("seen")


class Keys(Case):
    def setUp(self):
        self.server.clear()
        for key, value in (("/app/config", '{"rps":500,"on":true}'), ("/app/name", "first"), ("/bin", b"\x00\x01\xff"),
                           ("/日本/キー", "値"), ("plain", "text")):
            self.server.put(key, value)

    def open(self, *arguments, **settings):
        top = self.top(*arguments, **settings)
        top.wait("HEALTHY 1/1")
        top.send("k")
        top.wait("keys  all", "5 keys", "▸ /app/", "plain")
        return top

    def select(self, top, text):
        """Moves the cursor to the row of that name."""
        top.send(HOME)
        for _ in range(30):
            top.pump(0.05)
            row = next((line for line in top.screen.display[2:] if line.startswith("▸")), "")
            if text in row.split("│")[0]:
                return
            top.send(DOWN)
        raise AssertionError(f"no row {text}:\n{top.text()}")

    def test_the_tree_opens_and_shows_values(self):
        top = self.open()
        self.assertRegex(top.wait(re.compile(r"▸ /app/ +2 │")), r"/日本/")
        for opening, closing in ((ENTER, ENTER), (RIGHT, LEFT), ("l", LEFT)):
            self.select(top, "/app/")
            top.send(opening)
            top.wait("▾ /app/", "config", "name")
            top.send(closing)
            top.wait("▸ /app/", absent="config")
        top.send(ENTER)
        top.wait("config")
        self.select(top, "config")
        top.wait("/app/config", "JSON", '"rps": 500,', "version 1", "created rev")
        self.select(top, "/bin")
        top.wait("binary", "0000  00 01 ff")
        top.send("G")
        top.wait(re.compile(r"│ plain"), "text 4B")
        top.send("g")
        top.wait("2 keys with this prefix")

    def test_panes_filter_prefix_and_reload(self):
        top = self.open()
        self.server.put("/app/config", json.dumps({f"k{i:02}": i for i in range(60)}))
        self.select(top, "/app/")
        top.send(ENTER)
        top.wait("config")
        self.select(top, "config")
        top.wait('"k00": 0', absent='"k40": 40')
        top.send(TAB, PAGE_DOWN)
        top.wait(absent='"k00": 0')
        top.send(END)
        top.wait('"k59": 59')
        top.send(HOME)
        top.wait('"k00": 0')
        top.send(TAB, "/", "conf")
        top.wait("/conf (in what is open)", absent="plain")
        top.send(ENTER, ESCAPE)
        top.wait("plain")
        self.server.put("/new/one", "1")
        for reload in ("r", F5):
            top.send(reload)
            top.wait("▸ /new/", "6 keys")
        top.send("o")
        top.wait("prefix:")
        top.send("\x15", "/app/n", ENTER)
        top.wait("keys  /app/n", "1 keys", absent="plain")
        top.send("o", "\x15", ENTER)
        top.wait("keys  all", "plain")

    def test_a_large_prefix_is_loaded_page_by_page(self):
        for part in range(6):
            self.server.put_many([f"/large/{part * 100 + i:04}" for i in range(100)])
        top = self.top()
        top.wait("HEALTHY 1/1")
        top.send("k")
        top.wait(re.compile(r"▸ /large/ +600 "), "605 keys")
        self.select(top, "/large/")
        top.send(ENTER)
        top.wait("0000")
        top.send("G")
        top.wait("more: move on to load it")
        top.pump(1)  # sitting at the end loads nothing
        self.assertNotIn("0500", top.text())
        deadline = time.monotonic() + PATIENCE
        while "0599" not in top.text() and time.monotonic() < deadline:
            top.send("G")
            top.pump(0.2)
        top.wait("0599", absent="more: move on")

    def test_history_walks_back(self):
        self.server.put("/app/name", "second")
        self.server.put("/app/name", "third")
        top = self.open()
        self.select(top, "/app/")
        top.send(ENTER)
        top.wait("name")
        self.select(top, "name")
        top.wait("third", "version 3")
        top.send("h")
        top.wait("history", "third", "second", "first", "version 1", "(created)")
        top.send("h")
        top.wait("third", absent="second")

    def test_editing_asks_and_keeps_what_others_wrote(self):
        top = self.open()
        self.select(top, "plain")
        top.wait("text 4B")
        top.send("e")
        top.wait("value: text")
        top.send("!", ENTER)
        top.wait("put plain (5 bytes, now 4)?", "[y/N]")
        top.send("n")
        top.wait("nothing was changed")
        self.assertEqual(self.server.get("plain"), "text")
        top.send("e", "!", ENTER)
        top.wait("[y/N]")
        top.send("y")
        top.wait("put plain: done")
        self.assertEqual(self.server.get("plain"), "text!")
        top.wait("text!", "version 2")
        top.send("e", "?", ENTER)
        top.wait("[y/N]")
        self.server.put("plain", "by another")
        top.send("y")
        top.wait("the key was changed meanwhile")
        self.assertEqual(self.server.get("plain"), "by another")

    def test_deleting_asks(self):
        top = self.open()
        self.select(top, "plain")
        top.wait("text 4B")
        top.send("d")
        top.wait("delete plain?", "[y/N]")
        top.send(ENTER)
        top.wait("nothing was changed")
        self.assertEqual(self.server.get("plain"), "text")
        top.send(DELETE)
        top.wait("delete plain?")
        top.send("y")
        top.wait("delete plain: done", "4 keys")
        self.assertIsNone(self.server.get("plain"))
        self.select(top, "/app/")
        top.wait("2 keys with this prefix")
        top.send("d")
        top.wait("delete ALL 2 keys with prefix /app/?")
        top.send("y")
        top.wait("2 keys", absent="▸ /app/")
        self.assertIsNone(self.server.get("/app/name"))

    def test_copying(self):
        top = self.open()
        self.select(top, "plain")
        top.wait("text 4B")
        top.send("y")
        top.wait("copied the value, 4 bytes")
        self.assertIn(b"\x1b]52;c;" + base64.b64encode(b"text") + b"\x07", top.raw)
        top.send("Y")
        top.wait("copied the key")
        self.assertIn(b"\x1b]52;c;" + base64.b64encode(b"plain") + b"\x07", top.raw)

    def test_read_only_changes_nothing(self):
        top = self.open("--read-only")
        self.assertNotIn("e edit", top.text())
        self.select(top, "plain")
        top.wait("text 4B")
        for key, what in (("e", "edit"), ("d", "delete"), (DELETE, "delete")):
            top.send(key)
            top.wait(f"{what} is off: --read-only")
            top.pump(0.1)
        for command in ("put plain x", "del plain", "compact 2", "member remove 1"):
            top.send(":" + command, ENTER)
            top.wait("off: --read-only")
            top.send("q")
        top.send(":get plain", ENTER)
        top.wait("text")
        self.assertEqual(self.server.get("plain"), "text")

    def test_the_mouse_selects_opens_and_scrolls(self):
        self.server.put_many([f"/many{i:02}" for i in range(60)])
        top = self.top()
        top.wait("HEALTHY 1/1")
        top.send("k")
        top.wait("▸ /app/", "65 keys")
        sgr = re.search(rb"\x1b\[\?10[0-9;]*1006", top.raw) is not None

        def mouse(button, x, y):
            if sgr:
                top.send(f"\x1b[<{button};{x + 1};{y + 1}M" + (f"\x1b[<0;{x + 1};{y + 1}m" if button == 0 else ""))
            else:
                top.child.send(b"\x1b[M" + bytes((button + 32, x + 33, y + 33)))
                if button == 0:
                    top.child.send(b"\x1b[M" + bytes((3 + 32, x + 33, y + 33)))
                top.pump(0.05)

        row = top.row_with("/bin")
        mouse(0, 5, row)
        top.wait("binary")
        mouse(0, 5, top.row_with("▸ /app/"))
        top.wait("2 keys with this prefix")
        mouse(0, 5, top.row_with("▸ /app/"))
        top.wait("▾ /app/", "config")
        for _ in range(12):
            mouse(65, 5, 5)
        top.wait(absent="▾ /app/")
        for _ in range(12):
            mouse(64, 5, 5)
        top.wait("▾ /app/")

    def test_narrow_terminals_show_one_pane(self):
        top = self.open(width=58, height=15)
        self.assertNotIn("│", top.text())
        self.select(top, "plain")
        top.send(ENTER)
        top.wait("text 4B", absent="▸ /app/")
        top.send(TAB)
        top.wait("▸ /app/")


class Away(unittest.TestCase):
    def test_a_member_goes_away_and_comes_back(self):
        server = Server().start()
        self.addCleanup(server.close)
        top = Terminal("--endpoints", server.client, "-d", "300ms")
        self.addCleanup(top.close)
        top.wait("HEALTHY 1/1", "★ leader")
        server.stop()
        top.wait("CRITICAL 0/1", "✖ down", "m1 does not answer", "quorum lost", re.compile(r"\?\d+s"), absent="★ leader")
        frame = top.text()
        top.wait(re.compile(r"\?[3-9]s"))  # frames go on, and ages grow
        self.assertNotEqual(frame, top.text())
        top.send("k")
        top.wait("keys  all")
        top.send("q")
        server.start()
        top.wait("HEALTHY 1/1", "★ leader", "m1 answers again", absent="✖ down")
        top.send("q")
        self.assertEqual(top.ended(), 0)


class Sheets(Case):
    """The views behind r, w, l, m, d and v."""

    def setUp(self):
        self.server.clear()

    def leases(self):
        return [word for word in (self.server.control("lease", "list") or b"").decode().split("\n")[1:] if word]

    def test_every_one_leads_to_every_other_and_back(self):
        top = self.top()
        top.wait("HEALTHY 1/1", "r raft", "w watch", "l leases", "m members", "q quit")
        titles = {"r": "raft  term", "w": "watches  ", "l": "leases  ", "m": "members\n", "d": "maintenance\n", "v": "metrics  of m1",
                  "u": "auth  authentication is disabled"}
        for first in titles:
            top.send(first)
            top.wait(" " + titles[first], "q quit")
            for second in titles:
                top.send(second)
                top.wait(" " + titles[second])
            top.send("q")
            top.wait("findings")
        for key, title in titles.items():
            top.send(key)
            top.wait(" " + title)
            top.send("?")
            top.wait("Keys of this view (", "how far each member is in the log", "every metric of a member")
            top.send("q")
            top.wait(" " + title)
            for width, height in ((40, 10), (20, 3), (200, 60), (80, 24)):
                top.resize(width, height)
                top.pump(0.1)
            top.wait(" " + title)
            top.send("q")
            top.wait("findings")

    def test_raft_shows_how_far_members_are(self):
        top = self.top()
        top.send("r")
        text = top.wait("raft  term", "leader m1", "quorum 1 of 1", re.compile(r"★ m1 +█+ +\d"), "no change since the start")
        committed = lambda: int(re.search(r"commit ([\d,]+)", top.text()).group(1).replace(",", ""))
        before = committed()
        for i in range(5):
            self.server.put("k", str(i))
        deadline = time.monotonic() + PATIENCE
        while committed() < before + 5:
            self.assertLess(time.monotonic(), deadline, top.text())
            top.pump(0.05)
        top.send(ENTER)
        top.wait("member  m1", "raft term")
        top.send("q")
        top.wait("raft  term")

    def test_watches_are_counted(self):
        top = self.top()
        top.send("w")
        top.wait("0 watchers in all", "Every watcher has what has happened")
        watching = subprocess.Popen([ETCDCTL, "--endpoints", self.server.client, "watch", "--prefix", "a"],
                                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        try:
            top.wait("1 watchers in all", re.compile(r"m1 +1 +1 +0 +0"))
        finally:
            watching.kill()
            watching.wait()
        top.wait("0 watchers in all")

    def test_leases_show_time_and_keys_and_can_be_revoked(self):
        grant = self.server.control("lease", "grant", "1000").decode().split()[1]
        other = self.server.control("lease", "grant", "2000").decode().split()[1]
        self.server.control("put", "with/lease", "v", "--lease=" + grant)
        top = self.top()
        top.send("l")
        top.wait("2 in all", re.compile(rf"{grant} +9\d\ds +1000s +1  \"with/lease\""), re.compile(rf"{other} +\d+s +2000s +0"))
        top.send("/", grant, ENTER)
        top.wait("keys of the selected lease", '  "with/lease"', absent=other)
        top.send("a")
        top.wait(f"lease {grant} keepalived with TTL(1000)")
        top.send("q", "x")
        top.wait(f"Revoke lease {grant} and delete its keys? [y/N]")
        top.send("n")
        top.wait("(no output)")
        self.assertEqual(self.server.get("with/lease"), "v")
        top.send("q", "x")
        top.wait(f"Revoke lease {grant} and delete its keys? [y/N]")
        top.send("y")
        top.wait(f"lease {grant} revoked")
        self.assertIsNone(self.server.get("with/lease"))
        top.send("q", ESCAPE)
        top.wait(re.compile(rf"{other} +\d+s"), absent=grant)
        self.server.control("lease", "revoke", other)

    def test_members_are_added_and_removed(self):
        top = self.top()
        top.send("m")
        top.wait(re.compile(r"[0-9a-f]+ +m1 +leader"), "1 voters, 1 of them answer; 0 learners", "1; 0 more may fail")
        top.send("L")
        top.wait("m1 leads already")
        top.send("p")
        top.wait("m1 is no learner")
        top.send("a", "\x15", "m2 --learner --peer-urls=http://127.0.0.1:1", ENTER)
        top.wait("added as learner to cluster")
        top.send("q")
        top.wait("1 learners", "unstarted")
        row = next(line for line in top.screen.display if "unstarted" in line)
        top.send("g" if top.row_with("unstarted") < top.row_with("leader") else "G", "x")
        top.wait(re.compile("Remove member .* from the cluster. .y/N."))
        top.send("y")
        top.wait("removed from cluster")
        top.send("q")
        top.wait("0 learners", absent=row.split()[0])

    def test_maintenance_defragments_compacts_and_disarms(self):
        self.server.put("k", "1")
        top = self.top()
        top.send("d")
        top.wait(re.compile(r"m1 +\d+K +\d+K +\d+% +2.0G"), "● none")
        top.send("x")
        top.wait("there is no alarm")
        top.send("D")
        top.wait("Defragment 1 member(s)?")
        top.send("y")
        top.wait("Finished defragmenting etcd member")
        top.send("q", "H")
        top.wait(re.compile(re.escape(self.server.client) + r", \d+"))
        top.send("q")
        revision = json.loads(self.server.control("get", "k", "-w", "json"))["header"]["revision"]
        top.send("c", "\x15", str(revision), ENTER)
        top.wait(f"Forget all history before revision {revision}?")
        top.send("y")
        top.wait(f"compacted revision {revision}")

    def status(self):
        return json.loads(self.server.control("endpoint", "status", "-w", "json"))[0]["Status"]

    def alarm(self, **request):
        request = urllib.request.Request(f"http://{self.server.client}/v3/maintenance/alarm", json.dumps(request).encode())
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10).read()

    def test_looking_adds_nothing_to_the_log(self):
        top = self.top()
        top.wait("HEALTHY")
        top.pump(1)
        member = self.status()["header"]["member_id"]
        before = self.status()["raftIndex"]
        top.pump(2)
        self.assertEqual(self.status()["raftIndex"], before)
        self.addCleanup(self.alarm, action="DEACTIVATE", memberID=member, alarm="NOSPACE")
        self.alarm(action="ACTIVATE", memberID=member, alarm="NOSPACE")
        top.wait("alarm NOSPACE by m1", "m1 NOSPACE alarm raised")
        self.alarm(action="DEACTIVATE", memberID=member, alarm="NOSPACE")
        top.wait("m1 NOSPACE alarm cleared", absent="alarm NOSPACE by")

    def test_metrics_are_filtered_and_counted(self):
        top = self.top()
        top.send("v")
        top.wait("metrics  of m1", "etcd_cluster_version")
        top.send("/", "mvcc_put_total", ENTER)
        text = top.wait("/mvcc_put_total", re.compile(r"etcd_mvcc_put_total +\d+"))
        before = int(re.search(r"etcd_mvcc_put_total +(\d+)", text).group(1))
        self.server.put("k", "1")
        top.wait(re.compile(rf"etcd_mvcc_put_total +{before + 1}"))
        top.send(ESCAPE)
        top.wait("etcd_cluster_version")

    def test_users_and_roles_are_shown_and_deleted(self):
        for words in (("role", "add", "reader"), ("role", "grant-permission", "reader", "read", "a", "--prefix"),
                      ("role", "grant-permission", "reader", "readwrite", "b", "d"),
                      ("role", "grant-permission", "reader", "write", "x"),
                      ("user", "add", "ann", "--no-password"), ("user", "grant-role", "ann", "reader"),
                      ("user", "add", "bob", "--no-password")):
            self.assertIsNotNone(self.server.control(*words), words)
        top = self.top()
        top.send("u")
        text = top.wait("authentication is disabled", "role reader", "no role", 'read "a" and all that begins so',
                        'read and write "b" up to "d"', 'write "x"')
        self.assertLess(text.index("ann"), text.index("bob"))
        top.send("/", "bob", ENTER)
        top.wait("/bob", absent="ann")
        top.send("x")
        top.wait("Delete user bob? [y/N]")
        top.send("y")
        top.wait("User bob deleted")
        top.send("q", ESCAPE)
        top.wait("ann", absent="bob")
        top.send("E")
        top.wait("enable authentication?")
        top.send("n")
        top.wait("authentication is disabled", "nothing was changed")
        self.server.control("user", "delete", "ann")
        self.server.control("role", "delete", "reader")

    def test_read_only_changes_nothing(self):
        grant = self.server.control("lease", "grant", "1000").decode().split()[1]
        top = self.top("--read-only")
        for view, keys in (("l", "xa"), ("m", "aLxp"), ("d", "Dcx"), ("u", "xE")):
            top.send(view)
            top.pump(0.3)
            for key in keys:
                top.send(key)
                top.wait("is off: --read-only")
        self.assertIn(grant, self.leases())
        self.server.control("lease", "revoke", grant)


class Once(Case):
    def run_once(self, *arguments, **environment):
        env = dict({k: v for k, v in os.environ.items() if not k.startswith("ETCDCTL_")}, LC_ALL="C.UTF-8")
        env.update(environment)
        return subprocess.run([ETCDTOP, *arguments], capture_output=True, text=True, env=env, timeout=60,
                              stdin=subprocess.DEVNULL)

    def test_text(self):
        result = self.run_once("--once", "-d", "200ms", "--endpoints", self.server.client)
        self.assertEqual((result.returncode, result.stderr), (0, ""))
        self.assertIn("● HEALTHY 1/1", result.stdout)
        self.assertIn("m1", result.stdout)
        self.assertNotIn("\x1b", result.stdout)
        self.assertTrue(all(len(line) <= 80 for line in result.stdout.split("\n")))
        wide = self.run_once("--once", "-d", "200ms", "--endpoints", self.server.client, COLUMNS="160")
        self.assertIn("APPLIED", wide.stdout)

    def test_json(self):
        result = self.run_once("--once", "-o", "json", "-d", "200ms", ETCDCTL_ENDPOINTS=self.server.client)
        self.assertEqual(result.returncode, 0, result.stderr)
        answer = json.loads(result.stdout)
        self.assertEqual(answer["health"], "HEALTHY")
        self.assertEqual(answer["members"][0]["name"], "m1")
        self.assertEqual(answer["members"][0]["role"], "leader")
        self.assertGreater(answer["members"][0]["db_size"], 0)
        self.assertIsInstance(answer["puts_per_second"], float)

    def test_not_healthy(self):
        dead = f"127.0.0.1:{free_port()}"
        result = self.run_once("--once", "--endpoints", dead)
        self.assertEqual(result.returncode, 1)
        self.assertIn("CRITICAL", result.stdout)
        result = self.run_once("--once", "-o", "json", "-d", "200ms", "--endpoints", f"{dead},{self.server.client}")
        self.assertEqual(result.returncode, 1)
        down = [m for m in json.loads(result.stdout)["members"] if not m["up"]]
        self.assertIn("refused", down[0]["error"])
        self.assertIsNone(down[0]["db_size"])

    def test_usage(self):
        for arguments in (("--nonsense",), ("-d", "1ms"), ("-o", "json"), ("--once", "-o", "xml"), ("word",), ()):
            self.assertEqual(self.run_once(*arguments).returncode, 2, arguments)
        self.assertRegex(self.run_once("--version").stdout, r"^etcdtop version: \d+\.\d+\.\d+\n")
        help_text = self.run_once("--help")
        self.assertEqual(help_text.returncode, 0)
        for option in ("--interval", "--once", "--read-only", "--endpoints", "--user"):
            self.assertIn(option, help_text.stdout)


if __name__ == "__main__":
    if server_program() is None:
        print("skipped: no etcd to watch")
        sys.exit(77)
    unittest.main(verbosity=2)
