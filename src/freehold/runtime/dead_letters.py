"""What a running service answers an operator of its parked events: its own side of `freehold dead`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from freehold.consumer.redrive.desk import Desk
from freehold.consumer.redrive.routes import DeadLetterRoutes
from freehold.replica import Copies
from freehold.runtime.parts import make_copies, make_lot, make_rounds

if TYPE_CHECKING:
    from freehold.runtime.running import RunningService


def add_dead_letter_routes(running: RunningService) -> None:
    """Let operators reach the parked events of a service that reads others' topics."""
    service = running.service
    if not service.sources():
        return

    def copies(source: str) -> list[tuple[str, Copies]]:
        return [(each.entity, make_copies(service, each)) for each in service.replicates if each.of == source]

    DeadLetterRoutes(Desk(service, make_lot(service), make_rounds(service), copies)).add_to(running.internal)
