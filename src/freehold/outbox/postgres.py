"""A PostgreSQL store's outbox, read in commit order: one sweep of the table, then its logical replication slot.

How the two join (decision 3). The slot stands before the sweep's snapshot is taken, so every transaction is in the
snapshot, or in the log behind the slot, or in both. The log names each transaction by its number and the snapshot says
which numbers it saw: those are left out of the log, and nothing else is. A transaction that is neither was acknowledged
by an earlier relay, since only acknowledged positions are confirmed to the slot.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import tuple_row

from freehold.errors import ConfigurationError, StoreUnavailable
from freehold.event import OutboxRow
from freehold.outbox import CHUNK_ROWS, Chunk
from freehold.outbox.pgoutput import (
    BEGIN,
    COMMIT,
    INSERT,
    KEEPALIVE,
    MESSAGE_AT,
    RELATION,
    Visibility,
    check_relation,
    read_begin,
    read_commit,
    read_insert,
    read_keepalive,
)
from freehold.outbox.postgres_lease import RelayLease
from freehold.outbox.postgres_stream import PUBLICATION, ReplicationStream, connection_settings

# For each of a relay's connections. Without deadlines of the server's own: a sweep waits for the topic, however long
# that is away. A deletion that a crash undoes is only repeated, so it need not wait for the disk. Whatever the
# statistics of a table that is now empty and now full say: by the primary key, and without sorting first.
SESSION_OPTIONS = (
    "-c statement_timeout=0",
    "-c idle_in_transaction_session_timeout=0",
    "-c lock_timeout=30s",
    "-c synchronous_commit=off",
    "-c enable_seqscan=off",
    "-c enable_hashjoin=off",
    "-c enable_mergejoin=off",
    "-c enable_sort=off",
    "-c jit=off",
)
# Messages between two looks at the clock and the lease, when none of them is a row that is wanted.
MESSAGES_AT_ONCE = 20_000
# How long a former holder's connections are waited for after they were ended.
SLOT_FREE_TIMEOUT_S = 10.0
# A slot that is further behind is made anew: the sweep has all that it missed, and reading so much log only to leave out
# what was swept would hold up what is new.
SLOT_BEHIND_BYTES_MAX = 64 * 1024 * 1024
# A commit is in the log a moment before other transactions see it: rows that a deletion did not find are tried again.
UNSEEN_FOR_S = 30.0
UNSEEN_BATCHES_MAX = 1_000

_DELETE = """
DELETE FROM freehold.outbox AS o USING unnest(%s::text[], %s::bigint[], %s::integer[]) AS sent (key, version, index)
WHERE o.key = sent.key AND o.version = sent.version AND o.index = sent.index
"""
# This connection does not wait for the disk, and this one statement of it does.
_RAISE_TALLY = """
UPDATE freehold.store SET tally = tally + 1
FROM set_config('synchronous_commit', 'on', true)
RETURNING tally
"""
_SWEEP = "SELECT key, version, index, type, headers, data FROM freehold.outbox ORDER BY key, version, index"


class PostgresOutbox:
    """Fill `freehold.outbox.StoreOutbox` for a PostgreSQL store.

    Args:
        url: The service's own database, with its own credentials; the role needs REPLICATION.
        service: The service's name; its slot is `freehold_<service>`.
    """

    def __init__(self, url: str, service: str) -> None:
        self._url = url
        self._service = service
        self._slot = f"freehold_{service}"
        self._application = f"freehold {service} relay"
        self._control: psycopg.Connection | None = None
        self._reader: psycopg.Connection | None = None
        self._stream: ReplicationStream | None = None
        self._lease: RelayLease | None = None
        self._visibility = Visibility("0:0:")
        self._rows: list[OutboxRow] = []
        self._position: int | None = None
        self._is_skipping = False
        self._in_flight = 0
        self._unseen: deque[tuple[float, int, list[OutboxRow]]] = deque(maxlen=UNSEEN_BATCHES_MAX)

    def open(self) -> bool:
        """Take the lease, make sure of the slot, and fix the sweep's snapshot; see `OutboxSource.open`."""
        self.close()
        try:
            self._control = self._connect(f"{self._application} lease")
            lease = RelayLease(self._control, self._service)
            if not lease.take():
                self.close()
                return False
            self._lease = lease
            self._check_server()
            self._end_former_holder()
            self._join_log(lease)
        except psycopg.Error as error:
            self.close()
            raise StoreUnavailable(f"the outbox of {self._service} cannot be opened: {error}") from error
        except BaseException:
            self.close()
            raise
        return True

    def sweep(self) -> Iterator[Chunk]:
        """Hand over all committed rows that are there now; see `OutboxSource.sweep`."""
        reader, lease, stream = self._open_parts()
        try:
            with reader.cursor(name="sweep", binary=True, row_factory=tuple_row) as cursor:
                cursor.execute(_SWEEP)
                while rows := cursor.fetchmany(CHUNK_ROWS):
                    lease.renew()
                    stream.keep_alive()
                    yield Chunk([OutboxRow(*row) for row in rows])
            reader.close()
        except psycopg.Error as error:
            raise StoreUnavailable(f"the sweep of the outbox of {self._service} broke: {error}") from error

    def follow(self, wait_s: float) -> Chunk | None:
        """Hand over the next rows of the log; see `OutboxSource.follow`."""
        _, lease, stream = self._open_parts()
        give_up_at = time.monotonic() + wait_s
        try:
            while True:
                lease.renew()
                self._delete_unseen()
                chunk = self._read_chunk(stream)
                if chunk is not None:
                    return chunk
                left_s = give_up_at - time.monotonic()
                if left_s <= 0 or not stream.receive(left_s):
                    stream.keep_alive()
                    return None
        except psycopg.Error as error:
            raise StoreUnavailable(f"the relay of {self._service} lost its store: {error}") from error
        except StoreUnavailable:
            # Whoever took the lease has ended our stream: then that is the reason to give.
            self._check_not_fenced(lease)
            raise

    def acknowledge(self, rows: list[OutboxRow], position: Any) -> None:
        """Delete the rows and confirm the position; see `OutboxSource.acknowledge`."""
        _, lease, stream = self._open_parts()
        try:
            lease.renew()
            self._delete_unseen()
            missing = len(rows) - self._delete(rows)
            if missing:
                self._unseen.append((time.monotonic() + UNSEEN_FOR_S, missing, rows))
        except psycopg.Error as error:
            raise StoreUnavailable(f"sent rows of {self._service} could not be deleted: {error}") from error
        self._in_flight -= len(rows)
        if position is not None:
            stream.confirm(position)

    def epoch(self) -> int:
        """Give the store's epoch as it is now."""
        try:
            (epoch,) = self._fetch("SELECT epoch FROM freehold.store")
        except psycopg.Error as error:
            raise StoreUnavailable(f"the epoch of {self._service} cannot be read: {error}") from error
        return int(epoch)

    def tally(self) -> int:
        """Give how often the tally was raised; see `StoreOutbox.tally`."""
        try:
            (tally,) = self._fetch("SELECT tally FROM freehold.store")
        except psycopg.Error as error:
            raise StoreUnavailable(f"the tally of {self._service} cannot be read: {error}") from error
        return int(tally)

    def raise_tally(self) -> int:
        """Raise the tally durably; see `StoreOutbox.raise_tally`."""
        try:
            (tally,) = self._fetch(_RAISE_TALLY)
        except psycopg.Error as error:
            raise StoreUnavailable(f"the tally of {self._service} cannot be raised: {error}") from error
        return int(tally)

    def close(self) -> None:
        """Give the lease back and let go of the connections; idempotent."""
        if self._stream is not None:
            self._stream.close()
        with contextlib.suppress(psycopg.Error):
            if self._lease is not None:
                self._lease.give_back()
        for connection in (self._reader, self._control):
            if connection is not None:
                connection.close()
        self._control = self._reader = self._stream = self._lease = None
        self._rows, self._position, self._is_skipping, self._in_flight = [], None, False, 0
        self._unseen.clear()

    def _read_chunk(self, stream: ReplicationStream) -> Chunk | None:
        """Take what is here, up to a chunk; None when that was no row."""
        rows = self._rows
        for _ in range(MESSAGES_AT_ONCE):
            payload = stream.read()
            if payload is None:
                break
            if payload[0] == KEEPALIVE:
                self._answer(stream, payload)
            elif payload[MESSAGE_AT] != INSERT:
                self._turn(payload)
            elif not self._is_skipping:
                rows.append(read_insert(payload))
                if len(rows) >= CHUNK_ROWS:
                    break
        if not rows:
            return None
        # In the midst of a transaction the position is that of the commit before it, or nothing.
        chunk = Chunk(rows, self._position)
        self._rows, self._position = [], None
        self._in_flight += len(rows)
        return chunk

    def _turn(self, payload: memoryview) -> None:
        """Take note of a transaction's begin or end, or of the table's form."""
        kind = payload[MESSAGE_AT]
        if kind == BEGIN:
            self._is_skipping = self._visibility.saw(read_begin(payload))
        elif kind == COMMIT:
            self._position = read_commit(payload)
        elif kind == RELATION:
            check_relation(payload)

    def _answer(self, stream: ReplicationStream, payload: memoryview) -> None:
        wal_end, wants_reply = read_keepalive(payload)
        if self._in_flight == 0 and not self._rows:
            # All that was sent is acknowledged: what other databases wrote since need not be held for us.
            stream.confirm(wal_end)
        elif wants_reply:
            stream.send_status()

    def _delete(self, rows: list[OutboxRow]) -> int:
        if self._control is None or not rows:
            return 0
        parameters = ([row.key for row in rows], [row.version for row in rows], [row.index for row in rows])
        return self._control.execute(_DELETE, parameters, binary=True).rowcount

    def _delete_unseen(self) -> None:
        """Try again what a deletion did not find, until it is sure to have been deleted: rows appear one by one."""
        for _ in range(len(self._unseen)):
            give_up_at, missing, rows = self._unseen.popleft()
            missing -= self._delete(rows)
            if missing and time.monotonic() < give_up_at:
                self._unseen.append((give_up_at, missing, rows))

    def _connect(self, application: str) -> psycopg.Connection:
        return psycopg.connect(
            self._url, autocommit=True, options=" ".join(SESSION_OPTIONS), **connection_settings(application)
        )

    def _check_server(self) -> None:
        row = self._fetch(
            "SELECT current_setting('wal_level'), (SELECT rolreplication OR rolsuper FROM pg_roles"
            " WHERE rolname = current_user), pg_is_in_recovery(),"
            " EXISTS (SELECT FROM pg_publication WHERE pubname = %s)",
            PUBLICATION,
        )
        wal_level, may_replicate, is_standby, has_publication = row
        if is_standby:
            raise StoreUnavailable(f"the store of {self._service} is a standby; its relay needs the primary")
        if wal_level != "logical":
            raise ConfigurationError(
                f"PostgreSQL has wal_level = {wal_level}; set it to logical and restart the server"
            )
        if not may_replicate:
            raise ConfigurationError(f"the role of {self._service} lacks REPLICATION; ALTER ROLE ... REPLICATION")
        if not has_publication:
            raise ConfigurationError(
                f"the publication {PUBLICATION} is gone; create it as freehold/0001_outbox.sql does"
            )

    def _end_former_holder(self) -> None:
        """End the stream and the sweep of whoever held the lease before: it may be stopped and hold the slot."""
        give_up_at = time.monotonic() + SLOT_FREE_TIMEOUT_S
        while self._fetch(
            "SELECT count(*), count(pg_terminate_backend(pid)) FROM pg_stat_activity"
            " WHERE application_name = %s AND datname = current_database() AND usename = current_user",
            self._application,
        )[0]:
            if time.monotonic() > give_up_at:
                raise StoreUnavailable(f"the former relay of {self._service} does not let go of the slot {self._slot}")
            time.sleep(0.01)

    def _join_log(self, lease: RelayLease) -> None:
        """Make the slot if it must be, fix the snapshot behind it, and let the log flow."""
        self._stream = ReplicationStream(self._url, self._application)
        snapshot = ""
        if not self._has_slot():
            snapshot = self._stream.create_slot(self._slot, lease.renew)
        self._reader = self._connect(self._application)
        self._reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        if snapshot:
            self._reader.execute(sql.SQL("SET TRANSACTION SNAPSHOT {}").format(snapshot))
        (snapshot_text,) = self._reader.execute("SELECT pg_current_snapshot()::text").fetchone() or ("0:0:",)
        self._visibility = Visibility(snapshot_text)
        self._stream.start(self._slot, lease.renew)

    def _has_slot(self) -> bool:
        """Say whether the slot can be followed; one that the server gave up, or that is far behind, is dropped."""
        row = self._fetch(
            "SELECT max(database), max(plugin), coalesce(bool_or(wal_status = 'lost'"
            " OR to_jsonb(s) ->> 'invalidation_reason' IS NOT NULL"
            " OR pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn) > %s), false), current_database()"
            " FROM pg_replication_slots AS s WHERE slot_name = %s",
            SLOT_BEHIND_BYTES_MAX,
            self._slot,
        )
        database, plugin, is_lost, own_database = row
        if database is None:
            return False
        if (database, plugin) != (own_database, "pgoutput"):
            raise ConfigurationError(
                f"the replication slot {self._slot} belongs to {database} with {plugin}; give this service another name, "
                f"or drop that slot"
            )
        if is_lost:
            self._fetch("SELECT pg_drop_replication_slot(%s)", self._slot)
        return not is_lost

    def _check_not_fenced(self, lease: RelayLease) -> None:
        with contextlib.suppress(psycopg.Error):
            lease.check()

    def _fetch(self, query: LiteralString, *parameters: Any) -> tuple[Any, ...]:
        """Run a statement that has one row, on the control connection."""
        if self._control is None:
            raise StoreUnavailable(f"the outbox of {self._service} is not open")
        row = self._control.execute(query, parameters).fetchone()
        return row if row is not None else ()

    def _open_parts(self) -> tuple[psycopg.Connection, RelayLease, ReplicationStream]:
        if self._reader is None or self._lease is None or self._stream is None:
            raise StoreUnavailable(f"the outbox of {self._service} is not open; open it before it is read")
        return self._reader, self._lease, self._stream
