"""Ids are UUIDv7, unique, and ordered by time."""

import time
import uuid

from freehold.identifier import format_id, is_id, new_id


def test_new_ids_are_uuid_version_7_of_now() -> None:
    before_ms = time.time_ns() // 1_000_000
    made = uuid.UUID(new_id())
    after_ms = time.time_ns() // 1_000_000

    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before_ms <= made.int >> 80 <= after_ms


def test_ids_do_not_repeat() -> None:
    assert len({new_id() for _ in range(10_000)}) == 10_000


def test_later_id_sorts_behind() -> None:
    entropy_max = 2**80 - 1

    assert format_id(1_000, entropy_max) < format_id(1_001, 0)


def test_each_bit_of_entropy_but_six_counts() -> None:
    ids = {format_id(0, 1 << bit) for bit in range(80)} - {format_id(0, 0)}

    assert len(ids) == 74


def test_only_the_canonical_form_is_an_id() -> None:
    made = new_id()

    assert is_id(made)
    assert is_id(made.upper())
    for other in (f"{{{made}}}", made.replace("-", ""), f"urn:uuid:{made}", f"{made}\n", f" {made}", made[:-1], ""):
        assert not is_id(other), other
