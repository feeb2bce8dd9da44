"""A store that went back behind its topic: let a new epoch begin, and tell all its entities again under it (decision 15).

What a restored store says next has versions that readers hold already, with other content. Every guard counts the epoch
before the version, so in a new one it is later than all that was said before. Kill it anywhere and run it again: it goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import msgspec

from freehold.errors import EpochError
from freehold.http.body import Body
from freehold.http.internal import InternalRoutes
from freehold.service import Entity, Service
from freehold.store.history import Histories, History
from freehold.store.owned import Owned

TOLD_AT_ONCE = 500
# A relay that has not noticed yet that its lease was taken sends under the old epoch for no longer.
RELAY_LETS_GO_S = 3.0


class Look(Body, frozen=True):
    """Asks how far store and topic are apart."""


class Advance(Body, frozen=True):
    """Asks for a new epoch; `force` also where the store does not seem to be behind."""

    force: bool = False


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """How far a store and its topic are apart, and what a new epoch would tell again.

    Attributes:
        epoch: The store's.
        tally: The store's; below the topic's only if the store went back.
        topic_tally: What the topic remembers.
        waiting: Events in the outbox that are not on the topic.
        entities: About how many there are, by kind.
        untold: Kinds that are published, and of which nobody says where they lie: they cannot be told again.
        is_behind: Whether the store went back.
        is_telling: Whether a new epoch has begun, and not all was told again yet.
    """

    epoch: int
    tally: int
    topic_tally: int
    waiting: int
    entities: dict[str, int]
    untold: list[str]
    is_behind: bool
    is_telling: bool


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """How far the telling is: of one kind, in this epoch."""

    epoch: int
    entity: str
    done: int
    total: int


@dataclass(frozen=True, kw_only=True)
class EpochRoutes:
    """What operators ask an owner about its epoch.

    Attributes:
        service: The owner; its store is open when it is asked.
        histories: Its store's history.
        owned: Gives its entities of one kind.
        topic_tally: Reads what the topic remembers.
    """

    service: Service
    histories: Histories
    owned: Callable[[Entity], Owned]
    topic_tally: Callable[[], Awaitable[int]]

    def add_to(self, routes: InternalRoutes) -> None:
        """Let these be asked."""
        routes.add("epoch", Look, self.look)
        routes.add("epoch/advance", Advance, self.advance)

    async def look(self, _asked: Look) -> Standing:
        """Say how far store and topic are apart."""
        # In this order: the store counts before its topic is told.
        remembered = await self.topic_tally()
        history = await self.histories.read()
        named = {entity.name for entity in self.service.owns}
        return Standing(
            epoch=history.epoch,
            tally=history.tally,
            topic_tally=remembered,
            waiting=(await self.service.store.backlog()).rows,
            entities={entity.name: await self.owned(entity).count() for entity in self.service.owns},
            untold=sorted({event.__entity__ for event in self.service.publishes} - named),
            is_behind=history.tally < remembered,
            is_telling=history.told is not None,
        )

    async def advance(self, asked: Advance) -> AsyncIterator[Told]:
        """Begin a new epoch, unless one has just begun, and tell all entities again under it.

        Raises:
            EpochError: The store is not behind its topic, or nothing of it could be told again.
        """
        remembered = await self.topic_tally()
        history = await self.histories.read()
        if history.told is None:
            self._check(history, remembered, force=asked.force)
            history = await self.histories.begin(history, remembered)
            yield Told(epoch=history.epoch, entity="", done=0, total=0)
            await asyncio.sleep(RELAY_LETS_GO_S)
        told = dict(history.told or {})
        for entity in self.service.owns:
            async for step in self._tell(history, entity, told):
                yield step
        await self.histories.note(history, None)

    def _check(self, history: History, remembered: int, *, force: bool) -> None:
        name = self.service.name
        if not self.service.owns:
            raise EpochError(
                f"{name} does not say where its entities lie, so none could be told again; declare them: owns=[Entity(...)]"
            )
        if history.tally >= remembered and not force:
            raise EpochError(
                f"nothing to advance: the store of {name} is not behind its topic (store {history.tally}, topic {remembered}). If "
                f"you know that it was restored all the same, say --force"
            )

    async def _tell(self, history: History, entity: Entity, told: dict[str, str]) -> AsyncIterator[Told]:
        owned = self.owned(entity)
        total, done = await owned.count(), 0
        while told.get(entity.name) != "":
            rows = await owned.scan(told.get(entity.name), TOLD_AT_ONCE)
            await owned.republish([row.entity_id for row in rows])
            told[entity.name] = rows[-1].cursor if len(rows) == TOLD_AT_ONCE else ""
            await self.histories.note(history, told)
            done += len(rows)
            yield Told(epoch=history.epoch, entity=entity.name, done=done, total=max(total, done))
