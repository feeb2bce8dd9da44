"""What `/metrics` shows, in Prometheus text.

Only the duration of requests is recorded as it happens. All else is read from those who count it when somebody asks:
the store's and the relay's own numbers, the consumers' progress, and the outbox itself, asked independently of any relay,
so that a relay that nobody runs is seen by the age of the oldest row.
"""

from __future__ import annotations

import asyncio
import bisect
import itertools
import math
import time
from collections.abc import Iterable
from typing import Any

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from freehold.errors import PeerError
from freehold.http.exchange import Receive, Scope, Send
from freehold.runtime.health import Health, answer
from freehold.service import Application

# OpenTelemetry's advice for http.server.request.duration, and two finer ones: a write takes a few milliseconds.
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
# A method is whatever a client sends: those that nobody knows count as one (OpenTelemetry, http.request.method).
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "QUERY"})
_BACKLOG_S = 1.0


class _Durations:
    """How long requests of one kind took: how many fell into each bucket, and the sum."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(SECONDS) + 1)
        self.seconds = 0.0


class Metrics:
    """The metrics of one process."""

    def __init__(self, service: str, health: Health) -> None:
        self.store: Any = None
        self.registry = CollectorRegistry()
        self._service = service
        self._health = health
        self._backlog: Any = None
        self._durations: dict[tuple[str, str, int], _Durations] = {}
        self.registry.register(self)  # a collector is whatever has collect()
        ProcessCollector(registry=self.registry)

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Record one request."""
        durations = self._durations.get((method, route, status))
        if durations is None:
            method = method if method in METHODS else "_OTHER"
            durations = self._durations.setdefault((method, route, status), _Durations())
        durations.counts[bisect.bisect_left(SECONDS, seconds)] += 1
        durations.seconds += seconds

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
        """Give the requests' durations, and what the parts count by themselves."""
        yield self._request_durations()
        yield GaugeMetricFamily("freehold_ready", "1 when the process is ready.", float(self._health.phase == "ready"))
        if self._backlog is not None:
            yield GaugeMetricFamily("freehold_outbox_rows", "Rows in the outbox, to 10,000.", self._backlog.rows)
            yield GaugeMetricFamily(
                "freehold_outbox_oldest_age_seconds", "Age of the oldest row.", self._backlog.oldest_age_s
            )
        yield from self._relay_metrics()
        yield from self._consumer_metrics()
        yield from self._audit_metrics()
        counts = getattr(self.store, "counts", None)
        if counts is not None:
            yield CounterMetricFamily("freehold_store_transactions", "Transactions committed.", counts.transactions)
            yield CounterMetricFamily("freehold_store_conflicts", "Transactions run again.", counts.conflicts)
            yield CounterMetricFamily("freehold_outbox_events", "Events published.", counts.events)

    def _relay_metrics(self) -> Iterable[Metric]:
        progress: Any = self._health.relay() if self._health.relay is not None else None
        if progress is None or not hasattr(progress, "shipped_total"):
            return
        yield CounterMetricFamily("freehold_relay_shipped", "Events that the topic has.", progress.shipped_total)
        yield GaugeMetricFamily("freehold_relay_in_flight", "Events sent, not acknowledged.", progress.in_flight)
        yield GaugeMetricFamily(
            "freehold_relay_lag_seconds", "Age of the last event when shipped.", progress.last_lag_s
        )
        state = GaugeMetricFamily("freehold_relay_state", "1 for what the relay is doing.", labels=("state",))
        state.add_metric((str(progress.state),), 1)
        yield state

    def _consumer_metrics(self) -> Iterable[Metric]:
        applied = CounterMetricFamily("freehold_consumer_applied", "Events that took effect.", labels=("source",))
        lag_s = GaugeMetricFamily(
            "freehold_consumer_lag_seconds", "Age of the last event when applied.", labels=("source",)
        )
        state = GaugeMetricFamily(
            "freehold_consumer_state", "1 for what the consumer is doing.", labels=("source", "state")
        )
        behind = GaugeMetricFamily(
            "freehold_consumer_lag", "Records of the partition still to apply.", labels=("source", "partition")
        )
        stopped = GaugeMetricFamily(
            "freehold_consumer_stopped", "1 when the partition stands still.", labels=("source", "partition")
        )
        parked = GaugeMetricFamily(
            "freehold_parked_events", "Events that are parked.", labels=("source", "partition", "state")
        )
        oldest = GaugeMetricFamily(
            "freehold_parked_oldest_age_seconds", "Since when the oldest of them is.", labels=("source", "partition")
        )
        for source, ask in self._health.consumers.items():
            progress = ask()
            if not hasattr(progress, "applied_total"):
                continue
            applied.add_metric((source,), progress.applied_total)
            lag_s.add_metric((source,), progress.last_lag_s)
            state.add_metric((source, str(progress.state)), 1)
            for number, partition in list(progress.partitions.items()):
                if partition.lag is not None:
                    behind.add_metric((source, str(number)), partition.lag)
                stopped.add_metric((source, str(number)), float(partition.state == "stopped"))
                parked.add_metric((source, str(number), "waiting"), partition.parked - partition.dead)
                parked.add_metric((source, str(number), "dead"), partition.dead)
                since = partition.oldest_parked_at
                oldest.add_metric((source, str(number)), 0.0 if since is None else max(0.0, time.time() - since))
        yield from (applied, lag_s, state, behind, stopped, parked, oldest)

    def _audit_metrics(self) -> Iterable[Metric]:
        differing = GaugeMetricFamily(
            "freehold_audit_differing", "Copies that differed from their owner when last compared.", labels=("replica",)
        )
        checked = GaugeMetricFamily(
            "freehold_audit_checked_timestamp_seconds", "When the replica was last compared.", labels=("replica",)
        )
        failed = GaugeMetricFamily(
            "freehold_audit_failed", "1 when it could not be compared the last time.", labels=("replica",)
        )
        for replica, last in list(self._health.audits.items()):
            differing.add_metric((replica,), last.differing)
            checked.add_metric((replica,), last.checked_at.timestamp())
            failed.add_metric((replica,), float(bool(last.error)))
        yield from (differing, checked, failed)

    def _request_durations(self) -> Metric:
        family = HistogramMetricFamily(
            "http_server_request_duration_seconds",
            "Duration of requests.",
            labels=("http_request_method", "http_route", "http_response_status_code"),
        )
        for (method, route, status), durations in self._durations.items():
            cumulated = itertools.accumulate(durations.counts)
            buckets = [(_text(bound), count) for bound, count in zip((*SECONDS, math.inf), cumulated, strict=True)]
            family.add_metric((method, route, str(status)), buckets, durations.seconds)
        return family

    async def _answer(self, scope: Scope, _receive: Receive, send: Send) -> None:
        await self.refresh()
        await answer(scope, send, 200, generate_latest(self.registry), CONTENT_TYPE_LATEST.encode())


def _text(bound: float) -> str:
    return "+Inf" if math.isinf(bound) else str(bound)
