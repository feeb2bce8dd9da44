"""What is done to copies behind the system's back, and what an audit must therefore have named: plain values."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, Protocol

from freehold.drill.observed import Copy, Difference, Kept

How = Literal["edited", "rolled back", "deleted", "added"]
# What is embedded is not taken away or added: a document that embeds nothing is its owner's to judge.
OF_REPLICA: Sequence[How] = ("edited", "rolled back", "deleted", "added")
OF_EMBEDDED: Sequence[How] = ("edited", "rolled back")

Named = tuple[str, str, str]
"""Where a copy is, the entity's id, and the id of what embeds it."""


@dataclasses.dataclass(frozen=True)
class Tampered:
    """One copy that was tampered with.

    Attributes:
        how: What was done to it.
        copy: As it was before; for one that is added, as what it is made like is, but for its id.
        field: The field whose value is changed.
        wrong: Its value since.
        like: For one that is added, the id of what it is made like.
    """

    how: How
    copy: Copy
    field: str
    wrong: str
    like: str = ""

    @property
    def name(self) -> Named:
        """Give the name that an audit gives it."""
        return name_of(self.copy)

    @property
    def version(self) -> int:
        """Give the version that it says since."""
        return self.copy.version - (self.how == "rolled back")

    def is_still_so(self, found: Copy | None) -> bool:
        """Tell whether it is as it was left, with nothing in between that healed it."""
        if self.how == "deleted" or found is None:
            return self.how == "deleted" and found is None
        return (found.version, found.fields[self.field]) == (self.version, self.wrong)


class CopyEditor(Protocol):
    """Changes the copies of one replica, by a plain client. Each method says whether the copy was as it was read."""

    def change(self, copy: Copy, changes: Mapping[str, Any]) -> bool:
        """Change some fields of a copy, or its version."""

    def delete(self, copy: Copy) -> bool:
        """Take a copy of the replica away."""

    def add(self, like: str, entity_id: str, changes: Mapping[str, Any]) -> bool:
        """Add one to the replica that is like this entity's, but for its id and these fields."""


def choose(kept: Kept, known: Collection[Named], field: str, count: int, chance: random.Random) -> list[Tampered]:
    """Choose so many copies of the replica, as many that are embedded, and what is to be done to each.

    Args:
        kept: The copies that there are.
        known: Those that were tampered with already; they are left out.
        field: A text that may be changed.
        count: How many of each.
        chance: Decides.
    """
    chosen = []
    for copies, ways in ((kept.replica, OF_REPLICA), (kept.embedded, OF_EMBEDDED)):
        there = [copy for copy in copies if name_of(copy) not in known and copy.version > 0]
        for copy in chance.sample(there, min(len(there), count)):
            how = chance.choice(ways)
            if copy.deleted or (how == "rolled back" and copy.version == 1):
                how = "edited"
            entity_id = f"nobody-{chance.getrandbits(48):012x}" if how == "added" else copy.entity_id
            wrong = f"tampered {chance.getrandbits(32)}"
            chosen.append(Tampered(how, dataclasses.replace(copy, entity_id=entity_id), field, wrong, copy.entity_id))
    return chosen


def carry_out(editor: CopyEditor, wanted: Tampered) -> bool:
    """Do it; say whether the copy was still as it was read."""
    copy, changes = wanted.copy, {wanted.field: wanted.wrong}
    if wanted.how == "deleted":
        return editor.delete(copy)
    if wanted.how == "added":
        return editor.add(wanted.like, copy.entity_id, changes)
    return editor.change(copy, changes | {"version": wanted.version})


def unfound(tampered: Collection[Tampered], named: Collection[Named], newest: Callable[[str], int]) -> list[Difference]:
    """List what no audit has named, though it was there to be found when the audits began.

    Args:
        tampered: What was still as it was left when they began.
        named: What they named.
        newest: Gives the entity's newest version: what its owner changed since needs no repair.
    """
    return [
        Difference("unfound", str(each.copy), f"was {each.how}, and no audit named it")
        for each in tampered
        if each.name not in named and newest(each.copy.entity_id) <= each.copy.version
    ]


def name_of(copy: Copy) -> Named:
    """Give the name by which audits know a copy."""
    return copy.where, copy.entity_id, copy.document
