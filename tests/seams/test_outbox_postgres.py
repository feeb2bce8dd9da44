"""PostgreSQL's outbox: the suite, and what only a slot and its transactions can do."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from freehold.errors import ConfigurationError, FencedError, PeerError
from freehold.event import OutboxRow
from freehold.outbox import CHUNK_ROWS, Chunk, postgres
from freehold.outbox.postgres import PostgresOutbox
from freehold.outbox.postgres_lease import LEASE_S
from freehold.testing import Servers
from tests.seams import relay_process
from tests.seams.on_postgres import OnPostgres
from tests.seams.outbox_suite import LIMIT_S, OutboxSuite, follow, follow_until, follow_with_position, place, sweep
from tests.seams.suite import InPostgres

INSERT = (
    "INSERT INTO freehold.outbox (key, version, index, type, headers, data) VALUES (%s, %s, %s, 'users.Test', '', '{}')"
)


class TestPostgresOutbox(InPostgres, OutboxSuite):
    """The suite."""


class TestPostgresLog(InPostgres):
    """Interleavings by hand: transactions of the test's own, each on its own connection."""

    @pytest.fixture
    async def store(self, url: str, service: str) -> Any:
        store = self.product.make_store()
        await store.open(url, service=service, publishes=())
        await store.migrate()
        yield store
        await store.close()

    @pytest.fixture
    def source(self, url: str, service: str, store: Any) -> Iterator[PostgresOutbox]:
        source = PostgresOutbox(url, service)
        yield source
        source.close()

    @pytest.fixture
    def begin(self, url: str, store: Any) -> Iterator[Callable[[], psycopg.Connection]]:
        connections = []

        def make() -> psycopg.Connection:
            connections.append(psycopg.connect(url))
            return connections[-1]

        yield make
        for connection in connections:
            connection.close()

    def test_row_that_was_uncommitted_at_the_sweep_comes_by_the_log(
        self, source: PostgresOutbox, begin: Callable[[], psycopg.Connection]
    ) -> None:
        assert source.open()
        source.close()
        slow, fast = begin(), begin()
        insert(slow, "user/slow", 1)
        insert(fast, "user/fast", 1)
        fast.commit()

        assert source.open()
        rows = sweep(source)
        slow.commit()
        rows += follow(source, 1)

        assert [place(row) for row in rows] == [("user/fast", 1, 0), ("user/slow", 1, 0)]
        assert source.follow(0.1) is None

    @pytest.mark.parametrize("is_swept_between", [False, True])
    def test_lower_transaction_number_with_the_higher_version_comes_second(
        self, source: PostgresOutbox, begin: Callable[[], psycopg.Connection], is_swept_between: bool
    ) -> None:
        """T2 takes its number by writing something else; T1 commits version 5; T2 writes version 6."""
        assert source.open()
        if not is_swept_between:
            sweep(source)
        second, first = begin(), begin()
        insert(second, "user/other", 1)
        insert(first, "user/a", 5)
        first.commit()
        rows: list[OutboxRow] = []
        if is_swept_between:
            source.close()
            assert source.open()
            rows = sweep(source)
        insert(second, "user/a", 6)
        second.commit()

        rows += follow(source, 3 - len(rows))

        assert [row.version for row in rows if row.key == "user/a"] == [5, 6]
        assert len(rows) == 3

    def test_savepoints_are_seen_with_their_transaction(
        self, source: PostgresOutbox, begin: Callable[[], psycopg.Connection]
    ) -> None:
        """The log names the transaction, and so must the snapshot: rows of its parts have numbers of their own."""
        assert source.open()
        source.close()
        before, across = begin(), begin()
        for transaction, name in ((before, "before"), (across, "across")):
            with transaction.transaction():
                with transaction.transaction():
                    insert(transaction, f"user/{name}", 1)
                with transaction.transaction(force_rollback=True):
                    insert(transaction, f"user/{name}", 2)
                with transaction.transaction():
                    insert(transaction, f"user/{name}", 3)
                if name == "across":
                    assert source.open()
                    rows = sweep(source)

        rows += follow(source, 2)

        assert [place(row)[:2] for row in rows] == [
            ("user/before", 1),
            ("user/before", 3),
            ("user/across", 1),
            ("user/across", 3),
        ]
        assert source.follow(0.1) is None

    async def test_first_opening_waits_for_open_transactions_and_misses_nothing(
        self, source: PostgresOutbox, begin: Callable[[], psycopg.Connection]
    ) -> None:
        slow = begin()
        insert(slow, "user/slow", 1)
        opening = asyncio.ensure_future(asyncio.to_thread(source.open))
        await asyncio.wait([opening], timeout=0.3)
        assert not opening.done()

        slow.commit()
        assert await asyncio.wait_for(opening, 10)

        assert [place(row) for row in sweep(source)] == [("user/slow", 1, 0)]
        assert source.follow(0.1) is None

    def test_row_that_a_deletion_cannot_see_yet_is_deleted_later(
        self, source: PostgresOutbox, begin: Callable[[], psycopg.Connection], store: Any, url: str
    ) -> None:
        """As when a commit is in the log, and so on the topic, a moment before others see it."""
        assert source.open()
        sweep(source)
        slow = begin()
        insert(slow, "user/a", 1)
        source.acknowledge([OutboxRow("user/a", 1, 0, "users.Test", b"", b"{}")], None)
        slow.commit()

        source.follow(0.1)
        source.follow(0.1)

        assert count_rows(url) == 0

    @pytest.mark.timeout(120)
    def test_large_transaction_is_never_held_whole(
        self, source: PostgresOutbox, begin: Callable[[], psycopg.Connection], url: str
    ) -> None:
        """Half of it is acknowledged when its relay dies; the rest comes again, and nothing is missing."""
        count = 100_000
        assert source.open()
        sweep(source)
        connection = begin()
        connection.execute(
            "INSERT INTO freehold.outbox (key, version, index, type, headers, data)"
            " SELECT 'user/' || lpad(i::text, 6, '0'), 1, i, 'users.Test', '', '{}' FROM generate_series(0, %s) AS i",
            [count - 1],
        )
        connection.commit()
        seen: set[int] = set()
        while len(seen) < count // 2:
            chunk = source.follow(LIMIT_S)
            assert chunk is not None
            assert len(chunk.rows) <= CHUNK_ROWS
            assert chunk.position is None
            seen |= {row.index for row in chunk.rows}
            source.acknowledge(chunk.rows, chunk.position)
        source.close()

        assert count_rows(url) == count - len(seen)
        assert source.open()
        swept = {row.index for row in sweep(source)}

        assert swept == set(range(count)) - seen
        assert source.follow(0.1) is None

    def test_large_transaction_is_confirmed_with_its_last_chunk(
        self, source: PostgresOutbox, begin: Callable[[], psycopg.Connection], url: str
    ) -> None:
        assert source.open()
        sweep(source)
        connection = begin()
        for index in range(CHUNK_ROWS + 1):
            insert(connection, "user/a", 1, index)
        connection.commit()

        chunks: list[Chunk] = []
        while sum(len(chunk.rows) for chunk in chunks) <= CHUNK_ROWS:
            chunk = source.follow(LIMIT_S)
            assert chunk is not None
            chunks.append(chunk)

        *early, last = chunks
        assert early
        assert {chunk.position for chunk in early} == {None}
        before = confirmed(url)
        for chunk in early:
            source.acknowledge(chunk.rows, chunk.position)
        assert confirmed(url) == before
        source.acknowledge(last.rows, last.position)
        # The commit may come in a packet of its own, behind the last row.
        wait_until_confirmed(source, url, before + 1)

    def test_quiet_relay_lets_the_log_go(
        self, source: PostgresOutbox, begin: Callable[[], psycopg.Connection], url: str
    ) -> None:
        """Others write, the outbox is quiet: the log must not be kept for it."""
        assert source.open()
        sweep(source)
        connection = begin()
        connection.execute("INSERT INTO users SELECT i::text, 'Ann', 1 FROM generate_series(1, 1000) AS i")
        written = end_of_log(connection)
        connection.commit()

        wait_until_confirmed(source, url, written)

    def test_unacknowledged_rows_keep_the_log(
        self, source: PostgresOutbox, begin: Callable[[], psycopg.Connection], url: str
    ) -> None:
        assert source.open()
        sweep(source)
        connection = begin()
        insert(connection, "user/a", 1)
        connection.commit()
        committed = end_of_log(connection)
        rows, position = follow_with_position(source, 1)
        connection.execute("INSERT INTO users SELECT i::text, 'Ann', 1 FROM generate_series(1, 1000) AS i")
        connection.commit()

        follow_until(source, 0.5)

        assert confirmed(url) < committed
        source.acknowledge(rows, position)
        wait_until_confirmed(source, url, committed)

    def test_slot_that_the_server_gave_up_is_made_anew(
        self,
        source: PostgresOutbox,
        begin: Callable[[], psycopg.Connection],
        url: str,
        service: str,
        freehold_servers: Servers,
    ) -> None:
        """The relay was away for too long: max_slot_wal_keep_size."""
        assert source.open()
        sweep(source)
        source.close()
        connection = begin()
        insert(connection, "user/a", 1)
        connection.commit()
        invalidate_slots(freehold_servers.admin_url("postgres"), f"freehold_{service}")

        assert source.open()
        rows = sweep(source)
        insert(connection, "user/a", 2)
        connection.commit()
        rows += follow(source, 1)

        assert [row.version for row in rows] == [1, 2]

    def test_slot_that_is_far_behind_is_made_anew(
        self,
        source: PostgresOutbox,
        begin: Callable[[], psycopg.Connection],
        url: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Else what is new would wait until all was read that the sweep has already."""
        assert source.open()
        sweep(source)
        source.close()
        connection = begin()
        insert(connection, "user/a", 1)
        connection.execute("INSERT INTO users SELECT i::text, 'Ann', 1 FROM generate_series(1, 1000) AS i")
        connection.commit()
        before = confirmed(url)
        monkeypatch.setattr(postgres, "SLOT_BEHIND_BYTES_MAX", 10_000)

        assert source.open()
        assert confirmed(url) > before + 10_000
        rows = sweep(source)
        insert(connection, "user/a", 2)
        connection.commit()
        rows += follow(source, 1)

        assert [row.version for row in rows] == [1, 2]

    async def test_slot_dropped_again_and_again_under_load_loses_nothing(
        self, source: PostgresOutbox, store: Any, service: str, url: str
    ) -> None:
        seen: list[Any] = []
        count, done = 600, asyncio.Event()

        def relay() -> None:
            while not done.is_set() or count_rows(url):
                try:
                    if source.open():
                        for chunk in source.sweep():
                            seen.extend(place(row) for row in chunk.rows)
                            source.acknowledge(chunk.rows, chunk.position)
                    while not done.is_set():
                        chunk_or_none = source.follow(0.05)
                        if chunk_or_none is not None:
                            seen.extend(place(row) for row in chunk_or_none.rows)
                            source.acknowledge(chunk_or_none.rows, chunk_or_none.position)
                except PeerError:
                    source.close()

        relaying = asyncio.ensure_future(asyncio.to_thread(relay))
        for number in range(count):
            await store.pool.execute(INSERT.replace("%s", "'user/a'", 1).replace("%s", str(number), 1) % 0)
            if number % 150 == 75:
                await OnPostgres().lose_log(store, service)
        done.set()
        await asyncio.wait_for(relaying, 30)

        first_seen = list(dict.fromkeys(version for _, version, _ in seen))
        assert first_seen == list(range(count))

    def test_killed_relay_is_replaced_at_once(
        self, source: PostgresOutbox, url: str, service: str, tmp_path: Path
    ) -> None:
        with relay_of(url, service, tmp_path) as other:
            assert not source.open()
            other.kill()
            started_at = time.monotonic()
            while not source.open():
                assert time.monotonic() - started_at < LEASE_S / 2

        assert sweep(source) == []

    def test_stopped_relay_is_replaced_and_learns_of_it(
        self,
        source: PostgresOutbox,
        begin: Callable[[], psycopg.Connection],
        url: str,
        service: str,
        tmp_path: Path,
    ) -> None:
        with relay_of(url, service, tmp_path) as other:
            other.send_signal(signal.SIGSTOP)
            try:
                started_at = time.monotonic()
                while not source.open():
                    assert time.monotonic() - started_at < LEASE_S + 3
                connection = begin()
                insert(connection, "user/a", 1)
                connection.commit()

                assert [row.key for row in sweep(source) or follow(source, 1)] == ["user/a"]
            finally:
                other.send_signal(signal.SIGCONT)
            assert other.stdout is not None
            assert other.stdout.readline() == "fenced\n"

    def test_relay_whose_connections_the_server_ended_opens_again(
        self, source: PostgresOutbox, begin: Callable[[], psycopg.Connection], service: str
    ) -> None:
        assert source.open()
        sweep(source)
        connection = begin()
        connection.autocommit = True
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE %s",
            [f"freehold {service} relay%"],
        )

        with pytest.raises(PeerError) as raised:
            follow_until(source, LIMIT_S)

        assert not isinstance(raised.value, FencedError)
        source.close()
        assert source.open()

    def test_store_without_freeholds_tables_is_named(self, url: str, service: str) -> None:
        source = PostgresOutbox(url, service)
        with psycopg.connect(url) as connection:
            connection.execute("DROP SCHEMA IF EXISTS freehold CASCADE")

        with pytest.raises(ConfigurationError, match="migrations"):
            source.open()

    def test_missing_publication_is_named(
        self, source: PostgresOutbox, begin: Callable[[], psycopg.Connection]
    ) -> None:
        connection = begin()
        connection.execute("DROP PUBLICATION freehold_outbox")
        connection.commit()

        with pytest.raises(ConfigurationError, match="freehold_outbox"):
            source.open()

    def test_source_that_is_not_open_says_so(self, source: PostgresOutbox) -> None:
        source.close()
        source.close()

        with pytest.raises(PeerError, match="not open"):
            source.follow(0)


def insert(connection: psycopg.Connection, key: str, version: int, index: int = 0) -> None:
    connection.execute(INSERT, [key, version, index])


def count_rows(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM freehold.outbox").fetchone()
    return int(row[0]) if row else 0


def confirmed(url: str) -> int:
    """Read up to where the database's slot lets the log go."""
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "SELECT confirmed_flush_lsn - '0/0'::pg_lsn FROM pg_replication_slots WHERE database = current_database()"
        ).fetchone()
    return int(row[0]) if row else 0


def end_of_log(connection: psycopg.Connection) -> int:
    row = connection.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
    return int(row[0]) if row else 0


def wait_until_confirmed(source: PostgresOutbox, url: str, position: int) -> None:
    until = time.monotonic() + LIMIT_S
    while confirmed(url) < position:
        assert time.monotonic() < until, f"{position} was not confirmed within {LIMIT_S} s"
        source.follow(0.05)


def invalidate_slots(admin_url: str, slot: str) -> None:
    """Let the server give up a slot: write more log than slots may hold, and have it clean up."""
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute("ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'")
        try:
            admin.execute("SELECT pg_reload_conf()")
            until = time.monotonic() + LIMIT_S
            while admin.execute(
                "SELECT FROM pg_replication_slots WHERE slot_name = %s AND wal_status <> 'lost'", [slot]
            ).fetchone():
                assert time.monotonic() < until, f"the slot {slot} is not lost"
                admin.execute("SELECT pg_logical_emit_message(false, 'test', 'x'), pg_switch_wal()")
                admin.execute("CHECKPOINT")
        finally:
            admin.execute("ALTER SYSTEM RESET max_slot_wal_keep_size")
            admin.execute("SELECT pg_reload_conf()")


class relay_of:  # noqa: N801 (used as a function)
    """Run a relay in a process of its own, and end it."""

    def __init__(self, url: str, service: str, folder: Path) -> None:
        # A password has no place on a command line.
        self._file = folder / "url"
        self._file.write_text(url)
        self._service = service

    def __enter__(self) -> subprocess.Popen[str]:
        command = [sys.executable, relay_process.__file__, str(self._file), self._service]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == "open\n"
        return self._process

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(10)
        assert self._process.stdout is not None
        self._process.stdout.close()
