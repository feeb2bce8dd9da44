"""Copies of another service's facts in a MongoDB subscriber's own store.

A copy is a document {_id, fields..., epoch, version, index, deleted}; where it is embedded, {id, fields..., epoch, version,
index, deleted}. Each write is guarded by the place that it finds, so it needs no transaction and no order (decision 5).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bson.errors import BSONError
from pymongo import DeleteMany, IndexModel, UpdateMany
from pymongo.errors import BulkWriteError, PyMongoError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from freehold.discreet import words_of
from freehold.errors import EventRejected, StoreUnavailable
from freehold.event import Place
from freehold.outbox.mongo_settings import is_unavailable, translate, translating
from freehold.replica import Reached, State, reached_together, versions_of
from freehold.service import Replica
from freehold.store.mongo import Mongo
from freehold.store.mongo_schema import ensure_index

Document = dict[str, Any]

# So many copies are worth a transaction's own round trip; a backlog comes in batches of hundreds.
AT_ONCE_MIN = 20
# For so many entities it is worth a round trip to ask first which of them are embedded anywhere.
LOOK_UP_MIN = 8
# A validator, a unique index, a value that an index cannot take, a document grown too large.
_REFUSALS = frozenset({2, 121, 11000, 17280, 10334, 17419, 17420})


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
        with translating(f"prepare copies in {self._into} of {self._store.service}"):
            if self._into not in await database.list_collection_names():
                await database.create_collection(self._into, check_exists=False)
            for collection, name in self._embedded_in.items():
                field = f"{name}.id"
                # The places are no part of it: the pass would have to move each entry that it finds.
                if not await self._has_index_from(collection, field):
                    await ensure_index(database, collection, IndexModel([(field, 1)]))

    async def apply(self, states: Sequence[State]) -> None:
        """Upsert each state whose place is greater than the copy's, at most one state per entity."""
        await self._copy(states)
        gone = [state for state in states if state.fields is None]
        if gone:
            await self._erase_beside(gone)

    async def _copy(self, states: Sequence[State]) -> None:
        writes = [UpdateMany({"_id": state.entity_id}, _replace(state), upsert=True) for state in states]
        if len(writes) >= AT_ONCE_MIN and await self._write_at_once(writes):
            return
        met = await self._write(self._into, writes)
        # A copy came into being beside ours, perhaps the empty one of a transaction that asked for it: now it is there
        # to be replaced.
        await self._write(self._into, [writes[index] for index in met])

    async def _erase_beside(self, gone: Sequence[State]) -> None:
        """Delete what copies beside the serving one hold of entities that are gone; what is later there stays."""
        deletes = [DeleteMany({"_id": state.entity_id} | _older_than(state.place, "")) for state in gone]
        with translating(f"erase copies beside {self._into} of {self._store.service}"):
            names = await self._store.database.list_collection_names(
                filter={"name": {"$regex": versions_of(self._into)}}
            )
            for name in names:
                await self._store[name].bulk_write(deletes, ordered=False)

    async def embed(self, states: Sequence[State]) -> None:
        """Let the same states reach every own document that embeds an older one; after `apply`."""
        for collection, name in self._embedded_in.items():
            ids = [state.entity_id for state in states]
            embedding = await self._embedding(collection, f"{name}.id", ids) if len(ids) >= LOOK_UP_MIN else set(ids)
            writes = [
                UpdateMany(
                    _older_than(state.place, f"{name}.") | {f"{name}.id": state.entity_id},
                    {"$set": {name: self._embedded(state)}},
                )
                for state in states
                if state.entity_id in embedding
            ]
            await self._write(collection, writes)

    async def embed_again(self, after: str | None, limit: int) -> str | None:
        """Let the next copies reach every own document that embeds an older or another state; see `Copies.embed_again`."""
        behind = {"version": {"$gt": 0}} | ({} if after is None else {"_id": {"$gt": after}})
        with translating(f"read copies in {self._into} of {self._store.service}"):
            found = await self._store[self._into].find(behind, {"guard": 0}).sort("_id", 1).limit(limit).to_list()
        states = [self._state(each) for each in found]
        for collection, name in self._embedded_in.items():
            ids = [state.entity_id for state in states]
            embedding = await self._embedding(collection, f"{name}.id", ids) if ids else set()
            writes = []
            for state in states:
                if state.entity_id in embedding:
                    fields = self._embedded(state)
                    otherwise = [{f"{name}.{field}": {"$ne": value}} for field, value in fields.items()]
                    chosen = _older_than(state.place, f"{name}.", or_there=True) | {f"{name}.id": state.entity_id}
                    writes.append(UpdateMany(chosen | {"$or": otherwise}, {"$set": {name: fields}}))
            await self._write(collection, writes)
        return str(found[-1]["_id"]) if found else None

    async def lacking(self) -> list[str]:
        """Name declared fields that copies which are there do not have; one that shows it is enough."""
        lacks: list[Document] = [{name: {"$exists": False}} for name in self._fields]
        if not lacks:
            return []
        with translating(f"read copies in {self._into} of {self._store.service}"):
            found = await self._store[self._into].find_one({"version": {"$gt": 0}, "deleted": False, "$or": lacks})
        return [] if found is None else [name for name in self._fields if name not in found]

    async def reach(self, entity_ids: Sequence[str]) -> dict[str, Reached]:
        """Say how far these copies are, together with all own documents that embed them."""
        ids = list(entity_ids)
        fields = {"epoch": 1, "version": 1, "index": 1, "deleted": 1}
        with translating(f"read copies in {self._into} of {self._store.service}"):
            found = self._store[self._into].find({"_id": {"$in": ids}, "version": {"$gt": 0}}, fields)
            own = {each["_id"]: _reached(each) for each in await found.to_list()}
            oldest: dict[str, Place] = {}
            for collection, name in self._embedded_in.items():
                cursor = await self._store[collection].aggregate(_oldest_embedded(name, list(own)))
                for each in await cursor.to_list():
                    place = Place(*each["place"])
                    oldest[each["_id"]] = min(place, oldest.get(each["_id"], place))
        return reached_together(own, oldest)

    async def _embedding(self, collection: str, field: str, ids: list[str]) -> set[str]:
        """Find which of the entities are embedded anywhere, by the index alone: most are not, or in few documents."""
        # Not by majority: a document that was committed before the copy was written must be seen, and may be newer than
        # what the majority has.
        latest = self._store[collection].with_options(read_concern=ReadConcern("local"))
        with translating(f"find copies of {self._of} in {collection} of {self._store.service}"):
            return set(await latest.distinct(field, {field: {"$in": ids}}))

    def _state(self, copy: Document) -> State:
        fields = None if copy["deleted"] else {name: copy[name] for name in self._fields if name in copy}
        return State(copy["_id"], _place(copy), fields)

    def _embedded(self, state: State) -> Document:
        fields = _copy(state)
        if state.fields is None:
            fields = dict.fromkeys(self._fields) | fields
        return {"id": state.entity_id} | fields

    async def _write_at_once(self, writes: Sequence[UpdateMany]) -> bool:
        """Write all copies in one transaction, for speed alone: the server then logs a batch and not each document.

        Returns:
            False when it met another transaction, or anything else that is told apart better one by one.
        """
        # The driver would send a collection's own concerns with each statement, which the server refuses here.
        copies = self._store[self._into].with_options(read_concern=ReadConcern(), write_concern=WriteConcern())
        try:
            async with (
                copies.database.client.start_session(causal_consistency=False) as session,
                await session.start_transaction(write_concern=WriteConcern("majority")),
            ):
                await copies.bulk_write(writes, ordered=False, session=session)
        except PyMongoError as error:
            if is_unavailable(error):
                raise translate(error, f"copy {self._of} into {self._into} of {self._store.service}") from error
            return False
        except (BSONError, OverflowError):
            return False
        return True

    async def _write(self, collection: str, writes: Sequence[UpdateMany]) -> list[int]:
        """Write all, in any order; give the indexes of those whose upsert met another of the same _id."""
        # Updates "of many" are not recorded for a retry by the driver, which would double their cost; the
        # consumer itself repeats what is not known to be done.
        if not writes:
            return []
        what = f"copy {self._of} into {collection} of {self._store.service}"
        try:
            await self._store[collection].bulk_write(writes, ordered=False)
        except BulkWriteError as error:
            return _met(error, what)
        except (BSONError, OverflowError) as error:
            raise EventRejected(
                f"{what}: MongoDB cannot hold a value: {words_of(error)}; leave the field out of the replica"
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


def _place(copy: Document) -> Place:
    return Place(copy["epoch"], copy["version"], copy["index"])


def _reached(copy: Document) -> Reached:
    return Reached(_place(copy), bool(copy["deleted"]))


def _oldest_embedded(name: str, ids: list[str]) -> list[Document]:
    """Find the oldest place at which each entity is embedded; what has no place is older than any."""
    place = [{"$ifNull": [f"${name}.{part}", 0]} for part in ("epoch", "version", "index")]
    return [
        {"$match": {f"{name}.id": {"$in": ids}}},
        # One value for the accumulator: it takes a list for several.
        {"$project": {"id": f"${name}.id", "place": place}},
        {"$group": {"_id": "$id", "place": {"$min": "$place"}}},
    ]


def _older_than(place: Place, prefix: str, *, or_there: bool = False) -> Document:
    """Match what stands at no later place, and at this one only if told; what has no place is older than any."""
    epoch, version, index = f"{prefix}epoch", f"{prefix}version", f"{prefix}index"
    return {
        "$nor": [
            {epoch: {"$gt": place.epoch}},
            {epoch: place.epoch, version: {"$gt": place.version}},
            {epoch: place.epoch, version: place.version, index: {"$gt" if or_there else "$gte": place.index}},
        ]
    }


def _replace(state: State) -> list[Document]:
    """Replace the copy if it stands at an earlier place, or at none; measured at half the cost of a guard in the filter."""
    place = [state.place.epoch, state.place.version, state.place.index]
    is_older = {"$lt": [["$epoch", "$version", "$index"], place]}
    copy = {"_id": state.entity_id} | _copy(state)
    # Literally: a name may begin with a dollar.
    return [{"$replaceWith": {"$cond": [is_older, {"$literal": copy}, "$$ROOT"]}}]


def _met(error: BulkWriteError, what: str) -> list[int]:
    failures = error.details["writeErrors"]
    met = [failure["index"] for failure in failures if failure.get("keyPattern") == {"_id": 1}]
    if len(met) < len(failures):
        failure = next(failure for failure in failures if failure.get("keyPattern") != {"_id": 1})
        if failure["code"] not in _REFUSALS:
            raise StoreUnavailable(f"{what}: MongoDB failed: {failure['errmsg']}") from None
        raise EventRejected(
            f"{what}: MongoDB refused (error {failure['code']}, {failure.get('keyPattern', 'no index')}); mend the "
            f"validator or unique index that refuses it"
        ) from None  # the driver's error shows the data
    if error.details.get("writeConcernErrors"):
        raise StoreUnavailable(f"{what}: not known to be durable: {error.details['writeConcernErrors']}") from None
    return met
