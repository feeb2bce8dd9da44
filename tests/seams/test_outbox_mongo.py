"""MongoDB's outbox: the suite, and what only a change stream can lose."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection

from freehold.errors import ConfigurationError, FencedError, StoreUnavailable
from freehold.outbox import OutboxSource
from freehold.outbox.mongo import LEASE_TTL_MS, MongoOutbox
from freehold.outbox.mongo_settings import LEASES, OUTBOX, new_name
from freehold.store.mongo import Mongo
from tests.seams.on_mongo import OnMongo
from tests.seams.outbox_suite import LIMIT_S, OutboxSuite, follow, follow_until, place, sweep
from tests.seams.product import PUBLISHES, UserUpdated
from tests.seams.small_mongod import small_mongod
from tests.seams.suite import InMongo

LARGE_BYTES = 15_000_000
SERVICE = "users"


class TestMongoOutbox(InMongo, OutboxSuite):
    async def test_row_that_was_not_committed_when_swept_is_followed(self, store: Any, source: OutboxSource) -> None:
        """The sweep's snapshot lies between the write and the commit (pitfall 1)."""
        has_written, may_commit = asyncio.Event(), asyncio.Event()

        async def write_slowly(tx: Any) -> None:
            await tx["users"].insert_one({"_id": "slow"})
            tx.publish(UserUpdated, {"id": "slow", "name": "name", "version": 1})
            has_written.set()
            await may_commit.wait()

        slow = asyncio.ensure_future(store.transact(write_slowly))
        await has_written.wait()
        await self.publish(store, ("quick", 1))
        await asyncio.to_thread(source.open)
        swept = await asyncio.to_thread(sweep, source)
        may_commit.set()
        await slow
        followed = await asyncio.to_thread(follow, source, 1)

        assert [row.key for row in swept] == ["user/quick"]
        assert [row.key for row in followed] == ["user/slow"]

    async def test_sweep_amid_writers_and_the_log_after_it_hold_each_row_once(
        self, store: Any, source: OutboxSource
    ) -> None:
        count = 300

        async def write(writer: int) -> None:
            for version in range(1, count // 6 + 1):
                await self.publish(store, (f"u{writer}", version))

        writing = asyncio.gather(*(write(writer) for writer in range(6)))
        await asyncio.sleep(0)
        await asyncio.to_thread(source.open)
        rows = await asyncio.to_thread(sweep, source)
        rows += await asyncio.to_thread(follow, source, count - len(rows))
        await writing

        assert await asyncio.to_thread(source.follow, 0.1) is None
        places = [place(row) for row in rows]
        assert len(set(places)) == len(places) == count
        for writer in range(6):
            mine = [version for key, version, _ in places if key == f"user/u{writer}"]
            assert mine == sorted(mine)

    async def test_lease_of_a_relay_that_is_gone_is_free_at_once(
        self, store: Any, source: OutboxSource, service: str
    ) -> None:
        """A killed process gives nothing back, but its connections are gone."""
        await asyncio.to_thread(source.open)
        source.close()
        await store[LEASES].update_one(
            {"_id": "relay"},
            [{"$set": {"owner": new_name(service), "expires_at": {"$add": ["$$NOW", LEASE_TTL_MS]}}}],
        )

        assert await asyncio.to_thread(source.open)

    async def test_relay_that_stood_still_is_replaced_and_fenced(
        self, make_source: Callable[[], OutboxSource], store: Any
    ) -> None:
        """A stopped process keeps its connections, but does not renew its lease."""
        stopped, successor = make_source(), make_source()
        await asyncio.to_thread(stopped.open)
        await asyncio.to_thread(sweep, stopped)
        await self.publish(store, ("a", 1))

        until = time.monotonic() + LIMIT_S
        started_at = time.monotonic()
        while not await asyncio.to_thread(successor.open):
            assert time.monotonic() < until
            await asyncio.sleep(0.1)

        assert time.monotonic() - started_at > LEASE_TTL_MS / 1000 - 1
        assert [row.key for row in await asyncio.to_thread(sweep, successor)] == ["user/a"]
        with pytest.raises(FencedError):
            await asyncio.to_thread(follow_until, stopped, LIMIT_S)

    async def test_dropped_outbox_is_an_interruption(self, store: Any, source: OutboxSource) -> None:
        await asyncio.to_thread(source.open)
        await asyncio.to_thread(sweep, source)
        await store[OUTBOX].drop()

        with pytest.raises(StoreUnavailable):
            await asyncio.to_thread(follow_until, source, LIMIT_S)


class TestMongoLog:
    """On a server of the test's own, whose log is small."""

    async def test_log_that_was_outrun_loses_no_row(self, tmp_path: Path) -> None:
        """Pitfall 3: the relay is paused beyond the log's end, which 15 MB documents bring on."""
        with small_mongod(tmp_path) as server_url:
            async with opened(server_url) as (store, source):
                await asyncio.to_thread(sweep, source)
                await publish(store, "a", 1)
                await outrun_log(server_url, store)
                await publish(store, "a", 2)

                with pytest.raises(StoreUnavailable, match="history"):
                    await asyncio.to_thread(follow_until, source, LIMIT_S)
                source.close()
                assert await asyncio.to_thread(source.open)
                rows = await asyncio.to_thread(sweep, source)
                await publish(store, "a", 3)
                rows += await asyncio.to_thread(follow, source, 1)

                assert [row.version for row in rows] == [1, 2, 3]

    async def test_large_documents_beside_the_outbox_do_not_stop_the_log(self, tmp_path: Path) -> None:
        with small_mongod(tmp_path) as server_url:
            async with opened(server_url) as (store, source):
                await asyncio.to_thread(sweep, source)

                async def write_large(tx: Any) -> None:
                    await tx["large"].insert_one({"bytes": b"x" * LARGE_BYTES})
                    tx.publish(UserUpdated, {"id": "a", "name": "name", "version": 1})

                await store["large"].insert_one({"bytes": b"x" * LARGE_BYTES})
                await store.transact(write_large)
                rows = await asyncio.to_thread(follow, source, 1)

                assert [row.key for row in rows] == ["user/a"]

    async def test_server_that_is_no_replica_set_is_for_the_operator(self, tmp_path: Path) -> None:
        with small_mongod(tmp_path, is_replica_set=False) as server_url:
            source = MongoOutbox(server_url, SERVICE)

            with pytest.raises(ConfigurationError, match="replSet"):
                await asyncio.to_thread(source.open)


@asynccontextmanager
async def opened(server_url: str) -> AsyncIterator[tuple[Mongo, MongoOutbox]]:
    store, source = OnMongo().make_store(), MongoOutbox(server_url, SERVICE)
    await store.open(server_url, service=SERVICE, publishes=PUBLISHES)
    try:
        await store.migrate()
        assert await asyncio.to_thread(source.open)
        yield store, source
    finally:
        await asyncio.to_thread(source.close)
        await store.close()


async def publish(store: Mongo, user_id: str, version: int) -> None:
    async def run(tx: Any) -> None:
        tx.publish(UserUpdated, {"id": user_id, "name": "name", "version": version})

    await store.transact(run)


async def outrun_log(server_url: str, store: Mongo) -> None:
    """Write until the server has forgotten what it knew when we began."""
    client: AsyncMongoClient[dict[str, Any]]
    async with AsyncMongoClient(server_url) as client:
        log: AsyncCollection[dict[str, Any]] = client["local"]["oplog.rs"]
        newest = await log.find_one(sort=[("$natural", -1)])
        async with asyncio.timeout(LIMIT_S):
            while True:
                await store["large"].insert_one({"bytes": b"x" * LARGE_BYTES})
                oldest = await log.find_one(sort=[("$natural", 1)])
                if oldest and newest and oldest["ts"] > newest["ts"]:
                    return
