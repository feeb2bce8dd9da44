"""Let a batch take effect: copies by their guards alone; handlers, their guards and the position in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode

from freehold.consumer import Claim, Ledger
from freehold.consumer.batch import Delivery, Subscription, fold
from freehold.consumer.gather import Gather
from freehold.event import Place
from freehold.replica import Copies
from freehold.store import OpenStore
from freehold.telemetry import (
    OPERATION,
    SERVICE,
    STORE,
    TOPIC,
    continue_trace,
    is_traced,
    parse_traceparent,
    start_span,
    together,
)


class Applier:
    """Applies what one subscription reads to the subscriber's own store.

    Args:
        subscription: Whose events they are, and what they mean here.
        store: The subscriber's own database.
        ledger: Its positions and guards.
        copies: Its replicas of this source, in the subscription's order.
    """

    def __init__(self, subscription: Subscription, store: OpenStore, ledger: Ledger, copies: Sequence[Copies]) -> None:
        self._subscription = subscription
        self._store = store
        self._ledger = ledger
        self._copies = copies
        self._gathered = Gather(self._copy)

    async def copy(self, batch: Sequence[Delivery]) -> None:
        """Let the copies follow. Their guards make a repeat harmless, so no position need move with them (decision 5).

        Raises:
            PeerError: The store does not answer; some may be written.
            EventRejected: The store cannot hold one of them.
        """
        if any(delivery.states for delivery in batch):
            await self._gathered(batch)

    async def handle(self, claim: Claim, batch: Sequence[Delivery], until: int) -> Claim:
        """Let the copies follow, then call the handlers and move the position to `until`, in one transaction.

        Returns:
            The claim at its new position.

        Raises:
            FencedError: Somebody else has claimed the partition; nothing but guarded copies was written.
            PeerError: The store does not answer, or conflicts did not end; the position tells what was committed.
            Exception: What a handler raised; the transaction is rolled back.
        """
        await self.copy(batch)
        return await self._store.transact(self._run, claim, batch, until)

    async def keep(self, claim: Claim, until: int) -> Claim:
        """Move the position alone, behind copies that are written; raises as `handle` does."""
        return await self._store.transact(self._ledger.advance, claim, until)

    async def _copy(self, batch: Sequence[Delivery]) -> None:
        spans = self._start_spans(batch)
        try:
            with together(spans, "apply together"):
                for number, copies in enumerate(self._copies):
                    states = fold(batch, number)
                    if states:
                        await copies.apply(states)
                        await copies.embed(states)
        except Exception as error:
            _end_spans(spans, error)
            raise
        _end_spans(spans, None)

    async def _run(self, tx: Any, claim: Claim, batch: Sequence[Delivery], until: int) -> Claim:
        await self._call(tx, [delivery for delivery in batch if delivery.calls])
        return await self._ledger.advance(tx, claim, until)

    async def _call(self, tx: Any, calling: Sequence[Delivery]) -> None:
        source = self._subscription.source
        known = await self._ledger.applied(tx, source, {delivery.envelope.key for delivery in calling})
        reached: dict[str, Place] = {}
        for delivery in calling:
            envelope = delivery.envelope
            before = reached.get(envelope.key) or known.get(envelope.key)
            if before is not None and envelope.place <= before:
                continue
            for listen, event in delivery.calls:
                with continue_trace(envelope.traceparent, f"handle {envelope.type}") as span:
                    self._describe(span, envelope.type)
                    await listen.handler(tx, event)
            reached[envelope.key] = envelope.place
        if reached:
            await self._ledger.record(tx, source, reached)

    def _start_spans(self, batch: Sequence[Delivery]) -> list[Span]:
        """Start a span for each event whose trace is kept, beneath the span that published it."""
        if not is_traced():
            return []
        spans = []
        for delivery in batch:
            parent = parse_traceparent(delivery.envelope.traceparent)
            if delivery.states and parent is not None and parent.trace_flags.sampled:
                span = start_span(f"apply {delivery.envelope.type}", parent, SpanKind.CONSUMER)
                self._describe(span, delivery.envelope.type)
                spans.append(span)
        return spans

    def _describe(self, span: trace.Span, event_type: str) -> None:
        if span.is_recording():
            span.set_attributes(
                {
                    SERVICE: self._subscription.service,
                    STORE: self._subscription.service,
                    TOPIC: self._subscription.source,
                    OPERATION: f"apply {event_type}",
                    "messaging.system": "kafka",
                    "messaging.destination.name": self._subscription.source,
                }
            )


def _end_spans(spans: list[Span], error: Exception | None) -> None:
    for span in spans:
        if error is not None:
            span.record_exception(error)
            span.set_status(Status(StatusCode.ERROR, type(error).__name__))
        span.end()
