"""Start and stop an ASGI application by its own lifespan, apart from the server.

So the server can answer probes while the store is still waited for, and the application starts with its store open.
"""

from __future__ import annotations

import asyncio
from typing import Any

from freehold.cancel import end_tasks
from freehold.errors import StartError
from freehold.service import Application

START_S = 20.0
STOP_S = 1.0


class Lifespan:
    """The lifespan of one application; `state` is what it wants beside each request."""

    def __init__(self, app: Application) -> None:
        self.state: dict[str, Any] = {}
        self._app = app
        self._task: asyncio.Task[None] | None = None
        self._failure: Exception | None = None
        self._to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def start(self) -> None:
        """Let the application start.

        Raises:
            StartError: It failed, or took longer than START_S.
        """
        self._task = asyncio.create_task(self._run(), name="lifespan")
        self._to_app.put_nowait({"type": "lifespan.startup"})
        try:
            async with asyncio.timeout(START_S):
                message = await self._from_app.get()
        except TimeoutError:
            raise StartError(f"the application did not start within {START_S:g} s") from None
        if message["type"] == "lifespan.startup.failed":
            reason = message.get("message") or "it gave no reason"
            raise StartError(f"the application did not start: {reason}") from self._failure

    async def stop(self) -> None:
        """Let the application stop; one that takes longer than STOP_S is ended."""
        if self._task is None:
            return
        self._to_app.put_nowait({"type": "lifespan.shutdown"})
        await asyncio.wait({self._task}, timeout=STOP_S)
        await end_tasks([self._task])
        self._task = None

    async def _run(self) -> None:
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": self.state}
        is_started = is_known = False

        async def receive() -> dict[str, Any]:
            nonlocal is_known
            is_known = True
            return await self._to_app.get()

        async def send(message: dict[str, Any]) -> None:
            nonlocal is_started
            is_started = is_started or message["type"] == "lifespan.startup.complete"
            self._from_app.put_nowait(message)

        try:
            await self._app(scope, receive, send)
        except Exception as error:
            if is_started:
                raise
            if is_known:
                # It took the message that it shall start, and failed at it.
                self._failure = error
                reason = f"{type(error).__name__}: {error}"
                self._from_app.put_nowait({"type": "lifespan.startup.failed", "message": reason})
        # An application without a lifespan raises at once, returns, or answers nonsense: all mean that it has none (ASGI 3).
        self._from_app.put_nowait({"type": "lifespan.startup.complete"})
