"""One running system, one ledger of all that was ever written to it, and what each fault cost."""

from __future__ import annotations

import itertools
import time
from types import TracebackType
from typing import Self

from tests.faults.load import Load, WriteLedger
from tests.faults.observation import Observer
from tests.faults.recovery import Recovery, Stopwatch
from tests.faults.running_system import RunningSystem
from tests.faults.waiting import wait_until

READY_LIMIT_S = 60.0
SETTLED_LIMIT_S = 60.0
WRITES_LIMIT_S = 60.0
# So many acknowledged writes of each kind are a load: entities are there to be changed.
WRITES_OF_A_LOAD = 25
SEED = 20_261_122


class Trial:
    """A system on trial.

    Args:
        system: It is up.
        seed: What makes the load the same again.
    """

    def __init__(self, system: RunningSystem, seed: int = SEED) -> None:
        self.system = system
        self.ledger = WriteLedger()
        self.observer = Observer(system)
        self.recoveries: list[Recovery] = []
        self._notes: list[str] = []
        self._loads = itertools.count(seed)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.observer.close()

    def reopen(self) -> None:
        """Look at the system anew: it was started again, perhaps at other ports."""
        self.observer.close()
        self.observer = Observer(self.system)

    def load(self) -> Load:
        """Make a load on the doors that are open now; it runs while its `with` block does."""
        return Load(self.ledger, self.system.doors(), seed=next(self._loads))

    def wait_for_writes(self) -> None:
        """Wait until so much was written from now on that the load is one."""
        since = time.monotonic()

        def few() -> str:
            counts = {kind: len(self.ledger.acknowledged_after(since, kind)) for kind in ("user", "order")}
            low = [f"{count} writes of {kind}s" for kind, count in counts.items() if count < WRITES_OF_A_LOAD]
            return ", ".join(low)

        wait_until("the load is steady", few, WRITES_LIMIT_S)

    def stopwatch(self, fault: str) -> Stopwatch:
        """Begin to measure a fault: now."""
        return Stopwatch(fault, self.ledger, self.observer)

    def keep(self, recovery: Recovery) -> None:
        """Keep what a fault cost, to be shown at the end."""
        self.recoveries.append(recovery)

    def note(self, line: str) -> None:
        """Keep a figure, to be shown at the end."""
        self._notes.append(line)

    def lines(self) -> list[str]:
        """Give all that was kept, for a person."""
        return [recovery.line() for recovery in self.recoveries] + self._notes

    def differences(self) -> list[str]:
        """Wait until all is ready and settled, then list everything that is not as clients were told."""
        self.system.wait_until_ready(READY_LIMIT_S)
        self.observer.wait_until_settled(SETTLED_LIMIT_S)
        return self.observer.differences(self.ledger)
