"""The right to be a store's one relay, in a row of its own database and by that database's clock."""

from __future__ import annotations

import os
import socket
import time

import psycopg

from freehold.errors import ConfigurationError, FencedError

LEASE = "relay"
# A holder that is stopped is replaced after this; one whose connection is gone is replaced at once.
LEASE_S = 6.0
RENEW_EVERY_S = 2.0

# backend_start is hidden from other roles: then the process id alone must do.
_TAKE = """
INSERT INTO freehold.lease AS held (name, owner, epoch, expires_at, backend_pid, backend_start)
SELECT %(name)s, %(owner)s, 1, clock_timestamp() + %(seconds)s * interval '1 second', pid, backend_start
FROM pg_stat_activity WHERE pid = pg_backend_pid()
ON CONFLICT (name) DO UPDATE
SET owner = excluded.owner, epoch = held.epoch + 1, expires_at = excluded.expires_at,
    backend_pid = excluded.backend_pid, backend_start = excluded.backend_start
WHERE held.expires_at < clock_timestamp() OR NOT EXISTS (
    SELECT FROM pg_stat_activity AS other
    WHERE other.pid = held.backend_pid AND (other.backend_start IS NULL OR other.backend_start = held.backend_start)
)
RETURNING epoch
"""


class RelayLease:
    """The lease as one relay sees it, on a connection that it shares with the relay's other short statements."""

    def __init__(self, connection: psycopg.Connection, service: str) -> None:
        self._connection = connection
        self._service = service
        self._epoch: int | None = None
        self._renew_at = 0.0

    def take(self) -> bool:
        """Take the lease if nobody holds it; False when somebody does."""
        owner = f"{socket.gethostname()}:{os.getpid()}"
        try:
            row = self._connection.execute(_TAKE, {"name": LEASE, "owner": owner, "seconds": LEASE_S}).fetchone()
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
            raise ConfigurationError(
                f"the store of {self._service} has no table freehold.lease; run its migrations before its relay"
            ) from error
        if row is None:
            return False
        self._epoch = row[0]
        self._renew_at = time.monotonic() + RENEW_EVERY_S
        return True

    def renew(self) -> None:
        """Hold it for longer, if it is time to.

        Raises:
            FencedError: Another relay has taken it.
        """
        if time.monotonic() >= self._renew_at:
            self.check()

    def check(self) -> None:
        """Hold it for longer, at once.

        Raises:
            FencedError: Another relay has taken it.
        """
        done = self._connection.execute(
            "UPDATE freehold.lease SET expires_at = clock_timestamp() + %s * interval '1 second'"
            " WHERE name = %s AND epoch = %s",
            [LEASE_S, LEASE, self._epoch],
        )
        if done.rowcount == 0:
            raise FencedError(f"another relay of {self._service} has taken over; this one stops")
        self._renew_at = time.monotonic() + RENEW_EVERY_S

    def give_back(self) -> None:
        """Let another take it at once; what another has taken is left alone."""
        if self._epoch is not None:
            self._connection.execute(
                "UPDATE freehold.lease SET expires_at = clock_timestamp() - interval '1 second'"
                " WHERE name = %s AND epoch = %s",
                [LEASE, self._epoch],
            )
            self._epoch = None
