"""Positions and guards in a MongoDB subscriber's own store."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import pymongo
from pymongo import ReturnDocument, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection

from freehold.consumer import Claim
from freehold.errors import FencedError, HeldError, IdentityError
from freehold.event import Place
from freehold.outbox.mongo_settings import APPLIED, HOLDS, POSITIONS, translating
from freehold.store.mongo import Mongo
from freehold.store.mongo_transaction import MongoTransaction

Document = dict[str, Any]

# A former owner's last transaction may hold the position; it takes milliseconds, or is ended as abandoned.
CLAIM_LIMIT_S = 8.0
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)


class MongoLedger:
    """Keep one service's positions in its own store; see `freehold.consumer.Ledger` for what is promised."""

    def __init__(self, store: Mongo) -> None:
        self._store = store

    async def claim(self, source: str, topic_id: str, partition: int) -> Claim:
        """Take the partition over: raise its owner epoch and read its position.

        What the former owner left open is ended first: MongoDB would let a killed client's transaction block its
        documents, the position among them, for up to a minute.
        """
        place = {"source": source, "topic_id": topic_id, "partition": partition}
        what = f"claim partition {partition} of {source} for {self._store.service}"
        with translating(what), pymongo.timeout(CLAIM_LIMIT_S):
            await self._check_identity(source, topic_id)
            former = await self._positions.find_one({"_id": place})
            await self._store.end_abandoned(stopped=former["owner"] if former else None)
            # One document is moved in one step: whoever read the former epoch fails to advance from now on.
            claimed = await self._positions.find_one_and_update(
                {"_id": place},
                {
                    "$inc": {"owner_epoch": 1},
                    "$set": {"owner": self._store.name},
                    "$setOnInsert": {"next_offset": None},
                },
                upsert=True,
                return_document=ReturnDocument.AFTER,
            )
            # Only now: whoever holds the source either was before us here, or fences us.
            if await self._store[HOLDS].find_one(_held(source)):
                raise HeldError(source)
        assert claimed is not None  # an upsert
        return Claim(source, topic_id, partition, claimed["owner_epoch"], claimed["next_offset"])

    async def advance(self, tx: MongoTransaction, claim: Claim, offset: int) -> Claim:
        """Move the claim's position to `offset` in this transaction, as its last statement."""
        moved = await tx[POSITIONS].update_one(
            {
                "_id": {"source": claim.source, "topic_id": claim.topic_id, "partition": claim.partition},
                "next_offset": claim.offset,
                "owner_epoch": claim.owner_epoch,
            },
            {"$set": {"next_offset": offset}},
        )
        if moved.matched_count == 0:
            raise FencedError(
                f"partition {claim.partition} of {claim.source} belongs to another instance now, or its position moved; "
                f"this one drops what it has not committed"
            )
        return dataclasses.replace(claim, offset=offset)

    async def applied(self, tx: MongoTransaction, source: str, keys: Iterable[str]) -> dict[str, Place]:
        """Read, by key, the place up to which handlers have taken effect; a key never seen is absent."""
        ids = [{"source": source, "key": key} for key in keys]
        return {
            found["_id"]["key"]: Place(found["epoch"], found["version"], found["index"])
            async for found in tx[APPLIED].find({"_id": {"$in": ids}})
        }

    async def record(self, tx: MongoTransaction, source: str, places: Mapping[str, Place]) -> None:
        """Write these places in this transaction."""
        writes = [
            UpdateOne(
                {"_id": {"source": source, "key": key}},
                {"$set": {"epoch": place.epoch, "version": place.version, "index": place.index}},
                upsert=True,
            )
            for key, place in places.items()
        ]
        if writes:
            await tx[APPLIED].bulk_write(writes, ordered=False)

    async def positions(self, source: str) -> dict[int, int]:
        """Read the kept position of each partition of the source."""
        with translating(f"read the positions of {source} in {self._store.service}"):
            found = self._positions.find({"_id.source": source, "next_offset": {"$ne": None}})
            return {document["_id"]["partition"]: document["next_offset"] async for document in found}

    async def hold(self, source: str, token: str, limit_s: float) -> None:
        """Fence whoever applies this source, and let nobody claim it for a while; see `freehold.consumer.Ledger`."""
        is_free = {"$or": [{"token": token}, {"$expr": {"$lte": ["$expires_at", "$$NOW"]}}]}
        until = {"$add": ["$$NOW", round(limit_s * 1_000)]}
        holds = self._store[HOLDS]
        with translating(f"hold the copies of {source} in {self._store.service}"):
            await holds.update_one(
                {"_id": source}, {"$setOnInsert": {"token": "", "expires_at": LONG_AGO}}, upsert=True
            )
            taken = await holds.update_one(
                {"_id": source, **is_free}, [{"$set": {"token": token, "expires_at": until}}]
            )
            if taken.matched_count == 0:
                raise HeldError(source)
            await self._positions.update_many({"_id.source": source}, {"$inc": {"owner_epoch": 1}})

    async def release(self, source: str, token: str) -> None:
        """End the hold of that token, if it still holds."""
        with translating(f"release the copies of {source} in {self._store.service}"):
            await self._store[HOLDS].delete_one({"_id": source, "token": token})

    async def is_held(self, source: str) -> bool:
        """Say whether nobody may apply this source now."""
        with translating(f"see whether {source} is held in {self._store.service}"):
            return await self._store[HOLDS].find_one(_held(source)) is not None

    async def replace(self, tx: MongoTransaction, source: str, topic_id: str, positions: Mapping[int, int]) -> None:
        """Forget the positions of this source, in this transaction, and keep these for the topic of that id."""
        former = [kept["owner_epoch"] async for kept in tx[POSITIONS].find({"_id.source": source})]
        await tx[POSITIONS].delete_many({"_id.source": source})
        epoch = max(former, default=0) + 1
        kept = [
            {
                "_id": {"source": source, "topic_id": topic_id, "partition": partition},
                "owner_epoch": epoch,
                "owner": None,
                "next_offset": offset,
            }
            for partition, offset in positions.items()
        ]
        if kept:
            await tx[POSITIONS].insert_many(kept)

    async def topic_ids(self, source: str) -> set[str]:
        """Name the topics for which positions of this source are kept."""
        with translating(f"read the positions of {source} in {self._store.service}"):
            return set(await self._positions.distinct("_id.topic_id", {"_id.source": source}))

    @property
    def _positions(self) -> AsyncCollection[Document]:
        return self._store[POSITIONS]

    async def _check_identity(self, source: str, topic_id: str) -> None:
        other = await self._positions.find_one({"_id.source": source, "_id.topic_id": {"$ne": topic_id}})
        if other is not None:
            raise IdentityError(
                f"{self._store.service} has applied {source} from topic {other['_id']['topic_id']}, but the topic is now "
                f"{topic_id}: it was made anew. Nothing is applied until an operator says: freehold rebuild --of {source}"
            )


def _held(source: str) -> Document:
    return {"_id": source, "$expr": {"$gt": ["$expires_at", "$$NOW"]}}
