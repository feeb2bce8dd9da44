"""How long an audit takes, and what it costs: users in PostgreSQL against their copies in MongoDB, all of them equal.

The rows are written into both stores directly; what is measured is what a user runs: `freehold audit`, with both
services up. The limit is reading the same rows alone, by the bare drivers in this process.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import psycopg
from pymongo import MongoClient

from benchmarks.figure import Figure
from benchmarks.stage import Stage, cpu_s, peak_memory_mb

SIZES = (10_000, 1_000_000)
WANTED = {10_000: "about 1 s", 1_000_000: "60 s"}
INSERT_ROWS = 10_000
_USERS = """
INSERT INTO users (id, name, email, version)
SELECT gen_random_uuid(), 'User ' || number, 'user' || number || '@example.org', 1
FROM generate_series(%s::bigint, %s::bigint) AS number
RETURNING id, name, email
"""


def measure(stage: Stage, sizes: tuple[int, ...] = SIZES) -> list[Figure]:
    """Audit each size, from the smallest on."""
    figures: list[Figure] = []
    there = 0
    for size in sizes:
        _fill(stage, there, size)
        there = size
        figures += _measure(stage, size)
    return figures


def _measure(stage: Stage, size: int) -> list[Figure]:
    processes = {name: each["pid"] for name, each in stage.processes().items() if name in {"users", "orders"}}
    before = {name: cpu_s(pid) for name, pid in processes.items()}
    said = json.loads(stage.freehold("audit", "orders.customers", "--json"))
    if said["rows"] != size or said["differing"]:
        raise SystemExit(f"of {size:,} rows {said['rows']:,} were compared, {len(said['differing']):,} differ")
    used = {name: cpu_s(pid) - before[name] for name, pid in processes.items()}
    return [
        Figure(
            name=f"audit of {size:,} copies, all equal",
            value=said["seconds"],
            unit="s",
            limit=_read_alone(stage, size),
            limit_name="reading them alone",
            wanted=WANTED.get(size, ""),
        ),
        *(
            Figure(name=f"{name}: CPU for 1,000 of {size:,} copies", value=1e6 * used[name] / size, unit="ms")
            for name in sorted(used)
        ),
        *(
            Figure(name=f"{name}: peak memory after {size:,}", value=peak_memory_mb(pid), unit="MB", wanted="flat")
            for name, pid in sorted(processes.items())
        ),
    ]


def _fill(stage: Stage, there: int, size: int) -> None:
    client: MongoClient[dict[str, Any]] = MongoClient(stage.store_url("orders"))
    with psycopg.connect(stage.store_url("users"), autocommit=True) as connection, client:
        customers = client.get_default_database()["customers"]
        for first in range(there + 1, size + 1, INSERT_ROWS):
            rows = connection.execute(_USERS, (first, min(size, first + INSERT_ROWS - 1))).fetchall()
            customers.insert_many(list(_copies(rows)), ordered=False)
        connection.execute("ANALYZE users")


def _copies(rows: list[Any]) -> Iterator[dict[str, Any]]:
    for user_id, name, email in rows:
        copy = {"_id": str(user_id), "name": name, "email": email}
        yield copy | {"epoch": 1, "version": 1, "index": 0, "deleted": False}


def _read_alone(stage: Stage, size: int) -> float:
    client: MongoClient[dict[str, Any]] = MongoClient(stage.store_url("orders"))
    started = time.perf_counter()
    with psycopg.connect(stage.store_url("users")) as connection, client:
        with connection.cursor(name="users") as cursor:
            cursor.itersize = 1_000
            found = sum(1 for _ in cursor.execute("SELECT * FROM users ORDER BY id"))
        copies = sum(1 for _ in client.get_default_database()["customers"].find())
    assert found == copies == size
    return time.perf_counter() - started
