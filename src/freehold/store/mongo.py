"""MongoDB as a service's own database.

    orders = Mongo({"orders": Collection(indexes=[IndexModel("user_id")])})

    async def place(tx: MongoTransaction, order):
        await tx["orders"].insert_one(order)
        tx.publish(OrderPlaced, order)

    await orders.transact(place, order)         # runs place again when it met another transaction
    await orders["orders"].find_one(...)        # reads need no transaction

Every call inside `run` takes part in the transaction without `session=`: the session is bound to the task. A call that
must not is refused by the driver, so that nothing is written beside the transaction by accident.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Concatenate, ParamSpec, TypeVar

import pymongo
from opentelemetry.trace import SpanKind
from pymongo import AsyncMongoClient
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import PyMongoError, ServerSelectionTimeoutError, WaitQueueTimeoutError
from pymongo.read_concern import ReadConcern
from pymongo.read_preferences import ReadPreference
from pymongo.write_concern import WriteConcern

from freehold.errors import CommitUnknown, ConflictError, StoreUnavailable
from freehold.event import Event
from freehold.http.written import note_written
from freehold.outbox.mongo_presence import abandoned_sessions, list_operations
from freehold.outbox.mongo_settings import (
    EPOCHS,
    OUTBOX,
    client_options,
    database_name,
    is_unavailable,
    name_prefix,
    new_name,
    translate,
    translating,
)
from freehold.outbox.outgoing import Outgoing
from freehold.store import CONFLICT_RUNS_MAX, Backlog
from freehold.store.mongo_queue import CopyQueue, Turn
from freehold.store.mongo_schema import Collection, check_names, migrate
from freehold.store.mongo_transaction import MongoTransaction
from freehold.telemetry import OPERATION, SERVICE, STORE, StoreCounts, in_span, is_recording

__all__ = ["Collection", "Mongo", "MongoTransaction"]

P = ParamSpec("P")
T = TypeVar("T")
Document = dict[str, Any]

PING_LIMIT_S = 1.0
# A lost connection is met by running again until then; an election or a restart takes two to three seconds.
RECONNECT_LIMIT_S = 5.0
# A commit whose answer was lost is asked for again until then; asking again has no effect if it was done.
COMMIT_LIMIT_S = 5.0
# An abort that does not reach the server is left to the server's own limit, or to whoever takes over from us.
ABORT_LIMIT_S = 1.0
PAUSE_FIRST_S = 0.002
PAUSE_MAX_S = 0.25
BACKLOG_ROWS_MAX = 10_000

SNAPSHOT = ReadConcern("snapshot")
MAJORITY = WriteConcern("majority")


class Mongo:
    """Declare a MongoDB database as a service's store.

    Args:
        collections: By name, the own collections with their indexes and validators. One that is not named here is
            made by its first use outside a transaction, without either.
    """

    kind = "mongo"

    def __init__(self, collections: Mapping[str, Collection] | None = None) -> None:
        self._collections = dict(collections or {})
        check_names(self._collections)
        self.counts = StoreCounts()
        self._client: AsyncMongoClient[Document] | None = None
        self._service = ""
        self._name = ""
        self._epoch = 0
        self._publishes: frozenset[type[Event]] = frozenset()

    async def transact(self, run: Callable[Concatenate[Any, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `run(tx, ...)` in one transaction, again on conflict, and return its result.

        Raises:
            ConflictError: It still conflicted after CONFLICT_RUNS_MAX runs; nothing was written.
            StoreUnavailable: The connection was lost before the commit was asked for; nothing was written.
            CommitUnknown: The connection was lost while committing: read before trying again.
            PublishError: See `MongoTransaction.publish`; nothing was written.
            pymongo.errors.PyMongoError: Of the author's own statements; nothing was written. One that `run` swallows
                has ended the transaction all the same, and is met like a conflict.
        """
        if not is_recording():
            return await self._transact(run, *args, **kwargs)
        attributes = {
            "db.system.name": "mongodb",
            SERVICE: self._service,
            STORE: self._service,
            OPERATION: getattr(run, "__name__", "transaction"),
        }
        with in_span("transact", SpanKind.CLIENT, attributes):
            return await self._transact(run, *args, **kwargs)

    def __getitem__(self, name: str) -> AsyncCollection[Document]:
        """Give PyMongo's collection, for reads, and for writes that nobody is told of."""
        return self.database[name]

    @property
    def database(self) -> AsyncDatabase[Document]:
        """PyMongo's database, with majority reads and writes."""
        if self._client is None:
            raise StoreUnavailable(
                "the store is not open; the runtime opens it before the service starts, a test by `await store.open(...)`"
            )
        return self._database

    @property
    def epoch(self) -> int:
        """The store's epoch: raised only when its history was rewritten (a restored backup)."""
        return self._epoch

    def note_epoch(self, epoch: int) -> None:
        """Publish under this epoch from now on; Freehold's own (`freehold.store.history`)."""
        self._epoch = epoch

    @property
    def service(self) -> str:
        """The service whose store this is."""
        return self._service

    @property
    def name(self) -> str:
        """The name by which the server knows this process."""
        return self._name

    async def open(self, url: str, *, service: str, publishes: tuple[type[Event], ...]) -> None:
        """Connect; raises StoreUnavailable when it does not answer within its limit."""
        await self.close()
        self._service, self._name, self._publishes = service, new_name(service), frozenset(publishes)
        database = database_name(url, service)
        client: AsyncMongoClient[Document] = AsyncMongoClient(url, **client_options(self._name))
        self._database = client[database]
        # The driver sends a database's own concern with each statement, which the server refuses in a transaction.
        self._transacting = self._database.with_options(
            read_concern=ReadConcern(), write_concern=WriteConcern(), read_preference=ReadPreference.PRIMARY
        )
        self._client = client
        self._queue = CopyQueue()
        try:
            kept = await self._database[EPOCHS].find_one({"_id": "epoch"})
            await self.end_abandoned()
        except PyMongoError as error:
            await self.close()
            raise translate(error, f"open the store of {service}") from error
        self._epoch = kept["epoch"] if kept else 1

    async def migrate(self) -> list[str]:
        """Bring Freehold's own collections and the declared ones up to date, under a lock; names of what was done.

        Raises:
            MigrationError: An index is there in another form than declared; each is named, nothing else is undone.
        """
        with translating(f"migrate the store of {self._service}"):
            return await migrate(self.database, self._collections, self._name)

    async def close(self) -> None:
        """Let go of every connection; idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def explain(self, error: BaseException) -> StoreUnavailable | None:
        """Say whether an error of PyMongo's, met outside any transaction, means that the server was not there for us."""
        if not isinstance(error, PyMongoError) or not is_unavailable(error):
            return None
        return StoreUnavailable(f"the store of {self._service} does not answer: {type(error).__name__}")

    async def ping(self) -> None:
        """Raise StoreUnavailable unless the database answers within a second and takes writes."""
        with translating(f"ping the store of {self._service}"), pymongo.timeout(PING_LIMIT_S):
            # The driver sends it to a primary only, and waits for one no longer than the limit.
            hello = await self.database.client.admin.command("hello")
        if not hello.get("isWritablePrimary"):
            raise StoreUnavailable(f"the store of {self._service} takes no writes now: its server is no primary")

    async def backlog(self) -> Backlog:
        """Count what the relay has still to ship; asked of the store itself, independently of any relay."""
        # Not by majority: a delete that is on its way there has been acknowledged by the topic.
        outbox = self.database[OUTBOX].with_options(read_concern=ReadConcern("local"))
        with translating(f"count the outbox of {self._service}"):
            # In its natural order a collection stands as it was written: the first is the oldest.
            oldest = await outbox.find_one({}, {"_id": 0, "at": 1, "now": "$$NOW"}, sort=[("$natural", 1)])
            if oldest is None:
                return Backlog(0, 0.0)
            rows = await outbox.count_documents({}, limit=BACKLOG_ROWS_MAX)
        # Both clocks are the server's; `at` has whole seconds.
        age_s = (oldest["now"] - oldest["at"].as_datetime()).total_seconds()
        return Backlog(rows, max(0.0, age_s))

    async def end_abandoned(self, stopped: str | None = None) -> int:
        """End the transactions that killed processes of this service left open; they would block their documents.

        Args:
            stopped: Name of a process that lost its work to us; what it has left at rest is ended, too.
        """
        admin = self.database.client.admin
        answer = await admin.command(list_operations(name_prefix(self._service)))
        sessions = abandoned_sessions(answer["cursor"]["firstBatch"], stopped)
        if sessions:
            await admin.command("killSessions", sessions)
        return len(sessions)

    async def _transact(self, run: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any) -> T:
        client, turn = self.database.client, Turn(self._queue)
        lost_at: float | None = None
        conflicts = 0
        while True:
            try:
                await turn.take()
                transaction = MongoTransaction(
                    self._transacting,
                    client.start_session(causal_consistency=False),
                    Outgoing(self._service, self._epoch, self._publishes),
                    turn,
                )
                return await self._run_once(transaction, run, *args, **kwargs)
            except PyMongoError as error:
                if error.has_error_label("UnknownTransactionCommitResult"):
                    raise CommitUnknown(
                        f"commit in the store of {self._service}: MongoDB did not answer; read before you try again: {error}"
                    ) from error
                if is_unavailable(error):
                    lost_at = lost_at or time.monotonic()
                    if not _may_pass(error) or time.monotonic() - lost_at > RECONNECT_LIMIT_S:
                        raise translate(error, f"transaction in the store of {self._service}") from error
                elif error.has_error_label("TransientTransactionError"):
                    conflicts += 1
                    self.counts.conflicts += 1
                    if conflicts >= CONFLICT_RUNS_MAX:
                        raise ConflictError(
                            f"transaction in the store of {self._service} met others in each of {conflicts} runs; "
                            f"nothing was written, try again later: {error}"
                        ) from error
                else:
                    raise
            finally:
                turn.give_back()
            await asyncio.sleep(pause_s(conflicts))

    async def _run_once(
        self, transaction: MongoTransaction, run: Callable[..., Awaitable[T]], *args: Any, **kwargs: Any
    ) -> T:
        session = transaction.session
        try:
            await session.start_transaction(SNAPSHOT, MAJORITY, ReadPreference.PRIMARY)
            async with session.bind(end_session=False):
                result = await run(transaction, *args, **kwargs)
                rows = await transaction.write_outbox()
            await self._commit(session)
            self.counts.transactions += 1
            self.counts.events += len(rows)
            note_written(self._service, self._epoch, rows)
            return result
        finally:
            # Aborts what was not committed, after any error and after a cancellation.
            with pymongo.timeout(ABORT_LIMIT_S):
                await session.end_session()

    async def _commit(self, session: AsyncClientSession) -> None:
        until = time.monotonic() + COMMIT_LIMIT_S
        runs = 0
        while True:
            try:
                return await session.commit_transaction()
            except PyMongoError as error:
                if not error.has_error_label("UnknownTransactionCommitResult"):
                    raise
                if time.monotonic() > until:
                    # What never arrived would hold its documents until the server's own limit.
                    with contextlib.suppress(PyMongoError), pymongo.timeout(ABORT_LIMIT_S):
                        await session.client.admin.command("killSessions", [session.session_id])
                    raise
            runs += 1
            await asyncio.sleep(pause_s(runs))


def _may_pass(error: PyMongoError) -> bool:
    # These two have waited for their limit already; waiting again would only hold the caller.
    return not isinstance(error, (ServerSelectionTimeoutError, WaitQueueTimeoutError))


def pause_s(runs: int) -> float:
    """Choose how long to rest before the next run: at random, so that two do not meet again, and longer each time."""
    longest_s = min(PAUSE_MAX_S, PAUSE_FIRST_S * 2.0**runs)
    return random.uniform(0.5, 1.0) * longest_s  # noqa: S311 - no secret
