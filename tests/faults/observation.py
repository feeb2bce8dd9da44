"""Look at the running system from outside: the rows, the topics read from the beginning, the copies, what waits."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import psycopg
import pymongo
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition
from psycopg import sql
from pymongo.database import Database
from pymongo.errors import PyMongoError

from tests.faults.compare import compare, compare_erased
from tests.faults.load import WriteLedger
from tests.faults.observed import Action, Copy, Difference, Kept, Owned, Row, SentRecord, Write
from tests.faults.running_system import RunningSystem
from tests.faults.waiting import wait_until

PEER_TIMEOUT_S = 10
CONSUME_RECORDS = 5_000
CONSUME_S = 0.5
OBSERVE_TIMES_MAX = 10
PERSONAL = ("name", "email")
ORDER_FIELDS = ("user_id", "total_cents", "status")

Document = dict[str, Any]


class Observer:
    """Sees what a system holds, by clients of its own and with the rights of each owner.

    Args:
        system: The running system; its addresses must stay what they are.
    """

    def __init__(self, system: RunningSystem) -> None:
        self._users_url = system.store_url("users")
        self._kafka = {service: system.kafka_config(service) for service in ("users", "orders")}
        milliseconds = PEER_TIMEOUT_S * 1_000
        self._mongo: pymongo.MongoClient[Document] = pymongo.MongoClient(
            system.store_url("orders"), serverSelectionTimeoutMS=milliseconds, socketTimeoutMS=milliseconds
        )
        self._orders: Database[Document] = self._mongo["orders"]
        self._ends_consumer = _consumer(self._kafka["users"])

    def close(self) -> None:
        """Let go of the connections."""
        self._ends_consumer.close()
        self._mongo.close()

    def differences(self, ledger: WriteLedger) -> list[str]:
        """Compare everything that clients were told with everything that is there."""
        users, orders, kept = self._at_rest()
        found = compare(ledger.writes, [users, orders], {"user": kept})
        found += self._surviving(ledger, users)
        return [str(each) for each in found]

    def unsettled(self) -> str:
        """Say what is still on its way: what waits in an outbox, and what a consumer has not applied."""
        try:
            waiting = {"users": len(self.users_waiting()), "orders": len(self.orders_waiting())}
            behind = self._behind()
        except (psycopg.Error, PyMongoError, KafkaException) as error:
            return f"a server does not answer: {error}"
        words = [f"outbox of {service}: {rows} rows" for service, rows in waiting.items() if rows]
        if behind:
            words.append(f"orders is {behind} events behind users")
        return ", ".join(words)

    def wait_until_settled(self, limit_s: float) -> float:
        """Wait until nothing is on its way any more; gives the moment."""
        return wait_until("outboxes are empty and orders has applied all of users", self.unsettled, limit_s)

    def users_waiting(self) -> set[tuple[Any, ...]]:
        """Give what waits in the outbox of users, by place."""
        with self._connect() as connection:
            return set(connection.execute("SELECT key, version, index FROM freehold.outbox").fetchall())

    def orders_waiting(self) -> set[tuple[Any, ...]]:
        """Give what waits in the outbox of orders, by place."""
        found = self._orders["freehold_outbox"].find({}, {"_id": 1})
        return {(each["_id"]["key"], each["_id"]["version"], each["_id"]["index"]) for each in found}

    def known_versions(self, user_ids: list[str]) -> dict[str, int]:
        """Give the version of each of these users that orders knows."""
        found = self._orders["customers"].find({"_id": {"$in": user_ids}}, {"version": 1})
        return {str(each["_id"]): int(each["version"]) for each in found}

    def _at_rest(self) -> tuple[Owned, Owned, Kept]:
        """Read everything, again if it was not at rest meanwhile."""
        for _ in range(OBSERVE_TIMES_MAX):
            before = self._user_rows(), self._order_documents()
            users = Owned("user", before[0], read_topic(self._kafka["users"], "users"))
            orders = Owned("order", _order_rows(before[1]), read_topic(self._kafka["orders"], "orders"))
            kept = Kept(replica=self._customers(), embedded=_embedded(before[1]))
            if not self.unsettled() and before == (self._user_rows(), self._order_documents()):
                return users, orders, kept
        raise AssertionError(f"the system did not come to rest: {self.unsettled() or 'rows still change'}")

    def _user_rows(self) -> dict[str, Row]:
        with self._connect() as connection:
            found = connection.execute("SELECT id::text, version, name, email, deleted_at FROM users").fetchall()
        return {
            row[0]: Row(row[0], row[1], {} if row[4] else {"name": row[2], "email": row[3]}, deleted=row[4] is not None)
            for row in found
        }

    def _order_documents(self) -> list[Document]:
        return list(self._orders["orders"].find().sort("_id"))

    def _customers(self) -> list[Copy]:
        # A version of 0 is no copy: an order was refused for a customer who is not known yet.
        return [
            _copy("customers", str(each["_id"]), each)
            for each in self._orders["customers"].find({"version": {"$gt": 0}})
        ]

    def _behind(self) -> int:
        positions = {
            each["_id"]["partition"]: each["next_offset"]
            for each in self._orders["freehold_positions"].find({"_id.source": "users"})
        }
        ends = _ends(self._ends_consumer, "users")
        return sum(end - (positions.get(partition) or 0) for partition, end in ends.items())

    def _surviving(self, ledger: WriteLedger, users: Owned) -> list[Difference]:
        deleted = {row.entity_id for row in users.rows.values() if row.deleted}
        return list(compare_erased(_personal(ledger.writes, deleted), self._raw_places()))

    def _raw_places(self) -> dict[str, bytes]:
        """Give the bytes of every table and collection that the services have."""
        names = self._orders.list_collection_names()
        places = {f"orders/{name}": _raw(self._orders[name]) for name in names}
        with self._connect() as connection:
            tables = connection.execute(
                "SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', 'freehold')"
            ).fetchall()
            for schema, table in tables:
                query = sql.SQL("COPY {} TO STDOUT").format(sql.Identifier(schema, table))
                with connection.cursor().copy(query) as copy:
                    places[f"users/{schema}.{table}"] = b"".join(bytes(block) for block in copy)
        return places

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        return psycopg.connect(self._users_url, connect_timeout=PEER_TIMEOUT_S)


def read_topic(config: Mapping[str, str], topic: str) -> list[SentRecord]:
    """Read a topic from its beginning to where it ends now, by a plain Kafka client."""
    consumer = _consumer(config)
    try:
        ends = _ends(consumer, topic)
        consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in ends])
        records: list[SentRecord] = []
        reached: dict[int, int] = dict.fromkeys(ends, 0)

        def unread() -> str:
            for message in consumer.consume(CONSUME_RECORDS, CONSUME_S):
                if message.error():
                    raise KafkaException(message.error())
                records.append(_record(message))
                reached[records[-1].partition] = records[-1].offset + 1
            missing = {partition: end for partition, end in ends.items() if reached[partition] < end}
            return f"partitions {missing} are not read to their end" if missing else ""

        wait_until(f"{topic} is read to its end", unread, PEER_TIMEOUT_S * 6)
        return records
    finally:
        consumer.close()


def _consumer(config: Mapping[str, str]) -> Consumer:
    # The group is never joined and nothing is committed: partitions are assigned by hand.
    own = {"group.id": config["sasl.username"], "enable.auto.commit": False, "isolation.level": "read_committed"}
    return Consumer({**config, **own, "log_level": 0})


def _ends(consumer: Consumer, topic: str) -> dict[int, int]:
    found = consumer.list_topics(topic, timeout=PEER_TIMEOUT_S).topics[topic]
    if found.error is not None:
        raise KafkaException(found.error)
    return {
        partition: consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=PEER_TIMEOUT_S)[1]
        for partition in found.partitions
    }


def _record(message: Any) -> SentRecord:
    headers = message.headers()
    named = dict(headers)
    fields = json.loads(message.value())
    fields.pop("id", None)
    return SentRecord(
        partition=message.partition(),
        offset=message.offset(),
        key=message.key().decode(),
        event_id=named["ce_id"].decode(),
        version=int(named["ce_version"]),
        index=int(named["ce_index"]),
        erases=named.get("ce_erases") == b"true",
        fields=fields,
        content=repr((message.key(), message.value(), headers)).encode(),
    )


def _order_rows(documents: list[Document]) -> dict[str, Row]:
    return {
        str(each["_id"]): Row(str(each["_id"]), int(each["version"]), {name: each[name] for name in ORDER_FIELDS})
        for each in documents
    }


def _embedded(documents: list[Document]) -> list[Copy]:
    return [_copy(f"orders/{each['_id']}", str(each["user_id"]), each["customer"]) for each in documents]


def _copy(where: str, user_id: str, kept: Mapping[str, Any]) -> Copy:
    fields = {name: kept.get(name) for name in PERSONAL}
    return Copy(where, user_id, int(kept["version"]), fields, deleted=bool(kept.get("deleted", False)))


def _raw(collection: Any) -> bytes:
    return b"".join(collection.find_raw_batches())


def _personal(writes: list[Write], deleted: set[str]) -> list[str]:
    """Give every personal value that was ever asked for a user who is gone."""
    asked = [write.asked for write in writes if write.entity_id in deleted and write.action is not Action.DELETE]
    return [str(fields[name]) for fields in asked for name in PERSONAL if name in fields]
