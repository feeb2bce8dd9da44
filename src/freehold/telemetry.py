"""What every part says of itself: spans that a diagram node can claim, and the trace that goes on through the topic.

Only OpenTelemetry's API is used here and below `freehold.runtime`, so it costs next to nothing until the runtime sets
the SDK up.
"""

from __future__ import annotations

from opentelemetry import trace

tracer = trace.get_tracer("freehold")


def current_traceparent() -> str | None:
    """Write the current span as a W3C traceparent; None outside any trace."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
