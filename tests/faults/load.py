"""A steady load of writes over HTTP, and the ledger of what its clients were told.

Each client is a thread with blocking sockets and no retries of its own but those that an Idempotency-Key makes safe:
nothing between the request and the ledger decides what an answer meant. An entity is written by one client only, so
what a client was told of it stands in order; writes whose answer was lost may take effect whenever they like.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import json
import random
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from tests.faults.observed import Action, Outcome, Write

CLIENTS = 8
WRITES_PER_S = 80.0
# Longer than a service waits for its store before it says so; a stopped process costs a client this much.
ANSWER_TIMEOUT_S = 6.0
PAUSE_AFTER_FAILURE_S = 0.05
TRIES_WITH_KEY_MAX = 40
USERS_PER_CLIENT = 12
NEXT_STATUS = {"placed": "paid", "paid": "shipped", "shipped": "delivered"}
STOP_TIMEOUT_S = 30.0


class WriteLedger:
    """Every write that was ever sent, as its client knows it; kept apart from everything that is tested."""

    def __init__(self) -> None:
        self._writes: list[Write] = []
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)

    def add(self, write: Write) -> None:
        """Keep a write."""
        with self._lock:
            self._writes.append(write)

    def number(self) -> int:
        """Give a number that no other write has."""
        return next(self._numbers)

    @property
    def writes(self) -> list[Write]:
        """Give all writes so far."""
        with self._lock:
            return list(self._writes)

    def acknowledged_after(self, instant: float, entity: str) -> list[Write]:
        """Give the acknowledged writes of this kind that were sent after the instant, in the order of their answers."""
        found = [
            write
            for write in self.writes
            if write.sent_at >= instant and write.entity == entity and write.outcome is Outcome.ACKNOWLEDGED
        ]
        return sorted(found, key=lambda write: write.answered_at)

    def count(self, outcome: Outcome, since: float) -> int:
        """Count the writes that ended so since the instant."""
        return sum(write.outcome is outcome for write in self.writes if write.sent_at >= since)


@dataclass
class Doors:
    """Where writes can be sent: by kind of entity, base URLs; a second instance of a service may be added."""

    users: list[str]
    orders: list[str]


@dataclass(frozen=True)
class Request:
    """One write as it is sent, and what it asks for in the terms of what is published."""

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
        seed: What makes the choices of the clients the same again.
    """

    def __init__(self, ledger: WriteLedger, doors: Doors, *, seed: int) -> None:
        self.ledger = ledger
        self.doors = doors
        self._stopping = threading.Event()
        self._clients = [Client(self, f"{seed}/{number}") for number in range(CLIENTS)]

    def __enter__(self) -> Load:
        for client in self._clients:
            client.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        limit = time.monotonic() + STOP_TIMEOUT_S
        for client in self._clients:
            client.join(max(0.0, limit - time.monotonic()))
        assert not any(client.is_alive() for client in self._clients), "a client of the load did not end"
        broken = [client.error for client in self._clients if client.error]
        assert not broken, f"a client of the load failed: {broken}"

    def pause(self, seconds: float) -> bool:
        """Let some time pass; False when the load is to end."""
        return not self._stopping.wait(seconds)


class Client(threading.Thread):
    """One client, its users and its orders."""

    def __init__(self, load: Load, seed: str) -> None:
        super().__init__(name=f"load {seed}", daemon=True)
        self.error: BaseException | None = None
        self._load = load
        self._chance = random.Random(seed)  # noqa: S311 - the same again is the point
        self._users: list[str] = []
        self._orders: dict[str, str] = {}
        self._connections: dict[str, http.client.HTTPConnection] = {}

    def run(self) -> None:
        """Write until the load ends."""
        interval_s = CLIENTS / WRITES_PER_S
        next_at = time.monotonic() + self._chance.random() * interval_s
        try:
            while self._load.pause(max(0.0, next_at - time.monotonic())):
                # Who was kept waiting does not make up for it in a rush.
                next_at = max(next_at, time.monotonic() - interval_s) + interval_s
                if self._write() is not Outcome.ACKNOWLEDGED:
                    self._load.pause(PAUSE_AFTER_FAILURE_S)
        except BaseException as error:  # noqa: BLE001 - it is raised again where the load ends
            self.error = error
        finally:
            for connection in self._connections.values():
                connection.close()

    def _write(self) -> Outcome:
        steps = {self._create_user: 10, self._rename_user: 42, self._place_order: 26, self._move_order: 18}
        if len(self._users) > USERS_PER_CLIENT:
            steps[self._delete_user] = 30
        if len(self._users) < 3:
            return self._create_user()
        [step] = self._chance.choices(list(steps), weights=list(steps.values()))
        return step()

    def _create_user(self) -> Outcome:
        asked = self._person()
        write = self._send(Request("user", Action.CREATE, "POST", "/users", asked, asked))
        if write.outcome is Outcome.ACKNOWLEDGED:
            self._users.append(write.entity_id)
        return write.outcome

    def _rename_user(self) -> Outcome:
        user_id = self._chance.choice(self._users)
        asked = self._person()
        return self._send(Request("user", Action.CHANGE, "PUT", f"/users/{user_id}", asked, asked, user_id)).outcome

    def _delete_user(self) -> Outcome:
        user_id = self._users[0]
        write = self._send(Request("user", Action.DELETE, "DELETE", f"/users/{user_id}", {}, None, user_id))
        if write.outcome is not Outcome.UNKNOWN:
            self._users.remove(user_id)
        return write.outcome

    def _place_order(self) -> Outcome:
        user_id = self._chance.choice(self._users)
        cents = self._load.ledger.number()
        body = {"user_id": user_id, "lines": [{"sku": "soap", "quantity": 1, "unit_price_cents": cents}]}
        asked = {"user_id": user_id, "total_cents": cents, "status": "placed"}
        key = f'"order-{cents}"' if self._chance.random() < 0.5 else ""
        write = self._send(Request("order", Action.CREATE, "POST", "/orders", asked, body, key=key))
        if write.outcome is Outcome.ACKNOWLEDGED:
            self._orders[write.entity_id] = "placed"
        return write.outcome

    def _move_order(self) -> Outcome:
        if not self._orders:
            return self._place_order()
        order_id = self._chance.choice(list(self._orders))
        status = NEXT_STATUS[self._orders[order_id]]
        asked = {"status": status}
        write = self._send(Request("order", Action.CHANGE, "PATCH", f"/orders/{order_id}", asked, asked, order_id))
        if write.outcome is Outcome.ACKNOWLEDGED and status in NEXT_STATUS:
            self._orders[order_id] = status
        elif write.outcome is not Outcome.UNKNOWN:
            del self._orders[order_id]
        return write.outcome

    def _person(self) -> dict[str, str]:
        number = self._load.ledger.number()
        return {"name": f"Person {number} of the load", "email": f"person-{number}@load.example"}

    def _send(self, request: Request) -> Write:
        """Send a write and put into the ledger what was told of it; with a key, ask until something is told."""
        sent_at = time.monotonic()
        may_have_happened = False
        for _ in range(TRIES_WITH_KEY_MAX if request.key else 1):
            doors = self._load.doors.users if request.entity == "user" else self._load.doors.orders
            # A copy: doors are added and taken away meanwhile.
            answer = self._ask(self._chance.choice(list(doors)), request)
            if answer.outcome is Outcome.ACKNOWLEDGED:
                break
            may_have_happened = may_have_happened or answer.outcome is Outcome.UNKNOWN
            # A refusal of the first try is the answer; one of a later try says nothing about those before it.
            if not may_have_happened or not self._load.pause(PAUSE_AFTER_FAILURE_S):
                break
        outcome = answer.outcome
        if outcome is not Outcome.ACKNOWLEDGED and may_have_happened:
            outcome = Outcome.UNKNOWN
        # A replay shows the order as it is by then; the creation's own version is always the first.
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
        )
        self._load.ledger.add(write)
        return write

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
        if response.status >= 500:
            return Answer(Outcome.UNKNOWN)
        if response.status >= 400:
            return Answer(Outcome.REFUSED)
        return Answer(Outcome.ACKNOWLEDGED, json.loads(content) if content else {})

    def _connect(self, door: str) -> http.client.HTTPConnection:
        parts = urlsplit(door)
        if door not in self._connections:
            assert parts.hostname
            self._connections[door] = http.client.HTTPConnection(parts.hostname, parts.port, timeout=ANSWER_TIMEOUT_S)
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
