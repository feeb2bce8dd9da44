"""How fast a backlog drains: the relay's out of PostgreSQL, the consumer's into MongoDB, exactly once in effect.

Limits, in the same run: the bare Kafka client producing the same records with the same settings, and bare unordered
`bulk_write` of the same documents in the same batches. Each part runs in this process alone, so its CPU time is told too.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from typing import Any

import msgspec
import psycopg
from confluent_kafka import Producer
from pymongo import AsyncMongoClient, UpdateOne

from benchmarks.figure import Figure
from benchmarks.stage import Stage
from freehold import Event, Mongo, Postgres, PostgresTransaction, Replica, Service, System
from freehold.outbox.outgoing import decode_headers
from freehold.runtime.provision.kafka import provision_kafka
from freehold.runtime.provision.mongo import provision_mongo
from freehold.runtime.provision.postgres import provision_postgres
from freehold.runtime.running import RunningService
from freehold.runtime.settings import Settings
from freehold.topic.address import KafkaAddress

EVENTS = 100_000
ENTITIES = 20_000
BATCH = 500
DRAINED_TIMEOUT_S = 180.0


class ItemChanged(Event, entity="item"):
    """As large as a user."""

    id: str
    name: str
    email: str


class Item(msgspec.Struct):
    """What the reader keeps of an item."""

    id: str
    name: str
    email: str


async def _no_app(scope: Any, receive: Any, send: Any) -> None: ...


owner = Service(name="bench_owner", store=Postgres(), app=_no_app, publishes=[ItemChanged])
reader = Service(
    name="bench_reader",
    store=Mongo(),
    app=_no_app,
    replicates=[Replica(Item, of="bench_owner", entity="item", into="items", embedded_in={"uses": "item"})],
)
system = System(name="backlog", services=[owner, reader])


def measure(stage: Stage) -> list[Figure]:
    """Drain both backlogs, one after the other."""
    return asyncio.run(_measure(stage))


async def _measure(stage: Stage) -> list[Figure]:
    settings = _provision(stage)
    relay_rate, relay_cpu_s, rows = await _drain_relay(settings[owner.name])
    consumer_rate, consumer_cpu_s = await _drain_consumer(settings[reader.name])
    return [
        Figure(
            name=f"relay, backlog of {EVENTS:,}",
            value=relay_rate,
            unit="events/s",
            limit=_produce(KafkaAddress.parse(settings[owner.name].kafka_url), rows),
            limit_name="bare produce",
            wanted="30,000/s",
        ),
        Figure(name="relay, events per CPU second", value=EVENTS / relay_cpu_s, unit="events/cpu s"),
        Figure(
            name=f"consumer into MongoDB, backlog of {EVENTS:,}",
            value=consumer_rate,
            unit="events/s",
            limit=await _bulk_write(settings[reader.name].store_url),
            limit_name="bare bulk_write",
            wanted="15,000/s",
        ),
        Figure(name="consumer, events per CPU second", value=EVENTS / consumer_cpu_s, unit="events/cpu s"),
    ]


def _provision(stage: Stage) -> dict[str, Settings]:
    kafka_url = stage.admin_url("kafka")
    return {
        owner.name: Settings(
            store_url=provision_postgres(stage.admin_url("postgres"), owner.name, secrets.token_urlsafe()),
            kafka_url=provision_kafka(kafka_url, owner.name, secrets.token_urlsafe(), reads=[]),
        ),
        reader.name: Settings(
            store_url=provision_mongo(stage.admin_url("mongo"), reader.name, secrets.token_urlsafe()),
            kafka_url=provision_kafka(kafka_url, reader.name, secrets.token_urlsafe(), reads=[owner.name]),
        ),
    }


async def publish(tx: PostgresTransaction, first: int) -> None:
    """Publish the next batch: the entities in turn, each with its next version."""
    for number in range(first, first + BATCH):
        entity, version = f"item-{number % ENTITIES}", 1 + number // ENTITIES
        row = {"id": entity, "name": f"Item {number}", "email": f"{entity}@example.org", "version": version}
        tx.publish(ItemChanged, row)


async def _drain_relay(settings: Settings) -> tuple[float, float, list[tuple[str, bytes, bytes]]]:
    running = RunningService(owner, settings, only="relay")
    await running.open()
    for first in range(0, EVENTS, BATCH):
        await owner.store.transact(publish, first)
    with psycopg.connect(settings.store_url) as connection:
        rows = connection.execute("SELECT key, headers, data FROM freehold.outbox LIMIT 50000").fetchall()
    started, cpu_started = time.perf_counter(), time.process_time()
    running.start_events()
    await _until("the outbox is empty", lambda: running.relay is not None and _shipped(running) >= EVENTS)
    rate, cpu_s = EVENTS / (time.perf_counter() - started), time.process_time() - cpu_started
    await running.stop()
    return rate, cpu_s, rows


async def _drain_consumer(settings: Settings) -> tuple[float, float]:
    running = RunningService(reader, settings, only="consumers")
    await running.open()
    started, cpu_started = time.perf_counter(), time.process_time()
    running.start_events()
    await _until("all events are applied", lambda: _applied(running) >= EVENTS)
    rate, cpu_s = EVENTS / (time.perf_counter() - started), time.process_time() - cpu_started
    copies = await reader.store["items"].count_documents({"version": EVENTS // ENTITIES})
    await running.stop()
    if copies != ENTITIES:
        raise SystemExit(f"{copies} of {ENTITIES} copies are at their last version")
    return rate, cpu_s


def _shipped(running: RunningService) -> int:
    return int(running.relay.progress.shipped_total)


def _applied(running: RunningService) -> int:
    return sum(consumer.progress.applied_total for consumer in running.consumers.values())


async def _until(condition: str, is_met: Any) -> None:
    until = time.perf_counter() + DRAINED_TIMEOUT_S
    while not is_met():
        if time.perf_counter() > until:
            raise TimeoutError(f"{condition}: not within {DRAINED_TIMEOUT_S:g} s")
        await asyncio.sleep(0.01)


def _produce(address: KafkaAddress, rows: list[tuple[str, bytes, bytes]]) -> float:
    """Produce the same records to a topic of the owner's, with what the relay's writer sets; headers ready beforehand."""
    producer = Producer(
        {
            **address.client_config(),
            "enable.idempotence": True,
            "partitioner": "murmur2_random",
            "queue.buffering.max.messages": len(rows) + 1,
        }
    )
    records: list[tuple[str, bytes, Any]] = [(key, data, decode_headers(headers)) for key, headers, data in rows]
    started = time.perf_counter()
    for key, data, headers in records:
        producer.produce(owner.name, key=key, value=data, headers=headers)
    left = producer.flush(DRAINED_TIMEOUT_S)
    if left:
        raise SystemExit(f"{left} records were not delivered")
    return len(rows) / (time.perf_counter() - started)


async def _bulk_write(store_url: str) -> float:
    """Write the same documents bare: upserts by id in unordered batches, majority."""
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(store_url)
    async with client:
        bare = client.get_default_database()["bare_items"]
        started = time.perf_counter()
        for first in range(0, EVENTS, BATCH):
            await bare.bulk_write([_upsert(number) for number in range(first, first + BATCH)], ordered=False)
        return EVENTS / (time.perf_counter() - started)


def _upsert(number: int) -> UpdateOne:
    entity = f"item-{number % ENTITIES}"
    fields = {"name": f"Item {number}", "email": f"{entity}@example.org", "epoch": 1, "version": 1, "index": 0}
    return UpdateOne({"_id": entity}, {"$set": fields}, upsert=True)
