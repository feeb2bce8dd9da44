"""Another service's facts, denormalised into the subscriber's own store: declared, rebuildable, auditable.

Applying is idempotent and needs no transaction around it: the copy's own row is the guard, and the fields embedded in
the subscriber's documents follow by a pass that is guarded the same way and may run again (decision 5). The consumer
moves its position only after both, so a crash in between repeats them without effect.

The seam that both products fill is `Copies` (tests/seams/test_copies.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from freehold.event import Place


def versions_of(into: str) -> str:
    """Give the regular expression of what a rebuild leaves beside a copy: the one that was replaced, and unfinished ones."""
    return f"^{re.escape(into)}__(previous|next_[0-9]+)$"


class State(msgspec.Struct, frozen=True, gc=False):
    """The state of one entity at one place in its history; `fields`, without the id, is None when it is gone."""

    entity_id: str
    place: Place
    fields: Mapping[str, Any] | None


class Reached(msgspec.Struct, frozen=True, gc=False):
    """How far one copy is, and whether what it says there is that the entity is gone."""

    place: Place
    deleted: bool


class Copies(Protocol):
    """One declared replica in the subscriber's store."""

    async def prepare(self) -> None:
        """Create the table or collection, its indexes and those that the embedded pass needs; idempotent.

        Raises:
            MigrationError: What is there does not fit the declaration; names each difference.
        """

    async def apply(self, states: Sequence[State]) -> None:
        """Upsert each state whose place is greater than the copy's, at most one state per entity.

        A deleted entity leaves a row with its id, place and `deleted` and no other field, and no row at all in copies
        that lie beside this one (`versions_of`): nobody else would erase what was replaced.
        """

    async def embed(self, states: Sequence[State]) -> None:
        """Let the same states reach every own document that embeds an older one; after `apply`.

        However many documents there are; each changes atomically, all have changed when it returns. A deleted
        entity's embedded fields become null, with `deleted` true.
        """

    async def embed_again(self, after: str | None, limit: int) -> str | None:
        """Let the next `limit` copies behind that id reach every own document that embeds an older or another state.

        What `embed` does for states that arrive, this does for copies that were made anew: also at an equal place.

        Returns:
            The last id; None when there is no more.
        """

    async def lacking(self) -> list[str]:
        """Name declared fields that the copies which are there do not have: declared since, and to be had by a rebuild."""

    async def reach(self, entity_ids: Sequence[str]) -> dict[str, Reached]:
        """Say how far the copies of these entities are, together with all own documents that embed them.

        A document that is behind the copy counts: the pass over them has not come to its end. An entity that was never
        heard of is absent.

        Raises:
            StoreUnavailable: The store does not answer.
        """


def reached_together(own: Mapping[str, Reached], behind: Mapping[str, Place]) -> dict[str, Reached]:
    """Put together how far copies are, and the oldest place of what embeds them and is behind, if anything is."""
    return {
        entity_id: Reached(min(reached.place, behind.get(entity_id, reached.place)), deleted=reached.deleted)
        for entity_id, reached in own.items()
    }
