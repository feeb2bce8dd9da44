"""What keeps a test from being settled: events that are not shipped, not applied, or parked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from freehold.errors import TopicUnavailable

if TYPE_CHECKING:
    from freehold.testing.scene import TestedService

_PARKED_SHOWN = 5


async def unshipped(tested: TestedService) -> list[str]:
    """Say what a service has committed and not yet published."""
    if not tested.service.publishes:
        return []
    backlog = await tested.service.store.backlog()
    if backlog.rows == 0:
        return []
    progress = tested.running.relay.progress if tested.running.relay else "not started"
    return [f"{backlog.rows} rows wait in the outbox of {tested.service.name} (relay: {progress})"]


async def unapplied(tested: TestedService, source: str) -> list[str]:
    """Say what a service has not yet applied of a source, or has parked."""
    consumer = tested.running.consumers.get(source)
    try:
        positions, ends = await asyncio.gather(_positions(tested, source), asyncio.to_thread(_ends, tested, source))
    except TopicUnavailable as error:
        # Its owner makes it in the background, and a broker tells of a new topic in its own time.
        return [f"{tested.service.name} cannot read {source}: {error}"]
    behind = {
        partition: f"{positions.get(partition, 0)} of {end}"
        for partition, end in ends.items()
        if positions.get(partition, 0) < end
    }
    if not behind:
        return await _parked(tested, source)
    progress = consumer.progress if consumer else "not started"
    return [f"{tested.service.name} has not applied {source}: {behind} (consumer: {progress})"]


async def _parked(tested: TestedService, source: str) -> list[str]:
    from freehold.runtime.parts import make_lot

    return [
        f"{tested.service.name} has parked {event.type or 'a record'} of {event.key or 'no key'} ({event.state.value}): "
        f"{event.error_type} {event.error}"
        for event in await make_lot(tested.service).scan(source=source, limit=_PARKED_SHOWN)
    ]


async def _positions(tested: TestedService, source: str) -> dict[int, int]:
    from freehold.runtime.parts import make_ledger

    return await make_ledger(tested.service).positions(source)


def _ends(tested: TestedService, source: str) -> dict[int, int]:
    topics = tested.running.topics
    name = tested.running.settings.qualified(source)
    partitions = range(topics.identify(name).partition_count)
    # A partition that nothing was written to has nothing to apply, though its position was never kept.
    return {partition: end for partition, (start, end) in topics.extents(name, partitions).items() if end > start}
