"""One trace from the client's request to the topic, and its id in every error."""

from __future__ import annotations

import pytest

from systems.database_per_service.tests.shop import LINE, Shop
from systems.database_per_service.tests.topic import records_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


async def test_trace_of_a_request_goes_on_in_its_event(shop: Shop) -> None:
    user = await shop.make_customer()
    change = {"name": "Ada King", "email": user["email"]}

    answer = await shop.users.client.put(f"/users/{user['id']}", json=change, headers={"traceparent": TRACEPARENT})
    await shop.settled()

    [created, updated] = await records_of(shop, "users", f"user/{user['id']}")
    assert answer.headers["traceresponse"].split("-")[1] == TRACE_ID
    assert updated.headers["traceparent"].decode().split("-")[1] == TRACE_ID
    assert created.headers["traceparent"].decode().split("-")[1] != TRACE_ID


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nothing", 404),
        ("GET", "/users/ada", 400),
        ("PATCH", "/users", 405),
        ("POST", "/users", 400),
        ("GET", "/users?limit=0", 400),
    ],
)
async def test_every_error_tells_its_trace(shop: Shop, method: str, path: str, status: int) -> None:
    answer = await shop.users.client.request(method, path, headers={"traceparent": TRACEPARENT})

    assert (answer.status_code, answer.json()["trace_id"]) == (status, TRACE_ID)


async def test_last_word_of_a_deleted_user_on_the_topic_says_nothing_of_the_person(shop: Shop) -> None:
    """Compaction keeps the last record of a key: once it has run, the topic has nothing else of the user."""
    user = await shop.make_customer(name="Zuleika Dobson")
    await shop.orders.client.post("/orders", json={"user_id": user["id"], "lines": [LINE]})
    await shop.users.client.delete(f"/users/{user['id']}")
    await shop.settled()

    last = (await records_of(shop, "users", f"user/{user['id']}"))[-1]
    told = [record for record in await records_of(shop, "orders") if user["id"].encode() in record.value]

    assert last.headers["ce_type"] == b"users.UserDeleted"
    assert len(told) == 1
    for record in (last, *told):
        for trace in (b"Zuleika", user["email"].encode()):
            assert trace not in record.value
            assert all(trace not in value for value in record.headers.values())
