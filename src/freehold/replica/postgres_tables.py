"""The tables of a replica in PostgreSQL: their columns, as the declaration has them, and the statements on them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import msgspec

from freehold.service import Replica
from freehold.store.postgres_transaction import PostgresTransaction, quote_identifier

PLACE_COLUMNS = {"epoch": "bigint", "version": "bigint", "index": "integer", "deleted": "boolean"}

_COLUMN_TYPES: dict[type[msgspec.inspect.Type], str] = {
    msgspec.inspect.StrType: "text",
    msgspec.inspect.IntType: "bigint",
    msgspec.inspect.FloatType: "double precision",
    msgspec.inspect.BoolType: "boolean",
    msgspec.inspect.DateTimeType: "timestamp with time zone",
}
# What a service may have chosen for its own columns, where PostgreSQL takes the copy's value as it is.
_ACCEPTED = {"text": {"text", "character varying"}}

_COLUMNS = """
SELECT a.attname AS name, format_type(a.atttypid, NULL) AS type
FROM pg_attribute AS a WHERE a.attrelid = to_regclass($1) AND a.attnum > 0 AND NOT a.attisdropped
"""
_HAS_INDEX = """
SELECT EXISTS (
    SELECT FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
    WHERE i.indrelid = to_regclass($1) AND a.attname = $2 AND i.indpred IS NULL AND i.indisvalid
)
"""


class CopyTable:
    """What one replica's declaration means in SQL.

    Attributes:
        fields: Column type by field, without the id.
        columns: Column type by column of the copy's own table.
        create: Makes the copy's own table.
        upsert: Takes id, epoch, version, index, deleted and then each field, as arrays.
        following: Takes an id and a number; gives the ids of so many copies behind it.
        read: Takes ids; gives id, epoch, version, index, deleted of those that were ever heard of.
    """

    def __init__(self, replica: Replica, lacking: Collection[str] = ()) -> None:
        self._into = quote_identifier(replica.into)
        self.fields = {
            field.name: column_type(field.type)
            for field in msgspec.structs.fields(replica.state)
            if field.name != "id" and field.name not in lacking
        }
        self.columns = {"id": "text"} | PLACE_COLUMNS | self.fields
        self.create = self._format_create()
        self.upsert = self._format_upsert()
        self.following = f"SELECT id FROM {self._into} WHERE version > 0 AND id > $1 ORDER BY id LIMIT $2"  # noqa: S608 (quoted)
        self.read = (
            f"SELECT id, epoch, version, index, deleted FROM {self._into}"  # noqa: S608 (quoted)
            " WHERE id = ANY($1::text[]) AND version > 0"
        )

    def embedded_columns(self, prefix: str) -> dict[str, str]:
        """Give the type of each column that a table needs to embed the copy."""
        return {f"{prefix}_{name}": kind for name, kind in self.columns.items()}

    def embed(self, table: str, prefix: str, rows_max: int, *, again: bool = False) -> str:
        """Write the statement that brings up to `rows_max` embedding rows of the given ids to the copy's own state.

        It reads the copy and not the event: that is never older, so a repeat or a late one cannot take anything back.
        With `again` it changes rows at the copy's own place, too, where they say something else.
        """
        changes = ", ".join(
            f"{quote_identifier(f'{prefix}_{name}')} = copy.{quote_identifier(name)}"
            for name in [*PLACE_COLUMNS, *self.fields]
        )
        target = quote_identifier(table)
        join = _says_otherwise(prefix, self.fields) if again else _is_behind(prefix)
        return f"""
            WITH stale AS (
                SELECT own.ctid FROM {self._into} AS copy JOIN {target} AS own ON {join}
                WHERE copy.id = ANY($1::text[]) LIMIT {rows_max:d} FOR UPDATE OF own
            ), changed AS (
                UPDATE {target} AS own SET {changes} FROM {self._into} AS copy
                WHERE own.ctid = ANY(ARRAY(SELECT ctid FROM stale)) AND {join}
                RETURNING 1
            )
            SELECT (SELECT count(*) FROM stale) AS found, (SELECT count(*) FROM changed) AS changed
        """  # noqa: S608 (quoted identifiers from the declaration)

    def read_behind(self, table: str, prefix: str) -> str:
        """Write the statement that gives, for each of the given ids, the oldest place at which a row is behind its copy."""
        epoch, version, index = _embedded_place(prefix)
        return f"""
            SELECT DISTINCT ON (copy.id) copy.id, {epoch} AS epoch, {version} AS version, {index} AS index
            FROM {self._into} AS copy JOIN {quote_identifier(table)} AS own ON {_is_behind(prefix)}
            WHERE copy.id = ANY($1::text[]) ORDER BY copy.id, {epoch}, {version}, {index}
        """  # noqa: S608 (quoted identifiers from the declaration)

    async def differences(self, tx: PostgresTransaction, table: str, wanted: dict[str, str]) -> list[str]:
        """Name what of `wanted` the table lacks or has otherwise."""
        rows = await tx.fetch(_COLUMNS, quote_identifier(table))
        found = {row["name"]: row["type"] for row in rows}
        if not found:
            return [f"the table {table} does not exist"]
        return [
            f"{table}.{name} is missing (it should be {kind})"
            if name not in found
            else f"{table}.{name} is {found[name]} and should be {kind}"
            for name, kind in wanted.items()
            if found.get(name) not in _ACCEPTED.get(kind, {kind})
        ]

    async def lacking(self, tx: PostgresTransaction, table: str) -> list[str]:
        """Name the fields that the table has no column for; all of them when it does not exist."""
        found = {row["name"] for row in await tx.fetch(_COLUMNS, quote_identifier(table))}
        return [name for name in self.fields if name not in found]

    async def ensure_index(self, tx: PostgresTransaction, table: str, column: str) -> None:
        """Make an index that begins with the column, unless there is one."""
        if not await tx.fetchval(_HAS_INDEX, quote_identifier(table), column):
            await tx.execute(f"CREATE INDEX ON {quote_identifier(table)} ({quote_identifier(column)})")

    def _format_create(self) -> str:
        fields = "".join(f", {quote_identifier(name)} {kind}" for name, kind in self.fields.items())
        return (
            f"CREATE TABLE IF NOT EXISTS {self._into} (id text PRIMARY KEY, epoch bigint NOT NULL, version bigint NOT NULL,"
            f" index integer NOT NULL, deleted boolean NOT NULL{fields}) WITH (fillfactor = 80)"
        )

    def _format_upsert(self) -> str:
        names = ["id", *PLACE_COLUMNS, *self.fields]
        quoted = ", ".join(map(quote_identifier, names))
        arrays = ", ".join(f"${number}::{self.columns[name]}[]" for number, name in enumerate(names, start=1))
        changes = ", ".join(f"{quote_identifier(name)} = excluded.{quote_identifier(name)}" for name in names[1:])
        return (
            f"INSERT INTO {self._into} AS copy ({quoted}) SELECT * FROM unnest({arrays})"  # noqa: S608 (quoted)
            f" ON CONFLICT (id) DO UPDATE SET {changes}"
            " WHERE (copy.epoch, copy.version, copy.index) < (excluded.epoch, excluded.version, excluded.index)"
        )


def _embedded_place(prefix: str) -> list[str]:
    return [f"coalesce(own.{quote_identifier(f'{prefix}_{name}')}, 0)" for name in ("epoch", "version", "index")]


def _is_behind(prefix: str) -> str:
    place = ", ".join(_embedded_place(prefix))
    reference = quote_identifier(f"{prefix}_id")
    return f"own.{reference} = copy.id AND ({place}) < (copy.epoch, copy.version, copy.index)"


def _says_otherwise(prefix: str, fields: Iterable[str]) -> str:
    place = ", ".join(_embedded_place(prefix))
    names = ["epoch", "version", "index", "deleted", *fields]
    embedded = ", ".join(f"own.{quote_identifier(f'{prefix}_{name}')}" for name in names)
    copied = ", ".join(f"copy.{quote_identifier(name)}" for name in names)
    return (
        f"own.{quote_identifier(f'{prefix}_id')} = copy.id AND ({place}) <= (copy.epoch, copy.version, copy.index)"
        f" AND ({embedded}) IS DISTINCT FROM ({copied})"
    )


def column_type(field_type: object) -> str:
    """Give the column type for a field's Python type; what PostgreSQL has no plain type for becomes jsonb."""
    found = msgspec.inspect.type_info(field_type)
    if isinstance(found, msgspec.inspect.UnionType):
        kinds = [kind for kind in found.types if not isinstance(kind, msgspec.inspect.NoneType)]
        return _COLUMN_TYPES.get(type(kinds[0]), "jsonb") if len(kinds) == 1 else "jsonb"
    return _COLUMN_TYPES.get(type(found), "jsonb")
