"""What can be done to users, each in one statement: functions that are run in a transaction, perhaps again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from freehold.http.conditional import expected_versions, make_etag, precondition
from freehold.http.problem import Problem
from systems.database_per_service.users.events import UserCreated, UserDeleted, UserUpdated
from systems.database_per_service.users.person import Change, User

# A row that is there already is left alone, for a demo that is written again; an id of our own making never is.
_CREATE = """
INSERT INTO users (id, name, email)
SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[])
ON CONFLICT (id) DO NOTHING
RETURNING id, name, email, version
"""
_CHANGE = """
UPDATE users SET name = $2, email = $3, version = version + 1
WHERE id = $1 AND deleted_at IS NULL AND ($4::bigint[] IS NULL OR version = ANY ($4))
  AND (name, email) IS DISTINCT FROM ($2, $3)
RETURNING id, name, email, version
"""
_DELETE = """
UPDATE users SET name = NULL, email = NULL, deleted_at = now(), version = version + 1
WHERE id = $1 AND deleted_at IS NULL AND ($2::bigint[] IS NULL OR version = ANY ($2))
RETURNING id, version
"""
_READ = "SELECT id, name, email, version FROM users WHERE id = $1 AND deleted_at IS NULL"
_LIST = "SELECT id, name, email, version FROM users WHERE deleted_at IS NULL AND id > $1 ORDER BY id LIMIT $2"
_BEFORE_ALL = "00000000-0000-0000-0000-000000000000"


async def create(tx: Any, people: Sequence[tuple[str, Change]]) -> list[User]:
    """Make users of these ids and people.

    Raises:
        asyncpg.UniqueViolationError: An email address is somebody else's.
    """
    columns = zip(*((user_id, person.name, person.email) for user_id, person in people), strict=True)
    rows = await tx.fetch(_CREATE, *columns)
    for row in rows:
        tx.publish(UserCreated, row)
    return [_user(row) for row in rows]


async def change(tx: Any, user_id: str, person: Change, if_match: str | None) -> User:
    """Give a user this name and email address; the same again is no new version and no event.

    Raises:
        Problem: 404 or 412.
        asyncpg.UniqueViolationError: The email address is somebody else's.
    """
    row = await tx.fetchrow(_CHANGE, user_id, person.name, person.email, expected_versions(if_match))
    if row is None:
        return await _standing(tx, user_id, if_match)
    tx.publish(UserUpdated, row)
    return _user(row)


async def delete(tx: Any, user_id: str, if_match: str | None) -> None:
    """Delete a user: the id and version stay, the person is erased here and, by the event, everywhere.

    Raises:
        Problem: 404 or 412.
    """
    row = await tx.fetchrow(_DELETE, user_id, expected_versions(if_match))
    if row is None:
        await _standing(tx, user_id, if_match)
    else:
        tx.publish(UserDeleted, row)


async def read(reader: Any, user_id: str) -> User:
    """Read a user from a transaction or from the store.

    Raises:
        Problem: 404.
    """
    row = await reader.fetchrow(_READ, user_id)
    if row is None:
        raise Problem(404, f"there is no user {user_id}", type="user-unknown")
    return _user(row)


async def page(reader: Any, after: str | None, limit: int) -> list[User]:
    """Read up to `limit` users behind the id `after`, in the order in which they were made."""
    return [_user(row) for row in await reader.fetch(_LIST, after or _BEFORE_ALL, limit)]


async def _standing(tx: Any, user_id: str, if_match: str | None) -> User:
    # The write found no row: there is no such user, it is at another version, or (a change) it is so already.
    user = await read(tx, user_id)
    precondition(if_match, make_etag(user.version))
    return user


def _user(row: Any) -> User:
    return User(str(row["id"]), row["name"], row["email"], row["version"])
