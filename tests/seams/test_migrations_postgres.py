"""Migrations in plain SQL: each once, in order, whole or not at all, and never changed afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import asyncpg
import pytest

from freehold.errors import MigrationError
from freehold.store.postgres import Postgres
from tests.seams.conftest import Database

Migrate = Callable[[], Awaitable[list[str]]]


@pytest.fixture
async def connection(empty_postgres: Database) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(empty_postgres.url)
    yield connection
    await connection.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "0001_users.sql").write_text("CREATE TABLE users (id text PRIMARY KEY);\n")
    return tmp_path


@pytest.fixture
def migrate(empty_postgres: Database, folder: Path) -> Migrate:
    async def run() -> list[str]:
        store = Postgres(migrations=folder)
        await store.open(empty_postgres.url, service=empty_postgres.service, publishes=())
        try:
            return [name for name in await store.migrate() if not name.startswith("freehold/")]
        finally:
            await store.close()

    return run


async def test_files_run_once_in_order(folder: Path, migrate: Migrate, connection: asyncpg.Connection) -> None:
    (folder / "0002_names.sql").write_text("ALTER TABLE users ADD name text; UPDATE users SET name = 'x';")

    assert await migrate() == ["0001_users.sql", "0002_names.sql"]
    assert await migrate() == []
    (folder / "0003_emails.sql").write_text("ALTER TABLE users ADD email text")
    assert await migrate() == ["0003_emails.sql"]
    assert await connection.fetch("SELECT id, name, email FROM users") == []


async def test_file_that_was_changed_after_it_ran_is_named(folder: Path, migrate: Migrate) -> None:
    await migrate()
    (folder / "0001_users.sql").write_text("CREATE TABLE users (id uuid PRIMARY KEY);\n")

    with pytest.raises(MigrationError, match=r"0001_users\.sql was changed"):
        await migrate()


async def test_other_line_ends_are_no_change(folder: Path, migrate: Migrate) -> None:
    await migrate()
    (folder / "0001_users.sql").write_bytes(b"CREATE TABLE users (id text PRIMARY KEY);\r\n")

    assert await migrate() == []


async def test_failed_file_leaves_nothing_behind(
    folder: Path, migrate: Migrate, connection: asyncpg.Connection
) -> None:
    (folder / "0002_bad.sql").write_text("CREATE TABLE orders (id text); SELECT * FROM nothing;")

    with pytest.raises(MigrationError, match=r"0002_bad\.sql.*nothing"):
        await migrate()

    assert await connection.fetchval("SELECT to_regclass('users') IS NOT NULL AND to_regclass('orders') IS NULL")
    (folder / "0002_bad.sql").write_text("CREATE TABLE orders (id text);")
    assert await migrate() == ["0002_bad.sql"]


@pytest.mark.parametrize(
    "name",
    ["0003_gap.sql", "0001_double.sql", "2_short.sql", "0002-dash.sql", "0002_Upper.sql", "users.sql"],
)
async def test_file_with_a_wrong_name_or_number_is_named(folder: Path, migrate: Migrate, name: str) -> None:
    (folder / name).write_text("SELECT 1")

    with pytest.raises(MigrationError, match=r"\.sql: "):
        await migrate()


async def test_missing_folder_is_named(folder: Path, migrate: Migrate) -> None:
    (folder / "0001_users.sql").unlink()
    folder.rmdir()  # noqa: ASYNC240 (nothing else runs here)

    with pytest.raises(MigrationError, match=folder.name):
        await migrate()


@pytest.mark.parametrize("text", ["CREATE TABLE orders (id text); COMMIT;", "ROLLBACK; CREATE TABLE orders (id text)"])
async def test_file_that_ends_its_own_transaction_is_refused(folder: Path, migrate: Migrate, text: str) -> None:
    (folder / "0002_own.sql").write_text(text)

    with pytest.raises(MigrationError, match="BEGIN and COMMIT"):
        await migrate()


async def test_instances_that_start_at_once_run_each_file_once(folder: Path, migrate: Migrate) -> None:
    (folder / "0002_slow.sql").write_text("CREATE TABLE orders (id text); SELECT pg_sleep(0.3);")

    ran = await asyncio.gather(*(migrate() for _ in range(3)))

    assert sorted(ran) == [[], [], ["0001_users.sql", "0002_slow.sql"]]


async def test_older_instance_beside_a_newer_one_is_left_alone(folder: Path, migrate: Migrate) -> None:
    """A rolling deployment: what a newer version added is not the older one's business."""
    (folder / "0002_newer.sql").write_text("CREATE TABLE orders (id text)")
    await migrate()
    (folder / "0002_newer.sql").unlink()

    assert await migrate() == []
