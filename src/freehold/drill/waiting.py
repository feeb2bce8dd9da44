"""Wait for a condition that has a name, with a limit; what is unmet is said with what was last seen of it."""

from __future__ import annotations

import time
from collections.abc import Callable

from freehold.errors import DrillError

POLL_S = 0.02


def wait_until(what: str, unmet: Callable[[], str], limit_s: float) -> float:
    """Wait until `unmet` has nothing more to say.

    Args:
        what: The condition, for the message.
        unmet: Says what is still missing; empty when the condition is met.
        limit_s: For how long to wait at most.

    Returns:
        The moment at which it was met, by the monotonic clock.

    Raises:
        DrillError: It was not met within the limit.
    """
    limit = time.monotonic() + limit_s
    while True:
        missing = unmet()
        if not missing:
            return time.monotonic()
        if time.monotonic() > limit:
            raise DrillError(f"after {limit_s:g} s not so: {what}; {missing}")
        time.sleep(POLL_S)
