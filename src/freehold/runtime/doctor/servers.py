"""A user's own servers: what they lack to carry services."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from freehold.errors import StoreUnavailable
from freehold.runtime.doctor.finding import Finding, look

TIMEOUT_S = 5
POSTGRES_MIN = 14
MONGO_MIN = 5
MESSAGE_BYTES_MIN = 1_000_000
RIGHTS = (
    "SELECT rolsuper OR (rolcreatedb AND rolcreaterole AND rolreplication) FROM pg_roles WHERE rolname = current_user"
)


def examine_server(kind: str, url: str) -> list[Finding]:
    """Look at a server through the administrator's URL; nothing is changed on it."""
    examine = {"postgres": _postgres, "mongo": _mongo, "kafka": _kafka}[kind]
    findings: list[Finding] = []

    def see() -> str:
        findings.extend(examine(url))
        return "answers"

    answers = look(f"your {kind}", see, f"check FREEHOLD_{kind.upper()}_URL, and that the server is up")
    return [answers, *findings]


def _graded(subject: str, is_good: Any, found: str, mend: str, *, is_needed: bool = True) -> Finding:
    if is_good:
        return Finding(subject, "ok", found)
    return Finding(subject, "missing" if is_needed else "note", found, mend)


def _postgres(url: str) -> list[Finding]:
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=TIMEOUT_S, autocommit=True) as connection:

            def ask(query: str) -> Any:
                row = connection.execute(query.encode()).fetchone()
                return row[0] if row else None

            return _postgres_findings(ask)
    except psycopg.Error as error:
        raise StoreUnavailable(str(error).partition("\n")[0]) from error


def _postgres_findings(ask: Callable[[str], Any]) -> list[Finding]:
    version = int(ask("SHOW server_version_num")) // 10_000
    level = ask("SHOW wal_level")
    slots = int(ask("SHOW max_replication_slots")) - int(ask("SELECT count(*) FROM pg_replication_slots"))
    senders = int(ask("SHOW max_wal_senders")) - int(ask("SELECT count(*) FROM pg_stat_replication"))
    rights = ask(RIGHTS)
    timeout = ask("SHOW idle_in_transaction_session_timeout")
    kept = ask("SHOW max_slot_wal_keep_size")
    return [
        _graded("postgres version", version >= POSTGRES_MIN, str(version), f"use PostgreSQL {POSTGRES_MIN} or newer"),
        _graded("postgres wal_level", level == "logical", level, "set wal_level = logical, and restart it"),
        _graded("postgres slots left", slots > 0, str(slots), "raise max_replication_slots: one for each service"),
        _graded("postgres senders left", senders > 0, str(senders), "raise max_wal_senders: one for each service"),
        _graded(
            "postgres rights",
            rights,
            "may make databases and roles" if rights else "may not make databases, roles, or roles with REPLICATION",
            "use a role with CREATEDB CREATEROLE REPLICATION, or a superuser",
        ),
        _graded(
            "postgres idle_in_transaction_session_timeout",
            timeout != "0",
            timeout,
            "set it to 10s or so: a process that hangs holds its row locks until then",
            is_needed=False,
        ),
        _graded(
            "postgres max_slot_wal_keep_size",
            kept != "-1",
            kept,
            "set a limit: a relay that is gone for good must not fill the disk (nothing is lost with its slot)",
            is_needed=False,
        ),
    ]


def _mongo(url: str) -> list[Finding]:
    from pymongo import MongoClient
    from pymongo.errors import PyMongoError

    try:
        with MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=TIMEOUT_S * 1000) as client:
            hello = client.admin.command("hello")
            version = client.server_info()["version"]
            connection = client.admin.command({"connectionStatus": 1, "showPrivileges": True})
    except PyMongoError as error:
        raise StoreUnavailable(str(error).partition(", full error")[0]) from error
    authenticated = connection["authInfo"]
    actions = {
        action
        for privilege in authenticated["authenticatedUserPrivileges"]
        if privilege["resource"].get("db") == "" or privilege["resource"].get("anyResource")
        for action in privilege["actions"]
    }
    user = ", ".join(user["user"] for user in authenticated["authenticatedUsers"])
    may_make = {"createUser", "grantRole"} <= actions
    members = hello.get("setName")
    return [
        _graded("mongo version", int(version.split(".")[0]) >= MONGO_MIN, version, f"use MongoDB {MONGO_MIN} or newer"),
        _graded(
            "mongo replica set",
            members,
            members or "a server by itself",
            "make it a replica set, of one member if need be: transactions and change streams need it",
        ),
        _graded("mongo login", user, user or "nobody: everybody may do everything", "turn authorization on"),
        _graded(
            "mongo rights",
            may_make,
            "may make users" if may_make else "may not make users",
            "use a user with the role userAdminAnyDatabase",
        ),
    ]


def _kafka(url: str) -> list[Finding]:
    from freehold.runtime.doctor.kafka import KafkaServerFacts, read_facts

    facts: KafkaServerFacts = read_facts(url, TIMEOUT_S)
    return [
        _graded("kafka brokers", facts.broker_count, str(facts.broker_count), "start one"),
        _graded(
            "kafka authorizer",
            facts.has_authorizer,
            "on" if facts.has_authorizer else facts.authorizer_words,
            "set authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer, and use a super user's "
            "URL: without it every service reaches every topic",
        ),
        _graded(
            "kafka message size",
            facts.message_bytes_max >= MESSAGE_BYTES_MIN,
            f"{facts.message_bytes_max:,} bytes",
            f"raise message.max.bytes to {MESSAGE_BYTES_MIN:,} or more: an event may have 900,000 bytes",
        ),
        _graded(
            "kafka makes topics by itself",
            not facts.makes_topics,
            "yes" if facts.makes_topics else "no",
            "set auto.create.topics.enable=false: a topic is made by its owner, with its settings",
            is_needed=False,
        ),
        _graded(
            "kafka rebalance delay",
            facts.rebalance_delay_ms <= 1_000,
            f"{facts.rebalance_delay_ms:,} ms",
            "set group.initial.rebalance.delay.ms=0: consumers wait so long at their first start",
            is_needed=False,
        ),
    ]
