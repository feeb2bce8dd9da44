"""What an operator does with the parked events of one service: look, edit, and step through a round.

Everything here works on the store alone, so any process of the service answers. Each step may be cut off and done again: an event
that was redriven since it was chosen (`replays`) was asked for, and is not asked for twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta

import msgspec

from freehold.consumer.batch import Subscription
from freehold.consumer.parking import Intent, Lot, Outcome, ParkedEvent, ParkedId, ParkedState
from freehold.consumer.parking.decide import now
from freehold.consumer.redrive import CHOSEN_MAX, KEPT_DAYS, Chosen, Round, Rounds
from freehold.consumer.redrive.choose import Choice, Filter, choose, histogram, is_meant
from freehold.consumer.redrive.shown import Line, Page, Proposal, Shown, Step, line_of, text_of
from freehold.consumer.redrive.tally import Tally, tally
from freehold.errors import CallerError, ConflictError, EventRejected
from freehold.event import EVENT_BYTES_MAX
from freehold.replica import Copies
from freehold.service import Service

SCAN_PAGE = 1_000
BEHIND_SHOWN = 10
# Few enough to leave connections to the service's own requests.
ASKED_AT_ONCE = 5
# Somebody else changes an event while it is tried; each change is read again.
CHANGES_MAX = 20
NEWER_COPY = "a newer state is there: trying this one again would undo it"


class Desk:
    """The parked events of one service.

    Args:
        service: The declaration.
        lot: Its parked events.
        rounds: What was chosen of them.
        copies: Give the copies of each replica of a source, by the replica's entity.
    """

    def __init__(
        self, service: Service, lot: Lot, rounds: Rounds, copies: Callable[[str], list[tuple[str, Copies]]]
    ) -> None:
        self._service = service
        self._lot = lot
        self._rounds = rounds
        self._copies = copies

    async def list_page(self, filter_: Filter, after: str, limit: int) -> Page:
        """Give the events that the filter means, at most `limit`, behind the one that `after` says."""
        lines: list[Line] = []
        at = now()
        async for event in self._scan(_position(after) if after else None):
            if is_meant(event, filter_, at):
                lines.append(line_of(event, at))
                if len(lines) == limit:
                    return Page(lines=lines, after=msgspec.json.encode(event.id).decode())
        return Page(lines=lines, after=None)

    async def show(self, event_id: str) -> Shown:
        """Give everything about one event; raises CallerError when it is not there."""
        event = await self._find(event_id)
        queue = [
            each
            async for each in self._scan()
            if each.for_handlers and each.id[:3] == event.id[:3] and each.record.key == event.record.key is not None
        ]
        before = [each for each in queue if each.id.offset < event.id.offset]
        behind = [each for each in queue if each.id.offset > event.id.offset] if event.for_handlers else []
        return Shown(
            line=line_of(event, now()),
            headers=[(name, text_of(value) or "") for name, value in event.record.headers],
            data=text_of(event.record.value),
            edited=text_of(event.edited),
            traceback=event.traceback,
            tries=list(event.tries),
            waits_for=str(before[0].id) if before and event.for_handlers else None,
            behind=len(behind),
            behind_ids=[str(each.id) for each in behind[:BEHIND_SHOWN]],
        )

    async def edit(self, event_id: str, data: bytes | None, made: Round) -> Intent | None:
        """Let other data be tried in place of an event's, or its own again when None.

        Returns:
            REDRIVE when it is tried now; None when it waits behind an earlier one of its key.

        Raises:
            CallerError: It is not there, or the data is refused: it must be what this subscription reads of this very event.
        """
        for _ in range(CHANGES_MAX):
            event = await self._find(event_id)
            if data is not None:
                self._check_data(event, data)
            waits = event.state is ParkedState.BEHIND
            chosen = Chosen(id=event.id, type=event.type, event_id=event.event_id, replays=event.replays)
            if not waits and await self._rounds.find(made.id) is None:
                # Confirmed below: a round that was cut off before the edit was written must not be gone on with.
                await self._begin(made, [chosen])
            changed = msgspec.structs.replace(event, edited=data)
            if await self._lot.change(changed if waits else _asked(changed, Intent.REDRIVE)) is not None:
                if not waits:
                    await self._rounds.mark(made.id, event.id, now())
                    await self._rounds.confirm(made.id)
                return None if waits else Intent.REDRIVE
        raise ConflictError(f"{event_id} is being changed all the time; try again")

    async def propose(self, filter_: Filter, made: Round, *, dry_run: bool) -> Proposal:
        """Choose what the filter means, and write it down as a round unless it is a dry run.

        Raises:
            CallerError: An id that was given is not there, or more than CHOSEN_MAX are meant.
        """
        choice, waiting_behind = await self._choose(filter_, made)
        if choice.chosen and not dry_run:
            await self._begin(
                made,
                [
                    Chosen(id=each.id, type=each.type, event_id=each.event_id, replays=each.replays)
                    for each in choice.chosen
                ],
            )
        return Proposal(
            count=len(choice.chosen),
            keys=len({each.record.key for each in choice.chosen}),
            reasons=histogram(choice.chosen),
            left_out=choice.left_out,
            waiting_behind=waiting_behind,
        )

    async def step(self, round_id: str, count: int) -> Step:
        """Ask for the next `count` events of a confirmed round; raises CallerError when there is no such round."""
        made = await self._round(round_id)
        if not made.is_confirmed:
            raise CallerError(f"nothing was begun under {round_id}: it was never confirmed")
        waiting = await self._rounds.unasked(round_id, count + 1)
        for start in range(0, count, ASKED_AT_ONCE):
            together = waiting[start : min(count, start + ASKED_AT_ONCE)]
            await asyncio.gather(*(self._ask_and_mark(made, chosen) for chosen in together))
        return Step(asked=min(count, len(waiting)), is_last=len(waiting) <= count)

    async def confirm(self, round_id: str) -> None:
        """Let a round be stepped through."""
        await self._round(round_id)
        await self._rounds.confirm(round_id)

    async def drop(self, round_id: str) -> None:
        """Forget a round that was not confirmed."""
        await self._rounds.drop(round_id)

    async def unfinished(self) -> Round | None:
        """Give the newest round that was not stepped through to its end."""
        return await self._rounds.unfinished()

    async def tally(self, round_id: str) -> Tally:
        """Say what became of a round; raises CallerError when there is none."""
        made = await self._round(round_id)
        chosen = await self._rounds.chosen(round_id)
        ids = {each.id for each in chosen}
        there = {event.id: event async for event in self._scan() if event.id in ids}
        # What left between the two questions has its outcome by now.
        if any(each.outcome is None and each.id not in there for each in chosen):
            chosen = await self._rounds.chosen(round_id)
        return tally(made, chosen, there)

    async def _begin(self, made: Round, chosen: Sequence[Chosen]) -> None:
        await self._rounds.begin(made, chosen, made.at - timedelta(days=KEPT_DAYS))

    async def _choose(self, filter_: Filter, made: Round) -> tuple[Choice, int]:
        chosen: list[ParkedEvent] = []
        left_out: dict[str, int] = {}
        missing = set(filter_.ids)
        waiting: dict[tuple[ParkedId, bytes | None], int] = {}
        async for event in self._scan():
            missing.discard(str(event.id))
            if event.state is ParkedState.BEHIND:
                queue = (event.id._replace(offset=0), event.record.key)
                waiting[queue] = waiting.get(queue, 0) + 1
            choice = choose([event], filter_, made.intent, made.at, even_quarantined=made.even_quarantined)
            if choice.chosen and made.intent is Intent.REDRIVE and await self._is_superseded(event):
                choice = Choice([], {NEWER_COPY: 1})
            chosen += choice.chosen
            for reason, count in choice.left_out.items():
                left_out[reason] = left_out.get(reason, 0) + count
            if len(chosen) > CHOSEN_MAX:
                raise CallerError(
                    f"more than {CHOSEN_MAX:,} events of {self._service.name} are meant; narrow the filter"
                )
        if missing:
            raise CallerError(
                f"{self._service.name} has no parked event {', '.join(sorted(missing))}: it left, or never was"
            )
        queues = {(event.id._replace(offset=0), event.record.key) for event in chosen}
        return Choice(chosen, left_out), sum(waiting.get(queue, 0) for queue in queues)

    async def _ask_and_mark(self, made: Round, chosen: Chosen) -> None:
        await self._rounds.mark(made.id, chosen.id, now(), await self._ask(made, chosen))

    async def _ask(self, made: Round, chosen: Chosen) -> Outcome | None:
        """Write the intent of a round into an event; give an outcome when that need not be."""
        for _ in range(CHANGES_MAX):
            source, topic_id, partition, offset = chosen.id
            event = await self._lot.find(source, partition, offset, topic_id=topic_id)
            if event is None or _was_asked(event, chosen, made.intent):
                return None
            if made.intent is Intent.REDRIVE and await self._is_superseded(event):
                return Outcome.SUPERSEDED
            if await self._lot.change(_asked(event, made.intent)) is not None:
                return None
        raise ConflictError(f"{chosen.id} is being changed all the time; run it again")

    async def _is_superseded(self, event: ParkedEvent) -> bool:
        """Say whether nothing but copies lack the event, and they hold newer states already."""
        if event.for_handlers or event.place is None:
            return False
        entity, _, entity_id = event.key.partition("/")
        kept = [copies for of, copies in self._copies(event.id.source) if of == entity]
        reached = [(await copies.reach([entity_id])).get(entity_id) for copies in kept]
        return bool(reached) and all(each is not None and each.place > event.place for each in reached)

    def _check_data(self, event: ParkedEvent, data: bytes) -> None:
        if len(data) > EVENT_BYTES_MAX:
            raise CallerError(f"the data has {len(data):,} bytes; an event has at most {EVENT_BYTES_MAX:,}")
        try:
            read = Subscription(self._service, event.id.source).read(msgspec.structs.replace(event.record, value=data))
        except EventRejected as error:
            raise CallerError(f"the data is refused, and nothing was changed: {error}") from None
        for listen, called in read.calls:
            field = listen.event.__key__
            if str(getattr(called, field, read.envelope.entity_id)) != read.envelope.entity_id:
                raise CallerError(
                    f"the data is refused, and nothing was changed: its {field} is not {read.envelope.entity_id}, which the "
                    f"event is about; only what is said of it may change"
                )

    async def _find(self, event_id: str) -> ParkedEvent:
        source, partition, offset = _parts(event_id)
        event = await self._lot.find(source, partition, offset)
        if event is None:
            raise CallerError(f"{self._service.name} has no parked event {event_id}: it left, or never was")
        return event

    async def _round(self, round_id: str) -> Round:
        made = await self._rounds.find(round_id)
        if made is None:
            raise CallerError(f"{self._service.name} knows nothing of {round_id}")
        return made

    async def _scan(self, after: ParkedId | None = None) -> AsyncIterator[ParkedEvent]:
        while True:
            page = await self._lot.scan(after=after, limit=SCAN_PAGE)
            for event in page:
                yield event
            if len(page) < SCAN_PAGE:
                return
            after = page[-1].id


def _asked(event: ParkedEvent, intent: Intent) -> ParkedEvent:
    replays = event.replays + 1 if intent is Intent.REDRIVE else event.replays
    return msgspec.structs.replace(event, intent=intent, replays=replays)


def _was_asked(event: ParkedEvent, chosen: Chosen, intent: Intent) -> bool:
    if intent is Intent.DISCARD:
        return event.intent is Intent.DISCARD
    return event.replays > chosen.replays


def _parts(event_id: str) -> tuple[str, int, int]:
    source, _, rest = event_id.partition(":")
    partition, _, offset = rest.partition(":")
    if not (source and partition.isascii() and partition.isdigit() and offset.isascii() and offset.isdigit()):
        raise CallerError(f"{event_id!r} is no id of a parked event; it looks like users:0:42 (freehold dead list)")
    if len(partition) > 9 or len(offset) > 18:
        raise CallerError(f"{event_id!r} is no id of a parked event: its numbers are too large")
    return source, int(partition), int(offset)


def _position(after: str) -> ParkedId:
    try:
        return ParkedId(*msgspec.json.decode(after, type=tuple[str, str, int, int]))
    except msgspec.MsgspecError:
        raise CallerError("a list goes on behind what its last page said") from None
