"""Tamper with the copies that a service keeps in MongoDB."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import pymongo
from pymongo.database import Database

from freehold.drill.holdings import ANSWER_TIMEOUT_S
from freehold.drill.observed import Copy
from freehold.service import Replica

Document = dict[str, Any]


class MongoCopyEditor:
    """Fill `freehold.drill.tampering.CopyEditor`; raises PyMongoError while the server does not answer."""

    def __init__(self, database: Database[Document], replica: Replica) -> None:
        self._database = database
        self._copies = database[replica.into]

    def change(self, copy: Copy, changes: Mapping[str, Any]) -> bool:
        """See `CopyEditor.change`."""
        collection, _, name = copy.where.partition(".")
        if not copy.document:
            found = self._copies.update_one({"_id": copy.entity_id, "version": copy.version}, {"$set": changes})
            return found.matched_count == 1
        wanted = {
            f"{name}.id": copy.entity_id,
            f"{name}.version": copy.version,
            "$expr": {"$eq": [{"$toString": "$_id"}, copy.document]},
        }
        inside = {f"{name}.{field}": value for field, value in changes.items()}
        return self._database[collection].update_one(wanted, {"$set": inside}).matched_count == 1

    def delete(self, copy: Copy) -> bool:
        """See `CopyEditor.delete`."""
        return self._copies.delete_one({"_id": copy.entity_id, "version": copy.version}).deleted_count == 1

    def add(self, like: str, entity_id: str, changes: Mapping[str, Any]) -> bool:
        """See `CopyEditor.add`."""
        found = self._copies.find_one({"_id": like})
        if found is None:
            return False
        self._copies.insert_one({**found, "_id": entity_id, **changes})
        return True


@contextlib.contextmanager
def edit_copies(url: str, service: str, replica: Replica) -> Iterator[MongoCopyEditor]:
    """Connect to a service's database for as long as the `with` block runs."""
    limit_ms = int(ANSWER_TIMEOUT_S * 1_000)
    client: pymongo.MongoClient[Document] = pymongo.MongoClient(
        url, serverSelectionTimeoutMS=limit_ms, socketTimeoutMS=limit_ms
    )
    with client:
        yield MongoCopyEditor(client.get_default_database(service), replica)
