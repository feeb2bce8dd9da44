"""The entities of one kind in their owner's MongoDB store."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

from bson import json_util
from bson.binary import UuidRepresentation
from bson.json_util import JSONOptions
from pymongo.read_concern import ReadConcern

from freehold.errors import ConflictError, DeclarationError
from freehold.outbox.mongo_settings import EPOCHS, OUTBOX, translating
from freehold.service import Entity
from freehold.store.mongo import Mongo
from freehold.store.mongo_transaction import MongoTransaction
from freehold.store.owned import OwnedRow, owned_row, whole_number

Document = dict[str, Any]
_JSON = JSONOptions(uuid_representation=UuidRepresentation.STANDARD, tz_aware=True)


class MongoOwned:
    """Read one kind of entity; see `freehold.store.owned.Owned` for what is promised."""

    def __init__(self, store: Mongo, entity: Entity) -> None:
        self._store = store
        self._entity = entity
        self._key = "_id" if entity.key == "id" else entity.key

    async def count(self) -> int:
        """Estimate how many there are."""
        with self._translating():
            return await self._store[self._entity.rows].estimated_document_count()

    async def scan(self, after: str | None, limit: int) -> list[OwnedRow]:
        """Read up to `limit` entities behind a cursor; see `Owned.scan`."""
        behind = {} if after is None else {self._key: {"$gt": load_key(after)}}
        with self._translating():
            return self._read(
                await self._store[self._entity.rows].find(behind).sort(self._key, 1).limit(limit).to_list(limit)
            )

    async def find(self, entity_ids: Sequence[str]) -> list[OwnedRow]:
        """Read those of these entities that there are; see `Owned.find`."""
        with self._translating():
            return self._read(await self._store[self._entity.rows].find(self._selection(entity_ids)).to_list(None))

    async def known(self, entity_ids: Sequence[str]) -> set[str]:
        """Name those of these entities that there are; see `Owned.known`."""
        with self._translating():
            found = self._store[self._entity.rows].find(self._selection(entity_ids), {self._key: 1})
            return {str(each[self._key]) for each in await found.to_list(None)}

    async def republish(self, entity_ids: Sequence[str]) -> set[str]:
        """Tell once more what these entities are; see `Owned.republish`."""
        return await self._store.transact(self._republish, list(entity_ids)) if entity_ids else set()

    async def publish_gone(self, entity_ids: Sequence[str]) -> None:
        """Tell that these are gone; see `Owned.publish_gone`."""
        if self._entity.gone is None:
            raise DeclarationError(
                f"Entity in {self._entity.rows}: name the event that says that one is gone: gone=..."
            )
        await self._store.transact(self._publish_gone, list(entity_ids))

    async def moment(self) -> Any:
        """Give the cluster's time; see `Owned.moment`."""
        with self._translating():
            answer = await self._store.database.command("hello")
        return answer["$clusterTime"]["clusterTime"]

    async def waits(self, moment: Any) -> bool:
        """Say whether a row of the outbox from then or before is still to be shipped; see `Owned.waits`."""
        # Not by majority: a delete that is on its way there has been acknowledged by the topic.
        outbox = self._store[OUTBOX].with_options(read_concern=ReadConcern("local"))
        with self._translating():
            return await outbox.find_one({"at": {"$lte": moment}}, {"_id": 1}) is not None

    async def _republish(self, tx: MongoTransaction, entity_ids: list[str]) -> set[str]:
        selection = self._selection(entity_ids)
        # Snapshots do not conflict on reads: written there and back, the documents do, and whoever changes one next
        # publishes behind us. A version is a number under every validator.
        for step in (1, -1):
            await tx[self._entity.rows].update_many(selection, {"$inc": {"version": step}})
        found = self._read(await tx[self._entity.rows].find(selection).to_list(None))
        repair = await _next_repair(tx)
        for each in found:
            tx.publish_again(each.event, each.version, repair)
        return {each.entity_id for each in found}

    async def _publish_gone(self, tx: MongoTransaction, entity_ids: list[str]) -> None:
        there = await tx[self._entity.rows].find_one(self._selection(entity_ids), {self._key: 1})
        if there is not None:
            raise ConflictError(f"{self._entity.name} {there[self._key]} is there by now; compare again")
        repair = await _next_repair(tx)
        gone: Any = self._entity.gone
        for entity_id in entity_ids:
            tx.publish_again(gone.of({gone.__key__: entity_id}), 0, repair)

    def _selection(self, entity_ids: Sequence[str]) -> Document:
        return {self._key: {"$in": [key for each in entity_ids for key in _keys(each)]}}

    def _read(self, documents: Sequence[Mapping[str, Any]]) -> list[OwnedRow]:
        return [owned_row(self._entity, each, dump_key(each[self._key])) for each in documents]

    def _translating(self) -> AbstractContextManager[None]:
        return translating(f"read {self._entity.rows} of {self._store.service}")


async def _next_repair(tx: MongoTransaction) -> int:
    kept = await tx[EPOCHS].find_one_and_update(
        {"_id": "repairs"}, {"$inc": {"count": 1}}, upsert=True, return_document=True
    )
    return int(kept["count"]) if kept else 1


def dump_key(key: object) -> str:
    """Write a key of any type as text that `load_key` reads."""
    if isinstance(key, str):
        return json.dumps(key)  # the same, for most keys, at a fraction of the cost
    return json_util.dumps(key, json_options=_JSON)


def load_key(text: str) -> Any:
    """Read back what `dump_key` wrote."""
    return json_util.loads(text, json_options=_JSON)


def _keys(entity_id: str) -> list[Any]:
    """Give every key that this id may be the text of."""
    keys: list[Any] = [entity_id]
    number = whole_number(entity_id)
    if number is not None and -(2**63) <= number < 2**63:
        keys.append(number)
    with contextlib.suppress(ValueError):
        if str(key := UUID(entity_id)) == entity_id:
            keys.append(key)
    return keys
