"""Ids that nobody hands out: UUIDv7 (RFC 9562, 5.7), ordered by time, so that an index grows at one end."""

from __future__ import annotations

import os
import re
import time

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)


def new_id() -> str:
    """Make an id: 48 bits of milliseconds and 74 bits of the system's own randomness.

    Guarantees: two processes do not make the same one, whatever they were forked or copied from.
    """
    return format_id(time.time_ns() // 1_000_000, int.from_bytes(os.urandom(10)))


def format_id(time_ms: int, entropy: int) -> str:
    """Write the UUIDv7 of this millisecond and these 80 bits, of which version and variant take six.

    Args:
        time_ms: Milliseconds since 1970, 48 bits.
        entropy: Bits that make it unique; demo data gives its own, so that it is the same every time.
    """
    digits = f"{(time_ms & 0xFFFF_FFFF_FFFF) << 80 | 0x7 << 76 | (entropy >> 68 & 0xFFF) << 64 | _low(entropy):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def is_id(text: str) -> bool:
    """Say whether the text is a UUID in its canonical form; braces, urn: and missing hyphens are not."""
    return _ID.fullmatch(text) is not None


def _low(entropy: int) -> int:
    return 0b10 << 62 | entropy & 0x3FFF_FFFF_FFFF_FFFF
