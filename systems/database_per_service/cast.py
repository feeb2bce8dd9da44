"""Who is in the demo: the ids that the demos of several services speak of, the same every time."""

from __future__ import annotations

import hashlib

from freehold.identifier import format_id

USER_COUNT = 10_000
ORDER_COUNT = 50_000

_SEED = 20_250_101
_FIRST_AT_MS = 1_735_689_600_000  # 2025-01-01: what people make themselves comes after all that is of the demo
_MINUTE_MS = 60_000


def user_id(number: int) -> str:
    """Give the id of the demo user of that number, from 0."""
    return format_id(_FIRST_AT_MS + number * _MINUTE_MS, _entropy("user", number))


def order_id(number: int) -> str:
    """Give the id of the demo order of that number, from 0."""
    return format_id(order_placed_at_ms(number), _entropy("order", number))


def order_placed_at_ms(number: int) -> int:
    """Give the millisecond since 1970 at which the demo order of that number was placed: after all users were made."""
    return _FIRST_AT_MS + (USER_COUNT + number) * _MINUTE_MS


def _entropy(kind: str, number: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{_SEED}/{kind}/{number}".encode(), digest_size=10).digest())
