"""What every part says of itself: spans that a diagram node can claim, and the trace that goes on through the topic.

Only OpenTelemetry's API is used here and below `freehold.runtime`, so it costs next to nothing until somebody sets the
SDK up. Without an SDK a trace still has its id: it is made for each request and goes on through outbox and topic.

Counters are plain numbers that their owners add to; `freehold.runtime` reads them when `/metrics` is asked for. An
instrument that is called on the hot path costs more than the addition that it records.
"""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Iterator
from contextlib import contextmanager

from opentelemetry import context as open_contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, Span, SpanContext, SpanKind, TraceFlags

SERVICE = "freehold.service"
STORE = "freehold.store"
TOPIC = "freehold.topic"
OPERATION = "freehold.operation"

# W3C Trace Context level 1, 3.2: version ff is forbidden, later versions may add fields behind the flags.
_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
_SAMPLED = TraceFlags(TraceFlags.SAMPLED)
_NOT_SAMPLED = TraceFlags(TraceFlags.DEFAULT)

tracer = trace.get_tracer("freehold")
_random = random.SystemRandom()
# Trace ids need to differ between processes, not to be unguessable: one seed from the system, then a fast generator.
_ids = random.Random(_random.getrandbits(128))  # noqa: S311 - no secret is made of it


@dataclasses.dataclass
class StoreCounts:
    """What a store has done since it was opened; the store adds, `/metrics` reads."""

    transactions: int = 0
    conflicts: int = 0
    events: int = 0


def current_traceparent() -> str | None:
    """Write the current span as a W3C traceparent; None outside any trace."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return format_traceparent(context)


def format_traceparent(context: SpanContext) -> str:
    """Write a span's context as a W3C traceparent."""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def parse_traceparent(value: str | None) -> SpanContext | None:
    """Read a W3C traceparent; None if there is none or it is not well formed."""
    if value is None:
        return None
    match = _TRACEPARENT.fullmatch(value)
    if match is None:
        return None
    flags = _SAMPLED if int(match[3], 16) & TraceFlags.SAMPLED else _NOT_SAMPLED
    return SpanContext(int(match[1], 16), int(match[2], 16), is_remote=True, trace_flags=flags)


def is_traced() -> bool:
    """Say whether an SDK is set up, so that a span costs something and may be kept."""
    return not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def is_recording() -> bool:
    """Say whether the current span is kept: only then is a span beneath it worth making."""
    return trace.get_current_span().is_recording()


def start_span(name: str, parent: SpanContext | None, kind: SpanKind) -> Span:
    """Start a span beneath `parent`, or a new trace; without an SDK a span that only carries its ids."""
    if is_traced():
        return tracer.start_span(name, context=_beneath(parent), kind=kind)
    trace_id = _ids.getrandbits(128) | 1 if parent is None else parent.trace_id
    flags = _NOT_SAMPLED if parent is None else parent.trace_flags
    return NonRecordingSpan(SpanContext(trace_id, _ids.getrandbits(64) | 1, is_remote=False, trace_flags=flags))


@contextmanager
def continue_trace(traceparent: str | None, name: str, kind: SpanKind = SpanKind.CONSUMER) -> Iterator[Span]:
    """Go on with the trace that wrote `traceparent`, in a span of that name; a new trace when it is None or malformed.

    An exception is recorded on the span and goes on.
    """
    span = start_span(name, parse_traceparent(traceparent), kind)
    with trace.use_span(span, end_on_exit=True):
        yield span


def enter_span(span: Span) -> object:
    """Make the span the current one; give the result to `leave_span`. For the hot path: cheaper than a `with`."""
    return open_contexts.attach(trace.set_span_in_context(span))


def leave_span(token: object) -> None:
    """Make the span current that was so before `enter_span`."""
    open_contexts.detach(token)  # type: ignore[arg-type]


def _beneath(parent: SpanContext | None) -> Context:
    empty = Context()
    return empty if parent is None else trace.set_span_in_context(NonRecordingSpan(parent), empty)
