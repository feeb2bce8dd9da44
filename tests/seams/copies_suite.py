"""What every store's copies promise: the newest state wins, repeats change nothing, and what embeds a copy follows it."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Mapping
from typing import Any

import pytest

from freehold.errors import StoreUnavailable
from freehold.event import Place
from freehold.http.token import Written
from freehold.replica import Copies, Reached, State
from freehold.replica.arrival import Arrivals
from tests.seams.product import CUSTOMERS
from tests.seams.suite import SeamSuite

ANN = {"name": "Ann", "email": "ann@example.org", "credit": 5, "tags": ["new"]}
BEN: dict[str, Any] = {"name": "Ben", "email": None, "credit": None, "tags": []}
NOBODY = {"name": None, "email": None, "credit": None, "tags": None}


def at(version: int, index: int = 0, epoch: int = 1) -> Place:
    return Place(epoch, version, index)


def state(place: Place, fields: Mapping[str, Any] | None, entity_id: str = "c1") -> State:
    return State(entity_id, place, fields)


class CopiesSuite(SeamSuite):
    many_orders = 12_000

    @pytest.fixture
    async def copies(self, store: Any) -> Copies:
        copies = self.product.make_copies(store, CUSTOMERS)
        await copies.prepare()
        return copies

    async def order(self, tx: Any, order_id: str, customer_id: str = "c1") -> None:
        copy = await tx.copy("customers", customer_id)
        await self.product.place_order(tx, order_id, customer_id, copy)

    async def bring(self, copies: Copies, *states: State) -> None:
        await copies.apply(states)
        await copies.embed(states)

    async def test_preparing_again_and_at_once_changes_nothing(self, store: Any, copies: Copies) -> None:
        await self.bring(copies, state(at(1), ANN))

        await asyncio.gather(*(self.product.make_copies(store, CUSTOMERS).prepare() for _ in range(4)))

        assert (await self.product.read_copies(store))["c1"]["name"] == "Ann"

    async def test_copy_holds_the_state_and_its_place(self, store: Any, copies: Copies) -> None:
        await copies.apply([state(at(3, 1), ANN), state(at(1), BEN, "c2")])

        assert await self.product.read_copies(store) == {
            "c1": {"id": "c1", **ANN, "epoch": 1, "version": 3, "index": 1, "deleted": False},
            "c2": {"id": "c2", **BEN, "epoch": 1, "version": 1, "index": 0, "deleted": False},
        }

    @pytest.mark.parametrize(
        ("place", "wins"),
        [
            (at(4, 2), False),
            (at(4, 3), False),
            (at(4, 4), True),
            (at(5), True),
            (at(3, 9), False),
            (at(1, 0, epoch=2), True),
            (at(99, 9, epoch=0), False),
        ],
    )
    async def test_greater_place_wins(self, store: Any, copies: Copies, place: Place, wins: bool) -> None:
        """The copy stands at epoch 1, version 4, index 3."""
        await store.transact(self.order, "before")
        await self.bring(copies, state(at(4, 3), ANN))

        await self.bring(copies, state(place, BEN))

        expected = "Ben" if wins else "Ann"
        assert (await self.product.read_copies(store))["c1"]["name"] == expected
        assert (await self.product.read_orders(store))["before"]["name"] == expected

    async def test_shuffled_and_repeated_states_end_at_the_newest(self, store: Any, copies: Copies) -> None:
        chance = random.Random(7)  # noqa: S311 (repeatable)
        states = [
            state(at(version), {**ANN, "credit": version}, f"c{number}")
            for number in range(5)
            for version in range(1, 9)
        ] * 2
        chance.shuffle(states)
        for number in range(5):
            await store.transact(self.order, f"o{number}", f"c{number}")

        await asyncio.gather(*(self.bring(copies, each) for each in states))

        assert {(row["credit"], row["version"]) for row in (await self.product.read_copies(store)).values()} == {(8, 8)}
        assert {(row["credit"], row["version"]) for row in (await self.product.read_orders(store)).values()} == {(8, 8)}

    async def test_deleted_entity_keeps_its_place_and_nothing_else(self, store: Any, copies: Copies) -> None:
        await self.bring(copies, state(at(1), ANN))
        await store.transact(self.order, "o1")

        await self.bring(copies, state(at(2), None))

        gone = {**NOBODY, "epoch": 1, "version": 2, "index": 0, "deleted": True}
        assert (await self.product.read_copies(store))["c1"] == {"id": "c1", **gone}
        assert (await self.product.read_orders(store))["o1"] == {"id": "c1", **gone}

    async def test_deleted_entity_can_be_made_again(self, store: Any, copies: Copies) -> None:
        await store.transact(self.order, "o1")
        await self.bring(copies, state(at(1), ANN))
        await self.bring(copies, state(at(2), None))

        await self.bring(copies, state(at(3), BEN))

        assert (await self.product.read_copies(store))["c1"]["deleted"] is False
        assert (await self.product.read_orders(store))["o1"]["name"] == "Ben"

    async def test_new_name_reaches_every_order_of_that_customer_only(self, store: Any, copies: Copies) -> None:
        await self.bring(copies, state(at(1), ANN), state(at(1), BEN, "c2"))
        for number in range(3):
            await store.transact(self.order, f"a{number}", "c1")
        await store.transact(self.order, "b", "c2")

        await self.bring(copies, state(at(2), {**ANN, "name": "Anna"}))

        orders = await self.product.read_orders(store)
        assert {order_id: order["name"] for order_id, order in orders.items()} == {
            "a0": "Anna",
            "a1": "Anna",
            "a2": "Anna",
            "b": "Ben",
        }
        assert orders["a0"]["version"] == 2

    async def test_order_of_an_unknown_customer_learns_of_it(self, store: Any, copies: Copies) -> None:
        async def ask(tx: Any) -> Any:
            return await tx.copy("customers", "c1")

        assert await store.transact(ask) is None
        await store.transact(self.order, "o1")

        await self.bring(copies, state(at(1), ANN))

        assert (await self.product.read_orders(store))["o1"]["name"] == "Ann"
        copy = await store.transact(ask)
        assert (copy["id"], copy["name"], copy["version"], copy["deleted"]) == ("c1", "Ann", 1, False)

    @pytest.mark.parametrize("is_known", [True, False], ids=["known", "unknown"])
    async def test_order_placed_while_the_customer_changes_does_not_keep_the_old_name(
        self, store: Any, copies: Copies, is_known: bool
    ) -> None:
        """The write skew: the order reads the copy, the new state arrives, the order commits."""
        if is_known:
            await self.bring(copies, state(at(1), ANN))
        has_read, may_commit = asyncio.Event(), asyncio.Event()

        async def place_slowly(tx: Any) -> None:
            await self.order(tx, "o1")
            has_read.set()
            await may_commit.wait()

        placing = asyncio.ensure_future(store.transact(place_slowly))
        await asyncio.wait_for(has_read.wait(), 5)
        bringing = asyncio.ensure_future(self.bring(copies, state(at(2), BEN)))
        # It may wait for the order or make the order run again, but it must not pass unseen.
        await asyncio.wait([bringing], timeout=0.3)
        may_commit.set()
        async with asyncio.timeout(20):
            await asyncio.gather(placing, bringing)

        assert (await self.product.read_orders(store))["o1"]["name"] == "Ben"

    async def test_orders_placed_amid_many_changes_all_converge(self, store: Any, copies: Copies) -> None:
        await self.bring(copies, state(at(1), ANN))

        async def change() -> None:
            for version in range(2, 30):
                await self.bring(copies, state(at(version), {**ANN, "credit": version}))

        async def place(client: int) -> None:
            for number in range(15):
                await store.transact(self.order, f"{client}-{number}")

        async with asyncio.timeout(60):
            await asyncio.gather(change(), *(place(client) for client in range(4)))

        orders = await self.product.read_orders(store)
        assert len(orders) == 60
        assert {order["credit"] for order in orders.values()} == {29}

    async def test_customer_with_many_orders_is_followed_by_all(self, store: Any, copies: Copies) -> None:
        count = self.many_orders
        await self.bring(copies, state(at(1), ANN))

        async def place_many(tx: Any, numbers: range) -> None:
            copy = await tx.copy("customers", "c1")
            for number in numbers:
                await self.product.place_order(tx, f"o{number}", "c1", copy)

        for first in range(0, count, 2_000):
            await store.transact(place_many, range(first, first + 2_000))

        await self.bring(copies, state(at(2), BEN))

        orders = await self.product.read_orders(store)
        assert len(orders) == count
        assert {order["name"] for order in orders.values()} == {"Ben"}

    async def test_many_states_at_once(self, store: Any, copies: Copies) -> None:
        states = [state(at(1), {**ANN, "credit": number}, f"c{number}") for number in range(500)]

        await self.bring(copies, *states)

        found = await self.product.read_copies(store)
        assert {row["id"]: row["credit"] for row in found.values()} == {f"c{number}": number for number in range(500)}

    async def test_replica_that_nothing_embeds_needs_no_other_table(self, store: Any) -> None:
        copies = self.product.make_copies(store, dataclasses.replace(CUSTOMERS, embedded_in={}))
        await copies.prepare()

        await self.bring(copies, state(at(1), ANN))

        assert (await self.product.read_copies(store))["c1"]["name"] == "Ann"

    async def test_reach_is_the_copys_place(self, copies: Copies) -> None:
        await self.bring(copies, state(at(3, 1), ANN), state(at(2, 0, epoch=2), None, "c2"))

        assert await copies.reach(["c1", "c2", "never"]) == {
            "c1": Reached(at(3, 1), deleted=False),
            "c2": Reached(at(2, 0, epoch=2), deleted=True),
        }

    async def test_reach_is_no_further_than_what_embeds_the_copy(self, store: Any, copies: Copies) -> None:
        """A reader sees the orders, so the copy alone is not enough."""
        await self.bring(copies, state(at(1), ANN), state(at(1), BEN, "c2"))
        for order_id in ("o1", "o2"):
            await store.transact(self.order, order_id)
        newer = [state(at(2), {**ANN, "name": "Anna"}), state(at(2), BEN, "c2")]

        await copies.apply(newer)
        between = await copies.reach(["c1", "c2"])
        await copies.embed(newer)

        assert between == {"c1": Reached(at(1), deleted=False), "c2": Reached(at(2), deleted=False)}
        assert await copies.reach(["c1"]) == {"c1": Reached(at(2), deleted=False)}

    async def test_copy_that_was_only_asked_for_has_reached_nothing(self, store: Any, copies: Copies) -> None:
        await store.transact(self.order, "o1")

        assert await copies.reach(["c1"]) == {}

    async def test_who_waits_is_told_of_what_another_process_writes(self, store: Any, copies: Copies) -> None:
        """Nothing in this process applies it: only the store knows."""
        arrivals = Arrivals([(CUSTOMERS, copies)])
        await self.bring(copies, state(at(1), ANN))
        waiting = [asyncio.create_task(arrivals.wait([wanted(2, key)], 20)) for key in ("user/c1", "user/c2")]
        done, _ = await asyncio.wait(waiting, timeout=0.2)

        await self.bring(self.product.make_copies(store, CUSTOMERS), state(at(2), BEN), state(at(5), BEN, "c2"))

        assert not done
        assert await asyncio.gather(*waiting) == [[], []]

    async def test_who_waits_is_woken_by_the_own_consumer_once_all_has_followed(
        self, store: Any, copies: Copies
    ) -> None:
        arrivals = Arrivals([(CUSTOMERS, copies)])
        watched = arrivals.watched(0)
        await self.bring(copies, state(at(1), ANN))
        await store.transact(self.order, "o1")
        waiting = asyncio.create_task(arrivals.wait([wanted(2)], 20))

        await watched.apply([state(at(2), BEN)])
        done, _ = await asyncio.wait([waiting], timeout=0.2)
        await watched.embed([state(at(2), BEN)])

        assert not done
        assert await waiting == []
        assert (await self.product.read_orders(store))["o1"]["name"] == "Ben"

    async def test_wait_in_vain_says_how_far_each_copy_is(self, copies: Copies) -> None:
        async def ask_parked(source: str, keys: Any) -> set[str]:
            assert (source, set(keys)) == ("users", {f"user/{name}" for name in ("c1", "gone", "never", "stuck")})
            return {"user/stuck"}

        arrivals = Arrivals([(CUSTOMERS, copies)], ask_parked)
        await self.bring(
            copies, *(state(at(1), ANN, name) for name in ("c1", "stuck", "here")), state(at(3), None, "gone")
        )
        asked = [
            wanted(2),
            wanted(4, "user/gone"),
            wanted(1, "user/never"),
            wanted(2, "user/stuck"),
            wanted(1, "user/here"),
        ]
        elsewhere = [Written("orders", "order/1", 1, 9, 0, 0), Written("users", "invoice/c1", 1, 9, 0, 0)]

        found = await arrivals.wait([*asked, *elsewhere], 0.1)

        assert [(each.entity, each.found.version if each.found else None, each.state) for each in found] == [
            ("user/c1", 1, "behind"),
            ("user/gone", 3, "deleted"),
            ("user/never", None, "behind"),
            ("user/stuck", 1, "parked"),
        ]

    async def test_copy_that_was_seen_is_not_looked_at_again_for_a_while(self, store: Any, copies: Copies) -> None:
        arrivals = Arrivals([(CUSTOMERS, copies)])
        await self.bring(copies, state(at(2), ANN))
        assert await arrivals.wait([wanted(2)], 0) == []
        await store.close()

        assert await arrivals.wait([wanted(2)], 0) == []
        assert await arrivals.wait([wanted(1)], 0) == []
        with pytest.raises(StoreUnavailable):
            await arrivals.wait([wanted(3)], 0)


def wanted(version: int, key: str = "user/c1") -> Written:
    return Written("users", key, 1, version, 0, 0)
