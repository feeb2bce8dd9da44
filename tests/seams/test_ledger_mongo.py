"""MongoDB's ledger: the suite, and what a killed or stopped owner leaves open."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import pytest

from freehold.consumer import Claim, Ledger
from freehold.errors import ConflictError, FencedError
from freehold.outbox.mongo_presence import STOPPED_AFTER_S
from freehold.outbox.mongo_settings import POSITIONS, name_prefix
from tests.seams.hold_mongo import holder
from tests.seams.ledger_suite import TOPIC, LedgerSuite
from tests.seams.product import PUBLISHES
from tests.seams.suite import InMongo

POSITION = {"source": "users", "topic_id": TOPIC, "partition": 0}


class TestMongoLedger(InMongo, LedgerSuite):
    async def test_what_a_killed_owner_left_open_is_ended(
        self, store: Any, ledger: Ledger, url: str, service: str
    ) -> None:
        """Its transaction would block its documents for as long as the server lets one live, 30 to 60 s."""
        async with holder(url, service, "users", "u1") as owner:
            owner.kill()
            await owner.wait()
            with pytest.raises(ConflictError):
                await store.transact(self.product.insert_user, "u1", "Ann")

            async with asyncio.timeout(3):
                claim = await ledger.claim("users", TOPIC, 0)
                await store.transact(self.product.insert_user, "u1", "Ann")
                await store.transact(ledger.advance, claim, 1)

    async def test_what_a_stopped_owner_left_open_is_ended(
        self, store: Any, ledger: Ledger, url: str, service: str
    ) -> None:
        async with holder(url, service, "users", "u1") as owner:
            await ledger.claim("users", TOPIC, 0)
            await let_holder_own(store)
            os.kill(owner.pid, signal.SIGSTOP)
            async with asyncio.timeout(STOPPED_AFTER_S + 10):
                while not await store.end_abandoned(await former_owner(store)):  # noqa: ASYNC110 (the server knows)
                    await asyncio.sleep(0.05)

            async with asyncio.timeout(3):
                claim = await ledger.claim("users", TOPIC, 0)
                await store.transact(self.product.insert_user, "u1", "Ann")
                await store.transact(ledger.advance, claim, 1)

    async def test_zombie_whose_transaction_is_older_than_the_claim_is_fenced(self, store: Any, ledger: Ledger) -> None:
        """It wrote its effects, stood still, and goes on after another has claimed and applied the same batch."""
        former = await ledger.claim("users", TOPIC, 0)
        has_written, goes_on = asyncio.Event(), asyncio.Event()

        async def apply(tx: Any, claim: Claim, by: str) -> Claim:
            await self.product.insert_user(tx, by, by)
            if by == "zombie":
                has_written.set()
                await goes_on.wait()
            return await ledger.advance(tx, claim, 1)

        zombie = asyncio.ensure_future(store.transact(apply, former, "zombie"))
        await has_written.wait()
        present = await ledger.claim("users", TOPIC, 0)
        await store.transact(apply, present, "successor")
        goes_on.set()
        with pytest.raises(FencedError):
            await zombie

        assert await self.product.read_user(store, "zombie") is None
        assert await self.product.read_user(store, "successor") is not None

    async def test_claim_waits_for_the_batch_in_hand(self, store: Any, ledger: Ledger) -> None:
        """A former owner in the midst of its commit: the claim reads the position behind it, not before it."""
        former = await ledger.claim("users", TOPIC, 0)
        has_moved, may_commit = asyncio.Event(), asyncio.Event()

        async def apply(tx: Any) -> None:
            await ledger.advance(tx, former, 7)
            has_moved.set()
            await may_commit.wait()

        batch = asyncio.ensure_future(store.transact(apply))
        await has_moved.wait()
        claiming = asyncio.ensure_future(ledger.claim("users", TOPIC, 0))
        await asyncio.wait([claiming], timeout=0.3)
        assert not claiming.done()
        may_commit.set()
        await batch

        assert (await claiming).offset == 7

    async def test_owner_is_kept_beside_the_position(self, store: Any, ledger: Ledger, service: str) -> None:
        await ledger.claim("users", TOPIC, 0)

        assert await former_owner(store) == store.name
        assert store.name.startswith(name_prefix(service))

    async def test_another_instance_takes_over(self, store: Any, ledger: Ledger, url: str, service: str) -> None:
        former = await ledger.claim("users", TOPIC, 0)
        other = self.product.make_store()
        await other.open(url, service=service, publishes=PUBLISHES)

        claim = await self.product.make_ledger(other).claim("users", TOPIC, 0)

        assert claim.owner_epoch == former.owner_epoch + 1
        with pytest.raises(FencedError):
            await store.transact(ledger.advance, former, 1)
        await other.close()


async def former_owner(store: Any) -> str:
    position = await store[POSITIONS].find_one({"_id": POSITION})
    return str(position["owner"])


async def let_holder_own(store: Any) -> None:
    """Write the holding process's name into the position, as its own claim would have done."""
    answer = await store.database.client.admin.command(
        {
            "aggregate": 1,
            "pipeline": [
                {"$currentOp": {"allUsers": False, "idleSessions": True}},
                {"$match": {"type": "idleSession", "transaction": {"$exists": True}}},
            ],
            "cursor": {},
        }
    )
    [session] = answer["cursor"]["firstBatch"]
    await store[POSITIONS].update_one({"_id": POSITION}, {"$set": {"owner": session["appName"]}})
