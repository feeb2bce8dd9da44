"""MongoDB as a store: the suite, and what only MongoDB has."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from typing import Any

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pymongo import IndexModel
from pymongo.errors import DuplicateKeyError, OperationFailure

from freehold import telemetry
from freehold.errors import (
    CommitUnknown,
    ConfigurationError,
    ConflictError,
    DeclarationError,
    MigrationError,
    PublishError,
    StoreUnavailable,
)
from freehold.outbox.mongo_settings import LEASES
from freehold.store import mongo
from freehold.store.mongo import Collection, Mongo
from tests.seams.conftest import Database
from tests.seams.hold_mongo import holder
from tests.seams.on_mongo import OnMongo
from tests.seams.product import PUBLISHES, UserUpdated
from tests.seams.proxy import Proxy
from tests.seams.store_suite import StoreSuite
from tests.seams.suite import InMongo

# PyMongo leaves the socket of a connection whose making was cancelled to the garbage collector; close() cancels such, too.
LEAVES_SOCKETS = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")


class TestMongo(InMongo, StoreSuite):
    @LEAVES_SOCKETS
    async def test_cancelled_transactions_leak_no_connection(self, store: Any) -> None:
        try:
            await super().test_cancelled_transactions_leak_no_connection(store)
        finally:
            gc.collect()

    async def test_calls_take_part_without_a_session(self, store: Any) -> None:
        seen = []

        async def run(tx: Any) -> None:
            await self.create(tx, "u1")
            seen.append(await store["users"].find_one({"_id": "u1"}) is not None)
            seen.append(await tx["users"].count_documents({}) == 1)
            raise LookupError

        with pytest.raises(LookupError):
            await store.transact(run)

        assert seen == [True, True]
        assert await store["users"].count_documents({}) == 0

    async def test_write_beside_the_transaction_is_refused(self, store: Any) -> None:
        """The store's own collections, taken by mistake inside the function."""

        async def run(tx: Any) -> None:
            await self.create(tx, "u1")
            await store["users"].insert_one({"_id": "u2"})

        with pytest.raises(OperationFailure, match="writeConcern"):
            await store.transact(run)

        assert await store["users"].count_documents({}) == 0
        assert await self.product.read_outbox(store) == []

    async def test_transaction_that_is_over_cannot_be_used(self, store: Any) -> None:
        async def keep(tx: Any) -> Any:
            return tx

        kept = await store.transact(keep)

        with pytest.raises(DeclarationError, match="over"):
            kept["users"]

    async def test_statement_error_comes_as_it_is(self, store: Any) -> None:
        await store.transact(self.create, "u1")

        with pytest.raises(DuplicateKeyError):
            await store.transact(self.create, "u1")

    async def test_swallowed_statement_error_is_no_commit(self, store: Any) -> None:
        await store.transact(self.create, "u1")

        async def swallow(tx: Any) -> None:
            await self.create(tx, "u2")
            with contextlib.suppress(DuplicateKeyError):
                await tx["users"].insert_one({"_id": "u1"})

        with pytest.raises(ConflictError):
            await store.transact(swallow)

        assert await self.product.read_user(store, "u2") is None

    async def test_version_published_by_two_transactions_is_refused(self, store: Any) -> None:
        async def publish(tx: Any) -> None:
            tx.publish(UserUpdated, {"id": "u1", "name": "Ann", "version": 1})

        await store.transact(publish)

        with pytest.raises(PublishError, match="raise the entity's version") as raised:
            await store.transact(publish)
        assert "Ann" not in str(raised.value)

    async def test_conflicting_writers_meet_at_the_server(self, store: Any) -> None:
        await store.transact(self.create, "u1")
        first_has_written, first_may_commit = asyncio.Event(), asyncio.Event()
        runs = []

        async def first(tx: Any) -> None:
            await self.rename(tx, "u1", "first")
            first_has_written.set()
            await first_may_commit.wait()

        async def second(tx: Any) -> None:
            runs.append(tx)
            if len(runs) == 2:
                first_may_commit.set()
            await self.rename(tx, "u1", "second")

        async with asyncio.timeout(10):
            waiting = asyncio.ensure_future(store.transact(first))
            await first_has_written.wait()
            await store.transact(second)
            await waiting

        assert len(runs) > 1
        assert store.counts.conflicts >= 1
        user = await self.product.read_user(store, "u1") or {}
        assert (user["name"], user["version"]) == ("second", 3)

    @LEAVES_SOCKETS
    async def test_connection_lost_before_the_commit_is_met_by_running_again(self, url: str, service: str) -> None:
        async with through_proxy(url, service) as (store, proxy):
            runs = []

            async def lose_first(tx: Any) -> None:
                runs.append(tx)
                await self.create(tx, "u1")
                if len(runs) == 1:
                    proxy.cut()
                await self.product.rename_user(tx, "u1", "Ben")

            await store.transact(lose_first)

            assert len(runs) == 2
            assert [row.key for row in await self.product.read_outbox(store)] == ["user/u1"]

    @LEAVES_SOCKETS
    @pytest.mark.parametrize("took_effect", [True, False])
    async def test_commit_whose_answer_is_lost_is_asked_for_again(
        self, store: Any, url: str, service: str, took_effect: bool
    ) -> None:
        async with through_proxy(url, service) as (cut_store, proxy):
            runs = []

            async def create(tx: Any) -> None:
                runs.append(tx)
                await self.create(tx, f"u{len(runs)}")

            proxy.cut_at, proxy.is_forwarded = b"commitTransaction", took_effect
            await cut_store.transact(create)

            assert proxy.cut_at == b""
            assert len(runs) == 1
        assert [row.key for row in await self.product.read_outbox(store)] == ["user/u1"]

    @LEAVES_SOCKETS
    @pytest.mark.parametrize("took_effect", [True, False])
    async def test_commit_that_is_never_answered_is_said_to_be_unknown(
        self, store: Any, url: str, service: str, took_effect: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mongo, "COMMIT_LIMIT_S", 0.3)
        async with through_proxy(url, service) as (cut_store, proxy):
            proxy.cut_always(b"commitTransaction", is_forwarded=took_effect)

            with pytest.raises(CommitUnknown):
                await cut_store.transact(self.create, "u1")

            assert len(await self.product.read_outbox(store)) == int(took_effect)
            # What did not take effect holds no document either.
            async with asyncio.timeout(2):
                await store["users"].update_one({"_id": "u1"}, {"$set": {"name": "Ben"}}, upsert=True)

    @LEAVES_SOCKETS
    async def test_server_that_stays_away_is_given_up(
        self, url: str, service: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # No longer than the driver rests between two looks at the server: a call right after the server's return may
        # still be given up.
        monkeypatch.setattr("freehold.outbox.mongo_settings.SELECTION_LIMIT_MS", 500)
        monkeypatch.setattr(mongo, "RECONNECT_LIMIT_S", 0.5)
        async with through_proxy(url, service) as (store, proxy):
            await store.transact(self.create, "u1")
            await proxy.stop()

            async with asyncio.timeout(10):
                with pytest.raises(StoreUnavailable):
                    await store.transact(self.rename, "u1", "Ben")
                with pytest.raises(StoreUnavailable):
                    await store.ping()
                with pytest.raises(StoreUnavailable):
                    await store.backlog()

            await proxy.start()
            await until_answered(store)
            assert (await store.transact(self.rename, "u1", "Ben"))["version"] == 2

    async def test_refused_password_is_for_the_operator(self, url: str, service: str) -> None:
        store = self.product.make_store()

        with pytest.raises(ConfigurationError) as raised:
            await store.open(url.replace("@", "wrong@"), service=service, publishes=())

        assert "wrong" not in str(raised.value)

    async def test_malformed_url_is_named_without_its_password(self) -> None:
        with pytest.raises(ConfigurationError) as raised:
            await self.product.make_store().open("mongodb://u:se@cret@host", service="users", publishes=())

        assert "cret" not in str(raised.value)

    async def test_document_of_a_killed_process_is_free_when_another_opens(
        self, store: Any, url: str, service: str
    ) -> None:
        async with holder(url, service, "users", "u1") as process:
            process.kill()
            await process.wait()

            other = self.product.make_store()
            await other.open(url, service=service, publishes=PUBLISHES)
            async with asyncio.timeout(3):
                await other["users"].update_one({"_id": "u1"}, {"$set": {"name": "Ben"}}, upsert=True)
            await other.close()

    async def test_document_of_a_living_process_is_left_to_it(self, store: Any, url: str, service: str) -> None:
        async with holder(url, service, "users", "u1"):
            other = self.product.make_store()
            await other.open(url, service=service, publishes=PUBLISHES)
            with pytest.raises(ConflictError):
                await other.transact(self.create, "u1")
            await other.close()

    async def test_span_names_service_store_and_operation(self, store: Any, service: str) -> None:
        exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(telemetry, "tracer", provider.get_tracer("test"))
            patch.setattr(telemetry, "_is_traced", True)
            with provider.get_tracer("test").start_as_current_span("request"):
                await store.transact(self.create, "u1")
        provider.shutdown()

        [span] = [span for span in exporter.get_finished_spans() if span.name == "transact"]
        assert dict(span.attributes or {}) == {
            "db.system.name": "mongodb",
            "freehold.service": service,
            "freehold.store": service,
            "freehold.operation": "create",
            "freehold.events": (f"{service}.UserUpdated",),
        }


class TestMongoMigrations:
    @pytest.fixture
    async def open_store(self, empty_mongo: Database) -> AsyncIterator[Any]:
        opened: list[Mongo] = []

        async def open_store(collections: dict[str, Collection]) -> Mongo:
            store = Mongo(collections)
            opened.append(store)
            await store.open(empty_mongo.url, service=empty_mongo.service, publishes=())
            return store

        yield open_store
        for store in opened:
            await store.close()

    async def test_indexes_and_validators_are_made_and_named(self, open_store: Any) -> None:
        collection = Collection(
            indexes=[IndexModel("email", unique=True)], validator={"$jsonSchema": {"required": ["email"]}}
        )
        store = await open_store({"users": collection})

        done = await store.migrate()

        assert {"collection users", "index users.email_1"} <= set(done)
        await store["users"].insert_one({"email": "a"})
        with pytest.raises(DuplicateKeyError):
            await store["users"].insert_one({"email": "a"})
        with pytest.raises(OperationFailure, match="validation"):
            await store["users"].insert_one({})

    async def test_changed_validator_and_expiry_are_brought_up_to_date(self, open_store: Any) -> None:
        first = Collection(indexes=[IndexModel("at", expireAfterSeconds=60)], validator={"a": 1})
        second = Collection(indexes=[IndexModel("at", expireAfterSeconds=90)], validator={"b": 1})
        await (await open_store({"users": first})).migrate()
        store = await open_store({"users": second})

        assert await store.migrate() == ["validator of users", "expiry of users.at_1"]
        assert await store.migrate() == []
        assert (await store["users"].index_information())["at_1"]["expireAfterSeconds"] == 90

    async def test_index_that_is_there_in_another_form_is_named(self, open_store: Any) -> None:
        await (await open_store({"users": Collection(indexes=[IndexModel("email")])})).migrate()
        store = await open_store({"users": Collection(indexes=[IndexModel("email", unique=True)])})

        with pytest.raises(MigrationError, match="email_1 of users"):
            await store.migrate()

        assert await store[LEASES].find_one({"_id": "migration"}) is None

    async def test_index_that_the_documents_do_not_allow_is_named(self, open_store: Any) -> None:
        store = await open_store({"users": Collection(indexes=[IndexModel("email", unique=True)])})
        await store["users"].insert_many([{"email": "a"}, {"email": "a"}])

        with pytest.raises(MigrationError, match="email_1 of users"):
            await store.migrate()

    async def test_lock_of_a_process_that_is_gone_is_taken_over(self, open_store: Any) -> None:
        store = await open_store({})
        await store[LEASES].insert_one({"_id": "migration", "owner": f"freehold/{store.service}/gone"})

        async with asyncio.timeout(5):
            await store.migrate()

    async def test_undeclared_indexes_are_left_alone(self, open_store: Any) -> None:
        store = await open_store({"users": Collection()})
        await store["users"].create_index("name")

        await store.migrate()

        assert "name_1" in await store["users"].index_information()

    def test_own_names_are_refused(self) -> None:
        with pytest.raises(DeclarationError, match="freehold_outbox"):
            Mongo({"freehold_outbox": Collection()})


class CuttingProxy(Proxy):
    """Cuts each time, where its parent does once."""

    always = b""

    def cut_always(self, at: bytes, *, is_forwarded: bool) -> None:
        self.always, self.is_forwarded = at, is_forwarded

    @property
    def cut_at(self) -> bytes:
        return self.always or self._once

    @cut_at.setter
    def cut_at(self, value: bytes) -> None:
        self._once = value


@contextlib.asynccontextmanager
async def through_proxy(url: str, service: str) -> AsyncIterator[tuple[Mongo, CuttingProxy]]:
    # A replica set would tell the driver of its own address, past the proxy.
    proxy = CuttingProxy(url.replace("replicaSet=freehold", "directConnection=true"))
    await proxy.start()
    store = OnMongo().make_store()
    try:
        await store.open(proxy.url, service=service, publishes=PUBLISHES)
        await store.migrate()
        yield store, proxy
    finally:
        await store.close()
        await proxy.stop()
        # Collected later, a socket would be held against whichever test runs then.
        gc.collect()


async def until_answered(store: Mongo) -> None:
    async with asyncio.timeout(10):
        while True:
            try:
                return await store.ping()
            except StoreUnavailable:
                # Gives the driver its turn; a ping waits for the server by itself.
                await asyncio.sleep(0)
