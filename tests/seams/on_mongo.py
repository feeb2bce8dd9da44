"""The suites' shop in MongoDB."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymongo import IndexModel, ReturnDocument
from pymongo.errors import OperationFailure
from pymongo.read_concern import ReadConcern

from freehold.consumer.mongo import MongoLedger
from freehold.consumer.parking.mongo import MongoLot
from freehold.consumer.redrive.mongo import MongoRounds
from freehold.event import OutboxRow
from freehold.outbox.mongo import MongoOutbox, outbox_row
from freehold.outbox.mongo_settings import LEASES, OUTBOX
from freehold.replica.mongo import MongoCopies
from freehold.service import Replica
from freehold.store.mongo import Collection, Mongo

LOCAL = ReadConcern("local")
WRITE_CONFLICT = 112
EMBEDDED = ("id", "name", "email", "credit", "tags", "epoch", "version", "index", "deleted")


class OnMongo:
    dead_url = "mongodb://nobody:secret@127.0.0.1:1/nothing?replicaSet=freehold"

    def make_store(self) -> Mongo:
        return Mongo({"users": Collection(indexes=[IndexModel("name")]), "orders": Collection()})

    def make_source(self, url: str, service: str) -> MongoOutbox:
        return MongoOutbox(url, service)

    def make_ledger(self, store: Mongo) -> MongoLedger:
        return MongoLedger(store)

    def make_lot(self, store: Mongo) -> MongoLot:
        return MongoLot(store)

    def make_rounds(self, store: Mongo) -> MongoRounds:
        return MongoRounds(store)

    def make_copies(self, store: Mongo, replica: Replica) -> MongoCopies:
        return MongoCopies(store, replica)

    async def insert_user(self, tx: Any, user_id: str, name: str) -> Mapping[str, Any]:
        user = {"_id": user_id, "name": name, "version": 1}
        await tx["users"].insert_one(user)
        return user

    async def rename_user(self, tx: Any, user_id: str, name: str) -> Mapping[str, Any]:
        user = await tx["users"].find_one_and_update(
            {"_id": user_id},
            {"$set": {"name": name}, "$inc": {"version": 1}},
            return_document=ReturnDocument.AFTER,
        )
        assert user is not None
        return dict(user)

    async def read_user(self, store: Mongo, user_id: str) -> Mapping[str, Any] | None:
        return await store["users"].find_one({"_id": user_id})

    async def read_outbox(self, store: Mongo) -> list[OutboxRow]:
        # Deletes are not by majority, so that majority reads may lag behind them.
        local = store[OUTBOX].with_options(read_concern=LOCAL)
        return [outbox_row(document) async for document in local.find().sort("_id")]

    async def meet_conflict(self, tx: Any) -> None:
        # What the driver raises when the server tells of a write conflict.
        raise OperationFailure(
            "WriteConflict", WRITE_CONFLICT, {"errorLabels": ["TransientTransactionError"], "code": WRITE_CONFLICT}
        )

    async def place_order(self, tx: Any, order_id: str, customer_id: str, copy: Mapping[str, Any] | None) -> None:
        await tx["orders"].insert_one({"_id": order_id, "customer": copy or {"id": customer_id}})

    async def read_orders(self, store: Mongo) -> dict[str, dict[str, Any]]:
        return {order["_id"]: _read(order["customer"]) async for order in store["orders"].find()}

    async def read_copies(self, store: Mongo) -> dict[str, dict[str, Any]]:
        return {copy["_id"]: _read({"id": copy["_id"], **copy}) async for copy in store["customers"].find()}

    async def lose_log(self, store: Mongo, service: str) -> None:
        admin = store.database.client.admin
        answer = await admin.command(
            {
                "aggregate": 1,
                "pipeline": [
                    {"$currentOp": {"allUsers": False, "idleCursors": True}},
                    {"$match": {"type": "idleCursor"}},
                ],
                "cursor": {},
            }
        )
        cursors = [found["cursor"]["cursorId"] for found in answer["cursor"]["firstBatch"]]
        assert cursors
        await store.database.command({"killCursors": OUTBOX, "cursors": cursors})

    async def take_lease(self, store: Mongo) -> None:
        await store[LEASES].update_one({"_id": "relay"}, {"$set": {"owner": "another"}})


def _read(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: values.get(name) for name in EMBEDDED}
