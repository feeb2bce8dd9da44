"""PostgreSQL as a store: the suite, and what only PostgreSQL has."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from freehold.errors import CommitUnknown, ConfigurationError, PublishError, StoreUnavailable
from freehold.store import postgres
from freehold.store.postgres import Postgres
from freehold.testing import Servers
from tests.seams.on_postgres import SHOP
from tests.seams.product import PUBLISHES, UserUpdated
from tests.seams.proxy import Proxy, proxied
from tests.seams.store_suite import StoreSuite
from tests.seams.suite import InPostgres


class TestPostgres(InPostgres, StoreSuite):
    async def test_write_with_event_takes_two_round_trips(self, url: str, service: str) -> None:
        """BEGIN and the author's statement, then the outbox row and COMMIT."""
        async with through_proxy(url, service) as (store, proxy):
            await store.transact(self.create, "u1")
            await store.transact(self.rename, "u1", "prepared by now")
            before = proxy.requests

            await store.transact(self.rename, "u1", "Ben")

            assert proxy.requests - before == 2

    async def test_transaction_without_a_statement_takes_none(self, url: str, service: str) -> None:
        async def decide(_tx: Any) -> str:
            return "nothing to do"

        async with through_proxy(url, service) as (store, proxy):
            await store.fetchval("SELECT 1")
            before = proxy.requests

            assert await store.transact(decide) == "nothing to do"
            assert proxy.requests == before

    async def test_event_alone_leaves(self, store: Any) -> None:
        async def announce(tx: Any) -> None:
            tx.publish(UserUpdated, {"id": "u1", "name": "Ann", "version": 1})

        await store.transact(announce)

        assert [row.key for row in await self.product.read_outbox(store)] == ["user/u1"]

    async def test_transaction_in_the_transaction_is_refused(self, store: Any) -> None:
        """It would send a second BEGIN, and commit without the events."""

        async def nest(tx: Any) -> None:
            async with tx.connection.transaction():
                await self.create(tx, "u1")

        with pytest.raises(asyncpg.InterfaceError, match="SAVEPOINT"):
            await store.transact(nest)

        assert await self.product.read_user(store, "u1") is None

    async def test_savepoint_undoes_a_part(self, store: Any) -> None:
        async def try_twice(tx: Any) -> None:
            await tx.execute("SAVEPOINT attempt")
            await self.product.insert_user(tx, "u1", "first")
            await tx.execute("ROLLBACK TO SAVEPOINT attempt")
            await self.create(tx, "u1", "second")

        await store.transact(try_twice)

        assert (await self.product.read_user(store, "u1") or {})["name"] == "second"

    async def test_statement_after_the_end_is_refused(self, store: Any) -> None:
        async def keep(tx: Any) -> Any:
            await tx.fetchval("SELECT 1")
            return tx

        kept = await store.transact(keep)

        with pytest.raises(asyncpg.InterfaceError, match="over"):
            await kept.execute("INSERT INTO users VALUES ('u1', 'Ann', 1)")

    async def test_first_statement_that_asyncpg_refuses_leaves_the_connection_clean(
        self, url: str, service: str, store: Any
    ) -> None:
        """BEGIN was sent ahead of a statement that is never sent."""
        single = Postgres(migrations=SHOP, connections=1)
        await single.open(url, service=service, publishes=PUBLISHES)
        query = "INSERT INTO users VALUES ($1, 'Ann', 1)"

        async def insert(tx: Any, value: object) -> None:
            await tx.execute(query, value)

        await single.transact(insert, "u1")
        for _ in range(3):
            with pytest.raises(asyncpg.DataError):
                await single.transact(insert, 7)
            left = await store.fetchval(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND state LIKE 'idle in transaction%'"
            )
            assert left == 0
        await single.transact(insert, "u2")

        assert await store.fetchval("SELECT count(*) FROM users") == 2
        await single.close()

    async def test_more_transactions_than_connections_wait_their_turn(self, url: str, service: str, store: Any) -> None:
        few = Postgres(migrations=SHOP, connections=2)
        await few.open(url, service=service, publishes=PUBLISHES)

        await asyncio.gather(*(few.transact(self.create, f"u{number}") for number in range(40)))

        assert await few.fetchval("SELECT count(*) FROM users") == 40
        used = await store.fetchval(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE '%FROM users'"
        )
        assert used <= 3
        await few.close()

    async def test_transaction_that_gets_no_connection_is_told_so(
        self, url: str, service: str, store: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(postgres, "UNAVAILABLE_AFTER_S", 0.2)
        single = Postgres(migrations=SHOP, connections=1)
        await single.open(url, service=service, publishes=PUBLISHES)

        async def nest(_tx: Any) -> None:
            await single.transact(self.create, "u1")

        async with asyncio.timeout(5):
            with pytest.raises(StoreUnavailable, match="no connection"):
                await single.transact(nest)
        await single.transact(self.create, "u1")
        await single.close()

    async def test_settings_reloaded_meanwhile_do_no_harm(
        self, url: str, service: str, store: Any, freehold_servers: Servers
    ) -> None:
        """The server then says more than asyncpg or we asked for, at any moment."""
        await store.transact(self.create, "u1")
        admin = await asyncpg.connect(freehold_servers.admin_url("postgres"))
        try:
            for zone in ("Asia/Tokyo", "Europe/Paris"):
                await admin.execute(f"ALTER SYSTEM SET timezone = '{zone}'")
                await admin.execute("SELECT pg_reload_conf()")
                await asyncio.gather(*(store.transact(self.rename, "u1", zone) for _ in range(10)))
        finally:
            await admin.execute("ALTER SYSTEM RESET timezone")
            await admin.execute("SELECT pg_reload_conf()")
            await admin.close()

        assert (await self.product.read_user(store, "u1") or {})["version"] == 21

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

    async def test_killed_server_that_comes_back_is_used_again(
        self, store: Any, service: str, url: str, freehold_servers: Servers
    ) -> None:
        """Writers go on over it: each either commits once, or says that nothing was written or that it is not known."""
        server = freehold_servers.embedded.get("postgres")
        if server is None:
            pytest.skip("the server is not ours to kill")
        await store.transact(self.create, "u0")
        committed, unknown, is_back = set(), set(), asyncio.Event()

        async def write(client: int) -> None:
            number = 0
            while number < 30 or not is_back.is_set():
                number += 1
                name = f"c{client}-{number}"
                try:
                    await store.transact(self.create, name)
                    committed.add(name)
                except CommitUnknown:
                    unknown.add(name)
                except StoreUnavailable:
                    pass

        async def kill_and_start() -> None:
            await asyncio.sleep(0.05)
            os.kill(server.pid, signal.SIGKILL)
            await asyncio.to_thread(server.stop, 5)
            await asyncio.to_thread(server.start, str)
            is_back.set()

        async with asyncio.timeout(60):
            await asyncio.gather(kill_and_start(), *(write(client) for client in range(4)))

        found = {row["id"] for row in await store.fetch("SELECT id FROM users WHERE id LIKE 'c%'")}
        assert committed <= found <= committed | unknown
        keys = {row.key for row in await self.product.read_outbox(store)}
        assert keys == {f"user/{name}" for name in found} | {"user/u0"}

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
        await task
        assert (await self.product.read_user(store, "u1") or {})["version"] == 3, "it runs again, on what is there now"
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

    @pytest.mark.parametrize("call", ["ping", "backlog"])
    async def test_farewell_of_the_server_is_an_outage(self, url: str, service: str, call: str) -> None:
        """It was received, and the end of the connection is still on its way: asyncpg calls that an error of its own."""
        async with through_proxy(url, service) as (store, proxy):
            await store.ping()
            proxy.is_hanging = True
            await end_connections(url)

            with pytest.raises(StoreUnavailable):
                await getattr(store, call)()

            proxy.is_hanging = False
            await store.ping()


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
