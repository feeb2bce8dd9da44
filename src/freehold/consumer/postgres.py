"""Positions and guards in a PostgreSQL subscriber's own store."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from freehold.consumer import Claim
from freehold.errors import FencedError, HeldError, IdentityError
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

_IS_HELD = "SELECT EXISTS (SELECT FROM freehold.holds WHERE source = $1 AND expires_at > clock_timestamp())"
_HOLD = """
INSERT INTO freehold.holds AS held (source, token, expires_at)
VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))
ON CONFLICT (source) DO UPDATE SET token = excluded.token, expires_at = excluded.expires_at
WHERE held.token = excluded.token OR held.expires_at <= clock_timestamp()
"""
_FENCE = "UPDATE freehold.positions SET owner_epoch = owner_epoch + 1 WHERE source = $1"
_REPLACE = """
INSERT INTO freehold.positions (source, partition, topic_id, owner_epoch, next_offset)
SELECT $1, kept.partition, $2, $3, kept.next_offset FROM unnest($4::integer[], $5::bigint[]) AS kept (partition, next_offset)
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

    async def hold(self, source: str, token: str, limit_s: float) -> None:
        """Fence whoever applies this source, and let nobody claim it for a while; see `freehold.consumer.Ledger`."""
        await self._store.transact(_hold, source, token, limit_s)

    async def release(self, source: str, token: str) -> None:
        """End the hold of that token, if it still holds."""
        await self._store.transact(_release, source, token)

    async def is_held(self, source: str) -> bool:
        """Say whether nobody may apply this source now."""
        return bool(await self._store.fetchval(_IS_HELD, source))

    async def replace(self, tx: PostgresTransaction, source: str, topic_id: str, positions: Mapping[int, int]) -> None:
        """Forget the positions of this source, in this transaction, and keep these for the topic of that id."""
        former = await tx.fetchval("SELECT max(owner_epoch) FROM freehold.positions WHERE source = $1", source)
        await tx.execute("DELETE FROM freehold.positions WHERE source = $1", source)
        offsets = list(positions.values())
        await tx.execute(_REPLACE, source, topic_id, (former or 0) + 1, list(positions), offsets)

    async def topic_ids(self, source: str) -> set[str]:
        """Name the topics for which positions of this source are kept."""
        rows = await self._store.fetch("SELECT DISTINCT topic_id FROM freehold.positions WHERE source = $1", source)
        return {row["topic_id"] for row in rows}


async def _claim(tx: PostgresTransaction, source: str, topic_id: str, partition: int, owner: str) -> Claim:
    other = await tx.fetchval(
        "SELECT topic_id FROM freehold.positions WHERE source = $1 AND topic_id <> $2 LIMIT 1", source, topic_id
    )
    if other is not None:
        raise IdentityError(
            f"positions of {source} are kept for topic {other}, but the topic is now {topic_id}: it was made anew. Nothing is "
            f"applied until an operator says: freehold rebuild --of {source}"
        )
    await tx.execute(_END_STOPPED, source, partition, owner, STOPPED_AFTER_S)
    await tx.execute(_WAIT_FOR_BATCH)
    row = await tx.fetchrow(_CLAIM, source, partition, topic_id, owner)
    if row is None:
        raise FencedError(f"partition {partition} of {source} could not be claimed")
    # Only now: whoever holds the source either was before us here, or fences us.
    if await tx.fetchval(_IS_HELD, source):
        raise HeldError(source)
    return Claim(source, topic_id, partition, row["owner_epoch"], row["next_offset"])


async def _positions(tx: PostgresTransaction, source: str) -> list[tuple[int, int]]:
    rows = await tx.fetch(
        "SELECT partition, next_offset FROM freehold.positions WHERE source = $1 AND next_offset IS NOT NULL", source
    )
    return [(row["partition"], row["next_offset"]) for row in rows]


async def _hold(tx: PostgresTransaction, source: str, token: str, limit_s: float) -> None:
    await tx.execute(_WAIT_FOR_BATCH)
    if await tx.execute(_HOLD, source, token, limit_s) != "INSERT 0 1":
        raise HeldError(source)
    await tx.execute(_FENCE, source)


async def _release(tx: PostgresTransaction, source: str, token: str) -> None:
    await tx.execute("DELETE FROM freehold.holds WHERE source = $1 AND token = $2", source, token)
