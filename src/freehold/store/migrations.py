"""Bring a PostgreSQL database up to date from plain SQL files, each once, in order, one instance at a time.

Files are named `NNNN_name.sql`, numbered from 0001 without gaps. Each runs in a transaction together with the record
that it ran. Freehold's own tables come first and the same way, from the files in `schema/`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import re
from pathlib import Path

import asyncpg

from freehold.errors import MigrationError

OWN_SCHEMA = Path(__file__).parent / "schema"
# Two instances that start at once: one migrates and the other waits. The number is Freehold's own, per database.
MIGRATION_LOCK = 4_711_002
# Longer than any migration that people wait for; after it the other instance is taken to hang.
LOCK_TIMEOUT_S = 600
# Publications with a list of columns.
SERVER_VERSION_MIN = 150_000

_FILE_NAME = re.compile(r"(\d{4})_[a-z0-9_]+\.sql")


@dataclasses.dataclass(frozen=True)
class Migration:
    """One file: its name as it is recorded, its text, and what tells whether it was changed."""

    name: str
    text: str
    checksum: str


async def migrate(connection: asyncpg.Connection, folder: Path | None) -> list[str]:
    """Run what has not run yet, Freehold's own first, under a lock.

    Returns:
        The names of what ran; empty when all was up to date.

    Raises:
        MigrationError: A file failed (it is rolled back whole), was changed after it ran, or is numbered wrongly.
    """
    wanted = read_migrations(OWN_SCHEMA, prefix="freehold/") + (read_migrations(folder) if folder else [])
    if connection.get_server_version() < (SERVER_VERSION_MIN // 10_000,):
        raise MigrationError("this PostgreSQL is older than version 15, which Freehold needs; upgrade the server")
    await _lock(connection)
    try:
        return await _run_missing(connection, wanted)
    finally:
        if not connection.is_closed():
            await connection.execute(f"SELECT pg_advisory_unlock({MIGRATION_LOCK})")


def read_migrations(folder: Path, prefix: str = "") -> list[Migration]:
    """Read the folder's files in their order.

    Raises:
        MigrationError: The folder is missing, or a name or number is wrong.
    """
    if not folder.is_dir():
        raise MigrationError(f"the folder of migrations {folder} does not exist")
    files = sorted(path for path in folder.iterdir() if path.suffix == ".sql")
    for number, path in enumerate(files, start=1):
        match = _FILE_NAME.fullmatch(path.name)
        if match is None:
            raise MigrationError(f"{path.name}: name a migration NNNN_what_it_does.sql, in a-z, 0-9 and _")
        if int(match[1]) != number:
            raise MigrationError(
                f"{path.name}: its number should be {number:04d}; number migrations from 0001, without gaps or doubles"
            )
    return [_read(path, prefix) for path in files]


def _read(path: Path, prefix: str) -> Migration:
    text = path.read_text(encoding="utf-8")
    # Line ends are a matter of the checkout, not a change: read_text has made them all alike.
    return Migration(f"{prefix}{path.name}", text, hashlib.sha256(text.encode()).hexdigest())


async def _lock(connection: asyncpg.Connection) -> None:
    try:
        await connection.execute(f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'; SELECT pg_advisory_lock({MIGRATION_LOCK})")
    except asyncpg.LockNotAvailableError as error:
        raise MigrationError(
            f"another instance has been migrating for more than {LOCK_TIMEOUT_S} s; see what it waits for, then start again"
        ) from error
    finally:
        if not connection.is_closed():
            await connection.execute("RESET lock_timeout")


async def _run_missing(connection: asyncpg.Connection, wanted: list[Migration]) -> list[str]:
    # Asked before it is made: a role that may only use what is there already needs no right to create.
    if await connection.fetchval("SELECT to_regclass('freehold.migrations')") is None:
        await connection.execute(
            "CREATE SCHEMA IF NOT EXISTS freehold;"
            "CREATE TABLE freehold.migrations (name text PRIMARY KEY, checksum text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT clock_timestamp())"
        )
    done = {row["name"]: row["checksum"] for row in await connection.fetch("SELECT * FROM freehold.migrations")}
    for migration in wanted:
        if done.get(migration.name, migration.checksum) != migration.checksum:
            raise MigrationError(
                f"{migration.name} was changed after it ran on this database; "
                f"restore the file and put the change into a new one"
            )
    missing = [migration for migration in wanted if migration.name not in done]
    for migration in missing:
        await _run(connection, migration)
    return [migration.name for migration in missing]


async def _run(connection: asyncpg.Connection, migration: Migration) -> None:
    await connection.execute("BEGIN")
    try:
        await connection.execute(migration.text)
        if not connection.is_in_transaction():
            raise MigrationError(f"{migration.name} ends its own transaction; leave BEGIN and COMMIT out of migrations")
        await connection.execute(
            "INSERT INTO freehold.migrations (name, checksum) VALUES ($1, $2)", migration.name, migration.checksum
        )
        await connection.execute("COMMIT")
    except asyncpg.PostgresError as error:
        # Its first line; those behind it quote the rows that it met.
        reason = str(error).partition("\n")[0]
        raise MigrationError(f"{migration.name} failed and was rolled back: {reason}") from error
    finally:
        if connection.is_in_transaction() and not connection.is_closed():
            await connection.execute("ROLLBACK")
