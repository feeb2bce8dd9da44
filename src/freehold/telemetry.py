"""What every part says of itself: spans that a diagram node can claim, and the trace that goes on through the topic.

Only OpenTelemetry's API is used here and below `freehold.runtime`. Without an SDK nothing of it runs on the hot path, and
a trace still has its id: one is made for each request and goes on through outbox and topic as the text it travels as.

Counters are plain numbers that their owners add to; `freehold.runtime` reads them when `/metrics` is asked for. An
instrument that is called on the hot path costs more than the addition that it records.
"""

from __future__ import annotations

import dataclasses
import os
import random
import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import Any

from opentelemetry import context as open_contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags

from freehold.discreet import traceback_of, words_of

SERVICE = "freehold.service"
STORE = "freehold.store"
TOPIC = "freehold.topic"
OPERATION = "freehold.operation"
EVENTS = "freehold.events"

# W3C Trace Context level 1, 3.2: version ff is forbidden, later versions may add fields behind the flags.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")

tracer = trace.get_tracer("freehold")
# Ids need to differ between processes, not to be unguessable: one seed from the system, then a fast generator.
_ids = random.Random(os.urandom(16))  # noqa: S311 - no secret is made of it
# The trace that goes through here, as a traceparent, while there is no SDK to keep it.
_current: ContextVar[str] = ContextVar("freehold.traceparent", default="")
_is_traced = False


@dataclasses.dataclass
class StoreCounts:
    """What a store has done since it was opened; the store adds, `/metrics` reads."""

    transactions: int = 0
    conflicts: int = 0
    events: int = 0


@dataclasses.dataclass(slots=True)
class Passage:
    """A trace's passage through this process: between `enter_trace` and `leave_trace`.

    `traceparent` names our own span in it; `span` is an SDK's, if there is one.
    """

    traceparent: str
    span: Span | None
    token: Any

    @property
    def trace_id(self) -> str:
        """The id of the trace, as 32 hexadecimal digits."""
        return self.traceparent[3:35]


def look_for_sdk() -> None:
    """Notice an SDK that was set up; the runtime and every edge call it once, when they are made."""
    global _is_traced  # noqa: PLW0603, RUF100 - one process has one SDK; asking it each time costs as much as a span
    _is_traced = not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def is_traced() -> bool:
    """Say whether an SDK is set up, so that a span costs something and may be kept."""
    return _is_traced


def is_recording() -> bool:
    """Say whether the current span is kept: only then is a span beneath it worth making."""
    return _is_traced and trace.get_current_span().is_recording()


def note_published(types: Iterable[str]) -> None:
    """Say on the transaction's span which events left with its commit."""
    if is_recording():
        trace.get_current_span().set_attribute(EVENTS, list(dict.fromkeys(types)))


def current_traceparent() -> str | None:
    """Write the current span as a W3C traceparent; None outside any trace."""
    if _is_traced:
        context = trace.get_current_span().get_span_context()
        if context.is_valid:
            return format_traceparent(context)
    return _current.get() or None


def enter_trace(traceparent: str | None, name: str, kind: SpanKind) -> Passage:
    """Go on with the trace that wrote `traceparent`, or begin one when it is None or malformed; then `leave_trace`."""
    if _is_traced:
        span = start_span(name, parse_traceparent(traceparent), kind)
        token: Any = open_contexts.attach(trace.set_span_in_context(span))
        return Passage(format_traceparent(span.get_span_context()), span, token)
    match = _TRACEPARENT.fullmatch(traceparent) if traceparent is not None else None
    own = f"{_ids.getrandbits(64) | 1:016x}"
    # Whether it is kept was decided by who began it; we keep nothing, and tell the next what we were told.
    trace_id, flags = (f"{_ids.getrandbits(128) | 1:032x}", "00") if match is None else (match[1], match[3])
    passing = f"00-{trace_id}-{own}-{flags}"
    return Passage(passing, None, _current.set(passing))


def leave_trace(passage: Passage) -> None:
    """End the passage: its span, if there is one, and its being the current one."""
    if passage.span is not None:
        passage.span.end()
        open_contexts.detach(passage.token)
    else:
        token: Token[str] = passage.token
        _current.reset(token)


@contextmanager
def continue_trace(traceparent: str | None, name: str, kind: SpanKind = SpanKind.CONSUMER) -> Iterator[Span]:
    """Go on with the trace that wrote `traceparent`, in a span of that name; a new trace when it is None or malformed.

    An exception is recorded on the span and goes on.
    """
    passage = enter_trace(traceparent, name, kind)
    span = passage.span or trace.INVALID_SPAN
    try:
        yield span
    except BaseException as error:
        record_failure(span, error)
        raise
    finally:
        leave_trace(passage)


@contextmanager
def in_span(
    name: str,
    kind: SpanKind,
    attributes: Mapping[str, str] | None = None,
    *,
    links: Sequence[trace.Link] | None = None,
    parent: Context | None = None,
) -> Iterator[Span]:
    """Do what follows in a span beneath the current one, or beneath `parent`; an exception is recorded and goes on."""
    with tracer.start_as_current_span(
        name, parent, kind, attributes, links, record_exception=False, set_status_on_exception=False
    ) as span:
        try:
            yield span
        except BaseException as error:
            record_failure(span, error)
            raise


def record_failure(span: Span, error: BaseException) -> None:
    """Note on a span what went wrong, and quote nothing: a driver's words may hold the row that it refused."""
    if span.is_recording():
        attributes = {
            "exception.type": type(error).__qualname__,
            "exception.message": words_of(error),
            "exception.stacktrace": traceback_of(error),
        }
        span.add_event("exception", attributes)
        span.set_status(trace.StatusCode.ERROR, type(error).__name__)


def start_span(name: str, parent: SpanContext | None, kind: SpanKind) -> Span:
    """Start an SDK's span beneath `parent`, or a new trace; it is not made the current one."""
    context = Context()
    if parent is not None:
        context = trace.set_span_in_context(NonRecordingSpan(parent), context)
    return tracer.start_span(name, context=context, kind=kind)


def write_statement(
    system: str, operation: str, table: str, place: tuple[str, str, int], owner: str, seconds: float
) -> None:
    """Write the span of a statement that is over, beneath the current span if that one is kept.

    Outside any trace a process uses its own store all the time; what it does to another one is told even there.

    Args:
        system: OpenTelemetry's name of the product.
        operation: The verb.
        table: The table or collection; empty when it is not known.
        place: Database, host and port.
        owner: Whose store it is, if it is the process's own; else empty.
        seconds: How long it took.
    """
    if not (_is_kept() if owner else may_write()):
        return
    database, host, port = place
    attributes: dict[str, str | int] = {
        "db.system.name": system,
        "db.operation.name": operation,
        "db.collection.name": table,
        "db.namespace": database,
        "server.address": host,
        "server.port": port,
    }
    if owner:
        attributes |= {SERVICE: owner, STORE: owner}
    ended_ns = time.time_ns()
    began_ns = ended_ns - int(seconds * 1e9)
    span = tracer.start_span(f"{operation} {table}", kind=SpanKind.CLIENT, attributes=attributes, start_time=began_ns)
    span.end(ended_ns)


def write_connection(host: str, port: int, own_port: int) -> None:
    """Write a span that says that a connection was opened, beneath the current span; `own_port` 0: not known."""
    attributes: dict[str, str | int] = {"server.address": host, "server.port": port}
    if own_port:
        attributes["network.local.port"] = own_port
    tracer.start_span(f"connect {host}:{port}", kind=SpanKind.CLIENT, attributes=attributes).end()


def may_write() -> bool:
    """Tell whether a span may be written here: the current one is kept, or there is none, and no exporter is at work."""
    if not _is_traced or open_contexts.get_value(open_contexts._SUPPRESS_INSTRUMENTATION_KEY):
        return False
    return _is_kept() or not trace.get_current_span().get_span_context().is_valid


def _is_kept() -> bool:
    # Not is_recording: a statement may be told a moment after the span that it belongs to has ended.
    return trace.get_current_span().get_span_context().trace_flags.sampled


@contextmanager
def together(spans: Sequence[Span], name: str) -> Iterator[None]:
    """Let what follows be part of these spans: of the only one, or of a span of its own that is linked to them all."""
    if not spans:
        yield
    elif len(spans) == 1:
        with trace.use_span(spans[0], record_exception=False, set_status_on_exception=False):
            yield
    else:
        links = [trace.Link(span.get_span_context()) for span in spans]
        with in_span(name, SpanKind.CONSUMER, links=links, parent=Context()):
            yield


def parse_traceparent(value: str | None) -> SpanContext | None:
    """Read a W3C traceparent; None if there is none or it is not well formed."""
    match = _TRACEPARENT.fullmatch(value) if value is not None else None
    if match is None:
        return None
    flags = TraceFlags(int(match[3], 16) & TraceFlags.SAMPLED)
    return SpanContext(int(match[1], 16), int(match[2], 16), is_remote=True, trace_flags=flags)


def format_traceparent(context: SpanContext) -> str:
    """Write a span's context as a W3C traceparent."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
