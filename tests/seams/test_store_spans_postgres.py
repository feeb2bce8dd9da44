"""A transaction's span: there when its trace is kept, and nothing otherwise."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from freehold import telemetry
from freehold.outbox.outgoing import decode_headers
from freehold.store.postgres import Postgres
from tests.seams.conftest import Database
from tests.seams.on_postgres import OnPostgres
from tests.seams.product import PUBLISHES, UserUpdated


@pytest.fixture
async def store(empty_postgres: Database) -> AsyncIterator[Postgres]:
    store = OnPostgres().make_store()
    await store.open(empty_postgres.url, service=empty_postgres.service, publishes=PUBLISHES)
    await store.migrate()
    yield store
    await store.close()


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracer(monkeypatch: pytest.MonkeyPatch, exporter: InMemorySpanExporter) -> trace.Tracer:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracer = provider.get_tracer("test")
    monkeypatch.setattr(telemetry, "tracer", tracer)
    monkeypatch.setattr(telemetry, "_is_traced", True)
    return tracer


async def create(tx: Any) -> None:
    tx.publish(UserUpdated, await OnPostgres().insert_user(tx, "u1", "Ann"))


async def test_kept_transaction_says_whose_it_is_and_events_continue_it(
    store: Postgres, tracer: trace.Tracer, exporter: InMemorySpanExporter, empty_postgres: Database
) -> None:
    with tracer.start_as_current_span("request"):
        await store.transact(create)

    [span] = [span for span in exporter.get_finished_spans() if span.name == "transact"]
    assert dict(span.attributes or {}) == {
        "db.system.name": "postgresql",
        "freehold.service": empty_postgres.service,
        "freehold.store": empty_postgres.service,
        "freehold.operation": "create",
        "freehold.events": (f"{empty_postgres.service}.UserUpdated",),
    }
    [row] = await OnPostgres().read_outbox(store)
    assert span.context is not None
    assert f"{span.context.span_id:016x}" in dict(decode_headers(row.headers))["traceparent"].decode()


async def test_transaction_outside_any_trace_makes_no_span(
    store: Postgres, tracer: trace.Tracer, exporter: InMemorySpanExporter
) -> None:
    await store.transact(create)

    assert tracer is vars(telemetry)["tracer"]
    assert exporter.get_finished_spans() == ()
