"""Parked events in a PostgreSQL subscriber's own store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import asyncpg
import msgspec

from freehold.consumer.parking import (
    ASKED_MAX,
    CHANGED,
    COUNT_MAX,
    Intent,
    Outcome,
    ParkedEvent,
    ParkedId,
    ParkedState,
    Try,
)
from freehold.event import Place
from freehold.store.postgres import Postgres
from freehold.store.postgres_transaction import PostgresTransaction
from freehold.topic import Record

_LIGHT = (
    "source, topic_id, partition, offset_, topic, kafka_key, timestamp_ms, type, event_id, epoch, version, index,"
    " for_handlers, state, error_type, error, attempts, replays, parked_at, first_failed_at, last_failed_at, retry_at,"
    " intent, is_told, revision"
)
_WHOLE = f"{_LIGHT}, value, headers, edited, traceback, tries"
_COLUMNS = [name.strip() for name in _WHOLE.split(",")]
_PARK = (
    f"INSERT INTO freehold.parked ({_WHOLE})"  # noqa: S608 (our own names)
    f" VALUES ({', '.join(f'${number}' for number in range(1, len(_COLUMNS) + 1))}) ON CONFLICT DO NOTHING"
)
_HERE = "source = $1 AND topic_id = $2 AND partition = $3"
_REMOVE = f"DELETE FROM freehold.parked WHERE {_HERE} AND offset_ = $4 AND revision = $5"  # noqa: S608
_SETTLE = f"UPDATE freehold.chosen SET outcome = $5 WHERE {_HERE} AND offset_ = $4 AND outcome IS NULL"  # noqa: S608
_CLEAR = (
    "WITH cleared AS (DELETE FROM freehold.parked WHERE source = $1 AND kafka_key = $2 AND {which}"
    " RETURNING source, topic_id, partition, offset_)"
    " UPDATE freehold.chosen SET outcome = $3 FROM cleared WHERE chosen.outcome IS NULL"
    " AND (chosen.source, chosen.topic_id, chosen.partition, chosen.offset_)"
    " = (cleared.source, cleared.topic_id, cleared.partition, cleared.offset_)"
)
_BEFORE = "(epoch, version, index) < ($4, $5, $6)"
_ERASE = _CLEAR.format(which=f"(epoch IS NULL OR {_BEFORE})")
_SUPERSEDE = _CLEAR.format(which=f"{_BEFORE} AND NOT for_handlers AND topic_id = $7 AND partition = $8")
_NEXT_OF_KEY = f"SELECT {_WHOLE} FROM freehold.parked WHERE {_HERE} AND kafka_key = $4 ORDER BY offset_ LIMIT 1"  # noqa: S608
_NEXT_KEYLESS = f"SELECT {_WHOLE} FROM freehold.parked WHERE {_HERE} AND kafka_key IS NULL AND offset_ = $4"  # noqa: S608
_CHANGE = (
    "UPDATE freehold.parked SET revision = revision + 1, "  # noqa: S608
    + ", ".join(f"{name} = ${number}" for number, name in enumerate(CHANGED, start=6))
    + f" WHERE {_HERE} AND offset_ = $4 AND revision = $5"
)
_FIND = (
    f"SELECT {_WHOLE} FROM freehold.parked WHERE source = $1 AND partition = $2 AND offset_ = $3"  # noqa: S608
    " AND ($4::text IS NULL OR topic_id = $4) ORDER BY parked_at DESC LIMIT 1"
)
_SCAN = (
    f"SELECT {_LIGHT} FROM freehold.parked"  # noqa: S608
    " WHERE (source, topic_id, partition, offset_) > ($1, $2, $3, $4)"
    " AND ($5::text IS NULL OR source = $5) AND ($6::integer IS NULL OR partition = $6)"
    " ORDER BY source, topic_id, partition, offset_ LIMIT $7"
)
_ASKED = (
    f"SELECT {_LIGHT} FROM freehold.parked"  # noqa: S608
    " WHERE source = $1 AND (topic_id <> $2 OR partition = $3) AND intent IS NOT NULL ORDER BY offset_ LIMIT $4"
)
_HAS_FORMER = "SELECT EXISTS (SELECT FROM freehold.parked WHERE source = $1 AND topic_id <> $2)"
_COUNT = "SELECT count(*) FROM (SELECT 1 FROM freehold.parked WHERE source = $1 LIMIT $2) AS counted"
_FIRST = ("", "", -1, -1)

_encoder = msgspec.msgpack.Encoder()
_headers = msgspec.msgpack.Decoder(tuple[tuple[str, bytes | None], ...])
_tries = msgspec.msgpack.Decoder(tuple[Try, ...])


class PostgresLot:
    """Keep one service's parked events; see `freehold.consumer.parking.Lot` for what is promised."""

    def __init__(self, store: Postgres) -> None:
        self._store = store

    async def park(self, tx: PostgresTransaction, events: Sequence[ParkedEvent]) -> None:
        """Write these in this transaction; one that is there already stays as it is."""
        if events:
            await tx.executemany(_PARK, [_values(event) for event in events])

    async def remove(self, tx: PostgresTransaction, event: ParkedEvent, outcome: Outcome = Outcome.EFFECT) -> bool:
        """Take it out in this transaction, and note how it left; see `Lot`."""
        if await tx.execute(_REMOVE, *event.id, event.revision) != "DELETE 1":
            return False
        await tx.execute(_SETTLE, *event.id, outcome.value)
        return True

    async def clear(self, tx: PostgresTransaction, queue: ParkedId, key: bytes, before: Place, *, erases: bool) -> None:
        """Take out, in this transaction, what a newer state of the key makes needless; see `Lot`."""
        which = (queue.source, key, Outcome.SUPERSEDED.value, before.epoch, before.version, before.index)
        if erases:
            await tx.execute(_ERASE, *which)
        else:
            await tx.execute(_SUPERSEDE, *which, queue.topic_id, queue.partition)

    async def next_of(self, queue: ParkedId, key: bytes | None) -> ParkedEvent | None:
        """Read, whole, the first event of a key's queue; of a record without a key, the one at the queue's offset."""
        if key is None:
            return _event_or_none(await self._store.fetchrow(_NEXT_KEYLESS, *queue))
        return _event_or_none(await self._store.fetchrow(_NEXT_OF_KEY, *queue[:3], key))

    async def change(self, event: ParkedEvent) -> ParkedEvent | None:
        """Write all of the event that may change, if nobody has since it was read; see `Lot`."""
        return await self._store.transact(_change, event)

    async def find(
        self, source: str, partition: int, offset: int, *, topic_id: str | None = None
    ) -> ParkedEvent | None:
        """Read one event whole; see `Lot`."""
        return _event_or_none(await self._store.fetchrow(_FIND, source, partition, offset, topic_id))

    async def scan(
        self,
        *,
        source: str | None = None,
        partition: int | None = None,
        after: ParkedId | None = None,
        limit: int = 500,
    ) -> list[ParkedEvent]:
        """Read events in the order of their ids, light; of one source and partition, or of all."""
        rows = await self._store.fetch(_SCAN, *(after or _FIRST), source, partition, limit)
        return [_event(row) for row in rows]

    async def asked(self, source: str, topic_id: str, partition: int) -> list[ParkedEvent]:
        """Read, light, what an operator wants something of; see `Lot`."""
        return [_event(row) for row in await self._store.fetch(_ASKED, source, topic_id, partition, ASKED_MAX)]

    async def has_former(self, source: str, topic_id: str) -> bool:
        """Say whether events of the source are parked that lay in another topic than this one."""
        return bool(await self._store.fetchval(_HAS_FORMER, source, topic_id))

    async def count(self, source: str) -> int:
        """Count the events of a source, up to COUNT_MAX."""
        return int(await self._store.fetchval(_COUNT, source, COUNT_MAX))


async def _change(tx: PostgresTransaction, event: ParkedEvent) -> ParkedEvent | None:
    changed = [_encoder.encode(event.tries) if name == "tries" else getattr(event, name) for name in CHANGED]
    status = await tx.execute(_CHANGE, *event.id, event.revision, *changed)
    return msgspec.structs.replace(event, revision=event.revision + 1) if status == "UPDATE 1" else None


def _values(event: ParkedEvent) -> tuple[Any, ...]:
    record, place = event.record, event.place
    values = {
        "source": event.id.source,
        "topic_id": event.id.topic_id,
        "partition": event.id.partition,
        "offset_": event.id.offset,
        "topic": record.topic,
        "kafka_key": record.key,
        "timestamp_ms": record.timestamp_ms,
        "epoch": place and place.epoch,
        "version": place and place.version,
        "index": place and place.index,
        "value": record.value,
        "headers": _encoder.encode(record.headers),
        "tries": _encoder.encode(event.tries),
    }
    return tuple(values[name] if name in values else getattr(event, name) for name in _COLUMNS)


def _event_or_none(row: asyncpg.Record | None) -> ParkedEvent | None:
    return None if row is None else _event(row)


def _event(row: asyncpg.Record) -> ParkedEvent:
    found = dict(row)
    parked_id = ParkedId(found["source"], found["topic_id"], found["partition"], found["offset_"])
    return ParkedEvent(
        id=parked_id,
        record=Record(
            topic=found["topic"],
            partition=parked_id.partition,
            offset=parked_id.offset,
            timestamp_ms=found["timestamp_ms"],
            key=found["kafka_key"],
            value=found.get("value"),
            headers=_headers.decode(found["headers"]) if "headers" in found else (),
        ),
        type=found["type"],
        event_id=found["event_id"],
        place=None if found["epoch"] is None else Place(found["epoch"], found["version"], found["index"]),
        for_handlers=found["for_handlers"],
        state=ParkedState(found["state"]),
        error_type=found["error_type"],
        error=found["error"],
        traceback=found.get("traceback", ""),
        tries=_tries.decode(found["tries"]) if "tries" in found else (),
        attempts=found["attempts"],
        replays=found["replays"],
        parked_at=found["parked_at"],
        first_failed_at=found["first_failed_at"],
        last_failed_at=found["last_failed_at"],
        retry_at=found["retry_at"],
        edited=found.get("edited"),
        intent=None if found["intent"] is None else Intent(found["intent"]),
        is_told=found["is_told"],
        revision=found["revision"],
    )
