"""The HTTP side of users."""

from __future__ import annotations

from typing import Annotated, Any

import asyncpg
import msgspec

from freehold.http.api import Api
from freehold.http.conditional import make_etag
from freehold.http.cursor import decode_cursor, encode_cursor, parse_limit
from freehold.http.operation import Answer, Operation, Parameter, Request
from freehold.http.problem import Fault, Problem
from freehold.identifier import new_id
from systems.database_per_service.users import users
from systems.database_per_service.users.person import Change, User, UserPage
from systems.database_per_service.users.store import store

PAGE_USERS = 50
PAGE_USERS_MAX = 500

_IF_MATCH = Parameter("If-Match", "header", str, "Only if the user is still as this ETag says; otherwise 412.")
_IF_NONE_MATCH = Parameter("If-None-Match", "header", str, "304 if the user is still as this ETag says.")
_LIMIT = Annotated[int, msgspec.Meta(ge=1, le=PAGE_USERS_MAX)]


async def _create(request: Request) -> Answer:
    user_id = new_id()
    [user] = await _write(users.create, [(user_id, request.body)])
    return _answer(user, 201, ((b"location", f"/users/{user_id}".encode()),))


async def _list(request: Request) -> Answer:
    limit = parse_limit(request.query.get("limit"), usual=PAGE_USERS, most=PAGE_USERS_MAX)
    cursor = request.query.get("cursor")
    after = None if cursor is None else decode_cursor("users", cursor, str)
    found = await users.page(store, after, limit + 1)
    following = encode_cursor("users", found[limit - 1].id) if len(found) > limit else None
    return Answer(body=UserPage(found[:limit], following))


async def _read(request: Request) -> Answer:
    return _answer(await users.read(store, request.id()))


async def _change(request: Request) -> Answer:
    return _answer(await _write(users.change, request.id(), request.body, request.header(b"if-match")))


async def _delete(request: Request) -> Answer:
    await store.transact(users.delete, request.id(), request.header(b"if-match"))
    return Answer(status=204)


async def _write(run: Any, *values: Any) -> Any:
    try:
        return await store.transact(run, *values)
    except asyncpg.UniqueViolationError as error:
        raise Problem(
            409,
            "this email address belongs to another user",
            type="email-taken",
            errors=[Fault("/email", "belongs to another user")],
        ) from error


def _answer(user: User, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = ()) -> Answer:
    return Answer(status=status, body=user, etag=make_etag(user.version), headers=headers)


_UNKNOWN = {404: "There is no such user, or no more."}
_CHANGED = {412: "The user is not as If-Match says."}
_TAKEN = {409: "The email address belongs to another user; case makes no difference."}

app = Api(
    title="users",
    operations=[
        Operation(
            "POST",
            "/users",
            _create,
            id="createUser",
            summary="Make a user",
            body=Change,
            answers={201: User},
            problems=_TAKEN,
        ),
        Operation(
            "GET",
            "/users",
            _list,
            id="listUsers",
            summary="List users in the order in which they were made",
            answers={200: UserPage},
            parameters=[
                Parameter("limit", "query", _LIMIT, f"Most users to answer; {PAGE_USERS} unless given."),
                Parameter("cursor", "query", str, "`next` of the page before."),
            ],
        ),
        Operation(
            "GET",
            "/users/{id}",
            _read,
            id="readUser",
            summary="Read a user",
            answers={200: User, 304: None},
            problems=_UNKNOWN,
            parameters=[_IF_NONE_MATCH],
        ),
        Operation(
            "PUT",
            "/users/{id}",
            _change,
            id="changeUser",
            summary="Give a user a name and an email address; the same again is no new version",
            body=Change,
            answers={200: User},
            problems=_UNKNOWN | _TAKEN | _CHANGED,
            parameters=[_IF_MATCH],
        ),
        Operation(
            "DELETE",
            "/users/{id}",
            _delete,
            id="deleteUser",
            summary="Delete a user; the person is erased from every copy, orders stay",
            answers={204: None},
            problems=_UNKNOWN | _CHANGED,
            parameters=[_IF_MATCH],
        ),
    ],
)
