"""A service's MongoDB database as a drill sees it."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any

import pymongo
from pymongo.database import Database
from pymongo.errors import PyMongoError

from freehold.drill.holdings import ANSWER_TIMEOUT_S, Place, Unreadable, make_copy, make_row
from freehold.drill.observed import Copy, Kept, Row
from freehold.drill.workload import Effects
from freehold.outbox.mongo_settings import OUTBOX, PARKED, POSITIONS
from freehold.service import Entity, Replica

Document = dict[str, Any]


class MongoHoldings:
    """Fill `freehold.drill.holdings.Holdings`."""

    def __init__(self, service: str, url: str) -> None:
        limit_ms = int(ANSWER_TIMEOUT_S * 1_000)
        self._client: pymongo.MongoClient[Document] = pymongo.MongoClient(
            url, serverSelectionTimeoutMS=limit_ms, socketTimeoutMS=4 * limit_ms, connectTimeoutMS=limit_ms
        )
        self._database: Database[Document] = self._client.get_default_database(service)

    def rows(self, entity: Entity) -> dict[str, Row]:
        """Give every entity of this kind by id."""
        with _read():
            rows = [make_row(entity, each) for each in self._database[entity.rows].find()]
        return {row.entity_id: row for row in rows}

    def waiting(self) -> set[Place]:
        """Give what waits in the outbox."""
        with _read():
            found = [each["_id"] for each in self._database[OUTBOX].find({}, {"_id": 1})]
        return {(each["key"], each["version"], each["index"]) for each in found}

    def parked(self) -> int:
        """Count the parked events."""
        with _read():
            return self._database[PARKED].count_documents({})

    def positions(self, source: str) -> dict[int, int]:
        """Give, by partition, up to where the source's topic is applied."""
        with _read():
            found = list(self._database[POSITIONS].find({"_id.source": source}))
        return {each["_id"]["partition"]: each["next_offset"] or 0 for each in found}

    def kept(self, replica: Replica) -> Kept:
        """Give all copies that the replica keeps."""
        embedded: list[Copy] = []
        with _read():
            # A version of 0 is no copy: something was refused for want of one.
            found = list(self._database[replica.into].find({"version": {"$gt": 0}}))
            for collection, name in replica.embedded_in.items():
                documents = self._database[collection].find({f"{name}.id": {"$exists": True}}, {name: 1})
                embedded += [
                    make_copy(
                        f"{collection}.{name}", str(each[name]["id"]), replica, each[name], document=str(each["_id"])
                    )
                    for each in documents
                ]
        return Kept([make_copy(replica.into, str(each["_id"]), replica, each) for each in found], embedded)

    def versions(self, replica: Replica, ids: Collection[str]) -> dict[str, int]:
        """Give the version of the copies of these."""
        with _read():
            found = list(self._database[replica.into].find({"_id": {"$in": list(ids)}}, {"version": 1}))
        return {str(each["_id"]): int(each["version"]) for each in found}

    def traces(self, effects: Effects) -> dict[str, list[str]]:
        """Give, by entity, what the handler left behind, in order."""
        traces: dict[str, list[str]] = {}
        with _read():
            for each in self._database[effects.rows].find().sort(effects.order):
                traces.setdefault(str(each[effects.key]), []).append(each[effects.shows])
        return traces

    def trace_counts(self, effects: Effects, ids: Collection[str]) -> dict[str, int]:
        """Count the traces of these."""
        with _read():
            found = self._database[effects.rows].find({effects.key: {"$in": list(ids)}}, {effects.key: 1})
            return dict(Counter(str(each[effects.key]) for each in found))

    def content(self) -> dict[str, bytes]:
        """Give the bytes of every collection by its name."""
        with _read():
            names = self._database.list_collection_names()
            return {name: _join(self._database[name].find_raw_batches()) for name in names}

    def close(self) -> None:
        """Let go of the connections."""
        self._client.close()


def _join(batches: Any) -> bytes:
    return b"".join(batches)


@contextlib.contextmanager
def _read() -> Iterator[None]:
    try:
        yield
    except PyMongoError as error:
        raise Unreadable(str(error)) from error
