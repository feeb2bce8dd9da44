"""One running system on trial: its load, the ledger of all that was ever written to it, and what each fault cost."""

from __future__ import annotations

import itertools
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Self

from freehold.drill.load import WRITES_PER_S, Doors, Load
from freehold.drill.observation import Observer
from freehold.drill.observed import Difference
from freehold.drill.recovery import Stopwatch, legs_of
from freehold.drill.stage import Stage
from freehold.drill.tampering import Tampered
from freehold.drill.waiting import POLL_S, wait_until
from freehold.drill.workload import Workload
from freehold.drill.writes import WriteLedger
from freehold.errors import DrillError

# Generous: what is stuck is stuck for ever, and a machine that others use too is slow.
READY_LIMIT_S = 300.0
SETTLED_LIMIT_S = 300.0
WRITES_LIMIT_S = 60.0
RECOVERED_LIMIT_S = 300.0
# So many acknowledged writes of each kind are a load: entities are there to be changed.
WRITES_OF_A_LOAD = 25

Steps = Iterator[None]
"""A fault as it goes on: it is asked again and again for its next step, and ends when the system has recovered."""


class Trial:
    """A system on trial.

    Args:
        stage: It is up.
        workload: How its clients write, and what is compared.
        seed: What makes the load the same again.
        writes_per_s: How many writes in all, as far as answers come in time.

    Attributes:
        tampered: By victim, the copies that were tampered with and that no audit has looked at since.
        renewed: The topics that were made anew, and whose readers' copies are not rebuilt yet.
        unfound: What was tampered with and no audit has named.
    """

    def __init__(self, stage: Stage, workload: Workload, *, seed: int, writes_per_s: float = WRITES_PER_S) -> None:
        self.stage = stage
        self.workload = workload
        self.ledger = WriteLedger()
        self.observer = Observer(stage, workload)
        self.recovered_s: dict[str, list[float]] = defaultdict(list)
        self.counts: Counter[str] = Counter()
        self.kill_count = 0
        self.tampered: dict[str, list[Tampered]] = defaultdict(list)
        self.renewed: set[str] = set()
        self.unfound: list[Difference] = []
        self.doors: Doors = {}
        self._loads = itertools.count()
        self._seed = seed
        self._writes_per_s = writes_per_s

    def __enter__(self) -> Self:
        self.observer.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.observer.__exit__()

    def reopen(self) -> None:
        """Look at the system anew: it was started again, perhaps at other ports."""
        self.observer.__exit__()
        self.observer = Observer(self.stage, self.workload, self.observer.tail.past).__enter__()

    def load(self) -> Load:
        """Make a load on the doors that are open now; it runs while its `with` block does."""
        seed = f"{self._seed}/{next(self._loads)}"
        self.doors = self.stage.doors()
        return Load(self.ledger, self.doors, self.workload.visitor, seed=seed, writes_per_s=self._writes_per_s)

    def wait_for_writes(self, count: int = WRITES_OF_A_LOAD) -> None:
        """Wait until so much was written of each kind from now on that the load is one.

        Raises:
            DrillError: It was not within WRITES_LIMIT_S.
        """
        since, kinds = time.monotonic(), self.written()

        def few() -> str:
            counts = {kind: len(self.ledger.acknowledged_after(since, kind)) for kind in kinds}
            return ", ".join(f"{found} writes of {kind}s" for kind, found in counts.items() if found < count)

        wait_until("the load is steady", few, WRITES_LIMIT_S)

    def chance(self) -> random.Random:
        """Give chance for one fault: the seed's, and another one for each."""
        return random.Random(f"{self._seed}/{self.counts.total()}")  # noqa: S311 - the same again is the point

    def written(self) -> list[str]:
        """Name the kinds of entities that clients write."""
        told = {effects.tells for effects in self.workload.effects}
        return sorted(self.observer.owners.keys() - told)

    def recovery(self, fault: str, *victims: str, limit_s: float = RECOVERED_LIMIT_S) -> Steps:
        """Go on until a write that is made from now on has gone all the way through the victims; note how long it took.

        Raises:
            DrillError: It did not within `limit_s`.
        """
        legs = legs_of(victims, self.stage, self.observer, self.written())
        stopwatch = Stopwatch(legs, self.ledger)
        # Whom no client's write goes through is there again when it says so itself.
        while missing := stopwatch.missing() if legs else self.stage.silent(victims[0]):
            if stopwatch.elapsed_s > limit_s:
                raise DrillError(f"{fault}: not recovered after {limit_s:g} s: {missing}")
            yield
        self.recovered_s[fault].append(stopwatch.elapsed_s)

    def go_through(self, steps: Steps) -> None:
        """Let one fault go on to its end, alone."""
        for _ in steps:
            time.sleep(POLL_S)

    def differences(self) -> list[Difference]:
        """Wait until all is ready and settled, then list everything that is not as clients were told.

        Raises:
            DrillError: It did not become so.
        """
        self.stage.wait_until_ready(READY_LIMIT_S)
        self.observer.wait_until_settled(SETTLED_LIMIT_S)
        return self.unfound + self.observer.differences(self.ledger)
