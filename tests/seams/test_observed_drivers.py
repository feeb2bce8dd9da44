"""Whatever connection a traced process uses, its statements are told: which database and table, never a value."""

from typing import Any

import asyncpg
import psycopg
import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pymongo import AsyncMongoClient, MongoClient
from pymongo.asynchronous.collection import AsyncCollection

from freehold import telemetry
from freehold.runtime import outbound
from freehold.store.mongo_spans import StatementListener
from freehold.store.postgres_spans import observe_asyncpg
from tests.seams.conftest import Database

ELSEWHERE = "mongodb://orders@127.0.0.1:1/orders"


class Watched:
    """A process of ours that is traced, with one request being handled in it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = provider.get_tracer("freehold")
        monkeypatch.setattr(telemetry, "tracer", self.tracer)
        monkeypatch.setattr(telemetry, "_is_traced", True)

    def told(self) -> list[dict[str, Any]]:
        spans: list[ReadableSpan] = [span for span in self.exporter.get_finished_spans() if span.name != "request"]
        assert not [span for span in spans if "Ada" in f"{span.name} {dict(span.attributes or {})}"]
        return [dict(span.attributes or {}) for span in spans]


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


@pytest.mark.parametrize("is_own", [True, False])
async def test_statements_of_asyncpg_are_told(
    watched: Watched, empty_postgres: Database, monkeypatch: pytest.MonkeyPatch, is_own: bool
) -> None:
    monkeypatch.setattr(asyncpg.Connection, "__init__", asyncpg.Connection.__init__)
    observe_asyncpg("orders", empty_postgres.url if is_own else ELSEWHERE)
    connection = await asyncpg.connect(empty_postgres.url)
    with watched.tracer.start_as_current_span("request"):
        await connection.execute("CREATE TABLE people (name text)")
        await connection.execute("INSERT INTO people VALUES ('Ada')")
        assert await connection.fetchval("SELECT count(*) FROM people WHERE name = $1", "Ada") == 1
    await connection.close()
    told = watched.told()

    assert [(each["db.operation.name"], each["db.collection.name"]) for each in told] == [
        ("CREATE", "people"),
        ("INSERT", "people"),
        ("SELECT", "people"),
    ]
    assert {each["db.namespace"] for each in told} == {empty_postgres.service}
    assert {each.get("freehold.store") for each in told} == {"orders" if is_own else None}


@pytest.mark.parametrize("is_own", [True, False])
async def test_commands_of_pymongo_are_told(watched: Watched, empty_mongo: Database, is_own: bool) -> None:
    listener = StatementListener(empty_mongo.service, empty_mongo.url if is_own else "postgresql://127.0.0.1/orders")
    with watched.tracer.start_as_current_span("request"):
        client: AsyncMongoClient[dict[str, Any]]
        async with AsyncMongoClient(empty_mongo.url, event_listeners=[listener]) as client:
            people: AsyncCollection[dict[str, Any]] = client[empty_mongo.service]["people"]
            await people.insert_one({"name": "Ada"})
            assert await people.find_one({"name": "Ada"})
        blocking: MongoClient[dict[str, Any]]
        with MongoClient(empty_mongo.url, event_listeners=[listener]) as blocking:
            assert blocking[empty_mongo.service]["people"].count_documents({"name": "Ada"}) == 1
    told = watched.told()

    assert [(each["db.operation.name"], each["db.collection.name"]) for each in told] == [
        ("insert", "people"),
        ("find", "people"),
        ("aggregate", "people"),
    ]
    assert {each["db.namespace"] for each in told} == {empty_mongo.service}
    assert {each.get("freehold.store") for each in told} == {empty_mongo.service if is_own else None}


async def test_connections_of_psycopg_are_told(
    watched: Watched, empty_postgres: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    for holder in (psycopg, psycopg.Connection, psycopg.AsyncConnection):
        monkeypatch.setattr(holder, "connect", holder.connect)
    outbound._observe_psycopg()
    with watched.tracer.start_as_current_span("request"):
        psycopg.connect(empty_postgres.url).close()
        psycopg.Connection.connect(empty_postgres.url).close()
        await (await psycopg.AsyncConnection.connect(empty_postgres.url)).close()
    ports = [each["server.port"] for each in watched.told()]

    assert len(ports) == 3
    assert f":{ports[0]}/" in empty_postgres.url
