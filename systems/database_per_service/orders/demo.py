"""Demo orders: the same 50,000 every time, written through the service's own functions, once their customers are known."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from freehold.errors import StartError
from systems.database_per_service.cast import ORDER_COUNT, USER_COUNT, order_id, order_placed_at_ms, user_id
from systems.database_per_service.orders import orders
from systems.database_per_service.orders.order import NewLine, NewOrder
from systems.database_per_service.orders.store import store

# One transaction for so many customers and their orders, five each on average.
CHUNK_CUSTOMERS = 100
# While one transaction waits for MongoDB, others are made ready.
WRITERS = 3
# The copies come by events: ten thousand take about a second once users has written them.
CUSTOMERS_LIMIT_S = 120.0
_LOOK_AGAIN_S = 0.1
_SEED = 20_250_103
# A customer's id, and their orders with the number of each.
Customer = tuple[str, list[tuple[int, NewOrder]]]
_SKUS = tuple(f"{kind}-{size}" for kind in ("mug", "lamp", "chair", "desk", "shelf", "rug") for size in ("s", "m", "l"))


async def write_demo(progress: Callable[[int, int], None]) -> None:
    """Write the demo orders; what an interrupted run has written is not written again.

    Raises:
        StartError: The customers' copies did not arrive within their limit.
    """
    by_customer: dict[str, list[tuple[int, NewOrder]]] = {}
    for number, new in enumerate(demo_orders()):
        by_customer.setdefault(new.user_id, []).append((number, new))
    # In the order in which users writes them, so that both can write at the same time.
    waiting = _chunks([(each, by_customer[each]) for each in sorted(by_customer)])
    done = 0

    async def write_next() -> None:
        nonlocal done
        for chunk in waiting:
            await _write_chunk(chunk)
            done += sum(len(placed) for _, placed in chunk)
            progress(done, ORDER_COUNT)

    try:
        async with asyncio.TaskGroup() as writers:
            for _ in range(WRITERS):
                writers.create_task(write_next())
    except ExceptionGroup as failures:
        # The first says why; the other writers were only ended by it.
        raise failures.exceptions[0] from None


def demo_orders() -> list[NewOrder]:
    """Give the demo orders by their number; every run gives the same."""
    chance = random.Random(_SEED)  # noqa: S311 - the same every time is the point
    customer_ids = [user_id(number) for number in range(USER_COUNT)]
    return [
        NewOrder(user_id=chance.choice(customer_ids), lines=[_line(chance) for _ in range(chance.randint(1, 4))])
        for _ in range(ORDER_COUNT)
    ]


def _line(chance: random.Random) -> NewLine:
    return NewLine(
        sku=chance.choice(_SKUS), quantity=chance.randint(1, 5), unit_price_cents=chance.randrange(199, 49_999)
    )


def _chunks(customers: Sequence[Customer]) -> Iterator[Sequence[Customer]]:
    for start in range(0, len(customers), CHUNK_CUSTOMERS):
        yield customers[start : start + CHUNK_CUSTOMERS]


async def _write_chunk(chunk: Sequence[Customer]) -> None:
    first = order_id(chunk[0][1][0][0])
    # A chunk is one transaction: when its first order is there, all of it is.
    if await store["orders"].find_one({"_id": first}, {"_id": 1}) is None:
        await _customers_known([customer_id for customer_id, _ in chunk])
        await store.transact(_place_chunk, chunk)


async def _place_chunk(tx: Any, chunk: Sequence[Customer]) -> None:
    documents = []
    for customer_id, placed in chunk:
        copy = await tx.copy("customers", customer_id)
        if copy is None or copy["deleted"]:
            continue  # Somebody deleted a demo user before their orders were there: they have none.
        for number, new in placed:
            placed_at = datetime.fromtimestamp(order_placed_at_ms(number) / 1000, UTC)
            documents.append(orders.order_document(order_id(number), new, dict(copy), placed_at))
    if documents:
        await orders.insert(tx, documents)


async def _customers_known(customer_ids: Sequence[str]) -> None:
    limit_at = time.monotonic() + CUSTOMERS_LIMIT_S
    wanted = {"_id": {"$in": list(customer_ids)}, "version": {"$gt": 0}}
    while (known := await store["customers"].count_documents(wanted)) < len(customer_ids):
        if time.monotonic() > limit_at:
            raise StartError(
                f"orders knows {known} of {len(customer_ids)} demo customers after {CUSTOMERS_LIMIT_S:g} s: is users up, "
                f"with its demo data, and do its events arrive (freehold status)?"
            )
        await asyncio.sleep(_LOOK_AGAIN_S)
