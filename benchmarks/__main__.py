"""Run the published benchmarks: `python -m benchmarks [--long] [--json FILE] [NAME ...]`."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import json
import signal
import sys
import time
from pathlib import Path

from rich.console import Console

from benchmarks.figure import Figure, machine, show
from benchmarks.stage import Stage

SHORT = ("write_with_event", "event_latency", "backlog", "warm_up", "drawing")
LONG = ("memory", "cold_up", "audit")


def main() -> None:
    """Measure what was asked for, show it as a table and write it as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(SHORT + LONG)}; all short ones when none is named")
    parser.add_argument("--long", action="store_true", help=f"the long ones: {', '.join(LONG)}")
    parser.add_argument("--json", type=Path, default=Path(".freehold") / "bench.json", help="where the data goes")
    asked = parser.parse_args()
    console = Console(width=140)
    started = time.perf_counter()
    figures: list[Figure] = []
    # Else the servers would outlive a benchmark that is ended.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    with Stage() as stage:
        for name in asked.names or (LONG if asked.long else SHORT):
            console.print(f"[dim]measuring {name} ...[/dim]")
            figures += importlib.import_module(f"benchmarks.{name}").measure(stage)
    show(figures, console)
    console.print(f"[dim]{machine()}, {time.perf_counter() - started:.0f} s, data in {asked.json}[/dim]")
    asked.json.parent.mkdir(parents=True, exist_ok=True)
    rows = [{**dataclasses.asdict(figure), "ratio": figure.ratio} for figure in figures]
    asked.json.write_text(json.dumps({"machine": machine(), "figures": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
