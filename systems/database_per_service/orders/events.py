"""What orders tells others, which is nothing of a person, and what it keeps of what users tells."""

import msgspec

from freehold import Event


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


class OrderPlaced(OrderState):
    """An order is there."""


class OrderUpdated(OrderState):
    """An order went a step on its way."""
