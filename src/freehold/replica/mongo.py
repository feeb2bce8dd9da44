"""Copies of another service's facts in a MongoDB subscriber's own store.

A copy is a document {_id, fields..., epoch, version, index, deleted}; where it is embedded, {id, fields..., epoch, version,
index, deleted}. Each write is guarded by the place that it finds, so it needs no transaction and no order (decision 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bson.errors import BSONError
from pymongo import IndexModel, ReplaceOne, UpdateMany
from pymongo.errors import BulkWriteError, PyMongoError

from freehold.errors import EventRejected, StoreUnavailable
from freehold.event import Place
from freehold.outbox.mongo_settings import translate
from freehold.replica import State
from freehold.service import Replica
from freehold.store.mongo import Mongo
from freehold.store.mongo_schema import ensure_index

Document = dict[str, Any]

DUPLICATE_KEY = 11000


class MongoCopies:
    """Keep one declared replica; see `freehold.replica.Copies` for what is promised."""

    def __init__(self, store: Mongo, replica: Replica) -> None:
        self._store = store
        self._of = replica.of
        self._into = replica.into
        self._embedded_in = dict(replica.embedded_in)
        self._fields = [name for name in replica.state.__struct_fields__ if name != "id"]

    async def prepare(self) -> None:
        """Create the collection and the indexes that the embedded pass needs; idempotent."""
        database = self._store.database
        try:
            if self._into not in await database.list_collection_names():
                await database.create_collection(self._into, check_exists=False)
            for collection, name in self._embedded_in.items():
                field = f"{name}.id"
                # The places are no part of it: the pass would have to move each entry that it finds.
                if not await self._has_index_from(collection, field):
                    await ensure_index(database, collection, IndexModel([(field, 1)]))
        except PyMongoError as error:
            raise translate(error, f"prepare copies in {self._into} of {self._store.service}") from error

    async def apply(self, states: Sequence[State]) -> None:
        """Upsert each state whose place is greater than the copy's, at most one state per entity."""
        writes = [(_older_than(state.place, "") | {"_id": state.entity_id}, _copy(state)) for state in states]
        met = await self._write(self._into, [ReplaceOne(older, copy, upsert=True) for older, copy in writes])
        # Either the copy is newer, or it came into being just now, perhaps as the empty one of a transaction
        # that asked for it: now that it is there, the guard alone decides.
        await self._write(self._into, [ReplaceOne(*writes[index]) for index in met])

    async def embed(self, states: Sequence[State]) -> None:
        """Let the same states reach every own document that embeds an older one; after `apply`."""
        for collection, name in self._embedded_in.items():
            writes = [
                UpdateMany(
                    _older_than(state.place, f"{name}.") | {f"{name}.id": state.entity_id},
                    {"$set": {name: self._embedded(state)}},
                )
                for state in states
            ]
            await self._write(collection, writes)

    def _embedded(self, state: State) -> Document:
        fields = _copy(state)
        if state.fields is None:
            fields = dict.fromkeys(self._fields) | fields
        return {"id": state.entity_id} | fields

    async def _write(self, collection: str, writes: Sequence[ReplaceOne[Document] | UpdateMany]) -> list[int]:
        """Write all, in any order; give the indexes of those that met a document of the same _id."""
        if not writes:
            return []
        what = f"copy {self._of} into {collection} of {self._store.service}"
        try:
            await self._store[collection].bulk_write(writes, ordered=False)
        except BulkWriteError as error:
            return _met(error, what)
        except (BSONError, OverflowError) as error:
            raise EventRejected(
                f"{what}: MongoDB cannot hold a value: {error}; leave the field out of the replica"
            ) from error
        except PyMongoError as error:
            raise translate(error, what) from error
        return []

    async def _has_index_from(self, collection: str, field: str) -> bool:
        async for index in await self._store[collection].list_indexes():
            if next(iter(index["key"])) == field and "partialFilterExpression" not in index:
                return True
        return False


def _copy(state: State) -> Document:
    place = state.place
    fields = {} if state.fields is None else {name: value for name, value in state.fields.items() if name != "id"}
    return fields | {
        "epoch": place.epoch,
        "version": place.version,
        "index": place.index,
        "deleted": state.fields is None,
    }


def _older_than(place: Place, prefix: str) -> Document:
    """Match what does not stand at this place or a later one; what has no place is older than any."""
    epoch, version, index = f"{prefix}epoch", f"{prefix}version", f"{prefix}index"
    return {
        "$nor": [
            {epoch: {"$gt": place.epoch}},
            {epoch: place.epoch, version: {"$gt": place.version}},
            {epoch: place.epoch, version: place.version, index: {"$gte": place.index}},
        ]
    }


def _met(error: BulkWriteError, what: str) -> list[int]:
    details = error.details or {}
    if details.get("writeConcernErrors"):
        raise StoreUnavailable(f"{what}: not known to be durable: {details['writeConcernErrors'][0]}") from error
    met = []
    for failure in details["writeErrors"]:
        if failure["code"] != DUPLICATE_KEY or failure.get("keyPattern") != {"_id": 1}:
            raise EventRejected(
                f"{what}: MongoDB refused: {failure['errmsg']}; mend the validator or unique index that refuses it"
            ) from error
        met.append(failure["index"])
    return met
