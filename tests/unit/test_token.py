"""A token says what was written, cannot be changed, and is never too long."""

import base64
import time

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from freehold.event import OutboxRow
from freehold.http.token import (
    ENTITIES_MAX,
    LIFE_S,
    TOKEN_CHARACTERS_MAX,
    TOKENS_MAX,
    BadToken,
    ForeignToken,
    TokenKey,
    Written,
    furthest,
    merge,
)
from freehold.http.written import Notes

NOW = 1_800_000_000
KEY = TokenKey("a secret of the system")
OTHER = TokenKey("another system's secret")

numbers = some.integers(0, 2**53)
written = some.builds(
    Written,
    some.sampled_from(["users", "orders", "payments"]),
    some.text(min_size=1, max_size=40).map(lambda text: f"user/{text}"),
    numbers,
    numbers,
    numbers,
    some.integers(NOW - LIFE_S, NOW),
)
# Few entities, so that they meet.
meeting = some.builds(
    Written,
    some.sampled_from(["users", "orders"]),
    some.sampled_from(["user/1", "user/2", "user/3"]),
    some.integers(1, 3),
    some.integers(1, 5),
    some.integers(0, 2),
    some.integers(NOW - 2 * LIFE_S, NOW + 2 * LIFE_S),
)


def at(version: int, key: str = "user/42", *, seconds: int = NOW, epoch: int = 1) -> Written:
    return Written("users", key, epoch, version, 0, seconds)


@given(some.lists(written, max_size=100))
def test_token_reads_as_it_was_minted_and_goes_into_a_header(entities: list[Written]) -> None:
    kept, left_out = merge(entities, NOW)

    token = KEY.mint(kept)

    assert KEY.read(token) == kept
    assert len(token) <= TOKEN_CHARACTERS_MAX
    assert token.replace("-", "").replace("_", "").isalnum()
    assert len(kept) + left_out == len({(each.service, each.key) for each in entities})


@given(some.lists(meeting, max_size=30))
def test_merging_keeps_the_furthest_place_of_each_entity_that_is_not_too_old(entities: list[Written]) -> None:
    fresh = [each for each in entities if abs(NOW - each.at) <= LIFE_S]
    expected: dict[tuple[str, str], object] = {}
    for each in fresh:
        name = each.service, each.key
        expected[name] = max(expected.get(name, each.place), each.place)  # type: ignore[call-overload]

    found = furthest(entities, NOW)

    assert {(each.service, each.key): each.place for each in found} == expected
    assert [each.at for each in found] == sorted((each.at for each in found), reverse=True)
    assert furthest(found, NOW) == found


@given(some.lists(written, min_size=1, max_size=5), some.data())
def test_token_that_was_changed_anywhere_is_never_read(entities: list[Written], data: some.DataObject) -> None:
    token = KEY.mint(merge(entities, NOW)[0])
    place = data.draw(some.integers(0, len(token) - 1))
    letter = data.draw(some.sampled_from("ABCxyz0189-_").filter(lambda each: each != token[place]))

    with pytest.raises((BadToken, ForeignToken)):
        KEY.read(token[:place] + letter + token[place + 1 :])


@given(some.text(max_size=100) | some.binary(max_size=100).map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
def test_any_text_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises((BadToken, ForeignToken)):
        KEY.read(text)


def test_token_that_is_cut_or_too_long_is_none() -> None:
    token = KEY.mint([at(7)])

    for text in (token[:-1], token[:10], token + "A", "A" * (TOKEN_CHARACTERS_MAX + 1), ""):
        with pytest.raises((BadToken, ForeignToken)):
            KEY.read(text)


def test_signed_token_of_more_entities_than_any_has_is_none() -> None:
    with pytest.raises(BadToken):
        KEY.read(KEY.mint([at(1, f"u/{number}") for number in range(ENTITIES_MAX + 1)]))


def test_token_of_another_key_is_foreign_and_left_out_of_a_header() -> None:
    foreign, own = OTHER.mint([at(9)]), KEY.mint([at(7)])

    with pytest.raises(ForeignToken):
        KEY.read(foreign)
    assert KEY.read_all(f"{foreign}, {own}") == [at(7)]


def test_several_tokens_are_read_together_up_to_a_number() -> None:
    tokens = [KEY.mint([at(version)]) for version in range(1, TOKENS_MAX + 2)]

    assert len(KEY.read_all(",".join(tokens[:TOKENS_MAX]))) == TOKENS_MAX
    with pytest.raises(BadToken):
        KEY.read_all(",".join(tokens))


def test_higher_epoch_is_further_whatever_the_version() -> None:
    assert furthest([at(9), at(2, epoch=2)], NOW) == [at(2, epoch=2)]


def test_what_is_too_old_or_from_far_ahead_is_dropped() -> None:
    kept = [at(1, "user/a", seconds=NOW - LIFE_S), at(1, "user/b", seconds=NOW + LIFE_S)]
    dropped = [at(1, "user/c", seconds=NOW - LIFE_S - 1), at(1, "user/d", seconds=NOW + LIFE_S + 1)]

    assert furthest([*kept, *dropped], NOW) == [kept[1], kept[0]]


def test_what_was_written_last_is_kept_and_what_is_left_out_is_counted() -> None:
    old = [at(1, f"user/{number}", seconds=NOW - 60) for number in range(ENTITIES_MAX)]
    new = [at(1, f"order/{number}") for number in range(5)]

    kept, left_out = merge([*new, *old], NOW)

    assert kept == [*new, *old[: ENTITIES_MAX - 5]]
    assert left_out == 5


def test_entities_with_the_longest_keys_fit_as_far_as_the_token_does() -> None:
    long = [at(2**62, f"user/{'x' * 995}", epoch=2**62), at(1, f"user/{'y' * 995}", seconds=NOW - 1)]

    kept, left_out = merge(long, NOW)

    assert (kept, left_out) == (long[:1], 1)
    assert len(KEY.mint(kept)) <= TOKEN_CHARACTERS_MAX


def test_token_shows_nothing_of_its_key() -> None:
    assert b"secret" not in base64.urlsafe_b64decode(KEY.mint([at(7)]) + "===")


def test_notes_list_the_last_place_of_each_entity_the_last_first() -> None:
    notes = Notes()
    assert not notes

    notes.add("users", 1, [row("user/1", 4, 0), row("user/2", 1, 1)])
    notes.add("users", 1, [row("user/1", 5, 0), row("user/1", 5, 1)])
    listed, more = notes.close(NOW + 0.9)

    assert listed == [Written("users", "user/1", 1, 5, 1, NOW), Written("users", "user/2", 1, 1, 1, NOW)]
    assert more == 0


def test_notes_of_a_large_transaction_are_bounded_and_say_how_many_more() -> None:
    notes = Notes()
    notes.add("users", 1, [row(f"user/{number}", 1, number) for number in range(1_000)])

    listed, more = notes.close(time.time())

    assert [each.key for each in listed] == [f"user/{999 - number}" for number in range(ENTITIES_MAX)]
    assert more == 1_000 - ENTITIES_MAX


def test_what_is_committed_after_the_answer_began_is_not_kept() -> None:
    notes = Notes()
    notes.close(NOW)

    notes.add("users", 1, [row("user/1", 1, 0)])

    assert not notes


def row(key: str, version: int, index: int) -> OutboxRow:
    return OutboxRow(key, version, index, "users.UserUpdated", msgspec.msgpack.encode([]), b"{}")
