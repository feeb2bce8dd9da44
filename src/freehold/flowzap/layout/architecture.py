"""The architecture view: one component a lane, and who depends on whom, all edges between two lanes as one."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence

from freehold.flowzap.graph import Edge, Graph, Node, Side
from freehold.flowzap.layout.arrange import Arranged, Cell, Ground, Link, arrange
from freehold.flowzap.layout.captions import Crowd
from freehold.flowzap.layout.columns import columns_of
from freehold.flowzap.layout.labels import SMALL_SIZE, EdgeFace, wire_face_of
from freehold.flowzap.layout.lettering import Text, set_text
from freehold.flowzap.layout.quality import meetings
from freehold.flowzap.layout.scene import Box, Figure, Line, Piece, Scene, State
from freehold.flowzap.layout.spacing import Axis
from freehold.flowzap.overlay import Mark, Overlay

MARGIN = 20.0
NAME_SIZE = 14.5
LABELS_MAX = 3
LABEL_WIDTH_MAX = 170.0
SWEEPS = 8
TURNED_MAX = 4
TRIED_MAX = 60  # dependencies; more are laid out once
PORT_STEP = 16.0


@dataclasses.dataclass(frozen=True, slots=True)
class Dependency:
    """All edges from one lane to another, or an undeclared way."""

    source: int
    target: int
    face: EdgeFace
    state: State
    is_declared: bool = True


def architecture(graph: Graph, overlay: Overlay) -> Scene:
    """Lay the architecture view out: with its sources on the left, or some of them on the right if that crosses less."""
    dependencies = _dependencies(graph, overlay)
    # What is not declared changes nothing about where the rest stands.
    declared = [each for each in dependencies if each.is_declared]
    entered = {each.target for each in declared}
    sources = [lane for lane in range(1, len(graph.lanes)) if lane not in entered][:TURNED_MAX]
    if len(declared) > TRIED_MAX:
        sources = []
    tried: dict[tuple[int, ...], Scene] = {}
    for turned in [(), *((lane,) for lane in sources), tuple(sources)]:
        columns = _columns(graph, declared, turned)
        tried.setdefault(tuple(columns), _scene(graph, dependencies, columns, _rows(columns, declared)))
    return min(
        tried.values(), key=lambda scene: (meetings([(line.id, line.points) for line in scene.lines])[0], scene.width)
    )


def _scene(graph: Graph, dependencies: Sequence[Dependency], columns: Sequence[int], rows: Sequence[int]) -> Scene:
    names = [set_text(lane.name, NAME_SIZE, 150.0, lines_max=3, is_bold=True) for lane in graph.lanes]
    sides = [_sides(each, columns, rows) for each in dependencies]
    cells = _cells(names, columns, rows, dependencies, sides)
    links = [
        Link(each.source, each.target, *sides[place], each.face.width, each.face.height)
        for place, each in enumerate(dependencies)
    ]
    row_count, column_count = max(rows, default=0) + 1, max(columns, default=0) + 1
    room = [6.0] * (row_count + 1)
    ground = Ground(row_count, column_count, frozenset(), (MARGIN, MARGIN), room, room, is_roomy=True)
    arranged = arrange(cells, links, ground, _page_edges)
    counts = Counter(node.lane for node in graph.nodes)
    figures = []
    for place, lane in enumerate(graph.lanes):
        box, note = arranged.boxes[place], set_text(_steps(counts[lane.id]), SMALL_SIZE, 150.0)
        title = f"{lane.name}\n{_steps(counts[lane.id])}"
        figures.append(Figure(lane.id, "component", box, title, _texts(names[place], note, box), place))
    return Scene(
        "architecture",
        arranged.across.end + MARGIN,
        arranged.down.end + MARGIN,
        figures=tuple(figures),
        lines=tuple(_lines(graph, dependencies, arranged)),
    )


def _steps(count: int) -> str:
    return f"{count} step" + ("" if count == 1 else "s")


def _page_edges(across: Axis, down: Axis, boxes: Sequence[Box], crowd: Crowd) -> Sequence[tuple[int, float]]:
    """Keep labels on the page."""
    width, height = across.end + 2 * MARGIN, down.end + 2 * MARGIN
    for x, y, wide, high in (
        (0, 0, width, 2),
        (0, 0, 2, height),
        (0, height - MARGIN, width, 2),
        (width - MARGIN, 0, 2, height),
    ):
        crowd.add(Box(x, y, wide, high))
    return ()


def _dependencies(graph: Graph, overlay: Overlay) -> list[Dependency]:
    lane_of = {node.id: node.lane for node in graph.nodes}
    index = {lane.id: place for place, lane in enumerate(graph.lanes)}
    found: dict[tuple[int, int], list[int]] = {}
    for place, edge in enumerate(graph.edges):
        pair = (index[lane_of[edge.source]], index[lane_of[edge.target]])
        if pair[0] != pair[1]:
            found.setdefault(pair, []).append(place)
    dependencies = []
    for (source, target), places in found.items():
        edges = [graph.edges[place] for place in places]
        marks = [overlay.edges.get(place) for place in places]
        title = f"{graph.lanes[source].name} → {graph.lanes[target].name}"
        state, mark = _merged_mark(marks)
        face = _face(edges, title, mark)
        dependencies.append(Dependency(source, target, face, state))
    for extra in overlay.undeclared:
        if extra.source in index and extra.target in index:
            mark = Mark("undeclared", extra.caption or "undeclared")
            title = f"{graph.lanes[index[extra.source]].name} → {graph.lanes[index[extra.target]].name}"
            dependencies.append(
                Dependency(index[extra.source], index[extra.target], wire_face_of("", title, mark), "undeclared", False)
            )
    return dependencies


def _merged_mark(marks: Sequence[Mark | None]) -> tuple[State, Mark | None]:
    told = [mark for mark in marks if mark is not None]
    if not told:
        return "plain", None
    seen = [mark for mark in told if mark.state == "seen"]
    state: State = "undeclared" if any(m.state == "undeclared" for m in told) else "seen" if seen else "unseen"
    caption = seen[0].caption if len(told) == 1 and seen else f"{len(seen)} of {len(marks)} seen"
    return state, Mark("seen" if state == "plain" else state, caption)


def _face(edges: Sequence[Edge], title: str, mark: Mark | None) -> EdgeFace:
    labels = list(dict.fromkeys(edge.label for edge in edges if edge.label))
    shown = labels if len(labels) <= LABELS_MAX else labels[: LABELS_MAX - 1]
    rows: list[tuple[str, Text]] = [("label", set_text(label, 11.5, LABEL_WIDTH_MAX, lines_max=2)) for label in shown]
    rest = f"+ {len(labels) - len(shown)} more" if len(shown) < len(labels) else ""
    count = f"{len(edges)} edges" if len(edges) > 1 else ""
    note = ", ".join(each for each in (rest, count) if each)
    if note:
        rows.append(("target", set_text(note, SMALL_SIZE, LABEL_WIDTH_MAX)))
    if mark:
        rows.append(("caption", set_text(mark.caption, SMALL_SIZE, LABEL_WIDTH_MAX, lines_max=2)))
    whole = "\n".join([title, *(edge.label for edge in edges if edge.label)])
    return EdgeFace(tuple(row for row in rows if row[1].lines), whole)


def _columns(graph: Graph, dependencies: Sequence[Dependency], turned: Sequence[int]) -> list[int]:
    """Let calls run from left to right, from those turned the other way; an answer to a call does not count."""
    nodes = tuple(Node(f"n{place + 1}", "", "rectangle", lane.id) for place, lane in enumerate(graph.lanes))
    edges = []
    told: set[tuple[int, int]] = set()
    for each in dependencies:
        if (each.target, each.source) not in told and each.source != each.target:
            told.add((each.source, each.target))
            sides: tuple[Side, Side] = ("left", "right") if each.source in turned else ("right", "left")
            edges.append(Edge(f"n{each.source + 1}", f"n{each.target + 1}", "", *sides))
    return columns_of(Graph(graph.lanes, nodes, tuple(edges)))


def _rows(columns: Sequence[int], dependencies: Sequence[Dependency]) -> list[int]:
    """Order each column by where its neighbours are, to and fro, and centre it."""
    members: dict[int, list[int]] = {}
    for place, column in enumerate(columns):
        members.setdefault(column, []).append(place)
    most = max((len(each) for each in members.values()), default=1)
    place_in: dict[int, float] = {}
    for each in members.values():
        for place, member in enumerate(each):
            place_in[member] = place + (most - len(each)) // 2
    near: dict[int, list[int]] = {place: [] for place in range(len(columns))}
    for dependency in dependencies:
        if columns[dependency.source] != columns[dependency.target]:
            near[dependency.source].append(dependency.target)
            near[dependency.target].append(dependency.source)
    for sweep in range(SWEEPS):
        for column in sorted(members, reverse=sweep % 2 == 1):
            weights = {
                m: sum(place_in[n] for n in near[m]) / len(near[m]) if near[m] else place_in[m] for m in members[column]
            }
            members[column].sort(key=lambda m: (weights[m], m))
            free = most - len(members[column])
            mean = sum(weights.values()) / len(weights) - (len(weights) - 1) / 2
            top = min(max(0, round(mean)), free)
            for place, member in enumerate(members[column]):
                place_in[member] = top + place
    return [int(place_in[place]) for place in range(len(columns))]


def _sides(each: Dependency, columns: Sequence[int], rows: Sequence[int]) -> tuple[Side, Side]:
    across = columns[each.target] - columns[each.source]
    if across > 0:
        return "right", "left"
    if across < 0:
        return "left", "right"
    if each.source == each.target:
        return "right", "bottom"
    apart = rows[each.target] - rows[each.source]
    if abs(apart) > 1:
        return ("right", "right") if apart > 0 else ("left", "left")
    return ("bottom", "top") if apart > 0 else ("top", "bottom")


def _cells(
    names: Sequence[Text],
    columns: Sequence[int],
    rows: Sequence[int],
    dependencies: Sequence[Dependency],
    sides: Sequence[tuple[Side, Side]],
) -> list[Cell]:
    ports: Counter[tuple[int, Side]] = Counter()
    for each, (out, into) in zip(dependencies, sides, strict=True):
        step = round(PORT_STEP + each.face.height) if {out, into} <= {"left", "right"} else round(PORT_STEP)
        ports[each.source, out] += step
        ports[each.target, into] += step
    cells = []
    for place, name in enumerate(names):
        along = max(ports[place, "left"], ports[place, "right"]) + 12
        across = max(ports[place, "top"], ports[place, "bottom"]) + 12
        height = max(72.0, name.height + 42, along)
        cells.append(
            Cell(rows[place], columns[place], round(max(164.0, name.width + 40, across)), round(height), "component")
        )
    return cells


def _texts(name: Text, note: Text, box: Box) -> tuple[Piece, ...]:
    total = name.height + note.height + 3
    y = box.y + (box.height - total) / 2
    x = box.centre[0]
    return (
        Piece(name, Box(x - name.width / 2, y, name.width, name.height)),
        Piece(note, Box(x - note.width / 2, y + name.height + 3, note.width, note.height), "middle", "description"),
    )


def _lines(graph: Graph, dependencies: Sequence[Dependency], arranged: Arranged) -> list[Line]:
    lines = []
    for place, each in enumerate(dependencies):
        box = arranged.labels[place]
        pieces = each.face.pieces(box) if box else ()
        source, target = graph.lanes[each.source].id, graph.lanes[each.target].id
        lines.append(
            Line(f"{source}-{target}", arranged.points[place], each.face.title, source, target, pieces, each.state)
        )
    return lines
