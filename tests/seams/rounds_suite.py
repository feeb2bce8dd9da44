"""What the rounds of every product promise: what was chosen stays as it was chosen, and what became of it is never lost."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from freehold.consumer.parking import Intent, Lot, Outcome, ParkedEvent
from freehold.consumer.redrive import Chosen, Round, Rounds
from freehold.event import Place
from tests.seams.lot_suite import parked
from tests.seams.suite import SeamSuite

NOW = datetime.now(UTC).replace(microsecond=0)


def a_round(number: int, **changes: Any) -> Round:
    values: dict[str, Any] = {"id": f"r{number}", "intent": Intent.REDRIVE, "by": "ann@desk", "at": NOW}
    return Round(**(values | changes))


def chosen(event: ParkedEvent) -> Chosen:
    return Chosen(id=event.id, type=event.type, event_id=event.event_id, replays=event.replays)


class RoundsSuite(SeamSuite):
    @pytest.fixture
    def rounds(self, store: Any) -> Rounds:
        return self.product.make_rounds(store)

    @pytest.fixture
    def lot(self, store: Any) -> Lot:
        return self.product.make_lot(store)

    async def test_round_is_read_as_it_was_made(self, rounds: Rounds) -> None:
        made = a_round(1, intent=Intent.DISCARD, even_quarantined=True)
        events = [chosen(parked(offset)) for offset in (2, 10, 1)]
        await rounds.begin(made, events, NOW)

        assert await rounds.find("r1") == made
        assert await rounds.find("r2") is None
        assert await rounds.chosen("r1") == [events[2], events[0], events[1]]
        assert await rounds.unfinished() is None
        await rounds.confirm("r1")
        assert await rounds.unfinished() == msgspec.structs.replace(made, is_confirmed=True)

    async def test_large_round_is_kept_whole(self, rounds: Rounds) -> None:
        events = [chosen(parked(offset)) for offset in range(2_500)]
        await rounds.begin(a_round(1), events, NOW)

        assert await rounds.chosen("r1") == events
        assert await rounds.unasked("r1", 1_100) == events[:1_100]

    async def test_what_was_asked_for_is_not_asked_for_again(self, rounds: Rounds) -> None:
        events = [chosen(parked(offset)) for offset in (1, 2, 3)]
        await rounds.begin(a_round(1), events, NOW)
        await rounds.begin(a_round(2), events, NOW)
        await rounds.confirm("r1")
        await rounds.confirm("r2")

        await rounds.mark("r1", events[0].id, NOW)
        await rounds.mark("r1", events[1].id, NOW, Outcome.SUPERSEDED)
        assert await rounds.unasked("r1", 10) == [events[2]]
        assert await rounds.unasked("r2", 10) == events
        for each in events:
            await rounds.mark("r2", each.id, NOW)
        unfinished = await rounds.unfinished()
        assert unfinished is not None
        assert unfinished.id == "r1"
        await rounds.mark("r1", events[2].id, NOW)
        assert await rounds.unfinished() is None

    async def test_event_that_leaves_tells_each_round_how(self, store: Any, lot: Lot, rounds: Rounds) -> None:
        event, other = parked(1), parked(2)
        await store.transact(lot.park, [event, other])
        await rounds.begin(a_round(1), [chosen(event), chosen(other)], NOW)
        await rounds.begin(a_round(2), [chosen(event)], NOW)
        await rounds.mark("r1", event.id, NOW)

        assert await store.transact(lot.remove, event, Outcome.EFFECT_BEFORE)
        assert not await store.transact(lot.remove, event, Outcome.DISCARDED)
        assert [each.outcome for each in await rounds.chosen("r1")] == [Outcome.EFFECT_BEFORE, None]
        assert [each.outcome for each in await rounds.chosen("r2")] == [Outcome.EFFECT_BEFORE]
        await rounds.mark("r2", event.id, NOW, Outcome.SUPERSEDED)
        assert [each.outcome for each in await rounds.chosen("r2")] == [Outcome.EFFECT_BEFORE]

    async def test_event_that_did_not_leave_after_all_says_nothing(self, store: Any, lot: Lot, rounds: Rounds) -> None:
        event = parked(1)
        await store.transact(lot.park, [event])
        await rounds.begin(a_round(1), [chosen(event)], NOW)

        async def fail(tx: Any) -> None:
            await lot.remove(tx, event, Outcome.EFFECT)
            raise LookupError

        with pytest.raises(LookupError):
            await store.transact(fail)
        assert [each.outcome for each in await rounds.chosen("r1")] == [None]
        assert len(await lot.scan()) == 1

    async def test_what_is_cleared_tells_each_round_that_it_was_superseded(
        self, store: Any, lot: Lot, rounds: Rounds
    ) -> None:
        events = [parked(1), parked(2, for_handlers=False), parked(3, b"user/u2")]
        await store.transact(lot.park, events)
        await rounds.begin(a_round(1), [chosen(event) for event in events], NOW)

        async def clear(tx: Any, *, erases: bool) -> None:
            await lot.clear(tx, events[0].id, b"user/u1", Place(9, 1, 0), erases=erases)

        await store.transact(clear, erases=False)
        assert [each.outcome for each in await rounds.chosen("r1")] == [None, Outcome.SUPERSEDED, None]
        await store.transact(clear, erases=True)
        assert [each.outcome for each in await rounds.chosen("r1")] == [Outcome.SUPERSEDED, Outcome.SUPERSEDED, None]

    async def test_only_what_was_not_confirmed_is_dropped(self, rounds: Rounds) -> None:
        await rounds.begin(a_round(1), [chosen(parked(1))], NOW)
        await rounds.begin(a_round(2), [chosen(parked(1))], NOW)
        await rounds.confirm("r2")
        await rounds.drop("r1")
        await rounds.drop("r2")

        assert (await rounds.find("r1"), await rounds.chosen("r1")) == (None, [])
        assert len(await rounds.chosen("r2")) == 1

    async def test_old_rounds_are_forgotten(self, rounds: Rounds) -> None:
        await rounds.begin(a_round(1, at=NOW - timedelta(days=2)), [chosen(parked(1))], NOW - timedelta(days=9))
        await rounds.begin(a_round(2), [chosen(parked(1))], NOW - timedelta(days=1))

        assert (await rounds.find("r1"), await rounds.chosen("r1")) == (None, [])
        assert len(await rounds.chosen("r2")) == 1
