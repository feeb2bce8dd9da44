"""Positions and guards in a MongoDB subscriber's own store."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import pymongo
from pymongo import ReturnDocument, UpdateOne
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.errors import PyMongoError

from freehold.consumer import Claim
from freehold.errors import FencedError, IdentityError
from freehold.event import Place
from freehold.outbox.mongo_settings import APPLIED, POSITIONS, translate
from freehold.store.mongo import Mongo
from freehold.store.mongo_transaction import MongoTransaction

Document = dict[str, Any]

# A former owner's last transaction may hold the position; it takes milliseconds, or is ended as abandoned.
CLAIM_LIMIT_S = 8.0


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
        try:
            with pymongo.timeout(CLAIM_LIMIT_S):
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
        except PyMongoError as error:
            raise translate(error, f"claim partition {partition} of {source} for {self._store.service}") from error
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
        try:
            found = self._positions.find({"_id.source": source, "next_offset": {"$ne": None}})
            return {document["_id"]["partition"]: document["next_offset"] async for document in found}
        except PyMongoError as error:
            raise translate(error, f"read the positions of {source} in {self._store.service}") from error

    @property
    def _positions(self) -> AsyncCollection[Document]:
        return self._store[POSITIONS]

    async def _check_identity(self, source: str, topic_id: str) -> None:
        other = await self._positions.find_one({"_id.source": source, "_id.topic_id": {"$ne": topic_id}})
        if other is not None:
            raise IdentityError(
                f"{self._store.service} has applied {source} from topic {other['_id']['topic_id']}, but the topic is now "
                f"{topic_id}: it was made anew. Nothing is applied; rebuild what was made of it, then drop the old positions"
            )
