"""Steps of tests in which somebody reads what they wrote, through the one door."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import httpx

from freehold.consumer.progress import ConsumerState
from systems.database_per_service.tests.shop import Shop

TOKEN = "Freehold-Written"


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
