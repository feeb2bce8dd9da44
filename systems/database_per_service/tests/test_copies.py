"""What users writes reaches every copy that orders keeps, whatever happens at the same moment."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest

from freehold.identifier import new_id
from systems.database_per_service.orders import orders as ordering
from systems.database_per_service.orders.order import NewLine, NewOrder, Status, format_instant
from systems.database_per_service.tests.shop import LINE, Shop

pytestmark = pytest.mark.asyncio(loop_scope="module")

NEW_LINES = [NewLine(**LINE)]  # type: ignore[arg-type]


async def names_in_orders(shop: Shop, user_id: str) -> set[str | None]:
    return set(await shop.orders.service.store["orders"].distinct("customer.name", {"user_id": user_id}))


async def test_new_name_reaches_the_copy_and_every_order(shop: Shop) -> None:
    user = await shop.make_customer()
    placed = [await shop.order(user["id"]) for _ in range(3)]

    await shop.rename(user, "Ada King")
    await shop.settled()

    copy = await shop.orders.service.store["customers"].find_one({"_id": user["id"]})
    listed = (await shop.orders.client.get("/orders", params={"user_id": user["id"]})).json()["items"]
    assert (copy["name"], copy["version"]) == ("Ada King", 2)
    assert [order["id"] for order in listed] == [order["id"] for order in reversed(placed)]
    assert [order["customer"] for order in listed] == [
        {"id": user["id"], "name": "Ada King", "email": user["email"], "version": 2}
    ] * 3


async def test_new_name_changes_nothing_else_of_an_order(shop: Shop) -> None:
    user, other = await shop.make_customer(), await shop.make_customer(name="Grace Hopper")
    order, others = await shop.order(user["id"]), await shop.order(other["id"])

    await shop.rename(user, "Ada King")
    await shop.settled()

    read = (await shop.orders.client.get(f"/orders/{order['id']}")).json()
    assert {**read, "customer": None} == {**order, "customer": None}
    assert (await shop.orders.client.get(f"/orders/{others['id']}")).json() == others


@pytest.mark.timeout(180)
async def test_new_name_reaches_100000_orders_of_one_customer(shop: Shop) -> None:
    user = await shop.make_customer()
    store = shop.orders.service.store
    copy = await store["customers"].find_one({"_id": user["id"]})
    sample = await shop.order(user["id"])
    document = await store["orders"].find_one({"_id": sample["id"]})
    assert document["customer"]["version"] == copy["version"]
    for _ in range(100):
        await store["orders"].insert_many([{**document, "_id": new_id()} for _ in range(1_000)])

    await shop.rename(user, "Ada King")
    await shop.users.settled(limit_s=120)

    assert await names_in_orders(shop, user["id"]) == {"Ada King"}
    assert await store["orders"].count_documents({"user_id": user["id"], "customer.version": 2}) == 100_001


async def test_order_placed_while_a_new_name_arrives_gets_it(shop: Shop) -> None:
    """The placing has read the old copy and not committed yet when the new name comes: write skew must not keep it."""
    user = await shop.make_customer()
    has_read, may_commit = asyncio.Event(), asyncio.Event()

    async def place_slowly(tx: Any, order_id: str) -> None:
        copy = await tx.copy("customers", user["id"])
        has_read.set()
        await may_commit.wait()
        await ordering.insert(tx, [document_for(order_id, copy)])

    placing = asyncio.create_task(shop.orders.service.store.transact(place_slowly, new_id()))
    await has_read.wait()
    await shop.rename(user, "Ada King")
    await shipped(shop)
    may_commit.set()
    await placing
    await shop.settled()

    assert await names_in_orders(shop, user["id"]) == {"Ada King"}


async def test_order_whose_customer_changed_since_it_began_is_placed_with_the_new_name(shop: Shop) -> None:
    """The placing's snapshot is older than the new name, which is applied before the copy is read: it runs again."""
    user = await shop.make_customer()
    has_begun, may_go_on, runs = asyncio.Event(), asyncio.Event(), []

    async def place_late(tx: Any, order_id: str) -> None:
        await tx["orders"].find_one({"_id": order_id})
        runs.append(order_id)
        has_begun.set()
        await may_go_on.wait()
        copy = await tx.copy("customers", user["id"])
        await ordering.insert(tx, [document_for(order_id, copy)])

    placing = asyncio.create_task(shop.orders.service.store.transact(place_late, new_id()))
    await has_begun.wait()
    await shop.rename(user, "Ada King")
    await shop.settled()
    may_go_on.set()
    await placing

    assert await names_in_orders(shop, user["id"]) == {"Ada King"}
    assert len(runs) > 1


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_orders_and_new_names_at_random_end_with_the_last_name(shop: Shop, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - the seed is what a failure prints
    user = await shop.make_customer()

    async def rename_often() -> None:
        for number in range(15):
            await shop.rename(user, f"Ada {number}")
            await asyncio.sleep(chance.random() / 100)

    async def order_often() -> list[dict[str, Any]]:
        return [await shop.order(user["id"]) for _ in range(10)]

    placed = await asyncio.gather(rename_often(), *(order_often() for _ in range(4)))
    await shop.settled()

    assert sum(len(each) for each in placed[1:] if each) == 40
    assert await names_in_orders(shop, user["id"]) == {"Ada 14"}, f"seed {seed}"


async def test_deleting_a_user_erases_the_person_everywhere_and_keeps_the_orders(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    user = await shop.make_customer(name="Zuleika Dobson")
    order = await shop.order(user["id"])
    keyed = await shop.place(user["id"], **{"Idempotency-Key": new_id()})
    await shop.rename(user, "Zuleika Warsaw")
    await shop.settled()

    await shop.users.client.delete(f"/users/{user['id']}")
    await shop.settled()

    listed = (await shop.orders.client.get("/orders", params={"user_id": user["id"]})).json()["items"]
    assert [each["id"] for each in listed] == [keyed.json()["id"], order["id"]]
    assert {**listed[1], "customer": None} == {**order, "customer": None}
    assert listed[1]["customer"] == {
        "id": user["id"],
        "name": None,
        "email": None,
        "version": 3,
        "deleted": True,
    }
    for trace in ("Zuleika", user["email"]):
        assert await found_in_mongo(shop, trace) == []
        assert await found_in_postgres(shop, trace) == []
        assert trace not in caplog.text
    # The control: the search does find what is there.
    assert await found_in_mongo(shop, user["id"]) != []
    assert await found_in_postgres(shop, user["id"]) != []


async def test_copy_of_a_deleted_user_does_not_come_back(shop: Shop) -> None:
    """An older state that comes again, as after a relay was killed, meets the tombstone."""
    from freehold.event import Place
    from freehold.replica import State
    from freehold.replica.mongo import MongoCopies

    user = await shop.make_customer(name="Zuleika Dobson")
    await shop.order(user["id"])
    await shop.users.client.delete(f"/users/{user['id']}")
    await shop.settled()
    service = shop.orders.service
    copies = MongoCopies(service.store, service.replicates[0])
    older = State(user["id"], Place(1, 1, 0), {"name": user["name"], "email": user["email"]})

    await copies.apply([older])
    await copies.embed([older])

    assert await found_in_mongo(shop, "Zuleika") == []


def document_for(order_id: str, copy: Any) -> dict[str, Any]:
    from datetime import UTC, datetime

    new = NewOrder(user_id=copy["id"], lines=NEW_LINES)
    document = ordering.order_document(order_id, new, dict(copy), datetime.now(UTC))
    assert document["status"] == Status.PLACED
    assert format_instant(document["placed_at"]).endswith("Z")
    return document


async def shipped(shop: Shop) -> None:
    """Wait until all that users published is on the topic."""
    async with asyncio.timeout(20):
        while (await shop.users.service.store.backlog()).rows:  # noqa: ASYNC110 - the database tells of no change
            await asyncio.sleep(0.005)


async def found_in_mongo(shop: Shop, text: str) -> list[str]:
    database = shop.orders.service.store.database
    found = []
    for name in await database.list_collection_names():
        documents = await database.get_collection(name, codec_options=_raw_documents()).find().to_list()
        found += [name for document in documents if text.encode() in document.raw]
    return found


def _raw_documents() -> Any:
    from bson.codec_options import CodecOptions
    from bson.raw_bson import RawBSONDocument

    return CodecOptions(document_class=RawBSONDocument)


async def found_in_postgres(shop: Shop, text: str) -> list[str]:
    store = shop.users.service.store
    tables = await store.fetch(
        "SELECT format('%I.%I', schemaname, tablename) AS name FROM pg_tables "
        "WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
    )
    found = []
    for table in tables:
        hexadecimal = text.encode().hex()
        rows = await store.fetch(
            f"SELECT 1 FROM {table['name']} AS t WHERE t::text LIKE '%' || $1 || '%' OR t::text LIKE '%' || $2 || '%'",
            text,
            hexadecimal,
        )
        found += [table["name"]] * len(rows)
    return found
