"""When replicas are audited, in a MongoDB subscriber's own store; see `freehold.converge.audits`."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

from freehold.converge.audits import Audited
from freehold.outbox.mongo_settings import AUDITS, translating
from freehold.store.mongo import Mongo


class MongoAudits:
    """Keep when replicas are audited."""

    def __init__(self, store: Mongo) -> None:
        self._store = store

    async def claim(self, replica: str, first_s: float, every_s: float) -> bool:
        """Say whether it is due; see `Audits.claim`."""
        audits = self._store[AUDITS]
        first = {"$ifNull": ["$due_at", _in(first_s)]}
        with self._translating():
            await audits.update_one({"_id": replica}, [{"$set": {"due_at": first}}], upsert=True)
            done = await audits.update_one(
                {"_id": replica, "$expr": {"$lte": ["$due_at", "$$NOW"]}}, [{"$set": {"due_at": _in(every_s)}}]
            )
        return done.modified_count == 1

    async def note(self, replica: str, rows: int, differing: int, error: str) -> None:
        """Keep what was found; see `Audits.note`."""
        found: dict[str, Any] = {"row_count": rows, "differing": differing, "error": {"$literal": error}}
        with self._translating():
            await self._store[AUDITS].update_one({"_id": replica}, [{"$set": {"checked_at": "$$NOW"} | found}])

    async def last(self, replica: str) -> Audited | None:
        """Give what was found last; see `Audits.last`."""
        with self._translating():
            kept = await self._store[AUDITS].find_one({"_id": replica, "checked_at": {"$ne": None}})
        return (
            None if kept is None else Audited(kept["checked_at"], kept["row_count"], kept["differing"], kept["error"])
        )

    def _translating(self) -> AbstractContextManager[None]:
        return translating(f"keep the audits of {self._store.service}")


def _in(seconds: float) -> dict[str, Any]:
    return {"$add": ["$$NOW", int(seconds * 1_000)]}
