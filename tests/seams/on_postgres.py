"""The suites' shop in PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import asyncpg

from freehold.consumer.parking.postgres import PostgresLot
from freehold.consumer.postgres import PostgresLedger
from freehold.consumer.redrive.postgres import PostgresRounds
from freehold.event import OutboxRow
from freehold.outbox.postgres import PostgresOutbox
from freehold.replica.postgres import PostgresCopies
from freehold.service import Replica
from freehold.store.postgres import Postgres

SHOP = Path(__file__).parent / "shop"
EMBEDDED = ("name", "email", "credit", "tags", "epoch", "version", "index", "deleted")


class OnPostgres:
    dead_url = "postgresql://nobody:secret@127.0.0.1:1/nothing"

    def make_store(self) -> Postgres:
        return Postgres(migrations=SHOP)

    def make_source(self, url: str, service: str) -> PostgresOutbox:
        return PostgresOutbox(url, service)

    def make_ledger(self, store: Postgres) -> PostgresLedger:
        return PostgresLedger(store)

    def make_lot(self, store: Postgres) -> PostgresLot:
        return PostgresLot(store)

    def make_rounds(self, store: Postgres) -> PostgresRounds:
        return PostgresRounds(store)

    def make_copies(self, store: Postgres, replica: Replica) -> PostgresCopies:
        return PostgresCopies(store, replica)

    async def insert_user(self, tx: Any, user_id: str, name: str) -> Mapping[str, Any]:
        row = await tx.fetchrow("INSERT INTO users VALUES ($1, $2, 1) RETURNING *", user_id, name)
        return dict(row)

    async def rename_user(self, tx: Any, user_id: str, name: str) -> Mapping[str, Any]:
        row = await tx.fetchrow(
            "UPDATE users SET name = $2, version = version + 1 WHERE id = $1 RETURNING *", user_id, name
        )
        return dict(row)

    async def read_user(self, store: Postgres, user_id: str) -> Mapping[str, Any] | None:
        row = await store.fetchrow("SELECT * FROM users WHERE id = $1", user_id)
        return None if row is None else dict(row)

    async def read_outbox(self, store: Postgres) -> list[OutboxRow]:
        rows = await store.fetch(
            "SELECT key, version, index, type, headers, data FROM freehold.outbox ORDER BY key, version, index"
        )
        return [OutboxRow(*row) for row in rows]

    async def meet_conflict(self, tx: Any) -> None:
        await tx.execute("DO $$ BEGIN RAISE EXCEPTION 'could not serialize' USING ERRCODE = '40001'; END $$")

    async def place_order(self, tx: Any, order_id: str, customer_id: str, copy: Mapping[str, Any] | None) -> None:
        columns = ", ".join(f"customer_{name}" for name in EMBEDDED)
        values = ", ".join(f"${number}" for number in range(3, 3 + len(EMBEDDED)))
        await tx.execute(
            f"INSERT INTO orders (id, customer_id, {columns}) VALUES ($1, $2, {values})",
            order_id,
            customer_id,
            *(None if copy is None else copy[name] for name in EMBEDDED),
        )

    async def read_orders(self, store: Postgres) -> dict[str, dict[str, Any]]:
        rows = await store.fetch("SELECT * FROM orders")
        return {row["id"]: _read({name: row[f"customer_{name}"] for name in ("id", *EMBEDDED)}) for row in rows}

    async def read_copies(self, store: Postgres) -> dict[str, dict[str, Any]]:
        rows = await store.fetch("SELECT * FROM customers")
        return {row["id"]: _read(dict(row)) for row in rows}

    async def lose_log(self, store: Postgres, service: str) -> None:
        slot = f"freehold_{service}"
        await store.fetch(
            "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE slot_name = $1", slot
        )
        while await store.fetchval("SELECT active FROM pg_replication_slots WHERE slot_name = $1", slot):
            pass  # each round asks the server again: the test's own limit bounds it
        await store.fetch("SELECT pg_drop_replication_slot($1)", slot)

    async def take_lease(self, store: Postgres) -> None:
        await store.pool.execute("UPDATE freehold.lease SET epoch = epoch + 1, owner = 'another'")


async def connect(url: str) -> asyncpg.Connection:
    return await asyncpg.connect(url, command_timeout=30)


def _read(values: dict[str, Any]) -> dict[str, Any]:
    if values["tags"] is not None:
        values["tags"] = json.loads(values["tags"])
    return values
