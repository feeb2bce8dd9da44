"""Kill at random, for as long as one likes: `python -m tests.faults.soak --kills 1000 --seed 7`.

The same harness as the tests, with the choices left to a seed: which processes, how many at once, and when. After every
few kills the load rests and everything is compared. Prints the seed first, and ends with the figures.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

from tests.faults.observed import Outcome
from tests.faults.recovery import Recovery
from tests.faults.running_system import RunningSystem
from tests.faults.trial import Trial

VICTIMS = {"users": 4, "orders": 4, "gateway": 1, "postgres": 3, "mongo": 3, "kafka": 2}
# Now and then several die together, or one dies again in the midst of its recovery.
AT_ONCE = {1: 7, 2: 2, 3: 1}
AGAIN_SHARE = 0.3
AGAIN_WITHIN_S = 3.0
COMPARE_EVERY_KILLS = 20
READY_LIMIT_S = 120.0


class Soak:
    """One run: its seed decides everything that is ours to decide.

    Args:
        trial: A system that is up.
        chance: Seeded.
    """

    def __init__(self, trial: Trial, chance: random.Random) -> None:
        self.trial = trial
        self.kill_counts: Counter[str] = Counter()
        self._chance = chance

    @property
    def kill_count(self) -> int:
        """Give the number of kills so far."""
        return self.kill_counts.total()

    def run_round(self, kills: int) -> list[str]:
        """Kill so often under load, then compare; gives the differences."""
        until = self.kill_count + kills
        with self.trial.load():
            while self.kill_count < until:
                self.trial.wait_for_writes()
                self._fault()
        self.trial.system.wait_until_ready(READY_LIMIT_S)
        return self.trial.differences()

    def _fault(self) -> None:
        [count] = self._chance.choices(list(AT_ONCE), weights=list(AT_ONCE.values()))
        names: list[str] = []
        while len(names) < count:
            [name] = self._chance.choices(list(VICTIMS), weights=list(VICTIMS.values()))
            if name not in names:
                names.append(name)
        again = self._chance.choice(names) if self._chance.random() < AGAIN_SHARE else ""
        stopwatch = self.trial.stopwatch("kill -9 of " + ", ".join(names) + (f", {again} again" if again else ""))
        for name in names:
            self._kill(name)
        if again:
            # Not a wait for anything: the second kill is to fall wherever it falls.
            time.sleep(self._chance.random() * AGAIN_WITHIN_S)
            self._kill(again)
        self.trial.keep(stopwatch.wait_until_recovered())
        print(f"{self.kill_count:5}  {self.trial.recoveries[-1].line()}", flush=True)
        self.trial.system.wait_until_ready(READY_LIMIT_S)

    def _kill(self, name: str) -> None:
        pid = self.trial.system.status()[name].pid
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
                self.kill_counts[name] += 1


def main(arguments: Sequence[str]) -> int:
    """Run it; 1 when anything was lost, doubled or made up."""
    options = parse(arguments)
    print(f"seed {options.seed}, {options.kills} kills, at most {options.minutes:g} minutes", flush=True)
    directory = Path(options.directory or tempfile.mkdtemp(prefix="freehold-soak-"))
    directory.mkdir(parents=True, exist_ok=True)
    system = RunningSystem(directory)
    stop_at = time.monotonic() + options.minutes * 60
    found: list[str] = []
    try:
        system.up()
        with Trial(system, seed=options.seed) as trial:
            soak = Soak(trial, random.Random(options.seed))  # noqa: S311 - the same again is the point
            while soak.kill_count < options.kills and time.monotonic() < stop_at and not found:
                try:
                    found = soak.run_round(min(COMPARE_EVERY_KILLS, options.kills - soak.kill_count))
                except AssertionError as unmet:
                    found = [f"not recovered: {unmet}"]
                print(f"{soak.kill_count:5}  compared: {len(found)} differences", flush=True)
            report(soak, found)
    finally:
        system.down()
    print("\n".join(found) or "nothing lost, nothing twice")
    print(f"data and logs: {directory}")
    return 1 if found else 0


def report(soak: Soak, found: list[str]) -> None:
    """Print the figures, as a table and as one line of JSON."""
    by_fault: dict[str, list[Recovery]] = defaultdict(list)
    for recovery in soak.trial.recoveries:
        by_fault[recovery.fault].append(recovery)
    for fault, recoveries in sorted(by_fault.items(), key=lambda each: -len(each[1]))[: len(VICTIMS) * 2]:
        caught_up = [recovery.caught_up_s for recovery in recoveries]
        print(
            f"{fault:<58} {len(recoveries):4} times   caught up after {statistics.median(caught_up):5.2f} s (median), "
            f"{max(caught_up):5.2f} s (worst)"
        )
    all_caught_up = [recovery.caught_up_s for recovery in soak.trial.recoveries] or [0.0]
    outcomes = Counter(write.outcome for write in soak.trial.ledger.writes)
    figures = {
        "kills": dict(soak.kill_counts),
        "writes": {outcome.value: outcomes[outcome] for outcome in Outcome},
        "caught_up_s_median": round(statistics.median(all_caught_up), 2),
        "caught_up_s_max": round(max(all_caught_up), 2),
        "differences": len(found),
    }
    print(json.dumps(figures))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__)
    parser.add_argument("--kills", type=int, default=1_000, help="processes to kill in all")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000), help="what decides")
    parser.add_argument("--minutes", type=float, default=24 * 60, help="begin no round after so long")
    parser.add_argument("--directory", help="where the data and logs lie; kept")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
