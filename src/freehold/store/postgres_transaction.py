"""The open transaction that an author's function is given, and the one statement that ends it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import asyncpg

from freehold.errors import PublishError
from freehold.event import Event, OutboxRow
from freehold.outbox.outgoing import Outgoing
from freehold.store.postgres_connections import OwnConnection, Session

# Up to here the rows go into the statement that commits; beyond it COPY is faster than what that saves.
ROWS_IN_STATEMENT_MAX = 64
OUTBOX_COLUMNS = ("key", "version", "index", "type", "headers", "data")
_INSERT = "INSERT INTO freehold.outbox (key, version, index, type, headers, data) VALUES "


class PostgresTransaction:
    """An open PostgreSQL transaction: asyncpg's own calls, and what Freehold adds to them.

    It must not be kept after the function returns, nor used by two tasks at once.
    """

    def __init__(self, session: Session, outgoing: Outgoing) -> None:
        self._session: Session | None = session
        self._outgoing: Outgoing | None = outgoing
        self._has_begun = False

    @property
    def connection(self) -> OwnConnection:
        """The connection of asyncpg itself, for COPY, cursors and the like."""
        if self._session is None:
            raise asyncpg.InterfaceError("the transaction is over; use it inside the function that it was given to")
        if not self._has_begun:
            self._has_begun = True
            self._session.begin()
        return self._session.connection

    async def fetch(self, query: str, *args: Any) -> list[asyncpg.Record]:
        """Run a statement and return its rows."""
        return await self.connection.fetch(query, *args)

    async def fetchrow(self, query: str, *args: Any) -> asyncpg.Record | None:
        """Run a statement and return its first row; None when there is none."""
        return await self.connection.fetchrow(query, *args)

    async def fetchval(self, query: str, *args: Any, column: int = 0) -> Any:
        """Run a statement and return one value of its first row; None when there is none."""
        return await self.connection.fetchval(query, *args, column=column)

    async def execute(self, query: str, *args: Any) -> str:
        """Run a statement and return its status, such as "UPDATE 1"."""
        return await self.connection.execute(query, *args)

    async def executemany(self, query: str, args: Iterable[Sequence[Any]]) -> None:
        """Run a statement once for each sequence of arguments."""
        await self.connection.executemany(query, args)

    def publish(self, event: type[Event], row: Mapping[str, Any]) -> None:
        """Let `event`, made from the changed row, leave with this commit; see `freehold.store.Transaction`.

        Raises:
            PublishError: Not declared, too large, without a version, or the transaction is over.
        """
        if self._outgoing is None:
            raise PublishError(f"{event.__name__}: the transaction is over; publish inside the function that it runs")
        self._outgoing.add(event, row)

    def publish_again(self, event: Event, version: int, repair: int) -> None:
        """Tell copies once more what the entity is at its present version; Freehold's own (`freehold.store.owned`)."""
        if self._outgoing is None:
            raise PublishError(f"{type(event).__name__}: the transaction is over")
        self._outgoing.add_again(event, version, repair)

    async def copy(self, into: str, entity_id: str) -> Mapping[str, Any] | None:
        """Read the own copy of another service's entity and hold it until the commit; see `freehold.store.Transaction`.

        A copy that is not there yet is held as well, by an empty row of version 0 that the first state fills.
        """
        table = quote_identifier(into)
        query = f"SELECT * FROM {table} WHERE id = $1 FOR SHARE"  # noqa: S608 (a quoted identifier)
        row = await self.fetchrow(query, entity_id)
        if row is None:
            await self.execute(
                f"INSERT INTO {table} (id, epoch, version, index, deleted) VALUES ($1, 0, 0, 0, false)"  # noqa: S608
                " ON CONFLICT DO NOTHING",
                entity_id,
            )
            row = await self.fetchrow(query, entity_id)
        return None if row is None or row["version"] == 0 else dict(row)

    async def finish(self) -> str:
        """End the author's part and give the statement that commits, with the outbox rows in it.

        Many rows are written here already, by COPY. Nothing is to be committed, and "" is given, when no statement ran.
        """
        rows = self._outgoing.rows if self._outgoing is not None else []
        self._outgoing = None
        if not rows:
            return "COMMIT" if self._has_begun else ""
        connection = self.connection
        if len(rows) <= ROWS_IN_STATEMENT_MAX:
            return f"{_INSERT}{','.join(map(_format_row, rows))};COMMIT"
        await connection.copy_records_to_table(
            "outbox",
            schema_name="freehold",
            columns=OUTBOX_COLUMNS,
            records=[(r.key, r.version, r.index, r.type, r.headers, r.data) for r in rows],
        )
        return "COMMIT"

    def end(self) -> None:
        """Let go of the connection: whoever kept the transaction can do nothing with it."""
        self._session = self._outgoing = None


def quote_identifier(name: str) -> str:
    """Quote a name that came from a declaration."""
    return '"' + name.replace('"', '""') + '"'


def quote_text(value: str) -> str:
    """Write text as a literal that holds under every setting of standard_conforming_strings.

    Raises:
        PublishError: It holds a NUL or half a surrogate pair, which PostgreSQL cannot store.
    """
    if "\0" in value:
        raise PublishError(
            f"{value!r} holds a NUL character, which PostgreSQL cannot store; refuse it before the write"
        )
    return "E'" + value.replace("\\", "\\\\").replace("'", "''") + "'"


def _format_row(row: OutboxRow) -> str:
    # Bytes go as hex, numbers are numbers: only key and type are text, and these are quoted.
    return (
        f"({quote_text(row.key)},{row.version:d},{row.index:d},{quote_text(row.type)},"
        f"E'\\\\x{row.headers.hex()}',E'\\\\x{row.data.hex()}')"
    )
