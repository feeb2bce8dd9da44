"""A primary that steps down again and again under load: writers wait for the next one, the relay begins again."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient

from freehold.errors import PeerError
from freehold.event import OutboxRow
from freehold.outbox.mongo import MongoOutbox
from tests.seams.on_mongo import OnMongo
from tests.seams.product import PUBLISHES, UserUpdated
from tests.seams.small_mongod import small_mongod

LIMIT_S = 60.0
SERVICE = "users"
STEP_DOWNS = 3
VERSIONS_BETWEEN = 20

pytestmark = pytest.mark.services


async def test_step_downs_under_load_lose_nothing_and_invert_nothing(tmp_path: Path) -> None:
    with small_mongod(tmp_path) as url:
        store = OnMongo().make_store()
        await store.open(url, service=SERVICE, publishes=PUBLISHES)
        await store.migrate()
        last = (STEP_DOWNS + 1) * VERSIONS_BETWEEN
        reading = asyncio.create_task(asyncio.to_thread(read_until, url, last))
        admin: AsyncMongoClient[dict[str, Any]]
        async with AsyncMongoClient(url, directConnection=True) as admin, asyncio.timeout(LIMIT_S):
            for version in range(1, last + 1):
                writing = asyncio.ensure_future(store.transact(write, version))
                if version % VERSIONS_BETWEEN == 0 and version < last:
                    # The node is alone: it may be elected again when this second is over.
                    await admin.admin.command({"replSetStepDown": 1, "force": True})
                await writing
            term = (await admin.admin.command("replSetGetStatus"))["term"]
        rows = await reading
        left = (await store.backlog()).rows
        await store.close()

    assert list(dict.fromkeys(row.version for row in rows)) == list(range(1, last + 1))
    assert len({(row.version, row.headers, row.data) for row in rows}) == last  # each repeat is an exact copy
    assert left == 0
    assert term > STEP_DOWNS


async def write(tx: Any, version: int) -> None:
    """Run again when it met a step-down: the version is the same, so a commit that took effect twice would be refused."""
    await tx["users"].update_one({"_id": "u1"}, {"$set": {"version": version}}, upsert=True)
    tx.publish(UserUpdated, {"id": "u1", "name": f"name {version}", "version": version})


def read_until(url: str, last: int) -> list[OutboxRow]:
    """Be the relay, begun again whenever the store is lost, until that version was handed over and deleted."""
    rows: list[OutboxRow] = []
    until = time.monotonic() + LIMIT_S
    source = MongoOutbox(url, SERVICE)
    while time.monotonic() < until:
        try:
            if not source.open():
                continue
            for chunk in source.sweep():
                rows += chunk.rows
                source.acknowledge(chunk.rows, chunk.position)
            while time.monotonic() < until:
                followed = source.follow(0.2)
                if followed is not None:
                    rows += followed.rows
                    source.acknowledge(followed.rows, followed.position)
                if rows and rows[-1].version == last:
                    return rows
        except PeerError:
            continue
        finally:
            source.close()
    raise AssertionError(f"{len(rows)} rows within {LIMIT_S} s, not up to version {last}")
