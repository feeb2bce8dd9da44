"""One order for one Idempotency-Key."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from freehold.identifier import new_id
from systems.database_per_service.tests.shop import LINE, Shop

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def place(shop: Shop, user_id: str, key: str, lines: list[dict[str, Any]] | None = None) -> Any:
    body = {"user_id": user_id, "lines": lines or [LINE]}
    return await shop.orders.client.post("/orders", json=body, headers={"Idempotency-Key": key})


async def order_count(shop: Shop, user_id: str) -> int:
    return int(await shop.orders.service.store["orders"].count_documents({"user_id": user_id}))


@pytest.mark.parametrize("quote", ['"{}"', "{}"], ids=["quoted", "plain"])
async def test_same_key_is_the_same_order(shop: Shop, quote: str) -> None:
    user = await shop.make_customer()
    key = quote.format(new_id())

    first = await place(shop, user["id"], key)
    again = await place(shop, user["id"], key)

    assert (first.status_code, again.status_code) == (201, 201)
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert await order_count(shop, user["id"]) == 1


async def test_quotes_do_not_make_another_key(shop: Shop) -> None:
    user = await shop.make_customer()
    key = new_id()

    await place(shop, user["id"], key)
    again = await place(shop, user["id"], f'"{key}"')

    assert again.headers["idempotent-replayed"] == "true"


async def test_same_key_many_times_at_once_is_exactly_one_order(shop: Shop) -> None:
    user = await shop.make_customer()
    key = new_id()

    answers = await asyncio.gather(*(place(shop, user["id"], key) for _ in range(12)))

    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in answers) == 1
    assert await order_count(shop, user["id"]) == 1


async def test_same_key_for_another_order_is_refused(shop: Shop) -> None:
    user, other = await shop.make_customer(), await shop.make_customer()
    key = new_id()
    await place(shop, user["id"], key)

    answers = [
        await place(shop, user["id"], key, [LINE | {"quantity": 3}]),
        await place(shop, other["id"], key),
    ]

    for answer in answers:
        assert answer.status_code == 422
        assert answer.json()["type"] == "urn:freehold:problem:idempotency-key-reused"
        assert answer.json()["errors"][0]["pointer"] == "Idempotency-Key"
    assert await order_count(shop, user["id"]) == 1
    assert await order_count(shop, other["id"]) == 0


async def test_key_of_a_refused_order_can_be_used_again(shop: Shop) -> None:
    """What was refused had no effect: the same request is a new try, once the customer is known."""
    user = await shop.make_user()
    key = new_id()

    async with asyncio.timeout(20):
        while (answer := await place(shop, user["id"], key)).status_code == 409:
            pass

    assert answer.status_code == 201
    assert "idempotent-replayed" not in answer.headers


@pytest.mark.parametrize("key", ["", '""', '"open', 'a"b', "a,b", "x" * 256, '"' + "x" * 254 + '"', '"\u00e9"', "a b"])
async def test_key_that_is_none_is_refused(shop: Shop, key: str) -> None:
    user = await shop.make_customer()
    body = {"user_id": user["id"], "lines": [LINE]}

    answer = await shop.orders.client.post("/orders", json=body, headers={b"Idempotency-Key": key.encode()})

    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "Idempotency-Key"
    assert await order_count(shop, user["id"]) == 0


async def test_record_is_kept_for_a_day_and_holds_nothing_of_a_person(shop: Shop) -> None:
    user = await shop.make_customer()
    key = f"{user['email']}-1"

    order = (await place(shop, user["id"], key)).json()

    store = shop.orders.service.store
    record = await store["placings"].find_one({"order_id": order["id"]})
    indexes = await store["placings"].index_information()
    left = record["expires_at"].replace(tzinfo=UTC) - datetime.now(UTC)
    assert timedelta(hours=23) < left <= timedelta(hours=24)
    assert indexes["expiry"]["expireAfterSeconds"] == 0
    assert user["email"] not in repr(record)
    assert user["name"] not in repr(record)


async def test_replay_shows_the_order_as_it_is_now(shop: Shop) -> None:
    user = await shop.make_customer()
    key = new_id()
    order = (await place(shop, user["id"], key)).json()
    await shop.orders.client.patch(f"/orders/{order['id']}", json={"status": "paid"})
    await shop.users.client.delete(f"/users/{user['id']}")
    await shop.settled()

    again = await place(shop, user["id"], key)

    assert again.status_code == 201
    assert (again.json()["id"], again.json()["status"]) == (order["id"], "paid")
    assert again.json()["customer"] == {
        "id": user["id"],
        "name": None,
        "email": None,
        "version": 2,
        "deleted": True,
    }
