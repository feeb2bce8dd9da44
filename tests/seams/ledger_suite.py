"""What every ledger promises: a position that moves with the effects or not at all, and only for its present owner."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from freehold.consumer import Claim, Ledger
from freehold.errors import FencedError, HeldError, IdentityError
from freehold.event import Place
from tests.seams.suite import SeamSuite

TOPIC = "the-topic"


class LedgerSuite(SeamSuite):
    @pytest.fixture
    def ledger(self, store: Any) -> Ledger:
        return self.product.make_ledger(store)

    async def test_first_claim_has_no_position(self, ledger: Ledger) -> None:
        claim = await ledger.claim("users", TOPIC, 3)

        assert (claim.source, claim.topic_id, claim.partition, claim.offset) == ("users", TOPIC, 3, None)
        assert await ledger.positions("users") == {}

    async def test_position_moves_with_the_effects(self, store: Any, ledger: Ledger) -> None:
        claim = await ledger.claim("users", TOPIC, 0)

        async def apply(tx: Any) -> Claim:
            await self.product.insert_user(tx, "u1", "effect")
            return await ledger.advance(tx, claim, 17)

        moved = await store.transact(apply)

        assert moved.offset == 17
        assert await self.product.read_user(store, "u1") is not None
        assert await ledger.positions("users") == {0: 17}
        assert (await ledger.claim("users", TOPIC, 0)).offset == 17

    async def test_position_stays_when_the_effects_roll_back(self, store: Any, ledger: Ledger) -> None:
        claim = await ledger.claim("users", TOPIC, 0)
        claim = await store.transact(ledger.advance, claim, 5)

        async def fail(tx: Any) -> None:
            await ledger.advance(tx, claim, 6)
            raise LookupError

        with pytest.raises(LookupError):
            await store.transact(fail)

        assert await ledger.positions("users") == {0: 5}
        assert (await store.transact(ledger.advance, claim, 6)).offset == 6

    async def test_former_owner_is_fenced_with_its_effects(self, store: Any, ledger: Ledger) -> None:
        former = await ledger.claim("users", TOPIC, 0)
        present = await ledger.claim("users", TOPIC, 0)

        async def apply(tx: Any) -> None:
            await self.product.insert_user(tx, "u1", "from the former owner")
            await ledger.advance(tx, former, 1)

        with pytest.raises(FencedError):
            await store.transact(apply)

        assert await self.product.read_user(store, "u1") is None
        assert (await store.transact(ledger.advance, present, 1)).offset == 1

    async def test_position_that_moved_fences(self, store: Any, ledger: Ledger) -> None:
        """A batch whose commit took effect unnoticed, tried again from where it began."""
        claim = await ledger.claim("users", TOPIC, 0)
        await store.transact(ledger.advance, claim, 4)

        with pytest.raises(FencedError):
            await store.transact(ledger.advance, claim, 4)

    async def test_partitions_and_sources_are_kept_apart(self, store: Any, ledger: Ledger) -> None:
        for source, partition, offset in (("users", 0, 1), ("users", 1, 2), ("payments", 0, 3)):
            claim = await ledger.claim(source, f"id of {source}", partition)
            await store.transact(ledger.advance, claim, offset)

        assert await ledger.positions("users") == {0: 1, 1: 2}
        assert await ledger.positions("payments") == {0: 3}

    async def test_topic_made_anew_is_refused_whatever_the_partition(self, store: Any, ledger: Ledger) -> None:
        claim = await ledger.claim("users", TOPIC, 0)
        await store.transact(ledger.advance, claim, 9)

        for partition in (0, 1):
            with pytest.raises(IdentityError, match="anew"):
                await ledger.claim("users", "another-topic", partition)

        assert (await ledger.claim("users", TOPIC, 0)).offset == 9

    async def test_claims_at_once_leave_one_owner(self, store: Any, ledger: Ledger) -> None:
        claims = await asyncio.gather(*(ledger.claim("users", TOPIC, 0) for _ in range(8)))
        moved = await asyncio.gather(
            *(store.transact(ledger.advance, claim, 1) for claim in claims), return_exceptions=True
        )

        assert len({claim.owner_epoch for claim in claims}) == 8
        assert len([result for result in moved if isinstance(result, Claim)]) == 1
        assert len([result for result in moved if isinstance(result, FencedError)]) == 7

    async def test_places_are_kept_by_source_and_key(self, store: Any, ledger: Ledger) -> None:
        first, second = Place(1, 2, 0), Place(1, 7, 3)
        await store.transact(ledger.record, "users", {"user/b": first, "user/a": second})
        await store.transact(ledger.record, "payments", {"user/a": first})
        await store.transact(ledger.record, "users", {"user/b": second})

        assert await store.transact(ledger.applied, "users", ["user/a", "user/b", "user/c"]) == {
            "user/a": second,
            "user/b": second,
        }
        assert await store.transact(ledger.applied, "payments", ["user/a", "user/b"]) == {"user/a": first}

    async def test_places_roll_back_with_the_effects(self, store: Any, ledger: Ledger) -> None:
        async def fail(tx: Any) -> None:
            await ledger.record(tx, "users", {"user/a": Place(1, 1, 0)})
            raise LookupError

        with pytest.raises(LookupError):
            await store.transact(fail)

        assert await store.transact(ledger.applied, "users", ["user/a"]) == {}

    async def test_many_places_at_once(self, store: Any, ledger: Ledger) -> None:
        places = {f"user/{number}": Place(1, number + 1, 0) for number in range(500)}

        await store.transact(ledger.record, "users", places)

        assert await store.transact(ledger.applied, "users", list(places)) == places

    async def test_held_source_is_claimed_by_nobody_until_it_is_released(self, store: Any, ledger: Ledger) -> None:
        claim = await ledger.claim("users", TOPIC, 0)
        other = await ledger.claim("payments", TOPIC, 0)

        await ledger.hold("users", "mine", 60)

        assert await ledger.is_held("users")
        with pytest.raises(FencedError):
            await store.transact(ledger.advance, claim, 1)
        for partition in (0, 1):
            with pytest.raises(HeldError):
                await ledger.claim("users", TOPIC, partition)
        with pytest.raises(HeldError):
            await ledger.hold("users", "another's", 60)
        assert (await store.transact(ledger.advance, other, 1)).offset == 1
        await ledger.release("users", "another's")
        assert await ledger.is_held("users")
        await ledger.release("users", "mine")
        assert not await ledger.is_held("users")
        assert (await ledger.claim("users", TOPIC, 0)).offset is None

    async def test_hold_ends_by_itself(self, ledger: Ledger) -> None:
        """Whoever asked for it was killed."""
        await ledger.hold("users", "mine", 0)

        assert not await ledger.is_held("users")
        await ledger.hold("users", "another's", 60)
        assert await ledger.is_held("users")

    async def test_claims_and_holds_at_once_leave_no_owner(self, store: Any, ledger: Ledger) -> None:
        await ledger.claim("users", TOPIC, 0)

        met = await asyncio.gather(
            *(ledger.claim("users", TOPIC, 0) for _ in range(8)),
            ledger.hold("users", "mine", 60),
            return_exceptions=True,
        )

        for claim in [each for each in met if isinstance(each, Claim)]:
            with pytest.raises(FencedError):
                await store.transact(ledger.advance, claim, 1)

    async def test_positions_are_replaced_by_those_of_another_topic(self, store: Any, ledger: Ledger) -> None:
        claim = await ledger.claim("users", TOPIC, 0)
        await store.transact(ledger.advance, claim, 9)
        await ledger.claim("payments", TOPIC, 0)

        await store.transact(ledger.replace, "users", "another-topic", {0: 2, 1: 5})

        assert await ledger.topic_ids("users") == {"another-topic"}
        assert await ledger.topic_ids("payments") == {TOPIC}
        assert (await ledger.claim("users", "another-topic", 1)).offset == 5
        with pytest.raises(FencedError):
            await store.transact(ledger.advance, claim, 10)
