"""What clients were told and what was found: plain values, so that the comparison needs no server to be tested.

A write carries a token of its own in what it asks for (a name that no other write uses), so that every event and every
row leads back to the one write that it came from, also when that write's answer never came.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from freehold.event import REPAIR_FROM

Fields = Mapping[str, Any]


class Action(Enum):
    """What a write does to its entity."""

    CREATE = "create"
    CHANGE = "change"
    DELETE = "delete"


class Outcome(Enum):
    """What the client was told: it is done, it is not done, or nothing that can be relied on (lost, late, 5xx)."""

    ACKNOWLEDGED = "acknowledged"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Write:
    """One write as its client knows it.

    Attributes:
        entity: The kind of entity, such as "user".
        asked: The published fields that it asks for, with values that no other write of its kind asks for.
        entity_id: Empty for a creation whose answer never came.
        version: The version that the answer told; None when it told none.
        sent_at: By the monotonic clock; so is `answered_at`.
        door: The base URL that it was last sent to.
    """

    entity: str
    action: Action
    asked: Fields
    outcome: Outcome
    entity_id: str = ""
    version: int | None = None
    sent_at: float = 0.0
    answered_at: float = 0.0
    door: str = ""


@dataclass(frozen=True)
class Row:
    """An entity in its owner's database; one that was deleted has no fields left but its id and version."""

    entity_id: str
    version: int
    fields: Fields
    deleted: bool = False


@dataclass(frozen=True)
class SentRecord:
    """One record as a plain Kafka client reads it: the bytes, and what its headers and its value say."""

    partition: int
    offset: int
    key: str
    event_id: str
    version: int
    index: int
    erases: bool
    fields: Fields
    content: bytes = field(repr=False)
    """Tells key, value and all headers, byte for byte, from any others."""
    epoch: int = 1

    @property
    def entity_id(self) -> str:
        """Give the id without its kind."""
        return self.key.partition("/")[2]

    @property
    def is_repair(self) -> bool:
        """Tell whether it only says again what its entity is, for copies that lack it."""
        return self.index >= REPAIR_FROM


@dataclass(frozen=True)
class Copy:
    """Another service's copy of an entity.

    Attributes:
        where: Its replica's table or collection, or "orders.customer" for fields embedded there.
        document: The id of the row or document that embeds it; empty in the replica itself.
    """

    where: str
    entity_id: str
    version: int
    fields: Fields
    deleted: bool = False
    document: str = ""

    def __str__(self) -> str:
        beside = f" {self.document}," if self.document else ""
        return f"{self.where}{beside} copy of {self.entity_id}"


@dataclass(frozen=True)
class Kept:
    """All that a subscriber keeps of an entity: its replica, which has every row, and what it embeds in its documents."""

    replica: Sequence[Copy]
    embedded: Sequence[Copy] = ()
    where: str = ""


@dataclass(frozen=True)
class Owned:
    """All that one owner has: its rows, and what its topic has of that kind of entity from the beginning."""

    entity: str
    rows: Mapping[str, Row]
    records: list[SentRecord]


@dataclass(frozen=True)
class Handled:
    """What a handler left behind: by entity, what it wrote for each event that it was called with, in order."""

    where: str
    entity: str
    traces: Mapping[str, list[str]]
    trace: Callable[[Fields], str]
    """Makes of an event's fields what the handler writes; of none when the entity is gone."""


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it was promised. `kind` is one word: lost, ghost, doubled, reordered, stale, surviving, unfound."""

    kind: str
    where: str
    why: str
    key: str = ""
    """The entity's, as records have it ("user/42"): its history says more."""

    def __str__(self) -> str:
        return f"{self.kind}: {self.where}: {self.why}"
