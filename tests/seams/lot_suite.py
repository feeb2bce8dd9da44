"""What every lot promises: an event comes and goes with a transaction, in order, and no change is written over another."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from freehold.consumer.parking import Intent, Lot, ParkedEvent, ParkedId, ParkedState, Try
from freehold.consumer.parking.among import PAGE, parked_among
from freehold.event import Place
from freehold.topic import Record
from tests.seams.suite import SeamSuite

TOPIC = "the-topic"
FORMER = "a-former-topic"
NOW = datetime.now(UTC).replace(microsecond=0)


def parked(offset: int, key: bytes | None = b"user/u1", **changes: Any) -> ParkedEvent:
    partition = changes.pop("partition", 0)
    source = changes.pop("source", "users")
    headers = (("ce_id", b"1"), ("ce_id", None), ("odd", b"\x00\xff"))
    values: dict[str, Any] = {
        "id": ParkedId(source, changes.pop("topic_id", TOPIC), partition, offset),
        "record": Record(f"ns_{source}", partition, offset, 1_700_000_000_123, key, b'{"n": "\xff"}', headers),
        "type": "users.UserUpdated",
        "event_id": f"user/u1:1.{offset}.0",
        "place": Place(1, 2**62, 1_000_007),
        "for_handlers": True,
        "state": ParkedState.FAILED,
        "error_type": "LookupError",
        "error": "no such thing",
        "traceback": "Traceback ...",
        "tries": (Try(NOW - timedelta(seconds=2), "KeyError"), Try(NOW, "LookupError")),
        "attempts": 3,
        "parked_at": NOW,
        "first_failed_at": NOW - timedelta(seconds=2),
        "last_failed_at": NOW,
        "retry_at": NOW + timedelta(seconds=1),
    }
    return ParkedEvent(**(values | changes))


def light(event: ParkedEvent) -> ParkedEvent:
    record = msgspec.structs.replace(event.record, value=None, headers=())
    return msgspec.structs.replace(event, record=record, edited=None, traceback="", tries=())


class LotSuite(SeamSuite):
    @pytest.fixture
    def lot(self, store: Any) -> Lot:
        return self.product.make_lot(store)

    async def test_event_is_kept_byte_for_byte(self, store: Any, lot: Lot) -> None:
        whole = parked(7, edited=b"\x00edited", intent=Intent.REDRIVE, replays=2, is_told=True)
        bare = parked(
            8,
            None,
            place=None,
            type="",
            event_id="",
            for_handlers=False,
            state=ParkedState.DEAD,
            retry_at=None,
            first_failed_at=None,
            last_failed_at=None,
            record=Record("ns_users", 0, 8, 0, None, None, ()),
        )
        await store.transact(lot.park, [whole, bare])

        assert await lot.find("users", 0, 7) == whole
        assert await lot.find("users", 0, 8) == bare
        assert await lot.find("users", 1, 7) is None
        assert await lot.scan() == [light(whole), light(bare)]
        assert whole.key == "user/u1"

    async def test_events_come_and_go_with_the_transaction(self, store: Any, lot: Lot) -> None:
        await store.transact(lot.park, [parked(1)])

        async def fail(tx: Any) -> None:
            await lot.park(tx, [parked(2)])
            assert await lot.remove(tx, parked(1))
            raise LookupError

        with pytest.raises(LookupError):
            await store.transact(fail)

        assert [event.id.offset for event in await lot.scan()] == [1]
        assert await store.transact(lot.remove, parked(1))
        assert not await store.transact(lot.remove, parked(1))
        assert await lot.scan() == []

    async def test_event_that_is_there_already_stays_as_it_is(self, store: Any, lot: Lot) -> None:
        await store.transact(lot.park, [parked(1)])
        await store.transact(lot.park, [parked(1, error="another"), parked(2)])

        assert [(event.id.offset, event.error) for event in await lot.scan()] == [
            (1, "no such thing"),
            (2, "no such thing"),
        ]

    async def test_queue_of_a_key_is_in_order(self, store: Any, lot: Lot) -> None:
        events = [parked(3), parked(11), parked(2, b"user/u2"), parked(1, partition=1), parked(2, source="payments")]
        await store.transact(lot.park, [*events, parked(4, None), parked(5, None)])
        queue = ParkedId("users", TOPIC, 0, 0)

        assert await lot.next_of(queue, b"user/u1") == events[0]
        await store.transact(lot.remove, events[0])
        assert await lot.next_of(queue, b"user/u1") == events[1]
        assert await lot.next_of(queue, b"user/u3") is None
        assert await lot.next_of(queue._replace(offset=5), None) == parked(5, None)
        assert await lot.next_of(queue, None) is None

    async def test_nothing_is_written_over_a_change_of_somebody_else(self, store: Any, lot: Lot) -> None:
        await store.transact(lot.park, [parked(1)])
        read = await lot.find("users", 0, 1)
        assert read is not None
        asked = await lot.change(msgspec.structs.replace(read, intent=Intent.REDRIVE, edited=b"{}", replays=1))

        assert asked is not None
        assert await lot.find("users", 0, 1) == asked
        assert await lot.change(msgspec.structs.replace(read, attempts=4)) is None
        assert not await store.transact(lot.remove, read)
        failed = await lot.change(
            msgspec.structs.replace(
                asked, intent=None, state=ParkedState.DEAD, error="again", retry_at=None, tries=(Try(NOW, "KeyError"),)
            )
        )
        assert failed is not None
        assert await lot.find("users", 0, 1) == failed
        assert (failed.edited, failed.record.value) == (b"{}", parked(1).record.value)
        assert await store.transact(lot.remove, failed)
        assert await lot.change(failed) is None

    async def test_event_that_two_take_out_at_once_is_taken_out_once(self, store: Any, lot: Lot) -> None:
        await store.transact(lot.park, [parked(1)])

        async def take_out(tx: Any, name: str) -> bool:
            if not await lot.remove(tx, parked(1)):
                return False
            await self.product.insert_user(tx, name, "effect")
            return True

        taken = await asyncio.gather(*(store.transact(take_out, f"u{number}") for number in range(6)))

        assert taken.count(True) == 1
        users = [await self.product.read_user(store, f"u{number}") for number in range(6)]
        assert len([user for user in users if user is not None]) == 1

    @pytest.mark.parametrize("erases", [False, True])
    async def test_what_is_superseded_or_erased_is_cleared(self, store: Any, lot: Lot, erases: bool) -> None:
        before = Place(2, 5, 1)
        earlier = [Place(1, 9, 9), Place(2, 4, 9), Place(2, 5, 0)]
        later = [Place(2, 5, 1), Place(2, 5, 2), Place(2, 6, 0), Place(3, 1, 0)]
        places = [*earlier, *later, None]
        for_copies = [parked(offset, place=place, for_handlers=False) for offset, place in enumerate(places)]
        for_handlers = [parked(10 + offset, place=place) for offset, place in enumerate(places)]
        others = [parked(20, b"user/u2", place=earlier[0]), parked(21, None, place=earlier[0])]
        former = [
            parked(30 + offset, place=place, topic_id=FORMER, partition=offset, for_handlers=False)
            for offset, place in enumerate(places)
        ]
        await store.transact(lot.park, [*for_copies, *for_handlers, *others, *former])

        async def clear(tx: Any) -> None:
            await lot.clear(tx, ParkedId("users", TOPIC, 0, 0), b"user/u1", before, erases=erases)

        await store.transact(clear)

        left = [event.id.offset for event in await lot.scan() if event.id.topic_id == TOPIC]
        assert left == ([3, 4, 5, 6, 13, 14, 15, 16, 20, 21] if erases else [*range(3, 8), *range(10, 18), 20, 21])
        former_left = [event.id.offset for event in await lot.scan() if event.id.topic_id == FORMER]
        assert former_left == ([33, 34, 35, 36] if erases else [*range(30, 38)])
        assert await lot.has_former("users", TOPIC)

    async def test_events_of_a_former_topic_are_told_apart_from_those_at_the_same_offset(
        self, store: Any, lot: Lot
    ) -> None:
        assert not await lot.has_former("users", TOPIC)
        former = parked(7, topic_id=FORMER, parked_at=NOW - timedelta(days=1))
        await store.transact(lot.park, [parked(7), former, parked(8, topic_id=FORMER, partition=9)])

        assert await lot.has_former("users", TOPIC)
        assert not await lot.has_former("payments", TOPIC)
        assert await lot.find("users", 0, 7) == parked(7)
        assert await lot.find("users", 0, 7, topic_id=FORMER) == former
        assert await lot.find("users", 0, 7, topic_id="another") is None

    async def test_events_are_read_page_by_page(self, store: Any, lot: Lot) -> None:
        events = [parked(offset, partition=partition) for partition in (0, 1) for offset in (1, 2, 10)]
        events = [parked(5, source="payments"), *events]
        await store.transact(lot.park, list(reversed(events)))

        found: list[ParkedEvent] = []
        while page := await lot.scan(limit=2, after=found[-1].id if found else None):
            found += page
        assert found == [light(event) for event in events]
        of_one = await lot.scan(source="users", partition=1)
        assert [event.id for event in of_one] == [event.id for event in events[4:]]
        assert (await lot.count("users"), await lot.count("payments"), await lot.count("none")) == (6, 1, 0)

    async def test_entities_with_parked_events_are_found_among_others(self, store: Any, lot: Lot) -> None:
        many = [parked(offset, key=f"user/u{offset}".encode()) for offset in range(PAGE + 10)]
        await store.transact(
            lot.park, [*many, parked(1, key=None, partition=1), parked(9, b"user/x", source="payments")]
        )

        wanted = {"user/u3", f"user/u{PAGE + 5}", "user/x", "user/never"}

        assert await parked_among(lot, "users", wanted) == {"user/u3", f"user/u{PAGE + 5}"}
        assert await parked_among(lot, "none", wanted) == set()

    async def test_what_is_asked_is_found_by_its_partition(self, store: Any, lot: Lot) -> None:
        events = [parked(1), parked(2, intent=Intent.DISCARD), parked(3, partition=1, intent=Intent.REDRIVE)]
        await store.transact(lot.park, events)

        assert await lot.asked("users", TOPIC, 0) == [light(events[1])]
        assert await lot.asked("users", TOPIC, 1) == [light(events[2])]
        assert await lot.asked("payments", TOPIC, 0) == []
        await lot.change(msgspec.structs.replace(events[1], intent=None))
        assert await lot.asked("users", TOPIC, 0) == []

    async def test_what_is_asked_of_a_former_topic_is_found_by_every_partition(self, store: Any, lot: Lot) -> None:
        """It may have had more partitions."""
        former = parked(5, topic_id=FORMER, partition=9, intent=Intent.DISCARD)
        await store.transact(lot.park, [former, parked(6, topic_id=FORMER), parked(5, partition=1)])

        assert await lot.asked("users", TOPIC, 0) == await lot.asked("users", TOPIC, 1) == [light(former)]
        assert await lot.asked("users", FORMER, 0) == []
