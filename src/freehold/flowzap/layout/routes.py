"""The way of each wire over the grid.

Lines of the grid: between the rows and through their middles, between the columns and through theirs. Line 0 is the
channel before the first row or column, line 1 the middle of that row or column, and so on; a box occupies the one
point where the middles of its row and column meet. A wire steps off its box at the stated side, and finds its way by A*
over points and directions: length, bends, crossings and company on the same line all cost.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
from collections.abc import Sequence

from freehold.flowzap.graph import Side

Spot = tuple[int, int]  # row line, column line

_LEFT, _RIGHT, _UP, _DOWN = range(4)
_DELTA = ((0, -1), (0, 1), (-1, 0), (1, 0))
_OUT: dict[Side, int] = {"left": _LEFT, "right": _RIGHT, "top": _UP, "bottom": _DOWN}
_BACK = (_RIGHT, _LEFT, _DOWN, _UP)
_STEP_COST = (3.0, 3.0, 2.0, 2.0)
_BEND = 8.0
_CROSSING = 10.0
_TURNING = 1.0
_BEND_IN_COMPANY = 0.6
_COMPANY_IN_CHANNEL = 0.4
_COMPANY_IN_CELL = 7.0
_CELL = 0.3
TRIED_MAX = 4_000  # points looked at for one wire; beyond it the plainest way along the channels is taken
TRIED_TOTAL = 60_000  # and for all, which bounds the time for large and tangled diagrams


@dataclasses.dataclass(frozen=True, slots=True)
class Wire:
    """What to connect: cells by (row, column), and the sides."""

    source: Spot
    target: Spot
    source_side: Side
    target_side: Side


def routes_of(wires: Sequence[Wire], boxes: Sequence[Spot], size: Spot) -> list[list[Spot]]:
    """Find the corners of each wire, its boxes' own points first and last; a turn on the spot repeats its point."""
    search = _Search(boxes, size)
    routes: list[list[Spot]] = [[] for _ in wires]
    order = sorted(range(len(wires)), key=lambda place: (_reach(wires[place]), place))
    for place in order:
        routes[place] = search.find(wires[place])
        search.count(routes[place], 1)
    # A second look: what was laid early did not know what came after.
    for place in order:
        if search.left <= TRIED_TOTAL / 3:
            break
        search.count(routes[place], -1)
        routes[place] = search.find(wires[place])
        search.count(routes[place], 1)
    return [corners(route) for route in routes]


def _reach(wire: Wire) -> int:
    return abs(wire.source[0] - wire.target[0]) * 2 + abs(wire.source[1] - wire.target[1]) * 2


class _Search:
    def __init__(self, boxes: Sequence[Spot], size: Spot) -> None:
        self.height, self.width = 2 * size[0] + 1, 2 * size[1] + 1
        count = self.height * self.width
        self.is_box = bytearray(count)
        for row, column in boxes:
            self.is_box[(2 * row + 1) * self.width + 2 * column + 1] = 1
        self.across = [0] * count  # wires that pass a point left to right
        self.along = [0] * count  # and up and down
        self.left = TRIED_TOTAL
        self.turning = [0] * count  # and those that turn there: often one can keep clear of them
        self.shift = (-1, 1, -self.width, self.width)

    def find(self, wire: Wire) -> list[Spot]:
        start = (2 * wire.source[0] + 1, 2 * wire.source[1] + 1)
        end = (2 * wire.target[0] + 1, 2 * wire.target[1] + 1)
        out = _OUT[wire.source_side]
        into = _BACK[_OUT[wire.target_side]]
        first = (start[0] + _DELTA[out][0], start[1] + _DELTA[out][1])
        last = (end[0] - _DELTA[into][0], end[1] - _DELTA[into][1])
        if first == last and into == _BACK[out]:
            return [start, first, first, end]
        way = self._between(first, out, last, into) or self._along_channels(first, out, last, into)
        return [start, *way, end]

    def _between(self, first: Spot, out: int, last: Spot, into: int) -> list[Spot]:
        """Find the best way; nothing when that took too long."""
        width = self.width
        goal = last[0] * width + last[1]
        goal_row, goal_column = last
        begin = first[0] * width + first[1]
        best = {begin * 4 + out: 0.0}
        came: dict[int, int] = {}
        queue = [(0.0, 0.0, begin * 4 + out)]
        tried = 0
        while queue:
            _, so_far, state = heapq.heappop(queue)
            if so_far > best.get(state, so_far) + 1e-9:
                continue
            point, direction = state >> 2, state & 3
            if state == goal * 4 + into:
                self.left -= tried
                return self._walk(state, came)
            tried += 1
            if tried > min(TRIED_MAX, self.left):
                break
            for turn in range(4):
                if turn == _BACK[direction]:
                    continue
                price = self._price(point, direction, turn)
                # At the last point the bend towards the box takes no step.
                there = point if point == goal and turn == into != direction else self._step(point, turn)
                if there < 0:
                    continue
                price += self._step_price(point, there, turn) if there != point else 0.0
                reached = there * 4 + turn
                total = so_far + price
                if total < best.get(reached, 1e18) - 1e-9:
                    best[reached] = total
                    came[reached] = state
                    row, column = divmod(there, width)
                    rest = 2.0 * abs(row - goal_row) + 3.0 * abs(column - goal_column)
                    if (row != goal_row and reached & 3 < 2) or (column != goal_column and reached & 3 > 1):
                        rest += _BEND
                    heapq.heappush(queue, (total + rest, total, reached))
        self.left -= tried
        return []

    def _along_channels(self, first: Spot, out: int, last: Spot, into: int) -> list[Spot]:
        """Choose among the few ways that keep to the channels, where no box can be in the way."""
        ways = []
        for near, far in itertools.product(self._crossings(first), self._crossings(last)):
            for middle in ((near[0], far[1]), (far[0], near[1])):
                way = _filled([first, near, middle, far, last])
                if way is not None:
                    ways.append((self._cost(way, out, into), way))
        return min(ways)[1]

    def _crossings(self, spot: Spot) -> list[Spot]:
        """Give the crossings of channels beside a spot."""
        row, column = spot
        if row % 2:
            return [(row - 1, column), (row + 1, column)]
        if column % 2:
            return [(row, column - 1), (row, column + 1)]
        return [spot]

    def _cost(self, way: Sequence[Spot], out: int, into: int) -> float:
        total, direction = 0.0, out
        for here, there in itertools.pairwise(way):
            turn = _turn_to(here, there)
            point = here[0] * self.width + here[1]
            total += self._price(point, direction, turn)
            total += self._step_price(point, there[0] * self.width + there[1], turn)
            direction = turn
        return total + (_BEND if direction != into else 0.0)

    def _step(self, point: int, turn: int) -> int:
        column = point % self.width
        if (turn == _LEFT and column == 0) or (turn == _RIGHT and column == self.width - 1):
            return -1
        there = point + self.shift[turn]
        if there < 0 or there >= len(self.is_box) or self.is_box[there]:
            return -1
        return there

    def _price(self, point: int, direction: int, turn: int) -> float:
        if turn != direction:
            return _BEND + _BEND_IN_COMPANY * (self.across[point] + self.along[point] + self.turning[point])
        return _CROSSING * (self.along[point] if turn < 2 else self.across[point]) + _TURNING * self.turning[point]

    def _step_price(self, point: int, there: int, turn: int) -> float:
        row, column = divmod(there, self.width)
        line = row if turn < 2 else column
        ways, turning = (self.across if turn < 2 else self.along), self.turning
        company = min(ways[point] + turning[point], ways[there] + turning[there])
        if line % 2:
            return _STEP_COST[turn] + _CELL + _COMPANY_IN_CELL * company
        return _STEP_COST[turn] + _COMPANY_IN_CHANNEL * company

    def _walk(self, state: int, came: dict[int, int]) -> list[Spot]:
        spots = [divmod(state >> 2, self.width)]
        while state in came:
            state = came[state]
            spot = divmod(state >> 2, self.width)
            if spot != spots[-1]:
                spots.append(spot)
        return spots[::-1]

    def count(self, route: Sequence[Spot], by: int) -> None:
        """Note (or forget) that a wire lies there; its corners count by themselves."""
        for before, here, after in zip(route, route[1:], route[2:], strict=False):
            point = here[0] * self.width + here[1]
            if before[0] == here[0] == after[0]:
                self.across[point] += by
            elif before[1] == here[1] == after[1]:
                self.along[point] += by
            else:
                self.turning[point] += by


def _filled(stops: Sequence[Spot]) -> list[Spot] | None:
    """Give every point on the way; None when it would turn back on itself."""
    way = [stops[0]]
    for stop in stops[1:]:
        while way[-1] != stop:
            row, column = way[-1]
            step_row, step_column = (stop[0] > row) - (stop[0] < row), (stop[1] > column) - (stop[1] < column)
            way.append((row + step_row, column) if step_row else (row, column + step_column))
    return way if len(set(way)) == len(way) else None


def _turn_to(here: Spot, there: Spot) -> int:
    return _DELTA.index((there[0] - here[0], there[1] - here[1]))


def corners(route: Sequence[Spot]) -> list[Spot]:
    """Leave out the points where a wire just goes on."""
    kept = [route[0]]
    for before, here, after in zip(route, route[1:], route[2:], strict=False):
        goes_on = before[0] == here[0] == after[0] or before[1] == here[1] == after[1]
        if not goes_on or here in {before, after}:
            kept.append(here)
    kept.append(route[-1])
    return kept
