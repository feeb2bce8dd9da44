"""How a running service rebuilds its copies, and begins a new epoch of its store: its own side of `freehold.converge`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from freehold.converge.audit import Audit, Outcome, Progress
from freehold.converge.epoch import EpochRoutes
from freehold.converge.judge import Finding
from freehold.converge.prepare import prepare_copies
from freehold.converge.rebuild_routes import RebuildRoutes
from freehold.converge.settle import Settle
from freehold.converge.source import Source
from freehold.runtime.parts import (
    make_copies,
    make_copy_rows,
    make_histories,
    make_ledger,
    make_lot,
    make_owned,
    make_versions,
)

if TYPE_CHECKING:
    from freehold.converge.building import Parts, ReadOn
    from freehold.runtime.running import RunningService
    from freehold.service import Replica, Service


def add_epoch_routes(running: RunningService) -> None:
    """Let an owner be asked for its epoch, and for a new one."""
    if running.service.publishes:
        epoch_routes(running).add_to(running.internal)


def epoch_routes(running: RunningService) -> EpochRoutes:
    """Give what answers for the service's epoch in this process."""
    service = running.service
    return EpochRoutes(
        service=service,
        histories=make_histories(service),
        owned=lambda entity: make_owned(service, entity),
        topic_tally=lambda: asyncio.to_thread(_topic_tally, running),
    )


def add_rebuild_routes(running: RunningService) -> None:
    """Let a subscriber be asked to rebuild its copies, and to go on behind what a topic has lost."""
    if running.service.sources():
        RebuildRoutes(
            running.service,
            lambda source: rebuild_parts(running, source),
            lambda into: running.health.notes.pop(into, None),
        ).add_to(running.internal)


async def prepare_own_copies(service: Service) -> dict[str, str]:
    """Prepare the service's copies; say of each that is not whole why."""
    if not service.replicates:
        return {}
    return await prepare_copies(
        service.replicates, lambda replica: make_copies(service, replica), make_versions(service), make_ledger(service)
    )


def rebuild_parts(running: RunningService, source: str) -> Parts:
    """Give what the rebuild of a source's copies works with in this process."""
    from freehold.converge.building import Parts

    service, settings = running.service, running.settings
    return Parts(
        service=service,
        topic=settings.qualified(source),
        group=f"{settings.qualified(service.name)}.{source}.rebuild",
        address=settings.kafka(),
        topics=running.topics,
        ledger=make_ledger(service),
        lot=make_lot(service),
        versions=make_versions(service),
        make_copies=lambda replica: make_copies(service, replica),
        make_source=lambda replica: Source(settings.peer(replica.of), replica.entity),
        compare=lambda replica, read_on: _compare(running, replica, read_on),
    )


async def _compare(
    running: RunningService, replica: Replica, read_on: ReadOn
) -> AsyncIterator[Progress | Finding | Outcome]:
    """Compare what was built with its owner, in the way of every audit."""
    source = Source(running.settings.peer(replica.of), replica.entity)
    try:
        settle = Settle(replica, source, _Following(read_on))
        async for each in Audit(settle, make_copy_rows(running.service, replica), []).run():
            yield each
    finally:
        await source.close()


class _Following:
    """Where what is built stands: it comes on by being asked."""

    def __init__(self, read_on: ReadOn) -> None:
        self._read_on = read_on

    async def positions(self, _source: str) -> dict[int, int]:
        return dict(await self._read_on())


def _topic_tally(running: RunningService) -> int:
    from freehold.topic.tally import TopicTally

    tally = TopicTally(running.settings.kafka(), running.settings.qualified(running.service.name))
    try:
        return tally.read()
    finally:
        tally.close()
