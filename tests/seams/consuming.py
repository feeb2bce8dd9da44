"""A consumer in a test: waited for, set back, cut off, and its topic as a stranger would treat it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from freehold.consumer.loop import Consumer
from freehold.service import Service
from freehold.testing import Scene, TestedService
from freehold.topic.address import KafkaAddress
from freehold.topic.admin import Topics
from tests.seams.pair import owner

LIMIT_S = 40.0
PARTITIONS = 3
IDS = [f"u{number}" for number in range(20)]
Run = Callable[..., Any]


async def until(condition: Callable[[], Awaitable[bool] | bool], what: Callable[[], object]) -> None:
    """Wait for a named condition."""
    try:
        async with asyncio.timeout(LIMIT_S):
            while True:
                met = condition()
                if met if isinstance(met, bool) else await met:
                    return
                await asyncio.sleep(0.02)
    except TimeoutError:
        raise AssertionError(f"not within {LIMIT_S} s: {what()}") from None


async def consumer_of(running: TestedService) -> Consumer:
    await until(lambda: "users" in running.running.consumers, lambda: "the consumer is started")
    found: Consumer = running.running.consumers["users"]
    return found


async def set_positions(service: Service, offset: int | None, partitions: Sequence[int] = range(PARTITIONS)) -> None:
    """Write these positions behind the consumer's back, as a restored backup would."""
    store = service.store
    if store.kind == "postgres":
        change = "UPDATE freehold.positions SET next_offset = $1 WHERE partition = ANY($2)"
        await store.pool.execute(change, offset, list(partitions))
    else:
        which = {"_id.partition": {"$in": list(partitions)}}
        await store["freehold_positions"].update_many(which, {"$set": {"next_offset": offset}})


def admin_of(scene: Scene) -> tuple[AdminClient, str]:
    """Give an administrator of the test's Kafka, and the name of the users topic."""
    address = KafkaAddress.parse(scene.servers.admin_url("kafka"))
    return AdminClient({**address.client_config()}), f"{scene.namespace}_users"


async def write_raw(scene: Scene, key: bytes | None, value: bytes | None, headers: list[tuple[str, bytes]]) -> None:
    """Put on the topic what no relay of ours would."""
    address = KafkaAddress.parse(scene.servers.admin_url("kafka"))
    producer = Producer({**address.client_config(), "partitioner": "murmur2_random"})
    producer.produce(f"{scene.namespace}_users", value, key, headers=headers)  # type: ignore[arg-type]
    assert await asyncio.to_thread(producer.flush, LIMIT_S) == 0


async def make_anew(admin: AdminClient, topic: str, scene: Scene) -> None:
    topics = Topics(KafkaAddress.parse(scene.servers.admin_url("kafka")))
    await asyncio.to_thread(admin.delete_topics([topic])[topic].result, LIMIT_S)
    await until(lambda: topics.identify_or_none(topic) is None, lambda: "the topic is gone")
    await asyncio.to_thread(topics.ensure, topic, owner("mongo").topic)


async def compact_no_more(scene: Scene) -> None:
    """Let the users topic take records without a key, and lose its oldest."""
    admin, topic = admin_of(scene)
    policy = ConfigEntry("cleanup.policy", "delete", incremental_operation=AlterConfigOpType.SET)
    change = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[policy])
    await asyncio.to_thread(admin.incremental_alter_configs([change])[change].result, LIMIT_S)


async def cut_connections(scene: Scene, orders: Service) -> None:
    """End all that the subscriber has open in its store, from outside."""
    name = f"{scene.namespace}_orders"
    if orders.store.kind == "postgres":
        import asyncpg

        connection = await asyncpg.connect(scene.servers.admin_url("postgres"))
        await connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", name)
        await connection.close()
    else:
        from pymongo import AsyncMongoClient

        client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(scene.servers.admin_url("mongo"))
        async with client:
            await client.admin.command("killAllSessions", [{"user": name, "db": name}])
