"""What exporters send is read whatever form it has, and what nobody can read is refused."""

import gzip
import json
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from freehold.conform import collector as collecting
from freehold.conform.collector import Collector
from freehold.conform.otlp import UnreadableExport, read_export
from freehold.conform.span import Span
from tests.conform.otlp_json import export_of

SPAN = Span(
    trace="0af7651916cd43dd8448eb211c80319c",
    id="b7ad6b7169203331",
    parent="00f067aa0ba902b7",
    service="users",
    name="PUT /users/{id}",
    kind="server",
    began_ns=1_700_000_000_000_000_000,
    ended_ns=1_700_000_000_500_000_000,
    attributes={
        "http.route": "/users/{id}",
        "http.response.status_code": 200,
        "freehold.events": ["users.UserUpdated"],
    },
    links=(("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b8"),),
    is_failed=True,
)


def post(url: str, body: bytes, content_type: str = "application/json") -> int:
    request = Request(url, data=body, headers={"content-type": content_type})  # noqa: S310
    try:
        with urlopen(request, timeout=10) as answer:  # noqa: S310
            return int(answer.status)
    except HTTPError as error:
        with error:
            return int(error.code)


def test_json_is_read_as_it_was_written() -> None:
    assert read_export(export_of([SPAN]), "application/json") == [SPAN]
    assert read_export(gzip.compress(export_of([SPAN])), "application/json; charset=utf-8") == [SPAN]


def test_what_the_sdk_exports_is_read() -> None:
    with Collector() as collector:
        provider = TracerProvider(resource=Resource.create({"service.name": "orders"}), shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(OTLPSpanExporter(f"{collector.url}/v1/traces")))
        tracer = provider.get_tracer("test")
        with tracer.start_as_current_span("first", kind=SpanKind.PRODUCER) as first:
            first.set_attributes({"text": "words", "number": 7, "flag": True, "list": ["a", "b"]})
        link = Link(first.get_span_context())
        with tracer.start_as_current_span("second", kind=SpanKind.CONSUMER, links=[link]) as second:
            second.set_status(Status(StatusCode.ERROR))
        provider.shutdown()
        made = {span.name: span for span in collector.spans()}

    assert made["first"].attributes == {"text": "words", "number": 7, "flag": True, "list": ["a", "b"]}
    assert (made["first"].service, made["first"].kind, made["first"].parent) == ("orders", "producer", "")
    assert made["second"].links == (made["first"].key,)
    assert made["second"].is_failed
    assert made["second"].ended_ns >= made["second"].began_ns > 0


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"\xff\xfe", "application/json"),
        (b'{"resourceSpans": [{"scopeSpans": [{"spans": [{}]}]}]}', "application/json"),
        (b'{"resourceSpans": 7}', "application/json"),
        (b"[]", "application/json"),
        (b"\x1f\x8bno gzip", "application/x-protobuf"),
        (b"\xff\xff\xff\xff", "application/x-protobuf"),
    ],
)
def test_what_is_no_export_is_refused(body: bytes, content_type: str) -> None:
    with pytest.raises(UnreadableExport):
        read_export(body, content_type)
    with Collector() as collector:
        assert post(f"{collector.url}/v1/traces", body, content_type) == 400
        assert collector.spans() == []


def test_export_that_unpacks_to_too_much_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freehold.conform.otlp.BODY_BYTES_MAX", 1_000)

    with pytest.raises(UnreadableExport, match="unpacks to more than 1,000 bytes"):
        read_export(gzip.compress(b" " * 2_000), "application/json")


def test_spans_beyond_the_bound_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "SPANS_MAX", 3)
    with Collector() as collector:
        for _ in range(2):
            assert post(f"{collector.url}/v1/traces", export_of([SPAN, SPAN])) == 200

        assert (len(collector.spans()), collector.lost) == (3, 1)


def test_other_signals_are_taken_and_forgotten() -> None:
    with Collector() as collector:
        assert post(f"{collector.url}/v1/metrics", b"anything") == 200
        assert collector.spans() == []


def test_body_without_a_length_is_refused() -> None:
    def pieces() -> Any:
        yield json.dumps({}).encode()

    with Collector() as collector:
        request = Request(f"{collector.url}/v1/traces", data=pieces())  # noqa: S310
        with pytest.raises(HTTPError) as refused:
            urlopen(request, timeout=10)  # noqa: S310
        with refused.value:
            assert refused.value.code == 413
