"""What can be done to orders: functions that are run in a transaction, perhaps again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from pymongo import ReturnDocument

from freehold.http.conditional import expected_versions, precondition
from freehold.http.problem import Fault, Problem
from systems.database_per_service.orders.events import OrderPlaced, OrderUpdated
from systems.database_per_service.orders.order import COMES_FROM, NewOrder, Status, order_etag
from systems.database_per_service.orders.placing import Placing, use_once

Document = dict[str, Any]

# An order for a user that was made a moment ago: their event is on its way (decision 8).
RETRY_AFTER_S = 1


async def place(tx: Any, order_id: str, new: NewOrder, placing: Placing | None) -> Document:
    """Place an order for a customer whom orders has heard of; `placing` makes it unrepeatable.

    Raises:
        Problem: 409, the customer is unknown or deleted.
        AlreadyPlaced: `placing` was used before.
    """
    if placing is not None:
        await use_once(tx, placing, order_id)
    user_id = new.user_id.lower()
    customer = _customer(user_id, await tx.copy("customers", user_id))
    document = order_document(order_id, new, customer, datetime.now(UTC))
    await insert(tx, [document])
    return document


async def insert(tx: Any, documents: Sequence[Document]) -> None:
    """Write new orders and tell of them."""
    await tx["orders"].insert_many(documents)
    for document in documents:
        tx.publish(OrderPlaced, document)


async def move(tx: Any, order_id: str, status: Status, if_match: str | None) -> Document:
    """Take an order to a status; to the one that it has is no new version and no event.

    Raises:
        Problem: 404; 409, it cannot go there from where it stands; 412.
    """
    wanted: Document = {"_id": order_id, "status": {"$in": COMES_FROM[status]}}
    versions = expected_versions(if_match)
    if versions is not None:
        wanted["version"] = {"$in": versions}
    document: Document | None = await tx["orders"].find_one_and_update(
        wanted, {"$set": {"status": status}, "$inc": {"version": 1}}, return_document=ReturnDocument.AFTER
    )
    if document is None:
        return await _standing(tx, order_id, status, if_match)
    tx.publish(OrderUpdated, document)
    return document


async def read(reader: Any, order_id: str) -> Document:
    """Read an order, customer and all, from a transaction or from the store: one find().

    Raises:
        Problem: 404.
    """
    document: Document | None = await reader["orders"].find_one({"_id": order_id})
    if document is None:
        raise Problem(404, f"there is no order {order_id}", type="order-unknown")
    return document


async def page(reader: Any, user_id: str, after: tuple[datetime, str] | None, limit: int) -> list[Document]:
    """Read up to `limit` orders of a user behind `after` (placed_at, id), newest first: one find()."""
    wanted: Document = {"user_id": user_id}
    if after is not None:
        placed_at, order_id = after
        wanted["$or"] = [
            {"placed_at": {"$lt": placed_at}},
            {"placed_at": placed_at, "_id": {"$lt": order_id}},
        ]
    found = reader["orders"].find(wanted).sort([("placed_at", -1), ("_id", -1)]).limit(limit)
    return await found.to_list(limit)  # type: ignore[no-any-return]


def order_document(order_id: str, new: NewOrder, customer: Document, placed_at: datetime) -> Document:
    """Make an order's document; it embeds the customer's copy whole, as the replica then keeps it up to date."""
    return {
        "_id": order_id,
        "user_id": customer["id"],
        "customer": customer,
        "lines": [msgspec.structs.asdict(line) for line in new.lines],
        "total_cents": sum(line.quantity * line.unit_price_cents for line in new.lines),
        "status": Status.PLACED.value,
        "version": 1,
        "placed_at": placed_at,
    }


def _customer(user_id: str, copy: Mapping[str, Any] | None) -> Document:
    if copy is None:
        raise Problem(
            409,
            f"orders has not heard of user {user_id} yet; if it was made a moment ago, ask again",
            type="customer-unknown",
            errors=[Fault("/user_id", "is not known here yet")],
            headers={"Retry-After": str(RETRY_AFTER_S)},
        )
    if copy["deleted"]:
        raise Problem(
            409,
            f"user {user_id} was deleted and can order no more",
            type="customer-deleted",
            errors=[Fault("/user_id", "was deleted")],
        )
    return dict(copy)


async def _standing(tx: Any, order_id: str, status: Status, if_match: str | None) -> Document:
    # The write found nothing: there is no such order, it is at another version, there already, or not on this way.
    document = await read(tx, order_id)
    precondition(if_match, order_etag(document), own_parts=1)
    if document["status"] != status:
        detail = f"an order that is {document['status']} cannot become {status}"
        raise Problem(409, detail, type="order-status", errors=[Fault("/status", detail)])
    return document
