"""A trace goes through with or without an SDK."""

import asyncio
import subprocess
import sys

import pytest
from opentelemetry.trace import SpanKind

from freehold import telemetry
from freehold.errors import ConfigurationError
from freehold.runtime.observe import set_up_traces, wants_otlp

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_a_trace_goes_on_and_ends_with_its_passage() -> None:
    with telemetry.continue_trace(TRACEPARENT, "apply"):
        current = telemetry.current_traceparent()

    assert current is not None
    assert current.split("-")[1] == TRACEPARENT.split("-")[1]
    assert current.split("-")[2] != TRACEPARENT.split("-")[2]
    assert telemetry.current_traceparent() is None


def test_without_a_trace_one_is_begun() -> None:
    with telemetry.continue_trace(None, "apply"), telemetry.continue_trace("rubbish", "apply"):
        current = telemetry.current_traceparent()

    assert telemetry.parse_traceparent(current) is not None


async def test_concurrent_tasks_have_their_own_trace() -> None:
    async def passage() -> str | None:
        own = telemetry.enter_trace(None, "GET", SpanKind.SERVER)
        await asyncio.sleep(0)
        current = telemetry.current_traceparent()
        telemetry.leave_trace(own)
        return current

    traces = await asyncio.gather(*[asyncio.create_task(passage()) for _ in range(10)])

    assert len(set(traces)) == 10


def test_an_error_goes_through_a_span() -> None:
    with pytest.raises(ZeroDivisionError), telemetry.continue_trace(None, "apply"):
        raise ZeroDivisionError

    assert telemetry.current_traceparent() is None


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://h:4318/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h:4318", "OTEL_SDK_DISABLED": "true"}, False),
    ],
)
def test_opentelemetry_s_variables_decide(given: dict[str, str], wanted: bool) -> None:
    assert wants_otlp(given, "TRACES") == wanted


def test_what_we_do_not_speak_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="http/protobuf"):
        set_up_traces("users", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://h", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"})
    with pytest.raises(ConfigurationError, match="otlp, console or none"):
        set_up_traces("users", {"OTEL_TRACES_EXPORTER": "zipkin"})


def test_a_process_without_telemetry_imports_no_sdk() -> None:
    """What is not asked for costs neither start-up time nor memory."""
    code = (
        "import sys; from freehold.runtime.observe import set_up_traces; import freehold.runtime.process;"
        "set_up_traces('users', {});"
        "heavy = {'opentelemetry.sdk', 'rich', 'structlog', 'typer', 'pytest', 'pymongo', 'asyncpg', 'confluent_kafka'};"
        "sys.exit(', '.join(sorted(heavy & set(sys.modules))) or None)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    assert (found.returncode, found.stderr) == (0, "")


def test_spans_are_kept_once_an_sdk_is_there() -> None:
    """In a process of its own, since an SDK cannot be taken away again."""
    code = """
import io, json
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind
from freehold import telemetry
kept = InMemorySpanExporter()
provider = TracerProvider(); provider.add_span_processor(SimpleSpanProcessor(kept)); trace.set_tracer_provider(provider)
telemetry.look_for_sdk()
parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
with telemetry.continue_trace(parent, "apply users.UserUpdated") as span:
    assert telemetry.is_recording()
    assert telemetry.current_traceparent() == telemetry.format_traceparent(span.get_span_context())
try:
    with telemetry.continue_trace(None, "fails"):
        raise ValueError("x")
except ValueError:
    pass
first, second = kept.get_finished_spans()
assert (first.name, f"{first.context.trace_id:032x}", first.kind) == ("apply users.UserUpdated", parent[3:35], SpanKind.CONSUMER)
assert f"{first.parent.span_id:016x}" == parent[36:52]
assert second.parent is None and second.status.status_code.name == "ERROR"
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)

    assert (ran.returncode, ran.stderr) == (0, "")
