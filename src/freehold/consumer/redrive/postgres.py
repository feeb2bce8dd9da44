"""Rounds in a PostgreSQL subscriber's own store."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import asyncpg

from freehold.consumer.parking import Intent, Outcome, ParkedId
from freehold.consumer.redrive import Chosen, Round
from freehold.store.postgres import Postgres
from freehold.store.postgres_transaction import PostgresTransaction

_ROUND = "id, intent, asked_by, at, even_quarantined, is_confirmed"
_CHOSEN = "source, topic_id, partition, offset_, type, event_id, replays, asked_at, outcome"
_ORDER = "ORDER BY source, topic_id, partition, offset_"
_TO_ASK = "asked_at IS NULL AND outcome IS NULL"
_BEGIN = "INSERT INTO freehold.rounds (id, intent, asked_by, at, even_quarantined) VALUES ($1, $2, $3, $4, $5)"
_CHOOSE = f"INSERT INTO freehold.chosen (round, {_CHOSEN}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)"  # noqa: S608 (our own names)
_UNFINISHED = (
    f"SELECT {_ROUND} FROM freehold.rounds WHERE is_confirmed AND EXISTS"  # noqa: S608
    f" (SELECT FROM freehold.chosen WHERE round = rounds.id AND {_TO_ASK}) ORDER BY id DESC LIMIT 1"
)
_UNASKED = f"SELECT {_CHOSEN} FROM freehold.chosen WHERE round = $1 AND {_TO_ASK} {_ORDER} LIMIT $2"  # noqa: S608
_MARK = """
UPDATE freehold.chosen SET asked_at = coalesce(asked_at, $6), outcome = coalesce(outcome, $7)
WHERE round = $1 AND source = $2 AND topic_id = $3 AND partition = $4 AND offset_ = $5
"""


class PostgresRounds:
    """Keep one service's rounds; see `freehold.consumer.redrive.Rounds` for what is promised."""

    def __init__(self, store: Postgres) -> None:
        self._store = store

    async def begin(self, made: Round, chosen: Sequence[Chosen], forget_before: datetime) -> None:
        """Write a round down, whole or not at all; see `Rounds`."""
        await self._store.transact(_begin, made, chosen, forget_before)

    async def find(self, round_id: str) -> Round | None:
        """Read a round."""
        query = f"SELECT {_ROUND} FROM freehold.rounds WHERE id = $1"  # noqa: S608
        return _round(await self._store.fetchrow(query, round_id))

    async def confirm(self, round_id: str) -> None:
        """Let it be stepped through."""
        await self._store.transact(_run, "UPDATE freehold.rounds SET is_confirmed = true WHERE id = $1", round_id)

    async def drop(self, round_id: str) -> None:
        """Delete a round unless it was confirmed."""
        await self._store.transact(_run, "DELETE FROM freehold.rounds WHERE id = $1 AND NOT is_confirmed", round_id)

    async def unfinished(self) -> Round | None:
        """Read the newest confirmed round of which something is still to be asked for."""
        return _round(await self._store.fetchrow(_UNFINISHED))

    async def unasked(self, round_id: str, limit: int) -> list[Chosen]:
        """Read, in order, the events that are still to be asked for."""
        return [_chosen(row) for row in await self._store.fetch(_UNASKED, round_id, limit)]

    async def chosen(self, round_id: str) -> list[Chosen]:
        """Read all its events, in order."""
        query = f"SELECT {_CHOSEN} FROM freehold.chosen WHERE round = $1 {_ORDER}"  # noqa: S608
        return [_chosen(row) for row in await self._store.fetch(query, round_id)]

    async def mark(self, round_id: str, event: ParkedId, at: datetime, outcome: Outcome | None = None) -> None:
        """Note that the event was asked for or, with an outcome, that it need not be; an outcome that is there stays."""
        await self._store.transact(_run, _MARK, round_id, *event, at, outcome)


async def _begin(tx: PostgresTransaction, made: Round, chosen: Sequence[Chosen], forget_before: datetime) -> None:
    await tx.execute("DELETE FROM freehold.rounds WHERE at < $1", forget_before)
    await tx.execute(_BEGIN, made.id, made.intent, made.by, made.at, made.even_quarantined)
    await tx.executemany(
        _CHOOSE,
        [(made.id, *each.id, each.type, each.event_id, each.replays, each.asked_at, each.outcome) for each in chosen],
    )


async def _run(tx: PostgresTransaction, statement: str, *arguments: object) -> None:
    await tx.execute(statement, *arguments)


def _round(row: asyncpg.Record | None) -> Round | None:
    if row is None:
        return None
    return Round(
        id=row["id"],
        intent=Intent(row["intent"]),
        by=row["asked_by"],
        at=row["at"],
        even_quarantined=row["even_quarantined"],
        is_confirmed=row["is_confirmed"],
    )


def _chosen(row: asyncpg.Record) -> Chosen:
    return Chosen(
        id=ParkedId(row["source"], row["topic_id"], row["partition"], row["offset_"]),
        type=row["type"],
        event_id=row["event_id"],
        replays=row["replays"],
        asked_at=row["asked_at"],
        outcome=None if row["outcome"] is None else Outcome(row["outcome"]),
    )
