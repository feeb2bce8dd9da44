"""Let one process's transactions that ask for the same copy queue here, instead of meeting at the server.

MongoDB has no shared lock: two transactions that hold the same copy conflict, and one of them runs again from its start. With
sixteen clients on one customer most of the work would be thrown away. So a transaction takes its turn before it begins:

- A turn is waited for only while the transaction has sent nothing yet; its snapshot is then taken after its predecessor's
  commit. One that asks later goes on without, and conflicts perhaps.
- What a run asked for, the next run takes beforehand, in one order for all: so nobody waits in a circle.

It is for speed alone: what is right is decided by the server, and other instances are met there.
"""

from __future__ import annotations

import asyncio
import weakref

Key = tuple[str, str]

# Longer than the predecessors need; whoever waits longer goes on without a turn.
QUEUE_LIMIT_S = 5.0


class CopyQueue:
    """The turns of one open store."""

    def __init__(self) -> None:
        self._locks: weakref.WeakValueDictionary[Key, asyncio.Lock] = weakref.WeakValueDictionary()

    def lock(self, key: Key) -> asyncio.Lock:
        """Give the key's lock; it lives as long as somebody holds it or waits for it."""
        return self._locks.setdefault(key, asyncio.Lock())


class Turn:
    """What one call of `transact` asked for in its runs, and holds in the present one."""

    def __init__(self, queue: CopyQueue) -> None:
        self._queue = queue
        self._asked: set[Key] = set()
        self._held: dict[Key, asyncio.Lock] = {}

    async def take(self) -> None:
        """Wait for all that former runs asked for; before a run."""
        for key in sorted(self._asked):
            await self._acquire(key)

    async def ask(self, key: Key, *, may_wait: bool) -> None:
        """Hold the key until the run is over; without `may_wait` only if it is free."""
        self._asked.add(key)
        if key not in self._held and (may_wait or not self._queue.lock(key).locked()):
            await self._acquire(key)

    def give_back(self) -> None:
        """Let the next ones go on; after a run."""
        for lock in self._held.values():
            lock.release()
        self._held.clear()

    async def _acquire(self, key: Key) -> None:
        lock = self._queue.lock(key)
        try:
            async with asyncio.timeout(QUEUE_LIMIT_S):
                await lock.acquire()
        except TimeoutError:
            return
        self._held[key] = lock
