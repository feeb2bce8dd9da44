"""A process that is traced says whom it connects to, by whatever library."""

import asyncio
import socket
from collections.abc import Iterator

import pytest
from opentelemetry import context
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from freehold import telemetry
from freehold.runtime import outbound
from freehold.runtime.outbound import ObservedLoop


@pytest.fixture
def exporter(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry, "tracer", provider.get_tracer("freehold"))
    monkeypatch.setattr(telemetry, "_is_traced", True)
    return exporter


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


def connect_in_loop(port: int) -> int:
    async def connect() -> int:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        own_port = int(writer.get_extra_info("sockname")[1])
        writer.close()
        return own_port

    with asyncio.Runner(loop_factory=ObservedLoop) as runner:
        return runner.run(connect())


def told(exporter: InMemorySpanExporter) -> list[ReadableSpan]:
    return list(exporter.get_finished_spans())


def test_connection_of_the_loop_is_told_with_both_ends(exporter: InMemorySpanExporter, listener: socket.socket) -> None:
    port = listener.getsockname()[1]
    own_port = connect_in_loop(port)
    [span] = told(exporter)

    assert span.name == f"connect 127.0.0.1:{port}"
    assert dict(span.attributes or {}) == {
        "server.address": "127.0.0.1",
        "server.port": port,
        "network.local.port": own_port,
    }


def test_connection_of_blocking_code_is_told(exporter: InMemorySpanExporter) -> None:
    with socket.socket() as blocking, socket.socket() as waiting, socket.socket(socket.AF_UNIX) as local:
        waiting.setblocking(False)  # the loop's, which tells it itself
        outbound._hear("socket.connect", (blocking, ("127.0.0.1", 7)))
        outbound._hear("socket.connect", (waiting, ("127.0.0.1", 8)))
        outbound._hear("socket.connect", (local, "/run/some.sock"))
        outbound._hear("open", ("file",))

    assert [span.name for span in told(exporter)] == ["connect 127.0.0.1:7"]


def test_own_stores_server_is_not_told(
    exporter: InMemorySpanExporter, listener: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbound, "_own_ports", {listener.getsockname()[1]})
    connect_in_loop(listener.getsockname()[1])

    assert told(exporter) == []


def test_exporter_at_work_is_not_told(exporter: InMemorySpanExporter, listener: socket.socket) -> None:
    token = context.attach(context.set_value(context._SUPPRESS_INSTRUMENTATION_KEY, True))
    try:
        connect_in_loop(listener.getsockname()[1])
    finally:
        context.detach(token)

    assert told(exporter) == []
