"""Rounds in a MongoDB subscriber's own store."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

from freehold.consumer.parking import Intent, Outcome, ParkedId
from freehold.consumer.redrive import Chosen, Round
from freehold.outbox.mongo_settings import CHOSEN, ROUNDS, translating
from freehold.store.mongo import Mongo

Document = dict[str, Any]

_TO_ASK = {"asked_at": None, "outcome": None}
# The driver sends what it is given at once in messages of its own bounded size.
_INSERT_TOGETHER = 1_000


class MongoRounds:
    """Keep one service's rounds; see `freehold.consumer.redrive.Rounds` for what is promised."""

    def __init__(self, store: Mongo) -> None:
        self._store = store

    async def begin(self, made: Round, chosen: Sequence[Chosen], forget_before: datetime) -> None:
        """Write a round down; see `Rounds`."""
        with self._translating("write"):
            old = [found["_id"] async for found in self._store[ROUNDS].find({"at": {"$lt": forget_before}}, {"_id": 1})]
            if old:
                await self._store[CHOSEN].delete_many({"round": {"$in": old}})
                await self._store[ROUNDS].delete_many({"_id": {"$in": old}})
            await self._store[ROUNDS].insert_one(
                {
                    "_id": made.id,
                    "intent": made.intent.value,
                    "by": made.by,
                    "at": made.at,
                    "even_quarantined": made.even_quarantined,
                    "is_confirmed": False,
                }
            )
            for first in range(0, len(chosen), _INSERT_TOGETHER):
                some = chosen[first : first + _INSERT_TOGETHER]
                await self._store[CHOSEN].insert_many([_document(made.id, each) for each in some])

    async def find(self, round_id: str) -> Round | None:
        """Read a round."""
        with self._translating("read"):
            return _round(await self._store[ROUNDS].find_one({"_id": round_id}))

    async def confirm(self, round_id: str) -> None:
        """Let it be stepped through."""
        with self._translating("confirm"):
            await self._store[ROUNDS].update_one({"_id": round_id}, {"$set": {"is_confirmed": True}})

    async def drop(self, round_id: str) -> None:
        """Delete a round unless it was confirmed."""
        with self._translating("drop"):
            dropped = await self._store[ROUNDS].delete_one({"_id": round_id, "is_confirmed": False})
            if dropped.deleted_count:
                await self._store[CHOSEN].delete_many({"round": round_id})

    async def unfinished(self) -> Round | None:
        """Read the newest confirmed round of which something is still to be asked for."""
        with self._translating("read"):
            async for found in self._store[ROUNDS].find({"is_confirmed": True}).sort("_id", -1):
                if await self._store[CHOSEN].find_one({"round": found["_id"]} | _TO_ASK, {"_id": 1}) is not None:
                    return _round(found)
        return None

    async def unasked(self, round_id: str, limit: int) -> list[Chosen]:
        """Read, in order, the events that are still to be asked for."""
        with self._translating("read"):
            found = self._store[CHOSEN].find({"round": round_id} | _TO_ASK).sort("event", 1).limit(limit)
            return [_chosen(each) async for each in found]

    async def chosen(self, round_id: str) -> list[Chosen]:
        """Read all its events, in order."""
        with self._translating("read"):
            return [_chosen(each) async for each in self._store[CHOSEN].find({"round": round_id}).sort("event", 1)]

    async def mark(self, round_id: str, event: ParkedId, at: datetime, outcome: Outcome | None = None) -> None:
        """Note that the event was asked for or, with an outcome, that it need not be; an outcome that is there stays."""
        which = {"round": round_id, "event": event._asdict()}
        with self._translating("mark"):
            await self._store[CHOSEN].update_one(which | {"asked_at": None}, {"$set": {"asked_at": at}})
            if outcome is not None:
                await self._store[CHOSEN].update_one(which | {"outcome": None}, {"$set": {"outcome": outcome.value}})

    def _translating(self, what: str) -> AbstractContextManager[None]:
        return translating(f"{what} what operators of {self._store.service} chose")


def _document(round_id: str, each: Chosen) -> Document:
    return {
        "round": round_id,
        "event": each.id._asdict(),
        "type": each.type,
        "event_id": each.event_id,
        "replays": each.replays,
        "asked_at": each.asked_at,
        "outcome": each.outcome and each.outcome.value,
    }


def _round(found: Document | None) -> Round | None:
    if found is None:
        return None
    return Round(
        id=found["_id"],
        intent=Intent(found["intent"]),
        by=found["by"],
        at=found["at"],
        even_quarantined=found["even_quarantined"],
        is_confirmed=found["is_confirmed"],
    )


def _chosen(found: Document) -> Chosen:
    return Chosen(
        id=ParkedId(**found["event"]),
        type=found["type"],
        event_id=found["event_id"],
        replays=found["replays"],
        asked_at=found["asked_at"],
        outcome=None if found["outcome"] is None else Outcome(found["outcome"]),
    )
