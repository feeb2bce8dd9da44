"""What users writes reaches every copy that orders keeps."""

from __future__ import annotations

import pytest

from systems.database_per_service.tests.shop import Shop

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_new_name_reaches_the_copy_and_every_order(shop: Shop) -> None:
    user = await shop.make_customer()
    placed = [await shop.order(user["id"]) for _ in range(3)]

    await shop.rename(user, "Ada King")
    await shop.settled()

    copy = await shop.orders.service.store["customers"].find_one({"_id": user["id"]})
    listed = (await shop.orders.client.get("/orders", params={"user_id": user["id"]})).json()["items"]
    assert (copy["name"], copy["version"]) == ("Ada King", 2)
    assert [order["id"] for order in listed] == [order["id"] for order in reversed(placed)]
    assert [order["customer"] for order in listed] == [
        {"id": user["id"], "name": "Ada King", "email": user["email"], "version": 2}
    ] * 3
