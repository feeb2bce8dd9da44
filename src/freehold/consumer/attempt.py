"""Let a batch take effect, in order, and past an event that failed only when it is parked.

While nothing is parked a batch asks nobody about it. Otherwise what waits behind a parked event joins it in the lot, in the
transaction that moves the position past it (decision 16).
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime

from freehold.consumer.apply import Applier, HandlerFailed, HandlerTimeout, HandlerWaits, TookTooLong
from freehold.consumer.batch import Delivery, Subscription
from freehold.consumer.parking import ParkedEvent
from freehold.consumer.parking.decide import failed, failed_again, unreadable
from freehold.consumer.parking.queues import Aside, NoRoom
from freehold.consumer.parking.retry import Retries, note_failure
from freehold.consumer.position import Position
from freehold.consumer.progress import ConsumerProgress, PartitionProgress
from freehold.consumer.together import Together
from freehold.errors import EventRejected, PeerError
from freehold.service import Parking
from freehold.topic import Record

# What waits for room in the lot looks again sooner than what nobody can read.
ROOM_S_MAX = 1.0
STOPPED_S_MAX = 30.0


class StandsStill(Exception):
    """An event cannot be applied and may not be parked; everything before it is done."""

    def __init__(self, text: str, pause_s_max: float = STOPPED_S_MAX) -> None:
        super().__init__(text)
        self.text = text
        self.pause_s_max = pause_s_max


class Attempt:
    """Lets the batches of one partition take effect; a batch that failed half-way is given again.

    Args:
        position: How far the partition is.
        subscription: What a record means here.
        applier: Lets events take effect.
        retries: What is parked of the partition.
        policy: What is parked when.
        total: The whole subscription's progress.
        progress: The partition's own.
        where: The partition in words.
    """

    def __init__(
        self,
        position: Position,
        *,
        subscription: Subscription,
        applier: Applier,
        retries: Retries,
        policy: Parking,
        total: ConsumerProgress,
        progress: PartitionProgress,
        where: str,
    ) -> None:
        self._position = position
        self._subscription = subscription
        self._applier = applier
        self._retries = retries
        self._policy = policy
        self._total = total
        self._progress = progress
        self._where = where
        self._batch: Sequence[Record] = ()
        # Copies of all records before this one are written; only handlers may have yet to be called for them.
        self._copied_until = 0
        self._together = Together()
        # Whether the queues hold all that the lot does: not when the answer to a commit that parked something was lost.
        self._are_queues_sure = False

    async def run(self, batch: Sequence[Record]) -> None:
        """Apply what of the batch is not applied yet; what cannot be read goes where the policy says.

        Raises:
            StandsStill: An event can neither be applied nor parked.
            HandlerWaits: A handler waits for somebody.
            PeerError: The store does not answer.
            FencedError: Somebody else has claimed the partition.
        """
        self._batch = batch
        await self.make_sure()
        readable: list[Delivery] = []
        refused: list[tuple[Record, EventRejected]] = []
        for record in batch:
            if self._position.has(record.offset):
                continue
            try:
                delivery = self._subscription.read(record)
            except EventRejected as error:
                if readable:
                    await self._apply(readable, record.offset)
                    readable = []
                refused.append((record, error))
                continue
            if refused:
                await self._refuse(refused, record.offset)
                refused = []
            readable.append(delivery)
        until = batch[-1].offset + 1
        if readable:
            await self._apply(readable, until)
        if refused:
            await self._refuse(refused, until)

    async def make_sure(self) -> None:
        """Ask the store what took effect, if an answer of its was lost."""
        await self._position.make_sure()
        if not self._are_queues_sure:
            await self._retries.load()
            self._are_queues_sure = True

    async def _apply(self, deliveries: Sequence[Delivery], until: int) -> None:
        """Apply the deliveries; if one fails, those before it, that one by itself, and those after it."""
        if len(deliveries) > self._together.most:
            await self._copy_all(deliveries)
        while len(deliveries) > self._together.most:
            first, deliveries = deliveries[: self._together.most], deliveries[self._together.most :]
            await self._apply(first, deliveries[0].offset)
        failure = await self._try(deliveries, until)
        if failure is None:
            return
        if len(deliveries) == 1:
            await self._fail(deliveries[0], failure, until)
            return
        if not isinstance(failure, (HandlerFailed, TookTooLong)):
            half = len(deliveries) // 2  # nobody knows which it was
            await self._apply(deliveries[:half], deliveries[half].offset)
            await self._apply(deliveries[half:], until)
            return
        # Else each event of many that fail would write the copies of all behind it once more.
        self._copied_until = deliveries[-1].offset + 1
        number = next(n for n, delivery in enumerate(deliveries) if delivery.offset == failure.offset)
        if isinstance(failure, TookTooLong):
            self._together.took_too_long(number)
            await self._apply(deliveries, until)
            return
        self._together.failed(number)
        if number > 0:
            await self._apply(deliveries[:number], failure.offset)
        after = deliveries[number + 1 :]
        # What hangs, or waits for somebody, is not run once more for being in a batch.
        await self._fail(deliveries[number], failure, after[0].offset if after else until, tries=0)
        if after:
            await self._apply(after, until)

    async def _copy_all(self, deliveries: Sequence[Delivery]) -> None:
        """Write the copies of what goes into several transactions at once; if the store refuses one, each is written alone."""
        if deliveries[-1].offset < self._copied_until:
            return
        try:
            await self._applier.copy(deliveries)
        except PeerError:
            raise
        except Exception:  # noqa: BLE001 -- whoever writes it alone learns of it, and of which it was
            return
        self._copied_until = deliveries[-1].offset + 1

    async def _try(self, deliveries: Sequence[Delivery], until: int) -> Exception | None:
        began_at = time.monotonic()
        try:
            await self._take_effect(deliveries, until)
        except PeerError:
            raise
        except Exception as error:  # noqa: BLE001 -- whatever a handler raises is kept with the event
            return error
        self._together.went_well(len(deliveries), time.monotonic() - began_at)
        return None

    async def _fail(self, delivery: Delivery, failure: Exception, until: int, tries: int = 1) -> None:
        """Try one event again that has failed; park it when it has failed as often as the policy says."""
        for attempts in itertools.count(tries):
            reason = (failure.__cause__ if isinstance(failure, HandlerFailed) else None) or failure
            if isinstance(reason, HandlerWaits):
                raise reason
            if isinstance(reason, NoRoom):
                raise StandsStill(str(reason), ROOM_S_MAX) from reason
            assert isinstance(reason, Exception)
            if attempts > self._policy.at_once or isinstance(reason, HandlerTimeout):
                await self._park(delivery, reason, max(attempts, 1), until)
                return
            again = await self._try([delivery], until)
            if again is None:
                return
            failure = again

    async def _take_effect(self, deliveries: Sequence[Delivery], until: int) -> None:
        """Let these take effect, and move the position: with them, or soon after when they are for copies alone."""
        aside = self._retries.queues.plan(deliveries, self._record_at)
        if deliveries[-1].offset >= self._copied_until:
            await self._applier.copy(deliveries)
        if aside or any(delivery.calls for delivery in deliveries):
            await self._commit(deliveries, until, aside)
        else:
            self._position.move_later(until)
        self._note_applied(deliveries, aside)

    async def _commit(self, deliveries: Sequence[Delivery], until: int, aside: Aside) -> None:
        self._are_queues_sure = not aside
        claim = await self._applier.handle(self._position.claim, deliveries, until, aside)
        self._position.move(claim, until)
        self._retries.queues.note(aside)
        self._are_queues_sure = True
        self._total.parked_total += len(aside.parked)

    async def _park(self, delivery: Delivery, error: Exception, attempts: int, until: int) -> None:
        """Park an event that failed, and move the position past it."""
        event = failed(self._position.claim, self._record_at(delivery.offset), delivery, attempts - 1)
        share = random.uniform(0.5, 1.0)  # noqa: S311 -- spreads retries
        event = failed_again(event, error, policy=self._policy, at=event.parked_at, share=share)
        try:
            await self._set_aside([event], until)
        except NoRoom as full:
            raise StandsStill(str(full), ROOM_S_MAX) from error
        note_failure(self._where, event, error)

    async def _refuse(self, refused: Sequence[tuple[Record, EventRejected]], until: int) -> None:
        """Park what cannot be read, or stand still before it."""
        if self._policy.unreadable == "pause":
            raise StandsStill(str(refused[0][1]))
        listened = self._subscription.listened
        events = [unreadable(self._position.claim, record, error, listened=listened) for record, error in refused]
        try:
            await self._set_aside(events, until)
        except NoRoom:
            await self._set_aside_one_by_one(events)
        for event, (_, reason) in zip(events, refused, strict=True):
            note_failure(self._where, event, reason)

    async def _set_aside(self, events: Sequence[ParkedEvent], until: int) -> None:
        self._retries.queues.check_room(events)
        await self._commit([], until, Aside(events))
        self._progress.offset = until

    async def _set_aside_one_by_one(self, events: Sequence[ParkedEvent]) -> None:
        for event in events:
            try:
                await self._set_aside([event], event.id.offset + 1)
            except NoRoom as error:
                raise StandsStill(str(error), ROOM_S_MAX) from error

    def _record_at(self, offset: int) -> Record:
        return next(record for record in self._batch if record.offset == offset)

    def _note_applied(self, deliveries: Sequence[Delivery], aside: Aside) -> None:
        self._progress.offset = self._position.written
        skipped = sum(not (delivery.states or delivery.calls) for delivery in deliveries)
        self._total.skipped_total += skipped
        self._total.applied_total += len(deliveries) - skipped - len(aside.waiting)
        published_at = datetime.fromisoformat(deliveries[-1].envelope.time)
        self._total.last_lag_s = (datetime.now(UTC) - published_at).total_seconds()
