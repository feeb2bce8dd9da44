"""The history of a PostgreSQL store."""

from __future__ import annotations

from typing import Any

import msgspec

from freehold.errors import ConflictError
from freehold.store.history import History
from freehold.store.postgres import Postgres
from freehold.store.postgres_transaction import PostgresTransaction

_READ = "SELECT epoch, tally, told::text FROM freehold.store"
# The tally is above both: whatever the topic remembers, this store is not behind it.
_BEGIN = """
UPDATE freehold.store SET epoch = epoch + 1, tally = greatest(tally, $2) + 1, told = '{}' WHERE epoch = $1
RETURNING epoch, tally, told::text
"""
_FENCE_RELAY = "UPDATE freehold.lease SET epoch = epoch + 1, expires_at = '-infinity' WHERE name = 'relay'"


class PostgresHistory:
    """Read and begin it; see `freehold.store.history.Histories` for what is promised."""

    def __init__(self, store: Postgres) -> None:
        self._store = store

    async def read(self) -> History:
        """Read it."""
        return _history(await self._store.fetchrow(_READ))

    async def begin(self, known: History, tally: int) -> History:
        """Begin a new one; see `Histories.begin`."""
        history = await self._store.transact(_begin, known, tally)
        self._store.epoch = history.epoch
        return history

    async def note(self, history: History, told: dict[str, str] | None) -> None:
        """Keep how far the telling is."""
        text = None if told is None else msgspec.json.encode(told).decode()
        await self._store.transact(_note, history.epoch, text)


async def _begin(tx: PostgresTransaction, known: History, tally: int) -> History:
    # A service may let its commits return before they are on disk: this one must be.
    await tx.execute("SET LOCAL synchronous_commit = on")
    row = await tx.fetchrow(_BEGIN, known.epoch, tally)
    if row is None:
        raise ConflictError("another command has begun a new epoch meanwhile; look again")
    await tx.execute(_FENCE_RELAY)
    return _history(row)


async def _note(tx: PostgresTransaction, epoch: int, text: str | None) -> None:
    await tx.execute("UPDATE freehold.store SET told = $2::text::jsonb WHERE epoch = $1", epoch, text)


def _history(row: Any) -> History:
    epoch, tally, told = row
    return History(
        epoch=epoch, tally=tally, told=None if told is None else msgspec.json.decode(told, type=dict[str, str])
    )
