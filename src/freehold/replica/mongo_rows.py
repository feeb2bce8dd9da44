"""The copies of one replica as they lie in MongoDB; see `freehold.replica.rows` for what is promised."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from freehold.event import Place
from freehold.outbox.mongo_settings import translating
from freehold.replica.rows import CopyRow
from freehold.service import Replica
from freehold.store.mongo import Mongo
from freehold.store.mongo_owned import dump_key, load_key

Document = dict[str, Any]
# What Freehold keeps beside the fields.
_BESIDE = frozenset({"_id", "id", "epoch", "version", "index", "deleted", "guard"})


class MongoCopyRows:
    """Read the copies of a replica in its own collection, or in one that embeds them.

    Args:
        store: The subscriber's own, open.
        replica: Whose copies.
        embedded_in: The collection that embeds them; the replica's own when empty.
    """

    def __init__(self, store: Mongo, replica: Replica, embedded_in: str = "") -> None:
        self._store = store
        self._collection = embedded_in or replica.into
        self._name = replica.embedded_in[embedded_in] if embedded_in else ""
        self.where = f"{embedded_in}.{self._name}" if embedded_in else replica.into
        self._prefix = f"{self._name}." if self._name else ""
        self._fields = [name for name in replica.state.__struct_fields__ if name != "id"]

    async def scan(self, after: str | None, limit: int) -> list[CopyRow]:
        """Read up to `limit` copies behind a key; see `CopyRows.scan`."""
        wanted: Document = {} if after is None else {"_id": {"$gt": self._load(after)}}
        if self._name:
            wanted[f"{self._name}.id"] = {"$type": "string"}
        return [self._row(each) for each in await self._ask(wanted, limit)]

    async def scan_living(self, after: str | None, limit: int) -> list[str]:
        """Name the entities of up to `limit` copies that live; see `CopyRows.scan_living`."""
        wanted: Document = {} if after is None else {"_id": {"$gt": after}}
        found = self._store[self._collection].find(
            wanted | {"deleted": {"$ne": True}, "$nor": [{"epoch": 0, "version": 0, "index": 0}]}, {"_id": 1}
        )
        with self._translating():
            return [each["_id"] for each in await found.sort("_id", 1).limit(limit).to_list(limit)]

    async def find(self, keys: Sequence[str]) -> list[CopyRow]:
        """Read those of these rows that there are; see `CopyRows.find`."""
        found = await self._ask({"_id": {"$in": [self._load(key) for key in keys]}}, 0)
        return [self._row(each) for each in found if not self._name or _embeds(each.get(self._name))]

    async def set_back(self, rows: Sequence[CopyRow], place: Place) -> set[str]:
        """Give these the earlier place, if they stand where they were found; see `CopyRows.set_back`."""
        set_back = set()
        with self._translating():
            for row in rows:  # a handful; each tells by itself whether it was met
                done = await self._store[self._collection].update_one(
                    {"_id": self._load(row.key)} | self._at(row.place), {"$set": self._place(place)}
                )
                if done.modified_count:
                    set_back.add(row.key)
        return set_back

    def shown(self, key: str) -> str:
        """Give a key as a person knows it."""
        found = self._load(key)
        return found if isinstance(found, str) else str(found)

    async def _ask(self, wanted: Document, limit: int) -> list[Document]:
        projection = {self._name: 1} if self._name else None
        with self._translating():
            found = self._store[self._collection].find(wanted, projection).limit(limit)
            return await (found.sort("_id", 1) if limit else found).to_list()

    def _row(self, document: Document) -> CopyRow:
        copy = document[self._name] if self._name else document
        entity_id = copy["id"] if self._name else document["_id"]
        deleted = copy.get("deleted") is True
        fields = {name: copy.get(name) for name in self._fields}
        if deleted:
            fields = {name: value for name, value in copy.items() if name not in _BESIDE and value is not None}
        place = Place(int(copy.get("epoch") or 0), int(copy.get("version") or 0), int(copy.get("index") or 0))
        return CopyRow(self._dump(document["_id"]), entity_id, place, deleted, fields)

    def _at(self, place: Place) -> Document:
        """Match what stands at this place; what has none stands at the beginning."""
        return {name: {"$in": [value, None]} if value == 0 else value for name, value in self._place(place).items()}

    def _place(self, place: Place) -> Document:
        return {self._prefix + name: getattr(place, name) for name in ("epoch", "version", "index")}

    def _load(self, key: str) -> Any:
        return load_key(key) if self._name else key

    def _dump(self, key: Any) -> str:
        return dump_key(key) if self._name else key

    def _translating(self) -> AbstractContextManager[None]:
        return translating(f"read copies in {self.where} of {self._store.service}")


def _embeds(copy: Any) -> bool:
    return isinstance(copy, Mapping) and isinstance(copy.get("id"), str)
