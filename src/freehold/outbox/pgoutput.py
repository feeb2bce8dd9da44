"""Read what PostgreSQL's logical replication says of the outbox table. Pure: bytes in, values out.

Source: PostgreSQL manual, "Streaming Replication Protocol" and "Logical Replication Message Formats", protocol version 1
with binary values. Only inserts into one table with known columns can come (schema/0001_outbox.sql), so a row is read
with four unpacks and no object per column: what a relay drains is bounded by this file.
"""

from __future__ import annotations

import struct

from freehold.errors import ConfigurationError
from freehold.event import OutboxRow

# A CopyData payload: its kind, and for log data start, end and send time before the message itself.
LOG_DATA = ord("w")
KEEPALIVE = ord("k")
MESSAGE_AT = 25
BEGIN = ord("B")
COMMIT = ord("C")
INSERT = ord("I")
RELATION = ord("R")

COLUMNS = ("key", "version", "index", "type", "headers", "data")
XID_BITS = 1 << 32

_keepalive = struct.Struct(">xqqB")
_begin = struct.Struct(">xqqI")
_commit = struct.Struct(">xBqqq")
# Kind and length of one value; then version, index and what comes before the type's bytes in one step.
_value = struct.Struct(">ci")
_numbers = struct.Struct(">ciqciici")
_FIRST_VALUE = 8
_status = struct.Struct(">cqqqqB")


def read_keepalive(payload: bytes | memoryview) -> tuple[int, bool]:
    """Read a keepalive: the end of the log as sent so far, and whether an answer is wanted at once."""
    wal_end, _sent_at, wants_reply = _keepalive.unpack_from(payload)
    return wal_end, bool(wants_reply)


def read_begin(payload: bytes | memoryview) -> int:
    """Read the transaction's number: the lower 32 bits of the top-level one."""
    _final_lsn, _committed_at, xid = _begin.unpack_from(payload, MESSAGE_AT)
    return int(xid)


def read_commit(payload: bytes | memoryview) -> int:
    """Read the position in the log after the commit."""
    _flags, _commit_lsn, end_lsn, _committed_at = _commit.unpack_from(payload, MESSAGE_AT)
    return int(end_lsn)


def read_insert(payload: memoryview) -> OutboxRow:
    """Read an inserted outbox row."""
    at = MESSAGE_AT + _FIRST_VALUE
    key_kind, length = _value.unpack_from(payload, at)
    at += 5
    key = str(payload[at : at + length], "utf-8")
    at += length
    version_kind, _, version, index_kind, _, index, _, length = _numbers.unpack_from(payload, at)
    if key_kind != b"b" or version_kind != b"b" or index_kind != b"b":
        raise ConfigurationError("PostgreSQL sends the outbox as text; Freehold asked for binary values")
    at += 27
    type_name = str(payload[at : at + length], "utf-8")
    at += length
    _, length = _value.unpack_from(payload, at)
    at += 5
    headers = bytes(payload[at : at + length])
    at += length
    _, length = _value.unpack_from(payload, at)
    at += 5
    return OutboxRow(key, version, index, type_name, headers, bytes(payload[at : at + length]))


def check_relation(payload: bytes | memoryview) -> None:
    """Check that the table in the log is the outbox as this file reads it.

    Raises:
        ConfigurationError: Its columns are others.
    """
    message = bytes(payload)[MESSAGE_AT + 5 :]
    schema, table, rest = message.split(b"\0", 2)
    count = struct.unpack_from(">H", rest, 1)[0]
    columns, rest = [], rest[3:]
    for _ in range(count):
        name, rest = rest[1:].split(b"\0", 1)
        columns.append(name.decode())
        rest = rest[8:]
    if (schema, table) != (b"freehold", b"outbox") or tuple(columns) != COLUMNS:
        raise ConfigurationError(
            f"the publication freehold_outbox carries {schema.decode()}.{table.decode()} ({', '.join(columns)}) instead of "
            f"freehold.outbox ({', '.join(COLUMNS)}); drop it and create it as freehold/0001_outbox.sql does"
        )


def format_status(position: int, now_us: int) -> bytes:
    """Write a standby status update: all before `position` may be forgotten.

    Args:
        position: Position in the log.
        now_us: Microseconds since 2000.
    """
    return _status.pack(b"r", position, position, position, now_us, 0)


class Visibility:
    """Which transactions a snapshot saw, by the 32-bit numbers in which the log names them.

    A number is extended to 64 bits by the newest that was met: commits that follow one another in the log are never half
    of the number space apart, however long the log is followed.
    """

    def __init__(self, snapshot: str) -> None:
        """Take a snapshot as `pg_current_snapshot()` writes it: xmin, xmax and those in progress between them."""
        xmin, xmax, in_progress = snapshot.split(":")
        self._xmin = int(xmin)
        self._xmax = int(xmax)
        self._in_progress = frozenset(int(xid) for xid in in_progress.split(",") if xid)
        self._newest = self._xmax

    def saw(self, xid: int) -> bool:
        """Say whether the snapshot held what this transaction wrote."""
        full = self._extend(xid)
        if full >= self._xmax:
            self._newest = max(self._newest, full)
            return False
        return full < self._xmin or full not in self._in_progress

    def _extend(self, xid: int) -> int:
        distance = (xid - self._newest) % XID_BITS
        if distance >= XID_BITS // 2:
            distance -= XID_BITS
        return self._newest + distance
