"""A promoted standby: the store, the relay and the topic after the primary is gone for good."""

from __future__ import annotations

import asyncio
import os
import secrets as randomness
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from freehold.errors import CommitUnknown, StoreUnavailable
from freehold.event import OutboxRow
from freehold.outbox.postgres import PostgresOutbox
from freehold.outbox.relay import Relay, RelayState
from freehold.outbox.tallied import TalliedSource
from freehold.runtime.embedded.postgres import PostgresServer
from freehold.runtime.provision.postgres import provision_postgres
from freehold.runtime.provision.secrets import Secrets
from freehold.service import Topic
from freehold.store.postgres import Postgres
from freehold.testing import Servers
from freehold.topic.address import KafkaAddress
from freehold.topic.admin import Topics
from freehold.topic.tail import LAST_MAX, tail
from freehold.topic.tally import TopicTally
from freehold.topic.writer import Writer
from tests.seams.on_postgres import OnPostgres
from tests.seams.product import PUBLISHES, UserUpdated
from tests.seams.standby import promote, start_standby, url_of_both
from tests.seams.test_relay import versions
from tests.seams.waiting import LIMIT_S, until

SERVICE = "users"

pytestmark = pytest.mark.services


@pytest.fixture
def primary(tmp_path: Path) -> Iterator[PostgresServer]:
    server = PostgresServer(tmp_path / "primary", secrets=Secrets(tmp_path / "secrets.json"))
    server.start(lambda _: None)
    yield server
    server.stop(10)


@pytest.fixture
def standby(primary: PostgresServer, tmp_path: Path) -> Iterator[PostgresServer]:
    server = start_standby(primary, tmp_path / "standby", Secrets(tmp_path / "secrets.json"))
    yield server
    server.stop(10)


@pytest.fixture
def url(primary: PostgresServer, standby: PostgresServer) -> str:
    return url_of_both(provision_postgres(primary.admin_url, SERVICE, randomness.token_urlsafe()), standby)


@pytest.fixture
async def store(url: str) -> AsyncIterator[Postgres]:
    store = OnPostgres().make_store()
    await store.open(url, service=SERVICE, publishes=PUBLISHES)
    await store.migrate()
    yield store
    await store.close()


class Undeleting:
    """A real source; while it is cut off, what was sent is not deleted, as when the primary dies in between."""

    def __init__(self, source: PostgresOutbox) -> None:
        self._source = source
        self.is_cut_off = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def acknowledge(self, rows: list[OutboxRow], position: Any) -> None:
        if rows and self.is_cut_off:
            raise StoreUnavailable("cut off between sending and deleting")
        self._source.acknowledge(rows, position)


@pytest.mark.timeout(180)
async def test_relay_follows_a_promoted_standby_and_nothing_is_lost(
    primary: PostgresServer, standby: PostgresServer, store: Postgres, url: str, freehold_servers: Servers
) -> None:
    """The slot does not exist there; what was sent and not deleted comes again as an exact copy."""
    address = await asyncio.to_thread(lambda: KafkaAddress.parse(freehold_servers.admin_url("kafka")))
    topic = f"t{randomness.token_hex(4)}"
    await asyncio.to_thread(Topics(address).ensure, topic, Topic(partitions=2))
    source = Undeleting(PostgresOutbox(url, SERVICE))
    relay = Relay(TalliedSource(source, TopicTally(address, topic), SERVICE), Writer(address, topic))
    relay.start()
    try:
        for version in range(1, 4):
            await write(store, version)
        await until(lambda: relay.progress.shipped_total == 6, "the first are shipped", lambda: relay.progress)
        source.is_cut_off = True
        await write(store, 4)
        await until(lambda: relay.progress.state is RelayState.RETRYING, "cut off", lambda: relay.progress)
        await write(store, 5)

        os.kill(primary.pid or 0, signal.SIGKILL)
        await asyncio.to_thread(primary.stop, 10)
        with pytest.raises(StoreUnavailable):
            await store.ping()
        assert slots(standby) == set()
        await asyncio.to_thread(promote, standby)
        source.is_cut_off = False
        await write_when_it_answers(store, 6)
        await until(
            lambda: relay.progress.state is RelayState.FOLLOWING, "following the new primary", lambda: relay.progress
        )
        await write(store, 7)
        await until(lambda: relay.progress.shipped_total == 14, "all are shipped", lambda: relay.progress)

        records = await asyncio.to_thread(lambda: list(tail(address, topic, last=LAST_MAX, follow=False)))
        # Repeats are compared with what they repeat, byte for byte.
        assert versions(records) == {f"user/{name}": list(range(1, 8)) for name in "ab"}
        assert len(records) > 14
        assert slots(standby) == {f"freehold_{SERVICE}"}
        assert (await store.backlog()).rows == 0
    finally:
        await asyncio.to_thread(relay.stop, 10)


async def write(store: Postgres, version: int) -> None:
    """Give both users this version, each in a transaction of its own."""
    for user_id in "ab":
        await store.transact(_upsert, user_id, version)


async def write_when_it_answers(store: Postgres, version: int) -> None:
    async with asyncio.timeout(LIMIT_S):
        while True:
            try:
                return await write(store, version)
            except CommitUnknown:
                raise  # nothing was being committed when the primary went
            except StoreUnavailable:
                await asyncio.sleep(0.05)


async def _upsert(tx: Any, user_id: str, version: int) -> None:
    row = await tx.fetchrow(
        "INSERT INTO users VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET name = $2, version = $3 RETURNING *",
        user_id,
        f"name {version}",
        version,
    )
    tx.publish(UserUpdated, dict(row))


def slots(server: PostgresServer) -> set[str]:
    with psycopg.connect(server.admin_url) as admin:
        return {name for (name,) in admin.execute("SELECT slot_name FROM pg_replication_slots")}
