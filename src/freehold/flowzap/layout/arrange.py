"""Boxes in the cells of a grid, wires between them, labels beside the wires: the whole of a grid view's geometry."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

from freehold.flowzap.graph import Side
from freehold.flowzap.layout import captions
from freehold.flowzap.layout.captions import Caption, Crowd
from freehold.flowzap.layout.routes import Wire, routes_of
from freehold.flowzap.layout.scene import Box, Point
from freehold.flowzap.layout.spacing import Axis, Reach, Room, axis, spread
from freehold.flowzap.layout.tracks import Stretch, stretches_of

SIDE_ROOM = 22.0
LEVEL_ROOM = 17.0
OUTER_ROOM = 6.0
ROUNDS_MAX = 8
PADS_FROM = 3  # rounds that only widen the ends of wires come first
PORT_MARGIN = 9.0
ARROW = 9.0


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """A box with its place in the grid."""

    row: int
    column: int
    width: float
    height: float
    shape: str


@dataclasses.dataclass(frozen=True, slots=True)
class Link:
    """A wire between two cells (by their numbers), with the size of its label."""

    source: int
    target: int
    source_side: Side
    target_side: Side
    width: float = 0.0
    height: float = 0.0


@dataclasses.dataclass(frozen=True, slots=True)
class Ground:
    """What is given of the grid before anything is placed."""

    rows: int
    columns: int
    borders: frozenset[int]  # row lines where a lane begins
    start: Point
    above: Sequence[float]  # extra room of each row channel, above the wires and below them
    below: Sequence[float]
    is_roomy: bool = False  # every port keeps room for its label


@dataclasses.dataclass(frozen=True, slots=True)
class Arranged:
    """Where everything went. A label is None only for a wire without one; `is_forced` names those that found no free room."""

    boxes: tuple[Box, ...]
    points: tuple[tuple[Point, ...], ...]
    labels: tuple[Box | None, ...]
    forced: tuple[int, ...]
    across: Axis
    down: Axis


# Gives what found no room: a column, and how wide it would have to be.
Furnish = Callable[[Axis, Axis, Sequence[Box], Crowd], Sequence[tuple[int, float]]]


def arrange(cells: Sequence[Cell], links: Sequence[Link], ground: Ground, furnish: Furnish) -> Arranged:
    """Place everything.

    Args:
        cells: No two in one place.
        links: In the order in which they matter.
        ground: The grid.
        furnish: Told of each attempt, to say what else is in the way of labels.
    """
    return _Arrangement(cells, links, ground).settle(furnish)


class _Arrangement:
    def __init__(self, cells: Sequence[Cell], links: Sequence[Link], ground: Ground) -> None:
        self.cells, self.links, self.ground = cells, links, ground
        self.widths = [max([0.0, *(c.width for c in cells if c.column == k)]) or 40.0 for k in range(ground.columns)]
        heights: list[float] = [0.0] * ground.rows
        for cell in cells:
            heights[cell.row] = max(heights[cell.row], cell.height)
        self.heights = [height or 40.0 for height in heights]
        wires = [
            Wire(
                (cells[e.source].row, cells[e.source].column),
                (cells[e.target].row, cells[e.target].column),
                e.source_side,
                e.target_side,
            )
            for e in links
        ]
        self.cut = stretches_of(routes_of(wires, [(c.row, c.column) for c in cells], (ground.rows, ground.columns)))
        sides = [SIDE_ROOM] * ground.columns
        self.side_room = Room([OUTER_ROOM, *sides], [*sides, OUTER_ROOM])
        self.level_room = Room([LEVEL_ROOM + x for x in ground.above], [LEVEL_ROOM + x for x in ground.below])
        self.level_room.before[0] = self.level_room.after[-1] = 1.0
        self.homes = [self._home(place) for place in range(len(links))]
        self.reaches = spread(self.cut, self._limit, ground.borders)

    def settle(self, furnish: Furnish) -> Arranged:
        """Lay out, place labels, and widen what was too narrow, until all labels have room."""
        for attempt in range(ROUNDS_MAX):
            across = axis(
                self.widths, self.side_room, self._reaches(is_across=False), frozenset(), self.ground.start[0]
            )
            down = axis(
                self.heights, self.level_room, self._reaches(is_across=True), self.ground.borders, self.ground.start[1]
            )
            boxes = [self._box(cell, across, down) for cell in self.cells]
            points = [self._points(place, across, down, boxes) for place in range(len(self.links))]
            crowd = Crowd(boxes)
            for wire, line in enumerate(points):
                for stroke in captions.stroke_boxes(line):
                    crowd.add(stroke, wire)
            narrow = furnish(across, down, boxes, crowd)
            labels, failed = self._labels(points, crowd)
            if not failed and not narrow:
                break
            if attempt < ROUNDS_MAX - 1:
                for column, width in narrow:
                    self.widths[column] = max(self.widths[column], width)
                for place in failed:
                    self._ask_for_room(place, attempt)
                if attempt >= PADS_FROM:
                    self._pad(failed)
        for place in failed:
            labels[place] = self._somewhere(place, points[place])
        return Arranged(tuple(boxes), tuple(points), tuple(labels), tuple(failed), across, down)

    def _reaches(self, *, is_across: bool) -> dict[int, Reach]:
        return {line: reach for (found, line), reach in self.reaches.items() if found == is_across}

    def _box(self, cell: Cell, across: Axis, down: Axis) -> Box:
        x, y = across.middles[2 * cell.column + 1], down.middles[2 * cell.row + 1]
        return Box(x - cell.width / 2, y - cell.height / 2, cell.width, cell.height)

    def _points(self, place: int, across: Axis, down: Axis, boxes: Sequence[Box]) -> tuple[Point, ...]:
        link, cut = self.links[place], self.cut[place]
        at = [(down if each.is_across else across).middles[each.line] + each.offset for each in cut]
        points = [outline(boxes[link.source], self.cells[link.source].shape, link.source_side, at[0])]
        for one, other, here, there in zip(cut, cut[1:], at, at[1:], strict=False):
            assert one.is_across != other.is_across
            points.append((there, here) if one.is_across else (here, there))
        points.append(outline(boxes[link.target], self.cells[link.target].shape, link.target_side, at[-1]))
        return tuple(points)

    def _limit(self, stretch: Stretch) -> float:
        """Tell how far from the middle of its sides this stretch may meet its boxes."""
        link = self.links[stretch.wire]
        ends = [link.source] * (stretch.place == 0) + [link.target] * (stretch.place == len(self.cut[stretch.wire]) - 1)
        return min(port_room(self.cells[end], is_across=stretch.is_across) / 2 for end in ends)

    def _home(self, place: int) -> int:
        """Choose the part of a wire that its label will lie beside, and make room there."""
        link = self.links[place]
        if not link.width:
            return 0
        fitting = [s for s in self.cut[place] if s.is_across and self._about(s) >= link.width + 16]
        inner = [s for s in fitting if not (s.line % 2 and len(self.cut[place]) == 1)] or fitting
        if inner:
            home = inner[0]
            if home.line % 2 == 0 or self.ground.is_roomy:
                home.pad = max(home.pad, link.height - 3)
            return home.place
        self._ask_for_room(place, 0)
        if self.ground.is_roomy and self.cut[place][0].is_across:
            self.cut[place][0].pad = link.height - 3
        return 0

    def _about(self, stretch: Stretch) -> float:
        """Estimate the length of a part that runs across, before there are coordinates."""
        total = 0.0
        for half in range(int(stretch.low * 2), int(stretch.high * 2)):
            line = (half + 1) // 2
            total += (self.widths[line // 2] if line % 2 else 2 * SIDE_ROOM) / 2
        return total - ARROW

    def _ask_for_room(self, place: int, attempt: int) -> None:
        """Widen the channel where the wire leaves its box, then the one where it enters the other, then both."""
        link = self.links[place]
        grow = 1.0 + 0.35 * max(0, attempt - 2)
        for is_tail in (True, False):
            if attempt < 2 and is_tail != (attempt == 0):
                continue
            cell = self.cells[link.source if is_tail else link.target]
            side = link.source_side if is_tail else link.target_side
            if side in {"left", "right"}:
                spare = (self.widths[cell.column] - cell.width) / 2
                wanted = link.width * grow + 14 + (0 if is_tail and len(self.cut[place]) > 1 else ARROW) - spare
                rooms = self.side_room.before if side == "right" else self.side_room.after
                if attempt:
                    self.heights[cell.row] = max(self.heights[cell.row], 2 * (link.height + captions.AWAY + 5))
                channel = cell.column + (side == "right")
            else:
                spare = (self.heights[cell.row] - cell.height) / 2
                wanted = link.height * grow + 10 + (0 if is_tail and len(self.cut[place]) > 1 else ARROW) - spare
                rooms = self.level_room.before if side == "bottom" else self.level_room.after
                if attempt > 1:
                    self.widths[cell.column] = max(self.widths[cell.column], 2 * (link.width + captions.AWAY + 5))
                channel = cell.row + (side == "bottom")
            rooms[channel] = max(rooms[channel], wanted)

    def _pad(self, failed: Sequence[int]) -> None:
        """Keep the neighbours of a part in a channel away: beside the longest there is room then."""
        for place in failed:
            link = self.links[place]
            inner = [each for each in self.cut[place] if each.line % 2 == 0]
            for each in sorted(inner, key=lambda each: each.low - each.high)[:1]:
                each.pad = max(each.pad, (link.height if each.is_across else link.width) + 2)
        self.reaches = spread(self.cut, self._limit, self.ground.borders)

    def _labels(self, points: Sequence[tuple[Point, ...]], crowd: Crowd) -> tuple[list[Box | None], list[int]]:
        labels: list[Box | None] = [None] * len(self.links)
        failed = []
        for place, link in enumerate(self.links):
            if link.width:
                found = captions.place(
                    Caption(
                        link.width,
                        link.height,
                        points[place],
                        self.homes[place],
                        place,
                        self.cells[link.source].shape == "diamond",
                    ),
                    crowd,
                )
                labels[place] = found
                if found is None:
                    failed.append(place)
                else:
                    crowd.add(found)
        return labels, failed

    def _somewhere(self, place: int, points: Sequence[Point]) -> Box:
        link = self.links[place]
        (x1, y1), (x2, y2) = points[0], points[1]
        return Box((x1 + x2 - link.width) / 2, (y1 + y2 - link.height) / 2, link.width, link.height)


def port_room(cell: Cell, *, is_across: bool) -> float:
    """Give the length of a side that ports may use."""
    length = cell.height if is_across else cell.width
    if cell.shape == "diamond":
        return length * 0.42
    if cell.shape == "circle":
        return length - PORT_MARGIN * 2 if is_across else max(8.0, length - cell.height * 0.8)
    return length - PORT_MARGIN * 2


def outline(box: Box, shape: str, side: Side, at: float) -> Point:
    """Give where a wire at that coordinate meets the shape's outline."""
    x, y = box.centre
    is_across = side in {"left", "right"}
    away = at - (y if is_across else x)
    half_here, half_there = (box.height / 2, box.width / 2) if is_across else (box.width / 2, box.height / 2)
    inset = 0.0
    if shape == "diamond":
        inset = min(1.0, abs(away) / half_here) * half_there
    elif shape == "circle":
        radius = box.height / 2
        beyond = abs(away) if is_across else max(0.0, abs(away) - (box.width / 2 - radius))
        inset = radius - math.sqrt(max(0.0, radius**2 - min(beyond, radius) ** 2))
    reach = half_there - inset
    if is_across:
        return (x + reach, at) if side == "right" else (x - reach, at)
    return (at, y + reach) if side == "bottom" else (at, y - reach)
