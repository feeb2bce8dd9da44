"""PostgreSQL's ledger: the suite, and what a stopped owner leaves open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest

from freehold.consumer import Claim, Ledger
from freehold.consumer.postgres import STOPPED_AFTER_S
from freehold.errors import FencedError
from tests.seams.ledger_suite import TOPIC, LedgerSuite
from tests.seams.product import PUBLISHES
from tests.seams.suite import InPostgres

# Less than each of the server's own time-outs (10 s idle in a transaction, 30 s in a statement).
CLAIM_LIMIT_S = STOPPED_AFTER_S + 5


class TestPostgresLedger(InPostgres, LedgerSuite):
    @pytest.fixture
    async def other(self, store: Any, url: str, service: str) -> AsyncIterator[Any]:
        """Give another process's store."""
        other = self.product.make_store()
        await other.open(url, service=service, publishes=PUBLISHES)
        yield other
        await other.close()

    @pytest.mark.parametrize("stopped_in", ["a statement", "a transaction"])
    async def test_what_a_stopped_owner_left_open_is_ended(
        self, store: Any, ledger: Ledger, other: Any, stopped_in: str
    ) -> None:
        """It holds the position; stopped between two messages of a statement, no time-out for idle sessions ends it."""
        former = await self.product.make_ledger(other).claim("users", TOPIC, 0)
        has_moved, goes_on = asyncio.Event(), asyncio.Event()

        async def never_sent() -> AsyncIterator[bytes]:
            has_moved.set()
            await goes_on.wait()
            yield b""

        async def apply(tx: Any) -> Claim:
            moved = await self.product.make_ledger(other).advance(tx, former, 1)
            await self.product.insert_user(tx, "u1", "from the former owner")
            if not goes_on.is_set() and stopped_in == "a statement":
                await tx.connection.copy_to_table("users", source=never_sent())
            elif not goes_on.is_set():
                has_moved.set()
                await goes_on.wait()
            return moved

        zombie = asyncio.ensure_future(other.transact(apply))
        await has_moved.wait()
        async with asyncio.timeout(CLAIM_LIMIT_S):
            present = await ledger.claim("users", TOPIC, 0)
            await store.transact(self.product.insert_user, "u1", "from the present owner")
            await store.transact(ledger.advance, present, 1)
        goes_on.set()
        with pytest.raises(FencedError):
            await zombie

        assert (await self.product.read_user(store, "u1") or {})["name"] == "from the present owner"

    async def test_living_owner_keeps_its_sessions(self, ledger: Ledger, other: Any, url: str) -> None:
        """A rebalance takes a partition from a process that goes on to serve."""
        await self.product.make_ledger(other).claim("users", TOPIC, 0)
        backends = await other.fetch("SELECT pg_backend_pid() AS pid")
        async with await psycopg.AsyncConnection.connect(url) as stranger:
            await stranger.execute("SELECT 1")
            await asyncio.sleep(STOPPED_AFTER_S * 1.2)  # a rest is what is tried here, not waited for

            await ledger.claim("users", TOPIC, 0)

            assert await other.fetch("SELECT pg_backend_pid() AS pid") == backends
            await stranger.execute("SELECT 1")

    async def test_owner_is_kept_beside_the_position(self, store: Any, ledger: Ledger, other: Any) -> None:
        await self.product.make_ledger(other).claim("users", TOPIC, 0)
        await ledger.claim("users", TOPIC, 0)

        assert await store.fetchval("SELECT owner FROM freehold.positions") == store.name
        assert store.name != other.name
        assert await store.fetchval("SELECT current_setting('application_name')") == store.name

    async def test_longest_name_of_a_service_is_kept_whole(self, url: str) -> None:
        store = self.product.make_store()
        await store.open(url, service="s" * 41, publishes=())

        assert await store.fetchval("SELECT current_setting('application_name')") == store.name
        await store.close()
