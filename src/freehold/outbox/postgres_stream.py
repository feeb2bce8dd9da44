"""The replication connection: a slot, its log as a stream of messages, and the confirmations that let the log go."""

from __future__ import annotations

import select
import time
from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import pq
from psycopg.conninfo import make_conninfo

from freehold.errors import StoreUnavailable
from freehold.outbox.pgoutput import format_status

PUBLICATION = "freehold_outbox"
CONNECT_TIMEOUT_S = 5
# A server that vanished without a word is given up after this.
SILENCE_MAX_MS = 15_000
# A command on the replication connection; making a slot waits for the transactions that run at that moment.
COMMAND_TIMEOUT_S = 60.0
# PostgreSQL ends a stream that says nothing for 60 s (wal_sender_timeout).
STATUS_EVERY_S = 10.0

# PostgreSQL counts microseconds from 2000-01-01.
_EPOCH_2000_S = 946_684_800


def connection_settings(application: str) -> dict[str, Any]:
    """Give what every connection of a relay is opened with."""
    return {
        "application_name": application,
        "connect_timeout": CONNECT_TIMEOUT_S,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": SILENCE_MAX_MS,
        "client_encoding": "utf8",
    }


class ReplicationStream:
    """One connection in replication mode, used by one thread."""

    def __init__(self, url: str, application: str) -> None:
        """Connect.

        Raises:
            StoreUnavailable: The server does not answer.
        """
        info = make_conninfo(url, replication="database", **connection_settings(application))
        self._pg = pq.PGconn.connect(info.encode())
        self._confirmed = 0
        self._status_at = time.monotonic()
        if self._pg.status != pq.ConnStatus.OK:
            message = self._error()
            self._pg.finish()
            raise StoreUnavailable(f"no replication connection: {message}")
        self._pg.nonblocking = 1
        self._poll = select.poll()
        self._poll.register(self._pg.socket, select.POLLIN)

    def create_slot(self, slot: str, meanwhile: Callable[[], None]) -> str:
        """Make the slot and give the name of the snapshot that joins it exactly; valid until the next command.

        Args:
            slot: Its name.
            meanwhile: Called about once a second while it waits.
        """
        result = self._command(f'CREATE_REPLICATION_SLOT "{slot}" LOGICAL pgoutput EXPORT_SNAPSHOT', meanwhile)
        if result.status != pq.ExecStatus.TUPLES_OK:
            raise StoreUnavailable(f"the replication slot {slot} could not be made: {_message(result)}")
        return (result.get_value(0, 2) or b"").decode()

    def start(self, slot: str, meanwhile: Callable[[], None]) -> None:
        """Let the log flow from where the slot stands."""
        result = self._command(
            f'START_REPLICATION SLOT "{slot}" LOGICAL 0/0'
            f" (proto_version '1', binary 'true', publication_names '{PUBLICATION}')",
            meanwhile,
        )
        if result.status != pq.ExecStatus.COPY_BOTH:
            raise StoreUnavailable(f"the replication slot {slot} cannot be followed: {_message(result)}")

    def read(self) -> memoryview | None:
        """Give the next payload that is here; None when there is none yet.

        Raises:
            StoreUnavailable: The connection or the log's history is lost.
        """
        try:
            length, payload = self._pg.get_copy_data(1)
        except psycopg.Error as error:
            raise StoreUnavailable(f"the replication stream broke: {error}") from error
        if length > 0:
            return payload
        if length == 0:
            return None
        raise StoreUnavailable(f"the replication stream ended: {self._end_reason()}")

    def receive(self, wait_s: float) -> bool:
        """Wait for bytes, at most `wait_s`, and take them in; False when none came."""
        if not self._poll.poll(wait_s * 1000):
            return False
        try:
            self._pg.consume_input()
        except psycopg.Error as error:
            raise StoreUnavailable(f"the replication stream broke: {error}") from error
        return True

    def confirm(self, position: int) -> None:
        """Let the server forget the log before `position`; never goes back."""
        self._confirmed = max(self._confirmed, position)
        self.send_status()

    def keep_alive(self) -> None:
        """Say that we are here, if it was long ago that we did."""
        if time.monotonic() - self._status_at > STATUS_EVERY_S:
            self.send_status()

    def send_status(self) -> None:
        """Tell the server what is confirmed."""
        self._status_at = time.monotonic()
        try:
            self._pg.put_copy_data(format_status(self._confirmed, int((time.time() - _EPOCH_2000_S) * 1_000_000)))
            self._pg.flush()
        except psycopg.Error as error:
            raise StoreUnavailable(f"the replication stream broke: {error}") from error

    def close(self) -> None:
        """Close the connection; idempotent."""
        self._pg.finish()

    def _command(self, text: str, meanwhile: Callable[[], None]) -> Any:
        give_up_at = time.monotonic() + COMMAND_TIMEOUT_S
        try:
            self._pg.send_query(text.encode())
            self._pg.flush()
            while self._pg.is_busy():
                meanwhile()
                if time.monotonic() > give_up_at:
                    raise StoreUnavailable(
                        f"{text.split()[0]} took more than {COMMAND_TIMEOUT_S:.0f} s; a transaction that was open "
                        f"before it holds it up: see pg_stat_activity"
                    )
                self.receive(1.0)
            return self._last_result()
        except psycopg.Error as error:
            raise StoreUnavailable(f"the replication connection broke: {error}") from error

    def _last_result(self) -> Any:
        """Take the command's result; the stream that it may have opened stays open."""
        result = self._pg.get_result()
        while result is not None and result.status not in (pq.ExecStatus.COPY_BOTH, pq.ExecStatus.FATAL_ERROR):
            following = self._pg.get_result()
            if following is None:
                break
            result = following
        if result is None:
            raise StoreUnavailable("the replication connection gave no answer")
        return result

    def _end_reason(self) -> str:
        result = self._pg.get_result()
        return _message(result) if result is not None and result.error_message else self._error()

    def _error(self) -> str:
        return self._pg.get_error_message().strip()


def _message(result: Any) -> str:
    text: str = result.get_error_message().strip()
    return text
