"""What a drill found, as data: faults by kind, how long each was felt, and what is not as clients were told."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Mapping, Sequence

import msgspec

from freehold.drill.observed import Difference

# Which of the four numbers a kind of difference counts for: what is there and nobody asked for is a second effect.
COUNTED = {
    "lost": "lost",
    "stale": "lost",
    "surviving": "lost",
    "unfound": "lost",
    "doubled": "twice",
    "ghost": "twice",
    "reordered": "out_of_order",
}
DIFFERENCES_KEPT_MAX = 1_000


class Recovery(msgspec.Struct, frozen=True):
    """How long one kind of fault was felt, in milliseconds, over `count` times."""

    p50: float
    max: float
    count: int


class Report(msgspec.Struct, kw_only=True):
    """The outcome of one drill.

    Attributes:
        seed: Replays it.
        faults: By kind, how often each was done.
        recovery_ms: By kind, how long it took until a write made afterwards had gone all the way.
        lost, twice, out_of_order, stuck: What is not as it was promised; all are 0, or the drill has failed.
        system, kills, minutes, writes, comparisons, commit: What was drilled, how much, for how long.
        differences: The first of what was found, each in words.
        history: Of the first entity that broke: its writes, its events, its rows and copies.
        unmet: What the system did not come to, when it is stuck.
    """

    seed: int
    faults: Mapping[str, int]
    recovery_ms: Mapping[str, Recovery]
    lost: int = 0
    twice: int = 0
    out_of_order: int = 0
    stuck: int = 0
    system: str = ""
    kills: int = 0
    minutes: float = 0.0
    writes: Mapping[str, int] = {}
    comparisons: int = 0
    commit: str = ""
    differences: Sequence[str] = ()
    history: Sequence[str] = ()
    unmet: Sequence[str] = ()

    @property
    def holds(self) -> bool:
        """Tell whether nothing was lost, doubled, out of order or stuck."""
        return not (self.lost or self.twice or self.out_of_order or self.stuck)


def count_differences(differences: Sequence[Difference]) -> dict[str, int]:
    """Count what was found by the four words of a report."""
    found = Counter(COUNTED[each.kind] for each in differences)
    return {word: found[word] for word in ("lost", "twice", "out_of_order")}


def summarise(recovered_s: Mapping[str, Sequence[float]]) -> dict[str, Recovery]:
    """Give median and worst of each kind of fault."""
    return {
        fault: Recovery(round(statistics.median(each) * 1000, 1), round(max(each) * 1000, 1), len(each))
        for fault, each in sorted(recovered_s.items())
        if each
    }
