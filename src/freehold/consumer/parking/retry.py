"""Try again what is parked in one partition: each key from its first event on, in order, until one fails again.

It runs beside the worker that applies the partition, so that a parked event that hangs holds nobody up. Neither needs to know what
the other is doing: the worker puts events behind a key as long as it is in the queues, and this takes a key out of them
only when it has seen, after its last event left, that the lot holds no more of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from freehold.consumer import Claim
from freehold.consumer.apply import Applier, Gone, HandlerWaits
from freehold.consumer.batch import Subscription
from freehold.consumer.parking import ASKED_MAX, Intent, Lot, ParkedEvent, ParkedId, ParkedState
from freehold.consumer.parking.decide import UNREADABLE, failed_again, now, record_to_try, unreadable_now
from freehold.consumer.parking.queues import Queue, Queues
from freehold.consumer.progress import ConsumerProgress, PartitionProgress
from freehold.discreet import words_of
from freehold.errors import EventRejected, FreeholdError, PeerError
from freehold.service import Parking

# How soon an operator's wish is noticed, and how often the lot is counted; only while anything is parked.
LOOK_S = 1.0
AWAY_S = 1.0
# Kafka was away, or has refused: the letters wait in the lot.
TELL_AGAIN_S = 15.0
TELL_MAX = 50
LOAD_PAGE = 1_000
# Keys whose first events are tried at the same time: many wait for commits, and connections are left for others.
TRIED_AT_ONCE = 4
REST_S = 0.02


Tell = Callable[[Sequence[ParkedEvent]], Awaitable[None]]

log = logging.getLogger("freehold.consumer")


class Retries:
    """What is parked in one partition, tried again as long as `run` runs.

    Args:
        claim: The partition.
        subscription: What a record means here.
        applier: Lets an event take effect.
        lot: Where the parked events are.
        policy: When they are tried, and until when.
        tell: Tells the topic of dead letters; raises FreeholdError when it could not.
        total: The whole subscription's progress.
        progress: The partition's own, in which the counts are kept.
    """

    def __init__(
        self,
        claim: Claim,
        *,
        subscription: Subscription,
        applier: Applier,
        lot: Lot,
        policy: Parking,
        tell: Tell,
        total: ConsumerProgress,
        progress: PartitionProgress,
    ) -> None:
        self.queues = Queues(claim, policy)
        self._claim = claim
        self._subscription = subscription
        self._applier = applier
        self._lot = lot
        self._policy = policy
        self._tell = tell
        self._total = total
        self._progress = progress
        self._look_at = self._tell_at = time.monotonic()
        self._asked: list[ParkedId] = []
        self._said = ""
        # Nothing is tried while the lot is read anew: what left it meanwhile would be taken to be there for ever.
        self._turn = asyncio.Lock()

    async def load(self) -> None:
        """Learn from the lot what is parked; raises StoreUnavailable."""
        async with self._turn:
            # Events of a topic that is no more: nobody tries them, and they can only be discarded or erased.
            self.queues.has_former = await self._lot.has_former(self._claim.source, self._claim.topic_id)
            events = await self._read_lot()
            self.queues.load(event for event in events if event.id.topic_id == self._claim.topic_id)
        self._note_progress()

    async def _read_lot(self) -> list[ParkedEvent]:
        source, partition = self._claim.source, self._claim.partition
        events: list[ParkedEvent] = []
        while True:
            after = events[-1].id if events else None
            page = await self._lot.scan(source=source, partition=partition, after=after, limit=LOAD_PAGE)
            events += page
            if len(page) < LOAD_PAGE:
                return events

    async def run(self) -> None:
        """Try again what is due, until cancelled; whatever fails, it goes on."""
        while True:
            try:
                async with self._turn:
                    await self._look()
                due = self.queues.due()
                for start in range(0, len(due), TRIED_AT_ONCE):
                    await self._drain(due[start : start + TRIED_AT_ONCE])
                await self._tell_dead()
                self._said = ""
            except PeerError as error:
                self._say(str(error))
                await asyncio.sleep(AWAY_S)
            except Exception:
                log.exception("%s: trying again what is parked failed", self._where)
                await asyncio.sleep(AWAY_S)
            await self._rest()

    async def _look(self) -> None:
        """See now and then what operators want, and count the lot."""
        if time.monotonic() < self._look_at or not (self.queues or self.queues.has_former):
            return
        asked = await self._lot.asked(self._claim.source, self._claim.topic_id, self._claim.partition)
        for event in asked:
            queue = self.queues.queue_of(event) if event.id.topic_id == self._claim.topic_id else None
            if event.intent is Intent.DISCARD:
                await self._discard(event)
            elif queue is None:
                await self._decline(event)
            elif queue.first == event.id.offset:
                queue.due_at = time.monotonic()
            elif not any(other.id.offset == queue.first for other in asked):
                await self._decline(event)
        ids = [event.id for event in asked]
        # As many as are read at once, and not those of before: there are more, and they need not wait for the next look.
        goes_on = len(ids) == ASKED_MAX and ids != self._asked
        self._asked, self._look_at = ids, time.monotonic() + (0.0 if goes_on else LOOK_S)
        self.queues.total = await self._lot.count(self._claim.source)

    async def _drain(self, queues: Sequence[Queue]) -> None:
        """Try these keys' events, each key's in order, until one is not to be tried now."""
        while queues:
            async with self._turn:
                # What fails otherwise than by its handler must not leave the others of them behind, at work without the turn.
                tried = await asyncio.gather(*map(self._try_first, queues), return_exceptions=True)
            for result in tried:
                if isinstance(result, BaseException):
                    raise result
            queues = [queue for queue, goes_on in zip(queues, tried, strict=True) if goes_on]

    async def _try_first(self, queue: Queue) -> bool:
        """Try the first event of a key; say whether the next may be looked at now."""
        if not self.queues.knows(queue):
            return False
        known = list(queue.events)
        event = await self._lot.next_of(self._place_of(queue), queue.key)
        # Only what was known before the question: the worker may have put more behind it since.
        self.queues.forget(queue, [each for each in known if event is None or each < event.id.offset])
        if event is None:
            return False
        if event.intent is Intent.DISCARD:
            return await self._discard(event)
        if self._is_to_be_tried(event):
            return await self._try(queue, event)
        self.queues.update(event)
        if event.state is ParkedState.DEAD:
            queue.due_at = None
        return False

    def _is_to_be_tried(self, event: ParkedEvent) -> bool:
        if event.intent is Intent.REDRIVE or event.state is ParkedState.BEHIND:
            return True
        if event.state is ParkedState.DEAD:
            return event.error_type == UNREADABLE and self._is_readable(event)
        return event.retry_at is None or event.retry_at <= now()

    def _is_readable(self, event: ParkedEvent) -> bool:
        with contextlib.suppress(EventRejected):
            self._subscription.read(record_to_try(event))
            return True
        return False

    async def _try(self, queue: Queue, event: ParkedEvent) -> bool:
        """Try one event; say whether the next of its key may be looked at now."""
        what = f"{self._where}, offset {event.id.offset}: {event.type} of {event.key}, which was parked,"
        try:
            delivery = self._subscription.read(record_to_try(event))
        except EventRejected as error:
            return await self._keep(unreadable_now(event, error, now()), error)
        try:
            took_effect = await self._applier.handle_parked(event, delivery)
        except Gone:
            return True
        except HandlerWaits as error:
            self._say(f"{what} waits: {error}")
            queue.due_at = time.monotonic() + AWAY_S * random.uniform(1, 5)  # noqa: S311 -- spreads retries
            return False
        except PeerError:
            raise
        except Exception as error:  # noqa: BLE001 -- whatever a handler raises is kept with the event
            share = random.uniform(0.5, 1.0)  # noqa: S311 -- spreads retries
            return await self._keep(failed_again(event, error, policy=self._policy, at=now(), share=share), error)
        self.queues.forget(queue, [event.id.offset])
        self._total.applied_total += 1
        log.info("%s %s", what, "took effect" if took_effect else "had taken effect already")
        return True

    async def _keep(self, failed: ParkedEvent, error: Exception) -> bool:
        """Write how it failed; say whether it is to be looked at again, since somebody else has changed it."""
        changed = await self._lot.change(failed)
        if changed is None:
            return True
        self.queues.update(changed)
        note_failure(self._where, changed, error)
        return False

    async def _discard(self, event: ParkedEvent) -> bool:
        """Give an event up; always True: if somebody else was faster, the next is looked at all the same."""
        if await self._applier.drop_parked(event):
            log.warning("%s, offset %d: %s of %s was discarded", self._where, event.id.offset, event.type, event.key)
            queue = self.queues.queue_of(event) if event.id.topic_id == self._claim.topic_id else None
            if queue is not None:
                self.queues.forget(queue, [event.id.offset])
        return True

    async def _decline(self, event: ParkedEvent) -> None:
        """Forget a wish that cannot be met: the event waits for another of its key, or its topic is no more."""
        source, topic_id, partition, offset = event.id
        whole = await self._lot.find(source, partition, offset, topic_id=topic_id)
        if whole is None or whole.intent is not Intent.REDRIVE:
            return
        if await self._lot.change(msgspec.structs.replace(whole, intent=None)) is not None:
            why = (
                "is not the first of its key" if topic_id == self._claim.topic_id else "lay in a topic that is no more"
            )
            log.warning("%s, offset %d %s, and cannot be redriven", self._where, offset, why)

    async def _tell_dead(self) -> None:
        """Tell the topic of dead letters of those that died; at least once."""
        if not self.queues.untold or time.monotonic() < self._tell_at:
            return
        letters = []
        for offset in sorted(self.queues.untold)[:TELL_MAX]:
            event = await self._find(offset)
            if event is None or event.state is not ParkedState.DEAD or event.is_told:
                self.queues.untold.discard(offset)
            else:
                letters.append(event)
        try:
            if letters:
                await self._tell(letters)
        except FreeholdError as error:
            self._tell_at = time.monotonic() + TELL_AGAIN_S
            self._say(f"{len(letters)} dead letters wait: {error}")
            return
        for event in letters:
            changed = await self._lot.change(msgspec.structs.replace(event, is_told=True))
            if changed is not None:
                self.queues.untold.discard(event.id.offset)

    async def _find(self, offset: int) -> ParkedEvent | None:
        claim = self._claim
        return await self._lot.find(claim.source, claim.partition, offset, topic_id=claim.topic_id)

    async def _rest(self) -> None:
        """Wait until something is due, or parked, or it is time to look."""
        self._note_progress()
        self.queues.changed.clear()
        pause_s = self.queues.next_due_s()
        if self.queues or self.queues.has_former:
            until_look_s = max(0.0, self._look_at - time.monotonic())
            pause_s = until_look_s if pause_s is None else min(until_look_s, pause_s)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self.queues.changed.wait()
        # What comes batch after batch is taken in together.
        await asyncio.sleep(REST_S)

    def _note_progress(self) -> None:
        events = list(self.queues.events())
        self._progress.parked = len(events)
        self._progress.dead = sum(event.is_dead for event in events)
        self._progress.oldest_parked_at = min((event.parked_at_s for event in events), default=None)

    def _say(self, text: str) -> None:
        if text != self._said:
            log.warning("%s: %s", self._where, text)
        self._said = text

    @property
    def _where(self) -> str:
        return f"{self._subscription.service}: {self._claim.source}, partition {self._claim.partition}"

    def _place_of(self, queue: Queue) -> ParkedId:
        offset = queue.name if isinstance(queue.name, int) else 0
        return ParkedId(self._claim.source, self._claim.topic_id, self._claim.partition, offset)


def note_failure(where: str, event: ParkedEvent, error: Exception) -> None:
    """Log what became of an event that failed, without what the error quotes of its data."""
    is_dead = event.state is ParkedState.DEAD
    state, level = (
        ("dead", logging.ERROR) if is_dead else ("parked", logging.WARNING if event.attempts < 5 else logging.INFO)
    )
    name = f"{event.type or 'a record'} of {event.key or 'no key'}"
    what = f"{where}, offset {event.id.offset}: {name} is {state} after {event.attempts} tries"
    log.log(level, "%s: %s", what, words_of(error))
