"""What a client may bring as its token, in a header or in a cookie, and what is made of it."""

from __future__ import annotations

import asyncio
import time

import httpx
import pytest

from freehold.http.token import LIFE_S, TokenKey, Written
from freehold.testing import Scene
from systems.database_per_service.tests.door import serve_gateway
from systems.database_per_service.tests.reading import TOKEN, listed, names_in, no_consumer, rename
from systems.database_per_service.tests.shop import Shop

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(400)]


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


def swapped(token: str) -> str:
    """Change a character in the middle."""
    place = len(token) // 2
    return token[:place] + ("A" if token[place] != "A" else "B") + token[place + 1 :]
