"""Run Freehold with a clock that is wrong: `python -m freehold.drill.clock SECONDS run ...`.

Only a drill starts a process this way. What Freehold reads from the clock (the time of events, ids, tokens) is off by so
many seconds in this process alone; nothing in production reads any of this.
"""

from __future__ import annotations

import runpy
import sys
import time
from datetime import datetime, timedelta, tzinfo
from typing import Any

from freehold.errors import ConfigurationError

NANOSECONDS = 1_000_000_000


def shift(seconds: float) -> None:
    """Let this process's clock be off by so many seconds."""
    from freehold import event

    clock: Any = time
    now, now_ns = time.time, time.time_ns
    clock.time = lambda: now() + seconds
    clock.time_ns = lambda: now_ns() + int(seconds * NANOSECONDS)

    class Shifted(datetime):
        """What `freehold.event` knows as the clock."""

        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            """Give the wrong time, as a datetime like any other."""
            return datetime.now(tz) + timedelta(seconds=seconds)

    broken: Any = event
    broken.datetime = Shifted


def main() -> None:
    """Shift the clock by the first argument, and be `freehold` with the others."""
    try:
        seconds = float(sys.argv[1])
    except (IndexError, ValueError):
        raise ConfigurationError("give the seconds by which the clock is wrong, then what follows `freehold`") from None
    shift(seconds)
    sys.argv = ["freehold", *sys.argv[2:]]
    runpy.run_module("freehold", run_name="__main__")


if __name__ == "__main__":
    main()
