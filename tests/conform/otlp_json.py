"""Spans in the form in which OpenTelemetry's JSON exporters send them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from freehold.conform.span import Span

KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}


def export_of(spans: Iterable[Span]) -> bytes:
    """Write one request to /v1/traces."""
    return json.dumps({"resourceSpans": [_resource(span) for span in spans]}).encode()


def _resource(span: Span) -> dict[str, Any]:
    written = {
        "traceId": span.trace,
        "spanId": span.id,
        "parentSpanId": span.parent,
        "name": span.name,
        "kind": KINDS[span.kind],
        "startTimeUnixNano": str(span.began_ns),
        "endTimeUnixNano": str(span.ended_ns),
        "attributes": _pairs(span.attributes),
        "links": [{"traceId": trace, "spanId": span_id} for trace, span_id in span.links],
        "status": {"code": 2} if span.is_failed else {},
    }
    return {
        "resource": {"attributes": _pairs({"service.name": span.service})},
        "scopeSpans": [{"scope": {"name": "test"}, "spans": [written]}],
    }


def _pairs(values: Any) -> list[dict[str, Any]]:
    return [{"key": key, "value": _value(value)} for key, value in values.items()]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, list):
        return {"arrayValue": {"values": [_value(each) for each in value]}}
    return {"intValue": str(value)} if isinstance(value, int) else {"stringValue": value}
