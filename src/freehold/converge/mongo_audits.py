"""When replicas are audited, in a MongoDB subscriber's own store; see `freehold.converge.audits`."""

from __future__ import annotations

from typing import Any

from pymongo.errors import PyMongoError

from freehold.converge.audits import Audited
from freehold.outbox.mongo_settings import AUDITS, translate
from freehold.store.mongo import Mongo


class MongoAudits:
    """Keep when replicas are audited."""

    def __init__(self, store: Mongo) -> None:
        self._store = store

    async def claim(self, replica: str, first_s: float, every_s: float) -> bool:
        """Say whether it is due; see `Audits.claim`."""
        audits = self._store[AUDITS]
        first = {"$ifNull": ["$due_at", _in(first_s)]}
        try:
            await audits.update_one({"_id": replica}, [{"$set": {"due_at": first}}], upsert=True)
            done = await audits.update_one(
                {"_id": replica, "$expr": {"$lte": ["$due_at", "$$NOW"]}}, [{"$set": {"due_at": _in(every_s)}}]
            )
        except PyMongoError as error:
            raise self._translate(error) from error
        return done.modified_count == 1

    async def note(self, replica: str, rows: int, differing: int, error: str) -> None:
        """Keep what was found; see `Audits.note`."""
        found: dict[str, Any] = {"row_count": rows, "differing": differing, "error": {"$literal": error}}
        try:
            await self._store[AUDITS].update_one({"_id": replica}, [{"$set": {"checked_at": "$$NOW"} | found}])
        except PyMongoError as failure:
            raise self._translate(failure) from failure

    async def last(self, replica: str) -> Audited | None:
        """Give what was found last; see `Audits.last`."""
        try:
            kept = await self._store[AUDITS].find_one({"_id": replica, "checked_at": {"$ne": None}})
        except PyMongoError as error:
            raise self._translate(error) from error
        return (
            None if kept is None else Audited(kept["checked_at"], kept["row_count"], kept["differing"], kept["error"])
        )

    def _translate(self, error: PyMongoError) -> Exception:
        return translate(error, f"keep the audits of {self._store.service}")


def _in(seconds: float) -> dict[str, Any]:
    return {"$add": ["$$NOW", int(seconds * 1_000)]}
