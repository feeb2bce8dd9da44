"""Take what the system's processes export over OTLP, as OpenTelemetry's own collector would, on loopback alone."""

from __future__ import annotations

import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from freehold.conform.otlp import BODY_BYTES_MAX, UnreadableExport, read_export
from freehold.conform.span import Span
from freehold.runtime.embedded.ports import LOOPBACK

# About 1 KB each in memory. Whoever watches for longer than this lasts is told.
SPANS_MAX = 500_000
READ_TIMEOUT_S = 10.0


class Collector:
    """A receiver of traces while it is open: `with Collector() as collector`.

    Attributes:
        url: For OTEL_EXPORTER_OTLP_ENDPOINT.
        lost: How many spans came beyond SPANS_MAX.
    """

    def __init__(self, port: int = 0) -> None:
        self.lost = 0
        self._spans: list[Span] = []
        self._taking = threading.Lock()
        self._server = ThreadingHTTPServer((LOOPBACK, port), _handler(self))
        self._server.daemon_threads = True
        self.url = f"http://{LOOPBACK}:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="collector", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, spans: list[Span]) -> None:
        """Keep spans, up to the bound."""
        with self._taking:
            room = max(0, SPANS_MAX - len(self._spans))
            self._spans += spans[:room]
            self.lost += len(spans[room:])

    def spans(self) -> list[Span]:
        """Give what has come until now."""
        with self._taking:
            return list(self._spans)


def _handler(collector: Collector) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = READ_TIMEOUT_S

        def do_POST(self) -> None:
            length = self.headers.get("content-length", "")
            if not length.isdecimal() or int(length) > BODY_BYTES_MAX:
                self._answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
                return
            body = self.rfile.read(int(length))
            status = HTTPStatus.OK
            if self.path == "/v1/traces":
                try:
                    collector.take(read_export(body, self.headers.get("content-type", "")))
                except UnreadableExport:
                    status = HTTPStatus.BAD_REQUEST
            self._answer(status)

        def _answer(self, status: HTTPStatus) -> None:
            self.send_response(status)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_arguments: Any) -> None:
            """Write nothing: what matters is in the report."""

    return Handler
