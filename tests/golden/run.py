#!/usr/bin/env python3
"""Replays transcripts of etcd's command line tools against a pair of client and server.

    run.py --client DIR --server FILE [--client-is ours|real] [--server-is ours|real] [GROUP ...]
    run.py --all [--client DIR] [--server FILE] [GROUP ...]

With --all every pair of ours with real ones of $ETCD35_BIN is run, one after the other. DIR holds etcdctl (and etcdutl; default: the current folder), FILE is an etcd server (default: ./etcd). The transcripts are
looked for in $GOLDEN_DIR (default: ../shared/golden/etcdctl beside the source tree); without them the script says so and
exits with 77 (automake: skipped). Groups run side by side; each starts its own servers on free loopback ports, runs its
cases in order and compares exit code, standard output and standard error with what the transcript has, after masking
what differs from run to run.

Where the pair may differ from the transcripts' etcd 3.5.30, a table beside this script says so, case by case, quoting
what is expected instead and why:

    v36.json          our client follows etcd 3.6
    server-ours.json  our server follows etcd 3.6
    server-3.5.json   a real server of another 3.5 release
    client-3.5.json   a real client of another 3.5 release
    scope.json        cases that are not run at all, with the reason; they are counted and listed ("auth/*": all of a group)

Exit code: 0 when nothing failed.
"""
import argparse
import base64
import concurrent.futures
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), os.pardir))
from ports import free_port  # noqa: E402
from wire import read_fields  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
SKIPPED = 77
CASE_SECONDS = 60
START_SECONDS = 20
# Programs that tell their own release: what the transcripts have in its place.
TRANSCRIPT_VERSION = '3.5.30'
GROUPS = ['kv', 'txn', 'watch', 'lease', 'endpoint', 'maintenance', 'errors', 'lock-elect', 'alarm', 'member', 'snapshot',
          'auth', 'seed']
LONG = ['watch', 'errors', 'endpoint', 'lock-elect']


class Mistake(Exception):
    """The run itself is wrong: a table that does not fit, a server that does not start."""


def load(path):
    with open(path, encoding='utf8') as file:
        return json.load(file)


# ---- Masks ----

class Masks:
    def __init__(self, table):
        self.table = table

    def apply(self, text, names):
        # Blanks first: their mask knows what stands before a comma, and no marks of other masks.
        for name in sorted(names, key=lambda name: name != 'json_ws'):
            if name.startswith('pb:'):
                continue
            if name == 'member_order':
                text = sort_members(text)
            elif name == 'keys_order':
                text = sort_keys(text)
            elif name.startswith('/') and name.endswith('/'):
                text = re.sub(name[1:-1], '<>', text, flags=re.M)
            elif name in self.table:
                for pattern, replacement in self.table[name]:
                    text = re.sub(pattern, replacement, text, flags=re.M)
            else:
                raise Mistake('there is no mask named ' + name)
        return text


def sort_members(text):
    """Members come in the order of their random ids."""
    if text.startswith('{'):
        value = json.loads(re.sub(r':(\$[A-Z0-9_]+|<>)', r':"\1"', text))
        value['members'] = sorted(value.get('members', []), key=lambda m: (m.get('name', ''), str(m.get('peerURLs'))))
        return json.dumps(value, separators=(',', ':')) + '\n'

    def sort_items(match):
        return match.group(1) + ','.join(sorted(match.group(2).split(',')))
    text = re.sub(r'^(ETCD_INITIAL_CLUSTER=")([^"]*)', sort_items, text, flags=re.M)
    return '\n'.join(sorted(text.split('\n')))


def sort_keys(text):
    """Keys attached to a lease come in no order."""
    text = re.sub(r'attached keys\(\[([^\]]*)\]\)',
                  lambda m: 'attached keys([%s])' % ' '.join(sorted(m.group(1).split())), text)
    text = re.sub(r'"keys":\[([^\]]*)\]', lambda m: '"keys":[%s]' % ','.join(sorted(m.group(1).split(','))), text)
    lines = text.split('\n')
    keys = iter(sorted(line for line in lines if line.startswith('"Key" : ')))
    return '\n'.join(next(keys) if line.startswith('"Key" : ') else line for line in lines)


# ---- Protobuf: messages compared but for some fields ----

def comparable_fields(data, masks):
    dropped = {name[3:] for name in masks if name.startswith('pb:')}
    fields = []
    for number, value in read_fields(data):
        if str(number) in dropped:
            continue
        if isinstance(value, bytes) and any(path.startswith('%d.' % number) for path in dropped):
            value = [(inner, item) for inner, item in read_fields(value) if '%d.%d' % (number, inner) not in dropped]
        fields.append((number, value))
    return fields


# ---- Deviations ----

class Deviations:
    """Tables of what this pair is expected to do otherwise."""

    def __init__(self, names, client_is, server_version):
        self.entries = {}
        for name in names:
            for case, list_of_entries in load(os.path.join(HERE, name)).items():
                for entry in list_of_entries:
                    if 'server' in entry and not server_version.startswith(entry['server']):
                        continue
                    if entry.get('client', client_is) != client_is:
                        continue
                    self.entries.setdefault(case, []).append(entry)

    def apply(self, group, case):
        name = group + '/' + case['name']
        if name not in self.entries:
            return case
        case = dict(case)
        for entry in self.entries[name]:
            if not entry.get('why'):
                raise Mistake('%s: a deviation without a reason' % name)
            for field in ('argv', 'exit', 'stdout', 'stderr', 'min_seconds', 'stdout_b64', 'stdin', 'env'):
                if field in entry:
                    case[field] = entry[field]
            for field in ('stdout', 'stderr'):
                for old, new in entry.get('edit_' + field, []):
                    if old not in case[field]:
                        raise Mistake('%s: the transcript has no %r to be replaced' % (name, old))
                    case[field] = case[field].replace(old, new)
            case['volatile'] = case.get('volatile', []) + entry.get('volatile', [])
            if 'volatile_instead' in entry:
                case['volatile'] = entry['volatile_instead']
        return case


# ---- Servers ----

class HeldPort:
    """A port that is bound but on which nobody listens."""

    def __init__(self):
        self.socket = socket.socket()
        self.socket.bind(('127.0.0.1', 0))
        self.address = '127.0.0.1:%d' % self.socket.getsockname()[1]

    def release(self):
        self.socket.close()


class Server:
    def __init__(self, program, arguments, folder):
        self.client, self.peer = ('127.0.0.1:%d' % free_port() for _ in range(2))
        self.log = os.path.join(folder, 'log')
        os.makedirs(folder)
        environment = {k: v for k, v in os.environ.items() if not k.startswith('ETCD')}
        command = [program, '--data-dir', os.path.join(folder, 'data'),
                   '--listen-client-urls', 'http://' + self.client, '--advertise-client-urls', 'http://' + self.client,
                   '--listen-peer-urls', 'http://' + self.peer,
                   '--initial-advertise-peer-urls', 'http://' + self.peer,
                   '--initial-cluster', 'default=http://' + self.peer] + arguments
        with open(self.log, 'wb') as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        self.wait_until_ready()

    def wait_until_ready(self):
        for _ in range(START_SECONDS * 20):
            if self.process.poll() is not None:
                break
            try:
                with urllib.request.urlopen('http://%s/health' % self.client, timeout=1) as answer:
                    if b'"true"' in answer.read():
                        return
            except OSError:
                pass
            time.sleep(.05)
        with open(self.log, errors='replace') as log:
            tail = log.read()[-2000:]
        self.stop()
        raise Mistake('the server does not get ready:\n' + tail)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


# ---- Running cases ----

class Player:
    def __init__(self, client, servers, scratch, masks, versions):
        self.client = client
        self.versions = versions
        self.scratch = scratch
        self.masks = masks
        self.held = [HeldPort(), HeldPort()]
        self.variables = {'EP': servers[0].client, 'PEER': servers[0].peer, 'TMP': scratch,
                          'DEAD': self.held[0].address, 'BADPEER': self.held[1].address}
        if len(servers) > 1:
            self.variables['EP2'] = servers[1].client
        self.learn_ids()

    def close(self):
        for port in self.held:
            port.release()

    def learn_ids(self):
        """By the client under test: not every server has a JSON gateway."""
        process = self.start(['etcdctl', '--endpoints=$EP', 'endpoint', 'status', '-w', 'json'], None)
        output, errors = process.communicate(b'', timeout=CASE_SECONDS)
        if process.returncode != 0:
            raise Mistake('endpoint status fails: ' + errors.decode('utf8', 'replace'))
        header = json.loads(output)[0]['Status']['header']
        for name, key in (('CID', 'cluster_id'), ('MID', 'member_id')):
            value = int(header[key])
            self.variables[name], self.variables[name + '_DEC'] = '%x' % value, str(value)

    def environment(self, extra):
        environment = {k: v for k, v in os.environ.items() if not k.startswith('ETCD')}
        environment.update(PATH=self.client + ':' + environment['PATH'], LC_ALL='C.UTF-8', TZ='UTC')
        environment.update({k: self.fill_in(v) for k, v in (extra or {}).items()})
        return environment

    def fill_in(self, text):
        for name in sorted(self.variables, key=len, reverse=True):
            text = text.replace('$' + name, self.variables[name])
        return text

    def take_out(self, text):
        # Ids are printed sixteen wide: blanks stand for leading zeros.
        text = re.sub(r'\b(Member|cluster) +(?=[0-9a-f]{9,15}\b)', r'\1 ', text)
        for version in self.versions:
            text = re.sub(r'\b%s\b' % re.escape(version), TRANSCRIPT_VERSION, text)
        for name, value in sorted(self.variables.items(), key=lambda item: -len(item[1])):
            if len(value) >= 6:
                text = text.replace(value, '$' + name)
        # A lease's id that is small by chance has so few digits that the mask of hexadecimal ids would take it.
        return re.sub(r'("lease":|"Lease" : |"ID":|"ID" : )[0-9]{12,16}\b', r'\g<1>1000000000000000000', text)

    def capture(self, patterns, text):
        for name, pattern in (patterns or {}).items():
            match = re.search(pattern, text)
            if not match:
                continue
            self.variables[name] = match.group(1)
            if re.fullmatch('[0-9a-f]{9,16}', match.group(1)):
                self.variables[name + '_DEC'] = str(int(match.group(1), 16))

    def start(self, argv, extra_environment):
        argv = [self.fill_in(word) for word in argv]
        if argv[0] in ('etcdctl', 'etcdutl'):
            argv[0] = os.path.join(self.client, argv[0])
        return subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                env=self.environment(extra_environment), cwd=self.scratch)

    def input_of(self, case):
        if 'stdin_repeat' in case:
            return (case['stdin_repeat'][0] * case['stdin_repeat'][1]).encode()
        if 'stdin_b64' in case:
            return base64.b64decode(case['stdin_b64'])
        return self.fill_in(case.get('stdin', '')).encode()

    def run_in_foreground(self, process, data):
        try:
            return process.communicate(data, timeout=CASE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.communicate()

    def run_in_background(self, process, data, case, problems):
        plan = case['background']
        outputs = [bytearray(), bytearray()]

        def drain(file, output):
            while True:
                chunk = os.read(file.fileno(), 65536)
                if not chunk:
                    return
                output.extend(chunk)
        threads = [threading.Thread(target=drain, args=pair)
                   for pair in ((process.stdout, outputs[0]), (process.stderr, outputs[1]))]
        for thread in threads:
            thread.start()
        self.feed(process, data, plan)
        time.sleep(plan['start_wait_ms'] / 1000)
        for step in plan['during']:
            self.run_step(step, case, problems)
        time.sleep(plan['end_wait_ms'] / 1000)
        if plan.get('end') == 'eof':
            process.stdin.close()
        elif plan.get('end') != 'exit' and process.poll() is None:
            process.send_signal(getattr(signal, 'SIG' + plan['signal']))
        try:
            process.wait(CASE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for thread in threads:
            thread.join()
        return bytes(outputs[0]), bytes(outputs[1])

    @staticmethod
    def feed(process, data, plan):
        gap = plan.get('line_gap_ms', 0)
        try:
            for piece in data.splitlines(True) if gap else [data]:
                process.stdin.write(piece)
                process.stdin.flush()
                time.sleep(gap / 1000)
            if not plan.get('stdin_open'):
                process.stdin.close()
        except BrokenPipeError:
            pass

    def run_step(self, step, case, problems):
        if 'sleep_ms' in step:
            time.sleep(step['sleep_ms'] / 1000)
            return
        process = self.start(step['argv'], None)
        output, _ = process.communicate(self.fill_in(step.get('stdin', '')).encode(), timeout=30)
        text = output.decode('utf8', 'replace')
        self.capture(step.get('capture'), text)
        if process.returncode != step['exit']:
            problems.append('step %s: exit %d, expected %d' % (step['argv'], process.returncode, step['exit']))
        if 'stdout' in step:
            self.compare('step stdout', self.take_out(text), step['stdout'], case.get('volatile', []), problems)
        time.sleep(.15)

    def compare(self, what, actual, expected, masks, problems):
        actual, expected = self.masks.apply(actual, masks), self.masks.apply(expected, masks)
        if actual != expected:
            problems.append('%s\n      got      %r\n      expected %r' % (what, actual, expected))

    def run(self, case):
        problems = []
        begin = time.monotonic()
        process = self.start(case['argv'], case.get('env'))
        data = self.input_of(case)
        if 'background' in case:
            output, errors = self.run_in_background(process, data, case, problems)
        else:
            output, errors = self.run_in_foreground(process, data)
        if time.monotonic() - begin < case.get('min_seconds', 0):
            problems.append('took less than %s s' % case['min_seconds'])
        self.check_exit(process.returncode, case['exit'], problems)
        self.check_output(output, case, problems)
        self.compare('stderr', self.take_out(errors.decode('utf8', 'replace')), case.get('stderr') or '',
                     case.get('volatile', []) + ['log_line'], problems)
        return problems

    @staticmethod
    def check_exit(code, expected, problems):
        actual = code if code >= 0 else 'signal:' + signal.Signals(-code).name[3:]
        # Catching a signal and exiting with 128 + its number is as good as dying by it.
        if str(expected).startswith('signal:') and code == 128 + getattr(signal, 'SIG' + expected[7:]):
            actual = expected
        if actual != expected:
            problems.append('exit %s, expected %s' % (actual, expected))

    def check_output(self, output, case, problems):
        text = output.decode('utf8', 'replace')
        self.capture(case.get('capture'), text)
        masks = case.get('volatile', [])
        if 'pb_type' in case:
            try:
                good = (comparable_fields(output, masks) ==
                        comparable_fields(base64.b64decode(case['stdout_b64']), masks))
            except (ValueError, IndexError):
                good = False
            if not good:
                problems.append('protobuf message: got %s' % base64.b64encode(output).decode())
        elif case.get('stdout') is not None:
            self.compare('stdout', self.take_out(text), case['stdout'], masks, problems)
        widths = {len(line) for line in text.splitlines() if line[:1] in ('+', '|', '┌', '│', '├', '└')}
        if 'table' in masks and len(widths) > 1:
            problems.append('the lines of the table are not equally wide')


# ---- Groups ----

class Run:
    def __init__(self, options, golden):
        self.options = options
        self.golden = golden
        self.groups_table = load(os.path.join(golden, 'groups.json'))
        self.masks = Masks(load(os.path.join(golden, 'masks.json')))
        self.server_version = self.version_of([options.server, '--version'], 'etcd Version')
        self.client_version = self.version_of([os.path.join(options.client, 'etcdctl'), 'version'], 'etcdctl version')
        tables = []
        if options.client_is == 'ours':
            tables.append('v36.json')
        else:
            tables.append('client-3.5.json')
        tables.append('server-ours.json' if options.server_is == 'ours' else 'server-3.5.json')
        self.deviations = Deviations(tables, options.client_is, self.server_version)
        scope = load(os.path.join(HERE, 'scope.json'))
        self.scope = {**scope['client ' + options.client_is], **scope['server ' + options.server_is]}
        self.seen = set()

    @staticmethod
    def version_of(command, label):
        text = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        match = re.search(label + r': (\S+)', text)
        if not match:
            raise Mistake('%s says no version' % ' '.join(command))
        return match.group(1)

    def cases_of(self, group):
        with open(os.path.join(self.golden, self.groups_table[group]['file']), encoding='utf8') as file:
            return [json.loads(line) for line in file if line.strip()]

    def play_group(self, group):
        begin = time.monotonic()
        if group + '/*' in self.scope:
            names = [group + '/' + case['name'] for case in self.cases_of(group)]
            self.seen.update(names, [group + '/*'])
            return 0, [self.summary(group, 0, 0, len(names), begin), '               all: ' + self.scope[group + '/*']]
        table = self.groups_table[group]
        arguments = table['server_args']
        if not self.server_version.startswith('3.5'):
            arguments = table.get('server_args_36', arguments)
        folder = tempfile.mkdtemp(prefix='golden-')
        servers, player = [], None
        try:
            servers.append(Server(self.options.server, arguments, os.path.join(folder, 'server')))
            if 'second_server' in table:
                servers.append(Server(self.options.server, arguments, os.path.join(folder, 'server2')))
            scratch = os.path.join(folder, 'scratch')
            os.makedirs(scratch)
            player = Player(self.options.client, servers, scratch, self.masks,
                            {self.server_version, self.client_version})
            return self.play_cases(group, player, begin)
        finally:
            if player:
                player.close()
            for server in servers:
                server.stop()
            shutil.rmtree(folder, ignore_errors=True)

    @staticmethod
    def summary(group, passed, failed, left_out, begin):
        return '%-12s %3d passed  %3d failed  %3d out of scope  %3d s' % (group, passed, failed, left_out,
                                                                          time.monotonic() - begin)

    def play_cases(self, group, player, begin):
        passed, failed, left_out, report = 0, 0, [], []
        for case in self.cases_of(group):
            name = group + '/' + case['name']
            self.seen.add(name)
            if name in self.scope:
                left_out.append(case['name'])
                continue
            problems = player.run(self.deviations.apply(group, case))
            if problems:
                failed += 1
                report.append('  FAIL %s  %s' % (name, ' '.join(case['argv'])[:100]))
                report += ['    ' + problem for problem in problems]
            else:
                passed += 1
                if self.options.verbose:
                    report.append('  ok   ' + name)
        report.append(self.summary(group, passed, failed, len(left_out), begin))
        report += ['               %s: %s' % (name, self.scope[group + '/' + name]) for name in left_out]
        return failed, report

    def check_tables(self, groups):
        """A deviation or an exception that names no case is a mistake in the tables."""
        names = [name for name in list(self.scope) + list(self.deviations.entries)
                 if name.split('/')[0] in groups and name not in self.seen]
        if names:
            raise Mistake('the tables name cases that are not there: ' + ', '.join(sorted(names)))

    def play(self, groups):
        failed = 0
        print('== %s etcdctl %s, %s etcd %s' % (self.options.client_is, self.client_version,
                                                self.options.server_is, self.server_version))
        with concurrent.futures.ThreadPoolExecutor(self.options.jobs) as pool:
            # The longest ones first.
            order = sorted(groups, key=lambda group: LONG.index(group) if group in LONG else len(LONG))
            for future in concurrent.futures.as_completed([pool.submit(self.play_group, group) for group in order]):
                failures, report = future.result()
                failed += failures
                print('\n'.join(report))
                sys.stdout.flush()
        self.check_tables(groups)
        return 1 if failed else 0


def program_missing(options):
    if not os.path.exists(os.path.join(options.client, 'etcdctl')):
        return 'no etcdctl at --client=%r' % options.client
    if not os.path.exists(options.server):
        return 'no etcd at --server=%r' % options.server
    return None


def pairs(options):
    """What is to be run: one pair, or all that can be made of ours and the real ones."""
    if not options.all:
        return [options]
    real = os.environ.get('ETCD35_BIN')
    if not real:
        print('only our own: ETCD35_BIN names no folder with a real etcd 3.5')
    result = []
    for client_is in ('ours', 'real') if real else ('ours',):
        for server_is in ('ours', 'real') if real else ('ours',):
            pair = argparse.Namespace(**vars(options))
            pair.client_is, pair.server_is = client_is, server_is
            if client_is == 'real':
                pair.client = os.path.abspath(real)
            if server_is == 'real':
                pair.server = os.path.abspath(os.path.join(real, 'etcd'))
            result.append(pair)
    return result


def main():
    parser = argparse.ArgumentParser(description='Replays transcripts of etcdctl.')
    parser.add_argument('--client', default=os.environ.get('GOLDEN_CLIENT', '.'), help='folder with etcdctl')
    parser.add_argument('--server', default=os.environ.get('GOLDEN_SERVER', './etcd'), help='the etcd program')
    parser.add_argument('--client-is', choices=['ours', 'real'], default=os.environ.get('GOLDEN_CLIENT_IS', 'ours'))
    parser.add_argument('--server-is', choices=['ours', 'real'], default=os.environ.get('GOLDEN_SERVER_IS', 'ours'))
    parser.add_argument('-j', '--jobs', type=int, default=8, help='groups that run side by side')
    parser.add_argument('--all', action='store_true', help='every pair of ours and of $ETCD35_BIN')
    parser.add_argument('-v', '--verbose', action='store_true')
    parser.add_argument('groups', nargs='*', help='default: ' + ' '.join(GROUPS))
    options = parser.parse_args()
    golden = os.environ.get('GOLDEN_DIR', os.path.join(HERE, '..', '..', '..', 'shared', 'golden', 'etcdctl'))
    if not os.path.exists(os.path.join(golden, 'groups.json')):
        print('skipped: no transcripts at GOLDEN_DIR=%r' % golden)
        return SKIPPED
    missing = program_missing(options)
    if missing:
        print('skipped: ' + missing)
        return SKIPPED
    options.client, options.server = os.path.abspath(options.client), os.path.abspath(options.server)
    # A handler of ours becomes the default in what we start, even when we were started with the signal ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return max([Run(pair, golden).play(options.groups or GROUPS) for pair in pairs(options)])
    except Mistake as mistake:
        print('cannot go on: %s' % mistake)
        return 2


if __name__ == '__main__':
    sys.exit(main())
