"""Callers that come while one is on its way go together, each is told its own outcome, and none is forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from freehold.consumer.gather import TOGETHER_MAX, Gather
from freehold.errors import EventRejected, StoreUnavailable

LIMIT_S = 5


class Store:
    """Keeps what it is given, when it is let to; refuses negative numbers, and is away while told so."""

    def __init__(self) -> None:
        self.calls: list[list[int]] = []
        self.is_called = asyncio.Event()
        self.is_free = asyncio.Event()
        self.is_away = False

    async def write(self, items: Sequence[int]) -> None:
        self.calls.append(list(items))
        self.is_called.set()
        await self.is_free.wait()
        if self.is_away:
            raise StoreUnavailable("away")
        if min(items) < 0:
            raise EventRejected(f"{min(items)}")

    async def until_called(self) -> None:
        await asyncio.wait_for(self.is_called.wait(), LIMIT_S)


async def begin(gather: Gather[int], *batches: list[int]) -> list[asyncio.Task[None]]:
    tasks = [asyncio.create_task(gather(batch)) for batch in batches]
    await asyncio.sleep(0)
    return tasks


async def test_one_that_is_alone_goes_at_once() -> None:
    store = Store()
    store.is_free.set()

    await Gather(store.write)([1, 2])

    assert store.calls == [[1, 2]]


async def test_those_who_come_meanwhile_go_together_in_the_order_of_coming() -> None:
    store = Store()
    gather = Gather(store.write)
    first = await begin(gather, [1])
    await store.until_called()
    others = await begin(gather, [2, 3], [4])

    store.is_free.set()
    await asyncio.gather(*first, *others)

    assert store.calls == [[1], [2, 3, 4]]


async def test_no_more_go_together_than_fit() -> None:
    store = Store()
    gather = Gather(store.write)
    large = [0] * (TOGETHER_MAX // 2 + 1)
    tasks = await begin(gather, large, large, large)
    store.is_free.set()

    await asyncio.gather(*tasks)

    assert [len(call) for call in store.calls] == [len(large)] * 3


async def test_what_is_refused_hinders_nobody_else() -> None:
    store = Store()
    gather = Gather(store.write)
    tasks = await begin(gather, [1], [2], [-3], [4])
    store.is_free.set()

    outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(outcome) for outcome in outcomes] == [type(None), type(None), EventRejected, type(None)]
    assert {item for call in store.calls for item in call} == {1, 2, -3, 4}


async def test_store_that_is_away_is_away_for_all_and_asked_once() -> None:
    store = Store()
    store.is_away = True
    gather = Gather(store.write)
    first = await begin(gather, [1])
    await store.until_called()
    others = await begin(gather, [2], [3])
    store.is_free.set()

    outcomes = await asyncio.gather(*first, *others, return_exceptions=True)

    assert {type(outcome) for outcome in outcomes} == {StoreUnavailable}
    assert store.calls == [[1], [2, 3]]


@pytest.mark.parametrize("cancelled", [0, 1, 2])
async def test_one_that_is_cancelled_takes_nobody_with_it(cancelled: int) -> None:
    store = Store()
    gather = Gather(store.write)
    first = await begin(gather, [1])
    await store.until_called()
    tasks = [*first, *await begin(gather, [2], [3])]

    tasks[cancelled].cancel()
    await asyncio.sleep(0)
    store.is_free.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)

    assert [isinstance(outcome, asyncio.CancelledError) for outcome in outcomes] == [n == cancelled for n in range(3)]
    assert {2, 3} - {item for call in store.calls for item in call} <= {cancelled + 1}
