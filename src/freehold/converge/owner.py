"""What an owner answers those who keep copies of its entities: what they are, how far its topic has come, and once more.

Internal routes of the owner, for readers and operators (decision 21):

    owned/count      how many entities of a kind there are, about
    owned/scan       their published states in the order of their key, a part at a time
    owned/find       the published states of some
    owned/absent     which of some it has never had
    owned/shipped    where its topic ends, once all that it had committed before is there
    owned/republish  tell all readers once more what these are
    owned/gone       tell all readers that these, which it never had, are gone

A state is the very JSON that the topic would carry, so that a reader makes of it what it makes of an event.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from freehold.errors import PeerError
from freehold.event import encode_data
from freehold.http.body import Body
from freehold.http.internal import InternalRoutes
from freehold.service import Entity, Service
from freehold.store.owned import OWNED_ROWS_MAX, Owned, OwnedRow

# What was committed is on the topic within milliseconds, unless the relay or Kafka is away.
SHIPPED_LIMIT_S = 20.0
SHIPPED_LOOK_S = 0.01

Ids = Annotated[list[str], Meta(max_length=OWNED_ROWS_MAX)]


class OfKind(Body, frozen=True):
    """Asks about all entities of a kind ("user")."""

    entity: str


class OfSome(Body, frozen=True):
    """Asks about these entities of a kind."""

    entity: str
    ids: Ids


class Part(Body, frozen=True):
    """Asks for the next entities of a kind behind a cursor."""

    entity: str
    limit: Annotated[int, Meta(ge=1, le=OWNED_ROWS_MAX)]
    after: str | None = None


class Nothing(Body, frozen=True):
    """Asks without saying anything."""


class OwnedState(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One entity as its owner publishes it; `data` is JSON, and null when it is gone."""

    entity_id: str
    version: int
    schema: int
    data: msgspec.Raw

    @property
    def is_gone(self) -> bool:
        """Say whether it is."""
        return bytes(self.data) == b"null"


class OwnedStates(msgspec.Struct, frozen=True):
    """Several of them, the owner's epoch, and where a scan goes on; `cursor` is None behind the last."""

    epoch: int
    rows: list[OwnedState]
    cursor: str | None = None


class Counted(msgspec.Struct, frozen=True):
    """About how many there are."""

    count: int


class Named(msgspec.Struct, frozen=True):
    """Those that were asked for."""

    ids: list[str]


class Shipped(msgspec.Struct, frozen=True):
    """Where a topic ended once all that had been committed was on it; by partition, those that hold anything."""

    topic_id: str
    partition_count: int
    ends: dict[int, int]


class OwnerRoutes:
    """The routes of one owner.

    Args:
        service: The owner; its store is open when it is asked.
        owned: Gives its entities of one kind.
        ends: Says where its topic ends now; it blocks.
        epoch: Reads the store's epoch, which another process may have raised.
    """

    def __init__(
        self,
        service: Service,
        owned: Callable[[Entity], Owned],
        ends: Callable[[], Shipped],
        epoch: Callable[[], Awaitable[int]],
    ) -> None:
        self._service = service
        self._make_owned = owned
        self._ends = ends
        self._epoch = epoch

    def add_to(self, routes: InternalRoutes) -> None:
        """Let these be asked."""
        routes.add("owned/count", OfKind, self.count, readers=True)
        routes.add("owned/scan", Part, self.scan, readers=True)
        routes.add("owned/find", OfSome, self.find, readers=True)
        routes.add("owned/absent", OfSome, self.absent, readers=True)
        routes.add("owned/shipped", Nothing, self.shipped, readers=True)
        routes.add("owned/republish", OfSome, self.republish, readers=True)
        routes.add("owned/gone", OfSome, self.publish_gone, readers=True)

    async def count(self, asked: OfKind) -> Counted:
        """Estimate how many there are."""
        return Counted(await self._owned(asked.entity).count())

    async def scan(self, asked: Part) -> OwnedStates:
        """Give the next part, deleted ones too."""
        rows = await self._owned(asked.entity).scan(asked.after, asked.limit)
        return await self._states(rows, rows[-1].cursor if len(rows) == asked.limit else None)

    async def find(self, asked: OfSome) -> OwnedStates:
        """Give those of these that there are."""
        return await self._states(await self._owned(asked.entity).find(asked.ids))

    async def absent(self, asked: OfSome) -> Named:
        """Name those of these that the owner does not have, and has not deleted either."""
        there = await self._owned(asked.entity).known(asked.ids)
        return Named([each for each in asked.ids if each not in there])

    async def shipped(self, _asked: Nothing) -> Shipped:
        """Wait until all that was committed is on the topic, and say where that ends.

        Raises:
            PeerError: It is not there within SHIPPED_LIMIT_S.
        """
        # Any kind will do: they share the outbox.
        if self._service.owns:
            owned = self._make_owned(self._service.owns[0])
            moment = await owned.moment()
            until = time.monotonic() + SHIPPED_LIMIT_S
            while await owned.waits(moment):
                if time.monotonic() > until:
                    raise PeerError(
                        f"what {self._service.name} has committed is not on its topic after {SHIPPED_LIMIT_S:g} s; look at its "
                        f"relay: freehold status"
                    )
                await asyncio.sleep(SHIPPED_LOOK_S)
        return await asyncio.to_thread(self._ends)

    async def republish(self, asked: OfSome) -> Named:
        """Tell once more what these are; name those that there are."""
        return Named(sorted(await self._owned(asked.entity).republish(asked.ids)))

    async def publish_gone(self, asked: OfSome) -> Named:
        """Tell that these, which were never there, are gone."""
        await self._owned(asked.entity).publish_gone(asked.ids)
        return Named(asked.ids)

    def _owned(self, entity: str) -> Owned:
        return self._make_owned(self._service.entity(entity))

    async def _states(self, rows: Sequence[OwnedRow], cursor: str | None = None) -> OwnedStates:
        return OwnedStates(await self._epoch(), [_state(row) for row in rows], cursor)


def _state(row: OwnedRow) -> OwnedState:
    event: Any = row.event
    data = b"null" if event.__erases__ else encode_data(event)
    return OwnedState(row.entity_id, row.version, event.__schema__, msgspec.Raw(data))
