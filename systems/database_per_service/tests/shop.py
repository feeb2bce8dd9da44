"""Users and orders, running, and the steps that tests have in common."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

from freehold.testing import TestedService

LINE = {"sku": "mug-s", "quantity": 2, "unit_price_cents": 1250}


_numbers = itertools.count(1)


def new_email() -> str:
    """Give an address that no test has used."""
    return f"ada.{next(_numbers)}@example.org"


@dataclasses.dataclass
class Shop:
    """Users and orders, running, and the steps that tests have in common."""

    users: TestedService
    orders: TestedService

    async def make_user(self, name: str = "Ada Lovelace", email: str | None = None) -> dict[str, Any]:
        answer = await self.users.client.post("/users", json={"name": name, "email": email or new_email()})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def make_customer(self, name: str = "Ada Lovelace", email: str | None = None) -> dict[str, Any]:
        """Make a user and wait until orders has heard of them."""
        user = await self.make_user(name, email)
        await self.settled()
        return user

    async def rename(self, user: dict[str, Any], name: str) -> dict[str, Any]:
        answer = await self.users.client.put(f"/users/{user['id']}", json={"name": name, "email": user["email"]})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def place(self, user_id: str, **headers: str) -> Any:
        return await self.orders.client.post("/orders", json={"user_id": user_id, "lines": [LINE]}, headers=headers)

    async def order(self, user_id: str) -> dict[str, Any]:
        answer = await self.place(user_id)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def settled(self) -> None:
        await self.users.settled()
