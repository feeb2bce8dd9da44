"""What is said of an error quotes nobody's data: not in a log line, not in a span, whoever raised it."""

from __future__ import annotations

import logging
from collections.abc import Callable

import msgspec
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind

from freehold import telemetry
from freehold.discreet import traceback_of, words_of
from freehold.errors import StoreUnavailable
from freehold.runtime.log import JsonFormatter

SECRET = "Zebulon"


class UniqueViolationError(Exception):
    """As a driver raises it: its words hold the row."""


def refuse_a_row() -> None:
    raise UniqueViolationError(f"DETAIL: Key (email)=({SECRET}@example.org) already exists")


def refuse_a_text() -> None:
    int(SECRET)


def wrap_a_refusal() -> None:
    try:
        refuse_a_row()
    except UniqueViolationError as error:
        raise StoreUnavailable("the store of users does not answer") from error


def meet_another_while_refused() -> None:
    try:
        refuse_a_row()
    except UniqueViolationError:
        raise KeyError(SECRET)  # noqa: B904 -- as an author's slip has it


FAILURES = [refuse_a_row, refuse_a_text, wrap_a_refusal, meet_another_while_refused]


def caught(failure: Callable[[], None]) -> Exception:
    try:
        failure()
    except Exception as error:  # noqa: BLE001 -- whatever it is
        return error
    raise AssertionError("it did not fail")


@pytest.mark.parametrize("failure", FAILURES)
def test_words_and_traceback_of_an_error_quote_nothing_and_say_where(failure: Callable[[], None]) -> None:
    error = caught(failure)

    assert SECRET not in words_of(error) + traceback_of(error)
    assert f"in {failure.__name__}" in traceback_of(error)
    assert type(error).__name__ in traceback_of(error)


def test_words_of_our_own_errors_and_of_slips_in_code_are_said() -> None:
    assert words_of(StoreUnavailable("the store of users is away")) == "the store of users is away"
    assert words_of(TypeError("f() takes 1 argument")) == "TypeError: f() takes 1 argument"
    assert words_of(UniqueViolationError(SECRET)) == "UniqueViolationError"


def test_cause_of_an_error_is_told_with_it_however_long_the_chain() -> None:
    told = traceback_of(caught(wrap_a_refusal))
    endless = ValueError()
    endless.__cause__ = endless

    assert told.index("StoreUnavailable: the store of users") < told.index("in refuse_a_row")
    assert traceback_of(endless).count("ValueError") == 20


@pytest.mark.parametrize("failure", FAILURES)
def test_span_of_what_failed_quotes_nothing(monkeypatch: pytest.MonkeyPatch, failure: Callable[[], None]) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(telemetry, "tracer", provider.get_tracer("freehold"))

    with pytest.raises(Exception), telemetry.in_span("transact", SpanKind.CLIENT):  # noqa: B017 -- whatever it is
        failure()

    (span,) = exporter.get_finished_spans()
    assert SECRET not in span.to_json()
    assert (span.status.status_code.name, span.events[0].name) == ("ERROR", "exception")
    assert f"in {failure.__name__}" in str(dict(span.events[0].attributes or {})["exception.stacktrace"])


@pytest.mark.parametrize(("quotes", "expected"), [(False, False), (True, True)])
def test_log_line_quotes_only_when_debugging(quotes: bool, expected: bool) -> None:
    error = caught(refuse_a_row)
    record = logging.LogRecord("users", logging.ERROR, "f.py", 1, "it failed", (), (type(error), error, None))

    line = JsonFormatter("users", quotes=quotes).format(record)

    assert (SECRET in line) is expected
    assert "refuse_a_row" in msgspec.json.decode(line)["exception"]
