"""What a drill does to copies behind the system's back, and what it holds the audits to."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Mapping
from typing import Any

import pytest

from freehold.drill.observed import Copy, Kept
from freehold.drill.tampering import How, Tampered, carry_out, choose, unfound

ADA = Copy("customers", "ada", 3, {"name": "Ada"})
GONE = Copy("customers", "bob", 2, {"name": None}, deleted=True)
ORDER = Copy("orders.customer", "ada", 3, {"name": "Ada"}, document="42")


def tampered(how: How, copy: Copy = ADA) -> Tampered:
    return Tampered(how, copy, "name", "wrong")


def chance(seed: int = 7) -> random.Random:
    return random.Random(seed)  # noqa: S311 - the same again is the point


class Editor:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.done: list[Any] = []

    def change(self, copy: Copy, changes: Mapping[str, Any]) -> bool:
        self.done.append((str(copy), changes))
        return True

    def delete(self, copy: Copy) -> bool:
        self.done.append((str(copy), "deleted"))
        return True

    def add(self, like: str, entity_id: str, changes: Mapping[str, Any]) -> bool:
        self.done.append((like, entity_id, changes))
        return True


def test_copies_of_both_kinds_are_chosen_by_seed_and_each_once() -> None:
    copies = [dataclasses.replace(ADA, entity_id=str(number)) for number in range(50)]
    kept = Kept(copies, [dataclasses.replace(ORDER, document=str(number)) for number in range(50)])
    chosen, again = (choose(kept, (), "name", 20, chance()) for _ in range(2))

    assert chosen == again
    assert len({each.name for each in chosen}) == len(chosen) == 40
    assert {each.how for each in chosen if not each.copy.document} == {"edited", "rolled back", "deleted", "added"}
    assert {each.how for each in chosen if each.copy.document} == {"edited", "rolled back"}


def test_what_was_tampered_with_already_is_left_alone() -> None:
    assert choose(Kept([ADA]), {tampered("edited").name}, "name", 5, chance()) == []


def test_what_lives_no_more_is_only_edited() -> None:
    """A tombstone that is taken away is none that an audit could miss, and its place is all that it has."""
    chosen = [choose(Kept([GONE]), (), "name", 1, chance(seed))[0] for seed in range(20)]

    assert {each.how for each in chosen} == {"edited"}


def test_one_that_is_added_is_like_another_but_for_its_id() -> None:
    editor = Editor()
    [added] = [
        each for seed in range(20) for each in choose(Kept([ADA]), (), "name", 1, chance(seed)) if each.how == "added"
    ][:1]
    carry_out(editor, added)

    assert editor.done == [("ada", added.copy.entity_id, {"name": added.wrong})]
    assert added.copy.entity_id != "ada"


def test_one_that_is_rolled_back_says_an_earlier_version() -> None:
    editor = Editor()
    carry_out(editor, tampered("rolled back", ORDER))

    assert editor.done == [("orders.customer 42, copy of ada", {"name": "wrong", "version": 2})]


@pytest.mark.parametrize(
    ("how", "found", "is_so"),
    [
        ("edited", Copy("customers", "ada", 3, {"name": "wrong"}), True),
        ("edited", Copy("customers", "ada", 4, {"name": "wrong"}), False),
        ("edited", ADA, False),
        ("rolled back", Copy("customers", "ada", 2, {"name": "wrong"}), True),
        ("rolled back", ADA, False),
        ("deleted", None, True),
        ("deleted", ADA, False),
        ("added", None, False),
    ],
)
def test_what_was_healed_meanwhile_need_not_be_found(how: How, found: Copy | None, is_so: bool) -> None:
    assert tampered(how).is_still_so(found) is is_so


def test_what_no_audit_names_is_told_unless_its_owner_went_on() -> None:
    left, overtaken, named = (
        tampered(how, dataclasses.replace(ADA, entity_id=how)) for how in ("edited", "deleted", "rolled back")
    )
    newest = {"edited": 3, "deleted": 4, "rolled back": 3}

    [found] = unfound([left, overtaken, named], {named.name}, newest.__getitem__)

    assert (found.kind, found.where) == ("unfound", "customers copy of edited")
