"""The consumer on real Kafka and both stores, in all four combinations of owner and subscriber."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.seams.pair import COMBINATIONS, copies, delete, effects, owner, subscriber, update, update_many

pytestmark = pytest.mark.services

Run = Callable[..., Any]


@pytest.mark.parametrize(("owning", "reading"), COMBINATIONS)
async def test_each_event_takes_effect_once_and_copies_converge(
    freehold_service: Run, owning: str, reading: str
) -> None:
    users, orders = owner(owning), subscriber(reading)
    ids = [f"u{number}" for number in range(20)]
    async with freehold_service(users) as running, freehold_service(orders):
        for version in (1, 2, 3):
            await users.store.transact(update_many, ids, version)
        await users.store.transact(delete, "u0", 4)
        await running.settled()

        assert await effects(orders) == {user_id: [1, 2, 3] for user_id in ids}
        assert await copies(orders) == {"u0": (None, 4, True)} | {user_id: ("name 3", 3, False) for user_id in ids[1:]}
