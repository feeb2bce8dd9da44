"""The owner of a replica's facts, as the reader asks it over its internal routes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TypeVar

from freehold.converge.owner import Counted, Named, Nothing, OfKind, OfSome, OwnedStates, Part, Shipped
from freehold.http.peer import Peer

T = TypeVar("T")


class Source:
    """One kind of entity at its owner. Calls come one after the other: there is one connection.

    Every method raises PeerError when the owner does not answer, and what it refuses for when it refuses
    (`freehold.http.peer.Peer.ask`).
    """

    def __init__(self, peer: Peer, entity: str) -> None:
        self._peer = peer
        self._entity = entity
        # Of a connection that several tasks would use at once each would read the other's answer.
        self._turn = asyncio.Lock()

    @property
    def name(self) -> str:
        """The owner's name."""
        return self._peer.name

    async def count(self) -> int:
        """Estimate how many entities there are."""
        return (await self._ask("owned/count", OfKind(self._entity), Counted)).count

    async def scan(self, after: str | None, limit: int) -> OwnedStates:
        """Read the next part behind a cursor, in the owner's order."""
        return await self._ask("owned/scan", Part(self._entity, limit, after), OwnedStates)

    async def find(self, ids: Sequence[str]) -> OwnedStates:
        """Read those of these entities that there are."""
        return await self._ask("owned/find", OfSome(self._entity, list(ids)), OwnedStates)

    async def absent(self, ids: Sequence[str]) -> list[str]:
        """Name those of these that the owner has never had."""
        return (await self._ask("owned/absent", OfSome(self._entity, list(ids)), Named)).ids

    async def shipped(self) -> Shipped:
        """Say where the owner's topic ends, once all that is committed there by now is on it."""
        return await self._ask("owned/shipped", Nothing(), Shipped)

    async def republish(self, ids: Sequence[str]) -> list[str]:
        """Let the owner tell once more what these are; name those that it has."""
        return (await self._ask("owned/republish", OfSome(self._entity, list(ids)), Named)).ids

    async def publish_gone(self, ids: Sequence[str]) -> None:
        """Let the owner tell that these, which it never had, are gone."""
        await self._ask("owned/gone", OfSome(self._entity, list(ids)), Named)

    async def close(self) -> None:
        """Let go of the connection."""
        async with self._turn:
            self._peer.close()

    async def _ask(self, path: str, body: object, answer: type[T]) -> T:
        async with self._turn:
            return await asyncio.to_thread(self._peer.ask, path, body, answer)
