"""A service that keeps no copies goes on behind what its source's topic has lost, when an operator asks for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from freehold.consumer.progress import ConsumerState
from freehold.service import System
from freehold.testing import Scene
from tests.seams.consuming import IDS, admin_of, consumer_of, make_anew
from tests.seams.pair import effects, owner, subscriber, update_many
from tests.seams.people import freehold
from tests.seams.thorough import ON_MONGO
from tests.seams.waiting import LIMIT_S, until

Run = Callable[..., Any]

pytestmark = [pytest.mark.services]
SYSTEM = "tests.seams.test_reposition:system"

listener = dataclasses.replace(subscriber("mongo"), replicates=[])
system = System(name="listening", services=[owner("mongo"), listener])


@pytest.mark.parametrize("product", ON_MONGO)
async def test_handlers_go_on_where_a_topic_made_anew_begins(
    freehold_service: Run, freehold_scene: Scene, monkeypatch: pytest.MonkeyPatch, product: str
) -> None:
    monkeypatch.setattr("freehold.consumer.loop.STOPPED_S", 0.5)
    users, orders = owner("mongo"), dataclasses.replace(subscriber(product), replicates=[])
    async with freehold_service(users) as owning, freehold_service(orders) as running:
        await users.store.transact(update_many, IDS, 1)
        await owning.settled(LIMIT_S)
        untouched = await freehold(running, "rebuild", "--of", "users", system=SYSTEM)
        consumer = await consumer_of(running)
        await make_anew(*admin_of(freehold_scene), freehold_scene)
        await until(lambda: consumer.progress.state is ConsumerState.STOPPED, "the consumer has stopped")
        await users.store.transact(update_many, IDS, 2)

        ran = await freehold(running, "rebuild", "--of", "users", system=SYSTEM)

        assert untouched.returncode == 0, untouched.stderr
        assert "nothing was done" in untouched.stdout
        assert ran.returncode == 0, ran.stderr
        assert "its handlers go on where the topic begins" in ran.stdout
        await owning.settled(LIMIT_S)
        assert await effects(orders) == {user_id: [1, 2] for user_id in IDS}


async def test_what_is_no_copy_cannot_be_taken_back(freehold_service: Run) -> None:
    async with freehold_service(owner("mongo")), freehold_service(listener) as running:
        ran = await freehold(running, "rebuild", "--of", "users", "--rollback", system=SYSTEM)

        assert ran.returncode == 1
        assert "there is no replica of users in listening; there is: none" in ran.stderr
