"""The system's own services in a test: real servers, a clean database each, real HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import pytest

from freehold.testing import TestedService
from systems.database_per_service.orders.service import orders
from systems.database_per_service.tests.shop import Shop
from systems.database_per_service.users.service import users

Run = Callable[..., AbstractAsyncContextManager[TestedService]]


@pytest.fixture
async def shop(freehold_service: Run) -> AsyncIterator[Shop]:
    async with AsyncExitStack() as stack:
        yield Shop(
            await stack.enter_async_context(freehold_service(users)),
            await stack.enter_async_context(freehold_service(orders)),
        )
