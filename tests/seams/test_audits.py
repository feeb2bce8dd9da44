"""A service audits its replicas by itself: one instance at a time, now and then, and tells what it found."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest

from freehold.converge.audits import Audits
from freehold.runtime.parts import make_audits
from freehold.service import Service
from freehold.testing import Scene, TestedService
from tests.seams.audited import CUSTOMERS, add_users, make_user, owner, subscriber
from tests.seams.conftest import Database
from tests.seams.pair import PRODUCTS
from tests.seams.test_audit import remove_copy
from tests.seams.thorough import ON_POSTGRES
from tests.seams.waiting import LIMIT_S, LOOK_AGAIN_S


@pytest.fixture(params=PRODUCTS)
async def audits(request: pytest.FixtureRequest) -> AsyncIterator[Audits]:
    database: Database = request.getfixturevalue(f"empty_{request.param}")
    service = subscriber(request.param)
    await service.store.open(database.url, service=database.service, publishes=())
    await service.store.migrate()
    yield make_audits(service)
    await service.store.close()


async def test_due_audit_is_given_to_one(audits: Audits) -> None:
    assert not await audits.claim("customers", 3_600, 3_600)

    claims = await asyncio.gather(*(audits.claim("at_once", 0, 3_600) for _ in range(4)))
    claims += [await audits.claim("at_once", 0, 3_600) for _ in range(4)]

    assert claims.count(True) == 1


async def test_what_was_found_is_kept_for_all(audits: Audits) -> None:
    await audits.claim("customers", 3_600, 3_600)
    assert await audits.last("customers") is None

    await audits.note("customers", 10, 3, "")
    await audits.note("customers", 12, 4, "$users did not answer")

    last = await audits.last("customers")
    assert last is not None
    assert (last.rows, last.differing, last.error) == (12, 4, "$users did not answer")
    assert last.checked_at.tzinfo is not None


@pytest.mark.parametrize("product", ON_POSTGRES)
async def test_drift_is_found_without_being_asked_for_and_told(freehold_scene: Scene, product: str) -> None:
    keeping_often = often(subscriber(product))
    async with freehold_scene.run(owner("postgres")) as owning, freehold_scene.run(keeping_often) as keeping:
        users = [make_user(number, random.Random(number)) for number in range(20)]  # noqa: S311 (repeatable)
        await owning.service.store.transact(add_users, users)
        await owning.settled()
        await tells(keeping, 'freehold_audit_differing{replica="customers"} 0.0')
        assert (await verbose(keeping))["notes"] == []

        await remove_copy(keeping, users[3]["id"])

        await tells(keeping, 'freehold_audit_differing{replica="customers"} 1.0')
        [note] = (await verbose(keeping))["notes"]
        assert note.startswith("1 copy in customers differs from users")
        assert "freehold audit customers" in note


def often(service: Service) -> Service:
    return dataclasses.replace(service, replicates=[dataclasses.replace(CUSTOMERS, audit_every_s=0.2)])


async def tells(keeping: TestedService, line: str) -> None:
    """Wait until the service's metrics have this line."""
    async with asyncio.timeout(LIMIT_S):
        while line not in (await keeping.client.get("/metrics")).text:  # noqa: ASYNC110 -- it is asked over HTTP
            await asyncio.sleep(LOOK_AGAIN_S)


async def verbose(keeping: TestedService) -> dict[str, Any]:
    answer = await keeping.client.get("/readyz?verbose", headers={"accept": "application/json"})
    found: dict[str, Any] = answer.json()
    return found
