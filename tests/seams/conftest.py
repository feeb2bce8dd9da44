"""Clean databases for the seam suites: the servers are the session's, a database is one file's, emptied for each test.

Making and dropping a database takes PostgreSQL a second or two; emptying one takes milliseconds.
"""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Iterator

import psycopg
import pytest
from pymongo import MongoClient

from freehold.runtime.provision.drop import drop_mongo, drop_postgres
from freehold.runtime.provision.mongo import provision_mongo
from freehold.runtime.provision.postgres import provision_postgres
from freehold.testing import Servers

_EMPTY = """
SET client_min_messages = warning;
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND backend_type <> 'autovacuum worker';
DROP PUBLICATION IF EXISTS freehold_outbox;
DROP SCHEMA IF EXISTS freehold CASCADE;
DROP SCHEMA public CASCADE;
CREATE SCHEMA public;
"""


@dataclasses.dataclass(frozen=True)
class Database:
    """A service's own database."""

    service: str
    url: str = dataclasses.field(repr=False)


@pytest.fixture
def service() -> str:
    """Name the test's own service, and with it its database, role and slot."""
    return f"t{secrets.token_hex(4)}"


@pytest.fixture(scope="module")
def postgres_database(freehold_servers: Servers) -> Iterator[Database]:
    """Give a PostgreSQL database with a role of its own, for one file."""
    admin_url, name = freehold_servers.admin_url("postgres"), f"t{secrets.token_hex(4)}"
    yield Database(name, provision_postgres(admin_url, name, secrets.token_urlsafe()))
    drop_postgres(admin_url, name)


@pytest.fixture
def empty_postgres(postgres_database: Database) -> Database:
    """Give the file's database without anything in it, its slots included."""
    with psycopg.connect(postgres_database.url, autocommit=True) as connection:
        connection.execute(_EMPTY)
        connection.execute(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = current_database()"
        )
    return postgres_database


@pytest.fixture(scope="module")
def mongo_database(freehold_servers: Servers) -> Iterator[Database]:
    """Give a MongoDB database with a user of its own, for one file."""
    admin_url, name = freehold_servers.admin_url("mongo"), f"t{secrets.token_hex(4)}"
    yield Database(name, provision_mongo(admin_url, name, secrets.token_urlsafe()))
    drop_mongo(admin_url, name)


@pytest.fixture
def empty_mongo(mongo_database: Database) -> Database:
    """Give the file's database without anything in it."""
    client: MongoClient[dict[str, object]]
    with MongoClient(mongo_database.url) as client:
        client.drop_database(mongo_database.service)
    return mongo_database
