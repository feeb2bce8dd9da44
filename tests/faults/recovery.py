"""How long a fault was felt: until writes succeed again, and until everything has caught up with them."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from pymongo.errors import PyMongoError

from tests.faults.load import WriteLedger
from tests.faults.observation import Observer
from tests.faults.observed import Action, Outcome
from tests.faults.waiting import wait_until

WRITES_LIMIT_S = 60.0
CAUGHT_UP_LIMIT_S = 60.0
# Of each kind, so many acknowledged writes after a fault are taken for "writes succeed again".
WRITES_AGAIN = 5


@dataclass(frozen=True)
class Recovery:
    """What one fault cost.

    Attributes:
        fault: What was done.
        at: When, in UTC, to be found again in the logs.
        first_write_s: From the fault to the first write sent after it that was acknowledged, of the later kind.
        last_failure_s: From the fault to the answer of the last write that was not acknowledged; 0 when all were.
        caught_up_s: From the fault until all that was acknowledged up to the first writes was on the topics and in
            the copies.
        unknown_count: Writes that were never told what became of them.
        written_count: Writes acknowledged after the fault, while the load went on.
    """

    fault: str
    at: str
    first_write_s: float
    last_failure_s: float
    caught_up_s: float
    unknown_count: int
    written_count: int

    def line(self) -> str:
        """Say it in one line."""
        return (
            f"{self.fault:<58} first write {self.first_write_s:6.2f} s   last failure {self.last_failure_s:6.2f} s   "
            f"caught up {self.caught_up_s:6.2f} s   {self.written_count:4} written, {self.unknown_count} unknown"
        )

    def as_json(self) -> dict[str, Any]:
        """Give it as plain data."""
        return {name: round(value, 3) if isinstance(value, float) else value for name, value in asdict(self).items()}


class Stopwatch:
    """Measures one fault; made at the moment of the fault, asked while the load still goes on."""

    def __init__(self, fault: str, ledger: WriteLedger, observer: Observer) -> None:
        self._fault = fault
        self._ledger = ledger
        self._observer = observer
        self._fault_at = time.monotonic()
        self._at = datetime.now(UTC).isoformat(timespec="milliseconds")

    def wait_until_recovered(self) -> Recovery:
        """Wait until writes succeed again and everything up to them has arrived everywhere."""
        wait_until("writes of both kinds succeed again", self._unwritten, WRITES_LIMIT_S)
        first_at = max(self._acknowledged(kind)[0].answered_at for kind in ("user", "order"))
        arrival = Arrival(self._ledger, self._observer)
        caught_up_at = wait_until("all acknowledged writes have arrived", arrival.missing, CAUGHT_UP_LIMIT_S)
        failed_at = [
            write.answered_at
            for write in self._ledger.writes
            if write.outcome is not Outcome.ACKNOWLEDGED and write.answered_at >= self._fault_at
        ]
        return Recovery(
            fault=self._fault,
            at=self._at,
            first_write_s=first_at - self._fault_at,
            last_failure_s=max(failed_at) - self._fault_at if failed_at else 0.0,
            caught_up_s=caught_up_at - self._fault_at,
            unknown_count=sum(
                write.outcome is Outcome.UNKNOWN and write.answered_at >= self._fault_at
                for write in self._ledger.writes
            ),
            written_count=sum(len(self._acknowledged(kind)) for kind in ("user", "order")),
        )

    def _acknowledged(self, entity: str) -> list[Any]:
        return self._ledger.acknowledged_after(self._fault_at, entity)

    def _unwritten(self) -> str:
        counts = {kind: len(self._acknowledged(kind)) for kind in ("user", "order")}
        few = [f"{count} acknowledged writes of {kind}s" for kind, count in counts.items() if count < WRITES_AGAIN]
        return ", ".join(few)


class Arrival:
    """What was acknowledged up to the moment that this is made, and has not arrived everywhere."""

    def __init__(self, ledger: WriteLedger, observer: Observer) -> None:
        self._observer = observer
        self._waiting: tuple[set[Any], set[Any]] | None = None
        self._versions: dict[str, int] = {}
        for write in ledger.writes:
            if write.entity == "user" and write.outcome is Outcome.ACKNOWLEDGED and write.action is not Action.DELETE:
                self._versions[write.entity_id] = max(self._versions.get(write.entity_id, 0), write.version or 0)

    def missing(self) -> str:
        """Say what has not arrived; empty when all has."""
        try:
            users, orders = self._observer.users_waiting(), self._observer.orders_waiting()
            known = self._observer.known_versions(list(self._versions))
        except (psycopg.Error, PyMongoError) as error:
            return f"a server does not answer: {error}"
        if self._waiting is None:
            self._waiting = users, orders
        self._waiting = self._waiting[0] & users, self._waiting[1] & orders
        late = [user_id for user_id, version in self._versions.items() if known.get(user_id, 0) < version]
        words = [
            f"{len(rows)} events of {owner} are not on the topic"
            for owner, rows in zip(("users", "orders"), self._waiting, strict=True)
            if rows
        ]
        if late:
            words.append(f"{len(late)} users are older in orders than acknowledged")
        return ", ".join(words)
