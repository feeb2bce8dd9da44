"""Versions of a copy in a MongoDB subscriber's store: collections beside one another; one rename takes the place of another.

MongoDB renames no two collections at once, so the previous copy is made by the server before, chunk by chunk.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import msgspec
import pymongo
from pymongo import DeleteOne, IndexModel, ReturnDocument
from pymongo.errors import OperationFailure, PyMongoError

from freehold.consumer.mongo import MongoLedger
from freehold.converge.work import Stage, Work, next_name, previous_name, run_of
from freehold.errors import ConflictError, FencedError, HeldError, RebuildError
from freehold.outbox.mongo_settings import HOLDS, REBUILDS, translating
from freehold.service import Replica
from freehold.store.mongo import Mongo
from freehold.store.mongo_schema import ensure_index

Document = dict[str, Any]

COPY_ROWS = 20_000
ERASED_ROWS = 1_000
# Whoever reads the copy while it is renamed waits so long at most.
RENAME_LIMIT_S = 0.5
RENAME_TRIES_MAX = 20
NAMESPACE_NOT_FOUND = 26


class MongoVersions:
    """Keep the versions of a service's copies; see `freehold.converge.versions.Versions` for what is promised."""

    def __init__(self, store: Mongo) -> None:
        self._store = store
        self._ledger = MongoLedger(store)

    async def begin(self, source: str) -> Work:
        """Read the work on a source's copies as the next run of it."""
        with self._translating("begin"):
            kept = await self._store[REBUILDS].find_one_and_update(
                {"_id": source}, {"$inc": {"run": 1}}, upsert=True, return_document=ReturnDocument.AFTER
            )
        assert kept is not None  # an upsert
        work = _work(kept) or Work(source=source)
        work.run = kept["run"]
        return work

    async def read(self, source: str) -> Work | None:
        """Read the work on a source's copies."""
        with self._translating("look at"):
            kept = await self._store[REBUILDS].find_one({"_id": source})
        return _work(kept) if kept else None

    async def save(self, work: Work) -> None:
        """Keep how far it is."""
        with self._translating("keep"):
            saved = await self._store[REBUILDS].update_one(
                {"_id": work.source, "run": work.run}, {"$set": {"work": msgspec.json.encode(work).decode()}}
            )
        if saved.matched_count == 0:
            raise FencedError(f"a later run rebuilds the copies of {work.source}; this one stops")

    async def check(self, replica: Replica) -> None:
        """Do nothing: no part of MongoDB holds on to a collection but by its name."""

    async def take_over(self, replica: Replica, run: int) -> bool:
        """Make what the latest run built this one's."""
        runs = await self._runs(replica)
        return bool(runs) and await self._rename(next_name(replica.into, max(runs)), next_name(replica.into, run))

    async def index_alike(self, replica: Replica, run: int) -> None:
        """Give the collection of that run the indexes that the serving one has beside its key."""
        with self._translating("index"):
            for index in await (await self._store[replica.into].list_indexes()).to_list():
                form = {name: value for name, value in index.items() if name not in {"v", "ns", "key"}}
                if form["name"] != "_id_":
                    model = IndexModel(list(index["key"].items()), **form)
                    await ensure_index(self._store.database, next_name(replica.into, run), model)

    async def drop_strays(self, replica: Replica, keep_run: int | None) -> None:
        """Drop what other runs have left."""
        with self._translating("tidy"):
            for run in set(await self._runs(replica)) - {keep_run}:
                await self._store.database.drop_collection(next_name(replica.into, run))

    async def erase_gone(self, replica: Replica) -> None:
        """Erase from what runs have built whom the serving collection knows to be gone; see `Versions.erase_gone`."""
        for run in await self._runs(replica):
            built = self._store[next_name(replica.into, run)]
            with self._translating("erase from"):
                gone = self._store[replica.into].find({"deleted": True}, {"epoch": 1, "version": 1, "index": 1})
                deletes: list[DeleteOne] = []
                async for each in gone:
                    deletes.append(DeleteOne(_older_than(each)))
                    if len(deletes) == ERASED_ROWS:
                        await built.bulk_write(deletes, ordered=False)
                        deletes = []
                if deletes:
                    await built.bulk_write(deletes, ordered=False)

    async def keep_previous(self, replica: Replica) -> None:
        """Copy the serving collection to the previous one, on the server."""
        previous = self._store[previous_name(replica.into)]
        with self._translating("keep the former"):
            await previous.drop()
            write: Document = {"$merge": {"into": previous.name, "on": "_id", "whenMatched": "replace"}}
            last: Any = None
            while True:
                behind = {"$match": {} if last is None else {"_id": {"$gt": last}}}
                stages: list[Document] = [behind, {"$sort": {"_id": 1}}, {"$limit": COPY_ROWS}, write]
                await (await self._store[replica.into].aggregate(stages)).to_list()
                copied = await previous.find_one({}, {"_id": 1}, sort=[("_id", -1)])
                if copied is None or copied["_id"] == last:
                    break
                last = copied["_id"]
            # Who was erased between the reading and the writing of a chunk was erased from the serving copy alone.
            await (await self._store[replica.into].aggregate([{"$match": {"deleted": True}}, write])).to_list()

    async def settle(self, limit_s: float) -> None:
        """Do nothing: a snapshot from before a rename is refused, and its transaction is run again."""

    async def switch(self, work: Work, replicas: Sequence[Replica], token: str, anew: Mapping[int, int] | None) -> None:
        """Rename each over the serving one; see `Versions.switch`."""
        await self.save(work)
        for replica in sorted(replicas, key=lambda each: each.into):
            await self._check_hold(work.source, token)
            await self._rename(next_name(replica.into, work.run), replica.into, replaces=True)
        if anew is not None:
            await self._store.transact(self._ledger.replace, work.source, work.topic_id, anew)
        work.stage = Stage.EMBEDDING
        await self.save(work)

    async def restore_previous(self, replica: Replica, run: int) -> None:
        """Let the previous collection be what this run has built."""
        if not await self._rename(previous_name(replica.into), next_name(replica.into, run)):
            raise RebuildError(f"there is no copy of before: {previous_name(replica.into)} does not exist")

    async def drop_previous(self, replica: Replica) -> bool:
        """Drop the previous collection; False when there is none."""
        name = previous_name(replica.into)
        with self._translating("tidy"):
            is_there = name in await self._store.database.list_collection_names()
            await self._store.database.drop_collection(name)
        return is_there

    async def is_there(self, replica: Replica) -> bool:
        """Say whether its serving collection has been made."""
        with self._translating("look for"):
            return replica.into in await self._store.database.list_collection_names()

    async def seeded(self, source: str) -> list[str] | None:
        """Name the replicas of a source that hold all of it; see `Versions.seeded`."""
        with self._translating("look at"):
            kept = await self._store[REBUILDS].find_one({"_id": {"seeded": source}})
        return None if kept is None else list(kept["replicas"])

    async def note_seeded(self, source: str, replicas: Sequence[str]) -> None:
        """Keep that, instead of what was noted before."""
        with self._translating("note"):
            await self._store[REBUILDS].update_one(
                {"_id": {"seeded": source}}, {"$set": {"replicas": list(replicas)}}, upsert=True
            )

    async def _runs(self, replica: Replica) -> list[int]:
        with self._translating("look for"):
            names = await self._store.database.list_collection_names()
        return [run for name in names if (run := run_of(name, replica.into)) is not None]

    async def _check_hold(self, source: str, token: str) -> None:
        with self._translating("hold"):
            held = {"_id": source, "token": token, "$expr": {"$gt": ["$expires_at", "$$NOW"]}}
            if await self._store[HOLDS].find_one(held) is None:
                raise HeldError(source)

    async def _rename(self, former: str, name: str, *, replaces: bool = False) -> bool:
        """Rename a collection; False when there is none of that name."""
        if former == name:
            return name in await self._store.database.list_collection_names()
        with self._translating("rename"):
            for _ in range(RENAME_TRIES_MAX):
                try:
                    with pymongo.timeout(RENAME_LIMIT_S):
                        await self._store[former].rename(name, dropTarget=replaces)
                except PyMongoError as error:
                    if isinstance(error, OperationFailure) and error.code == NAMESPACE_NOT_FOUND:
                        return False
                    if not error.timeout:
                        raise
                else:
                    return True
        raise ConflictError(
            f"{name} could not be replaced: open transactions left no moment for it; run the command again"
        )

    def _translating(self, what: str) -> AbstractContextManager[None]:
        return translating(f"{what} the rebuilt copies of {self._store.service}")


def _older_than(gone: Document) -> Document:
    place = [gone["epoch"], gone["version"], gone["index"]]
    is_older = {"$lt": [["$epoch", "$version", "$index"], place]}
    return {"_id": gone["_id"], "deleted": False, "$expr": is_older}


def _work(kept: Mapping[str, Any]) -> Work | None:
    return msgspec.json.decode(kept["work"], type=Work) if "work" in kept else None
