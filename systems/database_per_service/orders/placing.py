"""One order for one Idempotency-Key, however often and however fast a client asks (draft-ietf-httpapi-idempotency-key-header).

The key is recorded in the transaction that places the order, so there is never one without the other. The record holds
digests and the order's id: nothing of a person that would have to be erased. A replay answers the order as it is now.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from pymongo.errors import DuplicateKeyError

from freehold.http.problem import Fault, Problem
from systems.database_per_service.orders.order import NewOrder

KEPT_FOR = timedelta(hours=24)
_KEY_CHARACTERS_MAX = 255

# A structured field's string (RFC 9651, 3.3.3), or, for the many clients that leave the quotes out, a plain word.
_QUOTED = re.compile(r'"((?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])+)"')
_PLAIN = re.compile(r"[\x21\x23-\x2b\x2d-\x7e]+")


@dataclasses.dataclass(frozen=True)
class Placing:
    """A client's key and what it asked for with it, as digests."""

    key: bytes
    request: bytes

    def record(self, order_id: str) -> dict[str, Any]:
        """Make the document that says that this key has placed this order."""
        expires_at = datetime.now(UTC) + KEPT_FOR
        return {"_id": self.key, "request": self.request, "order_id": order_id, "expires_at": expires_at}


class AlreadyPlaced(Exception):
    """The key was used before; what it placed is the answer."""


def read_placing(header: str | None, new: NewOrder) -> Placing | None:
    """Read an Idempotency-Key; None without one.

    Raises:
        Problem: 400, it is empty, too long, or no string.
    """
    if header is None:
        return None
    text = header.strip()
    quoted = _QUOTED.fullmatch(text)
    if len(text) > _KEY_CHARACTERS_MAX or (quoted is None and _PLAIN.fullmatch(text) is None):
        detail = (
            f'must be a string such as "8e03978e-40d5-43dd-bc93-6894a57f9324", at most {_KEY_CHARACTERS_MAX} characters'
        )
        raise Problem(
            400, f"Idempotency-Key {detail}", type="bad-idempotency-key", errors=[Fault("Idempotency-Key", detail)]
        )
    key = quoted[1] if quoted else text
    return Placing(_digest(key.encode()), _digest(msgspec.json.encode(new)))


async def use_once(tx: Any, placing: Placing, order_id: str) -> None:
    """Record in this transaction that the key has placed this order.

    Raises:
        AlreadyPlaced: It has placed another one.
    """
    try:
        await tx["placings"].insert_one(placing.record(order_id))
    except DuplicateKeyError as error:
        raise AlreadyPlaced from error


async def replayed_order_id(store: Any, placing: Placing) -> str:
    """Give the id of the order that this key has placed.

    Raises:
        Problem: 422, the key was used for another order.
    """
    record = await store["placings"].find_one({"_id": placing.key})
    if record is None:
        # It expired between our try and this look: the same request again is a new one.
        raise Problem(409, "this Idempotency-Key expired just now; ask again", type="idempotency-key-expired")
    if record["request"] != placing.request:
        detail = "was used for another order"
        raise Problem(
            422,
            f"this Idempotency-Key {detail}; use a new one",
            type="idempotency-key-reused",
            errors=[Fault("Idempotency-Key", detail)],
        )
    return str(record["order_id"])


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()
