"""Bring a service's collections up to what was declared: made, validated, indexed; under a lock, and again without effect."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pymongo
from pymongo import IndexModel
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import DuplicateKeyError, OperationFailure

from freehold.errors import DeclarationError, MigrationError, StoreUnavailable
from freehold.outbox.mongo_presence import list_operations, names_present
from freehold.outbox.mongo_settings import (
    APPLIED,
    CHOSEN,
    EPOCHS,
    LEASES,
    OUTBOX,
    OWN_PREFIX,
    PARKED,
    POSITIONS,
    ROUNDS,
)

Document = dict[str, Any]
Database = AsyncDatabase[Document]

# An index over millions of documents takes minutes; whoever waits for the lock waits a little longer than its holder may.
MIGRATION_LIMIT_S = 600
LOCK_LIMIT_S = 660.0
LOCK_PAUSE_S = 0.1
MIGRATION = "migration"
OWN_COLLECTIONS = (OUTBOX, EPOCHS, LEASES, POSITIONS, APPLIED, PARKED, ROUNDS, CHOSEN)
_OWN_INDEXES = (
    (PARKED, IndexModel([(f"_id.{name}", 1) for name in ("source", "topic_id", "partition")] + [("key", 1)])),
    (
        PARKED,
        IndexModel(
            [("_id.source", 1), ("_id.partition", 1)],
            name="asked",
            partialFilterExpression={"intent": {"$exists": True}},
        ),
    ),
    (CHOSEN, IndexModel([("round", 1), ("event", 1)])),
    (CHOSEN, IndexModel([("event", 1)])),
)
# What an index is, beside its name; what else the server tells of it (its format) nobody declared.
_INDEX_FORM = (
    "key",
    "unique",
    "sparse",
    "partialFilterExpression",
    "collation",
    "weights",
    "wildcardProjection",
    "hidden",
)
NAMESPACE_EXISTS = 48
# The documents, or another index, do not allow what was declared.
_FAILURES = frozenset({2, 67, 72, 85, 86, 121, 11000})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Collection:
    """Declare what a collection of the service's own must have.

    Args:
        indexes: PyMongo's IndexModel values.
        validator: What each written document must match, such as {"$jsonSchema": {...}}; None: anything goes.
    """

    indexes: Sequence[IndexModel] = ()
    validator: Mapping[str, Any] | None = None


def check_names(collections: Mapping[str, Collection]) -> None:
    """Refuse names that Freehold keeps for itself.

    Raises:
        DeclarationError: Names the first.
    """
    for name in collections:
        if name.startswith(OWN_PREFIX):
            raise DeclarationError(f"collection {name}: names from {OWN_PREFIX} on are Freehold's own; choose another")


async def migrate(database: Database, collections: Mapping[str, Collection], owner: str) -> list[str]:
    """Make, validate and index what is not yet as declared; name what was done.

    Args:
        database: The service's database.
        collections: The declared ones by name.
        owner: The name by which the server knows this process.

    Raises:
        MigrationError: Names what is there in a form that cannot be brought up to date without losing it.
        StoreUnavailable: Another instance held the lock for too long.
    """
    done: list[str] = []
    await _lock(database, owner)
    try:
        with pymongo.timeout(MIGRATION_LIMIT_S):
            there = {found["name"]: found async for found in await database.list_collections()}
            for name in OWN_COLLECTIONS:
                if name not in there:
                    done += await _create(database, name, {})
            for name, index in _OWN_INDEXES:
                done += await ensure_index(database, name, index)
            await database[EPOCHS].update_one({"_id": "epoch"}, {"$setOnInsert": {"epoch": 1}}, upsert=True)
            for name, collection in collections.items():
                done += await _migrate_collection(database, name, collection, there.get(name))
    finally:
        await database[LEASES].delete_one({"_id": MIGRATION, "owner": owner})
    return done


async def ensure_index(database: Database, name: str, index: IndexModel) -> list[str]:
    """Make the index unless it is there; name what was done.

    Raises:
        MigrationError: One of that name is there in another form, or the documents do not fit it.
    """
    wanted = index.document
    found = {document["name"]: document async for document in await database[name].list_indexes()}
    there = found.get(wanted["name"])
    if there is None:
        await _run(database, f"index {wanted['name']} of {name}", {"createIndexes": name, "indexes": [wanted]})
        return [f"index {name}.{wanted['name']}"]
    if _index_form(wanted) != _index_form(there):
        raise MigrationError(
            f"index {wanted['name']} of {name} is there as {_index_form(there)}, declared is {_index_form(wanted)}; "
            f"give the declared one another name, or drop the old one first"
        )
    lifetime_s = wanted.get("expireAfterSeconds")
    if lifetime_s == there.get("expireAfterSeconds"):
        return []
    if lifetime_s is None:
        raise MigrationError(
            f"index {wanted['name']} of {name} expires documents, declared is that it does not; drop it"
        )
    change = {"name": wanted["name"], "expireAfterSeconds": lifetime_s}
    await _run(database, f"index {wanted['name']} of {name}", {"collMod": name, "index": change})
    return [f"expiry of {name}.{wanted['name']}"]


async def _migrate_collection(
    database: Database, name: str, collection: Collection, there: Mapping[str, Any] | None
) -> list[str]:
    done: list[str] = []
    validator = dict(collection.validator or {})
    if there is None:
        done += await _create(database, name, validator)
    elif there.get("options", {}).get("validator", {}) != validator:
        await _run(database, f"validator of {name}", {"collMod": name, "validator": validator})
        done.append(f"validator of {name}")
    for index in collection.indexes:
        done += await ensure_index(database, name, index)
    return done


async def _create(database: Database, name: str, validator: Mapping[str, Any]) -> list[str]:
    try:
        await database.create_collection(name, check_exists=False, validator=dict(validator))
    except OperationFailure as error:
        if error.code == NAMESPACE_EXISTS:
            return []  # made by its first use meanwhile
        if error.code not in _FAILURES:
            raise
        raise MigrationError(f"collection {name} could not be made: {error}") from error
    return [f"collection {name}"]


async def _run(database: Database, what: str, command: Document) -> None:
    try:
        await database.command(command)
    except OperationFailure as error:
        if error.code not in _FAILURES:
            raise
        raise MigrationError(f"{what} could not be made as declared: {error}") from error


def _index_form(document: Mapping[str, Any]) -> Document:
    form = {name: document[name] for name in _INDEX_FORM if document.get(name)}
    form["key"] = dict(form["key"])
    return form


async def _lock(database: Database, owner: str) -> None:
    until = time.monotonic() + LOCK_LIMIT_S
    while time.monotonic() < until:
        answer = await database.client.admin.command(list_operations(owner.rpartition("/")[0] + "/"))
        present = sorted(names_present(answer["cursor"]["firstBatch"]) - {owner})
        try:
            # A holder that the server does not see any more was killed: its lock is taken over at once.
            await database[LEASES].update_one(
                {"_id": MIGRATION, "owner": {"$nin": present}}, {"$set": {"owner": owner}}, upsert=True
            )
        except DuplicateKeyError:
            await asyncio.sleep(LOCK_PAUSE_S)
        else:
            return
    raise StoreUnavailable(f"another instance has been migrating {database.name} for {LOCK_LIMIT_S:.0f} s; see its log")
