"""Older forms of an event are read as the form that a reader has now, or refused by name."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.errors import DeclarationError, EventRejected
from freehold.upcast import Reader, Upcasts, check_upcasts

SECRET = "Zebulon"


def join_names(data: dict[str, Any]) -> dict[str, Any]:
    return {"id": data["id"], "name": f"{data['given']} {data['family']}"}


def add_kind(data: dict[str, Any]) -> dict[str, Any]:
    data["kind"] = "person"
    return data


class User(msgspec.Struct):
    __schema__: ClassVar[int] = 3
    __upcasts__: ClassVar[Upcasts] = {1: join_names, 2: add_kind}
    id: str
    name: str
    kind: Literal["person", "company"]


def fail_with_the_data(data: dict[str, Any]) -> dict[str, Any]:
    raise ValueError(data["name"])


class Failing(msgspec.Struct):
    __schema__: ClassVar[int] = 2
    __upcasts__: ClassVar[Upcasts] = {1: fail_with_the_data}
    id: str


@pytest.mark.parametrize(
    ("schema", "data"),
    [
        (1, b'{"id":"1","given":"Ada","family":"King"}'),
        (2, b'{"id":"1","name":"Ada King"}'),
        (3, b'{"id":"1","name":"Ada King","kind":"person"}'),
    ],
)
def test_each_older_form_is_read_as_the_present_one(schema: int, data: bytes) -> None:
    assert Reader(User).read(data, schema) == User("1", "Ada King", "person")


@pytest.mark.parametrize(
    ("cls", "schema", "data", "said"),
    [
        (User, 4, b"{}", "it has schema 4, and User here reads schema 3; run a release whose User reads schema 4"),
        (User, 0, b"{}", "it has schema 0, and User here reads schema 3; give User the upcast of 0"),
        (User, 1, b'{"id":"1"}', "User's upcast of schema 1 raised KeyError; mend it, the event waits"),
        (User, 1, b"[]", "its data is refused: it is no JSON object"),
        (User, 1, b"{", "its data is refused: Input data was truncated"),
        (User, 2, b'{"id":"1","name":7}', "its data is refused: Expected `str`, got `int` - at `$.name`"),
        (User, 3, b'{"id":"1","name":"\xff","kind":"person"}', "its data is refused"),
    ],
)
def test_what_cannot_be_read_is_refused_with_what_to_do(
    cls: type[msgspec.Struct], schema: int, data: bytes, said: str
) -> None:
    with pytest.raises(EventRejected) as caught:
        Reader(cls).read(data, schema)

    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("cls", "schema", "data"),
    [
        (User, 3, {"id": "1", "name": "x", "kind": SECRET}),
        (User, 3, {"id": "1", "name": "x", "kind": f"{SECRET} - at `$.id`"}),
        (User, 3, {"id": [SECRET], "name": "x", "kind": "person"}),
        (Failing, 1, {"id": "1", "name": SECRET}),
    ],
)
def test_refusal_says_nothing_of_what_the_data_holds(cls: type[msgspec.Struct], schema: int, data: Any) -> None:
    with pytest.raises(EventRejected) as caught:
        Reader(cls).read(msgspec.json.encode(data), schema)

    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


@given(st.binary() | st.recursive(st.none() | st.text() | st.integers(), st.lists).map(msgspec.json.encode))
@pytest.mark.parametrize("schema", [1, 2, 3, 4])
def test_any_data_is_read_or_refused(schema: int, data: bytes) -> None:
    try:
        found = Reader(User).read(data, schema)
    except EventRejected:
        return
    assert isinstance(found, User)


async def ask_somebody(data: dict[str, Any]) -> dict[str, Any]:
    return data


@pytest.mark.parametrize(
    ("schema", "upcasts", "said"),
    [
        (3, {1: join_names}, "its upcasts begin with 1; give one for each number from the oldest"),
        (3, {2: add_kind, 3: add_kind}, "begin with 2, 3"),
        (1, {0: add_kind}, "begin with 0"),
        (2, {1: ask_somebody}, "the upcast of schema 1 is not a plain function"),
        (2, {1: "join_names"}, "the upcast of schema 1 is not a plain function"),
    ],
)
def test_upcasts_that_lead_nowhere_are_refused_where_they_are_declared(
    schema: int, upcasts: dict[int, Any], said: str
) -> None:
    cls = msgspec.defstruct("User", [("id", str)], namespace={"__schema__": schema, "__upcasts__": upcasts})

    with pytest.raises(DeclarationError, match=said):
        check_upcasts(cls)


def test_oldest_forms_may_be_left_behind() -> None:
    cls = msgspec.defstruct("User", [("id", str)], namespace={"__schema__": 3, "__upcasts__": {2: add_kind}})

    check_upcasts(cls)
    with pytest.raises(EventRejected, match="it has schema 1, and User here reads schema 3"):
        Reader(cls).read(b"{}", 1)
