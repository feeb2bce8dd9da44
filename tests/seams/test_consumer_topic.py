"""A consumer reads no log but the one that its positions point into."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from confluent_kafka import TopicPartition

from freehold.consumer.progress import ConsumerState
from freehold.service import Service
from freehold.testing import Scene
from freehold.topic.partition import partition_of
from tests.seams.consuming import (
    IDS,
    LIMIT_S,
    PARTITIONS,
    Run,
    admin_of,
    compact_no_more,
    consumer_of,
    make_anew,
    set_positions,
    until,
)
from tests.seams.pair import effects, owner, subscriber, update, update_many
from tests.seams.thorough import ON_MONGO

pytestmark = pytest.mark.services


@contextlib.asynccontextmanager
async def applied_and_closed(freehold_service: Run, reading: str) -> AsyncIterator[Service]:
    """Give a subscriber that has applied ten events of one user and is not running."""
    users, orders = owner("mongo"), subscriber(reading)
    async with freehold_service(users) as running:
        async with freehold_service(orders):
            for version in range(1, 11):
                await users.store.transact(update, "u3", version)
            await running.settled()
        yield orders


async def stopped_reason(freehold_service: Run, orders: Service) -> str:
    async with freehold_service(orders) as reader:
        consumer = await consumer_of(reader)
        await until(lambda: consumer.progress.state is ConsumerState.STOPPED, lambda: consumer.progress)
        assert await effects(orders) == {"u3": list(range(1, 11))}
        assert (await reader.client.get("/readyz")).status_code == 200  # the API goes on
        return consumer.progress.error


@pytest.mark.parametrize("reading", ON_MONGO)
async def test_topic_made_anew_is_not_read(freehold_service: Run, freehold_scene: Scene, reading: str) -> None:
    async with applied_and_closed(freehold_service, reading) as orders:
        admin, topic = admin_of(freehold_scene)
        await make_anew(admin, topic, freehold_scene)

        assert "was made anew" in await stopped_reason(freehold_service, orders)


async def test_topic_made_anew_under_a_running_consumer_stops_it(freehold_service: Run, freehold_scene: Scene) -> None:
    users, orders = owner("mongo"), subscriber("mongo")
    async with freehold_service(users) as running, freehold_service(orders) as reader:
        await users.store.transact(update_many, IDS, 1)
        await running.settled()
        consumer = await consumer_of(reader)
        await make_anew(*admin_of(freehold_scene), freehold_scene)
        await until(lambda: consumer.progress.state is ConsumerState.STOPPED, lambda: consumer.progress)

        assert "was made anew" in consumer.progress.error


async def test_positions_before_the_logs_start_are_events_that_expired_unread(
    freehold_service: Run, freehold_scene: Scene
) -> None:
    async with applied_and_closed(freehold_service, "postgres") as orders:
        admin, topic = admin_of(freehold_scene)
        await compact_no_more(freehold_scene)
        place = TopicPartition(topic, partition_of(b"user/u3", PARTITIONS), 5)
        await asyncio.to_thread(admin.delete_records([place])[place].result, LIMIT_S)
        async with freehold_service(orders, only="api"):
            await set_positions(orders, 3, [place.partition])

        assert "events expired unread" in await stopped_reason(freehold_service, orders)


async def test_positions_after_the_logs_end_are_a_truncated_log(freehold_service: Run) -> None:
    async with applied_and_closed(freehold_service, "mongo") as orders:
        async with freehold_service(orders, only="api"):
            await set_positions(orders, 1_000)

        assert "the log was truncated" in await stopped_reason(freehold_service, orders)
