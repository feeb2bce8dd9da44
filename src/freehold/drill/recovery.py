"""How long a fault was felt: until a write that was made after it has gone all the way through the victim.

A write goes through *legs*: it is acknowledged, its event is on the topic, it is in each copy, each handler has handled
it, what the handler told is on a topic. A victim has its own legs: a relay is recovered when an event of a write made
after the fault is on the topic, whatever else is down at that moment.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from freehold.drill.observation import Observer
from freehold.drill.observed import Action, Outcome, Write
from freehold.drill.stage import Stage
from freehold.drill.writes import WriteLedger
from freehold.runtime.supervisor.plan import KAFKA, part_name, parts_of

# Of each kind, so many of the first writes after a fault are followed: one of them arrives as soon as any does.
FOLLOWED_MAX = 8


@dataclass(frozen=True)
class Leg:
    """One part of a write's way.

    Attributes:
        name: In words.
        entity: The kind of entity that is written.
        reached: Gives the version of each of these ids that came so far; None: the acknowledgement is all that counts.
        door: Only writes through this base URL count; empty for any.
    """

    name: str
    entity: str
    reached: Callable[[Collection[str]], Mapping[str, int]] | None = None
    door: str = ""


def legs_of(victims: Collection[str], stage: Stage, observer: Observer, written: Collection[str]) -> list[Leg]:
    """List the legs that go through some processes.

    Args:
        victims: The processes' names.
        stage: Which servers the services are on.
        observer: Sees what arrived.
        written: The kinds of entities that clients write.
    """
    gateway = stage.system.gateway
    if gateway is not None and gateway.name in victims:
        return [
            Leg(f"{entity} through {gateway.name}", entity, door=stage.url(gateway.name)) for entity in sorted(written)
        ]
    hit = set(victims)
    if not stage.is_apart:
        hit |= {
            part_name(each.name, part)
            for each in stage.system.services
            for part in parts_of(each)
            if each.name in victims
        }
    found = []
    for entity in sorted(written):
        service = observer.owners[entity][0]
        store = stage.server_of(service)
        if hit & {service.name, store}:
            found.append(Leg(f"{entity} is acknowledged", entity))
        if hit & {part_name(service.name, "relay"), store, KAFKA}:
            found.append(Leg(f"{entity} is on its topic", entity, _on_topic(observer, entity)))
        found += _legs_to_copies(hit, stage, observer, entity)
        found += _legs_to_handlers(hit, stage, observer, entity)
    return found


def _legs_to_copies(hit: Collection[str], stage: Stage, observer: Observer, entity: str) -> list[Leg]:
    return [
        Leg(f"{entity} is in {service.name}/{replica.into}", entity, partial(observer.copied, service.name, replica))
        for service, replica in observer.replicas(entity)
        if {part_name(service.name, "consumers"), stage.server_of(service), KAFKA} & set(hit)
    ]


def _legs_to_handlers(hit: Collection[str], stage: Stage, observer: Observer, entity: str) -> list[Leg]:
    found = []
    for effects in observer.effects(entity):
        store = stage.server_of(stage.system.service(effects.service))
        if {part_name(effects.service, "consumers"), store, KAFKA} & set(hit):
            handled = partial(observer.handled, effects)
            found.append(Leg(f"{entity} was handled by {effects.service}", entity, handled))
        if effects.tells and {part_name(effects.service, "relay"), store, KAFKA} & set(hit):
            found.append(Leg(f"{effects.tells} is on its topic", entity, _on_topic(observer, effects.tells)))
    return found


def _on_topic(observer: Observer, entity: str) -> Callable[[Collection[str]], Mapping[str, int]]:
    return lambda ids: {each: observer.tail.newest(f"{entity}/{each}") for each in ids}


class Stopwatch:
    """Measures one fault; made at the moment from which on the system can recover, asked while the load goes on.

    Args:
        legs: The victim's.
        ledger: Where the writes are.
    """

    def __init__(self, legs: Sequence[Leg], ledger: WriteLedger) -> None:
        self.began_at = time.monotonic()
        self._ledger = ledger
        self._position = len(ledger)
        self._open = list(legs)
        self._followed: dict[str, list[Write]] = {leg.name: [] for leg in legs}

    @property
    def elapsed_s(self) -> float:
        """Say how long it has run."""
        return time.monotonic() - self.began_at

    def missing(self) -> str:
        """Say which legs no write that was made since has gone; empty when it has recovered."""
        answered = self._ledger.since(self._position)
        self._position += len(answered)
        fresh = [write for write in answered if self._counts(write)]
        for leg in list(self._open):
            followed = self._followed[leg.name]
            own = [write for write in fresh if write.entity == leg.entity and leg.door in {"", write.door}]
            followed += own[: max(0, FOLLOWED_MAX - len(followed))]
            if followed and _has_gone(leg, followed):
                self._open.remove(leg)
        return ", ".join(leg.name for leg in self._open)

    def _counts(self, write: Write) -> bool:
        return (
            write.outcome is Outcome.ACKNOWLEDGED
            and write.sent_at >= self.began_at
            and write.action is not Action.DELETE
        )


def _has_gone(leg: Leg, followed: Sequence[Write]) -> bool:
    if leg.reached is None:
        return True
    reached = leg.reached({write.entity_id for write in followed})
    return any(reached.get(write.entity_id, 0) >= (write.version or 1) for write in followed)
