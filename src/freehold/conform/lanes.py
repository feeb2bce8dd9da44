"""Who the lanes of a diagram are: services, the gateway, topics, clients; by their names, or by a line of the declaration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Literal

from freehold.conform.landscape import Landscape
from freehold.conform.step import CLIENT
from freehold.conform.vocabulary import BUS_WORDS, CLIENT_WORDS, GATEWAY_WORDS, STORE_WORDS, name_words
from freehold.flowzap.graph import Graph, Lane

Role = Literal["service", "gateway", "bus", "store", "client", "outside"]
_ROLES: Mapping[str, Role] = {
    "service": "service",
    "gateway": "gateway",
    "topic": "bus",
    "topics": "bus",
    "store": "store",
    "client": "client",
    "outside": "outside",
}


@dataclasses.dataclass(frozen=True)
class Participant:
    """Who a lane is: its role, and the components that it stands for (for a bus, the owners of its topics)."""

    role: Role
    names: frozenset[str]

    def __str__(self) -> str:
        return f"{self.role} {', '.join(sorted(self.names))}".strip()


def identify_lanes(
    graph: Graph, landscape: Landscape, lines: Mapping[str, str]
) -> tuple[dict[str, Participant], list[str]]:
    """Say who each lane is.

    Args:
        graph: The diagram.
        landscape: The system.
        lines: By a lane's id or name, "service users", "gateway", "topics users, orders", "client", "outside HOST:PORT".

    Returns:
        By lane id, who it is, and what is wrong with lanes and lines, in words.
    """
    found: dict[str, Participant] = {}
    problems = []
    for lane in graph.lanes:
        line = lines.get(lane.id, lines.get(lane.name))
        participant = _by_name(lane, landscape) if line is None else _by_line(line, landscape)
        if participant is None:
            problems.append(_unknown(lane, line, landscape))
        else:
            found[lane.id] = participant
    return _tell_people_apart(graph, found), problems


def _by_name(lane: Lane, landscape: Landscape) -> Participant | None:
    said = name_words([lane.id, lane.name])
    named = {service for service in landscape.services if (own := name_words([service])) and own <= said}
    # "order_items" is said by "Order items", and so is "orders": the fuller name is meant.
    named = {one for one in named if not any(name_words([one]) < name_words([other]) for other in named)}
    rest = said - {word for service in named for word in name_words([service])}
    if named and rest & BUS_WORDS:
        return Participant("bus", frozenset(named))
    if len(named) == 1:
        return Participant("store" if rest & STORE_WORDS else "service", frozenset(named))
    if landscape.gateway and (said & GATEWAY_WORDS or name_words([landscape.gateway]) <= said):
        return Participant("gateway", frozenset({landscape.gateway}))
    if said & BUS_WORDS:
        return Participant("bus", frozenset(landscape.services))
    if said & CLIENT_WORDS:
        return Participant("client", frozenset({CLIENT}))
    return None


def _by_line(line: str, landscape: Landscape) -> Participant | None:
    role_word, _, rest = line.strip().partition(" ")
    role = _ROLES.get(role_word)
    names = frozenset(name.strip() for name in rest.removeprefix("of ").split(",") if name.strip())
    if role is None or (role in {"service", "store", "bus"} and not names <= set(landscape.services)):
        return None
    if role in {"service", "store"} and len(names) != 1:
        return None
    usual = {"gateway": {landscape.gateway}, "client": {CLIENT}, "bus": set(landscape.services)}.get(role, set())
    return Participant(role, names or frozenset(usual))


def _tell_people_apart(graph: Graph, found: dict[str, Participant]) -> dict[str, Participant]:
    """Take a lane "User" for a person where another lane is the service `users`."""
    names = {lane.id: name_words([lane.id, lane.name]) for lane in graph.lanes}
    said = {lane.id: f"{lane.id} {lane.name}".lower() for lane in graph.lanes}
    for lane, participant in list(found.items()):
        others = [other for other, it in found.items() if it == participant and other != lane]
        is_service = participant.role == "service" and "service" not in said[lane]
        if is_service and others and names[lane] <= CLIENT_WORDS and any("service" in said[other] for other in others):
            found[lane] = Participant("client", frozenset({CLIENT}))
    return found


def _unknown(lane: Lane, line: str | None, landscape: Landscape) -> str:
    names = ", ".join(sorted(landscape.services))
    forms = '"service NAME", "gateway", "topics NAME, NAME", "store of NAME", "client" or "outside HOST:PORT"'
    if line is None:
        return f'lane "{lane.name}" is nobody here by its name; say who, in bindings: "{lane.name}": {forms}'
    return f'lane "{lane.name}": {line!r} is none of {forms}; the services are {names}'
