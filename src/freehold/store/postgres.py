"""A service's own PostgreSQL database, through asyncpg.

A transaction costs round trips before all else (decision 6): BEGIN travels with the first statement, and one more round trip
carries the outbox rows and COMMIT together.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar

import asyncpg
from opentelemetry import trace

from freehold.errors import CommitUnknown, ConfigurationError, ConflictError, PublishError, StoreUnavailable
from freehold.event import Event
from freehold.http.written import note_written
from freehold.outbox.outgoing import Outgoing
from freehold.store import CONFLICT_RUNS_MAX, Backlog, migrations
from freehold.store.postgres_connections import CONFLICTS, LOST, REFUSED, UNUSABLE, Connections, OwnConnection, Session
from freehold.store.postgres_transaction import PostgresTransaction
from freehold.telemetry import OPERATION, SERVICE, STORE, StoreCounts, in_span, is_recording, note_published

P = ParamSpec("P")
T = TypeVar("T")
Isolation = Literal["read committed", "repeatable read", "serializable"]

# A service's process runs on one core; more connections than this only queue up inside PostgreSQL.
CONNECTIONS_MAX = 16
# A new connection to a server that answers takes milliseconds; one that takes this long is down.
CONNECT_TIMEOUT_S = 5.0
# How long a transaction may wait for a free connection, and how long it is tried again while the server is away.
UNAVAILABLE_AFTER_S = 5.0
PING_TIMEOUT_S = 1.0
# No request waits longer for one statement, nor for one lock; a stopped process holds its row locks no longer than
# the last. Long work (a replica's embedded pass) goes in slices that stay far below.
STATEMENT_TIMEOUT_S = 30
LOCK_TIMEOUT_S = 10
IDLE_IN_TRANSACTION_TIMEOUT_S = 10
# The client's own limit, for a server that vanished without a word; the server's comes first otherwise.
COMMAND_TIMEOUT_S = STATEMENT_TIMEOUT_S + 5.0
ROLLBACK_TIMEOUT_S = 5.0
CONFLICT_PAUSE_S = 0.002
CONFLICT_PAUSE_MAX_S = 0.25
# Conflicts that each waited for a lock must not add up to minutes.
CONFLICT_TIME_MAX_S = 20.0
BACKLOG_ROWS_MAX = 10_000
NOT_OPEN = "the store is not open; the runtime opens it before the service starts, a test by `await store.open(...)`"


class Postgres:
    """Declare that a service owns a PostgreSQL database; the runtime opens it.

    Args:
        migrations: Folder of the service's SQL files, `NNNN_name.sql`.
        isolation: Of every transaction; the default is PostgreSQL's own.
        connections: Most connections that one process of the service opens.

    For reads outside a transaction use `fetch`, `fetchrow` and `fetchval`, or asyncpg's `pool`. What a session is SET
    to outlives its transaction: use SET LOCAL.
    """

    kind = "postgres"

    def __init__(
        self,
        migrations: str | Path | None = None,
        *,
        isolation: Isolation = "read committed",
        connections: int = CONNECTIONS_MAX,
    ) -> None:
        self.migrations = Path(migrations) if migrations is not None else None
        self.epoch = 1
        self.counts = StoreCounts()
        self._isolation = isolation
        self._connections_max = connections
        self._connections: Connections | None = None
        self._pool: asyncpg.Pool | None = None
        self._url = ""
        self._service = ""
        self._name = ""
        self._publishes: frozenset[type[Event]] = frozenset()

    async def transact(self, run: Callable[Concatenate[Any, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `run(tx, ...)` in one transaction and commit it; run it again on conflict; see `freehold.store`.

        Raises:
            ConflictError: It still met others after CONFLICT_RUNS_MAX runs; nothing was written.
            StoreUnavailable: The server was away for UNAVAILABLE_AFTER_S; nothing was written.
            CommitUnknown: The connection was lost while committing: read before trying again.
            PublishError: An event may not be published; nothing was written.
        """

        async def call(tx: PostgresTransaction) -> T:
            return await run(tx, *args, **kwargs)

        if not is_recording():
            return await self._run_until_committed(call)
        attributes = {
            "db.system.name": "postgresql",
            SERVICE: self._service,
            STORE: self._service,
            OPERATION: getattr(run, "__name__", "transaction"),
        }
        with in_span("transact", trace.SpanKind.CLIENT, attributes):
            return await self._run_until_committed(call)

    @property
    def name(self) -> str:
        """The name by which the server knows this process; unique, so that a successor can tell its sessions from others'."""
        return self._name

    @property
    def pool(self) -> asyncpg.Pool:
        """The pool of asyncpg itself, for what `fetch` and its like cannot do; its connections are apart from theirs."""
        if self._pool is None:
            raise StoreUnavailable(NOT_OPEN)
        return self._pool

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        """Read rows outside any transaction."""
        async with self._reading() as connection:
            return await connection.fetch(query, *args)

    async def fetchrow(self, query: str, *args: Any) -> asyncpg.Record | None:
        """Read one row outside any transaction; None when there is none."""
        async with self._reading() as connection:
            return await connection.fetchrow(query, *args)

    async def fetchval(self, query: str, *args: Any) -> Any:
        """Read one value outside any transaction; None when there is no row."""
        async with self._reading() as connection:
            return await connection.fetchval(query, *args)

    async def open(self, url: str, *, service: str, publishes: tuple[type[Event], ...]) -> None:
        """Connect; see `freehold.store`.

        Raises:
            StoreUnavailable: The server does not answer.
            ConfigurationError: It refuses the credentials or has no such database.
        """
        self._url, self._service, self._publishes = url, service, frozenset(publishes)
        # With a service's longest name these are the 63 bytes that PostgreSQL keeps.
        self._name = f"freehold {service} {secrets.token_hex(6)}"
        try:
            self._pool = await asyncpg.create_pool(
                url,
                min_size=0,
                max_size=self._connections_max,
                timeout=CONNECT_TIMEOUT_S,
                command_timeout=COMMAND_TIMEOUT_S,
                server_settings=self._session_settings(),
            )
            self._connections = Connections(self._connect, self._connections_max)
            await self._read_epoch()
        except REFUSED as error:
            await self.close()
            raise ConfigurationError(f"PostgreSQL refused the store of {service}: {error}") from error
        except LOST as error:
            await self.close()
            raise StoreUnavailable(f"PostgreSQL did not answer for the store of {service}: {error!r}") from error

    async def migrate(self) -> list[str]:
        """Bring Freehold's tables and the service's own up to date; see `freehold.store`.

        Raises:
            MigrationError: A file failed, was changed after it ran, or is numbered wrongly.
            StoreUnavailable: The connection was lost.
        """
        try:
            # Its own connection, without the limits of requests: a migration may take long.
            connection = await asyncpg.connect(
                self._url,
                timeout=CONNECT_TIMEOUT_S,
                server_settings={"application_name": f"freehold {self._service} migration"},
            )
            try:
                names = await migrations.migrate(connection, self.migrations)
            finally:
                await connection.close(timeout=ROLLBACK_TIMEOUT_S)
            await self._read_epoch()
        except LOST as error:
            raise StoreUnavailable(f"the connection was lost while migrating {self._service}: {error!r}") from error
        return names

    async def close(self) -> None:
        """Let go of every connection; idempotent."""
        pool, self._pool = self._pool, None
        connections, self._connections = self._connections, None
        for each in (connections, pool):
            if each is None:
                continue
            try:
                async with asyncio.timeout(ROLLBACK_TIMEOUT_S):
                    await each.close()
            except (TimeoutError, *LOST, *UNUSABLE):
                each.terminate()

    def explain(self, error: BaseException) -> StoreUnavailable | None:
        """Say whether an error of asyncpg's, met outside any transaction, means that the server was not there for us."""
        # Not every OSError: an author's own sockets may fail too.
        if not isinstance(error, asyncpg.PostgresError) or not isinstance(error, LOST):
            return None
        return StoreUnavailable(f"the store of {self._service} does not answer: {type(error).__name__}")

    async def ping(self) -> None:
        """Raise StoreUnavailable unless the database answers within a second and takes writes."""
        try:
            async with asyncio.timeout(PING_TIMEOUT_S):
                is_read_only = await self.pool.fetchval("SELECT current_setting('transaction_read_only') = 'on'")
        except (*LOST, *UNUSABLE) as error:
            raise StoreUnavailable(f"the store of {self._service} does not answer: {error!r}") from error
        if is_read_only:
            raise StoreUnavailable(f"the store of {self._service} takes no writes: it is a standby or set read-only")

    async def backlog(self) -> Backlog:
        """Count what the relay has still to ship; of more than 10,000 rows the age is that of the oldest looked at."""
        try:
            row = await self.pool.fetchrow(
                "SELECT count(*) AS rows, coalesce(extract(epoch FROM clock_timestamp() - min(created_at)), 0) AS age_s"
                " FROM (SELECT created_at FROM freehold.outbox LIMIT $1) AS waiting",
                BACKLOG_ROWS_MAX,
            )
        except (*LOST, *UNUSABLE) as error:
            raise StoreUnavailable(f"the outbox of {self._service} could not be counted: {error!r}") from error
        return Backlog(row["rows"], max(0.0, float(row["age_s"]))) if row else Backlog(0, 0.0)

    async def _read_epoch(self) -> None:
        if await self.pool.fetchval("SELECT to_regclass('freehold.store')") is not None:
            self.epoch = await self.pool.fetchval("SELECT epoch FROM freehold.store")

    def _session_settings(self) -> dict[str, str]:
        return {
            "application_name": self._name,
            "statement_timeout": f"{STATEMENT_TIMEOUT_S}s",
            "lock_timeout": f"{LOCK_TIMEOUT_S}s",
            "idle_in_transaction_session_timeout": f"{IDLE_IN_TRANSACTION_TIMEOUT_S}s",
            "default_transaction_isolation": self._isolation,
            "client_encoding": "UTF8",
            "jit": "off",
        }

    async def _run_until_committed(self, call: Callable[[PostgresTransaction], Awaitable[T]]) -> T:
        clock = asyncio.get_running_loop().time
        started_at = clock()
        lost_at: float | None = None
        runs = 0
        while True:
            runs += 1
            try:
                return await self._run_once(call)
            except CommitUnknown:
                raise
            except CONFLICTS as error:
                self.counts.conflicts += 1
                if runs >= CONFLICT_RUNS_MAX or clock() - started_at > CONFLICT_TIME_MAX_S:
                    raise ConflictError(
                        f"a transaction of {self._service} met others {runs} times and was given up: {error}"
                    ) from error
            except _Lost as error:
                lost_at = lost_at or clock()
                if clock() - lost_at > UNAVAILABLE_AFTER_S or isinstance(error.__cause__, TimeoutError):
                    raise StoreUnavailable(
                        f"the store of {self._service} gave no connection, or lost it before the commit; "
                        f"nothing was written: {error.__cause__!r}"
                    ) from error
            pause_s = min(CONFLICT_PAUSE_MAX_S, CONFLICT_PAUSE_S * 2**runs)
            await asyncio.sleep(random.uniform(0, pause_s))  # noqa: S311 (spreads the runs; nothing secret)

    async def _run_once(self, call: Callable[[PostgresTransaction], Awaitable[T]]) -> T:
        connections = self._open_connections()
        session = await self._acquire(connections)
        outgoing = Outgoing(self._service, self.epoch, self._publishes)
        tx = PostgresTransaction(session, outgoing)
        is_over = False
        try:
            result = await call(tx)
            final_statement = await tx.finish()
            if session.connection.is_closed():
                raise asyncpg.ConnectionDoesNotExistError("the connection was closed")
            if final_statement:
                await self._commit(session.connection, final_statement)
            is_over = True
            self.counts.transactions += 1
            self.counts.events += len(outgoing.rows)
            if outgoing.rows:
                note_published(row.type for row in outgoing.rows)
                note_written(self._service, self.epoch, outgoing.rows)
            return result
        except asyncpg.UniqueViolationError as error:
            if error.schema_name != "freehold" or error.table_name != "outbox":
                raise
            raise PublishError(
                f"{self._service} published one version of an entity in two transactions ({error.detail}); "
                f"raise the version by one in the statement that changes the row"
            ) from error
        except (*LOST, *UNUSABLE) as error:
            # An author's own time-out or socket is not ours: only a connection that is gone makes it our matter.
            if not session.is_gone(error):
                raise
            raise _Lost from error
        finally:
            tx.end()
            if is_over:
                connections.release(session)
            else:
                # Shielded: a request that was cancelled must not leave its locks behind.
                await asyncio.shield(asyncio.ensure_future(_roll_back(connections, session)))

    async def _commit(self, connection: OwnConnection, final_statement: str) -> None:
        try:
            status = await connection.execute(final_statement)
        except (*LOST, asyncpg.InterfaceError) as error:
            raise CommitUnknown(
                f"the store of {self._service} was lost while committing; read what is there before trying again"
            ) from error
        if status != "COMMIT":
            # PostgreSQL answers the COMMIT of a failed transaction with ROLLBACK, and calls that no error.
            raise asyncpg.InFailedSQLTransactionError(
                "a statement of this transaction failed and the error was swallowed; everything was rolled back"
            )

    async def _acquire(self, connections: Connections) -> Session:
        try:
            return await connections.acquire(UNAVAILABLE_AFTER_S)
        except REFUSED as error:
            raise StoreUnavailable(f"PostgreSQL refused the store of {self._service}: {error}") from error
        except LOST as error:
            raise _Lost from error

    @contextlib.asynccontextmanager
    async def _reading(self) -> AsyncIterator[OwnConnection]:
        """Lend a connection for one statement outside any transaction."""
        connections = self._open_connections()
        try:
            session = await self._acquire(connections)
        except _Lost as error:
            raise StoreUnavailable(f"the store of {self._service} gives no connection: {error.__cause__!r}") from error
        try:
            yield session.connection
        except (*LOST, *UNUSABLE) as error:
            if not session.is_gone(error):
                raise
            raise StoreUnavailable(f"the store of {self._service} was lost while it was read: {error!r}") from error
        finally:
            connections.release(session)

    def _open_connections(self) -> Connections:
        if self._connections is None:
            raise StoreUnavailable(NOT_OPEN)
        return self._connections

    async def _connect(self) -> OwnConnection:
        return await asyncpg.connect(
            self._url,
            timeout=CONNECT_TIMEOUT_S,
            command_timeout=COMMAND_TIMEOUT_S,
            server_settings=self._session_settings(),
            connection_class=OwnConnection,
        )


class _Lost(Exception):
    """The connection was lost before the commit was asked for; its cause says how."""


async def _roll_back(connections: Connections, session: Session) -> None:
    try:
        if not session.connection.is_closed():
            await session.connection.execute("ROLLBACK", timeout=ROLLBACK_TIMEOUT_S)
    except (*LOST, *UNUSABLE, asyncpg.PostgresError):
        session.connection.terminate()
    finally:
        connections.release(session)
