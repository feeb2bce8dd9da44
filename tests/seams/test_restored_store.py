"""A store that was restored from a backup, behind a topic that knows more: nothing of it is published."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql
from pymongo import MongoClient

from freehold.outbox.mongo_settings import database_name
from freehold.outbox.relay import RelayState
from freehold.testing import Scene, Servers
from freehold.topic.address import KafkaAddress
from freehold.topic.tail import LAST_MAX, tail
from freehold.topic.tally import TopicTally
from tests.seams.pair import PRODUCTS, owner, update
from tests.seams.waiting import LIMIT_S, until

Run = Callable[..., Any]

pytestmark = [pytest.mark.services, pytest.mark.parametrize("product", PRODUCTS)]


async def test_store_that_went_back_behind_its_topic_publishes_nothing(
    freehold_service: Run, freehold_scene: Scene, freehold_servers: Servers, product: str
) -> None:
    """It would give a version again that readers hold with other content, and that their guards drop in silence."""
    users = owner(product)
    store_url, kafka_url = await asyncio.to_thread(freehold_scene.provision, users)
    topic = Remembering(kafka_url, f"{freehold_scene.namespace}_users")
    async with freehold_service(users) as running:
        await users.store.transact(update, "a", 1)
        await running.settled(LIMIT_S)
        before = await topic.until_above(0)

    async with backup_of(store_url, freehold_servers, product) as restore:
        async with freehold_service(users) as running:
            await users.store.transact(update, "a", 2)
            await running.settled(LIMIT_S)
            await topic.until_above(before)
        shipped = await topic.records()
        await asyncio.to_thread(restore)

        async with freehold_service(users) as running:
            await users.store.transact(update, "a", 2)
            await until(lambda: running.running.relay is not None, "there is a relay")
            progress = running.running.relay.progress
            await until(lambda: progress.state is RelayState.RETRYING, "the relay gives up, and tries again")

            assert "went back in time" in progress.last_error
            answer = await running.client.get("/readyz?verbose")
            assert answer.status_code == 200  # the API goes on
            assert "went back in time" in answer.text
            assert (await users.store.backlog()).rows == 1
            assert await topic.records() == shipped


async def test_store_that_is_as_it_was_goes_on(
    freehold_service: Run, freehold_scene: Scene, freehold_servers: Servers, product: str
) -> None:
    """Nothing was shipped since the backup: no version can be given twice."""
    users = owner(product)
    store_url, kafka_url = await asyncio.to_thread(freehold_scene.provision, users)
    topic = Remembering(kafka_url, f"{freehold_scene.namespace}_users")
    async with freehold_service(users) as running:
        await users.store.transact(update, "a", 1)
        await running.settled(LIMIT_S)
        await topic.until_above(0)
    async with backup_of(store_url, freehold_servers, product) as restore:
        await asyncio.to_thread(restore)

        async with freehold_service(users) as running:
            await users.store.transact(update, "a", 2)
            await running.settled(LIMIT_S)

    assert len(await topic.records()) == 2


class Remembering:
    """What the owner's topic holds, and what it remembers of the store."""

    def __init__(self, kafka_url: str, topic: str) -> None:
        self._address = KafkaAddress.parse(kafka_url)
        self._topic = topic

    async def until_above(self, tally: int) -> int:
        """Wait until the topic was told of more than that, and give it."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                known = await asyncio.to_thread(self._read)
                if known > tally:
                    return known
                await asyncio.sleep(0.05)

    async def records(self) -> list[tuple[bytes | None, bytes | None]]:
        found = await asyncio.to_thread(lambda: list(tail(self._address, self._topic, last=LAST_MAX, follow=False)))
        return [(record.key, record.value) for record in found]

    def _read(self) -> int:
        tally = TopicTally(self._address, self._topic)
        try:
            return tally.read()
        finally:
            tally.close()


@asynccontextmanager
async def backup_of(url: str, servers: Servers, product: str) -> AsyncIterator[Callable[[], None]]:
    """Copy a database that nobody uses; what is given puts the copy in its place."""
    if product == "mongo":
        yield await asyncio.to_thread(_copy_mongo, url)
        return
    admin_url, name = servers.admin_url("postgres"), urlsplit(url).path[1:]
    backup = f"{name}_backup"
    await asyncio.to_thread(_replace_postgres, admin_url, backup, name, name)
    try:
        yield lambda: _replace_postgres(admin_url, name, backup, name)
    finally:
        with psycopg.connect(admin_url, autocommit=True) as admin:
            admin.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(backup)))


def _replace_postgres(admin_url: str, name: str, source: str, role: str) -> None:
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        names = (sql.Identifier(each) for each in (name, source, role))
        admin.execute(sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(*names))


def _copy_mongo(url: str) -> Callable[[], None]:
    name = database_name(url, "")
    kept: dict[str, list[Any]]
    client: MongoClient[dict[str, Any]]
    with MongoClient(url) as client:
        kept = {each: list(client[name][each].find()) for each in client[name].list_collection_names()}

    def restore() -> None:
        client: MongoClient[dict[str, Any]]
        with MongoClient(url) as client:
            for collection in client[name].list_collection_names():
                client[name][collection].delete_many({})
            for collection, documents in kept.items():
                if documents:
                    client[name][collection].insert_many(documents)

    return restore
