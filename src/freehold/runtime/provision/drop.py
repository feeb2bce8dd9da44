"""Take back what was provisioned for a test: database, role, user, slots, topic. Never used on anything that is kept."""

from __future__ import annotations

import psycopg
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import (
    AdminClient,
)
from psycopg import sql
from pymongo import MongoClient
from pymongo.errors import OperationFailure

from freehold.topic.address import KafkaAddress
from freehold.topic.dead import SUFFIX
from freehold.topic.rights import every_right

TIMEOUT_S = 10
_USER_NOT_FOUND = 11


def drop_postgres(admin_url: str, name: str) -> None:
    """Drop the database, its replication slots and the role of that name, if they are there."""
    with psycopg.connect(admin_url, autocommit=True, connect_timeout=TIMEOUT_S) as connection:
        of_database = "FROM pg_replication_slots WHERE database = %s"
        connection.execute(
            f"SELECT pg_terminate_backend(active_pid) {of_database} AND active_pid IS NOT NULL",
            [name],
        )
        slots = connection.execute(f"SELECT slot_name {of_database}", [name]).fetchall()
        for (slot,) in slots:
            connection.execute("SELECT pg_drop_replication_slot(%s)", [slot])
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


def drop_mongo(admin_url: str, name: str) -> None:
    """Drop the database and the user of that name, if they are there."""
    with MongoClient[dict[str, object]](admin_url, serverSelectionTimeoutMS=TIMEOUT_S * 1_000) as client:
        try:
            client.drop_database(name)
            client[name].command("dropUser", name)
        except OperationFailure as error:
            if error.code != _USER_NOT_FOUND:
                raise


def drop_kafka(admin_url: str, name: str) -> None:
    """Delete the topics and the rights of that name, if they are there; a user without rights reaches nothing."""
    admin = AdminClient({**KafkaAddress.parse(admin_url).client_config(), "log_level": "0"})
    for deleted in admin.delete_topics([name, name + SUFFIX], request_timeout=TIMEOUT_S).values():
        try:
            deleted.result(TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
    for taken in admin.delete_acls([every_right(f"User:{name}")], request_timeout=TIMEOUT_S).values():
        taken.result(TIMEOUT_S)
