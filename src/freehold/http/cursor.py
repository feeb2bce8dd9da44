"""Opaque, signed cursors and the `limit` beside them.

A cursor says where the next page begins. It is signed, so that nobody can make one that reads what no page showed, and
bound to what it pages through (`scope`), so that one list's cursor is refused by another.
"""

from __future__ import annotations

import hashlib
import hmac
from contextvars import ContextVar
from typing import Any, TypeVar

import msgspec

from freehold.http import base64url
from freehold.http.problem import Fault, Problem

T = TypeVar("T")

# Set by the edge for each request; all instances of a service have the same key (settings.cursor_key).
signing_key: ContextVar[bytes] = ContextVar("freehold.cursor_key")

# 128 bits of HMAC-SHA256 cannot be guessed and keep the cursor short.
_SIGNATURE_BYTES = 16
_CURSOR_CHARACTERS_MAX = 1_024
_encoder = msgspec.msgpack.Encoder()


def encode_cursor(scope: str, position: Any) -> str:
    """Write a cursor.

    Args:
        scope: What it pages through, such as "orders of users/42": a cursor is good for the same scope only.
        position: Where the next page begins: what msgpack can write.
    """
    packed = _encoder.encode(position)
    return base64url.encode(_sign(scope, packed) + packed)


def decode_cursor(scope: str, text: str, into: type[T]) -> T:
    """Read a cursor that `encode_cursor` wrote for the same scope.

    Raises:
        Problem: 400 naming `cursor`: it was not written here, was changed, or belongs to another list.
    """
    try:
        if len(text) > _CURSOR_CHARACTERS_MAX:
            raise _bad_cursor()
        raw = base64url.decode(text)
        signature, packed = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
        if not hmac.compare_digest(signature, _sign(scope, packed)):
            raise _bad_cursor()
        return msgspec.msgpack.decode(packed, type=into)
    except (ValueError, msgspec.DecodeError):
        raise _bad_cursor() from None


def parse_limit(text: str | None, *, usual: int, most: int) -> int:
    """Read `limit`: `usual` when it was not given.

    Raises:
        Problem: 400 naming `limit`: no whole number from 1 to `most`.
    """
    if text is None:
        return usual
    # isdecimal alone would take other scripts' digits, and int() would take "1_0" and " 1".
    if text.isascii() and text.isdecimal() and len(text) <= len(str(most)) and 1 <= int(text) <= most:
        return int(text)
    detail = f"must be a whole number from 1 to {most}"
    raise Problem(400, f"limit {detail}", type="bad-limit", errors=[Fault("limit", detail)])


def derive_key(secret: str) -> bytes:
    """Make a signing key from a secret that all instances of a service share."""
    return hashlib.sha256(b"freehold cursor key\0" + secret.encode()).digest()


def _sign(scope: str, packed: bytes) -> bytes:
    # The length keeps ("a", "bc") and ("ab", "c") apart.
    message = b"%d:%s%s" % (len(scope), scope.encode(), packed)
    return hmac.digest(signing_key.get(), message, "sha256")[:_SIGNATURE_BYTES]


def _bad_cursor() -> Problem:
    detail = "is not a cursor of this list; begin again without one"
    return Problem(400, f"cursor {detail}", type="bad-cursor", errors=[Fault("cursor", detail)])
