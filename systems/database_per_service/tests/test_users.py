"""What clients of users are promised."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import Any

import asyncpg
import pytest

from freehold.identifier import new_id
from freehold.testing import TestedService
from systems.database_per_service.tests.shop import new_email

pytestmark = pytest.mark.asyncio(loop_scope="module")


def person(name: str = "Ada Lovelace", email: str | None = None) -> dict[str, str]:
    return {"name": name, "email": email or new_email()}


async def make(service: TestedService, email: str | None = None) -> dict[str, Any]:
    answer = await service.client.post("/users", json=person(email=email))
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def renamed(user: dict[str, Any], name: str = "Ada King") -> dict[str, str]:
    return {"name": name, "email": user["email"]}


async def outbox_types(service: TestedService, user: dict[str, Any]) -> list[str]:
    query = "SELECT type FROM freehold.outbox WHERE key = $1 ORDER BY version, index"
    return [row["type"] for row in await service.service.store.fetch(query, f"user/{user['id']}")]


async def test_created_user_can_be_read_at_the_location(api: TestedService) -> None:
    ada = person()
    made = await api.client.post("/users", json=ada)
    read = await api.client.get(made.headers["location"])

    assert made.status_code == 201
    assert made.json() == ada | {"id": read.json()["id"], "version": 1}
    assert uuid.UUID(made.json()["id"]).version == 7
    assert read.json() == made.json()
    assert made.headers["etag"] == read.headers["etag"] == '"1"'


async def test_changed_user_has_the_next_version(api: TestedService) -> None:
    user = await make(api)

    answer = await api.client.put(f"/users/{user['id']}", json=renamed(user))

    assert (answer.status_code, answer.json()["name"], answer.json()["version"]) == (200, "Ada King", 2)
    assert answer.headers["etag"] == '"2"'
    assert await outbox_types(api, user) == ["users.UserCreated", "users.UserUpdated"]


async def test_same_content_is_no_new_version_and_no_event(api: TestedService) -> None:
    user = await make(api)

    answer = await api.client.put(f"/users/{user['id']}", json=renamed(user, user["name"]))

    assert (answer.status_code, answer.json(), answer.headers["etag"]) == (200, user, '"1"')
    assert await outbox_types(api, user) == ["users.UserCreated"]


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
@pytest.mark.parametrize(
    ("if_match", "status"),
    [('"1"', 200), ('"7", "1"', 200), ("*", 200), ('"2"', 412), ('W/"1"', 412), ('"one"', 412), ("1", 400)],
)
async def test_if_match_guards_a_change(api: TestedService, method: str, if_match: str, status: int) -> None:
    user = await make(api)
    body = renamed(user) if method == "PUT" else None

    answer = await api.client.request(method, f"/users/{user['id']}", json=body, headers={"If-Match": if_match})

    assert answer.status_code == (204 if method == "DELETE" and status == 200 else status), answer.text
    if status == 412:
        assert answer.headers["etag"] == '"1"'
        assert answer.json()["errors"][0]["pointer"] == "If-Match"


async def test_if_match_guards_also_what_would_change_nothing(api: TestedService) -> None:
    user = await make(api)

    answer = await api.client.put(f"/users/{user['id']}", json=renamed(user, user["name"]), headers={"If-Match": '"9"'})

    assert answer.status_code == 412


async def test_two_changes_at_the_same_version_cannot_both_pass(api: TestedService) -> None:
    user = await make(api)

    async def change(name: str) -> int:
        headers = {"If-Match": '"1"'}
        answer = await api.client.put(f"/users/{user['id']}", json=renamed(user, name), headers=headers)
        return answer.status_code

    statuses = await asyncio.gather(*(change(f"Ada {number}") for number in range(8)))

    assert sorted(statuses) == [200] + [412] * 7


async def test_unchanged_user_is_not_sent_again(api: TestedService) -> None:
    user = await make(api)
    path = f"/users/{user['id']}"

    same = await api.client.get(path, headers={"If-None-Match": '"1"'})
    await api.client.put(path, json=renamed(user))
    other = await api.client.get(path, headers={"If-None-Match": '"1"'})

    assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", '"1"')
    assert other.status_code == 200


@pytest.mark.parametrize("write", [str.lower, str.upper])
async def test_email_belongs_to_one_user(api: TestedService, write: Callable[[str], str]) -> None:
    email = write((await make(api))["email"])
    other = await make(api)

    made = await api.client.post("/users", json={"name": "Another", "email": email})
    changed = await api.client.put(f"/users/{other['id']}", json={"name": "Another", "email": email})

    for answer in (made, changed):
        assert answer.status_code == 409
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["type"] == "urn:freehold:problem:email-taken"
        assert [fault["pointer"] for fault in answer.json()["errors"]] == ["/email"]


async def test_deleted_user_is_gone_and_nothing_of_the_person_stays(api: TestedService) -> None:
    user = await make(api)
    path = f"/users/{user['id']}"

    deleted = await api.client.delete(path)
    after = [
        await api.client.get(path),
        await api.client.put(path, json=renamed(user, user["name"])),
        await api.client.delete(path),
    ]
    row = await api.service.store.fetchrow("SELECT * FROM users WHERE id = $1", user["id"])

    assert (deleted.status_code, deleted.content) == (204, b"")
    assert [answer.status_code for answer in after] == [404, 404, 404]
    assert (row["name"], row["email"], row["version"]) == (None, None, 2)
    assert row["deleted_at"] is not None
    assert (await outbox_types(api, user))[-1] == "users.UserDeleted"


async def test_email_of_a_deleted_user_is_free_again(api: TestedService) -> None:
    user = await make(api)
    await api.client.delete(f"/users/{user['id']}")

    again = await make(api, user["email"])

    assert again["id"] != user["id"]


async def test_list_shows_each_user_once_whatever_happens_meanwhile(api: TestedService) -> None:
    made = [await make(api) for _ in range(7)]
    seen: list[str] = []
    cursor: str | None = None
    while True:
        query = {"limit": "3"} | ({"cursor": cursor} if cursor else {})
        answer = await api.client.get("/users", params=query)
        seen += [user["id"] for user in answer.json()["items"]]
        cursor = answer.json()["next"]
        if cursor is None:
            break
        await api.client.delete(f"/users/{seen[0]}")

    ids = [user["id"] for user in made]
    assert [each for each in seen if each in ids] == ids
    assert len(seen) == len(set(seen))


async def test_head_answers_like_get_without_a_body(api: TestedService) -> None:
    user = await make(api)

    answer = await api.client.head(f"/users/{user['id']}")

    assert (answer.status_code, answer.content, answer.headers["etag"]) == (200, b"", '"1"')


async def test_other_method_is_refused_with_those_there_are(api: TestedService) -> None:
    answer = await api.client.patch(f"/users/{new_id()}", json={})

    assert (answer.status_code, answer.headers["allow"]) == (405, "DELETE, GET, HEAD, PUT")


async def test_table_itself_refuses_half_erased_users(api: TestedService) -> None:
    user = await make(api)

    with pytest.raises(asyncpg.CheckViolationError):
        await api.service.store.pool.execute("UPDATE users SET name = NULL WHERE id = $1", user["id"])


async def test_description_and_page_are_there(api: TestedService) -> None:
    description = await api.client.get("/openapi.json")
    page = await api.client.get("/docs")

    assert description.json()["openapi"] == "3.1.0"
    assert set(description.json()["paths"]) == {"/users", "/users/{id}"}
    assert page.headers["content-type"].startswith("text/html")
    assert "createUser" not in page.text
    assert "Make a user" in page.text
