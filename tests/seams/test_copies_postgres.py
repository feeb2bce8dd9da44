"""PostgreSQL's copies: the suite, and what only PostgreSQL has."""

from __future__ import annotations

import asyncio
import dataclasses
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from freehold.errors import EventRejected, MigrationError
from freehold.event import Place
from freehold.replica import Copies, State
from freehold.replica.postgres import PostgresCopies
from freehold.service import Replica
from tests.seams.copies_suite import ANN, BEN, CopiesSuite, at, state
from tests.seams.product import CUSTOMERS
from tests.seams.suite import InPostgres


class TestPostgresCopies(InPostgres, CopiesSuite):
    async def test_tables_that_do_not_fit_are_named_column_by_column(self, store: Any) -> None:
        await store.pool.execute(
            "ALTER TABLE orders DROP COLUMN customer_email, ALTER COLUMN customer_credit TYPE text;"
            "CREATE TABLE customers (id text PRIMARY KEY, name bytea)"
        )

        with pytest.raises(MigrationError) as raised:
            await self.product.make_copies(store, CUSTOMERS).prepare()

        for difference in (
            "orders.customer_email is missing (it should be text)",
            "orders.customer_credit is text and should be bigint",
            "customers.name is bytea and should be text",
            "customers.version is missing",
        ):
            assert difference in str(raised.value)

    async def test_missing_table_is_named(self, store: Any) -> None:
        replica = dataclasses.replace(CUSTOMERS, embedded_in={"invoices": "customer"})

        with pytest.raises(MigrationError, match="invoices does not exist"):
            await self.product.make_copies(store, replica).prepare()

    @pytest.mark.parametrize("own_index", ["", "CREATE INDEX own ON orders (customer_id, id)"])
    async def test_embedding_table_has_one_index_on_the_customer(self, store: Any, own_index: str) -> None:
        await store.pool.execute(own_index or "SELECT 1")

        for _ in range(2):
            await self.product.make_copies(store, CUSTOMERS).prepare()

        indexes = await store.fetch("SELECT indexdef FROM pg_indexes WHERE tablename = 'orders'")
        assert len([each for each in indexes if "(customer_id" in each["indexdef"]]) == 1

    async def test_each_kind_of_field_has_its_column(self, store: Any) -> None:
        class Facts(msgspec.Struct):
            id: str
            text: str
            number: int | None
            share: float
            is_known: bool
            seen_at: datetime
            nested: dict[str, list[int]]
            either: int | str

        copies = PostgresCopies(store, Replica(Facts, of="users", entity="user", into='Odd "facts"'))
        await copies.prepare()
        seen_at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
        fields = {
            "text": "Zoë 'x'",
            "number": None,
            "share": 0.1,
            "is_known": True,
            "seen_at": seen_at,
            "nested": {"a": [1, 2]},
            "either": "x",
        }

        await copies.apply([State("1", Place(1, 1, 0), fields)])

        row = await store.fetchrow('SELECT * FROM "Odd ""facts"""')
        found = {name: row[name] for name in fields}
        assert found == fields | {"nested": '{"a": [1, 2]}', "either": '"x"'}

    @pytest.mark.parametrize(
        "fields",
        [ANN | {"credit": 1 << 63}, ANN | {"name": "half\0way"}, ANN | {"tags": ["half\0way"]}],
        ids=["too large", "NUL", "NUL in JSON"],
    )
    async def test_value_that_cannot_be_kept_is_refused_by_name(
        self, store: Any, copies: Copies, fields: dict[str, Any]
    ) -> None:
        with pytest.raises(EventRejected, match="customers"):
            await copies.apply([state(at(1), fields)])

    async def test_constraint_of_the_service_is_named(self, store: Any, copies: Copies) -> None:
        await store.transact(self.order, "o1")
        await store.pool.execute("ALTER TABLE orders ADD CONSTRAINT no_ben CHECK (customer_name <> 'Ben')")
        await copies.apply([state(at(1), BEN)])

        with pytest.raises(EventRejected, match="no_ben"):
            await copies.embed([state(at(1), BEN)])

    async def test_orders_changed_meanwhile_are_followed_all_the_same(self, store: Any, copies: Copies) -> None:
        """The pass meets a row that an author's transaction holds, waits for it, and finds it again as it is then."""
        await self.bring(copies, state(at(1), ANN))
        await store.transact(self.order, "o1")
        has_written, may_commit = asyncio.Event(), asyncio.Event()

        async def change_slowly(tx: Any) -> None:
            await tx.execute("UPDATE orders SET id = 'o2' WHERE id = 'o1'")
            has_written.set()
            await may_commit.wait()

        changing = asyncio.ensure_future(store.transact(change_slowly))
        await asyncio.wait_for(has_written.wait(), 5)
        bringing = asyncio.ensure_future(self.bring(copies, state(at(2), BEN)))
        await asyncio.wait([bringing], timeout=0.3)
        assert not bringing.done()
        may_commit.set()
        await asyncio.gather(changing, bringing)

        assert {key: row["name"] for key, row in (await self.product.read_orders(store)).items()} == {"o2": "Ben"}
