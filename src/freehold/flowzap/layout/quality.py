"""What can be counted of how good a picture is: tests hold it, the benchmark prints it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

from freehold.flowzap.layout.captions import stroke_boxes
from freehold.flowzap.layout.scene import Box, Point, Scene

Segment = tuple[Point, Point]


@dataclasses.dataclass(frozen=True, slots=True)
class Quality:
    """Counts of one picture; `faults` names each thing that lies on another."""

    nodes: int
    edges: int
    crossings: int
    bends: int
    area: float
    through_nodes: tuple[str, ...]
    shared: tuple[str, ...]
    covered: tuple[str, ...]
    outside: tuple[str, ...]

    @property
    def faults(self) -> tuple[str, ...]:
        """Give everything that must not be."""
        return (*self.through_nodes, *self.shared, *self.covered, *self.outside)


def quality_of(scene: Scene) -> Quality:
    """Measure a picture."""
    ways = [(line.id, line.points) for line in scene.lines]
    crossings, shared = meetings(ways)
    return Quality(
        nodes=len(scene.figures),
        edges=len(scene.lines),
        crossings=crossings,
        bends=sum(max(0, len(_without_repeats(line.points)) - 2) for line in scene.lines),
        area=scene.width * scene.height,
        through_nodes=tuple(_through_nodes(scene)),
        shared=tuple(shared),
        covered=tuple(_covered(scene)),
        outside=tuple(_outside(scene)),
    )


def meetings(ways: Sequence[tuple[str, Sequence[Point]]]) -> tuple[int, list[str]]:
    """Count where two ways cross, and name those that run on top of one another."""
    parts = [(name, part) for name, points in ways for part in itertools.pairwise(_without_repeats(points))]
    crossings, shared = 0, []
    for (one, first), (other, second) in itertools.combinations(parts, 2):
        if one == other or not _near(first, second):
            continue
        if _is_upright(first) != _is_upright(second):
            crossings += _cross(first, second)
        elif _run_together(first, second):
            shared.append(f"edges {one} and {other} run on one another")
    return crossings, shared


def _near(one: Segment, other: Segment) -> bool:
    (ax, ay), (bx, by) = one
    (cx, cy), (dx, dy) = other
    return (
        min(ax, bx) <= max(cx, dx)
        and min(cx, dx) <= max(ax, bx)
        and min(ay, by) <= max(cy, dy)
        and min(cy, dy) <= max(ay, by)
    )


def _is_upright(part: Segment) -> bool:
    return abs(part[0][0] - part[1][0]) < abs(part[0][1] - part[1][1])


def _cross(one: Segment, other: Segment) -> bool:
    upright, flat = (one, other) if _is_upright(one) else (other, one)
    x, y = upright[0][0], flat[0][1]
    return (
        min(flat[0][0], flat[1][0]) + 0.5 < x < max(flat[0][0], flat[1][0]) - 0.5
        and min(upright[0][1], upright[1][1]) + 0.5 < y < max(upright[0][1], upright[1][1]) - 0.5
    )


def _run_together(one: Segment, other: Segment) -> bool:
    axis = 1 if _is_upright(one) else 0
    if abs(one[0][1 - axis] - other[0][1 - axis]) > 1.0:
        return False
    low = max(min(one[0][axis], one[1][axis]), min(other[0][axis], other[1][axis]))
    high = min(max(one[0][axis], one[1][axis]), max(other[0][axis], other[1][axis]))
    return high - low > 1.0


def _through_nodes(scene: Scene) -> Iterator[str]:
    for line in scene.lines:
        for stroke in stroke_boxes(line.points):
            for figure in scene.figures:
                if figure.id in {line.source, line.target} or (
                    figure.shape in {"circle", "decision", "note"} and scene.view == "sequence"
                ):
                    continue
                if stroke.meets(figure.box):
                    yield f"edge {line.id} runs through {figure.id}"


def _labels(scene: Scene) -> Iterator[tuple[str, Box]]:
    for line in scene.lines:
        for piece in line.labels:
            yield f"label of edge {line.id} ({' '.join(piece.text.lines)})", piece.box
    for frame in scene.frames:
        if frame.label:
            yield f"label of the loop ({' '.join(frame.label.text.lines)})", frame.label.box


def _covered(scene: Scene) -> Iterator[str]:
    labels = list(_labels(scene))
    for (one, box), (other, second) in itertools.combinations(labels, 2):
        if box.meets(second):
            yield f"{one} lies on {other}"
    others = list(_obstacles(scene))
    for name, box in labels:
        for other, second in others:
            if box.meets(second):
                yield f"{name} lies on {other}"


def _obstacles(scene: Scene) -> Iterator[tuple[str, Box]]:
    for line in scene.lines:
        for stroke in stroke_boxes(line.points):
            yield f"edge {line.id}", stroke
    for figure in scene.figures:
        yield f"node {figure.id}", figure.box
    for _, bar in scene.bars:
        yield "an activation", bar
    for band in scene.bands:
        # A header where there are rows, the line itself where lanes are lifelines.
        yield f"lane {band.id}", band.header


def _outside(scene: Scene) -> Iterator[str]:
    page = Box(0.0, 0.0, scene.width, scene.height)
    boxes = [(f"node {figure.id}", figure.box) for figure in scene.figures] + list(_labels(scene))
    boxes += [(f"edge {line.id}", stroke) for line in scene.lines for stroke in stroke_boxes(line.points)]
    for name, box in boxes:
        if box.x < page.x or box.y < page.y or box.right > page.right or box.bottom > page.bottom:
            yield f"{name} is outside the picture"


def _without_repeats(points: Sequence[Point]) -> list[Point]:
    kept = [points[0]]
    for point in points[1:]:
        if abs(point[0] - kept[-1][0]) + abs(point[1] - kept[-1][1]) > 0.01:
            kept.append(point)
    return kept


def texts_outside(scene: Scene) -> list[str]:
    """Name the texts that do not fit into their own node."""
    return [
        f"text of {figure.id}"
        for figure in scene.figures
        for piece in figure.pieces
        if piece.box.x < figure.box.x
        or piece.box.right > figure.box.right
        or piece.box.y < figure.box.y
        or piece.box.bottom > figure.box.bottom
    ]


__all__ = ["Quality", "meetings", "quality_of", "texts_outside"]
