"""What clients of the gateway are promised, whatever the services behind it do."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from freehold.identifier import new_id
from systems.database_per_service.gateway.gateway import gateway
from systems.database_per_service.tests.door import answering, http_answer, nobody_there, serve_gateway
from systems.database_per_service.tests.shop import LINE, Shop, new_email

pytestmark = pytest.mark.asyncio(loop_scope="module")
DEADLINE_S = gateway.compositions[0].deadline_s
# What the deadline may be missed by on a busy machine.
GRACE_S = 0.7
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def assert_problem(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    content = answer.json()
    assert content["status"] == status
    assert content["type"]
    assert content["title"]
    assert re.fullmatch("[0-9a-f]{32}", content["trace_id"])


async def test_overview_is_one_answer_of_two_services(shop: Shop, door: httpx.AsyncClient) -> None:
    user = await shop.make_customer()
    order = await shop.order(user["id"])

    answer = await door.get(f"/users/{user['id']}/overview")

    assert answer.status_code == 200
    assert answer.json() == {"user": user, "orders": {"items": [order], "next": None}, "missing": []}
    assert list(answer.json()) == ["user", "orders", "missing"]


async def test_whole_life_of_a_user_goes_through_the_one_door(shop: Shop, door: httpx.AsyncClient) -> None:
    ada = {"name": "Ada Lovelace", "email": new_email()}
    king = ada | {"name": "Ada King"}
    made = await door.post("/users", json=ada)
    path = made.headers["location"]
    await shop.settled()
    placed = await door.post(
        "/orders", json={"user_id": made.json()["id"], "lines": [LINE]}, headers={"Idempotency-Key": '"k"'}
    )
    again = await door.post(
        "/orders", json={"user_id": made.json()["id"], "lines": [LINE]}, headers={"Idempotency-Key": '"k"'}
    )
    stale = await door.put(path, json=king, headers={"If-Match": '"9"'})
    changed = await door.put(path, json=king, headers={"If-Match": made.headers["etag"]})
    same = await door.get(path, headers={"If-None-Match": changed.headers["etag"]})
    paid = await door.patch(placed.headers["location"], json={"status": "paid"})
    head = await door.head(path)
    listed = await door.get("/orders", params={"user_id": made.json()["id"], "limit": "1"})
    deleted = await door.delete(path)

    assert (made.status_code, placed.status_code, changed.status_code, deleted.status_code) == (201, 201, 200, 204)
    assert again.headers["idempotent-replayed"] == "true"
    assert_problem(stale, 412)
    assert stale.headers["etag"] == '"1"'
    assert same.status_code == 304
    assert paid.json()["status"] == "paid"
    assert (head.status_code, head.content, head.headers["etag"]) == (200, b"", '"2"')
    assert listed.json()["items"][0]["id"] == placed.json()["id"]
    assert_problem(await door.get(path), 404)
    assert_problem(await door.get(f"{path}/overview"), 404)


async def test_users_down_and_orders_up(shop: Shop) -> None:
    user = await shop.make_customer()
    order = await shop.order(user["id"])

    with nobody_there() as down:
        async with serve_gateway(down, shop.orders.url) as door:
            overview = await door.get(f"/users/{user['id']}/overview")
            listed = await door.get("/orders", params={"user_id": user["id"]})
            read = await door.get(f"/users/{user['id']}")

    assert overview.status_code == 200
    assert overview.json() == {
        "user": None,
        "orders": {"items": [order], "next": None},
        "missing": [{"part": "user", "reason": "unreachable"}],
    }
    assert listed.status_code == 200
    assert_problem(read, 503)
    assert read.headers["retry-after"] == "1"


async def test_orders_down_and_users_up(shop: Shop) -> None:
    user = await shop.make_user()

    with nobody_there() as down:
        async with serve_gateway(shop.users.url, down) as door:
            overview = await door.get(f"/users/{user['id']}/overview")

    assert overview.status_code == 200
    assert overview.json() == {
        "user": user,
        "orders": None,
        "missing": [{"part": "orders", "reason": "unreachable"}],
    }


@pytest.mark.parametrize("hanging", ["user", "orders"])
async def test_part_that_hangs_is_left_out_at_the_deadline(shop: Shop, hanging: str) -> None:
    user = await shop.make_user()
    async with answering(None) as hangs:
        urls = (hangs, shop.orders.url) if hanging == "user" else (shop.users.url, hangs)
        async with serve_gateway(*urls) as door:
            began = time.monotonic()
            answer = await door.get(f"/users/{user['id']}/overview")
            seconds = time.monotonic() - began

    content = answer.json()
    assert answer.status_code == 200
    assert content["missing"] == [{"part": hanging, "reason": "timeout"}]
    assert content[hanging] is None
    assert content["orders" if hanging == "user" else "user"] is not None
    assert DEADLINE_S <= seconds < DEADLINE_S + GRACE_S


async def test_both_parts_missing_are_both_named() -> None:
    async with answering(None) as hangs:
        with nobody_there() as down:
            async with serve_gateway(down, hangs) as door:
                answer = await door.get(f"/users/{new_id()}/overview")

    assert answer.status_code == 200
    assert answer.json() == {
        "user": None,
        "orders": None,
        "missing": [{"part": "user", "reason": "unreachable"}, {"part": "orders", "reason": "timeout"}],
    }


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (http_answer(b'{"items":', content_type="application/json"), "invalid"),
        (http_answer(b"<h1>It works</h1>", content_type="text/html"), "invalid"),
        (http_answer(b'{"detail":"x"}', status="500 Internal Server Error"), "error"),
        (http_answer(b'{"detail":"x"}', status="404 Not Found"), "error"),
        (b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 50\r\n\r\n{", "error"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", "error"),
        (b"", "error"),
    ],
    ids=["cut-json", "html", "status-500", "status-404", "cut-off", "not-http", "closes"],
)
async def test_answer_that_cannot_be_used_is_named(sent: bytes, reason: str) -> None:
    users_answer = {"/users": http_answer(b'{"id":"x"}')}
    async with (
        answering(users_answer) as users_url,
        answering({"/orders": sent}) as orders_url,
        serve_gateway(users_url, orders_url) as door,
    ):
        answer = await door.get(f"/users/{new_id()}/overview")

    assert answer.status_code == 200
    assert answer.json() == {"user": {"id": "x"}, "orders": None, "missing": [{"part": "orders", "reason": reason}]}


async def test_unknown_user_and_bad_id_have_no_overview(shop: Shop, door: httpx.AsyncClient) -> None:
    assert_problem(await door.get(f"/users/{new_id()}/overview"), 404)
    assert_problem(await door.get("/users/ada/overview"), 400)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/metrics2",
        "/usersx",
        "/users/",
        "/users//overview",
        "/users/../orders",
        "/users/%2e%2e/orders",
        "/users/a%2foverview",
        "/users/a%5cb",
        "/users/a%0d%0aX-Evil:%201",
        "/users/a/b/../overview",
    ],
)
async def test_address_that_leads_nowhere(shop: Shop, door: httpx.AsyncClient, path: str) -> None:
    answer = await raw_get(door, path)

    assert answer.status_code in (400, 404), answer.text
    assert_problem(answer, answer.status_code)


async def test_names_in_an_address_stay_names(shop: Shop, door: httpx.AsyncClient) -> None:
    """What stands in a path cannot become another path, or a parameter, of a service."""
    for name in ("a%3Flimit=1", "a%23b", "a%26limit%3D1", "x" * 500, "%C3%A9", "%00"):
        answer = await raw_get(door, f"/users/{name}/overview")

        assert answer.status_code in (400, 404), name
        assert_problem(answer, answer.status_code)


async def test_slow_service_is_a_504_and_a_broken_one_a_502(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freehold.gateway.forward.ANSWER_S", 0.2)
    async with answering(None) as hangs, answering({"/": b""}) as closes, serve_gateway(hangs, closes) as door:
        slow = await door.put(f"/users/{new_id()}", json={})
        broken = await door.post("/orders", json={})

    assert_problem(slow, 504)
    assert_problem(broken, 502)


async def test_hop_by_hop_and_forged_headers_stay_outside(shop: Shop) -> None:
    seen: list[str] = []
    async with echoing(seen) as url, serve_gateway(url, shop.orders.url) as door:
        await door.get(
            "/users",
            headers={
                "Connection": "keep-alive, X-Private",
                "X-Private": "1",
                "Keep-Alive": "timeout=5",
                "TE": "trailers",
                "X-Forwarded-For": "10.0.0.1",
                "Forwarded": "for=10.0.0.1",
                "X-Kept": "yes",
                "traceparent": TRACEPARENT,
            },
        )

    head = seen[0].lower()
    assert "x-kept: yes" in head
    assert "x-forwarded-for: 127.0.0.1" in head
    assert TRACEPARENT.split("-")[1] in head
    for gone in ("x-private", "keep-alive: ", "te: trailers", "10.0.0.1", TRACEPARENT.split("-")[2]):
        assert gone not in head, gone


async def test_trace_goes_through_to_the_service(shop: Shop, door: httpx.AsyncClient) -> None:
    answer = await door.get(f"/users/{new_id()}", headers={"traceparent": TRACEPARENT})

    assert answer.json()["trace_id"] == TRACEPARENT.split("-")[1]
    assert len(answer.headers.get_list("traceresponse")) == 1
    assert len(answer.headers.get_list("date")) == 1


async def test_other_methods_on_the_overview_are_refused(shop: Shop, door: httpx.AsyncClient) -> None:
    path = f"/users/{new_id()}/overview"

    answer = await door.post(path, json={})
    head = await door.head(path)

    assert_problem(answer, 405)
    assert answer.headers["allow"] == "GET, HEAD"
    assert (head.status_code, head.content) == (404, b"")


async def raw_get(client: httpx.AsyncClient, path: str) -> httpx.Response:
    """GET exactly this path: httpx itself would tidy dot segments away."""
    request = client.build_request("GET", "/")
    request.url = request.url.copy_with(raw_path=path.encode())
    return await client.send(request)


def echoing(seen: list[str]) -> Any:
    """Listen, keep what is asked, and answer with an empty list."""
    import asyncio
    import contextlib

    @contextlib.asynccontextmanager
    async def listen() -> AsyncIterator[str]:
        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            seen.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(http_answer(b"{}"))
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(connected, "127.0.0.1")
        try:
            yield "http://{}:{}".format(*server.sockets[0].getsockname()[:2])
        finally:
            server.close()
            await server.wait_closed()

    return listen()
