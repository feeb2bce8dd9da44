"""When replicas are audited, in a PostgreSQL subscriber's own store; see `freehold.converge.audits`."""

from __future__ import annotations

from typing import Any

from freehold.converge.audits import Audited
from freehold.store.postgres import Postgres
from freehold.store.postgres_transaction import PostgresTransaction

_FIRST = """
INSERT INTO freehold.audits (replica, due_at) VALUES ($1, clock_timestamp() + make_interval(secs => $2))
ON CONFLICT DO NOTHING
"""
_CLAIM = """
UPDATE freehold.audits SET due_at = clock_timestamp() + make_interval(secs => $2)
WHERE replica = $1 AND due_at <= clock_timestamp() RETURNING replica
"""
_NOTE = """
UPDATE freehold.audits SET checked_at = clock_timestamp(), row_count = $2, differing = $3, error = $4 WHERE replica = $1
"""
_LAST = """
SELECT checked_at, row_count, differing, error FROM freehold.audits WHERE replica = $1 AND checked_at IS NOT NULL
"""


class PostgresAudits:
    """Keep when replicas are audited."""

    def __init__(self, store: Postgres) -> None:
        self._store = store

    async def claim(self, replica: str, first_s: float, every_s: float) -> bool:
        """Say whether it is due; see `Audits.claim`."""
        return await self._store.transact(_claim, replica, first_s, every_s)

    async def note(self, replica: str, rows: int, differing: int, error: str) -> None:
        """Keep what was found; see `Audits.note`."""
        await self._store.transact(_execute, _NOTE, replica, rows, differing, error)

    async def last(self, replica: str) -> Audited | None:
        """Give what was found last; see `Audits.last`."""
        row = await self._store.fetchrow(_LAST, replica)
        return None if row is None else Audited(row["checked_at"], row["row_count"], row["differing"], row["error"])


async def _claim(tx: PostgresTransaction, replica: str, first_s: float, every_s: float) -> bool:
    await tx.execute(_FIRST, replica, first_s)
    return await tx.fetchval(_CLAIM, replica, every_s) is not None


async def _execute(tx: PostgresTransaction, statement: str, *values: Any) -> None:
    await tx.execute(statement, *values)
