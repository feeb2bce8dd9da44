"""What the runtime puts around every service's ASGI application: trace, limits, health, errors.

It sits on the hot path, so it reads the headers once, wraps `send` in one object per request, and leaves the clock of
all requests to one timer (decision 10 has what it costs). An error answer is held back until the application has returned
or raised: frameworks answer an exception with their own 500 first and raise it afterwards, and the exception knows more.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from opentelemetry.trace import SpanKind, StatusCode

from freehold import telemetry
from freehold.errors import CommitUnknown
from freehold.http import cursor
from freehold.http.exchange import Exchange, Receive, Scope, Send, drain
from freehold.http.internal import PREFIX
from freehold.http.problem import Problem, problem_of
from freehold.http.read_your_writes import ReadYourWrites
from freehold.service import Application

# Called once a request: method, route ("" if the application did not say), status, seconds.
Observe = Callable[[str, str, int, float], None]

# A request's limit is looked at this many times while it lasts: one that is over is ended a tenth of it late at most.
_LOOKS = 10
_logger = logging.getLogger("freehold.http")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of a request, bytes of its body and seconds until its answer is sent, and of how many are answered at once.

    `answer_s` None lifts that bound.
    """

    body_bytes: int = 1_048_576
    answer_s: float | None = 30.0
    requests: int = 1_000


class Edge:
    """Wrap an ASGI application so that every request is traced, bounded, and answered in one way.

    Args:
        app: The application.
        service: The name that its spans carry.
        health: By path, the applications that answer health and metrics; they skip traces and limits.
        limits: Bounds of a request.
        observe: Told of each request when it is over.
        cursor_key: Signs the cursors that are made while a request is answered.
        is_ready: Says whether the application may be asked yet; until then the answer is 503.
        state: What the application's lifespan wants beside each request.
        explain: Says whether an error that nobody knows here means that the store does not answer.
        internal: Answers the internal routes; it says itself who may ask.
        memory: Lets clients read what they wrote; without one no token is minted, and none is read.
    """

    def __init__(
        self,
        app: Application,
        *,
        service: str,
        health: Mapping[str, Application] | None = None,
        limits: Limits | None = None,
        observe: Observe | None = None,
        cursor_key: bytes | None = None,
        is_ready: Callable[[], bool] | None = None,
        state: Mapping[str, Any] | None = None,
        explain: Callable[[BaseException], Exception | None] | None = None,
        internal: Application | None = None,
        memory: ReadYourWrites | None = None,
    ) -> None:
        telemetry.look_for_sdk()
        self._app = app
        self._service = service
        self._health = dict(health or {})
        self._limits = limits or Limits()
        self._observe = observe
        self._cursor_key = cursor_key
        self._is_ready = is_ready
        self._state = state
        self._explain = explain
        self._internal = internal
        self._memory = memory
        self._watched: dict[Exchange, asyncio.Task[Any] | None] = {}
        self._is_watching = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        beside = self._internal if path.startswith(PREFIX) else self._health.get(path)
        if beside is not None:
            await beside(scope, receive, send)
            return
        if self._state:
            scope["state"] = dict(self._state)
        exchange = Exchange(scope, receive, send, self._limits.body_bytes)
        passage = telemetry.enter_trace(exchange.traceparent, exchange.method, SpanKind.SERVER)
        exchange.passage = passage
        if self._cursor_key is not None:
            cursor.signing_key.set(self._cursor_key)
        try:
            problem = exchange.refused or self._not_now()
            if problem is None:
                self._watch(exchange)
                try:
                    await self._ask(exchange)
                except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001 - each ends in an answer and a log line
                    problem = self._problem_of(exchange, error)
                finally:
                    self._watched.pop(exchange, None)
            if problem is not None or not exchange.is_started:
                await self._refuse(exchange, receive, problem or self._problem_of_answer(exchange))
        finally:
            if self._observe is not None:
                seconds = time.perf_counter() - exchange.began
                self._observe(exchange.method, exchange.route(), exchange.status, seconds)
            if passage.span is not None:
                self._describe(exchange)
            telemetry.leave_trace(passage)

    async def _ask(self, exchange: Exchange) -> None:
        if self._memory is not None:
            await self._memory.begin(exchange)
        await self._app(exchange.scope, exchange.receive, exchange.send)

    async def _refuse(self, exchange: Exchange, receive: Receive, problem: Problem) -> None:
        if problem.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE and problem in (exchange.refused, exchange.too_large):
            await drain(receive)
        await exchange.send_problem(problem)

    def _not_now(self) -> Problem | None:
        if self._is_ready is not None and not self._is_ready():
            return Problem(503, "the service is starting", type="starting", headers={"Retry-After": "1"})
        if len(self._watched) >= self._limits.requests:
            # Beyond this many, to take one more only makes all of them late.
            return Problem(503, "too many requests at once", type="busy", headers={"Retry-After": "1"})
        return None

    def _problem_of(self, exchange: Exchange, error: BaseException) -> Problem:
        if isinstance(error, asyncio.CancelledError) and not exchange.is_late:
            raise error
        if exchange.is_late:
            # The cancellation was ours, and it ends here.
            task = asyncio.current_task()
            if task is not None and isinstance(error, asyncio.CancelledError):
                task.uncancel()
        if exchange.is_started:
            # Half an answer is on its way: only closing the connection tells the client that it is not whole.
            raise error
        if exchange.too_large is not None:
            return exchange.too_large
        if exchange.is_late:
            return self._too_late()
        problem = problem_of(error) or self._explained(exchange, error)
        if problem is not None:
            return problem
        _logger.error("%s %s failed", exchange.method, exchange.path, exc_info=error)
        if exchange.passage.span is not None:
            telemetry.record_failure(exchange.passage.span, error)
        return Problem(500)

    def _explained(self, exchange: Exchange, error: BaseException) -> Problem | None:
        explained = self._explain(error) if self._explain is not None else None
        if explained is None:
            return None
        # Outside a transaction nobody can say whether a change was made before the server was lost.
        return problem_of(explained if exchange.method in {"GET", "HEAD"} else CommitUnknown(str(explained)))

    def _problem_of_answer(self, exchange: Exchange) -> Problem:
        if exchange.too_large is not None:
            return exchange.too_large
        if exchange.is_late:
            return self._too_late()
        if exchange.held is not None:
            return exchange.held_problem(exchange.held)
        _logger.error("%s %s: the application gave no answer", exchange.method, exchange.path)
        return Problem(500)

    def _too_late(self) -> Problem:
        return Problem(
            503,
            f"no answer within {self._limits.answer_s:g} s; whether a change was made is not known: "
            f"read before trying again",
            title="The service took too long",
            type="timeout",
            headers={"Retry-After": "1"},
        )

    def _watch(self, exchange: Exchange) -> None:
        self._watched[exchange] = asyncio.current_task()
        if self._limits.answer_s is not None and not self._is_watching:
            self._is_watching = True
            asyncio.get_running_loop().call_later(self._limits.answer_s / _LOOKS, self._look, self._limits.answer_s)

    def _look(self, answer_s: float) -> None:
        """End the requests that are late; look again as long as there are any."""
        latest = time.perf_counter() - answer_s
        for exchange, task in list(self._watched.items()):
            # Insertion order is the order in which they began.
            if exchange.began > latest:
                break
            if task is not None and not exchange.is_late:
                exchange.is_late = True
                task.cancel()
        self._is_watching = bool(self._watched)
        if self._is_watching:
            asyncio.get_running_loop().call_later(answer_s / _LOOKS, self._look, answer_s)

    def _describe(self, exchange: Exchange) -> None:
        span = exchange.passage.span
        if span is None or not span.is_recording():
            return
        route = exchange.route()
        operation = f"{exchange.method} {route}" if route else exchange.method
        span.update_name(operation)
        span.set_attributes(
            {
                telemetry.SERVICE: self._service,
                telemetry.OPERATION: operation,
                "http.request.method": exchange.method,
                "http.response.status_code": exchange.status,
                "url.path": exchange.path,
                "url.scheme": exchange.scope.get("scheme", "http"),
            }
        )
        if route:
            span.set_attribute("http.route", route)
        client = exchange.scope.get("client")
        if client:
            # Who calls without a trace can be told by the connection, whose other end says the same (conform.follow).
            span.set_attribute("network.peer.port", client[1])
        if exchange.status >= 500:
            span.set_status(StatusCode.ERROR)
