"""One drill from its first fault to its report."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Mapping

from freehold.drill import faults, poison, renew, slot, tamper
from freehold.drill.history import history_of
from freehold.drill.observed import Difference
from freehold.drill.report import DIFFERENCES_KEPT_MAX, Report, count_differences, summarise
from freehold.drill.schedule import Choice, Schedule
from freehold.drill.stage import Missed
from freehold.drill.trial import Steps, Trial
from freehold.drill.waiting import POLL_S
from freehold.errors import DrillError

# Comparing costs a rest of some seconds; what breaks is found with fewer faults that may have caused it.
COMPARE_EVERY_FAULTS = 80
SHOW_EVERY_S = 0.25
DONE_BY: Mapping[str, Callable[[Trial, str], Steps]] = {
    "kill": faults.kill,
    "zombie": faults.replace_consumers,
    "repeat": faults.repeat,
    "clock": faults.shift_clock,
    "poison": poison.poison,
    "tamper": tamper.tamper,
    "drop slot": slot.drop_slot,
    "replace slot": slot.replace_slot,
    "forget": faults.forget,
    "renew": renew.renew,
}
# Begun when nothing is on its way: what was not read yet would be lost by the fault itself.
AT_REST = {"renew"}


@dataclasses.dataclass(frozen=True)
class Extent:
    """How long a drill goes on: until so many kills or so many minutes, whichever comes first."""

    kills: int
    minutes: float


@dataclasses.dataclass
class Progress:
    """How far a drill is, for whoever watches."""

    faults: int = 0
    kills: int = 0
    kills_wanted: int = 0
    elapsed_s: float = 0.0
    writes: int = 0
    comparisons: int = 0
    now: str = ""


@dataclasses.dataclass
class _Open:
    """A fault that goes on."""

    choice: Choice
    steps: Steps


class Drill:
    """Does faults by a schedule to a trial, several at once, and compares now and then.

    Args:
        trial: A system that is up.
        schedule: Chooses the faults.
        extent: How long it goes on.
        show: Told how far it is, a few times a second.
    """

    def __init__(self, trial: Trial, schedule: Schedule, extent: Extent, show: Callable[[Progress], None]) -> None:
        self._trial = trial
        self._schedule = schedule
        self._extent = extent
        self._show = show
        self._open: list[_Open] = []
        self._due: Choice | None = None
        self._begun_at = time.monotonic()
        self._shown_at = 0.0
        self._next_at = 0.0
        self._comparisons = 0
        self._differences: list[Difference] = []
        self._unmet: list[str] = []

    def run(self) -> None:
        """Go on until the extent is reached or something is found; never raises what a system does wrong."""
        try:
            with self._trial.load() as load:
                self._trial.wait_for_writes()
                while self._open or not self._is_over():
                    self._round()
                    with load.rest():
                        self._compare()
                        self._begin_due()
        except DrillError as error:
            self._unmet.append(str(error))
        finally:
            for each in self._open:
                each.steps.close()  # type: ignore[attr-defined]  # a fault is a generator: what it stopped goes on

    def report(self, seed: int, commit: str = "") -> Report:
        """Say what came of it."""
        trial = self._trial
        first = next((each.key for each in self._differences if each.key), "")
        return Report(
            seed=seed,
            faults=dict(sorted(trial.counts.items())),
            recovery_ms=summarise(trial.recovered_s),
            **count_differences(self._differences),
            stuck=len(self._unmet),
            system=trial.workload.system.name,
            kills=trial.kill_count,
            minutes=round((time.monotonic() - self._begun_at) / 60, 2),
            writes=trial.ledger.outcomes(),
            comparisons=self._comparisons,
            commit=commit,
            differences=[str(each) for each in self._differences[:DIFFERENCES_KEPT_MAX]],
            history=history_of(first, trial.ledger, trial.observer) if first else [],
            unmet=self._unmet,
        )

    def _is_over(self) -> bool:
        is_late = time.monotonic() - self._begun_at > self._extent.minutes * 60
        return bool(self._differences) or is_late or self._trial.kill_count >= self._extent.kills

    def _round(self) -> None:
        """Do faults until it is time to compare or one needs a rest, and let all of them come to their end."""
        until = self._trial.counts.total() + COMPARE_EVERY_FAULTS
        while not self._is_over() and self._due is None and self._trial.counts.total() < until:
            self._begin_next()
            self._step()
        while self._open:
            self._step()
        for victim in sorted(each for each, copies in self._trial.tampered.items() if copies):
            self._tell("repairing what was tampered with", is_due=True)
            self._trial.go_through(tamper.repair(self._trial, victim))

    def _begin_next(self) -> None:
        if time.monotonic() < self._next_at:
            return
        choice = self._schedule.next({each.choice.victim for each in self._open})
        self._next_at = time.monotonic() + self._schedule.gap_s()
        if choice is not None and choice.action in AT_REST:
            self._due = choice
            return
        if choice is None:
            return
        process = self._trial.stage.status().get(choice.victim)
        if process is not None and process.pid is None:
            return
        for each in [each for each in self._open if each.choice.victim == choice.victim]:
            # It dies again in the midst of its recovery, which is then measured from here on.
            each.steps.close()  # type: ignore[attr-defined]
            self._open.remove(each)
        self._open.append(_Open(choice, begin(self._trial, choice)))

    def _begin_due(self) -> None:
        """Begin what waited for the load to rest; it goes on with the next round."""
        choice, self._due = self._due, None
        if choice is None or self._is_over():
            return
        self._tell(f"{choice.action} {choice.victim}", is_due=True)
        steps = begin(self._trial, choice)
        with contextlib.suppress(Missed):
            next(steps)
            self._open.append(_Open(choice, steps))

    def _step(self) -> None:
        """Let each open fault go on a step."""
        for each in list(self._open):
            try:
                next(each.steps)
            except (StopIteration, Missed):
                self._open.remove(each)
        self._tell("")
        time.sleep(POLL_S)

    def _compare(self) -> None:
        self._tell("comparing", is_due=True)
        self._differences = self._trial.differences()
        self._comparisons += 1

    def _tell(self, now: str, *, is_due: bool = False) -> None:
        if not is_due and time.monotonic() < self._shown_at + SHOW_EVERY_S:
            return
        self._shown_at = time.monotonic()
        self._show(
            Progress(
                faults=self._trial.counts.total(),
                kills=self._trial.kill_count,
                kills_wanted=self._extent.kills,
                elapsed_s=time.monotonic() - self._begun_at,
                writes=len(self._trial.ledger),
                comparisons=self._comparisons,
                now=now or ", ".join(f"{each.choice.action} {each.choice.victim}" for each in self._open),
            )
        )


def begin(trial: Trial, choice: Choice) -> Steps:
    """Begin a fault."""
    if choice.action == "stop":
        return faults.stop(trial, choice.victim, choice.seconds)
    return DONE_BY[choice.action](trial, choice.victim)
