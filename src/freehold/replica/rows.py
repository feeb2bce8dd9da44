"""The copies of one replica as they lie in the store: read a part at a time, found, and set back for a repair.

What compares them with their owner reads them here (`freehold.converge`); what follows the topic writes them elsewhere.
One class fills the seam for the replica's own table or collection and for each that embeds it (tests/seams/test_rows.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from freehold.event import Place


class CopyRow(msgspec.Struct, frozen=True, gc=False):
    """One copy. `key` is that of its own row, as text; `fields` what is kept of the entity, without its id.

    A copy that says that the entity is gone has no fields, unless something of it was left there.
    """

    key: str
    entity_id: str
    place: Place
    deleted: bool
    fields: Mapping[str, Any]


class CopyRows(Protocol):
    """The copies in one place."""

    @property
    def where(self) -> str:
        """Name the place: "customers", or "orders.customer" for what is embedded."""

    async def scan(self, after: str | None, limit: int) -> list[CopyRow]:
        """Read up to `limit` copies behind a key, in the order of their keys."""

    async def scan_living(self, after: str | None, limit: int) -> list[str]:
        """Name the entities of up to `limit` copies behind a key that are neither empty nor gone, in their keys' order.

        For the replica's own rows, whose key is the entity's id.
        """

    async def find(self, keys: Sequence[str]) -> list[CopyRow]:
        """Read those of these rows that there are."""

    async def set_back(self, rows: Sequence[CopyRow], place: Place) -> set[str]:
        """Give these the earlier place, each if it still stands where it was found; name the keys of those that did."""

    def shown(self, key: str) -> str:
        """Give a key as a person knows it."""
