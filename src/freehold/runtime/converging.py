"""What a running service answers, and does by itself, so that copies converge: its own side of `freehold.converge`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freehold.converge.owner import OwnerRoutes, Shipped
from freehold.runtime.parts import make_owned

if TYPE_CHECKING:
    from freehold.runtime.running import RunningService


def add_routes(running: RunningService) -> None:
    """Let a service be asked over its internal routes for what it owns."""
    OwnerRoutes(running.service, lambda entity: make_owned(running.service, entity), lambda: _ends(running)).add_to(
        running.internal
    )


def _ends(running: RunningService) -> Shipped:
    """Say where the service's own topic ends now."""
    topic = running.settings.qualified(running.service.name)
    identity = running.topics.identify(topic)
    extents = running.topics.extents(topic, range(identity.partition_count))
    # A partition that holds nothing has nothing to apply, and no position was ever kept for it.
    ends = {partition: end for partition, (start, end) in extents.items() if end > start}
    return Shipped(identity.topic_id, identity.partition_count, ends)
