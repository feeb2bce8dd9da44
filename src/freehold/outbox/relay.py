"""Ship the outbox to the own topic, in commit order, for as long as the service runs.

Theory of operation. A relay is one thread: it takes the store's lease, sweeps all rows that are there, waits until the
topic has acknowledged them, and then follows the store's log. Rows are acknowledged to the store, which deletes them, in
the order in which they were sent and only after the topic has them; a row that was sent but not deleted is sent again,
byte for byte. Any failure, of the store or of the topic, ends the attempt whole; the next one begins with a sweep, so
there is no state to get wrong. It never gives up, and always says what it is doing in `progress`.
"""

from __future__ import annotations

import collections
import dataclasses
import enum
import logging
import random
import threading
import time
from datetime import UTC, datetime
from typing import Any

from opentelemetry.trace import Span, SpanKind

from freehold.discreet import words_of
from freehold.errors import FreeholdError, PeerError, TopicUnavailable
from freehold.event import OutboxRow
from freehold.outbox import OutboxSource
from freehold.outbox.outgoing import decode_headers
from freehold.telemetry import OPERATION, SERVICE, TOPIC, is_traced, parse_traceparent, start_span
from freehold.topic.mark import DATA, Marks
from freehold.topic.writer import Shipment, Writer

# Bound what is sent and not yet acknowledged, and so the memory of a relay and what a successor repeats.
IN_FLIGHT_ROWS_MAX = 10_000
IN_FLIGHT_BYTES_MAX = 32 * 1024 * 1024
# Rows are deleted together: whichever of these comes first.
ACKNOWLEDGE_ROWS = 500
ACKNOWLEDGE_AFTER_S = 0.05

FOLLOW_WAIT_S = 0.25  # bounds how long a stop waits for the store's log
SETTLE_WAIT_S = 0.02  # while rows are in flight their acknowledgements are looked for this often
LEASE_WAIT_S = 0.5
PAUSE_S_MIN = 0.1
PAUSE_S_MAX = 5.0
# From here on a topic that does not acknowledge is worth telling; librdkafka goes on by itself.
SILENT_AFTER_S = 2.0

log = logging.getLogger("freehold.relay")


class RelayState(enum.StrEnum):
    """What a relay is doing."""

    STOPPED = "stopped"
    WAITING_FOR_LEASE = "waiting_for_lease"
    SWEEPING = "sweeping"
    FOLLOWING = "following"
    WAITING_FOR_TOPIC = "waiting_for_topic"
    RETRYING = "retrying"


@dataclasses.dataclass
class RelayProgress:
    """What a relay says of itself; written by its thread, read by anybody.

    Attributes:
        state: What it is doing.
        shipped_total: Rows that the topic acknowledged since the process started.
        in_flight: Rows that were sent and are not acknowledged yet.
        last_lag_s: How long ago the newest row of the last acknowledged shipment was published.
        last_acknowledged_at: When that was (epoch seconds); None before the first.
        last_error: Why it is retrying or what it last failed for; empty when it never did.
        retry_at: When it tries again (epoch seconds); None unless it is retrying.
    """

    state: RelayState = RelayState.STOPPED
    shipped_total: int = 0
    in_flight: int = 0
    last_lag_s: float = 0.0
    last_acknowledged_at: float | None = None
    last_error: str = ""
    retry_at: float | None = None


class _Flight:
    """A shipment with the rows that it is made of."""

    __slots__ = ("position", "rows", "sent_at", "shipment", "size_bytes", "spans")

    def __init__(self, rows: list[OutboxRow], position: Any) -> None:
        self.rows = rows
        self.position = position
        self.shipment = Shipment(len(rows))
        self.sent_at = time.monotonic()
        self.spans: list[Span] = []
        self.size_bytes = sum(len(row.data) for row in rows)

    def trace(self, row: OutboxRow, headers: list[tuple[str, bytes]], topic: str) -> None:
        """Start a span beneath the one that published the row, if that one is kept; it ends with the flight."""
        parent = parse_traceparent(dict(headers).get("traceparent", b"").decode())
        if parent is not None and parent.trace_flags.sampled:
            span = start_span(f"send {row.type}", parent, SpanKind.PRODUCER)
            service = row.type.partition(".")[0]
            span.set_attributes(
                {
                    SERVICE: service,
                    TOPIC: service,
                    OPERATION: f"send {row.type}",
                    "messaging.system": "kafka",
                    "messaging.destination.name": topic,
                }
            )
            self.spans.append(span)

    def end(self) -> None:
        """End the spans of the flight."""
        for span in self.spans:
            span.end()


class Relay:
    """Ships one store's outbox to one topic, in a thread of its own.

    Guarantees: every committed row reaches the topic at least once; per key first occurrences in version order, each
    repeat an exact copy. Its memory does not grow with the backlog.
    """

    def __init__(self, source: OutboxSource, writer: Writer, marks: Marks | None = None) -> None:
        self.progress = RelayProgress()
        self._source = source
        self._writer = writer
        self._marks = marks
        self._marked = Shipment(0)
        self._flights: collections.deque[_Flight] = collections.deque()
        self._stopping = threading.Event()
        self._stop_by = float("inf")
        self._lease_kept_at = 0.0
        self._thread = threading.Thread(target=self._run, name="freehold-relay", daemon=True)

    def start(self) -> None:
        """Begin, in the background."""
        self._thread.start()

    def stop(self, timeout_s: float) -> bool:
        """Let it finish what is in flight, and wait for it.

        Returns:
            False when it was not done within `timeout_s`; what it has not acknowledged is sent again by its successor.
        """
        self._stop_by = time.monotonic() + timeout_s * 0.8  # leaves time to let go
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        pause_s = PAUSE_S_MIN
        while not self._stopping.is_set():
            shipped = self.progress.shipped_total
            try:
                try:
                    self._attempt()
                finally:
                    self._let_go()
            except _Stopped as stopped:
                log.warning("relay of %s: %s", self._writer.topic, stopped)
            except Exception as error:  # noqa: BLE001 -- even a bug must be seen in `progress`, and not end the thread in silence
                pause_s = PAUSE_S_MIN if self.progress.shipped_total > shipped else min(pause_s * 2, PAUSE_S_MAX)
                self._retry(error, pause_s)
        self.progress.state = RelayState.STOPPED

    def _attempt(self) -> None:
        """Take the lease, sweep and follow, until told to stop or something fails."""
        while not self._source.open():
            self._enter(RelayState.WAITING_FOR_LEASE)
            if self._stopping.wait(LEASE_WAIT_S):
                return
        self._writer.open()
        self._enter(RelayState.SWEEPING)
        for chunk in self._source.sweep():
            self._ship(chunk.rows, chunk.position)
            if self._stopping.is_set():
                break
        # An entity's swept rows come before its followed ones in the writer's queue; waiting keeps the two apart for
        # whoever reads `progress`, and empties memory before the log is read.
        self._settle_all()
        while not self._stopping.is_set():
            self._follow()
        self._settle_all()

    def _follow(self) -> None:
        chunk = self._source.follow(SETTLE_WAIT_S if self._flights else FOLLOW_WAIT_S)
        if chunk is not None:
            self._ship(chunk.rows, chunk.position)
        elif self._marks is not None:
            self._mark(self._marks)
        self._settle()
        self._enter(RelayState.WAITING_FOR_TOPIC if self._is_topic_silent() else RelayState.FOLLOWING)

    def _mark(self, marks: Marks) -> None:
        """Let the topic's quiet partitions be compacted; one whose mark does not arrive is found quiet again."""
        self._writer.check(self._marked)
        try:
            due = marks.due()
        except TopicUnavailable as error:
            log.info("relay of %s looks for quiet partitions later: %s", self._writer.topic, error)
            return
        self._marked = Shipment(len(due)) if due else self._marked
        for key, headers in due:
            self._writer.send(key, DATA, headers, self._marked)

    def _ship(self, rows: list[OutboxRow], position: Any) -> None:
        """Send the rows behind those sent before, waiting for room where there is none."""
        flight = _Flight(rows, position)
        for row in rows:
            headers = decode_headers(row.headers)
            if is_traced():
                flight.trace(row, headers, self._writer.topic)
            while not self._writer.send(row.key, row.data, headers, flight.shipment):
                self._wait_for_topic()
        self._flights.append(flight)
        self.progress.in_flight += len(rows)
        self._settle()
        while self.progress.in_flight > IN_FLIGHT_ROWS_MAX or self._size_bytes() > IN_FLIGHT_BYTES_MAX:
            self._wait_for_topic()

    def _size_bytes(self) -> int:
        return sum(flight.size_bytes for flight in self._flights)

    def _settle_all(self) -> None:
        while self._flights:
            self._wait_for_topic()

    def _wait_for_topic(self) -> None:
        """Give the topic a moment to acknowledge what is in flight."""
        self._writer.poll(SETTLE_WAIT_S)
        self._settle()
        if self._is_topic_silent():
            self._enter(RelayState.WAITING_FOR_TOPIC)
            self._keep_lease()
        if time.monotonic() > self._stop_by:
            raise _Stopped(f"stopped with {self.progress.in_flight} rows in flight; they are sent again")

    def _keep_lease(self) -> None:
        """Let the store know now and then that we are there, or find out that we were replaced."""
        if time.monotonic() > self._lease_kept_at + LEASE_WAIT_S:
            self._lease_kept_at = time.monotonic()
            self._source.acknowledge([], None)

    def _settle(self) -> None:
        """Acknowledge, in order, what the topic has; raise what it refused."""
        self._writer.poll(0)
        rows: list[OutboxRow] = []
        position = None
        done = 0
        for flight in self._flights:
            self._writer.check(flight.shipment)
            if flight.shipment.waiting:
                break
            done += 1
            rows += flight.rows
            position = flight.position if flight.position is not None else position
        if not done:
            return
        is_due = time.monotonic() - self._flights[0].sent_at >= ACKNOWLEDGE_AFTER_S
        if not (is_due or len(rows) >= ACKNOWLEDGE_ROWS or self._stopping.is_set()):
            return
        self._source.acknowledge(rows, position)
        for _ in range(done):
            self._flights.popleft().end()
        self._note_acknowledged(rows)

    def _note_acknowledged(self, rows: list[OutboxRow]) -> None:
        progress = self.progress
        if rows:
            published_at = dict(decode_headers(rows[-1].headers))["ce_time"].decode()
            progress.last_lag_s = (datetime.now(UTC) - datetime.fromisoformat(published_at)).total_seconds()
        progress.in_flight -= len(rows)
        progress.shipped_total += len(rows)
        progress.last_acknowledged_at = time.time()

    def _is_topic_silent(self) -> bool:
        return bool(self._flights) and time.monotonic() - self._flights[0].sent_at > SILENT_AFTER_S

    def _enter(self, state: RelayState) -> None:
        progress = self.progress
        if state is RelayState.WAITING_FOR_TOPIC:
            progress.last_error = self._writer.last_error or "the topic does not acknowledge"
        if state is progress.state:
            return
        progress.state = state
        progress.retry_at = None
        log.info("relay of %s: %s", self._writer.topic, state.value)

    def _retry(self, error: Exception, pause_s: float) -> None:
        """Say why, and wait a little, so that a server that comes back is not met by everybody at once."""
        is_expected = isinstance(error, FreeholdError)
        text = words_of(error)
        if text != self.progress.last_error:
            level = logging.WARNING if isinstance(error, PeerError) else logging.ERROR
            log.log(level, "relay of %s begins again: %s", self._writer.topic, text, exc_info=not is_expected)
        pause_s *= random.uniform(0.5, 1.0)  # noqa: S311 -- spreads retries, hides nothing
        self.progress.last_error = text
        self.progress.retry_at = time.time() + pause_s
        self.progress.state = RelayState.RETRYING  # last: whoever sees it finds the reason, too
        self._stopping.wait(pause_s)

    def _let_go(self) -> None:
        self._writer.close()
        self._marked = Shipment(0)
        self._source.close()
        while self._flights:
            self._flights.popleft().end()
        self.progress.in_flight = 0


class _Stopped(FreeholdError):
    """Ends an attempt that was told to stop; never leaves this file."""
