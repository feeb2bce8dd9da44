"""Send what `/metrics` shows over OTLP too, when OpenTelemetry's variables ask for it.

The numbers are the same ones, read at each interval and written in OpenTelemetry's form: two sets of instruments on the
hot path would cost twice (decision 10).
"""

from __future__ import annotations

import asyncio
import logging
import math
import os
import time
from collections.abc import Iterable, Mapping
from typing import Any

from prometheus_client.core import Metric as Family
from prometheus_client.samples import Sample

from freehold.errors import ConfigurationError, MissingPartError
from freehold.runtime.metrics import Metrics
from freehold.runtime.observe import check_protocol, wants_otlp

INTERVAL_MS = 60_000
EXPORT_S = 10.0
# Prometheus has no dots in a name; OpenTelemetry's own names have underscores in these.
_LABELS = {"http_response_status_code": "http.response.status_code"}
_OURS = ("http_", "freehold_")
_logger = logging.getLogger("freehold.runtime")


def metrics_interval_s(environment: Mapping[str, str] | None = None) -> float | None:
    """Give the seconds between two exports; None when nobody asked for them.

    Raises:
        ConfigurationError: The interval is no number, or the protocol is not ours.
    """
    given = os.environ if environment is None else environment
    if not wants_otlp(given, "METRICS"):
        return None
    check_protocol(given, "METRICS")
    text = given.get("OTEL_METRIC_EXPORT_INTERVAL") or str(INTERVAL_MS)
    if not text.isdecimal() or int(text) == 0:
        raise ConfigurationError(f"OTEL_METRIC_EXPORT_INTERVAL is {text!r}; it takes milliseconds")
    return int(text) / 1_000


async def export_metrics(service: str, metrics: Metrics, interval_s: float) -> None:
    """Export for as long as the process runs.

    Raises:
        MissingPartError: The OTLP exporter is not installed.
    """
    exporter = await asyncio.to_thread(_make_exporter)
    began_ns = time.time_ns()
    while True:
        await asyncio.sleep(interval_s)
        await metrics.refresh()
        data = convert(service, metrics.collect(), began_ns, time.time_ns())
        await asyncio.to_thread(exporter.export, data, EXPORT_S * 1_000)


def convert(service: str, families: Iterable[Family], began_ns: int, now_ns: int) -> Any:
    """Write metric families as OpenTelemetry's MetricsData."""
    from opentelemetry.sdk.metrics.export import Metric, MetricsData, ResourceMetrics, ScopeMetrics
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    metrics = []
    for family in families:
        if family.name.startswith(_OURS) and family.samples:
            name, unit = _name(family.name)
            metrics.append(Metric(name, family.documentation, unit, _data(family, began_ns, now_ns)))
    own = {} if os.environ.get("OTEL_SERVICE_NAME") else {SERVICE_NAME: service}
    scope = ScopeMetrics(InstrumentationScope("freehold"), metrics, "")
    return MetricsData([ResourceMetrics(Resource.create(own), [scope], "")])


def _data(family: Family, began_ns: int, now_ns: int) -> Any:
    from opentelemetry.sdk.metrics.export import (
        AggregationTemporality,
        Gauge,
        Histogram,
        HistogramDataPoint,
        NumberDataPoint,
        Sum,
    )

    cumulative = AggregationTemporality.CUMULATIVE
    if family.type == "histogram":
        points = [
            HistogramDataPoint(attributes, began_ns, now_ns, sum(counts), seconds, counts, bounds, math.inf, -math.inf)
            for attributes, bounds, counts, seconds in _histograms(family.samples)
        ]
        return Histogram(points, cumulative)
    numbers = [
        NumberDataPoint(_attributes(sample.labels), began_ns, now_ns, sample.value)
        for sample in family.samples
        if not sample.name.endswith("_created")
    ]
    return Sum(numbers, cumulative, is_monotonic=True) if family.type == "counter" else Gauge(numbers)


def _histograms(samples: Iterable[Sample]) -> Iterable[tuple[dict[str, Any], list[float], list[int], float]]:
    """Give each histogram's attributes, bounds, counts per bucket, and sum; Prometheus' buckets are cumulated."""
    found: dict[tuple[tuple[str, str], ...], tuple[list[float], list[int], list[float]]] = {}
    for sample in samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        bounds, cumulated, total = found.setdefault(tuple(labels.items()), ([], [], []))
        if sample.name.endswith("_bucket"):
            bounds.append(float(sample.labels["le"]))
            cumulated.append(int(sample.value))
        elif sample.name.endswith("_sum"):
            total.append(sample.value)
    for key, (bounds, cumulated, total) in found.items():
        counts = [count - before for before, count in zip([0, *cumulated], cumulated, strict=False)]
        # The last bound is infinite, which OpenTelemetry leaves out.
        yield _attributes(dict(key)), bounds[:-1], counts, sum(total)


def _name(name: str) -> tuple[str, str]:
    if name.endswith("_seconds"):
        return name.removesuffix("_seconds").replace("_", "."), "s"
    return name.replace("_", "."), "1"


def _attributes(labels: Mapping[str, str]) -> dict[str, Any]:
    named = {_LABELS.get(name, name.replace("_", ".")): value for name, value in labels.items()}
    return {name: int(value) if name.endswith("status_code") else value for name, value in named.items()}


def _make_exporter() -> Any:
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    except ImportError as error:
        raise MissingPartError("OTLP export was asked for; install freehold[otlp]") from error
    return OTLPMetricExporter()
