"""How long `freehold up` takes on data that is there, from the command to "ready"; no limit but the time wanted."""

from __future__ import annotations

import statistics

from benchmarks.figure import Figure
from benchmarks.stage import Stage

RUNS = 3


def measure(stage: Stage) -> list[Figure]:
    """Stop and start the system a few times."""
    seconds = []
    for _ in range(RUNS):
        stage.freehold("down")
        seconds.append(stage.up())
    return [Figure(name=f"warm `up`, median of {RUNS}", value=statistics.median(seconds), unit="s", wanted="8 s")]
