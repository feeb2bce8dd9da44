"""What a service owns, read entity by entity: as a copy of it should be, and told once more to those who keep one.

The one function from a row to its published state is the event's own `of(row)`, which publishing uses too. The seam that
both products fill (tests/seams/test_owned.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from freehold.event import Event
from freehold.service import Entity

# Rows that are read or told at once; bounds memory, and how long one transaction holds its rows.
OWNED_ROWS_MAX = 5_000
# Of a signed number of 64 bits, the largest that either product has for a key; one more for the sign.
_DIGITS_MAX = 20


class OwnedRow(msgspec.Struct, frozen=True, gc=False):
    """One entity as its owner has it; `event` is the one that says so: its published state, or that it is gone.

    `cursor` is where a scan goes on behind it.
    """

    entity_id: str
    version: int
    event: Event
    cursor: str


class Owned(Protocol):
    """The entities of one kind, in their owner's store."""

    async def count(self) -> int:
        """Estimate how many there are, for a progress bar."""

    async def scan(self, after: str | None, limit: int) -> list[OwnedRow]:
        """Read up to `limit` entities behind a cursor, in the order of their key; deleted ones too.

        No snapshot holds over several calls: an entity that exists from the first to the last is met once.
        """

    async def find(self, entity_ids: Sequence[str]) -> list[OwnedRow]:
        """Read those of these entities that there are, in any order; a deleted one is there."""

    async def known(self, entity_ids: Sequence[str]) -> set[str]:
        """Name those of these entities that there are; a deleted one is there."""

    async def republish(self, entity_ids: Sequence[str]) -> set[str]:
        """Tell once more what these entities are, each as an event of its present version with a new repair number.

        In one transaction with the rows held: each goes to the topic before whatever changes it next.

        Returns:
            Those that there are; of the others nothing is told.
        """

    async def publish_gone(self, entity_ids: Sequence[str]) -> None:
        """Tell that these, which the owner has never had, are gone: version 0, with a new repair number.

        Raises:
            DeclarationError: The entity names no event that says so.
            ConflictError: One of them is there by now.
        """

    async def moment(self) -> Any:
        """Give the store's own time, later than that of every row of the outbox that is committed by now."""

    async def waits(self, moment: Any) -> bool:
        """Say whether a row of the outbox from that moment or before is still to be shipped."""


def owned_row(entity: Entity, row: Mapping[str, Any], cursor: str) -> OwnedRow:
    """Make of an owner's row what a copy of it should be.

    Raises:
        PublishError: The row does not fit the event.
    """
    is_gone = bool(entity.deleted) and row.get(entity.deleted) not in (None, False)
    event_class = entity.gone if is_gone and entity.gone is not None else entity.state
    event = event_class.of(row)
    return OwnedRow(str(getattr(event, event.__key__)), row["version"], event, cursor)


def whole_number(text: str) -> int | None:
    """Give the number that has this very text; None when it is no whole number's, or has more than 19 digits."""
    if not text.isascii() or not text.removeprefix("-").isdigit() or len(text) > _DIGITS_MAX:
        return None
    number = int(text)
    return number if str(number) == text else None
