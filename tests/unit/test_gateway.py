"""Where an address leads, and what a gateway cannot be declared as."""

import pytest

from freehold.errors import ConfigurationError, DeclarationError
from freehold.gateway import Composition, Forward, Gateway, Part
from freehold.gateway.route import Table
from freehold.gateway.upstream import passed_on

OVERVIEW = Composition("/users/{id}/overview", parts={"user": Part("users", "/users/{id}")})
USERS, ADMIN = Forward("/users", to="users"), Forward("/users/admin", to="admin")
GATEWAY = Gateway(name="gateway", routes=[USERS, ADMIN], compositions=[OVERVIEW])


def find(path: str) -> object:
    return Table(GATEWAY).find(path, path.encode())


def test_longer_prefix_wins_and_a_composition_comes_first() -> None:
    assert find("/users") is USERS
    assert find("/users/7") is USERS
    assert find("/users/admin") is ADMIN
    assert find("/users/admin/7") is ADMIN
    assert find("/users/7/overview") == (OVERVIEW, {"id": "7"})


@pytest.mark.parametrize(
    "path",
    ["", "/", "/user", "/usersx", "/users/", "/users//7", "/users/./7", "/users/../7", "/users/a\\b", "/users/\n"],
)
def test_address_that_leads_nowhere(path: str) -> None:
    assert find(path) is None


def test_encoded_slash_leads_nowhere() -> None:
    assert Table(GATEWAY).find("/users/a/overview", b"/users%2fa/overview") is None


def test_value_in_a_path_is_encoded_again() -> None:
    part = Part("orders", "/orders?user_id={id}&limit=20")

    assert part.filled({"id": "a&limit=1#?/\u00e9"}) == "/orders?user_id=a%26limit%3D1%23%3F%2F%C3%A9&limit=20"


def test_upstreams_are_named_once() -> None:
    assert GATEWAY.upstreams() == ["admin", "users"]


@pytest.mark.parametrize(
    ("declare", "named"),
    [
        (lambda: Forward("users", to="users"), "users"),
        (lambda: Forward("/users/", to="users"), "/users/"),
        (lambda: Composition("/a/{id}", parts={"user": Part("users", "/users/{other}")}), "other"),
        (lambda: Composition("/a", parts={"missing": Part("users", "/users")}), "missing"),
        (lambda: Composition("/a", parts={}, deadline_s=0), "deadline_s"),
    ],
)
def test_gateway_that_cannot_be_is_refused_by_name(declare, named: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(DeclarationError, match=named):
        declare()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "users:80",
        "ftp://users",
        "http://",
        "http://u:secret@users",
        "http://users/path",
        "http://users:x",
        "http://users:0",
    ],
)
def test_upstream_that_is_none_is_refused_by_its_variable(url: str) -> None:
    with pytest.raises(ConfigurationError, match="FREEHOLD_UPSTREAM_USERS") as refused:
        GATEWAY.app({"users": url, "admin": "http://127.0.0.1:1"})

    assert "secret" not in str(refused.value)


def test_headers_of_one_connection_are_not_passed_on() -> None:
    headers = [
        (b"Connection", b"close, X-Own"),
        (b"X-Own", b"1"),
        (b"Transfer-Encoding", b"chunked"),
        (b"Upgrade", b"h2c"),
        (b"ETag", b'"1"'),
        (b"Date", b"now"),
    ]

    assert passed_on(headers, frozenset({b"date"})) == [(b"etag", b'"1"')]
