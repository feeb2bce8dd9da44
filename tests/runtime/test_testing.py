"""The pytest plugin gives a user's own project the same real servers, and leaves nothing behind."""

import secrets
from pathlib import Path

import psycopg
import pytest
from confluent_kafka.admin import AdminClient
from pymongo import MongoClient

from freehold import Event, Mongo, Postgres, Service
from freehold.testing import Scene, Servers
from freehold.topic.address import KafkaAddress

pytest_plugins = ["pytester"]


class Made(Event, entity="thing"):
    id: str


async def app(scope, receive, send) -> None:  # type: ignore[no-untyped-def]
    """Answer nothing."""


async def test_what_a_test_was_given_is_dropped_after_it(freehold_servers: Servers) -> None:
    scene = Scene(freehold_servers, f"t{secrets.token_hex(4)}")
    things = Service(name="things", store=Postgres(), app=app, publishes=[Made])
    papers = Service(name="papers", store=Mongo(), app=app)
    async with scene.run(things) as running, scene.run(papers):
        store = running.service.store
        await store.transact(publish)
        # The session's first topic, perhaps, on a broker that has just been started.
        await running.settled(limit_s=60)
    found = names(freehold_servers, scene.namespace)
    scene.drop()

    assert found == {
        "databases": {f"{scene.namespace}_things"},
        "slots": 1,
        "topics": {f"{scene.namespace}_things"},
        "mongo": {f"{scene.namespace}_papers"},
    }
    assert names(freehold_servers, scene.namespace) == {"databases": set(), "slots": 0, "topics": set(), "mongo": set()}


async def publish(tx) -> None:  # type: ignore[no-untyped-def]
    tx.publish(Made, {"id": "1", "version": 1})


def names(servers: Servers, namespace: str) -> dict[str, object]:
    """Find what has this namespace in its name on the servers."""
    with psycopg.connect(servers.admin_url("postgres")) as connection:
        databases = connection.execute("SELECT datname FROM pg_database").fetchall()
        slots = connection.execute("SELECT database FROM pg_replication_slots").fetchall()
    with MongoClient[dict[str, object]](servers.admin_url("mongo")) as client:
        mongo = client.list_database_names()
    topics = (
        AdminClient({**KafkaAddress.parse(servers.admin_url("kafka")).client_config()}).list_topics(timeout=10).topics
    )
    return {
        "databases": {name for (name,) in databases if name.startswith(namespace)},
        "slots": len([name for (name,) in slots if name.startswith(namespace)]),
        "topics": {name for name in topics if name.startswith(namespace)},
        "mongo": {name for name in mongo if name.startswith(namespace)},
    }


async def test_servers_that_a_user_has_are_used_and_not_started(
    freehold_servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FREEHOLD_POSTGRES_URL", freehold_servers.admin_url("postgres"))
    servers = Servers(tmp_path)
    scene = Scene(servers, f"t{secrets.token_hex(4)}")
    things = Service(name="things", store=Postgres(), app=app)
    async with scene.run(things) as running:
        ready = await running.client.get("/readyz")
    scene.drop()

    assert ready.status_code == 200
    assert servers.embedded == {}


def test_a_project_s_own_test_needs_nothing_but_the_fixture(
    pytester: pytest.Pytester, freehold_servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FREEHOLD_POSTGRES_URL", freehold_servers.admin_url("postgres"))
    pytester.makepyfile(
        test_project="""
        import asyncio
        from freehold import Postgres, Service

        async def app(scope, receive, send):
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": str(await store.fetchval("SELECT 1")).encode()})

        store = Postgres()
        service = Service(name="mine", store=store, app=app)

        def test_it_answers(freehold_service):
            async def run():
                async with freehold_service(service) as running:
                    return (await running.client.get("/")).text

            assert asyncio.run(run()) == "1"
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", timeout=60)

    result.assert_outcomes(passed=1)
