"""PostgreSQL as a store: the suite, and what only PostgreSQL has."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from freehold.errors import CommitUnknown, ConfigurationError, PublishError, StoreUnavailable
from freehold.store import postgres
from freehold.store.postgres import Postgres
from tests.seams.conftest import Database
from tests.seams.on_postgres import SHOP, OnPostgres
from tests.seams.product import PUBLISHES, UserUpdated
from tests.seams.proxy import Proxy, proxied
from tests.seams.store_suite import StoreSuite


class TestPostgres(StoreSuite):
    product = OnPostgres()

    @pytest.fixture
    def url(self, empty_postgres: Database) -> str:
        return empty_postgres.url

    @pytest.fixture
    def service(self, empty_postgres: Database) -> str:
        return empty_postgres.service

    async def test_write_with_event_takes_three_round_trips(self, url: str, service: str) -> None:
        """BEGIN, the author's statement, and the outbox row together with COMMIT."""
        async with through_proxy(url, service) as (store, proxy):
            await store.transact(self.create, "u1")
            await store.transact(self.rename, "u1", "prepared by now")
            before = proxy.requests

            await store.transact(self.rename, "u1", "Ben")

            assert proxy.requests - before == 3

    async def test_statement_error_comes_as_it_is(self, store: Any) -> None:
        await store.transact(self.create, "u1")

        with pytest.raises(asyncpg.UniqueViolationError):
            await store.transact(self.create, "u1")

    async def test_swallowed_statement_error_is_no_commit(self, store: Any) -> None:
        async def swallow(tx: Any) -> None:
            await tx.execute("INSERT INTO users VALUES ('u1', 'Ann', 1)")
            with contextlib.suppress(asyncpg.UndefinedTableError):
                await tx.execute("SELECT * FROM nothing")

        with pytest.raises(asyncpg.InFailedSQLTransactionError):
            await store.transact(swallow)

        assert await self.product.read_user(store, "u1") is None

    async def test_version_published_by_two_transactions_is_refused(self, store: Any) -> None:
        async def publish(tx: Any, count: int) -> None:
            for number in range(count):
                tx.publish(UserUpdated, {"id": f"u{number}", "name": "Ann", "version": 1})

        await store.transact(publish, 1)

        for count in (1, 100):
            with pytest.raises(PublishError, match="raise the version"):
                await store.transact(publish, count)

    async def test_nul_in_a_key_is_refused(self, store: Any) -> None:
        async def publish(tx: Any) -> None:
            tx.publish(UserUpdated, {"id": "u\0", "name": "Ann", "version": 1})

        with pytest.raises(PublishError, match="NUL"):
            await store.transact(publish)

    async def test_connection_lost_before_the_commit_is_met_by_running_again(self, store: Any) -> None:
        runs = []

        async def lose_first(tx: Any) -> None:
            runs.append(tx)
            await self.create(tx, "u1")
            if len(runs) == 1:
                await tx.execute("SELECT pg_terminate_backend(pg_backend_pid())")

        await store.transact(lose_first)

        assert len(runs) == 2
        assert [row.key for row in await self.product.read_outbox(store)] == ["user/u1"]

    async def test_dead_connections_are_replaced(self, store: Any, url: str) -> None:
        await asyncio.gather(*(store.transact(self.create, f"u{number}") for number in range(10)))
        await end_connections(url)

        await asyncio.gather(*(store.transact(self.rename, f"u{number}", "Ben") for number in range(10)))

        assert (await self.product.read_user(store, "u9") or {})["version"] == 2

    @pytest.mark.parametrize("took_effect", [True, False])
    async def test_connection_lost_while_committing_is_said_to_be_unknown(
        self, store: Any, url: str, service: str, took_effect: bool
    ) -> None:
        async with through_proxy(url, service) as (cut_store, proxy):
            proxy.cut_at, proxy.is_forwarded = b"COMMIT", took_effect

            with pytest.raises(CommitUnknown):
                await cut_store.transact(self.create, "u1")

            # Read before trying again, on a connection that works.
            assert (await self.product.read_user(cut_store, "u1") is not None) is took_effect
        assert len(await self.product.read_outbox(store)) == int(took_effect)

    async def test_server_that_stays_away_is_given_up(
        self, url: str, service: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres, "UNAVAILABLE_AFTER_S", 0.5)
        async with through_proxy(url, service) as (store, proxy):
            await store.transact(self.create, "u1")
            await proxy.stop()

            async with asyncio.timeout(5):
                with pytest.raises(StoreUnavailable, match="nothing was written"):
                    await store.transact(self.rename, "u1", "Ben")
                with pytest.raises(StoreUnavailable):
                    await store.ping()
                with pytest.raises(StoreUnavailable):
                    await store.backlog()

            await proxy.start()
            assert (await store.transact(self.rename, "u1", "Ben"))["version"] == 2

    async def test_stopped_transaction_does_not_hold_its_rows(
        self, url: str, service: str, store: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres, "IDLE_IN_TRANSACTION_TIMEOUT_S", 1)
        monkeypatch.setattr(postgres, "UNAVAILABLE_AFTER_S", 0.5)
        await store.transact(self.create, "u1")
        stopping = self.product.make_store()
        await stopping.open(url, service=service, publishes=PUBLISHES)
        has_written, never = asyncio.Event(), asyncio.Event()

        async def stop(tx: Any) -> None:
            await self.rename(tx, "u1", "never seen")
            has_written.set()
            await never.wait()

        task = asyncio.ensure_future(stopping.transact(stop))
        await asyncio.wait_for(has_written.wait(), 5)
        async with asyncio.timeout(5):
            row = await store.transact(self.rename, "u1", "Ben")

        assert row["version"] == 2
        never.set()
        with pytest.raises(StoreUnavailable):
            await task
        await stopping.close()

    async def test_serializable_transactions_meet_and_run_again(self, url: str, service: str, store: Any) -> None:
        strict = Postgres(migrations=SHOP, isolation="serializable")
        await strict.open(url, service=service, publishes=PUBLISHES)
        await store.transact(self.create, "u1")

        async def count_then_add(tx: Any, name: str) -> None:
            count = await tx.fetchval("SELECT count(*) FROM users")
            await self.create(tx, name, f"number {count}")

        await asyncio.gather(*(strict.transact(count_then_add, f"n{number}") for number in range(4)))

        names = {row["name"] for row in await strict.fetch("SELECT name FROM users WHERE id LIKE 'n%'")}
        assert names == {"number 1", "number 2", "number 3", "number 4"}
        await strict.close()

    async def test_database_that_takes_no_writes_is_not_ready(self, url: str, service: str, store: Any) -> None:
        await store.pool.execute(f"ALTER ROLE {service} SET default_transaction_read_only = on")
        try:
            standby = self.product.make_store()
            await standby.open(url, service=service, publishes=PUBLISHES)

            with pytest.raises(StoreUnavailable, match="takes no writes"):
                await standby.ping()
            await standby.close()
        finally:
            await store.pool.execute(
                f"SET default_transaction_read_only = off; ALTER ROLE {service} RESET default_transaction_read_only"
            )

    async def test_refused_password_is_for_the_operator(self, url: str, service: str) -> None:
        store = self.product.make_store()

        with pytest.raises(ConfigurationError) as raised:
            await store.open(url.replace(":", ":wrong", 2).replace("wrong//", "//"), service=service, publishes=())

        assert "wrong" not in str(raised.value)


@contextlib.asynccontextmanager
async def through_proxy(url: str, service: str) -> AsyncIterator[tuple[Postgres, Proxy]]:
    async with proxied(url) as proxy:
        store = Postgres(migrations=SHOP)
        await store.open(proxy.url, service=service, publishes=PUBLISHES)
        await store.migrate()
        try:
            yield store, proxy
        finally:
            await store.close()


async def end_connections(url: str) -> None:
    """Let the server end every connection to the database but this one, and wait until they are gone."""
    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    connection = await asyncpg.connect(url)
    async with asyncio.timeout(10):
        while await connection.fetchval(f"SELECT count(pg_terminate_backend(pid)) {others}"):
            pass
    await connection.close()
