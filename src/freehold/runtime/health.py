"""Whether a process lives, whether it is ready, and how far its relay and consumers are.

`/livez` asks nobody. `/readyz` asks the own store only: an outage of Kafka is no outage of the API. What the relay and
the consumers do is in `/readyz?verbose` (lines, or JSON for `Accept: application/json`) and in `/metrics`. The status
code alone decides; when the process is told to stop it is not ready before it stops accepting.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any, Literal, Protocol

import msgspec

from freehold.converge.audits import Audited
from freehold.errors import PeerError
from freehold.http.exchange import Receive, Scope, Send
from freehold.service import Application

Phase = Literal["starting", "ready", "stopping"]
# A probe that asks more often than this gets the last answer: many probers must not become the store's load.
_ASKED_AGAIN_S = 0.25
_PING_S = 1.5
_BACKLOG_S = 1.0


class Watched(Protocol):
    """A store as health sees it."""

    async def ping(self) -> None:
        """Raise StoreUnavailable unless the database answers."""

    async def backlog(self) -> Any:
        """Give rows and age of what waits in the outbox."""


class Line(msgspec.Struct, frozen=True):
    """One check's result or one part's progress."""

    name: str
    ok: bool
    detail: str = ""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What `/readyz?verbose` says; `relay` and `consumers` are the progress that these report of themselves.

    `notes` says of copies that are not whole what makes them so.
    """

    service: str
    instance: str
    pid: int
    phase: Phase
    ready: bool
    checks: list[Line]
    backlog: dict[str, Any] | None = None
    relay: dict[str, Any] | None = None
    consumers: dict[str, dict[str, Any]] = {}
    notes: list[str] = []


class Health:
    """The state of one process, told by those who run it and asked by probes."""

    def __init__(self, service: str, instance: str = "") -> None:
        self.service = service
        self.instance = instance
        self.phase: Phase = "starting"
        self.waits_for = ""
        self.store: Watched | None = None
        self.relay: Callable[[], Any] | None = None
        self.consumers: dict[str, Callable[[], Any]] = {}
        self.notes: dict[str, str] = {}
        self.audits: dict[str, Audited] = {}
        self._asked_at = -_ASKED_AGAIN_S
        self._store_line = Line("store", ok=False, detail="not opened yet")

    async def report(self, *, verbose: bool, exclude: frozenset[str] = frozenset()) -> Report:
        """Check now, and with `verbose` tell the progress too."""
        checks = [self._process_line()]
        if self.store is not None and self.phase == "ready":
            checks.append(await self._ask_store())
        checks = [line for line in checks if line.name not in exclude]
        ready = all(line.ok for line in checks)
        if not verbose:
            return self._report(checks, ready)
        return self._report(
            checks,
            ready,
            backlog=await self._ask_backlog(),
            relay=_plain(self.relay()) if self.relay else None,
            consumers={source: _consumer(progress()) for source, progress in self.consumers.items()},
            notes=list(self.notes.values()),
        )

    def routes(self) -> dict[str, Application]:
        """Give the applications that answer, by path."""
        return {"/livez": self._live, "/readyz": self._ready, "/healthz": self._ready}

    def _report(self, checks: list[Line], ready: bool, **progress: Any) -> Report:
        return Report(
            service=self.service,
            instance=self.instance,
            pid=os.getpid(),
            phase=self.phase,
            ready=ready,
            checks=checks,
            **progress,
        )

    def _process_line(self) -> Line:
        detail = f"waits for {self.waits_for}" if self.phase == "starting" and self.waits_for else self.phase
        return Line("process", ok=self.phase == "ready", detail=detail)

    async def _ask_store(self) -> Line:
        if time.monotonic() - self._asked_at < _ASKED_AGAIN_S:
            return self._store_line
        store = self.store
        if store is None:
            return self._store_line
        try:
            async with asyncio.timeout(_PING_S):
                await store.ping()
            self._store_line = Line("store", ok=True, detail="answers")
        except (PeerError, TimeoutError) as error:
            self._store_line = Line("store", ok=False, detail=str(error) or f"no answer within {_PING_S:g} s")
        self._asked_at = time.monotonic()
        return self._store_line

    async def _ask_backlog(self) -> dict[str, Any] | None:
        if self.store is None or self.phase == "starting":
            return None
        try:
            async with asyncio.timeout(_BACKLOG_S):
                return _plain(await self.store.backlog())
        except (PeerError, TimeoutError) as error:
            return {"error": str(error) or "no answer"}

    async def _live(self, scope: Scope, _receive: Receive, send: Send) -> None:
        await answer(scope, send, 200, b"ok\n", b"text/plain; charset=utf-8")

    async def _ready(self, scope: Scope, _receive: Receive, send: Send) -> None:
        verbose, exclude = _query(scope["query_string"])
        report = await self.report(verbose=verbose, exclude=exclude)
        status = 200 if report.ready else 503
        if _wants_json(scope):
            await answer(scope, send, status, msgspec.json.encode(report), b"application/json")
        else:
            lines = _lines(report) if verbose or not report.ready else ["ready"]
            await answer(scope, send, status, ("\n".join(lines) + "\n").encode(), b"text/plain; charset=utf-8")


async def answer(scope: Scope, send: Send, status: int, body: bytes, media_type: bytes) -> None:
    """Send a whole answer; HEAD without its body."""
    headers = [
        (b"content-type", media_type),
        (b"content-length", b"%d" % len(body)),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def _lines(report: Report) -> list[str]:
    lines = [f"[{'+' if line.ok else '-'}] {line.name}: {line.detail}" for line in report.checks]
    if report.backlog is not None:
        lines.append(f"[i] outbox: {_words(report.backlog)}")
    if report.relay is not None:
        lines.append(f"[i] relay: {_words(report.relay)}")
    lines += [f"[i] consumer of {source}: {_words(progress)}" for source, progress in report.consumers.items()]
    lines += [f"[!] {note}" for note in report.notes]
    lines.append("ready" if report.ready else "not ready")
    return lines


def _words(progress: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in progress.items() if value not in (None, "", [], {}))


def _plain(progress: Any) -> dict[str, Any]:
    plain = msgspec.to_builtins(progress, enc_hook=str, str_keys=True)
    return plain if isinstance(plain, dict) else {"state": plain}


def _consumer(progress: Any) -> dict[str, Any]:
    plain = _plain(progress)
    partitions = getattr(progress, "partitions", {})
    for number, partition in list(partitions.items()):
        plain["partitions"].setdefault(str(number), {})["lag"] = partition.lag
    if partitions:
        plain["lag"] = sum(partition.lag or 0 for partition in list(partitions.values()))
    if hasattr(progress, "parked_total"):
        plain["parked"] = sum(partition.parked for partition in list(partitions.values()))
        plain["dead"] = sum(partition.dead for partition in list(partitions.values()))
    return plain


def _query(query: bytes) -> tuple[bool, frozenset[str]]:
    pairs = [part.partition("=") for part in query.decode("latin-1").split("&")]
    verbose = any(name == "verbose" and value not in {"0", "false"} for name, _, value in pairs)
    return verbose, frozenset(value for name, _, value in pairs if name == "exclude")


def _wants_json(scope: Scope) -> bool:
    return any(name == b"accept" and b"application/json" in value for name, value in scope["headers"])
