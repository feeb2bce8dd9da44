"""Read spans from what OpenTelemetry's exporters send over HTTP: protobuf or JSON, packed with gzip or not."""

from __future__ import annotations

import base64
import binascii
import gzip
import io
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from freehold.conform.span import Kind, Span
from freehold.errors import MissingPartError

# OpenTelemetry's SpanKind, and STATUS_CODE_ERROR.
_KINDS: tuple[Kind, ...] = ("internal", "internal", "server", "client", "producer", "consumer")
_NAMES = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_ERROR = 2
BODY_BYTES_MAX = 64 * 1_048_576
_VALUES = ("stringValue", "boolValue", "doubleValue")


class UnreadableExport(ValueError):
    """What was sent is no export of spans."""


def read_export(body: bytes, content_type: str) -> list[Span]:
    """Read one request to `/v1/traces`.

    Raises:
        UnreadableExport: It is none, or unpacks to more than BODY_BYTES_MAX.
        MissingPartError: It is protobuf, and what reads that is not installed.
    """
    if body[:2] == b"\x1f\x8b":
        body = _unpack(body)
    if content_type.startswith("application/json"):
        return _read_json(body)
    try:
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
        from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    except ImportError as error:
        raise MissingPartError("traces were sent as protobuf; install freehold[otlp] to read them") from error
    try:
        request = ExportTraceServiceRequest.FromString(body)
    except DecodeError as error:
        raise UnreadableExport(f"no protobuf of spans: {error}") from error
    return [
        span
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in _from_protobuf(_attributes(resource.resource.attributes), scope.spans)
    ]


def _unpack(body: bytes) -> bytes:
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as packed:
            unpacked = packed.read(BODY_BYTES_MAX + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UnreadableExport(f"no gzip: {error}") from error
    if len(unpacked) > BODY_BYTES_MAX:
        raise UnreadableExport(f"unpacks to more than {BODY_BYTES_MAX:,} bytes")
    return unpacked


def _from_protobuf(resource: Mapping[str, Any], spans: Iterable[Any]) -> Iterable[Span]:
    for span in spans:
        yield Span(
            trace=span.trace_id.hex(),
            id=span.span_id.hex(),
            parent=span.parent_span_id.hex(),
            service=str(resource.get("service.name", "")),
            name=span.name,
            kind=_kind(span.kind),
            began_ns=span.start_time_unix_nano,
            ended_ns=span.end_time_unix_nano,
            attributes=_attributes(span.attributes),
            links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
            is_failed=span.status.code == _ERROR,
        )


def _attributes(pairs: Iterable[Any]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(each) for each in value.array_value.values]
    return getattr(value, kind) if kind in {"string_value", "int_value", "bool_value", "double_value"} else None


def _read_json(body: bytes) -> list[Span]:
    try:
        request = msgspec.json.decode(body)
        return [
            _from_json(
                {
                    pair["key"]: _json_value(pair["value"])
                    for pair in resource.get("resource", {}).get("attributes", ())
                },
                span,
            )
            for resource in request.get("resourceSpans", ())
            for scope in resource.get("scopeSpans", ())
            for span in scope.get("spans", ())
        ]
    except (msgspec.DecodeError, KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        raise UnreadableExport(f"no JSON of spans: {type(error).__name__}: {error}") from error


def _from_json(resource: Mapping[str, Any], span: Mapping[str, Any]) -> Span:
    return Span(
        trace=_id(span["traceId"]),
        id=_id(span["spanId"]),
        parent=_id(span.get("parentSpanId", "")),
        service=str(resource.get("service.name", "")),
        name=str(span["name"]),
        kind=_kind(span.get("kind", 0)),
        began_ns=int(span["startTimeUnixNano"]),
        ended_ns=int(span["endTimeUnixNano"]),
        attributes={pair["key"]: _json_value(pair["value"]) for pair in span.get("attributes", ())},
        links=tuple((_id(link["traceId"]), _id(link["spanId"])) for link in span.get("links", ())),
        is_failed=span.get("status", {}).get("code") in {_ERROR, "STATUS_CODE_ERROR"},
    )


def _json_value(value: Mapping[str, Any]) -> Any:
    if "intValue" in value:
        return int(value["intValue"])
    if "arrayValue" in value:
        return [_json_value(each) for each in value["arrayValue"].get("values", ())]
    return next((value[name] for name in _VALUES if name in value), None)


def _id(text: str) -> str:
    """Read an id: hexadecimal, as the specification says; base64, as protobuf's own JSON has it."""
    if len(text) in {0, 16, 32}:
        return text.lower()
    try:
        return base64.b64decode(text, validate=True).hex()
    except binascii.Error as error:
        raise UnreadableExport(f"no id: {text[:40]!r}") from error


def _kind(kind: int | str) -> Kind:
    if isinstance(kind, str):
        return _KINDS[_NAMES.index(kind.removeprefix("SPAN_KIND_"))]
    return _KINDS[kind] if 0 <= kind < len(_KINDS) else "internal"
