"""Cursors cannot be made, changed or used elsewhere; `limit` is a whole number within its bound."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as some

from freehold.http.cursor import decode_cursor, derive_key, encode_cursor, parse_limit, signing_key
from freehold.http.problem import Problem

KEY = derive_key("postgresql://users:secret@host/users")


@pytest.fixture(autouse=True)
def _key() -> Iterator[None]:
    token = signing_key.set(KEY)
    yield
    signing_key.reset(token)


def test_cursor_comes_back() -> None:
    cursor = encode_cursor("orders of 42", ["2026-01-01", "7"])

    assert decode_cursor("orders of 42", cursor, list[str]) == ["2026-01-01", "7"]
    assert cursor.replace("-", "").replace("_", "").isalnum()


def test_instances_agree_and_others_do_not() -> None:
    cursor = encode_cursor("users", "7")
    signing_key.set(derive_key("another store"))

    with pytest.raises(Problem):
        decode_cursor("users", cursor, str)


def test_a_cursor_of_another_list_is_refused() -> None:
    cursor = encode_cursor("orders of 42", "7")

    with pytest.raises(Problem) as refused:
        decode_cursor("orders of 43", cursor, str)

    assert refused.value.status == 400
    assert refused.value.errors[0].pointer == "cursor"


@given(position=some.integers(0, 60), character=some.sampled_from("AZaz09-_"))
def test_any_change_is_refused(position: int, character: str) -> None:
    signing_key.set(KEY)
    cursor = encode_cursor("users", "a position")
    at = position % len(cursor)
    changed = cursor[:at] + character + cursor[at + 1 :]

    if changed != cursor:
        with pytest.raises(Problem):
            decode_cursor("users", changed, str)


@given(text=some.text(max_size=100))
def test_any_text_is_a_cursor_or_a_problem(text: str) -> None:
    signing_key.set(KEY)

    with pytest.raises(Problem):
        decode_cursor("users", text, str)


def test_a_cursor_with_another_type_inside_is_refused() -> None:
    with pytest.raises(Problem):
        decode_cursor("users", encode_cursor("users", 7), str)


@pytest.mark.parametrize(("text", "limit"), [(None, 50), ("1", 1), ("500", 500), ("007", 7)])
def test_limit_is_read(text: str | None, limit: int) -> None:
    assert parse_limit(text, usual=50, most=500) == limit


@pytest.mark.parametrize("text", ["", "0", "501", "-1", "+1", "1.0", "1_0", " 1", "\u0661", "9" * 5_000, "0000000001"])
def test_another_limit_is_refused_by_name(text: str) -> None:
    with pytest.raises(Problem) as refused:
        parse_limit(text, usual=50, most=500)

    assert (refused.value.status, refused.value.errors[0].pointer) == (400, "limit")
