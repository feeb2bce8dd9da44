"""What a running service answers, and does by itself, so that copies converge: its own side of `freehold.converge`."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from freehold.converge.audit import Audit, Outcome, Rest
from freehold.converge.audit_route import Line, add_route, line_of
from freehold.converge.audits import Audited
from freehold.converge.judge import Finding
from freehold.converge.owner import OwnerRoutes, Shipped
from freehold.converge.repair import Repair
from freehold.converge.schedule import Schedule, words
from freehold.converge.settle import Settle
from freehold.converge.source import Source
from freehold.errors import FreeholdError
from freehold.runtime.parts import make_audits, make_copy_rows, make_histories, make_ledger, make_owned
from freehold.runtime.rebuilding import add_epoch_routes, add_rebuild_routes
from freehold.service import Replica

if TYPE_CHECKING:
    from freehold.runtime.running import RunningService

_logger = logging.getLogger("freehold.audit")


def add_routes(running: RunningService) -> None:
    """Let a service be asked over its internal routes for what it owns, and to compare its copies."""
    service = running.service

    async def epoch() -> int:
        return (await make_histories(service).read()).epoch

    owner = OwnerRoutes(service, lambda entity: make_owned(service, entity), lambda: _ends(running), epoch)
    owner.add_to(running.internal)
    if service.replicates:
        add_route(running.internal, service, lambda replica, repair: _run_audit(running, replica, repair))
    add_epoch_routes(running)
    add_rebuild_routes(running)


@contextlib.asynccontextmanager
async def auditing(
    running: RunningService, replica: Replica, *, repair: bool = False, rest: Rest | None = None
) -> AsyncIterator[Audit]:
    """Give the audit of one replica; its connection to the owner is closed at the end.

    Raises:
        ConfigurationError: It is not set where the owner is.
    """
    service = running.service
    source = Source(running.settings.peer(replica.of), replica.entity)
    settle = Settle(replica, source, make_ledger(service))
    embedded = [make_copy_rows(service, replica, table) for table in replica.embedded_in]

    async def locate(findings: Sequence[Finding]) -> Sequence[Finding]:
        return await asyncio.to_thread(_locate, running, replica, findings)

    # Nobody waits for what a service finds by itself; whoever asks is told where.
    own, mend = make_copy_rows(service, replica), Repair(settle) if repair else None
    try:
        yield Audit(settle, own, embedded, mend, rest, None if rest else locate)
    finally:
        await source.close()


async def keep_auditing(running: RunningService) -> None:
    """Audit the service's replicas now and then, for ever, and let health and metrics tell what was found."""
    health = running.health

    def tell(replica: Replica, last: Audited) -> None:
        health.audits[replica.into] = last
        if last.differing:
            health.notes[f"audit of {replica.into}"] = words(replica, last.differing)
        else:
            health.notes.pop(f"audit of {replica.into}", None)

    def auditing_now(replica: Replica, rest: Rest) -> contextlib.AbstractAsyncContextManager[Audit]:
        return auditing(running, replica, rest=rest)

    await Schedule(running.service.replicates, make_audits(running.service), auditing_now, tell).run()


async def _run_audit(running: RunningService, replica: Replica, repair: bool) -> AsyncIterator[Line]:
    async with auditing(running, replica, repair=repair) as audit:
        async for each in audit.run():
            if isinstance(each, Outcome):
                # What the service said of these copies by itself is out of date now.
                left = each.differing - each.repaired
                await make_audits(running.service).note(replica.into, each.rows, left, each.reason)
            yield line_of(each)


def _locate(running: RunningService, replica: Replica, findings: Sequence[Finding]) -> Sequence[Finding]:
    """Say where on the topic the events lie that did not take effect; a topic that cannot be read leaves that unknown."""
    from freehold.converge.locate import Locate

    settings = running.settings
    group = f"{settings.qualified(running.service.name)}.audit"
    topic = settings.qualified(replica.of)
    try:
        return Locate(settings.kafka(), running.topics, topic, replica.of, group).find(replica.entity, findings)
    except FreeholdError as error:
        _logger.info("where the findings lie on the topic of %s is not known: %s", replica.of, error)
        return findings


def _ends(running: RunningService) -> Shipped:
    """Say where the service's own topic ends now."""
    topic = running.settings.qualified(running.service.name)
    identity = running.topics.identify(topic)
    extents = running.topics.extents(topic, range(identity.partition_count))
    # A partition that holds nothing has nothing to apply, and no position was ever kept for it.
    ends = {partition: end for partition, (start, end) in extents.items() if end > start}
    return Shipped(identity.topic_id, identity.partition_count, ends)
