"""Wait for a named condition, with a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

LIMIT_S = 30.0
LOOK_AGAIN_S = 0.01


async def until(condition: Callable[[], bool], what: str, state: Callable[[], object] = str) -> None:
    """Return as soon as it is met.

    Args:
        condition: Whether it is.
        what: What is waited for, in words.
        state: What is there instead, told when it is not met in time.
    """
    try:
        async with asyncio.timeout(LIMIT_S):
            while not condition():  # noqa: ASYNC110 -- what is waited for is another thread's
                await asyncio.sleep(LOOK_AGAIN_S)
    except TimeoutError:
        raise AssertionError(f"not within {LIMIT_S} s: {what}; {state()}") from None
