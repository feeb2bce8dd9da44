"""How long after its commit an event is on the topic, and its state in the other service's MongoDB, at 200 writes/s.

Origin of time is PostgreSQL's own commit timestamp (a clock read in the application after COMMIT comes too late). The
end is when a bare Kafka consumer, or a bare majority change stream on orders' `customers`, sees it: their own way is
included, so the figures are upper bounds. Each user is written once, so the last commit of its row is the write.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import asyncpg
from confluent_kafka import Consumer, TopicPartition
from pymongo import MongoClient

from benchmarks.figure import Figure
from benchmarks.load import open_loop, quantile, request
from benchmarks.stage import Stage
from freehold.topic.address import KafkaAddress

WRITES_PER_SECOND = 200
WARM_WRITES = 400
WRITES = 3_000
SEEN_TIMEOUT_S = 30.0
PARTITIONS = 6


def measure(stage: Stage) -> list[Figure]:
    """Measure both ways, three figures each."""
    ids = [str(uuid.uuid4()) for _ in range(WARM_WRITES + WRITES)]
    asyncio.run(_insert(stage, ids))
    on_topic, in_copy = _Watch(_follow_topic, stage), _Watch(_follow_copies, stage)
    with on_topic, in_copy:
        asyncio.run(_put(stage, ids))
        wanted = set(ids[WARM_WRITES:])
        on_topic.wait(wanted)
        in_copy.wait(wanted)
    committed = asyncio.run(_commit_times(stage))
    return [
        *_figures("commit -> topic", on_topic, committed, ids, ("", "", "")),
        *_figures("commit -> copy in MongoDB", in_copy, committed, ids, ("5 ms", "25 ms", "")),
    ]


def _figures(
    name: str, watch: _Watch, committed: dict[str, float], ids: list[str], wanted: tuple[str, str, str]
) -> list[Figure]:
    lags_ms = [(watch.seen_at[user] - committed[user]) * 1000 for user in ids[WARM_WRITES:]]
    values = (quantile(lags_ms, 0.5), quantile(lags_ms, 0.99), max(lags_ms))
    return [
        Figure(name=f"{name}, {label}, {WRITES_PER_SECOND} writes/s", value=value, unit="ms", wanted=reach)
        for label, value, reach in zip(("p50", "p99", "max"), values, wanted, strict=True)
    ]


class _Watch:
    """A thread that notes when it first saw each user."""

    def __init__(
        self, follow: Callable[[Stage, threading.Event, threading.Event], Iterator[str]], stage: Stage
    ) -> None:
        self.seen_at: dict[str, float] = {}
        self._stop = threading.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(follow, stage))

    def __enter__(self) -> _Watch:
        self._thread.start()
        if not self._ready.wait(SEEN_TIMEOUT_S):
            raise TimeoutError("a watcher did not become ready")
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def wait(self, wanted: set[str]) -> None:
        """Wait until each of these was seen."""
        until = time.perf_counter() + SEEN_TIMEOUT_S
        while missing := wanted - self.seen_at.copy().keys():
            if time.perf_counter() > until:
                raise TimeoutError(f"{len(missing)} of {len(wanted)} writes were never seen")
            time.sleep(0.1)

    def _run(self, follow: Callable[[Stage, threading.Event, threading.Event], Iterator[str]], stage: Stage) -> None:
        for user in follow(stage, self._ready, self._stop):
            self.seen_at.setdefault(user, time.time())


def _follow_topic(stage: Stage, ready: threading.Event, stop: threading.Event) -> Iterator[str]:
    address = KafkaAddress.parse(stage.kafka_url("users"))
    consumer = Consumer({**address.client_config(), "group.id": "users-bench", "fetch.wait.max.ms": 100})
    try:
        partitions = [TopicPartition("users", number) for number in range(PARTITIONS)]
        for partition in partitions:
            partition.offset = consumer.get_watermark_offsets(partition, timeout=10)[1]
        consumer.assign(partitions)
        ready.set()
        while not stop.is_set():
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                yield (message.key() or b"").decode().partition("/")[2]
    finally:
        consumer.close()


def _follow_copies(stage: Stage, ready: threading.Event, stop: threading.Event) -> Iterator[str]:
    client: MongoClient[dict[str, Any]] = MongoClient(stage.store_url("orders"))
    with client:
        customers = client.get_default_database()["customers"]
        with customers.watch([{"$project": {"documentKey": 1}}], max_await_time_ms=200) as stream:
            ready.set()
            while not stop.is_set():
                change = stream.try_next()
                if change is not None:
                    yield change["documentKey"]["_id"]


async def _insert(stage: Stage, ids: list[str]) -> None:
    connection = await asyncpg.connect(stage.store_url("users"))
    rows = [(uuid.UUID(user), "Ada", f"{user}@example.org") for user in ids]
    await connection.executemany("INSERT INTO users (id, name, email, version) VALUES ($1, $2, $3, 1)", rows)
    await connection.close()


async def _put(stage: Stage, ids: list[str]) -> None:
    requests = (
        request("PUT", f"/users/{user}", json.dumps({"name": "Ada Lovelace", "email": f"{user}@example.org"}).encode())
        for user in ids
    )
    seconds = len(ids) / WRITES_PER_SECOND
    outcome = await open_loop(stage.port("users"), requests, per_second=WRITES_PER_SECOND, seconds=seconds)
    if set(outcome.statuses) != {200}:
        raise SystemExit(f"PUT answered {outcome.statuses}")


async def _commit_times(stage: Stage) -> dict[str, float]:
    connection = await asyncpg.connect(stage.store_url("users"))
    rows = await connection.fetch(
        "SELECT id::text, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 AS at FROM users"
    )
    await connection.close()
    return {row["id"]: row["at"] for row in rows}
