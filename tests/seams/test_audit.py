"""An audit finds each copy that was tampered with, names it, repairs it, and touches nothing else; it never cries wolf."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from freehold.converge.judge import Finding
from freehold.testing import Scene, TestedService
from tests.seams.audited import add_users, audit, delete, everything, make_user, owner, place_order, rename, subscriber
from tests.seams.tampering import Expected, Tampering, plain

USERS = 700
ORDERS = 500
TAMPERED = 100
PAIRS = [("postgres", "mongo"), ("mongo", "postgres"), ("postgres", "postgres"), ("mongo", "mongo")]


@asynccontextmanager
async def shop(
    scene: Scene, pair: tuple[str, str], users: int = USERS
) -> AsyncIterator[tuple[TestedService, TestedService]]:
    """Run an owner with users, some of them renamed and some deleted, and a subscriber whose orders embed them."""
    chance = random.Random(5)  # noqa: S311 (repeatable)
    async with scene.run(owner(pair[0])) as owning, scene.run(subscriber(pair[1])) as keeping:
        people = [make_user(number, chance) for number in range(users)]
        await owning.service.store.transact(add_users, people)
        await owning.settled()
        for number in range(min(ORDERS, users)):
            await keeping.service.store.transact(place_order, number, people[number]["id"])
        for person in people[: users // 3]:
            await owning.service.store.transact(rename, person["id"], f"new {person['name']}")
        for person in people[users // 6 : users // 4]:
            await owning.service.store.transact(delete, person["id"])
        await owning.settled()
        yield owning, keeping


def said(findings: list[Finding]) -> Expected:
    return {(each.where, each.id, each.document, each.kind) for each in findings}


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
async def test_all_that_was_tampered_with_is_found_named_and_repaired(
    freehold_scene: Scene, pair: tuple[str, str]
) -> None:
    async with shop(freehold_scene, pair) as (owning, keeping):
        assert (await audit(keeping))[0] == []
        before = await everything(keeping.service)
        tampering = Tampering(keeping.service, random.Random(11))  # noqa: S311 (repeatable)
        await tampering.tamper(TAMPERED)

        findings, outcome = await audit(keeping)
        assert said(findings) == tampering.expected
        assert len(findings) == outcome.differing == 2 * TAMPERED + TAMPERED // 4
        assert (outcome.rows, outcome.repaired, outcome.unsettled, outcome.behind) == (USERS, 0, 0, 0)

        repaired, outcome = await audit(keeping, repair=True)
        assert said(repaired) == tampering.expected
        assert [each for each in repaired if not each.repaired] == []
        assert outcome.repaired == outcome.differing
        await owning.settled()

        again, outcome = await audit(keeping)
        assert (again, outcome.differing) == ([], 0)
        after = await everything(keeping.service)
        for table, rows in before.items():
            # An order of somebody whose copy was repaired follows the repair; its own fields do not change.
            followed = {each[1] for each in tampering.expected}
            for key, row in rows.items():
                is_followed = table == "orders" and _customer(row) in followed
                if key not in tampering.touched[table] and not is_followed and key not in followed:
                    assert plain(after[table][key]) == plain(row)


@pytest.mark.parametrize("pair", PAIRS[:2], ids="-".join)
async def test_under_full_load_exactly_what_was_tampered_with_is_found(
    freehold_scene: Scene, pair: tuple[str, str]
) -> None:
    async with shop(freehold_scene, pair, users=400) as (owning, keeping):
        stopped = asyncio.Event()
        writers = [asyncio.create_task(write_on(owning, number, stopped)) for number in range(4)]
        try:
            for _ in range(3):
                findings, outcome = await audit(keeping)
                assert findings == []
                assert (outcome.behind, outcome.reason) == (0, "")

            quiet = [f"u{number:05d}" for number in range(300, 320)]
            for user_id in quiet:
                await remove_copy(keeping, user_id)
            findings, _ = await audit(keeping, repair=True)
            assert {each.id for each in findings} == set(quiet)
            assert all(each.repaired for each in findings)
        finally:
            stopped.set()
            written = await asyncio.gather(*writers)
        assert sum(written) > 100  # there was a load
        await owning.settled()
        assert (await audit(keeping))[0] == []


async def write_on(owning: TestedService, number: int, stopped: asyncio.Event) -> int:
    """Rename and add users without a pause, one of them again and again."""
    chance = random.Random(number)  # noqa: S311 (repeatable)
    written = 0
    while not stopped.is_set():
        user_id = f"u{chance.choice([299, *range(100, 300)]):05d}"
        await owning.service.store.transact(rename, user_id, f"name {written} by {number}")
        if written % 10 == 0:
            new = make_user(10_000 * (number + 1) + written, chance)
            await owning.service.store.transact(add_users, [new])
        written += 1
    return written


async def remove_copy(keeping: TestedService, user_id: str) -> None:
    store: Any = keeping.service.store
    if store.kind == "postgres":
        await store.pool.execute("DELETE FROM customers WHERE id = $1", user_id)
    else:
        await store["customers"].delete_one({"_id": user_id})


def _customer(row: Any) -> str | None:
    found: str | None = row["customer"]["id"] if "customer" in row else row.get("customer_id")
    return found
