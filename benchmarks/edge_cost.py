"""What the edge adds to a request, in microseconds of CPU: without an SDK, with a trace that comes in, with tokens, with an SDK.

Run `python -m benchmarks.edge_cost`. The application beneath answers at once, so the difference is the edge's alone.
Source of decision 10.
"""

from __future__ import annotations

import statistics
import time
from typing import Any

import uvloop
from rich.console import Console

from benchmarks.figure import Figure, machine, show
from freehold.event import OutboxRow
from freehold.http.edge import Edge
from freehold.http.read_your_writes import ReadYourWrites
from freehold.http.token import TokenKey
from freehold.http.written import note_written
from freehold.runtime.health import Health
from freehold.runtime.metrics import Metrics

REQUESTS = 30_000
RUNS = 7
TRACEPARENT = (b"traceparent", b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
HEADERS = [
    (b"host", b"127.0.0.1"),
    (b"user-agent", b"client"),
    (b"accept", b"*/*"),
    (b"accept-encoding", b"gzip"),
    (b"content-type", b"application/json"),
    (b"content-length", b"7"),
]
ANSWER = [(b"content-type", b"application/json"), (b"content-length", b"2"), (b"etag", b'"1"')]

MEMORY = ReadYourWrites(TokenKey("the key of a benchmark"), "users")
ROWS = [OutboxRow("user/018f3c5e-7a10-7cc4-9d3a-5b1f0e2d4c6b", 7, 0, "users.UserUpdated", b"", b"{}")]


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Answer at once."""
    scope["path_template"] = "/users/{id}"
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": ANSWER})
    await send({"type": "http.response.body", "body": b"{}"})


async def writing_app(scope: Any, receive: Any, send: Any) -> None:
    """Answer as after a transaction that published one event."""
    note_written("users", 1, ROWS)
    await app(scope, receive, send)


def main() -> None:
    """Measure and print."""
    figures = [
        uvloop.run(_figure("edge, no SDK", HEADERS)),
        uvloop.run(_figure("edge, no SDK, trace comes in", _traced())),
        uvloop.run(_figure("the same, what clients write is remembered", _traced(), memory=MEMORY)),
        uvloop.run(_figure("the same, and the request has written", _traced(), asked=writing_app, memory=MEMORY)),
    ]
    _set_up_sdk()
    figures.append(uvloop.run(_figure("edge, SDK, kept and dropped by an exporter that does nothing", _traced())))
    show(figures, Console(width=140))
    print(machine())


async def _figure(
    name: str, headers: list[tuple[bytes, bytes]], *, asked: Any = app, memory: ReadYourWrites | None = None
) -> Figure:
    metrics = Metrics("users", Health("users"))
    edge = Edge(
        asked, service="users", observe=metrics.observe, cursor_key=b"k" * 32, is_ready=lambda: True, memory=memory
    )
    costs = []
    for _ in range(RUNS):
        bare_us = await _cost_us(asked, headers)
        costs.append(await _cost_us(edge, headers) - bare_us)
    spread = f"{min(costs):.0f} to {max(costs):.0f} in {RUNS} runs"
    return Figure(name=name, value=statistics.median(costs), unit="us CPU/request", limit_name=spread, wanted="30")


async def _cost_us(asked: Any, headers: list[tuple[bytes, bytes]]) -> float:
    began = time.process_time()
    for _ in range(REQUESTS):
        scope = {
            "type": "http",
            "method": "PUT",
            "path": "/users/42",
            "raw_path": b"/users/42",
            "query_string": b"",
            "headers": headers,
        }
        await asked(scope, _receive, _send)
    return (time.process_time() - began) / REQUESTS * 1e6


async def _receive() -> dict[str, Any]:
    return {"type": "http.request", "body": b'{"a":1}', "more_body": False}


async def _send(_message: Any) -> None:
    return


def _traced() -> list[tuple[bytes, bytes]]:
    return [*HEADERS, TRACEPARENT]


def _set_up_sdk() -> None:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

    class Nowhere(SpanExporter):
        """Takes spans and does nothing."""

        def export(self, spans: Any) -> SpanExportResult:  # noqa: ARG002, RUF100
            """Do nothing."""
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Nowhere()))
    trace.set_tracer_provider(provider)


if __name__ == "__main__":
    main()
