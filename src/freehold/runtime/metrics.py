"""What `/metrics` shows, in Prometheus text.

Only the duration of requests is recorded as it happens. All else is read from those who count it when somebody asks:
the store's and the relay's own numbers, the consumers' progress, and the outbox itself, asked independently of any relay,
so that a relay that nobody runs is seen by the age of the oldest row.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from freehold.errors import PeerError
from freehold.http.exchange import Receive, Scope, Send
from freehold.runtime.health import Health, answer
from freehold.service import Application

# OpenTelemetry's advice for http.server.request.duration, and two finer ones: a write takes a few milliseconds.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)
# A method is whatever a client sends: those that nobody knows count as one (OpenTelemetry, http.request.method).
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"})
_BACKLOG_S = 1.0


class Metrics:
    """The metrics of one process."""

    def __init__(self, service: str, health: Health) -> None:
        self.store: Any = None
        self.registry = CollectorRegistry()
        self._service = service
        self._health = health
        self._backlog: Any = None
        self._durations = Histogram(
            "http_server_request_duration_seconds",
            "Duration of requests.",
            ("http_request_method", "http_route", "http_response_status_code"),
            buckets=SECONDS,
            registry=self.registry,
        )
        self._children: dict[tuple[str, str, int], Any] = {}
        self.registry.register(self)  # a collector is whatever has collect()
        ProcessCollector(registry=self.registry)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Record one request."""
        key = (method, route, status)
        child = self._children.get(key)
        if child is None:
            known = method if method in METHODS else "_OTHER"
            child = self._durations.labels(known, route, str(status))
            if known == method:
                self._children[key] = child
        child.observe(seconds)

    def routes(self) -> dict[str, Application]:
        """Give the application that answers `/metrics`."""
        return {"/metrics": self._answer}

    async def refresh(self) -> None:
        """Ask the store for its backlog; what does not answer is left out."""
        self._backlog = None
        if self.store is None:
            return
        try:
            async with asyncio.timeout(_BACKLOG_S):
                self._backlog = await self.store.backlog()
        except (PeerError, TimeoutError):
            return

    def collect(self) -> Iterable[Metric]:
        """Give what the parts count by themselves."""
        yield GaugeMetricFamily("freehold_ready", "1 when the process is ready.", float(self._health.phase == "ready"))
        if self._backlog is not None:
            yield GaugeMetricFamily("freehold_outbox_rows", "Rows in the outbox, to 10,000.", self._backlog.rows)
            yield GaugeMetricFamily(
                "freehold_outbox_oldest_age_seconds", "Age of the oldest row.", self._backlog.oldest_age_s
            )
        counts = getattr(self.store, "counts", None)
        if counts is not None:
            yield CounterMetricFamily("freehold_store_transactions", "Transactions committed.", counts.transactions)
            yield CounterMetricFamily("freehold_store_conflicts", "Transactions run again.", counts.conflicts)
            yield CounterMetricFamily("freehold_outbox_events", "Events published.", counts.events)

    async def _answer(self, scope: Scope, _receive: Receive, send: Send) -> None:
        await self.refresh()
        await answer(scope, send, 200, generate_latest(self.registry), CONTENT_TYPE_LATEST.encode())
