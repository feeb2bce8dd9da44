"""A steady load of writes over HTTP, and what its clients were told.

Each client is a thread with blocking sockets and no retries of its own but those that an Idempotency-Key makes safe:
nothing between the request and the ledger decides what an answer meant. An entity is written by one client only, so
what a client was told of it stands in order; writes whose answer was lost may take effect whenever they like.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from freehold.drill.observed import Action, Outcome, Write
from freehold.drill.waiting import wait_until
from freehold.drill.workload import Visitor
from freehold.drill.writes import WriteLedger
from freehold.errors import DrillError

CLIENTS = 8
WRITES_PER_S = 80.0
# Longer than a service waits for its store before it says so; a stopped process costs a client this much.
ANSWER_TIMEOUT_S = 6.0
PAUSE_AFTER_FAILURE_S = 0.05
TRIES_WITH_KEY_MAX = 40
STOP_TIMEOUT_S = 30.0
REST_LOOK_S = 0.02
ERRORS_FROM, REFUSALS_FROM = 500, 400

Doors = Mapping[str, list[str]]
"""Where writes can be sent: by kind of entity, base URLs; another instance of a service may be added."""


@dataclass(frozen=True)
class Request:
    """One write as it is sent, and what it asks for in the terms of what is published.

    Attributes:
        entity: The kind of entity that it writes to.
        asked: The published fields that it asks for, with values that no other write of its kind asks for.
        entity_id: Of which entity; empty for one that is to be made.
        key: An Idempotency-Key, which makes it safe to ask again until something is told.
    """

    entity: str
    action: Action
    method: str
    path: str
    asked: Mapping[str, Any]
    body: Mapping[str, Any] | None = None
    entity_id: str = ""
    key: str = ""


@dataclass(frozen=True)
class Answer:
    """What came of one request: how it ended, and the answer's body when there was one."""

    outcome: Outcome
    body: Mapping[str, Any] = field(default_factory=dict)


class Load:
    """Writes at a steady rate from several clients while the `with` block runs.

    Args:
        ledger: Where all of it is written down.
        doors: Where to send it.
        visitor: Makes what one client does.
        seed: What makes the choices of the clients the same again.
        writes_per_s: How many in all, as far as answers come in time.
    """

    def __init__(
        self,
        ledger: WriteLedger,
        doors: Doors,
        visitor: Callable[[], Visitor],
        *,
        seed: object,
        writes_per_s: float = WRITES_PER_S,
    ) -> None:
        self.ledger = ledger
        self.doors = doors
        self.interval_s = CLIENTS / writes_per_s
        self.stopping = threading.Event()
        self.resting = threading.Event()
        self._clients = [Client(self, visitor(), f"{seed}/{number}") for number in range(CLIENTS)]

    def __enter__(self) -> Load:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stopping.set()
        limit = time.monotonic() + STOP_TIMEOUT_S
        for client in self._clients:
            client.join(max(0.0, limit - time.monotonic()))
        if any(client.is_alive() for client in self._clients):
            raise DrillError("a client of the load did not end")
        self._raise_errors()

    @contextlib.contextmanager
    def rest(self) -> Iterator[None]:
        """Let every client finish what it is at, and send nothing while the block runs."""
        self.resting.set()
        try:
            wait_until("the load rests", self._unrested, STOP_TIMEOUT_S)
            self._raise_errors()
            yield
        finally:
            self.resting.clear()

    def pause(self, seconds: float) -> bool:
        """Let some time pass; False when the load is to end."""
        return not self.stopping.wait(seconds)

    def _unrested(self) -> str:
        busy = sum(client.is_alive() and not client.is_at_rest for client in self._clients)
        return f"{busy} clients still wait for an answer" if busy else ""

    def _raise_errors(self) -> None:
        for client in self._clients:
            if client.error is not None:
                raise DrillError(f"a client of the load failed: {client.error!r}") from client.error


class Client(threading.Thread):
    """One client: takes steps at its rate."""

    def __init__(self, load: Load, visitor: Visitor, seed: str) -> None:
        super().__init__(name=f"load {seed}", daemon=True)
        self.error: BaseException | None = None
        self.is_at_rest = False
        self._load = load
        self._visitor = visitor
        self._session = Session(load, random.Random(seed))  # noqa: S311 - the same again is the point

    def run(self) -> None:
        """Write until the load ends."""
        load, interval_s = self._load, self._load.interval_s
        next_at = time.monotonic() + self._session.chance.random() * interval_s
        try:
            while load.pause(max(0.0, next_at - time.monotonic())):
                if load.resting.is_set():
                    self.is_at_rest = True
                    load.pause(REST_LOOK_S)
                    continue
                self.is_at_rest = False
                # Who was kept waiting does not make up for it in a rush.
                next_at = max(next_at, time.monotonic() - interval_s) + interval_s
                if self._visitor.step(self._session) is not Outcome.ACKNOWLEDGED:
                    load.pause(PAUSE_AFTER_FAILURE_S)
        except BaseException as error:  # noqa: BLE001 - it is raised again where the load ends
            self.error = error
        finally:
            self._session.close()


class Session:
    """What a visitor sends its writes through.

    Attributes:
        chance: Its own, seeded.
    """

    def __init__(self, load: Load, chance: random.Random) -> None:
        self.chance = chance
        self._load = load
        self._connections: dict[str, http.client.HTTPConnection] = {}

    def number(self) -> int:
        """Give a number that no other write of the drill has."""
        return self._load.ledger.number()

    def send(self, request: Request) -> Write:
        """Send a write and put into the ledger what was told of it; with a key, ask until something is told."""
        sent_at = time.monotonic()
        may_have_happened = False
        for _ in range(TRIES_WITH_KEY_MAX if request.key else 1):
            # A copy: doors are added and taken away meanwhile.
            door = self.chance.choice(list(self._load.doors[request.entity]))
            answer = self._ask(door, request)
            if answer.outcome is Outcome.ACKNOWLEDGED:
                break
            may_have_happened = may_have_happened or answer.outcome is Outcome.UNKNOWN
            # A refusal of the first try is the answer; one of a later try says nothing about those before it.
            if not may_have_happened or not self._load.pause(PAUSE_AFTER_FAILURE_S):
                break
        outcome = answer.outcome
        if outcome is not Outcome.ACKNOWLEDGED and may_have_happened:
            outcome = Outcome.UNKNOWN
        # A replay shows the entity as it is by then; the creation's own version is always the first.
        is_made = request.action is Action.CREATE and outcome is Outcome.ACKNOWLEDGED
        write = Write(
            request.entity,
            request.action,
            request.asked,
            outcome,
            request.entity_id or str(answer.body.get("id", "")),
            1 if is_made else answer.body.get("version"),
            sent_at,
            time.monotonic(),
            door,
        )
        self._load.ledger.add(write)
        return write

    def close(self) -> None:
        """Let go of the connections."""
        for connection in self._connections.values():
            connection.close()

    def _ask(self, door: str, request: Request) -> Answer:
        try:
            connection = self._connect(door)
        except OSError:
            return Answer(Outcome.REFUSED)  # nothing was sent
        headers = {"Content-Type": "application/json"} if request.body is not None else {}
        if request.key:
            headers["Idempotency-Key"] = request.key
        try:
            body = json.dumps(request.body) if request.body is not None else None
            connection.request(request.method, request.path, body, headers)
            response = connection.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            return Answer(Outcome.UNKNOWN)
        if response.status >= ERRORS_FROM:
            return Answer(Outcome.UNKNOWN)
        if response.status >= REFUSALS_FROM:
            return Answer(Outcome.REFUSED)
        return Answer(Outcome.ACKNOWLEDGED, json.loads(content) if content else {})

    def _connect(self, door: str) -> http.client.HTTPConnection:
        parts = urlsplit(door)
        if door not in self._connections:
            self._connections[door] = http.client.HTTPConnection(
                parts.hostname or "", parts.port, timeout=ANSWER_TIMEOUT_S
            )
        connection = self._connections[door]
        if connection.sock is None:
            connection.connect()
        return connection


@contextlib.contextmanager
def also_at(doors: list[str], door: str) -> Iterator[None]:
    """Let the load use one more door for as long as the `with` block runs."""
    doors.append(door)
    try:
        yield
    finally:
        doors.remove(door)


@contextlib.contextmanager
def only_at(doors: list[str], door: str) -> Iterator[None]:
    """Let the load use this door alone for as long as the `with` block runs: behind the others nobody answers."""
    before = list(doors)
    doors[:] = [door]
    try:
        yield
    finally:
        doors[:] = before
