"""What clients of orders are promised."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from freehold.identifier import new_id
from systems.database_per_service.orders.order import Status
from systems.database_per_service.tests.shop import LINE, Shop
from systems.database_per_service.tests.topic import records_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

LINES = [LINE, {"sku": "lamp-l", "quantity": 1, "unit_price_cents": 0}]


async def test_placed_order_carries_its_customer(shop: Shop) -> None:
    user = await shop.make_customer()

    placed = await shop.orders.client.post("/orders", json={"user_id": user["id"].upper(), "lines": LINES})
    read = await shop.orders.client.get(placed.headers["location"])

    order = placed.json()
    assert placed.status_code == 201
    assert order == {
        "id": order["id"],
        "user_id": user["id"],
        "customer": {"id": user["id"], "name": user["name"], "email": user["email"], "version": 1},
        "lines": LINES,
        "total_cents": 2500,
        "status": "placed",
        "version": 1,
        "placed_at": order["placed_at"],
    }
    assert list(order) == ["id", "user_id", "customer", "lines", "total_cents", "status", "version", "placed_at"]
    assert read.json() == order
    assert placed.headers["etag"] == read.headers["etag"] == '"1.1.1"'


async def test_order_for_a_user_not_heard_of_yet_says_when_to_ask_again(shop: Shop) -> None:
    answer = await shop.place(new_id())

    assert answer.status_code == 409
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["type"] == "urn:freehold:problem:customer-unknown"
    assert answer.json()["errors"][0]["pointer"] == "/user_id"
    assert "ask again" in answer.json()["detail"]


async def test_asking_again_succeeds_once_the_user_has_arrived(shop: Shop) -> None:
    user = await shop.make_user()

    async with asyncio.timeout(20):
        while (answer := await shop.place(user["id"])).status_code == 409:
            assert answer.json()["type"] == "urn:freehold:problem:customer-unknown"

    assert answer.status_code == 201


async def test_orders_at_the_very_moment_in_which_the_user_arrives(shop: Shop) -> None:
    """The first event's copy and the placing's look for it meet in one document: refused or placed, never an error."""
    for _ in range(10):
        user = await shop.make_user()

        async def order_until_placed(user_id: str) -> set[int]:
            statuses = set()
            async with asyncio.timeout(20):
                while 201 not in statuses:
                    statuses.add((await shop.place(user_id)).status_code)
            return statuses

        seen = await asyncio.gather(*(order_until_placed(user["id"]) for _ in range(4)))

        assert set().union(*seen) <= {201, 409}


async def test_refused_order_leaves_nothing_behind(shop: Shop) -> None:
    user_id = new_id()

    await shop.place(user_id, **{"Idempotency-Key": user_id})

    store = shop.orders.service.store
    assert await store["customers"].find_one({"_id": user_id}) is None
    assert await store["orders"].find_one({"user_id": user_id}) is None
    assert (await shop.orders.client.get("/orders", params={"user_id": user_id})).json() == {"items": [], "next": None}


async def test_deleted_user_orders_no_more_and_is_not_told_to_ask_again(shop: Shop) -> None:
    user = await shop.make_customer()
    await shop.users.client.delete(f"/users/{user['id']}")
    await shop.settled()

    answer = await shop.place(user["id"])

    assert answer.status_code == 409
    assert "retry-after" not in answer.headers
    assert answer.json()["type"] == "urn:freehold:problem:customer-deleted"


async def test_orders_of_a_user_come_newest_first_page_by_page(shop: Shop) -> None:
    user, other = await shop.make_customer(), await shop.make_customer()
    ids = [(await shop.order(user["id"]))["id"] for _ in range(7)]
    await shop.order(other["id"])
    # Three of them at the very same instant: the id decides.
    collection = shop.orders.service.store["orders"]
    first = await collection.find_one({"_id": ids[2]})
    await collection.update_many({"_id": {"$in": ids[2:5]}}, {"$set": {"placed_at": first["placed_at"]}})

    pages: list[list[str]] = []
    query = {"user_id": user["id"], "limit": "2"}
    while True:
        page = (await shop.orders.client.get("/orders", params=query)).json()
        pages.append([order["id"] for order in page["items"]])
        if page["next"] is None:
            break
        query["cursor"] = page["next"]

    assert [len(page) for page in pages] == [2, 2, 2, 1]
    assert [each for page in pages for each in page] == list(reversed(ids))


async def test_cursor_of_one_user_is_refused_for_another(shop: Shop) -> None:
    user = await shop.make_customer()
    for _ in range(2):
        await shop.order(user["id"])
    page = (await shop.orders.client.get("/orders", params={"user_id": user["id"], "limit": "1"})).json()

    answer = await shop.orders.client.get("/orders", params={"user_id": new_id(), "cursor": page["next"]})

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "cursor"


@pytest.mark.parametrize("from_status", list(Status))
@pytest.mark.parametrize("to_status", list(Status))
async def test_order_goes_only_the_way_it_may(shop: Shop, from_status: Status, to_status: Status) -> None:
    ways = {"placed": {"paid", "cancelled"}, "paid": {"shipped", "cancelled"}, "shipped": {"delivered"}}
    order = await shop.order((await _customer(shop))["id"])
    await shop.orders.service.store["orders"].update_one({"_id": order["id"]}, {"$set": {"status": from_status.value}})

    answer = await _move(shop, order, to_status.value)

    if to_status in ways.get(from_status, ()):
        assert (answer.status_code, answer.json()["status"], answer.json()["version"]) == (200, to_status, 2)
    elif to_status is from_status:
        assert (answer.status_code, answer.json()["status"], answer.json()["version"]) == (200, from_status, 1)
    else:
        assert answer.status_code == 409
        assert answer.json()["type"] == "urn:freehold:problem:order-status"
        assert answer.json()["errors"][0]["pointer"] == "/status"


async def test_two_steps_at_once_are_one_step(shop: Shop) -> None:
    order = await shop.order((await _customer(shop))["id"])

    answers = await asyncio.gather(_move(shop, order, "paid"), _move(shop, order, "cancelled"))

    read = (await shop.orders.client.get(f"/orders/{order['id']}")).json()
    # Paid, then cancelled is a way; cancelled, then paid is none.
    assert read["version"] == 1 + sum(answer.status_code == 200 for answer in answers)
    assert read["status"] == "cancelled"


async def test_etag_covers_the_customer_and_if_match_the_order_itself(shop: Shop) -> None:
    user = await shop.make_customer()
    order = await shop.order(user["id"])
    path = f"/orders/{order['id']}"
    before = (await shop.orders.client.get(path)).headers["etag"]
    await shop.rename(user, "Ada King")
    await shop.settled()

    read = await shop.orders.client.get(path, headers={"If-None-Match": before})
    same = await shop.orders.client.get(path, headers={"If-None-Match": read.headers["etag"]})
    moved = await _move(shop, order, "paid", before)
    stale = await _move(shop, order, "shipped", before)

    assert (read.status_code, read.json()["customer"]["name"]) == (200, "Ada King")
    assert read.headers["etag"] == '"1.1.2"'
    assert same.status_code == 304
    assert (moved.status_code, moved.headers["etag"]) == (200, '"2.1.2"')
    assert stale.status_code == 412
    assert stale.headers["etag"] == '"2.1.2"'


async def test_unknown_order_is_a_404(shop: Shop) -> None:
    order = {"id": new_id()}

    assert (await shop.orders.client.get(f"/orders/{order['id']}")).status_code == 404
    assert (await _move(shop, order, "paid")).status_code == 404


async def test_order_tells_others_of_each_step_and_nothing_of_the_person(shop: Shop) -> None:
    user = await shop.make_customer(name="Grace Hopper")
    order = await shop.order(user["id"])
    await _move(shop, order, "paid")
    await shop.settled()

    records = await records_of(shop, "orders", f"order/{order['id']}")
    states = [json.loads(record.value) for record in records]

    assert [record.headers["ce_type"] for record in records] == [b"orders.OrderPlaced", b"orders.OrderUpdated"]
    assert [state["status"] for state in states] == ["placed", "paid"]
    assert states[0] == {
        "id": order["id"],
        "user_id": user["id"],
        "status": "placed",
        "total_cents": 2500,
        "line_count": 1,
        "placed_at": order["placed_at"],
    }


async def _customer(shop: Shop) -> dict[str, Any]:
    """Give a customer that tests of orders alone share."""
    if not hasattr(shop, "shared"):
        shop.shared = await shop.make_customer()  # type: ignore[attr-defined]
    return dict(shop.shared)  # type: ignore[attr-defined]


async def _move(shop: Shop, order: dict[str, Any], status: str, if_match: str | None = None) -> Any:
    headers = {"If-Match": if_match} if if_match else {}
    return await shop.orders.client.patch(f"/orders/{order['id']}", json={"status": status}, headers=headers)
