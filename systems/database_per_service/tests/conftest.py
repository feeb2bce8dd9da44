"""The system's own services in tests: real servers, real HTTP, clean databases for each file of tests."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import httpx
import pytest
import pytest_asyncio

from freehold.testing import Scene, Servers, TestedService
from systems.database_per_service.orders.service import orders
from systems.database_per_service.tests.door import serve_gateway
from systems.database_per_service.tests.shop import Shop
from systems.database_per_service.users.service import users

Run = Callable[..., AbstractAsyncContextManager[TestedService]]


@pytest.fixture(scope="module")
def scene(freehold_servers: Servers) -> Iterator[Scene]:
    """Give one scene to a whole file: to start services takes longer than most of these tests."""
    scene = Scene(freehold_servers, f"t{secrets.token_hex(4)}")
    yield scene
    scene.drop()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shop(scene: Scene) -> AsyncIterator[Shop]:
    async with AsyncExitStack() as stack:
        shop = Shop(
            await stack.enter_async_context(scene.run(users)),
            await stack.enter_async_context(scene.run(orders)),
        )
        # A topic is made and a group is joined in the background, which takes long on a busy machine.
        await shop.users.settled(limit_s=100)
        yield shop


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def door(shop: Shop, scene: Scene) -> AsyncIterator[httpx.AsyncClient]:
    async with serve_gateway(shop.users.url, shop.orders.url, token_secret=scene.token_secret) as client:
        yield client


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def api(scene: Scene) -> AsyncIterator[TestedService]:
    """Give users without its relay: what is published stays in the outbox, to be looked at."""
    async with scene.run(users, only="api") as running:
        yield running
