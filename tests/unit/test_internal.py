"""Internal routes: who may ask what, how an answer that takes long ends, and what the asking side makes of each."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.client
import socket
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import msgspec
import pytest

from freehold.errors import (
    CallerError,
    ConfigurationError,
    ConflictError,
    DeclarationError,
    FreeholdError,
    OperatorError,
    PeerError,
    StoreUnavailable,
)
from freehold.http.body import Body
from freehold.http.internal import BODY_BYTES_MAX, OPERATOR, InternalRoutes, credential
from freehold.http.peer import Peer, peer_url

KEY = "the key of users, and of nobody else"
ERRORS: dict[str, FreeholdError] = {
    "caller": CallerError("no such thing"),
    "declaration": DeclarationError("not declared"),
    "conflict": ConflictError("there by now"),
    "peer": StoreUnavailable("away"),
    "operator": OperatorError("look at it"),
}


class Asked(Body, frozen=True):
    """Asks for lines, and for what they end with."""

    count: int = 0
    fails: str = ""


class Counted(msgspec.Struct):
    number: int


async def tell(asked: Asked) -> Counted:
    if asked.fails:
        raise ERRORS[asked.fails]
    return Counted(asked.count)


async def count(asked: Asked) -> AsyncIterator[Counted]:
    for number in range(asked.count):
        yield Counted(number)
    if asked.fails == "bug":
        raise ZeroDivisionError("with somebody's data in it")
    if asked.fails:
        raise ERRORS[asked.fails]


def make_routes(key: str = KEY, readers: set[str] | None = None) -> InternalRoutes:
    routes = InternalRoutes("users", key, readers)
    routes.add("tell", Asked, tell, readers=True)
    routes.add("count", Asked, count)
    return routes


def client(routes: InternalRoutes, caller: str = "", shown: str | None = None) -> httpx.AsyncClient:
    auth = (caller, credential(KEY, caller) if shown is None else shown) if caller else None
    return httpx.AsyncClient(transport=httpx.ASGITransport(routes), base_url="http://users/.freehold", auth=auth)


async def test_operator_may_ask_everything_and_a_reader_what_is_for_readers() -> None:
    routes = make_routes()
    async with client(routes, OPERATOR) as operator, client(routes, "orders") as reader:
        assert (await operator.post("/tell", json={"count": 3})).json() == {"number": 3}
        assert (await operator.post("/count", json={"count": 1})).status_code == 200
        assert (await reader.post("/tell", json={"count": 3})).status_code == 200
        refused = await reader.post("/count", json={})

    assert (refused.status_code, refused.json()["detail"]) == (403, "orders may not ask users this")


async def test_reader_that_is_not_known_is_refused() -> None:
    async with client(make_routes(readers={"billing"}), "orders") as stranger:
        assert (await stranger.post("/tell", json={})).status_code == 403


@pytest.mark.parametrize(
    ("caller", "shown"),
    [
        ("", None),
        (OPERATOR, "guessed"),
        (OPERATOR, credential(KEY, "orders")),  # a reader's own does not make it an operator
        ("orders", credential("the key of billing, and nobody's else", "orders")),
        ("orders", ""),
        ("órders", "é"),
    ],
)
async def test_who_cannot_say_who_it_is_is_refused_alike(caller: str, shown: str | None) -> None:
    async with client(make_routes(), caller, shown) as stranger:
        answer = await stranger.post("/tell", json={})

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Basic")
    assert KEY not in answer.text
    assert "credential" not in answer.text


@pytest.mark.parametrize("header", ["Bearer x", "Basic", "Basic !!", "Basic " + base64.b64encode(b"\xff").decode(), ""])
async def test_credentials_of_another_form_are_refused(header: str) -> None:
    async with client(make_routes()) as stranger:
        assert (await stranger.post("/tell", json={}, headers={"authorization": header})).status_code == 401


async def test_what_is_asked_wrongly_is_told_apart() -> None:
    async with client(make_routes(), OPERATOR) as operator:
        assert (await operator.post("/nothing", json={})).status_code == 404
        assert (await operator.get("/tell")).status_code == 405
        assert (await operator.get("/tell")).headers["allow"] == "POST"
        assert (await operator.post("/tell", content=b" " * (BODY_BYTES_MAX + 1))).status_code == 413
        assert (await operator.post("/tell", json={"count": "x"})).status_code == 422
        assert (await operator.post("/tell", json={"unknown": 1})).status_code == 422
        assert (await operator.post("/tell", content=b"{")).status_code == 400
        assert (await operator.post("/tell")).json() == {"number": 0}  # nothing said is nothing asked for


async def test_without_a_key_nothing_is_answered() -> None:
    async with client(make_routes(key=""), OPERATOR, credential("", OPERATOR)) as operator:
        answer = await operator.post("/tell", json={})

    assert (answer.status_code, "FREEHOLD_INTERNAL_KEY" in answer.text) == (404, True)


async def test_lines_end_in_one_that_says_why_there_are_no_more() -> None:
    async with client(make_routes(), OPERATOR) as operator:
        whole = await operator.post("/count", json={"count": 2})
        broken = await operator.post("/count", json={"count": 2, "fails": "peer"})
        bug = await operator.post("/count", json={"count": 1, "fails": "bug"})
        at_once = await operator.post("/count", json={"fails": "peer"})
        none = await operator.post("/count", json={})

    assert whole.text == '{"number":0}\n{"number":1}\n'
    assert broken.text == whole.text + '{"error":"away","kind":"StoreUnavailable"}\n'
    assert "somebody's data" not in bug.text
    assert "ZeroDivisionError; see the log of users" in bug.text
    assert (at_once.status_code, none.status_code, none.text) == (503, 200, "")


@pytest.mark.parametrize(
    ("fails", "raised"),
    [
        ("caller", CallerError),
        ("declaration", CallerError),
        ("conflict", ConflictError),
        ("peer", PeerError),
        ("operator", OperatorError),
    ],
)
async def test_who_asks_is_told_who_must_act(fails: str, raised: type[Exception]) -> None:
    with serving(make_routes()) as url:
        peer = Peer("users", peer_url(url, OPERATOR, KEY))
        with pytest.raises(raised, match=f"users: {ERRORS[fails]}"):
            await asyncio.to_thread(peer.ask, "tell", Asked(fails=fails), Counted)
        with pytest.raises(raised, match=f"users: {ERRORS[fails]}"):
            await asyncio.to_thread(lambda: list(peer.lines("count", Asked(2, fails), Counted)))
        assert await asyncio.to_thread(peer.ask, "tell", Asked(7), Counted) == Counted(7)
        peer.close()


async def test_who_is_refused_is_told_so_without_the_credential() -> None:
    with serving(make_routes()) as url:
        peer = Peer("users", peer_url(url, "orders", "another key, of another service"))
        with pytest.raises(ConfigurationError, match=r"users refuses who calls: .*FREEHOLD_INTERNAL_KEY") as refused:
            await asyncio.to_thread(peer.ask, "tell", Asked(), Counted)
        peer.close()

    assert credential("another key, of another service", "orders") not in str(refused.value)


@pytest.mark.parametrize("url", ["https://a:b@x", "http://", "http://x:1", "http://a@x:1", "ftp://a:b@x"])
def test_url_that_says_nobody_is_refused(url: str) -> None:
    with pytest.raises(ConfigurationError):
        Peer("users", url)


@pytest.mark.parametrize("sent", [b'11\r\n{"number":0}\n{"nu\r\n', b'd\r\n{"number":0}\n\r\n', b'd\r\n{"numb', b""])
def test_nobody_there_and_an_answer_that_breaks_off_are_passing(sent: bytes) -> None:
    """Behind a whole line, too: what was killed amid its work has not come to its end."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        peer = Peer("users", peer_url(f"http://127.0.0.1:{listener.getsockname()[1]}", OPERATOR, KEY))
        thread = threading.Thread(target=break_off, args=(listener, sent))
        thread.start()
        with pytest.raises(PeerError, match="broke off its answer to count"):
            list(peer.lines("count", Asked(2), Counted, limit_s=5))
        thread.join()
    with pytest.raises(PeerError, match="does not answer"):
        peer.ask("tell", Asked(), Counted, limit_s=1)


def break_off(listener: socket.socket, sent: bytes) -> None:
    """Begin an answer, and go."""
    connection, _ = listener.accept()
    with connection:
        connection.recv(10_000)
        connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + sent)


@contextlib.contextmanager
def serving(routes: InternalRoutes) -> Iterator[str]:
    """Serve on a port of its own, in a thread of its own."""
    from freehold.runtime.server import Server

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await routes(scope, receive, send)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(app)
        thread = threading.Thread(target=lambda: asyncio.run(server.serve(sockets=[listener])))
        thread.start()
        try:
            url = f"http://127.0.0.1:{listener.getsockname()[1]}"
            wait_until_answered(url)
            yield url
        finally:
            server.should_exit = True
            thread.join()


def wait_until_answered(url: str) -> None:
    """The listener queues who asks until the server takes it."""
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=10)
    connection.request("GET", "/.freehold/nothing")
    connection.getresponse().read()
    connection.close()
