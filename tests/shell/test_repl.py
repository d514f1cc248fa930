#!/usr/bin/env python3
"""The interactive shell on a pseudo-terminal, against a real server.

    test_repl.py --etcdctl FILE --etcd FILE

Also from the environment: REPL_ETCDCTL, REPL_ETCD; default: ./etcdctl, ./etcd. Exits with 77 (automake: skipped) when a program or python3-pexpect is
missing.
"""
import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
from ports import free_port  # noqa: E402

try:
    import pexpect
except ImportError:
    print('skipped: no python3-pexpect')
    sys.exit(77)

options = None
PATIENCE = 15


def free_address():
    return '127.0.0.1:%d' % free_port()


class Server:
    def __init__(self):
        self.folder = tempfile.mkdtemp(prefix='repl-')
        self.client, self.peer = free_address(), free_address()
        environment = {k: v for k, v in os.environ.items() if not k.startswith('ETCD')}
        self.process = subprocess.Popen(
            [options.etcd, '--name', 'm2', '--data-dir', self.folder + '/data',
             '--listen-client-urls', 'http://' + self.client, '--advertise-client-urls', 'http://' + self.client,
             '--listen-peer-urls', 'http://' + self.peer, '--initial-advertise-peer-urls', 'http://' + self.peer,
             '--initial-cluster', 'm2=http://' + self.peer],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
        for _ in range(400):
            try:
                with urllib.request.urlopen('http://%s/health' % self.client, timeout=1) as answer:
                    if b'"true"' in answer.read():
                        return
            except OSError:
                time.sleep(.05)
        self.stop()
        raise RuntimeError('the server does not get ready')

    def stop(self):
        self.process.terminate()
        self.process.wait(20)
        shutil.rmtree(self.folder, ignore_errors=True)


class Repl(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.home = tempfile.mkdtemp(prefix='repl-home-')

    @classmethod
    def tearDownClass(cls):
        cls.server.stop()
        shutil.rmtree(cls.home, ignore_errors=True)

    def setUp(self):
        self.etcdctl('del', '', '--prefix')
        environment = dict(os.environ, HOME=self.home, TERM='xterm', LC_ALL='C.UTF-8', INPUTRC='/dev/null')
        self.shell = pexpect.spawn(options.etcdctl, ['--endpoints=' + self.server.client], env=environment,
                                   encoding='utf8', timeout=PATIENCE, dimensions=(40, 150))
        self.prompt()

    def tearDown(self):
        self.shell.close(force=True)

    def etcdctl(self, *words):
        environment = {k: v for k, v in os.environ.items() if not k.startswith('ETCD')}
        return subprocess.run([options.etcdctl, '--endpoints=' + self.server.client] + list(words), env=environment,
                              capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL,
                              check=True).stdout

    def prompt(self):
        self.shell.expect('m2> ')
        return re.sub(r'\x1b\[[?0-9;]*[A-Za-z]', '', self.shell.before)

    def run_line(self, line):
        """What a line prints, without its echo."""
        self.shell.sendline(line)
        output = self.prompt().replace('\r', '')
        return output.split('\n', 1)[1] if '\n' in output else output

    # ---- Beginning and end ----

    def test_the_banner_says_where_one_is(self):
        self.shell.close(force=True)
        self.shell = pexpect.spawn(options.etcdctl, ['--endpoints=' + self.server.client],
                                   env=dict(os.environ, HOME=self.home, TERM='xterm', LC_ALL='C.UTF-8'),
                                   encoding='utf8', timeout=PATIENCE)
        self.shell.expect(r'etcd 3\.\S+ · cluster [0-9a-f]+ · 1 member, leader m2')
        self.prompt()

    def test_control_d_leaves(self):
        self.shell.sendeof()
        self.shell.expect(pexpect.EOF)
        self.shell.close()
        self.assertEqual(self.shell.exitstatus, 0)

    def test_backslash_q_leaves_and_the_lines_are_remembered(self):
        self.run_line('get remembered-line')
        self.shell.sendline('\\q')
        self.shell.expect(pexpect.EOF)
        history = os.path.join(self.home, '.etcdctl_history')
        with open(history) as file:
            self.assertIn('get remembered-line\n', file.read())
        self.assertEqual(os.stat(history).st_mode & 0o777, 0o600)

    # ---- Commands ----

    def test_commands_run_one_after_the_other(self):
        self.assertEqual(self.run_line('put k "two words"'), 'OK\n')
        self.assertEqual(self.run_line('get k'), 'k\ntwo words\n')
        self.assertIn('Error: unknown command "nope"', self.run_line('nope'))
        self.assertIn('bad number of arguments', self.run_line('watch'))
        self.assertEqual(self.run_line("get k --print-value-only"), 'two words\n')

    def test_the_format_holds_until_it_is_changed(self):
        self.run_line('put k v')
        self.assertIn('format json', self.run_line('\\format json'))
        self.assertIn('"kvs":[{"key":"aw=="', self.run_line('get k'))
        self.assertEqual(self.run_line('get k -w simple'), 'k\nv\n')
        self.assertIn('format simple', self.run_line('\\format simple'))
        self.assertIn('there are the formats', self.run_line('\\format yaml'))

    def test_timing_is_shown_when_asked_for(self):
        self.assertIn('timing on', self.run_line('\\timing'))
        self.assertRegex(self.run_line('get k'), r'time: [0-9.]+(µs|ms|s)\n')

    def test_the_shells_own_commands_are_listed(self):
        listing = self.run_line('\\?')
        for name in ('\\timing', '\\format', '\\pager', '\\endpoints', '\\history', '\\q'):
            self.assertIn(name, listing)
        self.assertIn('there is no \\nope', self.run_line('\\nope'))

    def test_endpoints_are_shown_and_changed(self):
        self.assertEqual(self.run_line('\\endpoints').strip(), self.server.client)
        self.assertEqual(self.run_line('\\endpoints http://' + self.server.client).strip(),
                         'http://' + self.server.client)
        self.assertEqual(self.run_line('put k v'), 'OK\n')

    def test_a_keys_history_goes_back_to_its_creation(self):
        for value in ('one', 'two', 'three'):
            self.run_line('put h ' + value)
        lines = self.run_line('\\history h').splitlines()
        self.assertEqual(len(lines), 3)
        self.assertRegex(lines[0], r'^rev [0-9,]+  version 3   two → three$')
        self.assertRegex(lines[2], r'^rev [0-9,]+  version 1   one$')

    # ---- Completion ----

    def test_tab_completes_commands_flags_and_live_keys(self):
        self.run_line('put /config/flags/limits 1')
        self.shell.send('g\t')
        self.shell.expect('get ')
        self.shell.send('/config/fla\t')
        self.shell.expect('/config/flags/limits ')
        self.shell.send('--print\t')
        self.shell.expect('--print-value-only ')
        self.shell.sendline('')
        self.assertIn('1', self.prompt())

    def test_tab_lists_what_there_is(self):
        for name in ('beta', 'dark-mode', 'limits'):
            self.run_line('put /config/flags/%s 1' % name)
        self.shell.send('get /config/fla\t\t')
        self.shell.expect('/config/flags/beta +/config/flags/dark-mode +/config/flags/limits')
        self.shell.sendintr()
        self.prompt()

    # ---- Interrupts ----

    def test_control_c_stops_the_command_and_not_the_shell(self):
        self.shell.sendline('watch w')
        time.sleep(.7)
        self.etcdctl('put', 'w', 'seen')
        self.shell.expect('PUT\r\nw\r\nseen')
        self.shell.sendintr()
        self.prompt()
        self.assertEqual(self.run_line('put after c'), 'OK\n')

    def test_control_c_empties_the_line(self):
        self.shell.send('put half a li')
        self.shell.sendintr()
        self.prompt()
        self.assertEqual(self.run_line('put k v'), 'OK\n')

    # ---- Watches in the background ----

    def test_a_background_watch_prints_above_the_prompt(self):
        self.assertIn('watch 1 on /config… started', self.run_line('watch --prefix /config &'))
        self.shell.send('get unfin')
        time.sleep(.5)
        self.etcdctl('put', '/config/x', 'new')
        self.shell.expect(r'\[watch 1\] PUT /config/x new   rev [0-9,]+')
        # The line that was being typed is still there.
        self.shell.expect('get unfin')
        self.shell.sendline('ished')
        self.prompt()
        self.assertIn('watch --prefix /config &', self.run_line('\\watches'))
        self.run_line('\\unwatch 1')
        self.shell.expect(r'\[watch 1\] ended')

    # ---- Asking ----

    def test_deleting_a_range_asks_first(self):
        self.run_line('put d1 x')
        self.shell.sendline('del d --prefix')
        self.shell.expect(r'Delete all keys from "d" to "e"\? \[y/N\] ')
        self.shell.sendline('n')
        self.assertIn('not done', self.prompt())
        self.assertEqual(self.run_line('get d1'), 'd1\nx\n')
        self.shell.sendline('del d --prefix')
        self.shell.expect(r'\[y/N\] ')
        self.shell.sendline('y')
        self.assertIn('1', self.prompt())
        self.assertEqual(self.run_line('get d1'), '')
        # One key alone does not.
        self.assertEqual(self.run_line('del d1'), '0\n')

    # ---- Transactions ----

    def test_a_transaction_is_checked_shown_and_sent(self):
        self.run_line('put flag old')
        self.shell.sendline('txn -i')
        self.shell.expect('compares:')
        self.shell.sendline('value("flag") = "{"rps":500}"')
        self.shell.expect(r'✖ unexpected text after the value: use \\" inside quotes')
        self.shell.sendline('value("flag") = "old"')
        self.shell.sendline('')
        self.shell.expect('success requests')
        self.shell.sendline('putt flag new')
        self.shell.expect('✖ invalid txn request: putt flag new')
        self.shell.sendline('put flag new')
        self.shell.sendline('')
        self.shell.expect('failure requests')
        self.shell.sendline('get flag')
        self.shell.sendline('')
        self.shell.expect(r'if    value\("flag"\) = "old"\r\nthen  put flag \(3 bytes\)\r\nelse  get flag\r\n')
        self.shell.expect(r'send\? \[Y/n/e\] ')
        self.shell.sendline('y')
        self.assertIn('SUCCESS', self.prompt())
        self.assertEqual(self.run_line('get flag'), 'flag\nnew\n')

    def test_a_transaction_can_be_edited_or_dropped(self):
        self.shell.sendline('txn')
        self.shell.expect('compares:')
        self.shell.sendline('')
        self.shell.expect('success requests')
        self.shell.sendline('put t 1')
        self.shell.sendline('')
        self.shell.expect('failure requests')
        self.shell.sendline('')
        self.shell.expect(r'send\? ')
        self.shell.sendline('e')
        self.shell.expect('compares:')
        self.shell.sendline('')
        self.shell.expect('success requests')
        # The earlier line is offered again.
        self.shell.expect('put t 1')
        self.shell.sendline('2')
        self.shell.sendline('')
        self.shell.expect('failure requests')
        self.shell.sendline('')
        self.shell.expect(r'put t \(2 bytes\)')
        self.shell.expect(r'send\? ')
        self.shell.sendline('n')
        self.assertIn('not sent', self.prompt())
        self.assertEqual(self.run_line('get t'), '')


def main():
    global options
    parser = argparse.ArgumentParser()
    parser.add_argument('--etcdctl', default=os.environ.get('REPL_ETCDCTL', './etcdctl'))
    parser.add_argument('--etcd', default=os.environ.get('REPL_ETCD', './etcd'))
    options, rest = parser.parse_known_args()
    for program in (options.etcdctl, options.etcd):
        if not os.access(program, os.X_OK):
            print('skipped: there is no program %r' % program)
            return 77
    unittest.main(argv=sys.argv[:1] + rest, verbosity=1)
    return 0


if __name__ == '__main__':
    sys.exit(main())
