"""A service that goes away, for real, and comes back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack

import pytest

from freehold.service import Service
from freehold.testing import TestedService
from systems.database_per_service.orders.service import orders
from systems.database_per_service.tests.door import serve_gateway
from systems.database_per_service.tests.shop import Shop
from systems.database_per_service.users.service import users

Run = Callable[..., AbstractAsyncContextManager[TestedService]]


@pytest.mark.parametrize(("stopped", "part"), [(users, "user"), (orders, "orders")], ids=["users", "orders"])
async def test_overview_lacks_the_stopped_part_until_it_is_back(
    freehold_service: Run, stopped: Service, part: str
) -> None:
    async with AsyncExitStack() as ends, freehold_service(orders if stopped is users else users) as staying:
        going = await ends.enter_async_context(freehold_service(stopped))
        by_name = {staying.service.name: staying, going.service.name: going}
        shop = Shop(by_name["users"], by_name["orders"])
        user = await shop.make_customer()
        async with serve_gateway(shop.users.url, shop.orders.url) as door:
            path = f"/users/{user['id']}/overview"
            before = (await door.get(path)).json()
            port = int(going.url.rpartition(":")[2])
            await ends.aclose()
            without = (await door.get(path)).json()
            async with freehold_service(stopped, port=port):
                after = (await door.get(path)).json()

    assert before["missing"] == after["missing"] == []
    assert before == after
    assert without == before | {part: None, "missing": [{"part": part, "reason": "unreachable"}]}
