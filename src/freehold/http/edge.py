"""What the runtime puts around every service's ASGI application: trace, limits, health, errors.

It sits on the hot path, so it reads the headers once, wraps `send` in one object per request and adds nothing else
(benchmarks/edge.py). An error answer is held back until the application has returned or raised: frameworks answer an
exception with their own 500 first and raise it afterwards, and the exception knows more.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from opentelemetry.trace import Span, SpanKind, StatusCode

from freehold import telemetry
from freehold.http import cursor
from freehold.http.exchange import Exchange, Receive, Scope, Send
from freehold.http.problem import Problem, problem_of
from freehold.service import Application

# Called once a request: method, route ("" if the application did not say), status, seconds.
Observe = Callable[[str, str, int, float], None]

_logger = logging.getLogger("freehold.http")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Bounds of one request: bytes of its body, seconds until its answer began and ended; None lifts the latter."""

    body_bytes: int = 1_048_576
    answer_s: float | None = 30.0


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
    ) -> None:
        self._app = app
        self._service = service
        self._health = dict(health or {})
        self._limits = limits or Limits()
        self._observe = observe
        self._cursor_key = cursor_key
        self._is_ready = is_ready
        self._state = state

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        health = self._health.get(scope["path"])
        if health is not None:
            await health(scope, receive, send)
            return
        began = time.perf_counter()
        if self._state:
            scope["state"] = dict(self._state)
        exchange = Exchange(scope, receive, send, self._limits.body_bytes)
        span = telemetry.start_span(scope["method"], telemetry.parse_traceparent(exchange.traceparent), SpanKind.SERVER)
        exchange.span = span
        token = telemetry.enter_span(span)
        try:
            if self._cursor_key is not None:
                cursor.signing_key.set(self._cursor_key)
            await self._answer(exchange)
        finally:
            telemetry.leave_span(token)
            self._close(exchange, span, time.perf_counter() - began)

    async def _answer(self, exchange: Exchange) -> None:
        problem = exchange.refused
        if problem is None and self._is_ready is not None and not self._is_ready():
            problem = Problem(503, "the service is starting", type="starting", headers={"Retry-After": "1"})
        if problem is None:
            problem = await self._run(exchange)
        if problem is None and exchange.held is not None:
            problem = exchange.held_problem(exchange.held)
        if problem is None and not exchange.is_started:
            _logger.error("%s %s: the application gave no answer", exchange.method, exchange.path)
            problem = Problem(500)
        if problem is not None:
            await exchange.send_problem(problem)

    async def _run(self, exchange: Exchange) -> Problem | None:
        try:
            async with asyncio.timeout(self._limits.answer_s) as limit:
                await self._app(exchange.scope, exchange.receive, exchange.send)
        except Exception as error:
            if exchange.is_started:
                # Half an answer is on its way: only closing the connection tells the client that it is not whole.
                raise
            if exchange.too_large is not None:
                return exchange.too_large
            if limit.expired():
                return Problem(
                    503,
                    f"no answer within {self._limits.answer_s:g} s; whether a change was made is not known: "
                    f"read before trying again",
                    title="The service took too long",
                    type="timeout",
                    headers={"Retry-After": "1"},
                )
            problem = problem_of(error)
            if problem is None:
                _logger.exception("%s %s failed", exchange.method, exchange.path)
                exchange.span.record_exception(error)
                return Problem(500)
            return problem
        return exchange.too_large

    def _close(self, exchange: Exchange, span: Span, seconds: float) -> None:
        route = exchange.route()
        if self._observe is not None:
            self._observe(exchange.method, route, exchange.status, seconds)
        if not span.is_recording():
            return
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
        if exchange.status >= 500:
            span.set_status(StatusCode.ERROR)
        span.end()
