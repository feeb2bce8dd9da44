"""Copies of another service's facts in a PostgreSQL subscriber's own store.

A copy is a row (id, fields..., epoch, version, index, deleted) of a table that Freehold makes and alone writes. A table
of the service's own that embeds it carries the same columns with a prefix (customer_id, customer_name, ...,
customer_epoch, customer_version, customer_index, customer_deleted). Each write is guarded by the place that it finds
(decision 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import asyncpg
import msgspec

from freehold.discreet import words_of
from freehold.errors import EventRejected, MigrationError, StoreUnavailable
from freehold.event import Place
from freehold.replica import Reached, State, reached_together, versions_of
from freehold.replica.postgres_tables import CopyTable
from freehold.service import Replica
from freehold.store.postgres import Postgres
from freehold.store.postgres_transaction import PostgresTransaction

# Rows that one transaction of the embedded pass changes: bounds how long an author's own write waits for it.
EMBED_ROWS = 5_000
# Rounds of one pass; each changes EMBED_ROWS, or meets rows that somebody else is changing.
EMBED_ROUNDS_MAX = 10_000

_VERSIONS = """
SELECT oid::regclass::text AS name FROM pg_class
WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace AND relname ~ $1
"""
_OLDER = """
USING unnest($1::text[], $2::bigint[], $3::bigint[], $4::integer[]) AS gone (id, epoch, version, index)
WHERE copy.id = gone.id AND (copy.epoch, copy.version, copy.index) < (gone.epoch, gone.version, gone.index)
"""

_encoder = msgspec.json.Encoder()


class PostgresCopies:
    """Keep one declared replica; see `freehold.replica.Copies` for what is promised."""

    def __init__(self, store: Postgres, replica: Replica) -> None:
        self._store = store
        self._replica = replica
        self._table = CopyTable(replica)

    async def prepare(self) -> None:
        """Create the table and the indexes that the embedded pass needs; idempotent.

        A table from before a field was declared serves as it is, until the replica is rebuilt (`lacking`).

        Raises:
            MigrationError: A table does not fit the declaration; names each difference.
        """
        differences, lacking = await self._store.transact(self._prepare)
        self._table = CopyTable(self._replica, lacking)
        if differences:
            raise MigrationError(
                f"the replica {self._replica.into} does not fit the tables of the store: {'; '.join(differences)}; "
                f"write a migration that mends it"
            )

    async def apply(self, states: Sequence[State]) -> None:
        """Upsert each state whose place is greater than the copy's, at most one state per entity."""
        if not states:
            return
        # In one order everywhere, so that two transactions cannot wait for one another.
        ordered = sorted(states, key=lambda state: state.entity_id)
        columns: list[list[Any]] = [
            [state.entity_id for state in ordered],
            [state.place.epoch for state in ordered],
            [state.place.version for state in ordered],
            [state.place.index for state in ordered],
            [state.fields is None for state in ordered],
        ]
        columns += [
            [_value(state, name, column_type) for state in ordered] for name, column_type in self._table.fields.items()
        ]
        await self._transact(_execute, self._table.upsert, columns)
        gone = [state for state in ordered if state.fields is None]
        if gone:
            await self._transact(_erase, versions_of(self._replica.into), gone)

    async def embed(self, states: Sequence[State]) -> None:
        """Let the same states reach every own row that embeds an older one; after `apply`."""
        ids = sorted({state.entity_id for state in states})
        if not ids:
            return
        await self._embed(ids)

    async def embed_again(self, after: str | None, limit: int) -> str | None:
        """Let the next copies reach every own row that embeds an older or another state; see `Copies.embed_again`."""
        ids = [row["id"] for row in await self._store.fetch(self._table.following, after or "", limit)]
        if ids:
            await self._embed(ids, again=True)
        return ids[-1] if ids else None

    async def lacking(self) -> list[str]:
        """Name declared fields that the table has no column for."""
        return await self._store.transact(CopyTable(self._replica).lacking, self._replica.into)

    async def reach(self, entity_ids: Sequence[str]) -> dict[str, Reached]:
        """Say how far these copies are, together with all own rows that embed them."""
        ids = list(entity_ids)
        own = {
            row["id"]: Reached(_place(row), row["deleted"]) for row in await self._store.fetch(self._table.read, ids)
        }
        behind: dict[str, Place] = {}
        for table, prefix in self._replica.embedded_in.items():
            for row in await self._store.fetch(self._table.read_behind(table, prefix), ids):
                behind[row["id"]] = min(_place(row), behind.get(row["id"], _place(row)))
        return reached_together(own, behind)

    async def _embed(self, ids: list[str], *, again: bool = False) -> None:
        for table, prefix in self._replica.embedded_in.items():
            statement = self._table.embed(table, prefix, EMBED_ROWS, again=again)
            for _ in range(EMBED_ROUNDS_MAX):
                found, changed = await self._transact(_count, statement, ids)
                # A row that somebody changed meanwhile was found as it was, and is met again as it is.
                if found < EMBED_ROWS and changed == found:
                    break
            else:
                raise StoreUnavailable(
                    f"{table}.{prefix}_* did not come to rest within {EMBED_ROUNDS_MAX} rounds; it is tried again"
                )

    async def _transact(self, run: Any, statement: str, parameters: Any) -> Any:
        try:
            return await self._store.transact(run, statement, parameters)
        except asyncpg.UndefinedTableError as error:
            raise StoreUnavailable(
                f"a copy of {self._replica.into} was replaced meanwhile; it is tried again"
            ) from error
        except (asyncpg.DataError, asyncpg.IntegrityConstraintViolationError) as error:
            # Not the server's own words, which quote the row.
            constraint = getattr(error, "constraint_name", None)
            raise EventRejected(
                f"PostgreSQL refused a copy for {self._replica.into}: {words_of(error)}"
                f"{f' by {constraint}' if constraint else ''}; leave the field out of the replica, or mend the constraint that "
                f"refuses it"
            ) from error

    async def _prepare(self, tx: PostgresTransaction) -> tuple[list[str], list[str]]:
        # Two instances that start at once: the second finds what the first made.
        await tx.execute("SELECT pg_advisory_xact_lock(hashtext('freehold replica'))")
        declared = CopyTable(self._replica)
        await tx.execute(declared.create)
        lacking = await declared.lacking(tx, self._replica.into)
        wanted = CopyTable(self._replica, lacking).columns
        differences = await declared.differences(tx, self._replica.into, wanted)
        for table, prefix in self._replica.embedded_in.items():
            found = await declared.differences(tx, table, declared.embedded_columns(prefix))
            if not found:
                await declared.ensure_index(tx, table, f"{prefix}_id")
            differences += found
        return differences, lacking


async def _execute(tx: PostgresTransaction, statement: str, columns: Sequence[Any]) -> None:
    await tx.execute(statement, *columns)


async def _erase(tx: PostgresTransaction, versions: str, gone: Sequence[State]) -> None:
    """Delete what copies beside the serving one hold of entities that are gone; what is later there stays."""
    columns = [[state.entity_id for state in gone]]
    places = [[getattr(state.place, part) for state in gone] for part in ("epoch", "version", "index")]
    for row in await tx.fetch(_VERSIONS, versions):
        await tx.execute(f"DELETE FROM {row['name']} AS copy {_OLDER}", *columns, *places)  # noqa: S608 (PostgreSQL's own text)


async def _count(tx: PostgresTransaction, statement: str, ids: list[str]) -> tuple[int, int]:
    row = await tx.fetchrow(statement, ids)
    return (row["found"], row["changed"]) if row is not None else (0, 0)


def _place(row: asyncpg.Record) -> Place:
    return Place(row["epoch"], row["version"], row["index"])


def _value(state: State, name: str, column_type: str) -> Any:
    value = None if state.fields is None else state.fields.get(name)
    if value is None:
        return None
    if column_type == "jsonb":
        return _encoder.encode(value).decode()
    if isinstance(value, datetime) and value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    return value
