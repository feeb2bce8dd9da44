"""The edge tells who wrote what they wrote, and lets nobody else pay for it."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import httpx
import pytest

from freehold.errors import StoreUnavailable
from freehold.event import OutboxRow
from freehold.http.edge import Edge
from freehold.http.problem import Problem
from freehold.http.read_your_writes import At, NotYet, ReadYourWrites
from freehold.http.token import ENTITIES_MAX, TokenKey, Written
from freehold.http.written import note_written

KEY = TokenKey("a secret of the system")
TOKEN = "freehold-written"
BEHIND = NotYet("users", "user/42", At(1, 7), At(1, 6), "behind")


def row(version: int, key: str = "user/42", index: int = 0) -> OutboxRow:
    return OutboxRow(key, version, index, "users.UserUpdated", b"", b"{}")


def token_of(*versions: int) -> str:
    return KEY.mint([Written("users", f"user/{version}", 1, version, 0, int(time.time())) for version in versions])


def application(run: Callable[[], Any] | None = None, status: int = 200) -> Any:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        if run is not None:
            found = run()
            if found is not None:
                await found
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    return app


class Copies:
    """Answers as the copies of a service would, and notes what it was asked."""

    def __init__(self, *lacking: NotYet) -> None:
        self.asked: list[tuple[list[str], float]] = []
        self._lacking = lacking

    async def wait(self, wanted: Sequence[Written], limit_s: float) -> Sequence[NotYet]:
        self.asked.append(([each.key for each in wanted], limit_s))
        return self._lacking


async def ask(app: Any, method: str = "GET", memory: ReadYourWrites | None = None, **headers: str) -> httpx.Response:
    edge = Edge(app, service="orders", memory=memory)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(edge), base_url="http://test") as client:
        return await client.request(
            method, "/orders", headers={name.replace("_", "-"): text for name, text in headers.items()}
        )


def memory(copies: Copies | None = None, wait_s: float = 2.0) -> ReadYourWrites:
    return ReadYourWrites(KEY, "orders", arrive=copies.wait if copies else None, wait_s=wait_s)


async def test_answer_of_a_request_that_published_carries_what_it_wrote() -> None:
    answer = await ask(application(lambda: note_written("orders", 3, [row(7, index=2)])), "POST", memory())

    (written,) = KEY.read(answer.headers[TOKEN])
    assert (written.service, written.key, written.epoch, written.version, written.index) == (
        "orders",
        "user/42",
        3,
        7,
        2,
    )
    assert abs(written.at - time.time()) < 5


async def test_error_that_follows_a_commit_carries_it_too() -> None:
    def commit_and_fail() -> None:
        note_written("orders", 1, [row(7)])
        raise Problem(409, "but")

    answer = await ask(application(commit_and_fail), "POST", memory())

    assert answer.status_code == 409
    assert KEY.read(answer.headers[TOKEN])[0].version == 7


async def test_what_tasks_and_threads_of_a_request_commit_is_its_own() -> None:
    async def spread() -> None:
        await asyncio.gather(
            *(asyncio.to_thread(note_written, "orders", 1, [row(number, f"u/{number}")]) for number in (1, 2))
        )
        await asyncio.create_task(commit(3))

    async def commit(number: int) -> None:
        note_written("orders", 1, [row(number, f"u/{number}")])

    answer = await ask(application(spread), "POST", memory())

    assert {each.key for each in KEY.read(answer.headers[TOKEN])} == {"u/1", "u/2", "u/3"}


async def test_requests_at_the_same_time_do_not_share_what_they_write() -> None:
    async def write(number: int) -> str:
        async def slowly() -> None:
            note_written("orders", 1, [row(1, f"u/{number}")])
            await asyncio.sleep(0)

        return KEY.read((await ask(application(slowly), "POST", memory())).headers[TOKEN])[0].key

    assert await asyncio.gather(*(write(number) for number in range(20))) == [f"u/{number}" for number in range(20)]


@pytest.mark.parametrize("has_memory", [True, False], ids=["reads only", "no key"])
async def test_nothing_is_told_when_nothing_was_written_or_no_key_is_set(has_memory: bool) -> None:
    write = None if has_memory else lambda: note_written("orders", 1, [row(7)])

    answer = await ask(
        application(write),
        "POST",
        memory() if has_memory else None,
        freehold_written="no token at all" if not has_memory else token_of(1),
    )

    assert answer.status_code == 200
    assert TOKEN not in answer.headers


async def test_what_was_brought_goes_on_with_what_is_written() -> None:
    answer = await ask(
        application(lambda: note_written("orders", 1, [row(7)])), "POST", memory(), freehold_written=token_of(1, 2)
    )

    assert [each.key for each in KEY.read(answer.headers[TOKEN])] == ["user/42", "user/1", "user/2"]


async def test_what_does_not_fit_is_counted() -> None:
    rows = [row(1, f"u/{number}") for number in range(ENTITIES_MAX + 7)]

    answer = await ask(
        application(lambda: note_written("orders", 1, rows)), "POST", memory(), freehold_written=token_of(1)
    )

    assert len(KEY.read(answer.headers[TOKEN])) == ENTITIES_MAX
    assert answer.headers["freehold-written-left-out"] == "8"


@pytest.mark.parametrize(
    ("method", "status"), [("GET", 503), ("HEAD", 503), ("POST", 200), ("PUT", 200), ("DELETE", 200)]
)
async def test_read_is_refused_for_a_copy_that_is_not_there_and_a_write_is_not(method: str, status: int) -> None:
    copies = Copies(BEHIND)

    answer = await ask(application(), method, memory(copies), freehold_written=token_of(1))

    assert answer.status_code == status
    assert copies.asked == [(["user/1"], 2.0)]
    if method == "GET":
        assert answer.json()["copies"][0]["found"] == {"epoch": 1, "version": 6}
        assert "version 7 of user/42 in users, and orders has version 6 after 2 s (behind)" in answer.json()["detail"]


@pytest.mark.parametrize(("asked", "waited_s"), [("0", 0), ("0.25", 0.25), ("60", 2.0)])
async def test_client_may_wait_less_and_not_more(asked: str, waited_s: float) -> None:
    copies = Copies()

    await ask(application(), "GET", memory(copies), freehold_written=token_of(1), freehold_wait=asked)

    assert copies.asked[0][1] == waited_s


async def test_request_without_a_token_asks_no_copy() -> None:
    copies = Copies(BEHIND)

    answer = await ask(application(), "GET", memory(copies), freehold_wait="5")

    assert (answer.status_code, copies.asked) == (200, [])


async def test_store_that_does_not_answer_while_copies_are_looked_for_is_said() -> None:
    async def away(_wanted: Any, _limit_s: float) -> Any:
        raise StoreUnavailable("away")

    answer = await ask(
        application(), "GET", ReadYourWrites(KEY, "orders", arrive=away, wait_s=1), freehold_written=token_of(1)
    )

    assert (answer.status_code, answer.json()["type"]) == (503, "urn:freehold:problem:store-unavailable")
