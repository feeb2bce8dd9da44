"""MongoDB's copies: the suite, and what only documents can hold."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from pymongo import IndexModel

from freehold.errors import EventRejected, StoreUnavailable
from freehold.replica import Copies
from freehold.replica.mongo import AT_ONCE_MIN
from freehold.store.mongo import Collection
from tests.seams.conftest import Database
from tests.seams.copies_suite import ANN, BEN, CopiesSuite, at, state
from tests.seams.product import CUSTOMERS, PUBLISHES
from tests.seams.suite import InMongo
from tests.seams.thorough import IS_THOROUGH

MANY_ORDERS = 100_000 if IS_THOROUGH else 10_000


class TestMongoCopies(InMongo, CopiesSuite):
    many_orders = 2_000

    async def test_value_that_begins_with_a_dollar_is_a_value(self, store: Any, copies: Copies) -> None:
        await store.transact(self.order, "o1")

        await self.bring(copies, state(at(1), {**ANN, "name": "$version", "tags": ["$$ROOT", "$name"]}))

        for found in ((await self.product.read_copies(store))["c1"], (await self.product.read_orders(store))["o1"]):
            assert (found["name"], found["tags"]) == ("$version", ["$$ROOT", "$name"])

    async def test_order_that_embeds_no_place_follows(self, store: Any, copies: Copies) -> None:
        """An order from before the replica was declared."""
        await store["orders"].insert_one({"_id": "o1", "customer": {"id": "c1", "name": "older than all"}})

        await self.bring(copies, state(at(1), ANN))

        assert (await self.product.read_orders(store))["o1"]["name"] == "Ann"

    async def test_what_is_beside_the_embedded_copy_stays(self, store: Any, copies: Copies) -> None:
        await store.transact(self.order, "o1")
        await store["orders"].update_one({"_id": "o1"}, {"$set": {"version": 4, "lines": [1]}})

        await self.bring(copies, state(at(1), ANN))

        order = await store["orders"].find_one({"_id": "o1"}) or {}
        assert (order["version"], order["lines"], order["customer"]["name"]) == (4, [1], "Ann")

    async def test_own_index_that_begins_with_the_customer_serves(self, empty_mongo: Database) -> None:
        store = self.product.make_store()
        store = type(store)({"orders": Collection(indexes=[IndexModel([("customer.id", 1), ("placed_at", -1)])])})
        await store.open(empty_mongo.url, service=empty_mongo.service, publishes=PUBLISHES)
        await store.migrate()

        await self.product.make_copies(store, CUSTOMERS).prepare()

        assert set(await store["orders"].index_information()) == {"_id_", "customer.id_1_placed_at_-1"}
        await store.close()

    async def test_number_that_no_document_can_hold_is_refused(self, store: Any, copies: Copies) -> None:
        with pytest.raises(EventRejected, match="leave the field out"):
            await copies.apply([state(at(1), {**ANN, "credit": 2**63})])

    async def test_validator_that_refuses_is_named_without_the_data(self, store: Any, copies: Copies) -> None:
        await store.transact(self.order, "o1")
        await store.database.command(
            {"collMod": "orders", "validator": {"$jsonSchema": {"properties": {"customer": {"required": ["phone"]}}}}}
        )

        with pytest.raises(EventRejected, match="orders") as raised:
            await self.bring(copies, state(at(1), ANN))

        assert "Ann" not in str(raised.value)

    async def test_repeat_writes_nothing(self, store: Any, copies: Copies) -> None:
        await store.transact(self.order, "o1")
        await self.bring(copies, state(at(2), ANN))
        before = await write_counts(store)

        await self.bring(copies, state(at(2), ANN), state(at(1), BEN))

        assert await write_counts(store) == before

    async def test_batch_that_meets_a_transaction_waits_for_it(self, store: Any, copies: Copies) -> None:
        """A large batch is tried in one transaction, which cannot wait; then it goes one by one, which can."""
        has_read, may_commit = asyncio.Event(), asyncio.Event()

        async def place_slowly(tx: Any) -> None:
            await self.order(tx, "o1", "c7")
            has_read.set()
            await may_commit.wait()

        placing = asyncio.ensure_future(store.transact(place_slowly))
        await has_read.wait()
        states = [state(at(1), ANN, f"c{number}") for number in range(2 * AT_ONCE_MIN)]
        bringing = asyncio.ensure_future(self.bring(copies, *states))
        await asyncio.wait([bringing], timeout=0.3)
        assert not bringing.done()
        may_commit.set()
        await asyncio.gather(placing, bringing)

        assert {copy["name"] for copy in (await self.product.read_copies(store)).values()} == {"Ann"}
        assert (await self.product.read_orders(store))["o1"]["name"] == "Ann"

    async def test_batch_with_one_state_that_is_refused_is_refused(self, store: Any, copies: Copies) -> None:
        states = [state(at(1), ANN, f"c{number}") for number in range(2 * AT_ONCE_MIN)]

        with pytest.raises(EventRejected):
            await copies.apply([*states, state(at(1), {**ANN, "credit": 2**63}, "too much")])

    async def test_orders_of_one_customer_queue_instead_of_conflicting(self, store: Any, copies: Copies) -> None:
        await self.bring(copies, state(at(1), ANN))

        await asyncio.gather(*(store.transact(self.order, f"o{number}") for number in range(64)))

        assert len(await self.product.read_orders(store)) == 64
        assert store.counts.conflicts == 0

    async def test_order_that_asks_for_the_customer_late_queues_when_it_runs_again(
        self, store: Any, copies: Copies
    ) -> None:
        """Its snapshot is older than its predecessor's commit: waiting in the first run would be in vain."""
        await self.bring(copies, state(at(1), ANN))

        async def note_then_order(tx: Any, number: int) -> None:
            await tx["users"].insert_one({"_id": f"note {number}"})
            await self.order(tx, f"o{number}")

        async with asyncio.timeout(60):
            await asyncio.gather(*(store.transact(note_then_order, number) for number in range(32)))

        assert len(await self.product.read_orders(store)) == 32

    async def test_orders_that_ask_for_two_customers_wait_in_no_circle(self, store: Any, copies: Copies) -> None:
        await self.bring(copies, state(at(1), ANN, "c1"), state(at(1), BEN, "c2"))

        async def ask_both(tx: Any, number: int) -> None:
            for customer_id in ("c1", "c2") if number % 2 else ("c2", "c1"):
                await self.order(tx, f"{number} {customer_id}", customer_id)

        async with asyncio.timeout(60):
            await asyncio.gather(*(store.transact(ask_both, number) for number in range(24)))

        assert len(await self.product.read_orders(store)) == 48

    async def test_server_that_is_away_is_an_interruption(self, store: Any, copies: Copies) -> None:
        await store.close()

        with pytest.raises(StoreUnavailable):
            await copies.apply([state(at(1), ANN)])

    @pytest.mark.timeout(240)
    async def test_customer_with_very_many_orders_is_followed_by_all(self, store: Any, copies: Copies) -> None:
        await self.bring(copies, state(at(1), ANN))
        copy = await store.transact(ask)
        documents = [{"_id": number, "customer": copy} for number in range(MANY_ORDERS)]
        for first in range(0, MANY_ORDERS, 10_000):
            await store["orders"].insert_many(documents[first : first + 10_000], ordered=False)

        async with asyncio.timeout(120):
            await self.bring(copies, state(at(2), BEN))

        assert await store["orders"].count_documents({"customer.name": "Ben", "customer.version": 2}) == MANY_ORDERS


async def ask(tx: Any) -> Any:
    return await tx.copy("customers", "c1")


async def write_counts(store: Any) -> dict[str, Any]:
    """Count what the storage engine has written to each collection."""
    counts = {}
    for name in ("customers", "orders"):
        [found] = await (
            await store[name].aggregate([{"$collStats": {"latencyStats": {}, "storageStats": {}}}])
        ).to_list()
        cursor = found["storageStats"]["wiredTiger"]["cursor"]
        counts[name] = {what: cursor[what] for what in ("insert calls", "modify", "update calls", "remove calls")}
    return counts
