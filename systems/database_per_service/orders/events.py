"""What orders tells others, which is nothing of a person, and what it keeps of what users tells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import msgspec

from freehold import Event
from systems.database_per_service.orders.order import format_instant


class Customer(msgspec.Struct):
    """What orders keeps of a user."""

    id: str
    name: str
    email: str


class OrderState(Event, entity="order"):
    """An order as others may keep it; who placed it is an id and no more."""

    id: str
    user_id: str
    status: str
    total_cents: int
    line_count: int
    placed_at: str

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Make of an order's document what others may know of it."""
        placed_at = format_instant(row["placed_at"])
        return super().of({**row, "line_count": len(row["lines"]), "placed_at": placed_at})


class OrderPlaced(OrderState):
    """An order is there."""


class OrderUpdated(OrderState):
    """An order went a step on its way."""
