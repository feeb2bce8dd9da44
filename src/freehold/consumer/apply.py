"""Let events take effect: copies by their guards alone; handlers, their guards and the position in one transaction.

What was parked goes the same way; its leaving the lot takes the place of the position.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind

from freehold.consumer import Claim, Ledger
from freehold.consumer.batch import Delivery, Subscription, fold
from freehold.consumer.gather import Gather
from freehold.consumer.parking import Lot, Outcome, ParkedEvent, ParkedId
from freehold.consumer.parking.queues import NOTHING, Aside
from freehold.discreet import words_of
from freehold.errors import PeerError
from freehold.event import Event, Place
from freehold.replica import Copies
from freehold.service import Listen, Parking
from freehold.store import OpenStore
from freehold.telemetry import (
    OPERATION,
    SERVICE,
    STORE,
    TOPIC,
    continue_trace,
    is_traced,
    parse_traceparent,
    record_failure,
    start_span,
    together,
)

# No further handler is called in a transaction that has lasted so long. With the longest deadline behind it this is less than
# what MongoDB allows one, and it is soon enough for whoever waits for its rows.
CALLS_S_MAX = 5.0


class HandlerTimeout(Exception):
    """A handler was cut off at its deadline; a failure of the event like any other."""


class HandlerCancelled(Exception):
    """A handler let a cancellation out that was none of this process's; a failure of the event like any other."""


class HandlerWaits(Exception):
    """A handler raised what the policy calls transient: no failure of the event. Never leaves the consumer."""


class HandlerFailed(Exception):
    """A handler of one event of a batch failed; its cause is what it raised. Never leaves the consumer."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


class TookTooLong(Exception):
    """The handlers of a batch took so long together that those from this offset on belong into another transaction.

    Nothing of the batch was written. Never leaves the consumer.
    """

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


class Gone(Exception):
    """A parked event is not there as it was read: somebody else dealt with it. Never leaves the consumer."""


class Applier:
    """Applies what one subscription reads to the subscriber's own store.

    Args:
        subscription: Whose events they are, and what they mean here.
        store: The subscriber's own database.
        ledger: Its positions and guards.
        copies: Its replicas of this source, in the subscription's order.
        lot: Its parked events.
        policy: How long a handler may take, and which exceptions are transient.
    """

    def __init__(
        self,
        subscription: Subscription,
        store: OpenStore,
        ledger: Ledger,
        copies: Sequence[Copies],
        *,
        lot: Lot,
        policy: Parking,
    ) -> None:
        self._subscription = subscription
        self._store = store
        self._ledger = ledger
        self._copies = copies
        self._lot = lot
        self._policy = policy
        self._gathered = Gather(self._copy)

    async def copy(self, batch: Sequence[Delivery]) -> None:
        """Let the copies follow. Their guards make a repeat harmless, so no position need move with them (decision 5).

        Raises:
            PeerError: The store does not answer; some may be written.
            EventRejected: The store cannot hold one of them.
        """
        if any(delivery.states for delivery in batch):
            await self._gathered(batch)

    async def handle(self, claim: Claim, batch: Sequence[Delivery], until: int, aside: Aside = NOTHING) -> Claim:
        """Call the handlers and move the position to `until`, in one transaction; the copies follow before (`copy`).

        What is set aside goes into the lot, and what is cleared out of it, in that transaction too.

        Returns:
            The claim at its new position.

        Raises:
            FencedError: Somebody else has claimed the partition; nothing was written.
            PeerError: The store does not answer, or conflicts did not end; the position tells what was committed.
            HandlerFailed: A handler raised, with what it raised as its cause (HandlerWaits if the policy calls that
                transient); the transaction is rolled back.
            TookTooLong: The handlers together did; the transaction is rolled back.
            Exception: The store refused what was written.
        """
        calling: list[int] = []
        try:
            return await self._store.transact(self._run, claim, batch, until, aside, calling)
        except PeerError:
            raise
        except Exception as error:
            # Not within the transaction: the store must see what a handler met, and run it again on a conflict.
            if calling:
                raise HandlerFailed(calling[0]) from error
            raise

    async def handle_parked(self, event: ParkedEvent, delivery: Delivery) -> bool:
        """Let a parked event take effect, and take it out of the lot, in one transaction.

        Returns:
            False when its handlers were not called, since it had taken effect already.

        Raises:
            Gone: It is not there as it was read; nothing but guarded copies was written.
            PeerError: The store does not answer, or conflicts did not end.
            HandlerWaits: A handler raised what the policy calls transient; the transaction is rolled back.
            Exception: What a handler raised, or the store refused; the transaction is rolled back.
        """
        await self.copy([delivery])
        return await self._store.transact(self._run_parked, event, delivery)

    async def drop_parked(self, event: ParkedEvent) -> bool:
        """Take a parked event out of the lot without any effect; False when it is not there as it was read."""
        return await self._store.transact(self._lot.remove, event, Outcome.DISCARDED)

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

    async def _run(
        self, tx: Any, claim: Claim, batch: Sequence[Delivery], until: int, aside: Aside, calling: list[int]
    ) -> Claim:
        if aside:
            queue = ParkedId(claim.source, claim.topic_id, claim.partition, until)
            for clearing in aside.cleared:
                await self._lot.clear(tx, queue, clearing.key, clearing.before, erases=clearing.erases)
            await self._lot.park(tx, aside.parked)
        await self._call(tx, [each for each in batch if each.calls and each.offset not in aside.waiting], calling)
        return await self._ledger.advance(tx, claim, until)

    async def _run_parked(self, tx: Any, event: ParkedEvent, delivery: Delivery) -> bool:
        is_new = not delivery.calls or await self._is_new(tx, delivery)
        # Before any handler runs: whoever else would take it out waits here or fails.
        if not await self._lot.remove(tx, event, Outcome.EFFECT if is_new else Outcome.EFFECT_BEFORE):
            raise Gone
        if delivery.calls and is_new:
            await self._call(tx, [delivery], [])
        return is_new

    async def _is_new(self, tx: Any, delivery: Delivery) -> bool:
        key, place = delivery.envelope.key, delivery.envelope.place
        known = await self._ledger.applied(tx, self._subscription.source, [key])
        return key not in known or place > known[key]

    async def _call(self, tx: Any, deliveries: Sequence[Delivery], calling: list[int]) -> None:
        """Call the handlers of what has not taken effect yet; `calling` holds the offset of the event that is at it."""
        calling.clear()
        if not deliveries:
            return
        source = self._subscription.source
        known = await self._ledger.applied(tx, source, {delivery.envelope.key for delivery in deliveries})
        reached: dict[str, Place] = {}
        until = time.monotonic() + CALLS_S_MAX
        for delivery in deliveries:
            if reached and time.monotonic() > until:
                calling.clear()
                raise TookTooLong(delivery.offset)
            envelope = delivery.envelope
            before = reached.get(envelope.key) or known.get(envelope.key)
            if before is not None and envelope.place <= before:
                continue
            calling[:] = [delivery.offset]
            for listen, event in delivery.calls:
                with continue_trace(envelope.traceparent, f"handle {envelope.type}") as span:
                    self._describe(span, envelope.type)
                    await self._call_handler(listen, tx, event)
            reached[envelope.key] = envelope.place
        calling.clear()
        if reached:
            await self._ledger.record(tx, source, reached)

    async def _call_handler(self, listen: Listen, tx: Any, event: Event) -> None:
        deadline = asyncio.timeout(self._policy.deadline_s)
        try:
            async with deadline:
                try:
                    await listen.handler(tx, event)
                except self._policy.transient as error:
                    raise HandlerWaits(words_of(error)) from error
                except asyncio.CancelledError as error:
                    # It would end the worker, and its partition would stand still without a word.
                    task = asyncio.current_task()
                    if task is None or task.cancelling():
                        raise
                    raise HandlerCancelled("what the handler waited for was cancelled") from error
        except TimeoutError as error:
            if not deadline.expired():
                raise
            raise HandlerTimeout(
                f"the handler did not return within {self._policy.deadline_s:g} s and was cut off"
            ) from error

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
            record_failure(span, error)
        span.end()
