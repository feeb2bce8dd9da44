"""Versions of a copy in a PostgreSQL subscriber's store: tables beside one another, renamed in one transaction."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

import asyncpg
import msgspec

from freehold.consumer.postgres import PostgresLedger
from freehold.converge.work import Stage, Work, next_name, previous_name, run_of
from freehold.errors import FencedError, HeldError, RebuildError
from freehold.service import Replica
from freehold.store.postgres import Postgres
from freehold.store.postgres_transaction import PostgresTransaction, quote_identifier

# Whoever reads the copy while it is renamed waits so long at most; when its readers leave no moment it is tried again.
RENAME_LOCK_MS = 200
SETTLE_LOOK_S = 0.1

_BEGIN = """
INSERT INTO freehold.rebuilds AS kept (source, run, work) VALUES ($1, 1, 'null')
ON CONFLICT (source) DO UPDATE SET run = kept.run + 1
RETURNING run, work::text
"""
_SAVE = "UPDATE freehold.rebuilds SET work = $3::text::jsonb WHERE source = $1 AND run = $2"
_READ = "SELECT work::text FROM freehold.rebuilds WHERE source = $1"
# Each would go on to mean the former table, whatever its name is then.
_HOLDING_ON = """
SELECT 'the foreign key ' || conname || ' of ' || conrelid::regclass FROM pg_constraint
WHERE confrelid = to_regclass($1) AND contype = 'f'
UNION
SELECT 'the view ' || r.ev_class::regclass FROM pg_depend AS d JOIN pg_rewrite AS r ON r.oid = d.objid
WHERE d.classid = 'pg_rewrite'::regclass AND d.refobjid = to_regclass($1) AND r.ev_class <> to_regclass($1)
UNION
SELECT 'the trigger ' || tgname FROM pg_trigger WHERE tgrelid = to_regclass($1) AND NOT tgisinternal
"""
_INDEXES = """
SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = to_regclass($1) AND NOT indisprimary
"""
_TABLES = """
SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = (
    SELECT relnamespace FROM pg_class WHERE oid = to_regclass($1)
)
"""
_IS_HELD = """
SELECT EXISTS (SELECT FROM freehold.holds WHERE source = $1 AND token = $2 AND expires_at > clock_timestamp())
"""
# A relay's sweep reads no copy, and may last as long as Kafka is away.
_OLDER = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
  AND application_name NOT LIKE 'freehold % relay%' AND age(backend_xmin) > age($1::text::xid)
"""


class PostgresVersions:
    """Keep the versions of a service's copies; see `freehold.converge.versions.Versions` for what is promised."""

    def __init__(self, store: Postgres) -> None:
        self._store = store
        self._ledger = PostgresLedger(store)

    async def begin(self, source: str) -> Work:
        """Read the work on a source's copies as the next run of it."""
        run, text = await self._store.transact(_begin, source)
        work = msgspec.json.decode(text, type=Work | None) or Work(source=source)
        work.run = run
        return work

    async def read(self, source: str) -> Work | None:
        """Read the work on a source's copies."""
        text = await self._store.fetchval(_READ, source)
        return msgspec.json.decode(text, type=Work | None) if text else None

    async def save(self, work: Work) -> None:
        """Keep how far it is."""
        await self._store.transact(_save, work)

    async def check(self, replica: Replica) -> None:
        """Make sure that another table can take the place of this one."""
        rows = await self._store.fetch(_HOLDING_ON, quote_identifier(replica.into))
        if rows:
            raise RebuildError(
                f"{replica.into} cannot be replaced: {', '.join(row[0] for row in rows)} would go on to mean the former table; "
                f"drop it by a migration, and join by the entity's id instead"
            )

    async def take_over(self, replica: Replica, run: int) -> bool:
        """Make what the latest run built this one's."""
        runs = await self._runs(replica)
        if runs:
            await self._store.transact(_rename, next_name(replica.into, max(runs)), next_name(replica.into, run))
        return bool(runs)

    async def index_alike(self, replica: Replica, run: int) -> None:
        """Give the table of that run the indexes that the serving one has beside its key."""
        await self._store.transact(_index_alike, replica.into, next_name(replica.into, run))

    async def drop_strays(self, replica: Replica, keep_run: int | None) -> None:
        """Drop what other runs have left."""
        for run in set(await self._runs(replica)) - {keep_run}:
            await self._store.transact(_drop, next_name(replica.into, run))

    async def erase_gone(self, replica: Replica) -> None:
        """Erase from what runs have built whom the serving table knows to be gone; see `Versions.erase_gone`."""
        for run in await self._runs(replica):
            with contextlib.suppress(asyncpg.UndefinedTableError):  # a later run has taken it over
                await self._store.transact(_erase_gone, replica.into, next_name(replica.into, run))

    async def keep_previous(self, replica: Replica) -> None:
        """Do nothing: the switch itself renames the serving table to the previous one."""

    async def settle(self, limit_s: float) -> None:
        """Wait until no open transaction could see what was built as it was before it was whole."""
        now = await self._store.transact(_present)
        until = time.monotonic() + limit_s
        while await self._store.fetchval(_OLDER, now):
            if time.monotonic() > until:
                raise RebuildError(
                    f"a transaction of this database has been open for more than {limit_s:g} s, since before the copy was built; it "
                    f"would see it unfinished. End it (pg_stat_activity shows it), and run the command again"
                )
            await asyncio.sleep(SETTLE_LOOK_S)

    async def switch(self, work: Work, replicas: Sequence[Replica], token: str, anew: Mapping[int, int] | None) -> None:
        """Rename all in one transaction; see `Versions.switch`."""
        await self._store.transact(self._switch, work, replicas, token, anew)

    async def restore_previous(self, replica: Replica, run: int) -> None:
        """Let the previous table be what this run has built."""
        try:
            await self._store.transact(_rename, previous_name(replica.into), next_name(replica.into, run))
        except asyncpg.UndefinedTableError:
            raise RebuildError(f"there is no copy of before: {previous_name(replica.into)} does not exist") from None

    async def drop_previous(self, replica: Replica) -> bool:
        """Drop the previous table; False when there is none."""
        return await self._store.transact(_drop, previous_name(replica.into))

    async def is_there(self, replica: Replica) -> bool:
        """Say whether its serving table has been made."""
        return bool(await self._store.fetchval("SELECT to_regclass($1) IS NOT NULL", quote_identifier(replica.into)))

    async def seeded(self, source: str) -> list[str] | None:
        """Name the replicas of a source that hold all of it; see `Versions.seeded`."""
        text = await self._store.fetchval("SELECT replicas::text FROM freehold.seeded WHERE source = $1", source)
        return None if text is None else msgspec.json.decode(text, type=list[str])

    async def note_seeded(self, source: str, replicas: Sequence[str]) -> None:
        """Keep that, instead of what was noted before."""
        await self._store.transact(_note_seeded, source, msgspec.json.encode(replicas).decode())

    async def _runs(self, replica: Replica) -> list[int]:
        rows = await self._store.fetch(_TABLES, quote_identifier(replica.into))
        return [run for row in rows if (run := run_of(row["relname"], replica.into)) is not None]

    async def _switch(
        self,
        tx: PostgresTransaction,
        work: Work,
        replicas: Sequence[Replica],
        token: str,
        anew: Mapping[int, int] | None,
    ) -> None:
        await tx.execute(f"SET LOCAL lock_timeout = {RENAME_LOCK_MS}")
        run = await tx.fetchval("SELECT run FROM freehold.rebuilds WHERE source = $1 FOR UPDATE", work.source)
        if run != work.run:
            raise FencedError(f"a later run rebuilds the copies of {work.source}; this one stops")
        if not await tx.fetchval(_IS_HELD, work.source, token):
            raise HeldError(work.source)
        for replica in sorted(replicas, key=lambda each: each.into):
            serving, previous = quote_identifier(replica.into), quote_identifier(previous_name(replica.into))
            await tx.execute(f"LOCK TABLE {serving} IN ACCESS EXCLUSIVE MODE")
            await tx.execute(f"DROP TABLE IF EXISTS {previous}")
            await tx.execute(f"ALTER TABLE {serving} RENAME TO {previous}")
            await tx.execute(f"ALTER TABLE {quote_identifier(next_name(replica.into, run))} RENAME TO {serving}")
        if anew is not None:
            await self._ledger.replace(tx, work.source, work.topic_id, anew)
        work.stage = Stage.EMBEDDING
        await _save(tx, work)


async def _begin(tx: PostgresTransaction, source: str) -> tuple[int, str]:
    row = await tx.fetchrow(_BEGIN, source)
    assert row is not None  # an upsert without a condition
    return row["run"], row["work"]


async def _note_seeded(tx: PostgresTransaction, source: str, text: str) -> None:
    await tx.execute(
        "INSERT INTO freehold.seeded VALUES ($1, $2::text::jsonb) ON CONFLICT (source) DO UPDATE SET replicas = excluded.replicas",
        source,
        text,
    )


async def _save(tx: PostgresTransaction, work: Work) -> None:
    if await tx.execute(_SAVE, work.source, work.run, msgspec.json.encode(work).decode()) != "UPDATE 1":
        raise FencedError(f"a later run rebuilds the copies of {work.source}; this one stops")


async def _rename(tx: PostgresTransaction, former: str, name: str) -> None:
    if former != name:
        await tx.execute(f"ALTER TABLE {quote_identifier(former)} RENAME TO {quote_identifier(name)}")


async def _drop(tx: PostgresTransaction, name: str) -> bool:
    is_there = await tx.fetchval("SELECT to_regclass($1) IS NOT NULL", quote_identifier(name))
    await tx.execute(f"DROP TABLE IF EXISTS {quote_identifier(name)}")
    return bool(is_there)


async def _erase_gone(tx: PostgresTransaction, serving: str, beside: str) -> None:
    await tx.execute(
        f"DELETE FROM {quote_identifier(beside)} AS built USING {quote_identifier(serving)} AS served"  # noqa: S608
        " WHERE built.id = served.id AND served.deleted AND NOT built.deleted"
        " AND (built.epoch, built.version, built.index) < (served.epoch, served.version, served.index)"
    )


async def _present(tx: PostgresTransaction) -> Any:
    return await tx.fetchval("SELECT pg_current_xact_id()::xid::text")


async def _index_alike(tx: PostgresTransaction, serving: str, beside: str) -> None:
    for (definition,) in await tx.fetch(_INDEXES, quote_identifier(serving)):
        unique = "UNIQUE " if definition.startswith("CREATE UNIQUE") else ""
        how = definition.partition(" USING ")[2]
        await tx.execute(f"CREATE {unique}INDEX ON {quote_identifier(beside)} USING {how}")
