"""The edge answers every request in one way, whatever the application does."""

import asyncio
import json
import logging
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from freehold.errors import CommitUnknown, ConflictError, StoreUnavailable, TopicUnavailable
from freehold.http.edge import Edge, Limits
from freehold.http.problem import Fault, Problem
from freehold.telemetry import current_traceparent

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"


def application(endpoint: Callable[..., Any]) -> Starlette:
    return Starlette(routes=[Route("/users/{id}", endpoint, methods=["GET", "PUT", "POST"])])


def client(app: Any, **options: Any) -> httpx.AsyncClient:
    edge = Edge(app, service="users", **options)
    return httpx.AsyncClient(transport=httpx.ASGITransport(edge), base_url="http://test")


async def ask(endpoint: Callable[..., Any], method: str = "GET", **options: Any) -> httpx.Response:
    async with client(application(endpoint)) as asked:
        return await asked.request(method, "/users/42", **options)


def raising(error: Exception) -> Callable[..., Any]:
    async def endpoint(_request: Request) -> Response:
        raise error

    return endpoint


async def test_an_answer_passes_with_its_trace() -> None:
    seen: list[str | None] = []

    async def endpoint(_request: Request) -> Response:
        seen.append(current_traceparent())
        return JSONResponse({"id": "42"})

    response = await ask(endpoint, headers={"traceparent": TRACEPARENT, "x-request-id": "mine-1"})

    assert (response.status_code, response.json()) == (200, {"id": "42"})
    assert response.headers["traceresponse"] == seen[0]
    assert response.headers["traceresponse"].split("-")[1] == TRACE_ID
    assert response.headers["traceresponse"] != TRACEPARENT
    assert response.headers["x-request-id"] == "mine-1"


@pytest.mark.parametrize(
    "traceparent", ["", "00-x", f"ff{TRACEPARENT[2:]}", TRACEPARENT.upper(), f"00-{'0' * 32}-b7ad6b7169203331-01"]
)
async def test_a_malformed_trace_is_begun_anew(traceparent: str) -> None:
    response = await ask(lambda _request: PlainTextResponse("ok"), headers={"traceparent": traceparent})

    trace_id = response.headers["traceresponse"].split("-")[1]
    assert len(trace_id) == 32
    assert trace_id not in {TRACE_ID, "0" * 32}


async def test_requests_do_not_share_a_trace() -> None:
    answers = await asyncio.gather(*[ask(lambda _request: PlainTextResponse("ok")) for _ in range(20)])

    assert len({answer.headers["traceresponse"].split("-")[1] for answer in answers}) == 20
    assert current_traceparent() is None


async def test_a_hostile_request_id_is_replaced() -> None:
    response = await ask(lambda _request: PlainTextResponse("ok"), headers={"x-request-id": "a" * 500})

    assert response.headers["x-request-id"] == response.headers["traceresponse"].split("-")[1]


async def test_a_problem_is_rendered_with_trace_and_instance() -> None:
    error = Problem(
        409, "taken", type="email-taken", errors=[Fault("/email", "is taken")], headers={"Retry-After": "3"}
    )
    response = await ask(raising(error), headers={"traceparent": TRACEPARENT})

    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["retry-after"] == "3"
    assert response.json() == {
        "type": "urn:freehold:problem:email-taken",
        "title": "Conflict",
        "status": 409,
        "detail": "taken",
        "instance": "/users/42",
        "trace_id": TRACE_ID,
        "errors": [{"pointer": "/email", "detail": "is taken"}],
    }


async def test_the_unexpected_is_a_bare_500_and_logged_with_its_trace(caplog: pytest.LogCaptureFixture) -> None:
    response = await ask(raising(RuntimeError("password hunter2")))

    assert response.status_code == 500
    assert set(response.json()) == {"type", "title", "status", "instance", "trace_id"}
    assert "hunter2" not in response.text
    [record] = [record for record in caplog.records if record.name == "freehold.http"]
    assert (record.levelno, record.getMessage()) == (logging.ERROR, "GET /users/42 failed")
    assert record.exc_info is not None


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (StoreUnavailable("the store of users at postgresql://users:secret@host"), "store-unavailable"),
        (ConflictError("12 times"), "conflict"),
        (CommitUnknown("lost"), "commit-unknown"),
        (TopicUnavailable("gone"), "store-unavailable"),
    ],
)
async def test_a_server_that_failed_us_is_503_and_says_when_to_ask_again(error: Exception, kind: str) -> None:
    response = await ask(raising(error))

    assert (response.status_code, response.json()["type"]) == (503, f"urn:freehold:problem:{kind}")
    assert int(response.headers["retry-after"]) >= 1
    assert "secret" not in response.text


async def test_an_unknown_commit_tells_to_read_first() -> None:
    response = await ask(raising(CommitUnknown("lost")))

    assert "read before trying again" in response.json()["detail"]


@pytest.mark.parametrize(("path", "method", "status"), [("/nowhere", "GET", 404), ("/users/42", "DELETE", 405)])
async def test_a_framework_s_own_refusal_becomes_a_problem(path: str, method: str, status: int) -> None:
    async with client(application(lambda _request: PlainTextResponse("ok"))) as asked:
        response = await asked.request(method, path)

    assert (response.status_code, response.headers["content-type"]) == (status, "application/problem+json")
    assert response.json()["status"] == status
    assert ("allow" in response.headers) == (status == 405)


async def test_an_http_error_of_the_framework_keeps_what_it_says() -> None:
    response = await ask(raising(HTTPException(404, "there is no such user", {"X-Reason": "gone"})))

    assert (response.status_code, response.json()["detail"]) == (404, "there is no such user")
    assert response.headers["x-reason"] == "gone"


async def test_an_answer_that_is_a_problem_already_passes_as_it_is() -> None:
    body = {"type": "urn:x", "title": "x", "status": 418}
    response = await ask(lambda _request: JSONResponse(body, 418, media_type="application/problem+json"))

    assert response.json() == body
    assert "traceresponse" in response.headers


async def test_head_has_headers_and_no_body() -> None:
    async with client(application(raising(Problem(404, "none")))) as asked:
        response = await asked.head("/users/42")

    assert (response.status_code, response.content) == (404, b"")
    assert int(response.headers["content-length"]) > 0


async def test_a_body_that_is_told_too_large_is_refused_unread() -> None:
    async def endpoint(_request: Request) -> Response:
        raise AssertionError("the application was asked")

    async with client(application(endpoint), limits=Limits(body_bytes=10)) as asked:
        response = await asked.put("/users/42", content=b"x" * 11)

    assert (response.status_code, response.headers["connection"]) == (413, "close")


@pytest.mark.parametrize("swallow", [False, True])
async def test_a_body_that_turns_out_too_large_is_refused(swallow: bool) -> None:
    async def endpoint(request: Request) -> Response:
        try:
            body = await request.body()
        except Exception as error:
            if not swallow:
                raise
            raise HTTPException(400, "There was an error parsing the body") from error
        return PlainTextResponse(str(len(body)))

    async def chunks() -> Any:
        for _ in range(4):
            yield b"xxx"

    async with client(application(endpoint), limits=Limits(body_bytes=11)) as asked:
        refused = await asked.put("/users/42", content=chunks())
    async with client(application(endpoint), limits=Limits(body_bytes=12)) as asked:
        taken = await asked.put("/users/42", content=chunks())

    assert (refused.status_code, refused.json()["type"]) == (413, "urn:freehold:problem:body-too-large")
    assert (taken.status_code, taken.text) == (200, "12")


async def test_an_answer_that_takes_too_long_is_ended() -> None:
    ended: list[str] = []

    async def endpoint(_request: Request) -> Response:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("ended")
        raise AssertionError("it went on")

    async with client(application(endpoint), limits=Limits(answer_s=0.1)) as asked:
        response = await asked.get("/users/42")
        again = await asked.get("/nowhere")

    assert (response.status_code, response.json()["type"]) == (503, "urn:freehold:problem:timeout")
    assert ended == ["ended"]
    assert again.status_code == 404


async def test_more_requests_than_can_be_answered_are_told_to_come_back() -> None:
    is_let_go = asyncio.Event()

    async def endpoint(_request: Request) -> Response:
        await is_let_go.wait()
        return PlainTextResponse("ok")

    async with client(application(endpoint), limits=Limits(requests=2)) as asked:
        waiting = [asyncio.create_task(asked.get("/users/42")) for _ in range(3)]
        done, _ = await asyncio.wait(waiting, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        is_let_go.set()
        answers = [(await task).status_code for task in waiting]
        after = await asked.get("/users/42")

    assert [task.result().json()["type"] for task in done] == ["urn:freehold:problem:busy"]
    assert sorted(answers) == [200, 200, 503]
    assert after.status_code == 200


async def test_a_cancelled_request_stays_cancelled() -> None:
    async def wait(_request: Request) -> Response:
        await asyncio.Event().wait()
        raise AssertionError("it went on")

    task = asyncio.create_task(ask(wait))
    async with asyncio.timeout(5):
        while not task.done():
            await asyncio.sleep(0)
            task.cancel()

    assert task.cancelled()


async def test_an_answer_that_broke_off_is_not_taken_for_a_whole_one() -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError("broke off")

    async with client(app) as asked:
        with pytest.raises(RuntimeError):
            await asked.get("/")


async def test_no_answer_at_all_is_a_500() -> None:
    async def app(_scope: Any, _receive: Any, _send: Any) -> None:
        return

    async with client(app) as asked:
        response = await asked.get("/")

    assert response.status_code == 500


@pytest.mark.parametrize("address", ["/users/%00", "/users/42?name=%00"])
async def test_an_address_with_nul_is_refused(address: str) -> None:
    async with client(application(lambda _request: PlainTextResponse("ok"))) as asked:
        response = await asked.get(address)

    assert (response.status_code, response.json()["type"]) == (400, "urn:freehold:problem:unusable-text")


async def test_health_is_answered_without_trace_and_before_the_application_is_ready() -> None:
    async def live(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    app = application(lambda _request: PlainTextResponse("ok"))
    async with client(app, health={"/livez": live}, is_ready=lambda: False) as asked:
        health = await asked.get("/livez")
        request = await asked.get("/users/42")

    assert (health.status_code, "traceresponse" in health.headers) == (200, False)
    assert (request.status_code, request.json()["type"]) == (503, "urn:freehold:problem:starting")


async def test_each_request_is_observed_by_its_route() -> None:
    observed: list[tuple[str, str, int]] = []
    app = Starlette(routes=[Route("/users/{id}", lambda _request: PlainTextResponse("ok"))])

    def observe(method: str, route: str, status: int, seconds: float) -> None:
        assert 0 <= seconds < 10
        observed.append((method, route, status))

    async def templated(scope: Any, receive: Any, send: Any) -> None:
        scope["path_template"] = "/users/{id}" if scope["path"].startswith("/users/") else None
        await app(scope, receive, send)

    async with client(templated, observe=observe) as asked:
        await asked.get("/users/42")
        await asked.get("/nowhere")

    assert observed == [("GET", "/users/{id}", 200), ("GET", "", 404)]


@pytest.mark.parametrize(
    ("content", "detail", "errors"),
    [
        ({"detail": "no"}, "no", None),
        (
            {"detail": [{"loc": ["body", "lines", 0], "msg": "bad", "type": "x"}]},
            None,
            [{"pointer": "/lines/0", "detail": "bad"}],
        ),
        (
            {"detail": "no", "extra": [{"key": "lines.0", "message": "bad", "source": "body"}]},
            "no",
            [{"pointer": "/lines/0", "detail": "bad"}],
        ),
        (
            {"detail": "no", "extra": [{"key": "limit", "message": "bad", "source": "query"}]},
            "no",
            [{"pointer": "limit", "detail": "bad"}],
        ),
        (["odd"], None, None),
        ({"detail": {"odd": 1}}, None, None),
    ],
)
async def test_what_frameworks_say_of_a_request_is_kept(content: Any, detail: str | None, errors: Any) -> None:
    response = await ask(lambda _request: JSONResponse(content, 422))

    assert (response.json().get("detail"), response.json().get("errors")) == (detail or None, errors)


async def test_what_an_application_says_of_its_own_failure_is_not_passed_on() -> None:
    response = await ask(lambda _request: JSONResponse({"detail": "SELECT secret"}, 500))

    assert response.status_code == 500
    assert "secret" not in response.text


def test_a_problem_of_text_that_cannot_be_encoded_is_rendered_all_the_same() -> None:
    body = Problem(400, "bad \ud800", errors=[Fault("/\udc00", "x")]).body(instance="/", trace_id="0")

    assert json.loads(body)["detail"] == "bad ?"
