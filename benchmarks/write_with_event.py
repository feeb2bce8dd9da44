"""A write with its event, over HTTP: PUT /users/{id} on the users service by 16 clients.

Limit: pgbench, 16 clients, the same UPDATE of the same rows in the same database, without HTTP, Python or event.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import re
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import asyncpg

from benchmarks.figure import Figure
from benchmarks.load import closed_loop, request
from benchmarks.stage import Stage
from freehold.runtime.embedded.postgres import find_program

CLIENTS = 16
USERS = 1_000
WARM_S = 8.0  # Kafka compiles what it runs often, until then it takes more of the cores
RUN_S = 8.0

BARE_UPDATE = """\
\\set n random(1, {users})
UPDATE users SET name = 'Ada ' || :n || ' ' || random(), version = version + 1
WHERE id = (SELECT id FROM bench_ids WHERE n = :n) RETURNING id, name, email, version;
"""


def measure(stage: Stage) -> list[Figure]:
    """Measure writes per second over HTTP and the bare limit."""
    asyncio.run(_make_users(stage))
    through_http = asyncio.run(_put(stage))
    return [
        Figure(
            name="write with event over HTTP, 16 clients, whole system running",
            value=through_http,
            unit="writes/s",
            limit=_pgbench(stage),
            limit_name="pgbench, bare UPDATE",
            wanted="2,500/s",
        )
    ]


async def _make_users(stage: Stage) -> None:
    ids = [uuid.uuid5(uuid.NAMESPACE_OID, str(number)) for number in range(USERS)]
    connection = await asyncpg.connect(stage.store_url("users"))
    await connection.execute("CREATE TABLE IF NOT EXISTS bench_ids (n int PRIMARY KEY, id uuid)")
    if not await connection.fetchval("SELECT count(*) FROM bench_ids"):
        rows = [(user_id, f"Ada {n}", f"ada{n}@example.org") for n, user_id in enumerate(ids, 1)]
        await connection.executemany("INSERT INTO users (id, name, email, version) VALUES ($1, $2, $3, 1)", rows)
        await connection.executemany("INSERT INTO bench_ids VALUES ($1, $2)", list(enumerate(ids, 1)))
        await connection.execute("VACUUM ANALYZE")
    await connection.close()


async def _put(stage: Stage) -> float:
    port = stage.port("users")
    requests = _requests()
    await closed_loop(port, requests, clients=CLIENTS, seconds=WARM_S)
    outcome = await closed_loop(port, requests, clients=CLIENTS, seconds=RUN_S)
    if set(outcome.statuses) != {200}:
        raise SystemExit(f"PUT answered {outcome.statuses}")
    return outcome.per_second


def _requests() -> Iterator[bytes]:
    for number in itertools.count():
        n = number % USERS
        user_id = uuid.uuid5(uuid.NAMESPACE_OID, str(n))
        body = json.dumps({"name": f"Ada {number}", "email": f"ada{n + 1}@example.org"}).encode()
        yield request("PUT", f"/users/{user_id}", body)


def _pgbench(stage: Stage) -> float:
    url = urlsplit(stage.store_url("users"))
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "update.sql"
        script.write_text(BARE_UPDATE.format(users=USERS))
        done = subprocess.run(
            [
                *(str(find_program("pgbench")), "--no-vacuum", "--protocol=prepared"),
                *(f"--client={CLIENTS}", "--jobs=2", f"--time={RUN_S:.0f}", f"--file={script}"),
                *("--host", url.hostname or "", "--port", str(url.port), "--username", url.username or ""),
                url.path.lstrip("/"),
            ],
            env={**os.environ, "PGPASSWORD": unquote(url.password or "")},
            capture_output=True,
            text=True,
            check=True,
        )
    found = re.search(r"tps = ([\d.]+)", done.stdout)
    assert found is not None, done.stdout
    return float(found.group(1))
