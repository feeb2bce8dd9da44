"""Tamper with the copies that a service keeps in PostgreSQL."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import psycopg
from psycopg import sql

from freehold.drill.holdings_postgres import OPTIONS
from freehold.drill.observed import Copy
from freehold.service import Replica

Connection = psycopg.Connection[tuple[Any, ...]]


class PostgresCopyEditor:
    """Fill `freehold.drill.tampering.CopyEditor`; raises psycopg's errors while the server does not answer."""

    def __init__(self, connection: Connection, replica: Replica) -> None:
        self._connection = connection
        self._copies = sql.Identifier(replica.into)

    def change(self, copy: Copy, changes: Mapping[str, Any]) -> bool:
        """See `CopyEditor.change`; every row of a table that embeds the entity is changed, and there is one."""
        table, _, prefix = copy.where.partition(".")
        names = {name: sql.Identifier(f"{prefix}_{name}" if prefix else name) for name in ["id", "version", *changes]}
        query = sql.SQL("UPDATE {} SET {} WHERE {} = %s AND {} = %s").format(
            sql.Identifier(table),
            sql.SQL(", ").join(sql.SQL("{} = %s").format(names[field]) for field in changes),
            names["id"],
            names["version"],
        )
        return self._do(query, *changes.values(), copy.entity_id, copy.version)

    def delete(self, copy: Copy) -> bool:
        """See `CopyEditor.delete`."""
        query = sql.SQL("DELETE FROM {} WHERE id = %s AND version = %s").format(self._copies)
        return self._do(query, copy.entity_id, copy.version)

    def add(self, like: str, entity_id: str, changes: Mapping[str, Any]) -> bool:
        """See `CopyEditor.add`."""
        names = [column.name for column in self._connection.execute(self._nothing()).description or ()]
        own = {"id": entity_id, **changes}
        values = [sql.Placeholder() if name in own else sql.Identifier(name) for name in names]
        query = sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {} WHERE id = %s").format(
            self._copies,
            sql.SQL(", ").join(map(sql.Identifier, names)),
            sql.SQL(", ").join(values),
            self._copies,
        )
        return self._do(query, *(own[name] for name in names if name in own), like)

    def _nothing(self) -> sql.Composed:
        return sql.SQL("SELECT * FROM {} LIMIT 0").format(self._copies)

    def _do(self, query: sql.Composed, *values: Any) -> bool:
        return self._connection.execute(query, values).rowcount > 0


@contextlib.contextmanager
def edit_copies(url: str, replica: Replica) -> Iterator[PostgresCopyEditor]:
    """Connect to a service's database for as long as the `with` block runs; each change is committed by itself."""
    with psycopg.connect(url, autocommit=True, **OPTIONS) as connection:
        yield PostgresCopyEditor(connection, replica)
