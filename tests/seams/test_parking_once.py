"""Parked events take effect once, whatever ends, is cut off or tries beside."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from typing import Any

import pytest

from freehold.consumer.apply import Applier, Gone
from freehold.consumer.batch import Delivery, Subscription
from freehold.consumer.parking import Intent
from freehold.consumer.parking.decide import unreadable
from freehold.consumer.parking.queues import Aside
from freehold.errors import CommitUnknown, FencedError
from freehold.event import Place
from freehold.runtime.parts import make_ledger
from freehold.service import Parking
from freehold.testing import Scene
from freehold.topic import Record
from tests.seams.consuming import IDS, LIMIT_S, Run, consumer_of, cut_connections
from tests.seams.pair import PRODUCTS, Named, effects, owner, subscriber, update, update_many
from tests.seams.parked import (
    BESIDE,
    NEVER_AGAIN,
    ONCE,
    QUICK,
    Poison,
    ask,
    headers_of,
    lot_of,
    parked_first,
    parking,
    until_effects,
    until_parked,
)
from tests.seams.thorough import ON_MONGO, ON_POSTGRES
from tests.seams.waiting import until

pytestmark = pytest.mark.services


@pytest.mark.parametrize("reading", ON_POSTGRES)
async def test_what_is_parked_outlives_a_restart(freehold_service: Run, reading: str) -> None:
    poison = Poison("u3")
    users, orders = owner("mongo"), parking(reading, poison, ONCE)
    async with freehold_service(users) as running:
        async with freehold_service(orders):
            await users.store.transact(update, "u3", 1)
            await until_parked(orders, {"user/u3": ["failed"]})
        async with freehold_service(orders):
            await users.store.transact(update_many, ["u3", *BESIDE], 2)
            await until_effects(orders, {key: [2] for key in BESIDE})
            [first, _] = await until_parked(orders, {"user/u3": ["failed", "behind"]})
            assert poison.given.count(("u3", "name 2")) == 0
        poison.refused.clear()
        async with freehold_service(orders):
            await ask(orders, first, Intent.REDRIVE)
            await until_effects(orders, {"u3": [1, 2]} | {key: [2] for key in BESIDE})
            await running.settled()


@pytest.mark.parametrize("reading", ON_MONGO)
async def test_event_whose_effect_has_happened_is_taken_out_without_another(
    freehold_service: Run, caplog: pytest.LogCaptureFixture, reading: str
) -> None:
    poison = Poison("u3")
    users, orders = owner("mongo"), parking(reading, poison, NEVER_AGAIN)
    async with freehold_service(users), freehold_service(orders):
        await users.store.transact(update, "u3", 1)
        [dead] = await until_parked(orders, {"user/u3": ["dead"]})
        await orders.store.transact(make_ledger(orders).record, "users", {"user/u3": Place(1, 1, 0)})
        poison.refused.clear()
        with caplog.at_level("INFO", "freehold.consumer"):
            await ask(orders, dead, Intent.REDRIVE)
            await until_parked(orders, {})
            # It is said once it is done.
            await until(lambda: "had taken effect already" in caplog.text, "it is said", lambda: caplog.text)

        assert await effects(orders) == {}


@pytest.mark.parametrize("point", ["park", "after park", "remove", "after remove", "change", "next_of", "asked"])
@pytest.mark.parametrize("reading", PRODUCTS)
async def test_process_that_ends_at_any_point_takes_effect_once(
    freehold_service: Run, monkeypatch: pytest.MonkeyPatch, reading: str, point: str
) -> None:
    """The lot's call at that point never returns, and the process is stopped in it; the next one goes on."""
    poison = Poison("u3 name 1")
    users, orders = owner("mongo"), parking(reading, poison, dataclasses.replace(QUICK, attempts=1_000))
    lot_class, name = type(lot_of(orders)), point.removeprefix("after ")
    original = getattr(lot_class, name)
    reached = asyncio.Event()

    async def hang(*args: Any, **named: Any) -> Any:
        if point.startswith("after "):
            await original(*args, **named)
        reached.set()
        await asyncio.Event().wait()

    async with freehold_service(users):
        with monkeypatch.context() as patched:
            patched.setattr(lot_class, name, hang)
            async with freehold_service(orders):
                for version in (1, 2, 3):
                    await users.store.transact(update_many, ["u3", *BESIDE], version)
                await asyncio.wait_for(reached.wait(), LIMIT_S)
        poison.refused.clear()
        async with freehold_service(orders):
            await until_effects(orders, {key: [1, 2, 3] for key in ["u3", *BESIDE]})
            await until_parked(orders, {})


@pytest.mark.parametrize("reading", PRODUCTS)
async def test_handlers_that_fail_at_random_under_cut_connections_take_effect_once_and_in_order(
    freehold_service: Run, freehold_scene: Scene, reading: str
) -> None:
    seed = random.randrange(1_000_000)  # noqa: S311 -- no secret
    chance = random.Random(seed)  # noqa: S311 -- no secret
    versions = 12
    # One in five is refused often enough to be parked.
    left = {(user, f"name {v}"): chance.choice([0] * 8 + [3, 5]) for user in IDS for v in range(1, versions + 1)}

    async def fail_at_random(_tx: Any, event: Named) -> None:
        left[event.id, event.name] -= 1
        if left[event.id, event.name] >= 0:
            raise LookupError(event.name)

    users = owner("mongo")
    orders = parking(reading, fail_at_random, Parking(at_once=0, attempts=1_000, back_off_s=(0.01, 0.05)))
    async with freehold_service(users), freehold_service(orders) as reader:
        consumer = await consumer_of(reader)
        for version in range(1, versions + 1):
            await users.store.transact(update_many, IDS, version)
            await cut_connections(freehold_scene, orders)

        await until_effects(orders, {user_id: list(range(1, versions + 1)) for user_id in IDS})
        await until_parked(orders, {})
        assert consumer.progress.parked_total > 10, f"seed {seed}"


@pytest.mark.parametrize("reading", PRODUCTS)
async def test_event_that_was_parked_though_the_answer_was_lost_holds_up_its_key(
    freehold_service: Run, monkeypatch: pytest.MonkeyPatch, reading: str
) -> None:
    poison = Poison("u3")
    users, orders = owner("mongo"), parking(reading, poison, ONCE)
    transact = orders.store.transact
    lost: list[Any] = []

    async def lose_an_answer(run: Any, *args: Any) -> Any:
        result = await transact(run, *args)
        if not lost and any(isinstance(each, Aside) and each.parked for each in args):
            lost.append(result)
            poison.refused.clear()
            raise CommitUnknown("the connection was lost")
        return result

    monkeypatch.setattr(orders.store, "transact", lose_an_answer)
    async with freehold_service(users), freehold_service(orders):
        await users.store.transact(update, "u3", 1)
        await until_parked(orders, {"user/u3": ["failed"]})
        await users.store.transact(update_many, ["u3", *BESIDE], 2)
        await until_effects(orders, {key: [2] for key in BESIDE})

        [first, _] = await until_parked(orders, {"user/u3": ["failed", "behind"]})
        await ask(orders, first, Intent.REDRIVE)
        await until_effects(orders, {"u3": [1, 2]} | {key: [2] for key in BESIDE})


@pytest.mark.parametrize("reading", PRODUCTS)
async def test_parked_event_that_two_try_at_once_takes_effect_once(freehold_service: Run, reading: str) -> None:
    """A process that does not know yet that its partition was taken from it tries what its successor tries."""
    users, orders = owner("mongo"), parking(reading, Poison("u3"), ONCE)
    async with freehold_service(users), freehold_service(orders):
        event = await parked_first(users, orders)
        at_work = subscriber(reading)
        subscription = Subscription(at_work, "users")
        applier = Applier(
            subscription, orders.store, make_ledger(orders), [], lot=lot_of(orders), policy=orders.parking["users"]
        )
        read = subscription.read(event.record)
        delivery = Delivery(read.offset, read.envelope, [], read.calls)
        results = await asyncio.gather(
            *(applier.handle_parked(event, delivery) for _ in range(5)), return_exceptions=True
        )

        assert results.count(True) == 1
        assert all(result is True or isinstance(result, Gone) for result in results)
        assert await effects(orders) == {"u3": [1]}


@pytest.mark.parametrize("reading", PRODUCTS)
async def test_process_that_was_replaced_cannot_park(freehold_service: Run, reading: str) -> None:
    orders = parking(reading, Poison(), ONCE)
    async with freehold_service(orders, only="api"):
        ledger, lot = make_ledger(orders), lot_of(orders)
        former = await ledger.claim("users", "the-topic", 0)
        await ledger.claim("users", "the-topic", 0)
        applier = Applier(
            Subscription(orders, "users"), orders.store, ledger, [], lot=lot, policy=orders.parking["users"]
        )
        record = Record("users", 0, 7, 0, b"user/u3", b"{", tuple(headers_of("u3", 1)))
        event = unreadable(former, record, ValueError("no"), listened=frozenset())
        with pytest.raises(FencedError):
            await applier.handle(former, [], 8, Aside([event]))

        assert await lot.scan() == []
