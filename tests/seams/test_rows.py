"""What every store promises of the copies that lie in it: read in order, found, and set back where they were found."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from freehold.converge.judge import SET_BACK
from freehold.errors import MigrationError
from freehold.event import Place
from freehold.replica import State
from freehold.replica.rows import CopyRows
from freehold.runtime.parts import make_copies, make_copy_rows
from freehold.service import Service
from tests.seams.audited import CUSTOMERS, JOINED, place_order, subscriber
from tests.seams.conftest import Database
from tests.seams.pair import PRODUCTS

ANN = {"name": "Ann", "email": None, "credit": 2**53 + 1, "score": 0.5, "joined_at": JOINED, "tags": ["a"]}


@pytest.fixture(params=PRODUCTS)
async def service(request: pytest.FixtureRequest) -> AsyncIterator[Service]:
    database: Database = request.getfixturevalue(f"empty_{request.param}")
    service = subscriber(request.param)
    await service.store.open(database.url, service=database.service, publishes=())
    await service.store.migrate()
    await make_copies(service, CUSTOMERS).prepare()
    yield service
    await service.store.close()


async def bring(service: Service, *states: State) -> None:
    copies = make_copies(service, CUSTOMERS)
    await copies.apply(states)
    await copies.embed(states)


def state(entity_id: str, version: int = 1, fields: Mapping[str, Any] | None = ANN) -> State:
    return State(entity_id, Place(1, version, 0), fields)


async def all_of(rows: CopyRows, limit: int) -> list[str]:
    found: list[str] = []
    after = None
    while part := await rows.scan(after, limit):
        found += [row.entity_id for row in part]
        after = part[-1].key
    return found


@pytest.mark.parametrize("limit", [1, 2, 100])
async def test_each_copy_is_met_once(service: Service, limit: int) -> None:
    await bring(service, *(state(f"c{number}") for number in range(5)))

    assert await all_of(make_copy_rows(service, CUSTOMERS), limit) == [f"c{number}" for number in range(5)]


async def test_own_and_embedded_copies_say_the_same(service: Service) -> None:
    await bring(service, state("a", 3), state("b", 2, None))
    for order_id, customer in ((1, "a"), (20, "a"), (3, "b")):
        await service.store.transact(place_order, order_id, customer)
    orders = make_copy_rows(service, CUSTOMERS, "orders")

    own = {row.entity_id: row for row in await make_copy_rows(service, CUSTOMERS).find(["a", "b", "nobody"])}
    embedded = await orders.scan(None, 10)

    assert (own["a"].place, own["a"].deleted, own["a"].fields["credit"]) == (Place(1, 3, 0), False, 2**53 + 1)
    assert (own["b"].deleted, own["b"].fields) == (True, {})
    assert [orders.shown(row.key) for row in embedded] == ["1", "3", "20"]
    for row in embedded:
        copy = own[row.entity_id]
        assert (row.place, row.deleted, row.fields) == (copy.place, copy.deleted, copy.fields)
    assert await orders.find([row.key for row in embedded[:2]]) == embedded[:2]
    assert await all_of(orders, 1) == ["a", "b", "a"]


async def test_living_copies_are_neither_gone_nor_empty(service: Service) -> None:
    await bring(service, state("a"), state("b", 2, None), state("d"))
    await service.store.transact(ask_for, "c")
    rows = make_copy_rows(service, CUSTOMERS)

    assert (await rows.scan_living(None, 10), await rows.scan_living("a", 10)) == (["a", "d"], ["d"])
    assert await rows.scan_living(None, 1) == ["a"]


@pytest.mark.parametrize("embedded_in", ["", "orders"])
async def test_only_what_stands_where_it_was_found_is_set_back(service: Service, embedded_in: str) -> None:
    await bring(service, state("a", 3), state("b", 3))
    for order_id, customer in ((1, "a"), (2, "b")):
        await service.store.transact(place_order, order_id, customer)
    rows = make_copy_rows(service, CUSTOMERS, embedded_in)
    found = await rows.scan(None, 10)
    await bring(service, state("b", 4))

    met = await rows.set_back(found, SET_BACK)

    assert met == {found[0].key}
    assert [row.place for row in await rows.scan(None, 10)] == [SET_BACK, Place(1, 4, 0)]
    assert [row.fields["name"] for row in await rows.scan(None, 10)] == ["Ann", "Ann"]
    await bring(service, state("a", 3))  # whatever comes is greater
    assert (await rows.scan(None, 10))[0].place == (Place(1, 3, 0))


async def test_what_a_table_lacks_is_said(service: Service) -> None:
    if service.store.kind != "postgres":
        pytest.skip("documents lack nothing")
    await service.store.pool.execute("ALTER TABLE customers DROP COLUMN score")
    with pytest.raises(MigrationError, match="customers has not all that the replica declares"):
        await make_copy_rows(service, CUSTOMERS).find(["a"])

    await service.store.pool.execute("CREATE TABLE pairs (LIKE orders)")
    replica = dataclasses.replace(CUSTOMERS, embedded_in={"pairs": "customer"})
    with pytest.raises(MigrationError, match="pairs needs a primary key of one column"):
        await make_copy_rows(service, replica, "pairs").scan(None, 1)


async def ask_for(tx: Any, entity_id: str) -> None:
    assert await tx.copy("customers", entity_id) is None
