"""Parked events in a MongoDB subscriber's own store."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

import msgspec
from pymongo import UpdateOne
from pymongo.asynchronous.collection import AsyncCollection

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
from freehold.outbox.mongo_settings import CHOSEN, PARKED, translating
from freehold.store.mongo import Mongo
from freehold.store.mongo_transaction import MongoTransaction
from freehold.topic import Record

Document = dict[str, Any]

_HEAVY = {"value": 0, "headers": 0, "edited": 0, "traceback": 0, "tries": 0}
_KEPT = ("type", "event_id", "for_handlers", "parked_at")


class MongoLot:
    """Keep one service's parked events; see `freehold.consumer.parking.Lot` for what is promised."""

    def __init__(self, store: Mongo) -> None:
        self._store = store

    async def park(self, tx: MongoTransaction, events: Sequence[ParkedEvent]) -> None:
        """Write these in this transaction; one that is there already stays as it is."""
        writes = [
            UpdateOne({"_id": _id(event.id)}, {"$setOnInsert": _document(event)}, upsert=True) for event in events
        ]
        if writes:
            await tx[PARKED].bulk_write(writes, ordered=False)

    async def remove(self, tx: MongoTransaction, event: ParkedEvent, outcome: Outcome = Outcome.EFFECT) -> bool:
        """Take it out in this transaction, and note how it left; see `Lot`."""
        removed = await tx[PARKED].delete_one({"_id": _id(event.id), "revision": event.revision})
        if removed.deleted_count == 0:
            return False
        await tx[CHOSEN].update_many({"event": _id(event.id), "outcome": None}, {"$set": {"outcome": outcome.value}})
        return True

    async def clear(self, tx: MongoTransaction, queue: ParkedId, key: bytes, before: Place, *, erases: bool) -> None:
        """Take out, in this transaction, what a newer state of the key makes needless; see `Lot`."""
        epoch, version = {"place.epoch": before.epoch}, {"place.version": before.version}
        earlier: list[Document] = [
            {"place.epoch": {"$lt": before.epoch}},
            epoch | {"place.version": {"$lt": before.version}},
            epoch | version | {"place.index": {"$lt": before.index}},
        ]
        if erases:
            which = {"_id.source": queue.source, "key": key, "$or": [*earlier, {"place": None}]}
        else:
            which = _of_key(queue, key) | {"$or": earlier, "for_handlers": False}
        cleared = [found["_id"] async for found in tx[PARKED].find(which, {"_id": 1})]
        if not cleared:
            return
        await tx[PARKED].delete_many({"_id": {"$in": cleared}})
        settled = {"$set": {"outcome": Outcome.SUPERSEDED.value}}
        await tx[CHOSEN].update_many({"event": {"$in": cleared}, "outcome": None}, settled)

    async def next_of(self, queue: ParkedId, key: bytes | None) -> ParkedEvent | None:
        """Read, whole, the first event of a key's queue; of a record without a key, the one at the queue's offset."""
        which = {"_id": _id(queue), "key": None} if key is None else _of_key(queue, key)
        with self._translating("read"):
            found = await self._parked.find_one(which, sort=[("_id.offset", 1)])
        return None if found is None else _event(found)

    async def change(self, event: ParkedEvent) -> ParkedEvent | None:
        """Write all of the event that may change, if nobody has since it was read; see `Lot`."""
        changed = _changed(event)
        unset = {name: "" for name in ("intent",) if changed[name] is None}
        changed = {name: value for name, value in changed.items() if name not in unset}
        with self._translating("change"):
            written = await self._parked.update_one(
                {"_id": _id(event.id), "revision": event.revision},
                {"$set": changed, "$inc": {"revision": 1}} | ({"$unset": unset} if unset else {}),
            )
        if written.matched_count == 0:
            return None
        return msgspec.structs.replace(event, revision=event.revision + 1)

    async def find(
        self, source: str, partition: int, offset: int, *, topic_id: str | None = None
    ) -> ParkedEvent | None:
        """Read one event whole; see `Lot`."""
        which: Document = {"_id.source": source, "_id.partition": partition, "_id.offset": offset}
        if topic_id is not None:
            which = {"_id": _id(ParkedId(source, topic_id, partition, offset))}
        with self._translating("read"):
            found = await self._parked.find_one(which, sort=[("parked_at", -1)])
        return None if found is None else _event(found)

    async def scan(
        self,
        *,
        source: str | None = None,
        partition: int | None = None,
        after: ParkedId | None = None,
        limit: int = 500,
    ) -> list[ParkedEvent]:
        """Read events in the order of their ids, light; of one source and partition, or of all."""
        which: Document = {} if after is None else {"_id": {"$gt": _id(after)}}
        if source is not None:
            which["_id.source"] = source
        if partition is not None:
            which["_id.partition"] = partition
        return await self._read(which, limit)

    async def asked(self, source: str, topic_id: str, partition: int) -> list[ParkedEvent]:
        """Read, light, what an operator wants something of; see `Lot`."""
        here = [{"_id.partition": partition}, {"_id.topic_id": {"$ne": topic_id}}]
        return await self._read({"_id.source": source, "intent": {"$exists": True}, "$or": here}, ASKED_MAX)

    async def has_former(self, source: str, topic_id: str) -> bool:
        """Say whether events of the source are parked that lay in another topic than this one."""
        with self._translating("look for"):
            former = {"_id.source": source, "_id.topic_id": {"$ne": topic_id}}
            return await self._parked.find_one(former, {"_id": 1}) is not None

    async def count(self, source: str) -> int:
        """Count the events of a source, up to COUNT_MAX."""
        with self._translating("count"):
            return await self._parked.count_documents({"_id.source": source}, limit=COUNT_MAX)

    async def _read(self, which: Document, limit: int) -> list[ParkedEvent]:
        with self._translating("read"):
            return [_event(found) async for found in self._parked.find(which, _HEAVY).sort("_id").limit(limit)]

    @property
    def _parked(self) -> AsyncCollection[Document]:
        return self._store[PARKED]

    def _translating(self, what: str) -> AbstractContextManager[None]:
        return translating(f"{what} parked events of {self._store.service}")


def _id(parked_id: ParkedId) -> Document:
    # In this order: documents are compared field by field.
    return parked_id._asdict()


def _of_key(queue: ParkedId, key: bytes) -> Document:
    return {
        "_id.source": queue.source,
        "_id.topic_id": queue.topic_id,
        "_id.partition": queue.partition,
        "key": key,
    }


def _changed(event: ParkedEvent) -> Document:
    tries = [{"at": each.at, "error_type": each.error_type} for each in event.tries]
    return {name: getattr(event, name) for name in CHANGED} | {"state": event.state.value, "tries": tries}


def _document(event: ParkedEvent) -> Document:
    record, place = event.record, event.place
    document = (
        _changed(event)
        | {name: getattr(event, name) for name in _KEPT}
        | {
            "topic": record.topic,
            "key": record.key,
            "timestamp_ms": record.timestamp_ms,
            "value": record.value,
            "headers": [list(header) for header in record.headers],
            "place": None if place is None else msgspec.to_builtins(place),
            "revision": event.revision,
        }
    )
    if document["intent"] is None:  # the index of what is asked holds nothing else
        del document["intent"]
    return document


def _event(found: Document) -> ParkedEvent:
    parked_id = ParkedId(**found["_id"])
    values: Document = {name: found.get(name) for name in (*_KEPT, *CHANGED)} | {
        "state": ParkedState(found["state"]),
        "intent": Intent(found["intent"]) if "intent" in found else None,
        "traceback": found.get("traceback", ""),
        "tries": tuple(Try(**each) for each in found.get("tries", ())),
    }
    return ParkedEvent(
        id=parked_id,
        record=Record(
            topic=found["topic"],
            partition=parked_id.partition,
            offset=parked_id.offset,
            timestamp_ms=found["timestamp_ms"],
            key=found["key"],
            value=found.get("value"),
            headers=tuple((name, value) for name, value in found.get("headers", ())),
        ),
        place=None if found["place"] is None else Place(**found["place"]),
        revision=found["revision"],
        **values,
    )
