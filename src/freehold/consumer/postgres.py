"""Positions and guards in a PostgreSQL subscriber's own store."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from freehold.consumer import Claim
from freehold.errors import FencedError, IdentityError
from freehold.event import Place
from freehold.store.postgres import Postgres
from freehold.store.postgres_transaction import PostgresTransaction

# A transaction that goes on rests between two messages for milliseconds; one that is ended by mistake is run again.
STOPPED_AFTER_S = 2.0
# A former owner's batch may hold the row: it ends by itself, or is found at rest when the claim is run again.
_WAIT_FOR_BATCH = f"SET LOCAL lock_timeout = '{STOPPED_AFTER_S + 0.5}s'"
# Whether idle in the transaction or amid a statement whose next message never comes, a stopped process's session waits for
# its client. A living former owner's sessions, and those of other processes, are left alone.
_END_STOPPED = """
SELECT pg_terminate_backend(session.pid)
FROM freehold.positions AS kept JOIN pg_stat_activity AS session ON session.application_name = kept.owner
WHERE kept.source = $1 AND kept.partition = $2 AND kept.owner <> $3
  AND session.usename = current_user AND session.datname = current_database()
  AND session.xact_start IS NOT NULL AND session.wait_event_type = 'Client'
  AND clock_timestamp() - session.state_change > make_interval(secs => $4)
"""
_CLAIM = """
INSERT INTO freehold.positions AS kept (source, partition, topic_id, owner_epoch, owner)
VALUES ($1, $2, $3, 1, $4)
ON CONFLICT (source, partition) DO UPDATE SET owner_epoch = kept.owner_epoch + 1, owner = excluded.owner
RETURNING owner_epoch, next_offset
"""
_ADVANCE = """
UPDATE freehold.positions SET next_offset = $5
WHERE source = $1 AND partition = $2 AND owner_epoch = $3 AND next_offset IS NOT DISTINCT FROM $4
"""
_APPLIED = "SELECT key, epoch, version, index FROM freehold.applied WHERE source = $1 AND key = ANY($2)"
_RECORD = """
INSERT INTO freehold.applied (source, key, epoch, version, index)
SELECT $1, * FROM unnest($2::text[], $3::bigint[], $4::bigint[], $5::integer[])
ON CONFLICT (source, key) DO UPDATE SET epoch = excluded.epoch, version = excluded.version, index = excluded.index
"""


class PostgresLedger:
    """Keep one service's positions in its own store; see `freehold.consumer.Ledger` for what is promised."""

    def __init__(self, store: Postgres) -> None:
        self._store = store

    async def claim(self, source: str, topic_id: str, partition: int) -> Claim:
        """Take the partition over: raise its owner epoch and read its position; see `freehold.consumer.Ledger`.

        What a stopped former owner left open is ended first: it holds its rows, the position perhaps among them.
        """
        return await self._store.transact(_claim, source, topic_id, partition, self._store.name)

    async def advance(self, tx: PostgresTransaction, claim: Claim, offset: int) -> Claim:
        """Move the claim's position to `offset` in this transaction, as its last statement."""
        status = await tx.execute(_ADVANCE, claim.source, claim.partition, claim.owner_epoch, claim.offset, offset)
        if status != "UPDATE 1":
            raise FencedError(
                f"partition {claim.partition} of {claim.source} belongs to another instance now, or its position moved; "
                f"this one drops what it has not committed"
            )
        return dataclasses.replace(claim, offset=offset)

    async def applied(self, tx: PostgresTransaction, source: str, keys: Iterable[str]) -> dict[str, Place]:
        """Read, by key, the place up to which handlers have taken effect; a key never seen is absent."""
        rows = await tx.fetch(_APPLIED, source, list(keys))
        return {row["key"]: Place(row["epoch"], row["version"], row["index"]) for row in rows}

    async def record(self, tx: PostgresTransaction, source: str, places: Mapping[str, Place]) -> None:
        """Write these places in this transaction."""
        # In one order everywhere, so that two transactions cannot wait for one another.
        ordered = sorted(places.items())
        await tx.execute(
            _RECORD,
            source,
            [key for key, _ in ordered],
            [place.epoch for _, place in ordered],
            [place.version for _, place in ordered],
            [place.index for _, place in ordered],
        )

    async def positions(self, source: str) -> dict[int, int]:
        """Read the kept position of each partition of the source."""
        rows = await self._store.transact(_positions, source)
        return dict(rows)


async def _claim(tx: PostgresTransaction, source: str, topic_id: str, partition: int, owner: str) -> Claim:
    other = await tx.fetchval(
        "SELECT topic_id FROM freehold.positions WHERE source = $1 AND topic_id <> $2 LIMIT 1", source, topic_id
    )
    if other is not None:
        raise IdentityError(
            f"positions of {source} are kept for topic {other}, but the topic is now {topic_id}: it was made anew. Nothing is "
            f"applied; rebuild what was made of it, then delete the old rows of freehold.positions"
        )
    await tx.execute(_END_STOPPED, source, partition, owner, STOPPED_AFTER_S)
    await tx.execute(_WAIT_FOR_BATCH)
    row = await tx.fetchrow(_CLAIM, source, partition, topic_id, owner)
    if row is None:
        raise FencedError(f"partition {partition} of {source} could not be claimed")
    return Claim(source, topic_id, partition, row["owner_epoch"], row["next_offset"])


async def _positions(tx: PostgresTransaction, source: str) -> list[tuple[int, int]]:
    rows = await tx.fetch(
        "SELECT partition, next_offset FROM freehold.positions WHERE source = $1 AND next_offset IS NOT NULL", source
    )
    return [(row["partition"], row["next_offset"]) for row in rows]
