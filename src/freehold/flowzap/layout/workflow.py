"""The workflow view: lanes as rows, every node and edge, edges at their stated sides, loops framed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from freehold.flowzap.graph import Graph, Loop
from freehold.flowzap.layout import captions
from freehold.flowzap.layout.arrange import Arranged, Cell, Ground, Link, arrange
from freehold.flowzap.layout.captions import Caption, Crowd
from freehold.flowzap.layout.cells import Choice, best_choice, cells_of
from freehold.flowzap.layout.labels import EdgeFace, edge_face_of, face_of, pieces_of, wire_face_of
from freehold.flowzap.layout.lettering import set_text
from freehold.flowzap.layout.scene import Band, Box, Figure, Frame, Line, Piece, Scene
from freehold.flowzap.layout.spacing import Axis
from freehold.flowzap.overlay import Mark, Overlay, Undeclared

MARGIN = 18.0
HEADER_SIZE = 13.5
HEADER_TEXT_MAX = 108.0
FRAME_AWAY = 9.0
FRAME_STEP = 3.0
FRAME_LABEL_ROOM = 22.0
PORT_STEP = 14.0
LOOP_SIGN_ROOM = 15.0
GUTTER_STEP = 16.0


def workflow(graph: Graph, overlay: Overlay) -> Scene:
    """Lay the workflow view out; where things stand follows from the diagram alone, whatever lies on it."""
    choice = best_choice(graph, lambda tried: _Workflow(graph, Overlay(), tried).scene())
    return _Workflow(graph, overlay, choice).scene()


class _Workflow:
    def __init__(self, graph: Graph, overlay: Overlay, choice: Choice) -> None:
        self.graph, self.overlay = graph, overlay
        self.index = {node.id: place for place, node in enumerate(graph.nodes)}
        cells = cells_of(graph, choice)
        self.columns, self.rows, self.heights = cells.columns, cells.rows, cells.heights
        self.first_rows = [sum(self.heights[:place]) for place in range(len(self.heights) + 1)]
        self.faces = [face_of(node, overlay.nodes.get(node.id)) for node in graph.nodes]
        self.edge_faces = [self._edge_face(place) for place in range(len(graph.edges))]
        self.names = [
            set_text(lane.name, HEADER_SIZE, HEADER_TEXT_MAX, lines_max=4, is_bold=True) for lane in graph.lanes
        ]
        self.header_width = max([64.0, *(name.width + 28 for name in self.names)])
        self.extras = [
            wire_face_of("", f"{e.source} → {e.target}", Mark("undeclared", e.caption or "undeclared"))
            for e in overlay.undeclared
        ]
        self.gutter = sum(face.width + 34 for face in self.extras)
        self.frames: list[Frame] = []
        self.runs = [self._runs(loop) for loop in graph.loops]
        self.borders = frozenset(2 * row for row in self.first_rows)

    def scene(self) -> Scene:
        """Arrange everything and name it."""
        rows, columns = max(1, self.first_rows[-1]), max(self.columns, default=0) + 1
        start = (MARGIN + self.header_width + self.gutter, MARGIN)
        above, below = self._frame_room(rows)
        ground = Ground(rows, columns, self.borders, start, above, below)
        arranged = arrange(self._cells(), self._links(), ground, self._furnish)
        beside = [label for label in arranged.labels if label] + [f.label.box for f in self.frames if f.label]
        right = max([arranged.across.end + 4, *(box.right + 12 for box in beside)])
        bands = self._bands(arranged.down, right)
        lines = [*self._lines(arranged), *self._extra_lines(bands)]
        bottom = bands[-1].box.bottom if bands else MARGIN
        return Scene(
            "workflow",
            right + MARGIN,
            bottom + MARGIN,
            bands=tuple(bands),
            figures=tuple(self._figures(arranged)),
            lines=tuple(lines),
            frames=tuple(self.frames),
        )

    def _edge_face(self, place: int) -> EdgeFace:
        edge = self.graph.edges[place]
        nodes = self.graph.nodes
        ends = (nodes[self.index[edge.source]], nodes[self.index[edge.target]])
        return edge_face_of(
            edge, (ends[0].label or ends[0].id, ends[1].label or ends[1].id), self.overlay.edges.get(place)
        )

    def _cells(self) -> list[Cell]:
        """Give every node its cell, large enough for what leaves and enters at each side."""
        ports: Counter[tuple[str, str]] = Counter()
        for edge in self.graph.edges:
            ports[edge.source, edge.source_side] += 1
            ports[edge.target, edge.target_side] += 1
        cells = []
        for place, node in enumerate(self.graph.nodes):
            across = PORT_STEP * max(ports[node.id, "top"], ports[node.id, "bottom"])
            along = PORT_STEP * max(ports[node.id, "left"], ports[node.id, "right"])
            stretch = 2.0 if node.shape == "diamond" else 1.0
            face = self.faces[place]
            width, height = max(face.width, across * stretch + 8), max(face.height, along * stretch + 8)
            cells.append(Cell(self.rows[place], self.columns[place], round(width), round(height), node.shape))
        return cells

    def _links(self) -> list[Link]:
        return [
            Link(
                self.index[edge.source],
                self.index[edge.target],
                edge.source_side,
                edge.target_side,
                face.width,
                face.height,
            )
            for edge, face in zip(self.graph.edges, self.edge_faces, strict=True)
        ]

    def _frame_room(self, rows: int) -> tuple[list[float], list[float]]:
        above, below = [0.0] * (rows + 1), [0.0] * (rows + 1)
        for runs in self.runs:
            for number, run in enumerate(runs):
                first, last = min(self.rows[m] for m in run), max(self.rows[m] for m in run)
                below[first] = max(below[first], FRAME_LABEL_ROOM if number == 0 else 8.0)
                above[last + 1] = max(above[last + 1], 8.0)
        return above, below

    def _runs(self, loop: Loop) -> list[list[int]]:
        """Give all members if nobody else stands among them; otherwise the runs of neighbours in each row, the first member's first."""
        members = [self.index[node] for node in dict.fromkeys(loop.nodes) if node in self.index]
        if not members:
            return []
        inside, rows, columns = set(members), [self.rows[m] for m in members], [self.columns[m] for m in members]
        strangers = [
            place
            for place in range(len(self.rows))
            if place not in inside
            and min(rows) <= self.rows[place] <= max(rows)
            and min(columns) <= self.columns[place] <= max(columns)
        ]
        if not strangers:
            return [members]
        runs: list[list[int]] = []
        for member in sorted(members, key=lambda m: (self.rows[m], self.columns[m])):
            last = runs[-1][-1] if runs else member
            between = any(
                self.rows[p] == self.rows[member] and self.columns[last] < self.columns[p] < self.columns[member]
                for p in strangers
            )
            if runs and self.rows[last] == self.rows[member] and not between:
                runs[-1].append(member)
            else:
                runs.append([member])
        return sorted(runs, key=lambda run: members[0] not in run)

    def _furnish(self, across: Axis, down: Axis, boxes: Sequence[Box], crowd: Crowd) -> list[tuple[int, float]]:
        """Lay loop frames, and say where headers, borders and frames are."""
        for line in self.borders:
            crowd.add(Box(0, down.borders.get(line, down.end) - 0.5, across.end + MARGIN, 1))
        crowd.add(Box(MARGIN, MARGIN, self.header_width + self.gutter + 4, down.end))
        self.frames = []
        outlines = [
            [self._around(run, across, down, FRAME_AWAY + FRAME_STEP * (depth % 3)) for run in runs]
            for depth, runs in enumerate(self.runs)
        ]
        for outline in outlines:
            for box in outline:
                for stroke in captions.stroke_boxes(
                    [(box.x, box.y), (box.right, box.y), (box.right, box.bottom), (box.x, box.bottom), (box.x, box.y)]
                ):
                    crowd.add(stroke)
        narrow = []
        for loop, outline, runs in zip(self.graph.loops, outlines, self.runs, strict=True):
            if outline:
                frame, is_free = _titled(loop, outline, crowd)
                self.frames.append(frame)
                if not is_free:
                    column = self.columns[runs[0][-1]]
                    narrow.append((column, across.sizes[column] + outline[0].width / 2))
        return narrow

    def _around(self, run: Sequence[int], across: Axis, down: Axis, away: float) -> Box:
        columns, rows = [self.columns[m] for m in run], [self.rows[m] for m in run]
        left, right = across.span(min(columns))[0] - away, across.span(max(columns))[1] + away
        top, bottom = down.span(min(rows))[0] - away, down.span(max(rows))[1] + away
        return Box(left, top, right - left, bottom - top)

    def _bands(self, down: Axis, right: float) -> list[Band]:
        bands = []
        for place, lane in enumerate(self.graph.lanes):
            top = down.borders[2 * self.first_rows[place]]
            bottom = down.borders[2 * self.first_rows[place + 1]]
            box = Box(MARGIN, top, right - MARGIN, bottom - top)
            header = Box(MARGIN, top, self.header_width, bottom - top)
            name, (x, y) = self.names[place], header.centre
            piece = Piece(
                name, Box(x - name.width / 2 + 2, y - name.height / 2, name.width, name.height), "middle", "lane"
            )
            bands.append(Band(lane.id, box, header, lane.name, piece, place))
        return bands

    def _figures(self, arranged: Arranged) -> list[Figure]:
        lanes = {lane.id: place for place, lane in enumerate(self.graph.lanes)}
        figures = []
        for node, face, box in zip(self.graph.nodes, self.faces, arranged.boxes, strict=True):
            mark = self.overlay.nodes.get(node.id)
            state = mark.state if mark else "plain"
            figures.append(Figure(node.id, node.shape, box, face.title, pieces_of(face, box), lanes[node.lane], state))
        return figures

    def _lines(self, arranged: Arranged) -> list[Line]:
        lines = []
        for place, (edge, face) in enumerate(zip(self.graph.edges, self.edge_faces, strict=True)):
            mark, box = self.overlay.edges.get(place), arranged.labels[place]
            pieces = face.pieces(box) if box else ()
            lines.append(
                Line(
                    str(place),
                    arranged.points[place],
                    face.title,
                    edge.source,
                    edge.target,
                    pieces,
                    mark.state if mark else "plain",
                )
            )
        return lines

    def _extra_lines(self, bands: Sequence[Band]) -> list[Line]:
        """Draw what was seen but not declared as red wires from header to header, each in a gutter of its own."""
        ends = _gutter_ends(self.overlay.undeclared, {band.id: band for band in bands})
        lines: list[Line] = []
        crowd = Crowd()
        left = x = MARGIN + self.header_width
        routed: list[tuple[tuple[float, float], ...]] = []
        for place, (end, face) in enumerate(zip(ends, self.extras, strict=True)):
            x += 22
            routed.append(((left, end[0]), (x, end[0]), (x, end[1]), (left, end[1])) if end else ())
            x += face.width + 12
            for stroke in captions.stroke_boxes(routed[-1]):
                crowd.add(stroke, place)
        for place, (extra, face, points) in enumerate(zip(self.overlay.undeclared, self.extras, routed, strict=True)):
            box = captions.place(Caption(face.width, face.height, points, 1, place), crowd) if points else None
            if box is None and points:
                box = Box(points[1][0] + 5, (points[1][1] + points[2][1] - face.height) / 2, face.width, face.height)
            if points and box:
                crowd.add(box)
                lines.append(
                    Line(
                        f"undeclared-{place}",
                        points,
                        face.title,
                        extra.source,
                        extra.target,
                        face.pieces(box),
                        "undeclared",
                    )
                )
        return lines


def _gutter_ends(extras: Sequence[Undeclared], bands: dict[str, Band]) -> list[tuple[float, float] | None]:
    """Give each undeclared way its own height at the headers of its lanes, where it leaves and where it enters."""
    known = [extra.source in bands and extra.target in bands for extra in extras]
    at: dict[str, list[int]] = {}
    for place, extra in enumerate(extras):
        if known[place]:
            at.setdefault(extra.source, []).append(2 * place)
            at.setdefault(extra.target, []).append(2 * place + 1)
    heights: dict[int, float] = {}
    for lane, ends in at.items():
        header = bands[lane].header
        step = min(GUTTER_STEP, header.height / (len(ends) + 1))
        for number, end in enumerate(ends):
            heights[end] = header.centre[1] + (number - (len(ends) - 1) / 2) * step
    return [(heights[2 * k], heights[2 * k + 1]) if known[k] else None for k in range(len(extras))]


def _titled(loop: Loop, outline: list[Box], crowd: Crowd) -> tuple[Frame, bool]:
    """Find a place on top of a frame (or below it) that no wire crosses."""
    text = set_text(loop.condition or "loop", 11.0, 260.0, lines_max=1, is_bold=True)
    width = text.width + LOOP_SIGN_ROOM
    spots = [
        (frame.x + 2 + 6 * step, y)
        for frame in outline
        for y in (frame.y - text.height - 3, frame.bottom + 3)
        for step in range(max(1, int((frame.width - 4) / 6)))
    ]
    for x, y in spots:
        is_free = crowd.is_free(Box(x, y, width, text.height))
        if is_free:
            break
    else:
        x, y = spots[0]
    crowd.add(Box(x, y, width, text.height))
    box = Box(x + LOOP_SIGN_ROOM, y, text.width, text.height)
    return Frame(tuple(outline), f"loop: {loop.condition}", Piece(text, box, "start", "loop")), is_free
