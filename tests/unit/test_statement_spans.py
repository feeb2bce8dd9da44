"""A statement's span says what is done to which table, and never a value."""

import time

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from freehold import telemetry
from freehold.store.postgres_spans import summarise


@pytest.mark.parametrize(
    ("query", "verb", "table"),
    [
        ("SELECT id FROM users WHERE name = 'Ada'", "SELECT", "users"),
        ("  insert into users (id) SELECT * FROM unnest($1)", "INSERT", "users"),
        ("INSERT INTO freehold.outbox (key) VALUES ('Ada');COMMIT", "INSERT", "freehold.outbox"),
        ('UPDATE ONLY "Users" SET name = $1', "UPDATE", "Users"),
        ("WITH gone AS (SELECT 1) DELETE FROM users", "DELETE", "users"),
        ("WITH found AS (SELECT 1 FROM users) SELECT * FROM found", "SELECT", "users"),
        ("WITH old AS (SELECT 1 FROM a FOR UPDATE OF a), new AS (UPDATE b SET c = 1) SELECT 1", "UPDATE", "b"),
        ("WITH old AS (SELECT 1 FROM a FOR NO KEY UPDATE SKIP LOCKED) SELECT 1 FROM old", "SELECT", "a"),
        ("SELECT place_order($1)", "SELECT", ""),
        ("SELECT * FROM generate_series(1, 2)", "SELECT", ""),
        ("COPY users FROM STDIN", "COPY", "users"),
        ("BEGIN", "", ""),
        ("COMMIT", "", ""),
        ("SET LOCAL lock_timeout = 1", "", ""),
        ("SELECT pg_catalog.set_config('jit', 'off', false)", "", ""),
        ("SELECT oid FROM pg_catalog.pg_type", "", ""),
        ("", "", ""),
    ],
)
def test_statement_is_told_by_verb_and_table(query: str, verb: str, table: str) -> None:
    assert summarise(query) == (verb, table)


def test_statement_of_megabytes_is_told_at_once() -> None:
    began = time.perf_counter()
    told = summarise("INSERT INTO users VALUES " + ",".join(["('" + "FROM " * 1_000 + "')"] * 1_000))

    assert told == ("INSERT", "users")
    assert time.perf_counter() - began < 1.0


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def provider(exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch) -> TracerProvider:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry, "tracer", provider.get_tracer("freehold"))
    monkeypatch.setattr(telemetry, "_is_traced", True)
    return provider


def write(owner: str) -> None:
    telemetry.write_statement("postgresql", "SELECT", "users", ("users", "127.0.0.1", 5432), owner, 0.001)


def test_another_ones_store_is_told_outside_any_trace_and_the_own_is_not(
    provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    write("users")
    write("")

    assert [dict(span.attributes or {}).get("freehold.store") for span in exporter.get_finished_spans()] == [None]


def test_statement_hangs_beneath_the_span_that_sent_it(
    provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    with provider.get_tracer("test").start_as_current_span("request") as request:
        write("users")
    [statement, _] = exporter.get_finished_spans()

    assert statement.parent == request.get_span_context()
    assert statement.name == "SELECT users"
    assert (statement.attributes or {})["freehold.store"] == "users"


def test_trace_that_nobody_keeps_has_no_statements(provider: TracerProvider, exporter: InMemorySpanExporter) -> None:
    unkept = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False).get_tracer("test").start_span("request")
    with trace.use_span(unkept):
        write("users")
        write("")

    assert exporter.get_finished_spans() == ()


def test_batch_of_one_is_part_of_its_event_and_of_many_is_linked_to_each(
    provider: TracerProvider, exporter: InMemorySpanExporter
) -> None:
    first, second = (telemetry.start_span(name, None, trace.SpanKind.CONSUMER) for name in ("first", "second"))
    with telemetry.together([], "batch"):
        assert not telemetry.is_recording()
    with telemetry.together([first], "batch"):
        assert trace.get_current_span() is first
    with telemetry.together([first, second], "batch"):
        batch = trace.get_current_span().get_span_context()
    [made] = exporter.get_finished_spans()

    assert made.context == batch
    assert [link.context for link in made.links] == [first.get_span_context(), second.get_span_context()]
    assert batch.trace_id not in {first.get_span_context().trace_id, second.get_span_context().trace_id}
