"""What every store promises of the entities that its service owns: read in order, found, and told once more."""

from __future__ import annotations

import asyncio
import dataclasses
import uuid
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from typing import Any, Self

import pytest

from freehold.errors import ConflictError, DeclarationError, MigrationError
from freehold.event import REPAIR_FROM, Event
from freehold.service import Entity
from freehold.store.owned import Owned
from tests.seams.conftest import Database
from tests.seams.on_mongo import OnMongo
from tests.seams.on_postgres import OnPostgres
from tests.seams.pair import PRODUCTS
from tests.seams.product import Product

ON: dict[str, Product] = {"postgres": OnPostgres(), "mongo": OnMongo()}


class Person(Event, entity="person"):
    """Whatever its key is in the store, others know it as text."""

    id: str

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        return super().of({**row, "id": str(row.get("id", row.get("_id")))})


class PersonUpdated(Person):
    name: str


class PersonDeleted(Person, erases=True):
    pass


PEOPLE = Entity(state=PersonUpdated, rows="people", deleted="deleted_at", gone=PersonDeleted)
_TABLE = "CREATE TABLE people (id {} PRIMARY KEY, name text NOT NULL, version bigint NOT NULL, deleted_at timestamptz)"


class Shop:
    """An open store with people in it, and what is owned there."""

    def __init__(self, store: Any, product: Product) -> None:
        self.store = store
        self.product = product

    async def make(self, key_type: str) -> None:
        if self.store.kind == "postgres":
            await self.store.pool.execute(_TABLE.format(key_type))

    def owned(self, entity: Entity = PEOPLE) -> Owned:
        if self.store.kind == "postgres":
            from freehold.store.postgres_owned import PostgresOwned

            return PostgresOwned(self.store, entity)
        from freehold.store.mongo_owned import MongoOwned

        return MongoOwned(self.store, entity)

    async def add(self, person_id: Any, name: str = "Ann", version: int = 1, deleted: datetime | None = None) -> None:
        await self.store.transact(self._add, person_id, name, version, deleted)

    async def rename(self, tx: Any, person_id: Any, name: str) -> None:
        """Give the next version, and publish it."""
        if self.store.kind == "postgres":
            row = await tx.fetchrow(
                "UPDATE people SET name = $2, version = version + 1 WHERE id = $1 RETURNING *", person_id, name
            )
        else:
            change = {"$set": {"name": name}, "$inc": {"version": 1}}
            row = await tx["people"].find_one_and_update({"_id": person_id}, change, return_document=True)
        tx.publish(PersonUpdated, row)

    async def told(self) -> list[tuple[str, int, int, str]]:
        return [(row.key, row.version, row.index, row.type) for row in await self.product.read_outbox(self.store)]

    async def _add(self, tx: Any, person_id: Any, name: str, version: int, deleted: datetime | None) -> None:
        if self.store.kind == "postgres":
            await tx.execute("INSERT INTO people VALUES ($1, $2, $3, $4)", person_id, name, version, deleted)
        else:
            person = {"_id": person_id, "name": name, "version": version, "deleted_at": deleted}
            await tx["people"].insert_one(person)


@pytest.fixture(params=PRODUCTS)
async def shop(request: pytest.FixtureRequest, service: str) -> AsyncIterator[Shop]:
    product = ON[request.param]
    database: Database = request.getfixturevalue(f"empty_{request.param}")
    store = product.make_store()
    await store.open(database.url, service=database.service, publishes=(PersonUpdated, PersonDeleted))
    await store.migrate()
    yield Shop(store, product)
    await store.close()


async def all_of(owned: Owned, limit: int) -> list[str]:
    found: list[str] = []
    after = None
    while rows := await owned.scan(after, limit):
        found += [row.entity_id for row in rows]
        after = rows[-1].cursor
    return found


@pytest.mark.parametrize("limit", [1, 3, 7, 100])
async def test_scan_meets_each_entity_once_in_the_order_of_its_key(shop: Shop, limit: int) -> None:
    await shop.make("bigint")
    for number in (5, 100, -3, 20, 9, 1):
        await shop.add(number)

    assert await all_of(shop.owned(), limit) == ["-3", "1", "5", "9", "20", "100"]
    assert await shop.owned().count() == 6


async def test_scan_goes_on_behind_ids_of_any_kind(shop: Shop) -> None:
    await shop.make("uuid")
    people = sorted(uuid.uuid4() for _ in range(7))
    for person in reversed(people):
        await shop.add(person)

    assert await all_of(shop.owned(), 2) == [str(each) for each in people]


async def test_deleted_entity_is_there_as_the_event_that_says_so(shop: Shop) -> None:
    await shop.make("text")
    await shop.add("a", "Ann", 3)
    await shop.add("b", "Ben", 7, datetime(2026, 1, 2, tzinfo=UTC))

    rows = await shop.owned().scan(None, 10)

    assert [(row.entity_id, row.version, row.event) for row in rows] == [
        ("a", 3, PersonUpdated(id="a", name="Ann")),
        ("b", 7, PersonDeleted(id="b")),
    ]


async def test_find_gives_those_that_there_are(shop: Shop) -> None:
    await shop.make("text")
    await shop.add("a", "Ann")
    await shop.add("b", "Ben", 2, datetime(2026, 1, 2, tzinfo=UTC))
    owned = shop.owned()

    found = await owned.find(["a", "b", "nobody"])

    assert {(row.entity_id, row.version) for row in found} == {("a", 1), ("b", 2)}
    assert await owned.known(["a", "b", "nobody"]) == {"a", "b"}
    assert (await owned.find([]), await owned.known([]), await owned.republish([])) == ([], set(), set())


@pytest.mark.parametrize("key_type", ["uuid", "bigint", "integer", "text"])
async def test_id_that_can_be_no_key_is_no_entity(shop: Shop, key_type: str) -> None:
    await shop.make(key_type)
    person: Any = {"uuid": uuid.uuid4(), "text": "a"}.get(key_type, 7)
    await shop.add(person)
    strange = ["", "no", "7x", "-", "٣", f"{uuid.uuid4()}".upper(), "9" * 30, "-" + "9" * 19, "007", "+7", "a' --"]

    owned = shop.owned()

    assert {row.entity_id for row in await owned.find([*strange, str(person)])} == {str(person)}
    assert await owned.known([*strange, str(person)]) == {str(person)}
    assert await owned.republish([*strange, str(person)]) == {str(person)}


async def test_republish_tells_the_present_state_at_its_version_with_a_new_number_each_time(shop: Shop) -> None:
    await shop.make("text")
    await shop.add("a", "Ann", 3)
    await shop.add("b", "Ben", 7, datetime(2026, 1, 2, tzinfo=UTC))
    owned = shop.owned()

    first = await owned.republish(["a", "b", "nobody"])
    second = await owned.republish(["a"])

    service = shop.store.service if shop.store.kind == "mongo" else shop.store._service
    told = await shop.told()
    assert (first, second) == ({"a", "b"}, {"a"})
    assert [(key, version, event) for key, version, _, event in told] == [
        ("person/a", 3, f"{service}.PersonUpdated"),
        ("person/a", 3, f"{service}.PersonUpdated"),
        ("person/b", 7, f"{service}.PersonDeleted"),
    ]
    assert REPAIR_FROM <= told[0][2] < told[1][2]
    assert {row.version for row in await owned.find(["a"])} == {3}  # telling changes nothing


async def test_what_changes_an_entity_while_it_is_told_comes_behind(shop: Shop) -> None:
    """No outbox row of a repair may hold an older state at a place behind a newer one's: neither loses, none is skipped."""
    await shop.make("text")
    await shop.add("a", "name 1")
    owned = shop.owned()

    async def write() -> None:
        for version in range(2, 22):
            await shop.store.transact(shop.rename, "a", f"name {version}")

    async def tell() -> None:
        for _ in range(20):
            await owned.republish(["a"])

    await asyncio.gather(write(), tell())

    rows = await shop.product.read_outbox(shop.store)
    assert len(rows) == 40
    for row in rows:
        assert f'"name {row.version}"'.encode() in row.data
    assert [row.version for row in rows if row.index < REPAIR_FROM] == list(range(2, 22))


async def test_telling_that_nobody_was_there_is_refused_once_somebody_is(shop: Shop) -> None:
    await shop.make("text")
    await shop.add("a")
    owned = shop.owned()

    with pytest.raises(ConflictError, match="person a is there by now"):
        await owned.publish_gone(["nobody", "a"])
    assert await shop.told() == []

    await owned.publish_gone(["nobody"])
    [(key, version, index, event)] = await shop.told()
    assert (key, version, event.rpartition(".")[2]) == ("person/nobody", 0, "PersonDeleted")
    assert index > REPAIR_FROM


async def test_entity_that_never_goes_cannot_be_told_gone(shop: Shop) -> None:
    await shop.make("text")

    with pytest.raises(DeclarationError, match="gone="):
        await shop.owned(Entity(state=PersonUpdated, rows="people")).publish_gone(["a"])


async def test_moment_tells_what_was_committed_before_it_from_what_came_after(shop: Shop) -> None:
    await shop.make("text")
    await shop.add("a")
    owned = shop.owned()
    assert not await owned.waits(await owned.moment())

    before = await owned.moment()
    await shop.store.transact(shop.rename, "a", "Bea")
    after = await owned.moment()

    assert (await owned.waits(before), await owned.waits(after)) == (False, True)


async def test_entity_whose_key_is_no_column_says_so(empty_postgres: Database) -> None:
    product = OnPostgres()
    store = product.make_store()
    await store.open(empty_postgres.url, service=empty_postgres.service, publishes=(PersonUpdated, PersonDeleted))
    try:
        from freehold.store.postgres_owned import PostgresOwned

        with pytest.raises(MigrationError, match="no column number in a table people"):
            await PostgresOwned(store, dataclasses.replace(PEOPLE, key="number")).scan(None, 1)
    finally:
        await store.close()
