"""Where the labels of wires go: beside their wire, on nothing else."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Sequence

from freehold.flowzap.layout.scene import Box, Point

_CELL = 80.0
AWAY = 4.0  # from the own wire
CLEAR = 2.0  # from everything else
APART = 10.0  # from other wires, if there is room: a label must not look like theirs
NOBODY = -1


class Crowd:
    """Boxes that are in the way, found by place. Strokes belong to a wire, whose own label may come nearer to them."""

    def __init__(self, boxes: Iterable[Box] = ()) -> None:
        self._cells: dict[tuple[int, int], list[tuple[Box, int]]] = {}
        for box in boxes:
            self.add(box)

    def add(self, box: Box, wire: int = NOBODY) -> None:
        """Take a box in."""
        for cell in _cells(box, 0.0):
            self._cells.setdefault(cell, []).append((box, wire))

    def is_free(self, box: Box, wire: int = NOBODY, distance: float = CLEAR) -> bool:
        """Tell whether nothing is in the way, and no other wire's stroke closer than `distance`."""
        for cell in _cells(box, max(CLEAR, distance)):
            for other, owner in self._cells.get(cell, ()):
                if box.meets(other, distance if owner not in {NOBODY, wire} else CLEAR):
                    return False
        return True


def _cells(box: Box, away: float) -> list[tuple[int, int]]:
    left, right = int((box.x - away) // _CELL), int((box.right + away) // _CELL)
    top, bottom = int((box.y - away) // _CELL), int((box.bottom + away) // _CELL)
    return [(row, column) for row in range(top, bottom + 1) for column in range(left, right + 1)]


def stroke_boxes(points: Sequence[Point]) -> list[Box]:
    """Give a wire's straight parts as thin boxes."""
    return [
        Box(min(x1, x2) - 0.5, min(y1, y2) - 0.5, abs(x1 - x2) + 1, abs(y1 - y2) + 1)
        for (x1, y1), (x2, y2) in itertools.pairwise(points)
    ]


@dataclasses.dataclass(frozen=True, slots=True)
class Caption:
    """A label to place beside a way; `home` is the straight part that made room for it."""

    width: float
    height: float
    points: tuple[Point, ...]
    home: int
    wire: int
    is_near_tail: bool = False  # a decision's outcome belongs to where it is decided


def place(caption: Caption, crowd: Crowd) -> Box | None:
    """Find the best free place beside the wire; None when there is none."""
    parts = sorted(range(len(caption.points) - 1), key=lambda part: (part != caption.home, part))
    for distance in (APART, CLEAR):
        for part in parts:
            for box in _beside(caption, part):
                if crowd.is_free(box, caption.wire, distance):
                    return box
    return None


def _beside(caption: Caption, part: int) -> Iterable[Box]:
    (x1, y1), (x2, y2) = caption.points[part], caption.points[part + 1]
    width, height = caption.width, caption.height
    is_last = part == len(caption.points) - 2
    if abs(y1 - y2) < abs(x1 - x2):
        # Not over the arrow's head, and where nothing else decides nearer to the tail.
        low, high = min(x1, x2) + 2, max(x1, x2) - 2
        if is_last:
            low, high = (low, high - 8) if x2 > x1 else (low + 8, high)
        for x in _slides(low, high - width, toward_low=x2 > x1, from_end=caption.is_near_tail):
            yield Box(x, y1 - AWAY - height, width, height)
        for x in _slides(low, high - width, toward_low=x2 > x1, from_end=caption.is_near_tail):
            yield Box(x, y1 + AWAY, width, height)
    else:
        low, high = min(y1, y2) + 2, max(y1, y2) - 2
        if is_last:
            low, high = (low, high - 8) if y2 > y1 else (low + 8, high)
        for y in _slides(low, high - height, toward_low=y2 > y1, from_end=caption.is_near_tail):
            yield Box(x1 + AWAY + 1, y, width, height)
            yield Box(x1 - AWAY - 1 - width, y, width, height)


def _slides(low: float, high: float, *, toward_low: bool, from_end: bool) -> list[float]:
    """Try the middle first, then every few points to both sides, the tail's side first; or go on from the tail."""
    if high < low:
        return []
    steps = min(24, int((high - low) / 12) + 1)
    if from_end:
        return [
            low + (high - low) * step / steps if toward_low else high - (high - low) * step / steps
            for step in range(steps + 1)
        ]
    middle = (low + high) / 2
    found = [middle]
    for step in range(1, steps + 1):
        away = (high - low) / 2 * step / steps
        found += [middle - away, middle + away] if toward_low else [middle + away, middle - away]
    return found
