"""Base64url without padding, in which each value is one text."""

from __future__ import annotations

import base64


def encode(raw: bytes) -> str:
    """Write bytes as letters, digits, `-` and `_`."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def decode(text: str) -> bytes:
    """Read what `encode` wrote.

    Raises:
        ValueError: It is not what `encode` writes of any bytes: the last character has bits that are not read, and a
            text that differs in them alone is refused as well.
    """
    raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if encode(raw) != text:
        raise ValueError
    return raw
