"""From lines of the grid to coordinates: how far apart wires lie, how wide each channel, row and column is."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence

from freehold.flowzap.layout.tracks import Stretch, by_line, in_order, overlaps

GAP = 12.0
_BORDER = -1


@dataclasses.dataclass(slots=True)
class Room:
    """The free room at the two sides of each channel, between the boxes and the first wire."""

    before: list[float]
    after: list[float]


@dataclasses.dataclass(frozen=True, slots=True)
class Axis:
    """Coordinates in one direction: the middles of all grid lines, the size of each row or column, borders, the end."""

    middles: tuple[float, ...]
    sizes: tuple[float, ...]
    borders: Mapping[int, float]
    end: float

    def span(self, cell: int) -> tuple[float, float]:
        """Give where a row or column begins and ends."""
        middle, half = self.middles[2 * cell + 1], self.sizes[cell] / 2
        return middle - half, middle + half


@dataclasses.dataclass(frozen=True, slots=True)
class Reach:
    """How far the wires of a channel lie before and after its middle, and where a border lies among them."""

    before: float = 0.0
    after: float = 0.0
    border: float = 0.0


def spread(
    cut: Sequence[Sequence[Stretch]], limit: Callable[[Stretch], float], borders: frozenset[int]
) -> dict[tuple[bool, int], Reach]:
    """Give every stretch its offset; `limit` is how far a port may lie from its side's middle.

    Args:
        cut: The stretches of all wires.
        limit: For a stretch at a box.
        borders: Row lines in which a lane begins: no wire lies on the border.

    Returns:
        What each channel needs, by (is across, line).
    """
    reaches: dict[tuple[bool, int], Reach] = {}
    for (is_across, line), stretches in by_line(cut).items():
        ordered = in_order(stretches, cut)
        if line % 2:
            for cluster in _clusters(stretches):
                _spread_in_cells([each for each in ordered if each in cluster], limit)
        else:
            reaches[is_across, line] = _spread_in_channel(ordered, has_border=is_across and line in borders)
    return reaches


def axis(
    sizes: Sequence[float], room: Room, reaches: Mapping[int, Reach], borders: frozenset[int], start: float
) -> Axis:
    """Lay channels and cells one after the other.

    Args:
        sizes: Of the rows or columns.
        room: At the sides of the channels, one channel more than cells.
        reaches: By channel line.
        borders: Lines with a border.
        start: Where channel 0 begins.
    """
    middles: list[float] = []
    places: dict[int, float] = {}
    cursor = start
    for channel in range(len(sizes) + 1):
        reach = reaches.get(2 * channel, Reach())
        middle = cursor + room.before[channel] + reach.before
        middles.append(middle)
        if 2 * channel in borders:
            places[2 * channel] = middle + reach.border
        cursor = middle + reach.after + room.after[channel]
        if channel < len(sizes):
            middles.append(cursor + sizes[channel] / 2)
            cursor += sizes[channel]
    return Axis(tuple(middles), tuple(sizes), places, cursor)


def _levels(ordered: Sequence[Stretch]) -> dict[Stretch, float]:
    """Put each between what must lie before it and what must lie after it, with a gap and the room of its label."""
    rank = {stretch: place for place, stretch in enumerate(ordered)}
    pairs = []
    for one, other in overlaps(sorted(ordered, key=lambda each: (each.low, each.high, each.wire, each.place))):
        pairs.append((one, other) if rank[one] < rank[other] else (other, one))
    pairs.sort(key=lambda pair: rank[pair[0]])
    ahead, behind = dict.fromkeys(ordered, 0.0), dict.fromkeys(ordered, 0.0)
    for first, second in sorted(pairs, key=lambda pair: rank[pair[1]]):
        ahead[second] = max(ahead[second], ahead[first] + GAP + second.pad)
    for first, second in reversed(pairs):
        behind[first] = max(behind[first], behind[second] + GAP + second.pad)
    return {stretch: (ahead[stretch] - behind[stretch]) / 2 for stretch in ordered}


def _spread_in_channel(ordered: list[Stretch], *, has_border: bool) -> Reach:
    border = Stretch(_BORDER, 0, True, 0, float("-inf"), float("inf"), 0, 0)
    if has_border:
        upper = [1 if each.low_turn + each.high_turn < 0 else -1 for each in ordered]
        best = max(range(len(ordered) + 1), key=lambda place: sum(upper[:place]) - sum(upper[place:]))
        ordered = [*ordered[:best], border, *ordered[best:]]
    levels = _levels(ordered)
    for stretch, level in levels.items():
        stretch.offset = level
    return Reach(
        before=max([0.0, *(each.pad - level for each, level in levels.items())]),
        after=max([0.0, *levels.values()]),
        border=border.offset,
    )


def _clusters(stretches: Sequence[Stretch]) -> list[set[Stretch]]:
    clusters: list[set[Stretch]] = []
    end = float("-inf")
    for stretch in stretches:
        if stretch.low > end:
            clusters.append(set())
        clusters[-1].add(stretch)
        end = max(end, stretch.high)
    return clusters


def _spread_in_cells(ordered: Sequence[Stretch], limit: Callable[[Stretch], float]) -> None:
    """Keep straight wires on the middle of their boxes and every port within its side."""
    levels = _levels(ordered)
    straight = [level for each, level in levels.items() if each.low_turn == each.high_turn == 0]
    wanted = -(min(straight) + max(straight)) / 2 if straight else 0.0
    limits = {each: limit(each) for each in ordered if each.is_port}
    least = max((-bound - levels[each] for each, bound in limits.items()), default=-1e9)
    most = min((bound - levels[each] for each, bound in limits.items()), default=1e9)
    if least <= most:
        shift, share = min(max(wanted, least), most), 1.0
    else:
        shift = 0.0
        share = min([1.0, *(bound / abs(levels[each]) for each, bound in limits.items() if levels[each])])
    for each, level in levels.items():
        each.offset = (level + shift) * share


def running_total(numbers: Sequence[float]) -> list[float]:
    """Give the sums of the first, the first two, ... numbers, from 0 on."""
    return [0.0, *itertools.accumulate(numbers)]
