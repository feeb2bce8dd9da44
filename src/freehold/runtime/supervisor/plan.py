"""What waits for what, and why; what is tried again, and when. Decisions only: nothing here starts anything."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping, Sequence
from typing import Literal

from freehold.service import Service, System

Role = Literal["server", "service", "part", "gateway", "demo"]
Part = Literal["relay", "consumers"]

KAFKA = "kafka"
# A role that may follow its database's log may copy the whole PostgreSQL server: nobody else's data may be on it.
ALONE = "postgres"
USUAL_PORTS = {"postgres": 5432, "mongo": 27017, KAFKA: 9092}
GATEWAY_PORT = 4000
SERVICE_PORT_FIRST = 4001

RESTART_DELAY_FIRST_S = 0.1
RESTART_DELAY_MAX_S = 5.0
# A process that ran for so long did start; what ended it is a new story, and its restarts are counted anew.
RESTART_FORGIVEN_AFTER_S = 30.0


@dataclasses.dataclass(frozen=True)
class Step:
    """One process to start: `waits_for` says for each other process that must be ready before it, what it needs of it."""

    name: str
    role: Role
    kind: str = ""
    port: int = 0
    waits_for: Mapping[str, str] = dataclasses.field(default_factory=dict)


def plan(system: System, *, servers: Mapping[str, str], seeds: Collection[str], is_apart: bool = False) -> list[Step]:
    """List the processes that make up the system, each after those that it waits for.

    Args:
        system: What is to run.
        servers: By service, the server that its store is on (`assign_servers`).
        seeds: The services whose demo data is still to be written, each by a short-lived process.
        is_apart: Whether each service's relay and consumers have processes of their own.
    """
    kinds = {servers[service.name]: service.store.kind for service in system.services}
    if system.services:
        kinds[KAFKA] = KAFKA
    steps = [Step(name, "server", kind, USUAL_PORTS.get(kind, 0)) for name, kind in kinds.items()]
    for port, service in enumerate(system.services, start=SERVICE_PORT_FIRST):
        reasons = {servers[service.name]: "its database", KAFKA: "its topic and credentials"}
        steps.append(Step(service.name, "service", service.store.kind, port, reasons))
    if is_apart:
        apart = [(service.name, part) for service in system.services for part in parts_of(service)]
        for port, (name, part) in enumerate(apart, start=SERVICE_PORT_FIRST + len(system.services)):
            steps.append(Step(part_name(name, part), "part", part, port, {name: "its migrated store"}))
    if system.gateway is not None:
        # It waits for nobody: a service that is not there yet is an answer that it knows how to give.
        steps.append(Step(system.gateway.name, "gateway", "", GATEWAY_PORT))
    steps.extend(
        Step(demo_name(service.name), "demo", "", 0, _demo_needs(service.name, service.sources()))
        for service in system.services
        if service.name in seeds and service.demo is not None
    )
    return steps


def assign_servers(system: System, known: Mapping[str, str], external: Collection[str]) -> dict[str, str]:
    """Say which server each service's store is on: MongoDB's share one, PostgreSQL's have one each (decision 11).

    Args:
        system: What is to run.
        known: What was assigned before; it stays, for there is the data.
        external: The kinds of servers that the user has; there is one of each.
    """
    assigned: dict[str, str] = {}
    for service in system.services:
        kind, name = service.store.kind, service.name
        if kind != ALONE or kind in external:
            assigned[name] = kind
        elif name in known:
            assigned[name] = known[name]
        else:
            taken = {*known.values(), *assigned.values()}
            assigned[name] = kind if kind not in taken else f"{kind}-{name}"
    return assigned


def parts_of(service: Service) -> list[Part]:
    """List what a service has beside its API that can run by itself."""
    parts: list[Part] = ["relay"] if service.publishes else []
    return [*parts, "consumers"] if service.sources() else parts


def part_name(service: str, part: Part) -> str:
    """Name the process that runs one part of a service."""
    return f"{service} {part}"


def demo_name(service: str) -> str:
    """Name the process that writes a service's demo data."""
    return f"{service} demo"


def unmet(step: Step, ready: Collection[str]) -> dict[str, str]:
    """Give what the step still waits for, with the reason."""
    return {name: reason for name, reason in step.waits_for.items() if name not in ready}


def stop_order(steps: Sequence[Step]) -> list[list[Step]]:
    """Group the steps as they are stopped: what writes demo data, the door, the services, then the servers together."""
    order: tuple[tuple[Role, ...], ...] = (("demo",), ("gateway",), ("service", "part"), ("server",))
    groups = [[step for step in steps if step.role in roles] for roles in order]
    return [group for group in groups if group]


def restart_delay_s(failures: int) -> float:
    """Say how long to wait before a process that ended by itself is started again.

    Args:
        failures: How often in a row it has ended, from 1.
    """
    return float(min(RESTART_DELAY_MAX_S, RESTART_DELAY_FIRST_S * 2.0 ** (failures - 1)))


def _demo_needs(service: str, sources: Sequence[str]) -> dict[str, str]:
    needs = {service: "its store and its relay"}
    needs.update(dict.fromkeys(sources, "the facts that it copies"))
    return needs
