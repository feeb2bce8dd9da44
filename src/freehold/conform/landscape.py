"""What is known of a system before anything was seen: who there is, who owns which store, topic and copy, who is where."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from freehold.service import System

DATABASE_WORDS = {"postgres": ("postgres", "postgresql"), "mongo": ("mongo", "mongodb")}


@dataclasses.dataclass(frozen=True)
class Landscape:
    """The components of a system, as the traces name them.

    Attributes:
        services: By name, the kind of its store.
        gateway: The gateway's name; empty without one.
        compositions: The routes whose answer the gateway makes of several.
        events: By the event class's name, the service that publishes it.
        copies: By service, the tables that are copies of others' facts.
        embedded: By service, the tables that have such fields embedded.
        sources: By service, whose topics it reads.
        ports: By port on this machine, the component that answers HTTP there.
        servers: By port, the services whose stores are on that server.
    """

    services: Mapping[str, str]
    gateway: str = ""
    compositions: frozenset[str] = frozenset()
    events: Mapping[str, str] = dataclasses.field(default_factory=dict)
    copies: Mapping[str, frozenset[str]] = dataclasses.field(default_factory=dict)
    embedded: Mapping[str, frozenset[str]] = dataclasses.field(default_factory=dict)
    sources: Mapping[str, frozenset[str]] = dataclasses.field(default_factory=dict)
    ports: Mapping[int, str] = dataclasses.field(default_factory=dict)
    servers: Mapping[int, frozenset[str]] = dataclasses.field(default_factory=dict)

    def components(self) -> set[str]:
        """Name the services and the gateway."""
        return {*self.services, *([self.gateway] if self.gateway else [])}


def survey(system: System) -> Landscape:
    """Read what a declaration says; ports are added when it runs (`dataclasses.replace`)."""
    gateway: Any = system.gateway
    return Landscape(
        services={service.name: service.store.kind for service in system.services},
        gateway=getattr(gateway, "name", ""),
        compositions=frozenset(composition.path for composition in getattr(gateway, "compositions", ())),
        events={cls.__name__: service.name for service in system.services for cls in service.publishes},
        copies={s.name: frozenset(replica.into for replica in s.replicates) for s in system.services},
        embedded={
            s.name: frozenset(table for replica in s.replicates for table in replica.embedded_in)
            for s in system.services
        },
        sources={s.name: frozenset(s.sources()) for s in system.services},
    )
