"""Readiness follows the own store and nothing else; life follows nothing."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from freehold import Mongo, Postgres, Service
from freehold.runtime.health import Health
from freehold.testing import Scene
from tests.seams.proxy import proxied

CHANGED_S = 15.0


async def wait_for(what: str, is_met: Callable[[], Awaitable[bool]]) -> None:
    until = asyncio.get_running_loop().time() + CHANGED_S
    while not await is_met():
        assert asyncio.get_running_loop().time() < until, f"{what} did not come within {CHANGED_S:g} s"
        await asyncio.sleep(0.05)


async def app(_scope: Any, _receive: Any, send: Any) -> None:
    await STORE.transact(count)
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"counted"})


async def count(tx: Any) -> None:
    await tx.execute("SELECT 1")


STORE = Postgres()


async def test_readiness_follows_the_store_and_comes_back_with_it(freehold_scene: Scene) -> None:
    service = Service(name="watched", store=STORE, app=app)
    store_url, _ = await asyncio.to_thread(freehold_scene.provision, service)
    async with proxied(store_url) as proxy, freehold_scene.run(service, store_url=proxy.url) as running:

        async def is_ready() -> bool:
            return (await running.client.get("/readyz")).status_code == 200

        async def is_not_ready() -> bool:
            return not await is_ready()

        assert await is_ready()
        await proxy.stop()
        await wait_for("not ready", is_not_ready)
        alive = await running.client.get("/livez")
        lines = (await running.client.get("/readyz?verbose")).text
        refused = await running.client.get("/")
        await proxy.start()
        await wait_for("ready", is_ready)
        answered = await running.client.get("/")

    assert alive.status_code == 200
    assert "[-] store:" in lines
    assert (refused.status_code, refused.json()["type"]) == (503, "urn:freehold:problem:store-unavailable")
    assert "retry-after" in refused.headers
    assert answered.text == "counted"


async def test_a_read_outside_a_transaction_says_so_too_when_mongodb_is_gone(freehold_scene: Scene) -> None:
    store = Mongo()

    async def read(scope: Any, _receive: Any, send: Any) -> None:
        await (store["things"].find_one({}) if scope["method"] == "GET" else store["things"].insert_one({}))
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"read"})

    service = Service(name="reading", store=store, app=read)
    store_url, _ = await asyncio.to_thread(freehold_scene.provision, service)
    # A replica set names its members by their own addresses, past any proxy.
    options = dict(parse_qsl(urlsplit(store_url).query)) | {"directConnection": "true"}
    options.pop("replicaSet", None)
    direct = urlsplit(store_url)._replace(query=urlencode(options)).geturl()
    async with proxied(direct) as proxy, freehold_scene.run(service, store_url=proxy.url) as running:
        there = await running.client.get("/")
        await proxy.stop()
        gone = await running.client.get("/")
        unknown = await running.client.post("/")

    assert there.status_code == 200
    assert (gone.status_code, gone.json()["type"]) == (503, "urn:freehold:problem:store-unavailable")
    assert (unknown.status_code, unknown.json()["type"]) == (503, "urn:freehold:problem:commit-unknown")


async def test_many_probes_are_not_the_store_s_load() -> None:
    class Counting:
        asked = 0

        async def ping(self) -> None:
            self.asked += 1

        async def backlog(self) -> None:
            raise AssertionError("not asked for")

    health = Health("users")
    health.store = store = Counting()
    health.phase = "ready"
    reports = [await health.report(verbose=False) for _ in range(100)]

    assert all(report.ready for report in reports)
    assert store.asked == 1


async def test_a_process_that_stops_is_not_ready_first() -> None:
    health = Health("users")
    health.phase = "stopping"
    report = await health.report(verbose=True)

    assert (report.ready, report.checks[0].detail) == (False, "stopping")


async def test_each_metric_is_in_the_guide(freehold_scene: Scene) -> None:
    guide = (Path(__file__).parents[2] / "docs" / "guides" / "observe.md").read_text()
    service = Service(name="watched", store=STORE, app=app)
    async with freehold_scene.run(service) as running:
        await running.client.get("/")
        text = (await running.client.get("/metrics")).text

    families = {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}
    ours = {name for name in families if name.startswith(("http_", "freehold_"))}
    assert len(ours) > 5
    assert [name for name in sorted(ours) if f"`{name}`" not in guide] == []
