"""What operators ask a service about its rebuilt copies: build them, or drop those that were replaced."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from freehold.converge.work import Method
from freehold.errors import ConfigurationError
from freehold.http.body import Body
from freehold.http.internal import InternalRoutes
from freehold.service import Replica, Service

if TYPE_CHECKING:
    from freehold.converge.building import Parts
    from freehold.converge.rebuild import Step


class Wanted(Body, frozen=True):
    """Asks to rebuild one replica, by its table or collection, or all of one source.

    A service that only listens to that source goes on behind what its topic has lost.
    """

    replica: str = ""
    of: str = ""
    method: Method | None = None
    rows_per_s: Annotated[int, Meta(ge=1)] | None = None


class Dropped(msgspec.Struct, frozen=True):
    """The replicas whose former copies were dropped."""

    replicas: list[str]


class RebuildRoutes:
    """The routes of one subscriber.

    Args:
        service: It; its store is open when it is asked.
        parts: Gives what a rebuild of a source's copies works with.
        on_done: Is told of each replica that was rebuilt.
    """

    def __init__(self, service: Service, parts: Callable[[str], Parts], on_done: Callable[[str], object]) -> None:
        self._service = service
        self._parts = parts
        self._on_done = on_done

    def add_to(self, routes: InternalRoutes) -> None:
        """Let these be asked."""
        routes.add("rebuild", Wanted, self.rebuild)
        routes.add("rebuild/drop-previous", Wanted, self.drop_previous)

    async def rebuild(self, asked: Wanted) -> AsyncIterator[Step]:
        """Rebuild what was asked for, and say each step; whoever asks may go away, and the work goes on."""
        from freehold.converge.rebuild import Rebuild  # Kafka's client comes with it
        from freehold.converge.reposition import reposition

        if self._only_listens(asked):
            async for step in reposition(self._parts(asked.of), asked.of):
                yield step
            return
        replicas = self._find(asked)
        source = replicas[0].of
        rebuild = Rebuild(self._parts(source), source, replicas, method=asked.method, rows_per_s=asked.rows_per_s)
        async for step in rebuild.run():
            yield step
        for replica in replicas:
            self._on_done(replica.into)

    async def drop_previous(self, asked: Wanted) -> Dropped:
        """Drop the copies that were replaced."""
        replicas = self._find(asked)
        versions = self._parts(replicas[0].of).versions
        return Dropped([replica.into for replica in replicas if await versions.drop_previous(replica)])

    def _only_listens(self, asked: Wanted) -> bool:
        copied = {each.of for each in self._service.replicates}
        return asked.of in self._service.sources() and asked.of not in copied and asked.method is not Method.PREVIOUS

    def _find(self, asked: Wanted) -> Sequence[Replica]:
        found = [each for each in self._service.replicates if each.into == asked.replica or each.of == asked.of]
        if not found:
            there = ", ".join(f"{each.into} (of {each.of})" for each in self._service.replicates) or "none"
            wanted = asked.replica or f"of {asked.of}"
            raise ConfigurationError(f"{self._service.name} keeps no replica {wanted}; it keeps: {there}")
        return found
