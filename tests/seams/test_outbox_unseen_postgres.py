"""A commit is in PostgreSQL's log a moment before other transactions see its rows: what is sent by then is deleted later."""

from __future__ import annotations

import asyncio
from typing import Any

from freehold.event import OutboxRow
from freehold.outbox.postgres import PostgresOutbox
from tests.seams.conftest import Database
from tests.seams.on_postgres import OnPostgres
from tests.seams.product import PUBLISHES


async def test_rows_that_become_visible_one_after_the_other_are_all_deleted(empty_postgres: Database) -> None:
    """They were one shipment; the first that appears must not end the wait for the others."""
    store = OnPostgres().make_store()
    await store.open(empty_postgres.url, service=empty_postgres.service, publishes=PUBLISHES)
    source = PostgresOutbox(empty_postgres.url, empty_postgres.service)
    try:
        await store.migrate()
        await asyncio.to_thread(source.open)
        await asyncio.to_thread(lambda: list(source.sweep()))
        rows = [OutboxRow(f"user/{name}", 1, 0, "users.UserUpdated", b"\x90", b"{}") for name in "abc"]
        await insert(store, rows[0])
        await asyncio.to_thread(source.acknowledge, rows, None)
        for row in rows[1:]:
            await insert(store, row)
            await asyncio.to_thread(source.follow, 0.2)

        assert await store.fetchval("SELECT count(*) FROM freehold.outbox") == 0
    finally:
        await asyncio.to_thread(source.close)
        await store.close()


async def insert(store: Any, row: OutboxRow) -> None:
    await store.pool.execute(
        "INSERT INTO freehold.outbox (key, version, index, type, headers, data) VALUES ($1, $2, $3, $4, $5, $6)",
        row.key,
        row.version,
        row.index,
        row.type,
        row.headers,
        row.data,
    )
