"""The comparison that every fault ends with can fail: each promise is broken here once, and found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from freehold.drill.compare import compare, compare_erased
from freehold.drill.observed import Action, Copy, Fields, Kept, Outcome, Owned, Row, SentRecord, Write

ADA = {"name": "Ada", "email": "ada@a.example"}
ADA_2 = {"name": "Ada L.", "email": "ada@b.example"}
ADA_3 = {"name": "Ada Lovelace", "email": "ada@c.example"}
BOB = {"name": "Bob", "email": "bob@a.example"}


def written(action: Action, asked: Fields, entity_id: str, version: int | None) -> Write:
    return Write("user", action, asked, Outcome.ACKNOWLEDGED, entity_id, version)


def sent(offset: int, entity_id: str, version: int, fields: Fields, *, erases: bool = False) -> SentRecord:
    content = f"{entity_id} {version} {sorted(fields.items())} {erases}".encode()
    key = f"user/{entity_id}"
    return SentRecord(0, offset, key, f"{key}:1.{version}.0", version, 0, erases, fields, content)


class World:
    """A small system in which all is well: ada was created and renamed twice, bob was created and deleted."""

    def __init__(self) -> None:
        self.writes = [
            written(Action.CREATE, ADA, "ada", 1),
            written(Action.CREATE, BOB, "bob", 1),
            written(Action.CHANGE, ADA_2, "ada", 2),
            written(Action.DELETE, {}, "bob", None),
            written(Action.CHANGE, ADA_3, "ada", 3),
            replace(written(Action.CHANGE, {"name": "No"}, "bob", None), outcome=Outcome.REFUSED),
        ]
        self.rows = {"ada": Row("ada", 3, ADA_3), "bob": Row("bob", 2, {}, deleted=True)}
        self.records = [
            sent(0, "ada", 1, ADA),
            sent(1, "bob", 1, BOB),
            sent(2, "ada", 2, ADA_2),
            sent(3, "bob", 2, {}, erases=True),
            sent(4, "ada", 3, ADA_3),
        ]
        self.replica = [
            Copy("customers", "ada", 3, ADA_3),
            Copy("customers", "bob", 2, {"name": None, "email": None}, deleted=True),
        ]
        self.embedded = [
            Copy("orders/1", "ada", 3, ADA_3),
            Copy("orders/2", "bob", 2, {"name": None, "email": None}, deleted=True),
        ]

    def differences(self) -> list[str]:
        owned = Owned("user", self.rows, self.records)
        return [str(found) for found in compare(self.writes, [owned], {"user": [Kept(self.replica, self.embedded)]})]

    def kinds(self) -> set[str]:
        return {found.partition(":")[0] for found in self.differences()}

    def renumber(self, records: Sequence[SentRecord]) -> None:
        self.records = [replace(record, offset=offset) for offset, record in enumerate(records)]


@pytest.fixture
def world() -> World:
    return World()


def test_a_world_in_which_all_is_well_has_no_difference(world: World) -> None:
    assert world.differences() == []


def test_repeats_that_are_exact_copies_are_no_difference(world: World) -> None:
    world.renumber([*world.records[:3], *world.records[:3], *world.records[3:], world.records[2]])

    assert world.differences() == []


def test_a_write_that_was_never_answered_may_or_may_not_have_happened(world: World) -> None:
    lost_answer = replace(world.writes[4], outcome=Outcome.UNKNOWN, version=None)
    never_arrived = Write("user", Action.CREATE, {"name": "Eve"}, Outcome.UNKNOWN)
    world.writes = [*world.writes[:4], lost_answer, never_arrived]

    assert world.differences() == []


def test_a_creation_that_was_never_answered_may_have_made_a_row(world: World) -> None:
    world.writes[0] = replace(world.writes[0], outcome=Outcome.UNKNOWN, entity_id="", version=None)

    assert world.differences() == []


@pytest.mark.parametrize("gone", range(5))
def test_a_lost_event_is_found(world: World, gone: int) -> None:
    del world.records[gone]

    assert "lost" in world.kinds()


def test_a_lost_row_is_found(world: World) -> None:
    del world.rows["ada"]

    assert {"lost", "ghost"} <= world.kinds()


def test_a_write_that_the_row_forgot_is_found(world: World) -> None:
    world.rows["ada"] = Row("ada", 2, ADA_2)
    del world.records[4]
    world.replica[0] = world.embedded[0] = Copy("customers", "ada", 2, ADA_2)

    assert any("was acknowledged, and the row is at version 2" in found for found in world.differences())


def test_a_deletion_that_did_not_last_is_found(world: World) -> None:
    world.rows["bob"] = Row("bob", 2, BOB)

    assert any("the row is still there" in found for found in world.differences())


def test_a_repeat_with_other_bytes_is_found(world: World) -> None:
    world.records.append(replace(world.records[2], offset=5, content=b"other"))

    assert world.kinds() == {"doubled"}


def test_two_events_of_one_version_are_found(world: World) -> None:
    world.records.append(replace(world.records[4], offset=5, event_id="another", content=b"another"))

    assert "doubled" in world.kinds()


def test_one_write_that_took_effect_twice_is_found(world: World) -> None:
    """The same content at two versions: a transaction that was run again after it had committed."""
    again = replace(world.writes[4], outcome=Outcome.UNKNOWN, version=None)
    world.writes[4] = again
    world.records.append(sent(5, "ada", 4, ADA_3))
    world.rows["ada"] = Row("ada", 4, ADA_3)
    world.replica[0] = world.embedded[0] = Copy("customers", "ada", 4, ADA_3)

    assert world.kinds() == {"doubled"}


def test_a_creation_that_took_effect_twice_is_found(world: World) -> None:
    world.records.append(sent(5, "ada-again", 1, ADA))
    world.rows["ada-again"] = Row("ada-again", 1, ADA)
    world.replica.append(Copy("customers", "ada-again", 1, ADA))

    assert world.kinds() == {"ghost"}

    world.writes[0] = replace(world.writes[0], outcome=Outcome.UNKNOWN, entity_id="", version=None)

    assert world.kinds() == {"doubled"}


@pytest.mark.parametrize(("first", "second"), [(0, 2), (2, 4), (1, 3)])
def test_events_in_another_order_than_their_versions_are_found(world: World, first: int, second: int) -> None:
    records = list(world.records)
    records[first], records[second] = records[second], records[first]
    world.renumber(records)

    assert "reordered" in world.kinds()


def test_a_repeat_before_its_first_occurrence_is_no_way_out(world: World) -> None:
    """What counts is the first occurrence: version 3 before version 2 is out of order though it comes again later."""
    one, two, three = world.records[0], world.records[2], world.records[4]
    world.renumber([one, three, two, three, world.records[1], world.records[3]])

    assert "reordered" in world.kinds()


def test_an_entity_in_two_partitions_is_found(world: World) -> None:
    world.records[4] = replace(world.records[4], partition=1)

    assert world.kinds() == {"reordered"}


def test_an_event_whose_transaction_did_not_commit_is_found(world: World) -> None:
    world.records.append(sent(5, "ada", 4, {"name": "Nobody", "email": "never@a.example"}))

    assert world.kinds() == {"ghost"}


def test_an_event_of_a_refused_write_is_found(world: World) -> None:
    world.writes[2] = replace(world.writes[2], outcome=Outcome.REFUSED, version=None)

    assert world.kinds() == {"ghost"}


def test_a_row_and_an_event_that_nobody_asked_for_are_found(world: World) -> None:
    eve = {"name": "Eve", "email": "eve@a.example"}
    world.records.append(sent(5, "eve", 1, eve))
    world.rows["eve"] = Row("eve", 1, eve)
    world.replica.append(Copy("customers", "eve", 1, eve))

    assert world.kinds() == {"ghost"}


def test_a_row_without_an_event_is_found(world: World) -> None:
    world.rows["eve"] = Row("eve", 1, {"name": "Eve"})
    world.replica.append(Copy("customers", "eve", 1, {"name": "Eve"}))

    assert world.kinds() == {"lost"}


def test_a_row_that_is_not_what_its_newest_event_says_is_found(world: World) -> None:
    world.rows["ada"] = Row("ada", 3, ADA_2)

    assert "stale" in world.kinds()


@pytest.mark.parametrize("place", ["replica", "embedded"])
def test_a_stale_copy_is_found(world: World, place: str) -> None:
    getattr(world, place)[0] = Copy(place, "ada", 2, ADA_2)

    assert world.kinds() == {"stale"}


@pytest.mark.parametrize("place", ["replica", "embedded"])
def test_a_copy_with_the_right_version_and_other_fields_is_found(world: World, place: str) -> None:
    getattr(world, place)[0] = Copy(place, "ada", 3, ADA_2)

    assert world.kinds() == {"stale"}


@pytest.mark.parametrize("place", ["replica", "embedded"])
def test_a_surviving_personal_field_is_found(world: World, place: str) -> None:
    getattr(world, place)[1] = Copy(place, "bob", 2, {"name": None, "email": BOB["email"]}, deleted=True)

    assert world.kinds() == {"surviving"}


@pytest.mark.parametrize("place", ["replica", "embedded"])
def test_a_copy_that_did_not_hear_of_the_deletion_is_found(world: World, place: str) -> None:
    getattr(world, place)[1] = Copy(place, "bob", 1, BOB)

    assert world.kinds() == {"stale"}


def test_a_missing_and_a_doubled_copy_are_found(world: World) -> None:
    world.replica = [world.replica[0], world.replica[0]]

    assert world.kinds() == {"lost", "doubled"}


def test_a_copy_of_nothing_is_found(world: World) -> None:
    world.embedded.append(Copy("orders/3", "eve", 1, ADA))

    assert world.kinds() == {"ghost"}


def test_an_erased_value_is_found_in_raw_bytes() -> None:
    places = {"orders/freehold_positions": b"...", "orders/keys": b'\x00{"mail":"bob@a.example"}\x00'}

    assert [found.where for found in compare_erased(["bob@a.example", "Bob B."], places)] == ["orders/keys"]
    assert list(compare_erased(["Bob B."], places)) == []
