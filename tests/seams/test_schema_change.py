"""An event changes its form while old records lie on the topic: readers go first, and all of it is read by one path."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Callable
from typing import Any, ClassVar, Literal

import msgspec
import pytest

from freehold.event import Event
from freehold.service import Listen, Parking, Replica, Service
from freehold.testing import TestedService
from freehold.upcast import Upcasts
from tests.seams.pair import (
    copies,
    delete,
    effects,
    note_in_mongo,
    note_in_postgres,
    owner,
    subscriber,
    update,
)
from tests.seams.thorough import ON_MONGO, ON_POSTGRES
from tests.seams.waiting import LIMIT_S, LOOK_AGAIN_S, until

pytestmark = [pytest.mark.services]

Run = Callable[..., Any]


def join_names(data: dict[str, Any]) -> dict[str, Any]:
    """Make of the first form, `name`, the second one, `full_name`."""
    return {"id": data["id"], "full_name": data["name"]}


def back_to_name(data: dict[str, Any]) -> dict[str, Any]:
    return {"id": data["id"], "name": data["full_name"]}


class Customer(msgspec.Struct):
    """What the reader keeps is as it was: only how it comes to it has changed twice."""

    __schema__: ClassVar[int] = 3
    __upcasts__: ClassVar[Upcasts] = {1: join_names, 2: back_to_name}
    id: str
    name: str


class Named(Event, entity="user", schema=3, upcasts={1: join_names, 2: back_to_name}):
    id: str
    name: str


class SecondForm(Event, entity="user", schema=2):
    id: str
    full_name: str


SecondForm.__name__ = "UserUpdated"


def later_owner(product: str) -> Service:
    first = owner(product)
    return dataclasses.replace(first, publishes=[SecondForm, *first.publishes[1:]])


async def update_later(tx: Any, user_id: str, version: int) -> None:
    tx.publish(SecondForm, {"id": user_id, "version": version, "full_name": f"name {version}"})


def later_subscriber(product: str) -> Service:
    note: Any = note_in_postgres if product == "postgres" else note_in_mongo
    return dataclasses.replace(
        subscriber(product),
        replicates=[Replica(Customer, of="users", entity="user", into="customers")],
        listens=[Listen(Named, note, of="users", name="UserUpdated")],
    )


@pytest.mark.parametrize("product", ON_POSTGRES)
async def test_events_of_every_form_take_effect_in_order_and_are_read_again_from_the_beginning(
    freehold_service: Run, product: str
) -> None:
    orders, late = later_subscriber(product), dataclasses.replace(later_subscriber(product), name="late")
    async with freehold_service(orders):
        async with freehold_service(owner(product)) as running:
            await running.service.store.transact(update, "u1", 1)
            await running.service.store.transact(update, "u2", 1)
            await running.settled()
        async with freehold_service(later_owner(product)) as running:
            await running.service.store.transact(update_later, "u1", 2)
            await running.service.store.transact(delete, "u2", 2)
            await running.settled()

            expected = {"u1": ("name 2", 2, False), "u2": (None, 2, True)}
            assert await copies(orders) == expected
            assert await effects(orders) == {"u1": [1, 2], "u2": [1]}

            async with freehold_service(late):
                await running.settled()
                assert await copies(late) == expected
                assert await effects(late) == {"u1": [1, 2], "u2": [1]}


@pytest.mark.parametrize("product", ON_MONGO)
@pytest.mark.parametrize("unreadable", ["park", "pause"])
async def test_form_that_a_reader_does_not_know_waits_for_the_release_that_does(
    freehold_service: Run, product: str, unreadable: Literal["park", "pause"]
) -> None:
    policy = {"users": Parking(unreadable=unreadable)}
    old = dataclasses.replace(subscriber(product), parking=policy)
    async with freehold_service(later_owner(product)) as running:
        async with freehold_service(old) as reading:
            await running.service.store.transact(update_later, "u1", 1)
            await until(lambda: is_refused(reading, unreadable), "the old release refuses the event")
            assert await copies(old) == {}

        new = dataclasses.replace(later_subscriber(product), parking=policy)
        async with freehold_service(new):
            await running.settled()
            await until_effects(new, {"u1": [1]})

            assert await copies(new) == {"u1": ("name 1", 1, False)}


def is_refused(reading: TestedService, unreadable: str) -> bool:
    consumer = reading.running.consumers.get("users")
    if consumer is None:
        return False
    if unreadable == "park":
        return any(partition.dead for partition in list(consumer.progress.partitions.values()))
    return "it has schema 2, and Customer here reads schema 1" in repr(consumer.progress)


async def until_effects(service: Service, expected: dict[str, list[int]]) -> None:
    """What was parked is tried by the new release in its own time."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            if await effects(service) == expected:
                return
            await asyncio.sleep(LOOK_AGAIN_S)
