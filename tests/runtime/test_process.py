"""One service as one process: it becomes ready, answers, stops in order, and shares its work with another instance."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from freehold.runtime.load import load_service
from freehold.service import Service
from freehold.testing import Scene
from tests.runtime.service_process import READY_S, STOP_S, Process, free_port, is_connected

ROOT = Path(__file__).parents[2]
SYSTEM = str(ROOT / "systems" / "database_per_service")
MODULE = "counting_service"
# Owns a table, publishes with each write; slow and hanging on request.
SERVICE = """
import asyncio
from pathlib import Path
import msgspec
from freehold import Event, Postgres, Service
from freehold.http.problem import Problem

class Counted(Event, entity="counter"):
    id: str
    count: int

store = Postgres(migrations=Path(__file__).parent / "migrations")

async def count(tx, name):
    row = await tx.fetchrow(
        "INSERT INTO counters AS c VALUES ($1, 1, 1) ON CONFLICT (id) DO UPDATE"
        " SET count = c.count + 1, version = c.version + 1 RETURNING *", name)
    tx.publish(Counted, row)
    return row["count"]

async def app(scope, receive, send):
    if scope["type"] == "lifespan":
        raise RuntimeError("no lifespan here")
    name = scope["path"].strip("/")
    if name == "slow":
        await asyncio.sleep(0.5)
    if name == "hang":
        await asyncio.Event().wait()
    body = str(await store.transact(count, name)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})

service = Service(name="counting", store=store, app=app, publishes=[Counted])
"""


Start = Callable[..., Process]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "0001_counters.sql").write_text(
        "CREATE TABLE counters (id text PRIMARY KEY, count int NOT NULL, version int NOT NULL)"
    )
    (tmp_path / f"{MODULE}.py").write_text(SERVICE)
    return tmp_path


@pytest.fixture
def counting(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    monkeypatch.syspath_prepend(str(folder))
    yield load_service(f"{MODULE}:service")
    sys.modules.pop(MODULE)


@pytest.fixture
def environment(counting: Service, freehold_scene: Scene) -> dict[str, str]:
    store_url, kafka_url = freehold_scene.provision(counting)
    return {
        "FREEHOLD_STORE_URL": store_url,
        "FREEHOLD_KAFKA_URL": kafka_url,
        "FREEHOLD_NAMESPACE": freehold_scene.namespace,
    }


@pytest.fixture
def start(folder: Path, environment: dict[str, str]) -> Iterator[Start]:
    started: list[Process] = []

    def start(only: str | None = None, **changes: str) -> Process:
        arguments = ["counting", "--system", f"{MODULE}:service", *(["--only", only] if only else [])]
        process = Process(folder, arguments, environment | {"PYTHONPATH": str(folder)} | changes)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.process.poll() is None:
            process.process.kill()
            process.process.wait()


def test_a_service_becomes_ready_answers_ships_and_stops(start: Start, environment: dict[str, str]) -> None:
    process = start()
    process.wait_until_ready()
    answer = process.get("/a")
    process.wait_for("shipped", lambda: process.report()["backlog"]["rows"] == 0)
    report = process.report()
    metrics = process.get("/metrics").text
    code, took_s = process.stop()

    assert (answer.text, report["pid"]) == ("1", process.process.pid)
    assert report["relay"]["shipped_total"] == 1
    assert "freehold_relay_shipped_total 1.0" in metrics
    assert "freehold_store_transactions_total 1.0" in metrics
    assert "freehold_outbox_rows 0.0" in metrics
    assert (code, took_s < STOP_S) == (0, True)
    assert "hunter2" not in process.log.read_text()
    assert password(environment["FREEHOLD_STORE_URL"]) not in process.log.read_text()


def test_health_routes_answer_as_probes_expect(start: Start) -> None:
    process = start()
    process.wait_until_ready()

    assert process.get("/livez").text == "ok\n"
    assert process.get("/healthz").status_code == 200
    assert "[+] store: answers" in process.get("/readyz?verbose").text
    assert "store" not in process.get("/readyz?verbose&exclude=store").text
    assert httpx.head(f"{process.url}/readyz").content == b""
    assert "traceresponse" not in process.get("/livez").headers


def test_a_request_in_flight_is_answered_before_it_stops(start: Start) -> None:
    process = start()
    process.wait_until_ready()
    with httpx.Client(timeout=10) as client, client.stream("GET", f"{process.url}/livez"):
        pass
    slow = subprocess.Popen(
        [sys.executable, "-c", f"import httpx; print(httpx.get('{process.url}/slow', timeout=10).text)"],
        stdout=subprocess.PIPE,
        text=True,
    )
    process.wait_for("in flight", lambda: is_connected(process))
    code, _ = process.stop()

    assert slow.communicate(timeout=10)[0].strip() == "1"
    assert code == 0


def test_a_request_that_hangs_does_not_hold_the_stop(start: Start) -> None:
    process = start()
    process.wait_until_ready()
    hanging = subprocess.Popen(
        [sys.executable, "-c", f"import httpx; print(httpx.get('{process.url}/hang', timeout=10).status_code)"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    process.wait_for("in flight", lambda: is_connected(process))
    code, took_s = process.stop()
    hanging.wait(10)

    assert (code, took_s < STOP_S) == (0, True)


def test_an_outage_of_kafka_is_no_outage_of_the_api(start: Start, environment: dict[str, str]) -> None:
    process = start(FREEHOLD_KAFKA_URL=f"kafka://127.0.0.1:{free_port()}")
    process.wait_until_ready()
    answer = process.get("/a")
    process.wait_for("visible", lambda: process.report()["relay"].get("error"))
    waiting = process.report()
    code, took_s = process.stop()

    assert (answer.text, waiting["ready"], waiting["backlog"]["rows"]) == ("1", True, 1)
    assert (code, took_s < STOP_S) == (0, True)
    restarted = start()
    restarted.wait_until_ready()
    restarted.wait_for("shipped", lambda: restarted.report()["backlog"]["rows"] == 0)


def test_it_waits_for_its_store_and_says_so(start: Start, environment: dict[str, str]) -> None:
    url = environment["FREEHOLD_STORE_URL"]
    host = url.rpartition("@")[2].partition("/")[0]
    process = start(FREEHOLD_STORE_URL=url.replace(host, f"127.0.0.1:{free_port()}"))
    process.wait_for("listening", lambda: process.get("/livez").status_code == 200)
    ready = process.get("/readyz?verbose")
    request = process.get("/a")
    code, took_s = process.stop()

    assert (ready.status_code, "waits for the store" in ready.text) == (503, True)
    assert (request.status_code, request.json()["type"]) == (503, "urn:freehold:problem:starting")
    assert (code, took_s < STOP_S) == (0, True)


def test_a_port_in_use_is_said_plainly(start: Start) -> None:
    process = start()
    process.wait_until_ready()
    second = start(FREEHOLD_PORT=str(process.port))
    code = second.process.wait(READY_S)

    assert code != 0
    assert f"cannot listen on 127.0.0.1:{process.port}" in second.log.read_text()
    assert "Traceback" not in second.log.read_text()


def test_a_store_of_another_product_is_refused(start: Start) -> None:
    process = start(FREEHOLD_STORE_URL="mongodb://h/d")

    assert process.process.wait(READY_S) != 0
    assert "declares a postgres store" in process.log.read_text()


def test_two_instances_share_one_store(start: Start, environment: dict[str, str]) -> None:
    """They start at once: one migrates, the other waits; one relays, and the other takes over when it is killed."""
    one, other = start(FREEHOLD_INSTANCE="counting-1"), start(FREEHOLD_INSTANCE="counting-2")
    for process in (one, other):
        process.wait_until_ready()
    for _ in range(10):
        one.get("/a")
        other.get("/a")
    one.wait_for("shipped", lambda: one.report()["backlog"]["rows"] == 0)
    states = {process.url: process.report()["relay"]["state"] for process in (one, other)}
    relaying = one if states[one.url] == "following" else other
    waiting = other if relaying is one else one
    relaying.process.kill()
    relaying.process.wait()
    waiting.get("/a")
    waiting.wait_for("shipped", lambda: waiting.report()["backlog"]["rows"] == 0)

    assert sorted(states.values()) == ["following", "waiting_for_lease"]
    with psycopg.connect(environment["FREEHOLD_STORE_URL"]) as connection:
        assert connection.execute("SELECT count FROM counters WHERE id = 'a'").fetchall() == [(21,)]


@pytest.mark.parametrize(
    ("only", "status", "ships"), [("api", 200, False), ("relay", 404, True), ("consumers", 404, False)]
)
def test_a_part_alone_runs_no_other(start: Start, only: str, status: int, ships: bool) -> None:
    process = start(only)
    process.wait_until_ready()

    assert process.get("/a").status_code == status
    assert (process.report()["relay"] is not None) == ships


def password(url: str) -> str:
    return url.partition("://")[2].partition("@")[0].partition(":")[2]


def test_the_gateway_runs_the_same_way(tmp_path: Path) -> None:
    upstreams = {f"FREEHOLD_UPSTREAM_{name}": f"http://127.0.0.1:{free_port()}" for name in ("USERS", "ORDERS")}
    process = Process(tmp_path, ["gateway", "--system", SYSTEM], {"PYTHONPATH": str(ROOT), **upstreams})
    process.wait_until_ready()
    down = process.get("/users/018f3c5e-7a10-7cc4-9d3a-5b1f0e2d4c6b")
    unknown = process.get("/nothing")
    code, took_s = process.stop()

    assert (down.status_code, down.headers["content-type"]) == (503, "application/problem+json")
    assert (unknown.status_code, unknown.headers["content-type"]) == (404, "application/problem+json")
    assert (code, took_s < STOP_S) == (0, True)


def test_a_gateway_without_its_upstreams_says_which(tmp_path: Path) -> None:
    process = Process(tmp_path, ["gateway", "--system", SYSTEM], {"PYTHONPATH": str(ROOT)})

    assert process.process.wait(READY_S) != 0
    assert "FREEHOLD_UPSTREAM_" in process.log.read_text()
    assert "Traceback" not in process.log.read_text()
