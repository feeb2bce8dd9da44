"""Who wrote reads what they wrote, through the gateway and across services, or is told plainly that it is not there yet."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest

from freehold.http.token import TokenKey
from freehold.testing import Scene
from systems.database_per_service.tests.reading import TOKEN, listed, names_in, no_consumer, rename, start_consumer
from systems.database_per_service.tests.shop import LINE, Shop, new_email

# Hundreds of writes, each waited for, on a machine that others may be using too.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]

# What a deadline may be missed by on a busy machine.
GRACE_S = 5.0
# As long as a read waits unless it says otherwise.
WAIT_S = 2.0


async def test_two_hundred_times_in_a_row_the_writer_reads_the_new_name(shop: Shop, door: httpx.AsyncClient) -> None:
    user = await shop.make_customer()
    for _ in range(3):
        await shop.order(user["id"])

    old = []
    for number in range(200):
        name = f"Ada {number}"
        token = await rename(door, user, name)
        if names_in(await listed(door, user, token)) != {name}:
            old.append(number)

    assert old == []


async def test_read_without_a_token_waits_for_nothing(shop: Shop, door: httpx.AsyncClient) -> None:
    """The control: what the two hundred above wait for is really not there at once."""
    user = await shop.make_customer(name="Ada Lovelace")
    await shop.order(user["id"])

    old = 0
    for number in range(100):
        await rename(door, user, f"Ada {number}")
        old += names_in(await listed(door, user, None)) != {f"Ada {number}"}

    assert old > 0


async def test_order_for_a_user_made_a_moment_ago_is_placed(shop: Shop, door: httpx.AsyncClient) -> None:
    """A write waits too: what it does may depend on the copy."""
    await shop.make_customer()  # to join its group takes the consumer seconds
    for _ in range(20):
        made = await door.post("/users", json={"name": "Ada Lovelace", "email": new_email()})
        placed = await door.post(
            "/orders",
            json={"user_id": made.json()["id"], "lines": [LINE]},
            headers={TOKEN: made.headers[TOKEN]},
        )

        assert placed.status_code == 201, placed.text


async def test_token_grows_by_what_each_service_writes(shop: Shop, scene: Scene, door: httpx.AsyncClient) -> None:
    await shop.make_customer()
    key = TokenKey(scene.token_secret)
    made = await door.post("/users", json={"name": "Ada Lovelace", "email": new_email()})
    user = made.json()
    placed = await door.post(
        "/orders", json={"user_id": user["id"], "lines": [LINE]}, headers={TOKEN: made.headers[TOKEN]}
    )
    token = await rename(door, user, "Ada King", **{TOKEN: placed.headers[TOKEN]})

    assert [(each.service, each.key, each.version) for each in key.read(token)] == [
        ("users", f"user/{user['id']}", 2),
        ("orders", f"order/{placed.json()['id']}", 1),
    ]


async def test_only_what_was_committed_is_in_a_token(shop: Shop, door: httpx.AsyncClient) -> None:
    user = await shop.make_customer()

    read = await door.get(f"/users/{user['id']}")
    refused = await door.put(
        f"/users/{user['id']}", json={"name": "Ada", "email": user["email"]}, headers={"If-Match": '"9"'}
    )

    assert (read.status_code, refused.status_code) == (200, 412)
    assert TOKEN not in read.headers
    assert TOKEN not in refused.headers


async def test_own_entities_are_waited_for_nowhere(shop: Shop, door: httpx.AsyncClient) -> None:
    """The store of users is the one place of its facts: it needs no consumer to know them."""
    user = await shop.make_customer()
    async with no_consumer(shop):
        token = await rename(door, user, "Ada King")
        began = time.monotonic()
        read = await door.get(f"/users/{user['id']}", headers={TOKEN: token})
        seconds = time.monotonic() - began

    assert (read.status_code, read.json()["name"]) == (200, "Ada King")
    assert seconds < WAIT_S


async def test_what_is_not_there_yet_is_told_plainly(shop: Shop, door: httpx.AsyncClient) -> None:
    user = await shop.make_customer(name="Ada Lovelace")
    await shop.order(user["id"])
    stranger = {"name": "Grace Hopper", "email": new_email()}

    async with no_consumer(shop):
        token = await rename(door, user, "Ada King")
        made = await door.post("/users", json=stranger, headers={TOKEN: token})
        began = time.monotonic()
        late = await listed(door, user, made.headers[TOKEN], **{"Freehold-Wait": "0.3"})
        waited_s = time.monotonic() - began
        at_once = await listed(door, user, token, **{"Freehold-Wait": "0"})
        plain = await listed(door, user, None)
        placed = await door.post(
            "/orders", json={"user_id": user["id"], "lines": [LINE]}, headers={TOKEN: token, "Freehold-Wait": "0"}
        )

    assert late.status_code == 503
    assert late.headers["content-type"] == "application/problem+json"
    assert late.headers["retry-after"] == "1"
    content = late.json()
    assert content["type"] == "urn:freehold:problem:not-yet-here"
    assert content["copies"] == [
        {
            "service": "users",
            "entity": f"user/{made.json()['id']}",
            "wanted": {"epoch": 1, "version": 1},
            "found": None,
            "state": "behind",
        },
        {
            "service": "users",
            "entity": f"user/{user['id']}",
            "wanted": {"epoch": 1, "version": 2},
            "found": {"epoch": 1, "version": 1},
            "state": "behind",
        },
    ]
    assert 0.3 <= waited_s < 0.3 + GRACE_S
    assert (at_once.status_code, len(at_once.json()["copies"])) == (503, 1)
    assert names_in(plain) == {"Ada Lovelace"}
    # A write is not refused for it: its transaction decides by what it finds.
    assert (placed.status_code, placed.json()["customer"]["name"]) == (201, "Ada Lovelace")


async def test_composition_names_the_part_that_is_behind(shop: Shop, door: httpx.AsyncClient) -> None:
    user = await shop.make_customer(name="Ada Lovelace")
    await shop.order(user["id"])

    async with no_consumer(shop):
        token = await rename(door, user, "Ada King")
        behind = await door.get(f"/users/{user['id']}/overview", headers={TOKEN: token})
        plain = await door.get(f"/users/{user['id']}/overview")

    assert behind.status_code == 200
    assert behind.json()["user"]["name"] == "Ada King"
    assert behind.json()["orders"] is None
    assert behind.json()["missing"] == [{"part": "orders", "reason": "behind"}]
    assert plain.json()["orders"]["items"][0]["customer"]["name"] == "Ada Lovelace"


async def test_composition_shows_what_was_written_in_each_part(shop: Shop, door: httpx.AsyncClient) -> None:
    user = await shop.make_customer()
    await shop.order(user["id"])

    for number in range(30):
        token = await rename(door, user, f"Ada {number}")
        answer = await door.get(f"/users/{user['id']}/overview", headers={TOKEN: token})

        content = answer.json()
        assert content["missing"] == []
        assert content["user"]["name"] == content["orders"]["items"][0]["customer"]["name"] == f"Ada {number}"


async def test_read_that_waits_is_answered_as_soon_as_the_consumer_goes_on(shop: Shop, door: httpx.AsyncClient) -> None:
    user = await shop.make_customer(name="Ada Lovelace")
    await shop.order(user["id"])

    async with no_consumer(shop):
        token = await rename(door, user, "Ada King")
        reading = asyncio.create_task(listed(door, user, token))
        done, _ = await asyncio.wait([reading], timeout=0.3)
        await start_consumer(shop)
        answer = await reading

    assert not done
    assert names_in(answer) == {"Ada King"}


async def test_erased_user_is_waited_for_and_then_read_as_erased(shop: Shop, door: httpx.AsyncClient) -> None:
    """The copy that says that the user is gone is the newest there is: the read goes on."""
    user = await shop.make_customer(name="Ada Lovelace")
    await shop.order(user["id"])

    async with no_consumer(shop):
        gone = await door.delete(f"/users/{user['id']}")
        token = gone.headers[TOKEN]
        late = await listed(door, user, token, **{"Freehold-Wait": "0"})
    answer = await listed(door, user, token)

    assert gone.status_code == 204
    assert late.json()["copies"][0]["wanted"] == {"epoch": 1, "version": 2}
    assert names_in(answer) == {None}


async def test_copy_whose_event_is_parked_is_said_to_be_parked(shop: Shop, door: httpx.AsyncClient) -> None:
    """Waiting does not help: somebody must act, or write a newer state."""
    user = await shop.make_customer(name="Ada Lovelace")
    await shop.order(user["id"])
    database = shop.orders.service.store.database
    await database.command({"collMod": "customers", "validator": {"name": {"$ne": "Ada Poison"}}})
    try:
        token = await rename(door, user, "Ada Poison")
        late = await parked(door, user, token)
        newer = await rename(door, user, "Ada King", **{TOKEN: token})
        answer = await listed(door, user, newer)
    finally:
        await database.command({"collMod": "customers", "validator": {}})

    assert late.status_code == 503
    assert [(copy["state"], copy["found"]["version"]) for copy in late.json()["copies"]] == [("parked", 1)]
    assert names_in(answer) == {"Ada King"}


async def parked(door: httpx.AsyncClient, user: dict[str, Any], token: str) -> httpx.Response:
    """Read until the copy is said to be parked: it is tried a few times before."""
    async with asyncio.timeout(20):
        while True:
            answer = await listed(door, user, token, **{"Freehold-Wait": "0.1"})
            if answer.json()["copies"][0]["state"] == "parked":
                return answer
