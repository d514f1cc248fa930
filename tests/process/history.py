"""What a history of events implies: the rows that it leaves in the store, and HashKV over them.

A history is the list of events of one watch from the beginning. Rows are etcd's: under the 17 bytes of a revision (main, '_',
sub) the encoded KeyValue of a put; with a 't' appended the bare key of a deletion. The hash is CRC-32C over "key" and every
row, key and value, in order; of what a compaction left only what is still visible counts.
"""
import struct

from etcd3.etcdrpc import kv_pb2

PUT, DELETE = kv_pb2.Event.PUT, kv_pb2.Event.DELETE


def _table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = n >> 1 ^ (0x82F63B78 if n & 1 else 0)
        table.append(n)
    return table


TABLE = _table()


def crc32c(data, crc=0):
    table = TABLE
    crc ^= 0xFFFFFFFF
    for byte in data:
        crc = table[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


assert crc32c(b"123456789") == 0xE3069283


class Inconsistent(Exception):
    pass


class History:
    """Takes events in order, checks each against the state that the earlier ones made, and keeps rows and state."""

    def __init__(self):
        self.revision = 1
        self.sub = -1
        self.compacted = -1
        self.live = {}       # key: KeyValue
        self.rows = []       # (main, sub, is deletion, key, bytes of the row)
        self.by_revision = {}
        self.crc = crc32c(b"key")
        self.hashed = 0      # rows of a never compacted history that self.crc covers

    def add(self, event):
        kv = event.kv
        main = kv.mod_revision
        if main == self.revision:
            self.sub += 1
        elif main == self.revision + 1:
            self.revision, self.sub = main, 0
        else:
            raise Inconsistent(f"revision {main} follows {self.revision}")
        before = self.live.get(kv.key)
        if event.type == DELETE:
            if before is None:
                raise Inconsistent(f"{kv.key!r}, deleted at {main}, was not there")
            del self.live[kv.key]
            row = kv_pb2.KeyValue(key=kv.key).SerializeToString()
        else:
            version, created = (1, main) if before is None else (before.version + 1, before.create_revision)
            if (kv.version, kv.create_revision) != (version, created):
                raise Inconsistent(f"{kv.key!r} at {main}: version {kv.version}, created {kv.create_revision}; "
                                   f"its history says {version}, {created}")
            self.live[kv.key] = kv
            row = kv.SerializeToString()
        suffix = b"t" if event.type == DELETE else b""
        self.rows.append((main, self.sub, event.type == DELETE, kv.key,
                          struct.pack(">QcQ", main, b"_", self.sub) + suffix + row))
        self.by_revision.setdefault(main, []).append(event)

    def compact(self, revision):
        """Removes what compaction at `revision` removes: all but each key's newest row at or below it, which stays when
        it is a put, or a deletion at that very revision."""
        newest = {}
        for row in self.rows:
            if row[0] <= revision:
                newest[row[3]] = row
        kept = {row[:2] for row in newest.values() if not row[2] or row[0] == revision}
        self.rows = [row for row in self.rows if row[0] > revision or row[:2] in kept]
        self.compacted = revision

    def hash(self):
        """HashKV at the newest revision."""
        if self.compacted < 0:
            self.crc = crc32c(b"".join(row[4] for row in self.rows[self.hashed:]), self.crc)
            self.hashed = len(self.rows)
            return self.crc
        # Of the rows at or below the compaction only those count that are still their keys' newest.
        keep = {(kv.mod_revision, key) for key, kv in self.live.items()}
        crc = crc32c(b"key")
        for main, _, deletion, key, data in self.rows:
            if main > self.compacted or not keep or (main, key) in keep:
                crc = crc32c(data, crc) if not (deletion and main == self.compacted) else crc
        return crc
