"""A service's PostgreSQL database as a drill sees it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from freehold.drill.holdings import ANSWER_TIMEOUT_S, Place, Unreadable, copied_fields, make_copy, make_row
from freehold.drill.observed import Copy, Kept, Row
from freehold.drill.workload import Effects
from freehold.service import Entity, Replica

# A server whose processes are stopped takes a connection and never answers: the client's own limit.
OPTIONS: dict[str, Any] = {
    "connect_timeout": int(ANSWER_TIMEOUT_S),
    "tcp_user_timeout": int(ANSWER_TIMEOUT_S * 1000),
    "options": "-c statement_timeout=20s",
}
_SCHEMAS = ["public", "freehold"]
_PRIMARY_KEY = sql.SQL(
    "SELECT a.attname AS name FROM pg_index AS i JOIN pg_attribute AS a ON a.attrelid = i.indrelid"
    " AND a.attnum = ANY(i.indkey) WHERE i.indrelid = to_regclass(%s) AND i.indisprimary"
)


class PostgresHoldings:
    """Fill `freehold.drill.holdings.Holdings`; connects for each look, since the server is killed in between."""

    def __init__(self, url: str) -> None:
        self._url = url

    def rows(self, entity: Entity) -> dict[str, Row]:
        """Give every entity of this kind by id."""
        found = self._select(sql.SQL("SELECT * FROM {}").format(sql.Identifier(entity.rows)))
        rows = [make_row(entity, each) for each in found]
        return {row.entity_id: row for row in rows}

    def waiting(self) -> set[Place]:
        """Give what waits in the outbox."""
        found = self._select(sql.SQL("SELECT key, version, index FROM freehold.outbox"))
        return {(each["key"], each["version"], each["index"]) for each in found}

    def parked(self) -> int:
        """Count the parked events."""
        return int(self._select(sql.SQL("SELECT count(*) AS count FROM freehold.parked"))[0]["count"])

    def positions(self, source: str) -> dict[int, int]:
        """Give, by partition, up to where the source's topic is applied."""
        query = sql.SQL("SELECT partition, next_offset FROM freehold.positions WHERE source = %s")
        return {each["partition"]: each["next_offset"] or 0 for each in self._select(query, [source])}

    def kept(self, replica: Replica) -> Kept:
        """Give all copies that the replica keeps."""
        found = self._select(sql.SQL("SELECT * FROM {} WHERE version > 0").format(sql.Identifier(replica.into)))
        copies = [make_copy(replica.into, str(each["id"]), replica, each) for each in found]
        embedded: list[Copy] = []
        for table, prefix in replica.embedded_in.items():
            embedded += self._embedded(replica, table, prefix)
        return Kept(copies, embedded)

    def versions(self, replica: Replica, ids: Collection[str]) -> dict[str, int]:
        """Give the version of the copies of these."""
        query = sql.SQL("SELECT id, version FROM {} WHERE id = ANY(%s)").format(sql.Identifier(replica.into))
        return {each["id"]: each["version"] for each in self._select(query, [list(ids)])}

    def traces(self, effects: Effects) -> dict[str, list[str]]:
        """Give, by entity, what the handler left behind, in order."""
        query = sql.SQL("SELECT {}::text AS key, {} AS shows FROM {} ORDER BY {}").format(
            *map(sql.Identifier, (effects.key, effects.shows, effects.rows, effects.order))
        )
        traces: dict[str, list[str]] = {}
        for each in self._select(query):
            traces.setdefault(each["key"], []).append(each["shows"])
        return traces

    def trace_counts(self, effects: Effects, ids: Collection[str]) -> dict[str, int]:
        """Count the traces of these."""
        key, rows = sql.Identifier(effects.key), sql.Identifier(effects.rows)
        query = sql.SQL("SELECT {0}::text AS key, count(*) AS count FROM {1} WHERE {0}::text = ANY(%s) GROUP BY {0}")
        return {each["key"]: each["count"] for each in self._select(query.format(key, rows), [list(ids)])}

    def content(self) -> dict[str, bytes]:
        """Give the bytes of every table by its name."""
        query = sql.SQL("SELECT schemaname, tablename FROM pg_tables WHERE schemaname = ANY(%s)")
        tables = self._select(query, [_SCHEMAS])
        places = {}
        try:
            with psycopg.connect(self._url, **OPTIONS) as connection, connection.cursor() as cursor:
                for each in tables:
                    table = sql.Identifier(each["schemaname"], each["tablename"])
                    with cursor.copy(sql.SQL("COPY {} TO STDOUT").format(table)) as copy:
                        places[f"{each['schemaname']}.{each['tablename']}"] = b"".join(bytes(block) for block in copy)
        except psycopg.Error as error:
            raise Unreadable(str(error)) from error
        return places

    def close(self) -> None:
        """Do nothing: each look has a connection of its own."""

    def _embedded(self, replica: Replica, table: str, prefix: str) -> list[Copy]:
        names = ["id", "version", "deleted", *copied_fields(replica)]
        key = sql.Identifier(self._select(_PRIMARY_KEY, [table])[0]["name"])
        columns = sql.SQL(", ").join(
            sql.SQL("{} AS {}").format(sql.Identifier(f"{prefix}_{name}"), sql.Identifier(name)) for name in names
        )
        reference = sql.Identifier(f"{prefix}_id")
        query = sql.SQL("SELECT {}::text AS document, {} FROM {} WHERE {} IS NOT NULL").format(
            key, columns, sql.Identifier(table), reference
        )
        return [
            make_copy(f"{table}.{prefix}", str(each["id"]), replica, each, document=each["document"])
            for each in self._select(query)
        ]

    def _select(self, query: sql.SQL | sql.Composed, parameters: list[Any] | None = None) -> list[dict[str, Any]]:
        try:
            with psycopg.connect(self._url, row_factory=dict_row, **OPTIONS) as connection:
                found: list[dict[str, Any]] = connection.execute(query, parameters).fetchall()
                return found
        except psycopg.Error as error:
            raise Unreadable(str(error)) from error
