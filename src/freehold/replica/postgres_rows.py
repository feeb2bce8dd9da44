"""The copies of one replica as they lie in PostgreSQL; see `freehold.replica.rows` for what is promised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
import msgspec

from freehold.errors import MigrationError
from freehold.event import Place
from freehold.replica.postgres_tables import CopyTable
from freehold.replica.rows import CopyRow
from freehold.service import Replica
from freehold.store.postgres import Postgres
from freehold.store.postgres_transaction import PostgresTransaction, quote_identifier

_KEYS = """
SELECT a.attname AS name, format_type(a.atttypid, a.atttypmod) AS type
FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY(i.indkey)
WHERE i.indrelid = to_regclass($1) AND i.indisprimary
"""


class PostgresCopyRows:
    """Read the copies of a replica in its own table, or in one that embeds them.

    Args:
        store: The subscriber's own, open.
        replica: Whose copies.
        embedded_in: The table that embeds them; the replica's own when empty.
    """

    def __init__(self, store: Postgres, replica: Replica, embedded_in: str = "") -> None:
        prefix = replica.embedded_in[embedded_in] if embedded_in else ""
        self.where = f"{embedded_in}.{prefix}" if embedded_in else replica.into
        self._store = store
        self._table = embedded_in or replica.into
        self._prefix = f"{prefix}_" if prefix else ""
        self._fields = CopyTable(replica).fields
        self._key = ("", "") if embedded_in else ("id", "text")

    async def scan(self, after: str | None, limit: int) -> list[CopyRow]:
        """Read up to `limit` copies behind a key; see `CopyRows.scan`."""
        key, key_type = await self._find_key()
        behind = "" if after is None else f"AND {key} > $2::text::{key_type}"
        query = f"{self._select(key)} WHERE {self._column('id')} IS NOT NULL {behind} ORDER BY {key} LIMIT $1"
        return await self._ask(query, limit, *([] if after is None else [after]))

    async def scan_living(self, after: str | None, limit: int) -> list[str]:
        """Name the entities of up to `limit` copies that live; see `CopyRows.scan_living`."""
        query = (
            f"SELECT id FROM {quote_identifier(self._table)} WHERE id > $2 AND NOT deleted"  # noqa: S608 (quoted)
            " AND (epoch, version, index) > (0, 0, 0) ORDER BY id LIMIT $1"
        )
        return [row["id"] for row in await self._store.fetch(query, limit, after or "")]

    async def find(self, keys: Sequence[str]) -> list[CopyRow]:
        """Read those of these rows that there are; see `CopyRows.find`."""
        key, key_type = await self._find_key()
        query = f"{self._select(key)} WHERE {key} = ANY($1::text[]::{key_type}[]) AND {self._column('id')} IS NOT NULL"
        return await self._ask(query, list(keys))

    async def set_back(self, rows: Sequence[CopyRow], place: Place) -> set[str]:
        """Give these the earlier place, if they stand where they were found; see `CopyRows.set_back`."""
        key, key_type = await self._find_key()
        names = ("epoch", "version", "index")
        changes = ", ".join(f"{self._column(name)} = {getattr(place, name):d}" for name in names)
        found = ", ".join(f"coalesce(own.{self._column(name)}, 0)" for name in names)
        statement = (
            f"UPDATE {quote_identifier(self._table)} AS own SET {changes}"  # noqa: S608 (quoted)
            f" FROM unnest($1::text[]::{key_type}[], $2::bigint[], $3::bigint[], $4::integer[]) AS met(key, e, v, i)"
            f" WHERE {key} = met.key AND ({found}) = (met.e, met.v, met.i) RETURNING {key}::text AS key"
        )
        ordered = sorted(rows, key=lambda row: row.key)
        columns: list[list[Any]] = [[row.key for row in ordered]]
        columns += [[getattr(row.place, name) for row in ordered] for name in names]
        return await self._store.transact(_keys_of, statement, columns)

    def shown(self, key: str) -> str:
        """Give a key as a person knows it."""
        return key

    def _select(self, key: str) -> str:
        names = ["id", "epoch", "version", "index", "deleted", *self._fields]
        columns = ", ".join(f"{self._column(name)} AS {quote_identifier(name)}" for name in names)
        return f"SELECT {key}::text AS freehold_key, {columns} FROM {quote_identifier(self._table)} AS own"  # noqa: S608

    def _column(self, name: str) -> str:
        return quote_identifier(self._prefix + name)

    async def _find_key(self) -> tuple[str, str]:
        if not self._key[0]:
            found = await self._store.fetch(_KEYS, quote_identifier(self._table))
            if len(found) != 1:
                raise MigrationError(
                    f"what {self.where} embeds cannot be compared: {self._table} needs a primary key of one column"
                )
            self._key = found[0]["name"], found[0]["type"]
        # By the table's name: what is selected from an embedding table has an "id" of its own, the entity's.
        return f"own.{quote_identifier(self._key[0])}", self._key[1]

    async def _ask(self, query: str, *values: Any) -> list[CopyRow]:
        try:
            return [self._row(row) for row in await self._store.fetch(query, *values)]
        except asyncpg.UndefinedColumnError as error:
            raise MigrationError(
                f"{self.where} has not all that the replica declares ({error}), so it cannot be compared; make it anew: "
                f"freehold rebuild"
            ) from error

    def _row(self, row: asyncpg.Record) -> CopyRow:
        fields = {name: _value(row[name], kind) for name, kind in self._fields.items()}
        deleted = bool(row["deleted"])
        place = Place(row["epoch"] or 0, row["version"] or 0, row["index"] or 0)
        return CopyRow(row["freehold_key"], row["id"], place, deleted, _left(fields) if deleted else fields)


async def _keys_of(tx: PostgresTransaction, statement: str, columns: Sequence[Any]) -> set[str]:
    return {row["key"] for row in await tx.fetch(statement, *columns)}


def _value(value: Any, kind: str) -> Any:
    return msgspec.json.decode(value) if kind == "jsonb" and value is not None else value


def _left(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}
