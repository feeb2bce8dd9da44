"""The history of a MongoDB store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymongo import ReturnDocument

from freehold.errors import ConflictError
from freehold.outbox.mongo_settings import EPOCHS, LEASES, translating
from freehold.store.history import History
from freehold.store.mongo import Mongo
from freehold.store.mongo_transaction import MongoTransaction


class MongoHistory:
    """Read and begin it; see `freehold.store.history.Histories` for what is promised."""

    def __init__(self, store: Mongo) -> None:
        self._store = store

    async def read(self) -> History:
        """Read it."""
        with translating(f"read the epoch of {self._store.service}"):
            epoch = await self._store[EPOCHS].find_one({"_id": "epoch"}) or {}
            tally = await self._store[EPOCHS].find_one({"_id": "tally"}) or {}
        return _history(epoch, tally)

    async def begin(self, known: History, tally: int) -> History:
        """Begin a new one; see `Histories.begin`."""
        history = await self._store.transact(_begin, known, tally)
        self._store.note_epoch(history.epoch)
        return history

    async def note(self, history: History, told: dict[str, str] | None) -> None:
        """Keep how far the telling is."""
        with translating(f"keep how far {self._store.service} has told its entities again"):
            await self._store[EPOCHS].update_one({"_id": "epoch", "epoch": history.epoch}, {"$set": {"told": told}})


async def _begin(tx: MongoTransaction, known: History, tally: int) -> History:
    epoch = await tx[EPOCHS].find_one_and_update(
        {"_id": "epoch", "epoch": known.epoch},
        {"$inc": {"epoch": 1}, "$set": {"told": {}}},
        return_document=ReturnDocument.AFTER,
    )
    if epoch is None:
        raise ConflictError("another command has begun a new epoch meanwhile; look again")
    above = {"tally": max(known.tally, tally) + 1}
    await tx[EPOCHS].update_one({"_id": "tally"}, {"$max": above}, upsert=True)
    await tx[LEASES].update_one({"_id": "relay"}, {"$set": {"owner": None}})
    return _history(epoch, above)


def _history(epoch: Mapping[str, Any], tally: Mapping[str, Any]) -> History:
    return History(epoch=epoch.get("epoch", 1), tally=tally.get("tally", 0), told=epoch.get("told"))
