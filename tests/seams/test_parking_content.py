"""What is parked, by what it says: erasures, newer states, forms nobody knows yet, topics that are no more."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from freehold.consumer.apply import Gone
from freehold.consumer.parking import Intent
from freehold.consumer.parking.decide import UNREADABLE
from freehold.event import Event, Place
from freehold.service import Listen, Service
from freehold.testing import Scene
from tests.seams.consuming import IDS, Run, compact_no_more, write_raw
from tests.seams.pair import copies, delete, effects, owner, subscriber, update, update_many
from tests.seams.parked import (
    BESIDE,
    ONCE,
    Poison,
    ask,
    headers_of,
    lot_of,
    parked,
    parked_first,
    parking,
    until_asked_for_nothing,
    until_copies,
    until_effects,
    until_parked,
)
from tests.seams.thorough import ON_MONGO, ON_POSTGRES

pytestmark = pytest.mark.services


@pytest.mark.parametrize("reading", ON_POSTGRES)
async def test_erasure_waits_behind_no_poison_and_clears_what_was_parked(freehold_service: Run, reading: str) -> None:
    told = []

    class Gone(Event, entity="user"):
        id: str

    async def note(_tx: Any, event: Gone) -> None:
        told.append(event.id)

    users, orders = owner("mongo"), parking(reading, Poison("u3", "u4"), ONCE)
    orders = dataclasses.replace(orders, listens=[*orders.listens, Listen(Gone, note, of="users", name="UserDeleted")])
    async with freehold_service(users), freehold_service(orders):
        for version in (1, 2):
            await users.store.transact(update_many, ["u3", "u4"], version)
        await until_parked(orders, {"user/u3": ["failed", "behind"], "user/u4": ["failed", "behind"]})
        await users.store.transact(delete, "u3", 3)
        await until_parked(orders, {"user/u4": ["failed", "behind"]})
        assert (await copies(orders))["u3"] == (None, 3, True)
        assert told == ["u3"]
        assert await effects(orders) == {}
        assert b"name" not in await bytes_of_parked(orders, "user/u3")


async def bytes_of_parked(service: Service, key: str) -> bytes:
    found = [event for event in await parked(service) if event.key == key]
    wholes = [await lot_of(service).find(e.id.source, e.id.partition, e.id.offset) for e in found]
    return b"".join(whole.record.value or b"" for whole in wholes if whole is not None)


@pytest.mark.parametrize("reading", ON_MONGO)
async def test_newer_state_of_a_copy_supersedes_what_could_not_be_read(
    freehold_service: Run, freehold_scene: Scene, reading: str
) -> None:
    users, orders = owner("mongo"), subscriber(reading)
    orders = dataclasses.replace(orders, listens=[])
    async with freehold_service(users) as running, freehold_service(orders):
        await users.store.transact(update, "u3", 1)
        await running.settled()
        await write_raw(freehold_scene, b"user/u3", b'{"id": "u3"}', headers_of("u3", 2))
        await users.store.transact(update_many, BESIDE, 1)
        [dead] = await until_parked(orders, {"user/u3": ["dead"]})
        assert (dead.for_handlers, dead.error_type, dead.place) == (False, UNREADABLE, Place(1, 2, 0))
        await until_copies(orders, BESIDE, 1)

        await write_raw(freehold_scene, b"user/u3", b'{"id": "u3", "name": "old 1"}', headers_of("u3", 1))
        await users.store.transact(update_many, BESIDE, 2)
        await until_copies(orders, BESIDE, 2)
        assert [event.id for event in await parked(orders)] == [dead.id]  # an older state supersedes nothing

        await users.store.transact(update, "u3", 3)
        await until_parked(orders, {})
        assert (await copies(orders))["u3"] == ("name 3", 3, False)


@pytest.mark.parametrize("reading", ON_POSTGRES)
async def test_unknown_schema_is_parked_and_read_by_the_code_that_can(
    freehold_service: Run, freehold_scene: Scene, reading: str
) -> None:
    class Newer(Event, entity="user", schema=2):
        id: str
        title: str

    seen: list[str] = []

    async def note(_tx: Any, event: Newer) -> None:
        seen.append(event.title)

    users, orders = owner("mongo"), dataclasses.replace(subscriber(reading), replicates=[])
    newer = dataclasses.replace(orders, listens=[Listen(Newer, note, of="users", name="UserUpdated")])
    async with freehold_service(users) as running:
        async with freehold_service(orders):
            await users.store.transact(update, "u5", 1)
            await running.settled()
            for version in (1, 2):
                value = b'{"id": "u3", "title": "title %d"}' % version
                await write_raw(freehold_scene, b"user/u3", value, headers_of("u3", version, schema=2))
            await users.store.transact(update_many, BESIDE, 1)
            await until_effects(orders, {key: [1] for key in ["u5", *BESIDE]})
            await until_parked(orders, {"user/u3": ["dead", "dead"]})
        async with freehold_service(newer):
            await until_parked(orders, {})
        assert seen == ["title 1", "title 2"]


@pytest.mark.parametrize("reading", ON_MONGO)
async def test_record_without_a_key_blocks_nobody(freehold_service: Run, freehold_scene: Scene, reading: str) -> None:
    users, orders = owner("mongo", partitions=1), subscriber(reading)
    async with freehold_service(users) as running, freehold_service(orders):
        await users.store.transact(update_many, IDS, 1)
        await running.settled()
        await compact_no_more(freehold_scene)  # a compacted topic refuses such records
        for value in (b"hello", None):
            await write_raw(freehold_scene, None, value, [])
        await users.store.transact(update_many, IDS, 2)
        await until_effects(orders, {user_id: [1, 2] for user_id in IDS})

        found = await until_parked(orders, {"": ["dead", "dead"]})
        await ask(orders, found[0], Intent.DISCARD)
        [left] = await until_parked(orders, {"": ["dead"]})
        assert left.id == found[1].id
        assert "no ce_specversion header" in left.error


@pytest.mark.parametrize("reading", ON_POSTGRES)
async def test_what_is_left_of_a_topic_that_is_no_more_can_be_discarded(freehold_service: Run, reading: str) -> None:
    users, orders = owner("mongo"), parking(reading, Poison("u3"), ONCE)
    async with freehold_service(users):
        async with freehold_service(orders):
            event = await parked_first(users, orders)
            former = msgspec.structs.replace(event, id=event.id._replace(topic_id="former", offset=999))
            await orders.store.transact(lot_of(orders).park, [former])
        async with freehold_service(orders):
            await ask(orders, former, Intent.REDRIVE)
            await until_asked_for_nothing(orders)
            await ask(orders, former, Intent.DISCARD)
            [left] = await until_parked(orders, {"user/u3": ["failed"]})
            assert left.id == event.id


@pytest.mark.parametrize("reading", ON_MONGO)
async def test_erasure_clears_what_is_left_of_a_topic_that_is_no_more(freehold_service: Run, reading: str) -> None:
    """Of whatever partition: the former topic may have had more. Nothing of that entity is parked of the present one."""
    users, orders = owner("mongo"), parking(reading, Poison("u3"), ONCE)
    async with freehold_service(users):
        async with freehold_service(orders):
            event = await parked_first(users, orders)
            lost = [
                msgspec.structs.replace(event, id=event.id._replace(topic_id="former", partition=n)) for n in (0, 9)
            ]
            other = msgspec.structs.replace(
                lost[0],
                id=lost[0].id._replace(offset=7),
                record=msgspec.structs.replace(event.record, key=b"user/u4"),
            )
            await orders.store.transact(lot_of(orders).park, [*lost, other])
            assert await orders.store.transact(lot_of(orders).remove, event)
        async with freehold_service(orders):
            await users.store.transact(delete, "u3", 3)
            await until_parked(orders, {"user/u4": ["failed"]})
