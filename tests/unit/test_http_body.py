"""A body is JSON as declared, or it is refused by the field's name."""

from typing import Annotated

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as some

from freehold.http.body import Body, check_text, decode_body
from freehold.http.problem import Problem

JSON = "application/json"


class Line(Body, frozen=True):
    sku: Annotated[str, msgspec.Meta(min_length=1, max_length=20)]
    quantity: Annotated[int, msgspec.Meta(ge=1, le=10_000)]


class Order(Body, frozen=True):
    user_id: str
    lines: Annotated[list[Line], msgspec.Meta(min_length=1, max_length=3)]
    notes: dict[str, str] = msgspec.field(default_factory=dict)


GOOD = b'{"user_id": "42", "lines": [{"sku": "a", "quantity": 1}]}'


def refusal(raw: bytes, content_type: str | None = JSON) -> tuple[int, str]:
    with pytest.raises(Problem) as refused:
        decode_body(raw, content_type, Order)
    errors = refused.value.errors
    return refused.value.status, errors[0].pointer if errors else ""


def test_a_good_body_is_read() -> None:
    assert decode_body(GOOD, JSON, Order) == Order(user_id="42", lines=[Line(sku="a", quantity=1)])


@pytest.mark.parametrize(
    "content_type",
    [None, JSON, "Application/JSON; charset=UTF-8", 'application/json;charset="utf-8"', "application/vnd.x+json"],
)
def test_json_types_are_taken(content_type: str | None) -> None:
    assert decode_body(GOOD, content_type, Order).user_id == "42"


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/xml", "application/json; charset=latin-1", "", "json", "text/x+json"]
)
def test_other_types_are_refused(content_type: str) -> None:
    assert refusal(GOOD, content_type) == (415, "Content-Type")


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        (b'{"lines": [{"sku": "a", "quantity": 1}]}', "/user_id"),
        (b'{"user_id": 42, "lines": []}', "/user_id"),
        (b'{"user_id": "42", "lines": []}', "/lines"),
        (b'{"user_id": "42", "lines": [{"sku": "a", "quantity": 0}]}', "/lines/0/quantity"),
        (b'{"user_id": "42", "lines": [{"sku": "a", "quantity": 1}, {"sku": "", "quantity": 1}]}', "/lines/1/sku"),
        (b'{"user_id": "42", "lines": [{"sku": "a", "quantity": 1.5}]}', "/lines/0/quantity"),
        (b'{"user_id": "42", "lines": [{"sku": "a", "quantity": true}]}', "/lines/0/quantity"),
        (b'{"user_id": "42", "lines": [{"sku": "a", "quantity": 1e400}]}', "/lines/0/quantity"),
        (b'{"user_id": "42", "lines": [{"sku": "a", "quantity": 99999999999999999999}]}', "/lines/0/quantity"),
        (b'{"user_id": "42", "lines": [{"sku": "a", "quantity": 1, "a/b~": 1}]}', "/lines/0/a~1b~0"),
        (b'{"user_id": "42", "lines": [], "admin": true}', "/lines"),
        (b"[]", ""),
        (b"null", ""),
        (b'"text"', ""),
    ],
)
def test_json_that_does_not_fit_is_refused_by_the_field(raw: bytes, pointer: str) -> None:
    assert refusal(raw) == (422, pointer)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"user_id"',
        b"{]",
        b"{'user_id': 1}",
        b"\xff\xfe",
        b'{"user_id": "\xff", "lines": []}',
        b"NaN",
        b"[" * 100_000,
        GOOD + b" x",
        b"\xef\xbb\xbf" + GOOD,
    ],
)
def test_what_is_no_json_is_malformed(raw: bytes) -> None:
    assert refusal(raw)[0] == 400


def test_malformed_json_names_the_place() -> None:
    with pytest.raises(Problem, match="byte 13, line 2"):
        decode_body(b'{"user_id":\n ]', JSON, Order)


@pytest.mark.parametrize(
    ("raw", "pointer"),
    [
        (b'{"user_id": "1", "user_id": "2", "lines": [{"sku": "a", "quantity": 1}]}', "/user_id"),
        (b'{"user_id": "1", "lines": [{"sku": "a", "sku": "a", "quantity": 1}]}', "/sku"),
        (b'{"user_id": "1", "user\\u005fid": "2", "lines": [{"sku": "a", "quantity": 1}]}', "/user_id"),
        (b'{"user_id": "1", "notes": {"x": "", "x": ""}, "lines": [{"sku": "a", "quantity": 1}]}', "/x"),
    ],
)
def test_a_key_twice_is_refused_by_name(raw: bytes, pointer: str) -> None:
    assert refusal(raw) == (400, pointer)


@pytest.mark.parametrize(
    "character", ["\\u0000", "\\uffff", "\\ufffe", "\uffff", "\U0001ffff", "\ufdd0", "\\ud83f\\udfff"]
)
def test_text_that_cannot_be_kept_is_refused_by_the_field(character: str) -> None:
    raw = f'{{"user_id": "a{character}b", "lines": [{{"sku": "a", "quantity": 1}}]}}'.encode()

    assert refusal(raw) == (422, "/user_id")


@pytest.mark.parametrize("escape", ["\\ud800", "\\udc00", "\\ud800x", "\\udc00\\ud800"])
def test_a_lone_surrogate_is_refused(escape: str) -> None:
    raw = f'{{"user_id": "{escape}", "lines": [{{"sku": "a", "quantity": 1}}]}}'.encode()

    assert refusal(raw)[0] in {400, 422}


@pytest.mark.parametrize("name", ["\\u0000", "\\uffff"])
def test_a_key_that_cannot_be_kept_is_refused(name: str) -> None:
    raw = f'{{"user_id": "1", "notes": {{"{name}": ""}}, "lines": [{{"sku": "a", "quantity": 1}}]}}'.encode()

    assert refusal(raw)[0] == 422


@pytest.mark.parametrize("text", ["é", "日本", "😀", "e\u0301", "\u202e", "\u0001"])
def test_strange_text_that_can_be_kept_is_taken(text: str) -> None:
    assert check_text(text, "/name") == text


@given(raw=some.binary(max_size=200))
def test_any_bytes_are_a_body_or_a_problem(raw: bytes) -> None:
    with pytest.raises(Problem) as refused:
        decode_body(raw, JSON, Order)

    assert 400 <= refused.value.status < 500
    refused.value.body(instance="/", trace_id="0")


@given(text=some.text())
def test_any_text_is_taken_or_refused_and_never_fails(text: str) -> None:
    raw = msgspec.json.encode({"user_id": text, "lines": [{"sku": "a", "quantity": 1}]})

    storable = not any(ord(c) == 0 or 0xFDD0 <= ord(c) <= 0xFDEF or ord(c) & 0xFFFE == 0xFFFE for c in text)

    if storable:
        assert decode_body(raw, JSON, Order).user_id == text
    else:
        assert refusal(raw) == (422, "/user_id")
