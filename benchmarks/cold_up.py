"""How long the first `freehold up` takes with all packages there: clusters made, replica set and roles set up."""

from __future__ import annotations

from benchmarks.figure import Figure
from benchmarks.stage import Stage


def measure(stage: Stage) -> list[Figure]:
    """Delete the data and start the system."""
    stage.freehold("down")
    stage.freehold("reset", "--yes")
    return [Figure(name="cold `up`, packages there", value=stage.up(), unit="s")]
