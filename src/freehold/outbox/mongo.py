"""The outbox of a MongoDB store, read in commit order.

Theory of operation. A row's _id is {key, version, index}; a transaction inserts its rows last. A sweep reads the whole
collection by _id in one snapshot, at a cluster time T that the server names; what the log tells from T + 1 on is then
exactly what the snapshot could not hold. No resume token is ever stored: a relay always begins with a sweep, so a log
that has lost its history costs a second sweep and no row (pitfall 3). Within one `open` the cursor's own place in
the log is all that is needed; whatever happens to the cursor ends in StoreUnavailable, open, and sweep.

The lease is one document by the server's clock. It is free as soon as its holder has no connection any more.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Any

import pymongo
from bson import Timestamp
from pymongo import MongoClient, ReturnDocument, WriteConcern
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.errors import PyMongoError

from freehold.errors import ConfigurationError, FencedError, StoreUnavailable
from freehold.event import OutboxRow
from freehold.outbox import CHUNK_ROWS, Chunk
from freehold.outbox.mongo_presence import list_operations, names_present
from freehold.outbox.mongo_settings import (
    EPOCHS,
    LEASES,
    OUTBOX,
    client_options,
    database_name,
    name_prefix,
    new_name,
    translating,
)

Document = dict[str, Any]

LEASE = "relay"
TALLY = "tally"
# A relay that was stopped is replaced after this; one that was killed, at once.
LEASE_TTL_MS = 6_000
RENEW_S = 2.0
# One statement deletes this many rows at most, so that it holds up nothing for long.
DELETE_ROWS_MAX = 1_000
CLOSE_LIMIT_S = 1.0
LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
EMPTY_TIMESTAMP = Timestamp(0, 0)


def outbox_document(row: OutboxRow) -> Document:
    """Write an outbox row as it is kept."""
    return {
        "_id": outbox_id(row),
        "type": row.type,
        "headers": row.headers,
        "data": row.data,
        # The server fills an empty timestamp in from its own clock.
        "at": EMPTY_TIMESTAMP,
    }


def outbox_id(row: OutboxRow) -> Document:
    """Give the _id of a row; compared field by field, it orders rows by key, version and index."""
    return {"key": row.key, "version": row.version, "index": row.index}


def outbox_row(document: Mapping[str, Any]) -> OutboxRow:
    """Read an outbox row back."""
    place = document["_id"]
    return OutboxRow(
        place["key"], place["version"], place["index"], document["type"], document["headers"], document["data"]
    )


class MongoOutbox:
    """Read a MongoDB store's outbox; see `freehold.outbox.StoreOutbox` for what is promised.

    Args:
        url: The service's own database, with its own credentials.
        service: Whose outbox it is.
    """

    def __init__(self, url: str, service: str) -> None:
        self._url = url
        self._service = service
        self._database_name = database_name(url, service)
        self._client: MongoClient[Document] | None = None
        self._name = ""
        self._session: ClientSession | None = None
        self._cursor_id = 0
        self._ready: list[Document] = []
        self._renewed_at = 0.0

    def open(self) -> bool:
        """Take the store's relay lease and connect; False when another relay holds it."""
        self.close()
        self._name = new_name(self._service)
        self._client = MongoClient(self._url, **client_options(self._name))
        taken = False
        try:
            with self._translating("open"):
                taken = self._take_lease()
        finally:
            if not taken:
                self.close()
        return taken

    def sweep(self) -> Iterator[Chunk]:
        """Hand over all committed rows that are there now, by (key, version, index), from one snapshot."""
        with self._translating("sweep"):
            self._begin_session()
            cursor = self._command(
                {
                    "find": OUTBOX,
                    "sort": {"_id": 1},
                    "projection": {"at": 0},
                    "batchSize": CHUNK_ROWS,
                    "readConcern": {"level": "snapshot"},
                }
            )
        swept_to, documents = cursor["atClusterTime"], cursor["firstBatch"]
        while documents:
            yield Chunk([outbox_row(document) for document in documents])
            documents = []
            if cursor["id"]:
                with self._translating("sweep"):
                    self._renew()
                    cursor = self._command({"getMore": cursor["id"], "collection": OUTBOX, "batchSize": CHUNK_ROWS})
                documents = cursor["nextBatch"]
        with self._translating("follow"):
            self._begin_following(swept_to)

    def follow(self, wait_s: float) -> Chunk | None:
        """Hand over the next rows of the log that no sweep held; None when none came within `wait_s`."""
        with self._translating("follow"):
            self._renew()
            events = self._ready or self._next_events(wait_s)
            self._ready = []
        if not events:
            return None
        return Chunk([outbox_row(event["fullDocument"]) for event in events])

    def acknowledge(self, rows: list[OutboxRow], position: Any) -> None:
        """Delete the rows, which are on the topic; the log needs no word of it."""
        # Not by majority: nobody waits for a delete, and one that an election undoes only repeats what is on the topic.
        outbox = self._database[OUTBOX].with_options(write_concern=WriteConcern(w=1))
        with self._translating("acknowledge"):
            self._renew()
            for first in range(0, len(rows), DELETE_ROWS_MAX):
                ids = [outbox_id(row) for row in rows[first : first + DELETE_ROWS_MAX]]
                outbox.delete_many({"_id": {"$in": ids}})

    def epoch(self) -> int:
        """Give the store's epoch as it is now."""
        with self._translating("read the epoch of"):
            kept = self._database[EPOCHS].find_one({"_id": "epoch"})
        return int(kept["epoch"]) if kept else 1

    def tally(self) -> int:
        """Give how often the tally was raised; see `StoreOutbox.tally`."""
        with self._translating("read the tally of"):
            kept = self._database[EPOCHS].find_one({"_id": TALLY})
        return int(kept["tally"]) if kept else 0

    def raise_tally(self) -> int:
        """Raise the tally by a majority; see `StoreOutbox.raise_tally`."""
        with self._translating("raise the tally of"):
            raised = self._database[EPOCHS].find_one_and_update(
                {"_id": TALLY}, {"$inc": {"tally": 1}}, upsert=True, return_document=ReturnDocument.AFTER
            )
        assert raised is not None  # an upsert
        return int(raised["tally"])

    def close(self) -> None:
        """Give the lease back and let go of the connections; idempotent."""
        client, self._client, self._session = self._client, None, None
        self._ready = []
        if client is None:
            return
        # Whoever cannot give it back has no connection, and so does not keep it either.
        with contextlib.suppress(PyMongoError), pymongo.timeout(CLOSE_LIMIT_S):
            client[self._database_name][LEASES].update_one(
                {"_id": LEASE, "owner": self._name}, {"$set": {"owner": None}}
            )
        client.close()

    def _take_lease(self) -> bool:
        admin = self._connected.admin
        if "setName" not in admin.command("hello"):
            raise ConfigurationError(
                f"the store of {self._service} is no replica set: its outbox cannot be followed; "
                f"start mongod with --replSet and run rs.initiate() (one node is enough)"
            )
        leases = self._database[LEASES]
        leases.update_one({"_id": LEASE}, {"$setOnInsert": {"owner": None, "expires_at": LONG_AGO}}, upsert=True)
        operations = admin.command(list_operations(name_prefix(self._service)))["cursor"]["firstBatch"]
        present = sorted(names_present(operations) - {self._name})
        is_free = {"$or": [{"owner": {"$nin": present}}, {"$expr": {"$lte": ["$expires_at", "$$NOW"]}}]}
        self._renewed_at = time.monotonic()
        return leases.update_one({"_id": LEASE, **is_free}, self._lease_update()).matched_count == 1

    def _renew(self) -> None:
        now = time.monotonic()
        if now - self._renewed_at < RENEW_S:
            return
        if (
            not self._database[LEASES]
            .update_one({"_id": LEASE, "owner": self._name}, self._lease_update())
            .matched_count
        ):
            raise FencedError(f"another relay of {self._service} has taken over; this one stands back")
        self._renewed_at = now

    def _lease_update(self) -> list[Document]:
        return [{"$set": {"owner": self._name, "expires_at": {"$add": ["$$NOW", LEASE_TTL_MS]}}}]

    def _begin_session(self) -> ClientSession:
        self._session = self._connected.start_session(causal_consistency=False)
        return self._session

    def _begin_following(self, swept_to: Timestamp) -> None:
        """Open the log right after the snapshot: what was committed at `swept_to` is in it, what came later is not."""
        stream = {"startAtOperationTime": Timestamp(swept_to.time, swept_to.inc + 1)}
        cursor = self._command(
            {
                "aggregate": OUTBOX,
                "pipeline": [
                    {"$changeStream": stream},
                    {"$match": {"operationType": "insert"}},
                    {"$project": {"fullDocument": 1}},
                ],
                "cursor": {"batchSize": CHUNK_ROWS},
                "readConcern": {"level": "majority"},
            }
        )
        self._cursor_id, self._ready = cursor["id"], cursor["firstBatch"]

    def _next_events(self, wait_s: float) -> list[Document]:
        cursor = self._command(
            {
                "getMore": self._cursor_id,
                "collection": OUTBOX,
                "batchSize": CHUNK_ROWS,
                "maxTimeMS": max(1, round(wait_s * 1_000)),
            }
        )
        events: list[Document] = cursor["nextBatch"]
        if not cursor["id"] and not events:
            raise StoreUnavailable(f"the outbox of {self._service} was dropped or renamed; it is swept again")
        return events

    def _command(self, command: Document) -> Document:
        cursor: Document = self._database.command(command, session=self._session)["cursor"]
        return cursor

    @property
    def _connected(self) -> MongoClient[Document]:
        assert self._client is not None, "open() comes first"
        return self._client

    @property
    def _database(self) -> Database[Document]:
        return self._connected[self._database_name]

    def _translating(self, what: str) -> AbstractContextManager[None]:
        return translating(f"{what} the outbox of {self._service}")
