"""End tasks for certain, though Python may lose a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

# A task that lost a cancellation is told again after so long; one that is tidying up behind itself has as long to be done.
AGAIN_S = 0.5
TIMES_MAX = 10


async def end_tasks(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait until they have ended, however they do.

    Once is not enough: before Python 3.12 `asyncio.wait_for` swallows a cancellation that comes in the moment in which what it
    waits for is done (python/cpython#81839), and PyMongo sends each message through it. One that goes on after TIMES_MAX is left.
    """
    left = set(tasks)
    for _ in range(TIMES_MAX):
        if not left:
            return
        for task in left:
            task.cancel()
        ended, left = await asyncio.wait(left, timeout=AGAIN_S)
        for task in ended:
            if not task.cancelled():
                task.exception()  # seen: nobody is told that it was never retrieved
