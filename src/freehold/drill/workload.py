"""What a drill needs to know of a system: how its clients write, and what its handlers leave behind."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

from freehold.errors import DeclarationError
from freehold.service import Entity, Service, System

if TYPE_CHECKING:
    from freehold.drill.load import Session
    from freehold.drill.observed import Outcome


class Visitor(Protocol):
    """One client of the system: it writes to entities that no other visitor writes to."""

    def step(self, session: Session) -> Outcome:
        """Send one write through `session.send`; every value that it asks for is one that no other write asks for."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Effects:
    """Say what a handler leaves behind for each event that it is called with: one row, never changed.

    Args:
        service: Whose handler it is.
        of: The service whose events it handles, every type of `entity`.
        entity: The kind of entity that they are about.
        rows: Own table or collection that the handler adds a row to.
        key: The column or field with the entity's id.
        order: The column or field that tells which row came first.
        shows: The column or field with what `trace` makes of the event.
        trace: Makes of an event's fields (none when the entity is gone) what the handler writes; nothing personal.
        tells: The kind of entity of the same id that the handler publishes in the same transaction, if it does.
    """

    service: str
    of: str
    entity: str
    rows: str
    key: str
    order: str
    shows: str
    trace: Callable[[Mapping[str, Any]], str]
    tells: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Poison:
    """Say how a handler is made to fail for a while: a PostgreSQL table that it looks into first.

    Args:
        service: Whose handler it is; it parks what fails and never lets it die.
        entity: The kind of entity whose events it handles.
        rows: Own table; while an entity's id is in it, the handler fails.
        key: The column with the entity's id.
        how: The column that says how: "raise" or "hang".
    """

    service: str
    entity: str
    rows: str
    key: str
    how: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Workload:
    """Declare how a system is drilled; a drill looks for `workload` in the file drill.py beside its system.py.

    Args:
        system: What is run: the system itself, or one with services for the drill beside it.
        visitor: Makes one client; several are at work at once.
        effects: What handlers leave behind.
        poisons: How handlers are made to fail.
    """

    system: System
    visitor: Callable[[], Visitor]
    effects: Sequence[Effects] = ()
    poisons: Sequence[Poison] = ()

    def owners(self) -> dict[str, tuple[Service, Entity]]:
        """Give, by kind, who owns each kind of entity and where its rows lie.

        Raises:
            DeclarationError: No service says where its entities lie, so there is nothing to compare.
        """
        found = {entity.name: (service, entity) for service in self.system.services for entity in service.owns}
        if not found:
            raise DeclarationError(
                f"no service of {self.system.name} says where its entities lie, so there is nothing to compare; declare "
                f"it: Service(..., owns=[Entity(...)])"
            )
        return found
