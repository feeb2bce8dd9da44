"""Let what several partitions do at once go to the store together.

The field calls it group commit: while one call is on its way the next ones gather, and go as one. So a quiet topic waits
for nobody, and the busier it is the more events share a round trip.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from freehold.errors import PeerError

Item = TypeVar("Item")

# Go together at most; each caller brings a batch of its own bounded size.
TOGETHER_MAX = 1_000


class Gather(Generic[Item]):
    """Run one function on what its callers bring.

    Args:
        run: Takes effect wholly or may be repeated; it is run again, for each caller alone, when it refuses what several
            brought.
    """

    def __init__(self, run: Callable[[Sequence[Item]], Awaitable[None]]) -> None:
        self._run = run
        self._turn = asyncio.Lock()
        self._callers: list[_Caller[Item]] = []

    async def __call__(self, items: Sequence[Item]) -> None:
        """Run the function on these items, and perhaps on others; raises what it raises for them."""
        caller = _Caller(items)
        self._callers.append(caller)
        try:
            async with self._turn:
                while not caller.is_done:
                    await self._run_group(self._next_group())
        finally:
            if caller in self._callers:  # cancelled before its turn
                self._callers.remove(caller)
        if caller.error is not None:
            raise caller.error

    def _next_group(self) -> list[_Caller[Item]]:
        """Choose who goes next: in the order of coming, at least one."""
        count = size = 0
        for caller in self._callers:
            size += len(caller.items)
            if count and size > TOGETHER_MAX:
                break
            count += 1
        return self._callers[:count]

    async def _run_group(self, group: list[_Caller[Item]]) -> None:
        """Run for all of the group; if it is cancelled, those who are not done are still waiting for another's turn."""
        error: Exception | None = None
        try:
            await self._run([item for caller in group for item in caller.items])
        except PeerError as away:  # as much for each alone
            error = away
        except Exception as refused:  # noqa: BLE001 -- given to whoever brought what was refused
            if len(group) > 1:
                for caller in group:
                    await self._run_group([caller])
                return
            error = refused
        for caller in group:
            caller.is_done, caller.error = True, error
            self._callers.remove(caller)


class _Caller(Generic[Item]):
    """What one caller brought, and how it went."""

    def __init__(self, items: Sequence[Item]) -> None:
        self.items = items
        self.is_done = False
        self.error: Exception | None = None
