"""The most memory that a relay and a consumer ever need, with a small and with a hundred times larger backlog.

Each is a process of its own, as `freehold run ... --only relay|consumers` starts it; the figure is its peak resident
memory by the time that its backlog is drained. It is flat when the two backlogs need the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import psycopg
from pymongo import MongoClient

from benchmarks.backlog import BATCH, ENTITIES, owner, publish, reader
from benchmarks.figure import Figure
from benchmarks.stage import ROOT, Stage, peak_memory_mb
from freehold.runtime.provision.kafka import provision_kafka
from freehold.runtime.provision.mongo import provision_mongo
from freehold.runtime.provision.postgres import provision_postgres

BACKLOGS = (10_000, 1_000_000)
DRAINED_TIMEOUT_S = 900.0

Environment = dict[str, str]


def measure(stage: Stage) -> list[Figure]:
    """Drain both backlogs, each by new processes."""
    return [figure for backlog in BACKLOGS for figure in _measure(stage, backlog)]


def _measure(stage: Stage, backlog: int) -> list[Figure]:
    namespace = f"n{backlog}"
    owner_url = provision_postgres(stage.admin_url("postgres"), f"{namespace}_{owner.name}", secrets.token_urlsafe())
    reader_url = provision_mongo(stage.admin_url("mongo"), f"{namespace}_{reader.name}", secrets.token_urlsafe())
    asyncio.run(_fill(owner_url, backlog))
    kafka = stage.admin_url("kafka")
    relay_mb = _peak_mb(
        _environment(
            owner_url, provision_kafka(kafka, f"{namespace}_{owner.name}", secrets.token_urlsafe(), reads=[]), namespace
        ),
        (owner.name, "relay"),
        lambda: _waiting(owner_url) == 0,
    )
    reads = [f"{namespace}_{owner.name}"]
    reader_kafka = provision_kafka(kafka, f"{namespace}_{reader.name}", secrets.token_urlsafe(), reads=reads)
    last = (backlog - 1) // ENTITIES + 1
    consumer_mb = _peak_mb(
        _environment(reader_url, reader_kafka, namespace),
        (reader.name, "consumers"),
        lambda: _copies_at(reader_url, last) == backlog - (last - 1) * ENTITIES,
    )
    return [
        Figure(name=f"relay, peak memory, backlog of {backlog:,}", value=relay_mb, unit="MB", wanted="flat"),
        Figure(name=f"consumer, peak memory, backlog of {backlog:,}", value=consumer_mb, unit="MB", wanted="flat"),
    ]


async def _fill(url: str, backlog: int) -> None:
    store = owner.store
    await store.open(url, service=owner.name, publishes=tuple(owner.publishes))
    await store.migrate()
    for first in range(0, backlog, BATCH):
        await store.transact(publish, first)
    await store.close()


def _peak_mb(environment: Environment, part: tuple[str, str], is_drained: Callable[[], bool]) -> float:
    with _running(environment, *part) as process:
        until = time.perf_counter() + DRAINED_TIMEOUT_S
        while not is_drained():
            if process.poll() is not None or time.perf_counter() > until:
                raise SystemExit(f"the {part[1]} did not drain the backlog (exit code {process.poll()})")
            time.sleep(0.5)
        return peak_memory_mb(process.pid)


@contextlib.contextmanager
def _running(environment: Environment, name: str, part: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "freehold", "run", name, "--system", "benchmarks.backlog:system", "--only", part],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(30)


def _environment(store_url: str, kafka_url: str, namespace: str) -> Environment:
    return {
        "FREEHOLD_STORE_URL": store_url,
        "FREEHOLD_KAFKA_URL": kafka_url,
        "FREEHOLD_NAMESPACE": namespace,
        "FREEHOLD_PORT": "0",
        "FREEHOLD_LOG_LEVEL": "error",
    }


def _waiting(url: str) -> int:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM (SELECT FROM freehold.outbox LIMIT 1) AS any_row").fetchone()
    return int(row[0]) if row else 0


def _copies_at(url: str, version: int) -> int:
    client: MongoClient[dict[str, object]] = MongoClient(url)
    with client:
        items = client.get_default_database()["items"]
        return items.count_documents({"version": version} if version > 1 else {})
