"""The bodies of orders' requests and answers, and the ways an order can go."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec

from freehold.http.body import Body
from freehold.http.conditional import make_etag

UUID = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$(?!\n)")]
Sku = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$(?!\n)")]
# A hundred lines at these bounds stay below 2^53 cents, which every reader of JSON counts exactly.
Quantity = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Cents = Annotated[int, msgspec.Meta(ge=0, le=1_000_000_000)]


class Status(StrEnum):
    """Where an order stands."""

    PLACED = "placed"
    PAID = "paid"
    SHIPPED = "shipped"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"


# From where an order may come to each status; what is shipped is not cancelled any more.
COMES_FROM: Mapping[Status, tuple[Status, ...]] = {
    Status.PLACED: (),
    Status.PAID: (Status.PLACED,),
    Status.SHIPPED: (Status.PAID,),
    Status.DELIVERED: (Status.SHIPPED,),
    Status.CANCELLED: (Status.PLACED, Status.PAID),
}


class NewLine(Body, frozen=True):
    """So many of one thing at one price, as a client orders it."""

    sku: Sku
    quantity: Quantity
    unit_price_cents: Cents


class NewOrder(Body, frozen=True):
    """What a client orders."""

    user_id: UUID
    lines: Annotated[list[NewLine], msgspec.Meta(min_length=1, max_length=100)]


class Step(Body, frozen=True):
    """Where a client wants an order to stand."""

    status: Status


class Line(msgspec.Struct, frozen=True):
    """So many of one thing at one price."""

    sku: str
    quantity: int
    unit_price_cents: int


class OrderCustomer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The customer as orders knows them, at that version; without name and email once users has deleted them."""

    id: str
    name: str | None
    email: str | None
    version: int
    deleted: bool = False


class Order(msgspec.Struct, frozen=True):
    """An order as a client sees it, customer and all."""

    id: str
    user_id: str
    customer: OrderCustomer
    lines: list[Line]
    total_cents: int
    status: Status
    version: int
    placed_at: Annotated[str, msgspec.Meta(extra_json_schema={"format": "date-time"})]


class OrderPage(msgspec.Struct, frozen=True):
    """Some orders of a customer, and the cursor of those that follow; none when these are the last."""

    items: list[Order]
    next: str | None


def show(document: Mapping[str, Any]) -> Order:
    """Make of an order's document what a client sees."""
    customer = document["customer"]
    return Order(
        id=document["_id"],
        user_id=document["user_id"],
        customer=OrderCustomer(
            customer["id"],
            customer.get("name"),
            customer.get("email"),
            customer["version"],
            bool(customer.get("deleted", False)),
        ),
        lines=[Line(**line) for line in document["lines"]],
        total_cents=document["total_cents"],
        status=Status(document["status"]),
        version=document["version"],
        placed_at=format_instant(document["placed_at"]),
    )


def order_etag(document: Mapping[str, Any]) -> str:
    """Write the ETag of all that `show` shows: the order's own version first, then the place of the customer's copy."""
    customer = document["customer"]
    return make_etag(document["version"], customer["epoch"], customer["version"])


def format_instant(instant: datetime) -> str:
    """Write an instant as MongoDB keeps it, in milliseconds."""
    aware = instant if instant.tzinfo else instant.replace(tzinfo=UTC)
    return aware.isoformat(timespec="milliseconds").replace("+00:00", "Z")
