"""One trace from the write to the row in the copy, over outbox and topic."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from freehold import telemetry
from freehold.telemetry import OPERATION, SERVICE, STORE, TOPIC, continue_trace
from tests.seams.pair import owner, subscriber, update

pytestmark = pytest.mark.services

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
SAMPLED = f"00-{TRACE_ID}-00f067aa0ba902b7-01"
NOT_SAMPLED = f"00-{TRACE_ID}-00f067aa0ba902b7-00"
PARTS = ["send users.UserUpdated", "apply users.UserUpdated", "handle users.UserUpdated"]


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


async def publish_in_trace(
    freehold_service: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
    exporter: InMemorySpanExporter,
    traceparent: str,
) -> None:
    users, orders = owner("postgres"), subscriber("mongo")
    async with freehold_service(users) as running, freehold_service(orders):
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        monkeypatch.setattr(telemetry, "tracer", provider.get_tracer("freehold"))
        monkeypatch.setattr(telemetry, "_is_traced", True)
        with continue_trace(traceparent, "request"):
            await users.store.transact(update, "u1", 1)
        await running.settled()


async def test_one_trace_goes_from_the_write_to_the_copy(
    freehold_service: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, exporter: InMemorySpanExporter
) -> None:
    await publish_in_trace(freehold_service, monkeypatch, exporter, SAMPLED)
    spans = {span.name: span for span in exporter.get_finished_spans()}

    assert set(PARTS) <= set(spans)
    for name in PARTS:
        assert f"{spans[name].context.trace_id:032x}" == TRACE_ID
    sent, applied = (dict(spans[name].attributes or {}) for name in PARTS[:2])
    assert (sent[SERVICE], sent[TOPIC], sent[OPERATION]) == ("users", "users", PARTS[0])
    assert (applied[SERVICE], applied[STORE], applied[TOPIC], applied[OPERATION]) == (
        "orders",
        "orders",
        "users",
        PARTS[1],
    )


async def test_trace_that_nobody_keeps_makes_no_spans_on_the_way(
    freehold_service: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, exporter: InMemorySpanExporter
) -> None:
    await publish_in_trace(freehold_service, monkeypatch, exporter, NOT_SAMPLED)

    assert [span.name for span in exporter.get_finished_spans() if span.name in PARTS] == []
