"""Which wire lies beside which where they share a line, so that they cross only where they must.

A wire's way is cut into stretches, one for each straight part, each on one line of the grid. Two stretches that overlap
on a line are told apart by walking along both wires to where they part: the one that turns off to the left lies on the
left. Where the two ends of the common way disagree, one crossing cannot be helped.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

from freehold.flowzap.layout.routes import Spot

WALK_MAX = 64  # corners of one wire


@dataclasses.dataclass(eq=False, slots=True)
class Stretch:
    """A straight part of a wire. `low` and `high` are in half steps of the crossing lines; ends at boxes stop short."""

    wire: int
    place: int
    is_across: bool
    line: int
    low: float
    high: float
    low_turn: int  # where it goes on at that end: -1 up or left, 1 down or right, 0 into a box
    high_turn: int
    offset: float = 0.0  # from the middle of its line; tracks give it
    pad: float = 0.0  # room for a label before it

    @property
    def is_port(self) -> bool:
        """Tell whether it touches a box."""
        return self.low_turn == 0 or self.high_turn == 0


def stretches_of(routes: Sequence[Sequence[Spot]]) -> list[list[Stretch]]:
    """Cut each wire into its stretches, tail first."""
    return [_cut(wire, route) for wire, route in enumerate(routes)]


def _cut(wire: int, route: Sequence[Spot]) -> list[Stretch]:
    cut: list[Stretch] = []
    last = len(route) - 2
    is_across = route[0][0] == route[1][0]
    for place, (start, end) in enumerate(itertools.pairwise(route)):
        axis = 1 if is_across else 0
        before = 0 if place == 0 else _turn(route[place - 1][1 - axis], start[1 - axis], -1)
        after = 0 if place == last else _turn(route[place + 2][1 - axis], end[1 - axis], 1)
        low, high, low_turn, high_turn = float(start[axis]), float(end[axis]), before, after
        if low > high:
            low, high, low_turn, high_turn = high, low, high_turn, low_turn
        low += 0.5 * (low_turn == 0 and high > low)
        high -= 0.5 * (high_turn == 0 and high > low)
        cut.append(Stretch(wire, place, is_across, start[1 - axis], low, high, low_turn, high_turn))
        is_across = not is_across
    return cut


def _turn(there: int, here: int, otherwise: int) -> int:
    return (there > here) - (there < here) or otherwise


def by_line(cut: Sequence[Sequence[Stretch]]) -> dict[tuple[bool, int], list[Stretch]]:
    """Gather the stretches of each line, across or along, in order of where they begin."""
    lines: dict[tuple[bool, int], list[Stretch]] = {}
    for stretches in cut:
        for stretch in stretches:
            lines.setdefault((stretch.is_across, stretch.line), []).append(stretch)
    for stretches in lines.values():
        stretches.sort(key=lambda each: (each.low, each.high, each.wire, each.place))
    return dict(sorted(lines.items()))


def overlaps(stretches: Sequence[Stretch]) -> Iterator[tuple[Stretch, Stretch]]:
    """Find the pairs that share a part of their line, if only a point; `stretches` in order of `low`."""
    open_ones: list[Stretch] = []
    for stretch in stretches:
        open_ones = [each for each in open_ones if each.high >= stretch.low]
        for each in open_ones:
            yield each, stretch
        open_ones.append(stretch)


def in_order(stretches: Sequence[Stretch], cut: Sequence[Sequence[Stretch]]) -> list[Stretch]:
    """Sort the stretches of a line from the first side (above, left) to the other; overlapping pairs as they part."""
    after: dict[Stretch, list[Stretch]] = {stretch: [] for stretch in stretches}
    waits = dict.fromkeys(stretches, 0)
    for one, other in overlaps(stretches):
        first, second = (one, other) if _comes_first(one, other, cut) else (other, one)
        after[first].append(second)
        waits[second] += 1
    ordered: list[Stretch] = []
    left = sorted(stretches, key=lambda each: (each.wire, each.place))
    while left:
        # Where the wishes go in a circle, the first of those that wait least goes on.
        least = min(waits[each] for each in left)
        chosen = next(each for each in left if waits[each] == least)
        left.remove(chosen)
        ordered.append(chosen)
        for each in after[chosen]:
            waits[each] -= 1
    return ordered


def _comes_first(one: Stretch, other: Stretch, cut: Sequence[Sequence[Stretch]]) -> bool:
    ends = [_parting(one, other, cut, at_high=at_high) for at_high in (True, False)]
    for told, *_ in ends:
        if told:
            return told < 0
    # They never part. The first of the two lies first where it begins, which decides for all the rest of the way.
    first = one if (one.wire, one.place) < (other.wire, other.place) else other
    for _, sign, end_one, end_other in ends:
        if (end_one if first is one else end_other).place == 0:
            return (sign > 0) == (first is one)
    return first is one


def _parting(
    one: Stretch, other: Stretch, cut: Sequence[Sequence[Stretch]], *, at_high: bool
) -> tuple[int, int, Stretch, Stretch]:
    """Walk to where the two part beyond that end.

    Returns:
        -1 when `one` belongs first, 1 when `other` does, 0 when they never part; whether (1) or not (-1) what lies first
        there lies first here; and the stretches where the walk ended.
    """
    sign = 1
    for _ in range(WALK_MAX):
        end_one, end_other = (one.high, other.high) if at_high else (-one.low, -other.low)
        turn_one, turn_other = (one.high_turn, other.high_turn) if at_high else (one.low_turn, other.low_turn)
        if end_one < end_other:
            return sign * turn_one, sign, one, other
        if end_other < end_one:
            return -sign * turn_other, sign, one, other
        if turn_one != turn_other:
            return sign * (-1 if turn_one < turn_other else 1), sign, one, other
        if turn_one == 0:
            return 0, sign, one, other
        sign *= -turn_one if at_high else turn_one
        one, other = _next(one, cut, at_high=at_high), _next(other, cut, at_high=at_high)
        at_high = turn_one > 0
    return 0, sign, one, other


def _next(stretch: Stretch, cut: Sequence[Sequence[Stretch]], *, at_high: bool) -> Stretch:
    """Give the stretch that goes on at that end."""
    line = cut[stretch.wire]
    before = line[stretch.place - 1] if stretch.place else None
    after = line[stretch.place + 1] if stretch.place + 1 < len(line) else None
    end = stretch.high if at_high else stretch.low
    if before is None or after is None:
        found = before or after
        assert found is not None
        return found
    # Both neighbours lie on crossing lines; the one at this end has this end's number.
    return after if after.line == end else before
