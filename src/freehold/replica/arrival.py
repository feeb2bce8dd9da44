"""Wait until the copies of some entities have come as far as somebody has written them.

Theory of operation. Whoever waits is listed before the first look, so that nothing passes in between. Copies that this
process's own consumer writes are told to the list (`told`), at the moment when all that embeds them has followed. What
another process writes is found by one task that looks at all that is waited for together, as long as there is any.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import Literal

from freehold.errors import PeerError
from freehold.event import Place
from freehold.http.read_your_writes import At, NotYet
from freehold.http.token import Written
from freehold.replica import Copies, Reached, State
from freehold.service import Replica

# A copy that another process writes is seen so much late at most, by one question for all who wait.
LOOK_S = 0.05

# A copy that has been seen there need not be looked at again for a while. It never goes back, unless an operator takes
# its replica back to an older one: that shows after so long.
KNOWN_S = 5.0
KNOWN_MAX = 10_000

# A replica, by its number in the declaration, and the entity's id.
Key = tuple[int, str]
# Given the source and keys ("user/42"): which of them have events that are parked here.
AskParked = Callable[[str, Collection[str]], Awaitable[Collection[str]]]
log = logging.getLogger("freehold.replica")


class Arrivals:
    """The copies of one service, and who waits for them.

    Args:
        replicas: Each declared replica with its copies.
        parked: Says of which entities events are parked; none are when it is None.
    """

    def __init__(self, replicas: Sequence[tuple[Replica, Copies]], parked: AskParked | None = None) -> None:
        self._copies = [copies for _, copies in replicas]
        self._numbers: dict[tuple[str, str], list[int]] = {}
        for number, (replica, _) in enumerate(replicas):
            self._numbers.setdefault((replica.of, replica.entity), []).append(number)
        self._parked = parked
        self._waiting: dict[Key, list[_Waiter]] = {}
        self._known: dict[Key, tuple[Place, float]] = {}
        self._looking: asyncio.Task[None] | None = None

    async def wait(self, wanted: Sequence[Written], limit_s: float) -> list[NotYet]:
        """Wait until the copies of these entities are as new, at most so long.

        What is no replica here is not waited for: own entities, and those of which nothing is kept.

        Returns:
            What is not there yet; empty when all is.

        Raises:
            StoreUnavailable: The own store could not be asked.
        """
        waiters = self._list(wanted)
        try:
            await self._look({waiter.key for waiter in waiters})
            arrivals = [waiter.arrived for waiter in waiters if not waiter.is_done]
            if arrivals and limit_s > 0:
                if self._looking is None:
                    self._looking = asyncio.create_task(self._keep_looking(), name="look for copies")
                await asyncio.wait(arrivals, timeout=limit_s)
        finally:
            self._unlist(waiters)
        self._remember(waiters)
        return await self._judge([waiter for waiter in waiters if not waiter.is_done])

    def watched(self, number: int) -> Copies:
        """Give the copies of that replica in a form that tells those who wait of what has come."""
        return _ToldCopies(self._copies[number], lambda states: self._tell(number, states))

    def _tell(self, number: int, states: Sequence[State]) -> None:
        if not self._waiting:
            return
        for state in states:
            for waiter in self._waiting.get((number, state.entity_id), ()):
                waiter.see(Reached(state.place, deleted=state.fields is None))

    def _list(self, wanted: Sequence[Written]) -> list[_Waiter]:
        waiters = []
        for written in wanted:
            entity, _, entity_id = written.key.partition("/")
            for number in self._numbers.get((written.service, entity), ()):
                if not self._is_known((number, entity_id), written.place):
                    waiter = _Waiter((number, entity_id), written)
                    self._waiting.setdefault(waiter.key, []).append(waiter)
                    waiters.append(waiter)
        return waiters

    def _is_known(self, key: Key, wanted: Place) -> bool:
        known = self._known.get(key)
        return known is not None and known[0] >= wanted and time.monotonic() - known[1] < KNOWN_S

    def _remember(self, waiters: Sequence[_Waiter]) -> None:
        if len(self._known) + len(waiters) > KNOWN_MAX:
            self._known.clear()
        for waiter in waiters:
            if waiter.is_done:
                self._known[waiter.key] = (waiter.written.place, time.monotonic())

    def _unlist(self, waiters: Sequence[_Waiter]) -> None:
        for waiter in waiters:
            self._waiting[waiter.key].remove(waiter)
            if not self._waiting[waiter.key]:
                del self._waiting[waiter.key]

    async def _look(self, keys: Collection[Key]) -> None:
        """Ask the store how far these copies are."""
        for number, copies in enumerate(self._copies):
            ids = [entity_id for replica, entity_id in keys if replica == number]
            if ids:
                for entity_id, reached in (await copies.reach(ids)).items():
                    for waiter in self._waiting.get((number, entity_id), ()):
                        waiter.see(reached)

    async def _keep_looking(self) -> None:
        try:
            while self._waiting:
                await asyncio.sleep(LOOK_S)
                missing = {waiter.key for waiters in self._waiting.values() for waiter in waiters if not waiter.is_done}
                with contextlib.suppress(PeerError):  # whoever waits is told how far it was when last seen
                    await self._look(missing)
        except Exception:
            log.exception("looking for copies failed")
        finally:
            self._looking = None

    async def _judge(self, waiters: Sequence[_Waiter]) -> list[NotYet]:
        parked = await self._ask_parked(waiters) if waiters else {}
        return [
            waiter.not_yet(is_parked=waiter.written.key in parked.get(waiter.written.service, ())) for waiter in waiters
        ]

    async def _ask_parked(self, waiters: Sequence[_Waiter]) -> Mapping[str, Collection[str]]:
        keys: dict[str, set[str]] = {}
        for waiter in waiters:
            keys.setdefault(waiter.written.service, set()).add(waiter.written.key)
        if self._parked is None:
            return {}
        return {source: await self._parked(source, each) for source, each in keys.items()}


class _Waiter:
    """Somebody who waits for one copy."""

    def __init__(self, key: Key, written: Written) -> None:
        self.key = key
        self.written = written
        self.arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._found: Reached | None = None

    @property
    def is_done(self) -> bool:
        return self.arrived.done()

    def see(self, found: Reached) -> None:
        """Take note of how far the copy is."""
        self._found = found
        if found.place >= self.written.place and not self.arrived.done():
            self.arrived.set_result(None)

    def not_yet(self, *, is_parked: bool) -> NotYet:
        """Say how far the copy is instead."""
        found, wanted = self._found, self.written
        state: Literal["behind", "parked", "deleted"] = "behind"
        if is_parked:
            state = "parked"
        elif found is not None and found.deleted:
            state = "deleted"
        at = None if found is None else At(found.place.epoch, found.place.version)
        return NotYet(wanted.service, wanted.key, At(wanted.epoch, wanted.version), at, state)


class _ToldCopies:
    """Copies that tell of each state once everything that embeds it has followed."""

    def __init__(self, copies: Copies, tell: Callable[[Sequence[State]], None]) -> None:
        self._copies = copies
        self._tell = tell
        self.prepare = copies.prepare
        self.apply = copies.apply
        self.reach = copies.reach
        self.embed_again = copies.embed_again
        self.lacking = copies.lacking

    async def embed(self, states: Sequence[State]) -> None:
        await self._copies.embed(states)
        self._tell(states)
