"""Decide, without any I/O, whether a copy is what its owner says: equal, in flight, or wrong, and how.

A copy follows its owner, so at any moment some are behind and nothing is wrong. What is held against the owner here was
read in this order: the owner; where its topic ends, and this service's positions have passed that; the copy; the owner
again. So all that the owner had at first has reached the copy, and the copy cannot know what the owner had not at last.
"""

from __future__ import annotations

import enum
from typing import Literal

import msgspec

from freehold.event import Place

# A transaction that asked for a copy that is not there yet has left an empty one (`tx.copy`): it is none.
EMPTY = Place(0, 0, 0)
# Where a copy is set back to before a repair: below all that an owner publishes, and still not empty.
SET_BACK = Place(0, 0, 1)


class Kind(enum.StrEnum):
    """How a copy differs from its owner."""

    MISSING = "missing"
    LEFT_OVER = "left over"
    STALE = "stale"
    AHEAD = "ahead"
    CONTENT = "content differs"


class Owned(msgspec.Struct, frozen=True, gc=False):
    """An entity as its owner has it; `content`, its canonical form, is None when it is gone."""

    version: int
    content: bytes | None


class Held(msgspec.Struct, frozen=True, gc=False):
    """A copy as it lies there; `content` is None when it says that the entity is gone, and holds nothing of it."""

    place: Place
    content: bytes | None


class Finding(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A copy that differs, and what became of it.

    Attributes:
        id: The entity's.
        kind: How it differs.
        owner_version: What its owner has; None when it has none.
        copy_version: What the copy says; None when there is none.
        where: Which copy: the replica's table or collection, or "orders.customer" for fields embedded there.
        document: The id of the own row or document that embeds it; empty for the replica's own.
        position: Where on the topic the event lies that did not take effect, "users/3@1207", if that is known.
        repaired: Whether it was repaired, and found equal since.
        refused: Why it was not, though it should have been.
    """

    id: str
    kind: Kind
    owner_version: int | None
    copy_version: int | None
    where: str
    document: str = ""
    position: str = ""
    repaired: bool = False
    refused: str = ""


Verdict = Kind | Literal["equal", "unsettled"]


def seems_equal(owned: Owned, held: Held | None, epoch: int) -> bool:
    """Say whether there is nothing more to ask: the copy is the owner's state of now."""
    return (
        held is not None
        and held.place.version == owned.version
        and held.place.epoch <= epoch
        and held.content == owned.content
    )


def judge(before: Owned | None, held: Held | None, after: Owned | None, *, epoch: int, moved: bool) -> Verdict:
    """Judge one copy.

    Args:
        before: The entity as its owner had it first; None: it had none, deleted or not.
        held: The copy, read when all that the owner had published by then had reached this service.
        after: The entity as its owner has it last.
        epoch: The owner's.
        moved: Whether the copy is another than it was before the owner was first asked.

    Returns:
        "unsettled" when what is there may be on its way; ask again.
    """
    if held is None or held.place == EMPTY:
        if before is None:
            return "equal"
        return Kind.MISSING if held is None else Kind.STALE
    if before is None:
        return _judge_unknown(held, after, moved=moved)
    if after is None:
        return "unsettled"
    version = held.place.version
    if version > after.version or held.place.epoch > epoch:
        return Kind.AHEAD
    if version < before.version:
        return Kind.STALE
    for owned in (before, after):
        if version == owned.version and held.content == owned.content:
            return "equal"
    if version != before.version:
        return "unsettled"  # of a version that came meanwhile only a part may have arrived
    # Its owner's tombstone, and somebody who lives.
    return Kind.LEFT_OVER if before.content is None else Kind.CONTENT


def _judge_unknown(held: Held, after: Owned | None, *, moved: bool) -> Verdict:
    """Judge a copy of what the owner did not have at first."""
    if held.content is None:
        return "equal"
    # A copy that has stood there since before the owner was asked is of something that was never there, or whose end had
    # reached this service by now.
    return Kind.LEFT_OVER if after is None and not moved else "unsettled"
