"""The token of what a client has written: minted, read and merged; pure.

It names each entity that a request's transactions changed and published, and the place in its history that the client has
seen itself reach. It is signed, so that nobody can make one that holds up requests for what never was, and bounded, in
entities, characters and time (decision 17). On its way it is base64url of

    name of the key (4 bytes) | signature (16 bytes) | msgpack of the entities, the one written last first

A key is told apart by its name: a token of another key, an older one or another system's, is no forgery, and means nothing
here.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Sequence
from typing import Annotated

import msgspec

from freehold.event import Place
from freehold.http import base64url

# The same name both ways: a client sends back what it was given.
TOKEN_HEADER = b"freehold-written"
# Seconds that a client is ready to wait, if it is less than the service would.
WAIT_HEADER = b"freehold-wait"
# A header, and a cookie with its attributes, of this length goes through everything on the way.
TOKEN_CHARACTERS_MAX = 2_048
# Each is one look at a copy; whoever changes more at once is told how many the token leaves out.
ENTITIES_MAX = 32
# Whoever sends several back (its own requests ran side by side) sends few.
TOKENS_MAX = 4
# A copy is behind for milliseconds. What it lacks after so long it does not get by waiting, and reads go on without.
LIFE_S = 600
# In a row of its own name the key is 32 bits: enough to tell keys apart, and says nothing of them.
_NAME_BYTES = 4
# 128 bits of HMAC-SHA256 cannot be guessed.
_SIGNATURE_BYTES = 16
_PACKED_BYTES_MAX = TOKEN_CHARACTERS_MAX * 3 // 4 - _NAME_BYTES - _SIGNATURE_BYTES

_Number = Annotated[int, msgspec.Meta(ge=0)]


class Written(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """An entity that was changed: whose it is, its key ("user/42"), its place, and when, in seconds since 1970."""

    service: str
    key: str
    epoch: _Number
    version: _Number
    index: _Number
    at: _Number

    @property
    def place(self) -> Place:
        """Where in its history a copy must stand, at least, to show what was written."""
        return Place(self.epoch, self.version, self.index)


class BadToken(Exception):
    """The text is no token: too long, cut, or changed on the way."""


class ForeignToken(Exception):
    """The token is signed by another key: of another system, or one that was replaced."""


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Annotated[list[Written], msgspec.Meta(max_length=ENTITIES_MAX)]).decode


class TokenKey:
    """Signs tokens; the gateway and all services of a system have the same.

    Args:
        secret: At least 16 characters.
    """

    def __init__(self, secret: str) -> None:
        self._key = hashlib.sha256(b"freehold token key\0" + secret.encode()).digest()
        self._name = hashlib.sha256(b"freehold token key's name\0" + self._key).digest()[:_NAME_BYTES]

    def mint(self, written: Sequence[Written]) -> str:
        """Write a token of what `merge` chose."""
        packed = _encode(written)
        return base64url.encode(self._name + self._sign(packed) + packed)

    def read(self, text: str) -> list[Written]:
        """Read a token.

        Raises:
            BadToken: It is none, or was changed.
            ForeignToken: Another key signed it.
        """
        raw = _bytes(text)
        name, signature, packed = raw[:_NAME_BYTES], raw[_NAME_BYTES:][:_SIGNATURE_BYTES], raw[_NAME_BYTES:]
        packed = packed[_SIGNATURE_BYTES:]
        if len(signature) < _SIGNATURE_BYTES:
            raise BadToken
        if name != self._name:
            raise ForeignToken
        if not hmac.compare_digest(signature, self._sign(packed)):
            raise BadToken
        try:
            written: list[Written] = _decode(packed)
        except msgspec.DecodeError:
            raise BadToken from None
        return written

    def read_all(self, header: str) -> list[Written]:
        """Read a header with one token or a few, separated by commas; those of another key are left out.

        Raises:
            BadToken: One is no token, or there are more than TOKENS_MAX.
        """
        texts = [text.strip() for text in header.split(",", TOKENS_MAX)]
        if len(texts) > TOKENS_MAX:
            raise BadToken
        found: list[Written] = []
        for text in texts:
            try:
                found += self.read(text)
            except ForeignToken:
                continue
        return found

    def _sign(self, packed: bytes) -> bytes:
        return hmac.digest(self._key, packed, "sha256")[:_SIGNATURE_BYTES]


def furthest(written: Iterable[Written], now: float) -> list[Written]:
    """Keep the furthest place of each entity, the one written last first.

    Args:
        written: Of what was written at the same second, what comes earlier counts as written later.
        now: Seconds since 1970; what is older than LIFE_S is dropped, and so is what says to be that far ahead.
    """
    found: dict[tuple[str, str], Written] = {}
    for each in written:
        known = found.get((each.service, each.key))
        if abs(now - each.at) <= LIFE_S and (known is None or known.place < each.place):
            found[each.service, each.key] = each
    return sorted(found.values(), key=_newest_first)


def merge(written: Iterable[Written], now: float) -> tuple[list[Written], int]:
    """Choose of the `furthest` what fits into a token.

    Returns:
        What does, the one written last first, and how many entities do not.
    """
    ordered = furthest(written, now)
    kept = _fitting(ordered)
    return kept, len(ordered) - len(kept)


def _newest_first(written: Written) -> int:
    return -written.at


def _fitting(ordered: Sequence[Written]) -> list[Written]:
    # What the list itself adds is 3 bytes at most, and so many entities need no more than 3.
    left = _PACKED_BYTES_MAX - 3
    for count, each in enumerate(ordered[:ENTITIES_MAX]):
        left -= len(_encode(each))
        if left < 0:
            return list(ordered[:count])
    return list(ordered[:ENTITIES_MAX])


def _bytes(text: str) -> bytes:
    if len(text) > TOKEN_CHARACTERS_MAX:
        raise BadToken
    try:
        return base64url.decode(text)
    except ValueError:
        raise BadToken from None
