"""Who wrote reads what they wrote, through the gateway and across services, or is told plainly that it is not there yet."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

from freehold.consumer.progress import ConsumerState
from freehold.http.token import LIFE_S, TokenKey, Written
from freehold.testing import Scene
from systems.database_per_service.tests.door import serve_gateway
from systems.database_per_service.tests.shop import LINE, Shop, new_email

# Hundreds of writes, each waited for, on a machine that others may be using too.
pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]

TOKEN = "Freehold-Written"
# What a deadline may be missed by on a busy machine.
GRACE_S = 1.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door(shop: Shop, scene: Scene) -> AsyncIterator[httpx.AsyncClient]:
    """Give the one door before the whole system, once its consumer reads: to join its group takes it seconds."""
    await shop.make_customer()
    async with serve_gateway(shop.users.url, shop.orders.url, token_secret=scene.token_secret) as client:
        yield client


@contextlib.asynccontextmanager
async def no_consumer(shop: Shop) -> AsyncIterator[None]:
    """Let orders apply nothing for a while."""
    running = shop.orders.running
    assert await running.consumers["users"].stop(5)
    try:
        yield
    finally:
        await start_consumer(shop)


async def start_consumer(shop: Shop) -> None:
    if shop.orders.running.consumers["users"].progress.state is ConsumerState.ENDED:
        await shop.orders.running._start_consumer("users")


async def rename(door: httpx.AsyncClient, user: dict[str, Any], name: str, **headers: str) -> str:
    answer = await door.put(f"/users/{user['id']}", json={"name": name, "email": user["email"]}, headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.headers[TOKEN]


async def listed(door: httpx.AsyncClient, user: dict[str, Any], token: str | None, **headers: str) -> httpx.Response:
    if token is not None:
        headers[TOKEN] = token
    return await door.get("/orders", params={"user_id": user["id"]}, headers=headers)


def names_in(answer: httpx.Response) -> set[str | None]:
    assert answer.status_code == 200, answer.text
    return {order["customer"]["name"] for order in answer.json()["items"]}


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
    for _ in range(20):
        made = await door.post("/users", json={"name": "Ada Lovelace", "email": new_email()})
        placed = await door.post(
            "/orders",
            json={"user_id": made.json()["id"], "lines": [LINE]},
            headers={TOKEN: made.headers[TOKEN]},
        )

        assert placed.status_code == 201, placed.text


async def test_token_grows_by_what_each_service_writes(shop: Shop, scene: Scene, door: httpx.AsyncClient) -> None:
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
    assert seconds < 0.3


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


@pytest.mark.parametrize("bad", ["", "x", "cut", "changed", "A" * 3_000, "five"])
async def test_what_is_no_token_is_refused_by_name(shop: Shop, scene: Scene, door: httpx.AsyncClient, bad: str) -> None:
    user = await shop.make_customer()
    good = await rename(door, user, "Ada King")
    sent = {"cut": good[:-2], "changed": swapped(good), "five": ",".join([good] * 5)}.get(bad, bad)

    refused = await listed(door, user, sent)
    refused_by_service = await shop.orders.client.get("/orders", params={"user_id": user["id"]}, headers={TOKEN: sent})
    overview = await door.get(f"/users/{user['id']}/overview", headers={TOKEN: sent})

    for answer in (refused, refused_by_service, overview):
        assert answer.status_code == 400, answer.text
        assert answer.json()["type"] == "urn:freehold:problem:bad-token"
        assert answer.json()["errors"][0]["pointer"] == TOKEN


@pytest.mark.parametrize("bad", ["", "-1", "soon", "61", "1e9", "nan", "inf"])
async def test_wait_that_is_no_time_is_refused(shop: Shop, door: httpx.AsyncClient, bad: str) -> None:
    user = await shop.make_customer()
    token = await rename(door, user, "Ada King")

    answer = await listed(door, user, token, **{"Freehold-Wait": bad})

    assert (answer.status_code, answer.json()["type"]) == (400, "urn:freehold:problem:bad-wait")


async def test_token_of_another_key_holds_nobody_up(shop: Shop, scene: Scene, door: httpx.AsyncClient) -> None:
    user = await shop.make_customer(name="Ada Lovelace")
    await shop.order(user["id"])
    never = Written("users", f"user/{user['id']}", 9, 999, 0, int(time.time()))
    foreign = TokenKey("another system's secret").mint([never])
    forged = TokenKey(scene.token_secret).mint([never])

    passed_over = await listed(door, user, foreign, **{"Freehold-Wait": "0"})
    waited = await listed(door, user, forged, **{"Freehold-Wait": "0"})

    assert names_in(passed_over) == {"Ada Lovelace"}
    # The control: signed by the right key the same is waited for.
    assert waited.json()["copies"][0]["wanted"] == {"epoch": 9, "version": 999}


async def test_what_was_written_long_ago_holds_nobody_up(shop: Shop, scene: Scene, door: httpx.AsyncClient) -> None:
    user = await shop.make_customer(name="Ada Lovelace")
    await shop.order(user["id"])
    old = Written("users", f"user/{user['id']}", 1, 999, 0, int(time.time()) - LIFE_S - 5)

    answer = await listed(door, user, TokenKey(scene.token_secret).mint([old]), **{"Freehold-Wait": "0"})

    assert names_in(answer) == {"Ada Lovelace"}


async def test_higher_epoch_of_a_copy_satisfies_any_version_of_a_lower_one(
    shop: Shop, scene: Scene, door: httpx.AsyncClient
) -> None:
    """After a restored backup the epoch is raised, and the versions begin again where the backup was."""
    user = await shop.make_customer(name="Ada Lovelace")
    await shop.order(user["id"])
    given_up = Written("users", f"user/{user['id']}", 0, 999, 0, int(time.time()))

    answer = await listed(door, user, TokenKey(scene.token_secret).mint([given_up]), **{"Freehold-Wait": "0"})

    assert names_in(answer) == {"Ada Lovelace"}


async def test_two_tokens_are_both_waited_for(shop: Shop, door: httpx.AsyncClient) -> None:
    ada, grace = await shop.make_customer(), await shop.make_customer()
    async with no_consumer(shop):
        tokens = await asyncio.gather(rename(door, ada, "Ada King"), rename(door, grace, "Grace King"))
        late = await listed(door, ada, ",".join(tokens), **{"Freehold-Wait": "0"})

    assert {copy["entity"] for copy in late.json()["copies"]} == {f"user/{ada['id']}", f"user/{grace['id']}"}


async def test_browser_reads_what_it_wrote_without_doing_anything(shop: Shop, scene: Scene) -> None:
    user = await shop.make_customer()
    await shop.order(user["id"])
    async with serve_gateway(
        shop.users.url, shop.orders.url, token_secret=scene.token_secret, remembers="cookie"
    ) as browser:
        cookies = []
        for number in range(50):
            answer = await browser.put(f"/users/{user['id']}", json={"name": f"Ada {number}", "email": user["email"]})
            cookies.append(answer.headers["set-cookie"])
            assert names_in(await listed(browser, user, None)) == {f"Ada {number}"}
        async with no_consumer(shop):
            await browser.put(f"/users/{user['id']}", json={"name": "Ada King", "email": user["email"]})
            late = await listed(browser, user, None, **{"Freehold-Wait": "0"})

    assert late.status_code == 503
    assert cookies[0].partition("; ")[2] == f"Path=/; Max-Age={LIFE_S}; HttpOnly; SameSite=Lax"


async def test_cookie_that_says_nothing_here_is_cleared(shop: Shop, scene: Scene) -> None:
    user = await shop.make_customer(name="Ada Lovelace")
    await shop.order(user["id"])
    foreign = TokenKey("another system's secret").mint([Written("users", "user/1", 9, 9, 0, int(time.time()))])
    async with serve_gateway(
        shop.users.url, shop.orders.url, token_secret=scene.token_secret, remembers="cookie"
    ) as browser:
        for bad in ("", "x", foreign, "A" * 3_000):
            answer = await listed(browser, user, None, Cookie=f"theme=dark; freehold-written={bad}")

            assert names_in(answer) == {"Ada Lovelace"}
            assert answer.headers["set-cookie"].startswith("freehold-written=; Path=/; Max-Age=0")


async def test_gateway_that_does_not_remember_sets_no_cookie(shop: Shop, door: httpx.AsyncClient) -> None:
    user = await shop.make_customer()

    answer = await door.put(f"/users/{user['id']}", json={"name": "Ada King", "email": user["email"]})

    assert "set-cookie" not in answer.headers


async def parked(door: httpx.AsyncClient, user: dict[str, Any], token: str) -> httpx.Response:
    """Read until the copy is said to be parked: it is tried a few times before."""
    async with asyncio.timeout(20):
        while True:
            answer = await listed(door, user, token, **{"Freehold-Wait": "0.1"})
            if answer.json()["copies"][0]["state"] == "parked":
                return answer


def swapped(token: str) -> str:
    """Change a character in the middle."""
    place = len(token) // 2
    return token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
