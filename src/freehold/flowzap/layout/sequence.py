"""The sequence view: a lifeline a lane, a message an edge, from top to bottom in the order in which they happen.

What a message brings about stands under its head; starts, ends and decisions stand on their lifeline. A way out of a
decision says its guard in brackets. Labels lie between two lifelines, never on one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Literal

from freehold.flowzap.graph import Graph, Node
from freehold.flowzap.layout.labels import EDGE_SIZE, SMALL_SIZE, EdgeFace, wire_face_of
from freehold.flowzap.layout.lettering import Text, set_text
from freehold.flowzap.layout.scene import Band, Box, Figure, Frame, Line, Piece, Scene, State
from freehold.flowzap.order import causal_order
from freehold.flowzap.overlay import Mark, Overlay

MARGIN = 20.0
NAME_SIZE = 13.5
TEXT_WIDTH_MAX = 150.0
LOOP_WIDTH_MAX = 190.0
GAP_LEAST = 150.0
BAR = 4.0  # half the width of an activation
AWAY = 12.0  # of texts from lifelines
SELF_WIDTH, SELF_HEIGHT = 30.0, 20.0
AFTER = 14.0
FRAME_HEAD = 15.0
FOOTER_FROM = 760.0  # a picture higher than this repeats the names at its foot
REST_STEPS = 3  # a lane without messages for so many steps is at rest


@dataclasses.dataclass(frozen=True, slots=True)
class Step:
    """One message: lanes by number, its texts, what it reaches."""

    id: str
    source: int
    target: int
    face: EdgeFace
    outcome: Text
    state: State
    ends: tuple[str, str]


def sequence(graph: Graph, overlay: Overlay, *, in_file_order: bool = False) -> Scene:
    """Lay the sequence view out, in causal order unless the file's is asked for."""
    return _Sequence(
        graph, overlay, list(range(len(graph.edges))) if in_file_order else causal_order(graph.edges)
    ).scene()


class _Sequence:
    def __init__(self, graph: Graph, overlay: Overlay, order: Sequence[int]) -> None:
        self.graph, self.overlay, self.order = graph, overlay, order
        self.nodes = {node.id: node for node in graph.nodes}
        self.lanes = {lane.id: place for place, lane in enumerate(graph.lanes)}
        self.names = [set_text(lane.name, NAME_SIZE, 130.0, lines_max=3, is_bold=True) for lane in graph.lanes]
        self.named: set[str] = set()
        self.steps = [self._step(place) for place in order] + self._extra_steps()
        self.heads = max([34.0, *(name.height + 18 for name in self.names)])
        self.loops = self._loops()
        self.x = self._lifelines()
        self.y = MARGIN + self.heads + 22
        self.reached: set[str] = set()
        self.figures: list[Figure] = []
        self.lines: list[Line] = []
        self.touched: dict[int, list[tuple[int, float]]] = {}
        self.tops: list[float] = []

    def scene(self) -> Scene:
        """Go down the steps, then close what is open."""
        frames: list[tuple[float, float, Frame]] = []
        open_frames: list[tuple[int, float, Text, set[int]]] = []
        for number, step in enumerate(self.steps):
            for last, text, lanes in self.loops.get(number, ()):
                open_frames.append((last, self.y, text, lanes))
                self.y += FRAME_HEAD + text.height
            self._start(step, number)
            self._message(step, number)
            self._arrival(step)
            for each in [e for e in open_frames if e[0] == number]:
                frames.append((each[1], self.y, self._frame(each[1], self.y, each[2], each[3], len(open_frames))))
                open_frames.remove(each)
                self.y += AFTER
        self._unreached()
        bottom = self.y + 6
        heads = self._participants(MARGIN)
        if bottom > FOOTER_FROM:
            heads += self._participants(bottom)
        width = max(
            [
                self.x[-1] + self._width_right(len(self.x) - 1) if self.x else 0.0,
                *(f.boxes[0].right for _, _, f in frames),
            ]
        )
        return Scene(
            "sequence",
            width + MARGIN,
            (bottom + self.heads if bottom > FOOTER_FROM else bottom) + MARGIN,
            bands=tuple(self._bands(bottom)),
            figures=(*heads, *self.figures),
            lines=tuple(self.lines),
            frames=tuple(frame for _, _, frame in frames),
            bars=tuple(self._bars()),
        )

    def _step(self, place: int) -> Step:
        edge = self.graph.edges[place]
        source, target = self.nodes[edge.source], self.nodes[edge.target]
        label = f"[{edge.label}]" if edge.label and source.shape == "diamond" else edge.label
        mark = self.overlay.edges.get(place)
        title = f"{source.label or source.id} → {target.label or target.id}"
        says_outcome = target.shape in {"rectangle", "taskbox"} or target.id in self.named
        self.named |= {source.id, target.id}
        outcome = (target.label or target.description) if says_outcome else ""
        face = wire_face_of(label or "", title, mark, width_max=TEXT_WIDTH_MAX)
        text = set_text(outcome, SMALL_SIZE + 0.5, TEXT_WIDTH_MAX, lines_max=3)
        lanes = (self.lanes[source.lane], self.lanes[target.lane])
        return Step(str(place), *lanes, face, text, mark.state if mark else "plain", (source.id, target.id))

    def _extra_steps(self) -> list[Step]:
        steps = []
        for place, extra in enumerate(self.overlay.undeclared):
            if extra.source in self.lanes and extra.target in self.lanes:
                face = wire_face_of(
                    "",
                    f"{extra.source} → {extra.target}",
                    Mark("undeclared", extra.caption or "undeclared"),
                    width_max=TEXT_WIDTH_MAX,
                )
                ends = (self.lanes[extra.source], self.lanes[extra.target])
                steps.append(
                    Step(f"undeclared-{place}", *ends, face, Text((), SMALL_SIZE, 0.0), "undeclared", ("", ""))
                )
        return steps

    def _lifelines(self) -> list[float]:
        """Set the lifelines as far apart as what stands between each two of them needs."""
        count = len(self.names)
        pairs = zip(self.names, self.names[1:], strict=False)
        gaps = [max(GAP_LEAST, (one.width + other.width) / 2 + 56) for one, other in pairs]
        for gap, needed in self._needs():
            if 0 <= gap < len(gaps):
                gaps[gap] = max(gaps[gap], needed)
        first = max([70.0, *(name.width / 2 + 20 for name in self.names[:1]), *self._notes_of(0)])
        x = [MARGIN + first]
        for needed in gaps:
            x.append(x[-1] + round(needed))
        return x[:count]

    def _needs(self) -> Iterator[tuple[int, float]]:
        """Say of each text how wide the gap between the lifelines that it stands in must be."""
        edge = 2 * AWAY + 2 * BAR
        for step in self.steps:
            if step.source == step.target:
                yield step.source, SELF_WIDTH + max(step.face.width, step.outcome.width) + edge
            else:
                is_rightward = step.target > step.source
                yield step.source - (not is_rightward), step.face.width + edge
                yield step.target - is_rightward, step.outcome.width + edge + 6
        for lane in range(len(self.names)):
            half = max([0.0, *self._notes_of(lane)])
            yield lane - 1, half + 40
            yield lane, half + 40
        for loops in self.loops.values():
            for _, text, lanes in loops:
                yield min(lanes), text.width + 2 * AWAY + 12

    def _notes_of(self, lane: int) -> list[float]:
        return [
            _note_text(n).width / 2 + 24
            for n in self.graph.nodes
            if self.lanes[n.lane] == lane and n.shape in {"circle", "diamond"}
        ]

    def _width_right(self, lane: int) -> float:
        loops = [
            SELF_WIDTH + max(s.face.width, s.outcome.width) + 2 * AWAY
            for s in self.steps
            if s.source == s.target == lane
        ]
        return max([70.0, self.names[lane].width / 2 + 20, *loops, *self._notes_of(lane)])

    def _loops(self) -> dict[int, list[tuple[int, Text, set[int]]]]:
        """Find for each loop the first and the last step between its members, and the lanes it takes part in."""
        found: dict[int, list[tuple[int, Text, set[int]]]] = {}
        for loop in self.graph.loops:
            members = set(loop.nodes)
            inside = [n for n, step in enumerate(self.steps) if set(step.ends) <= members]
            if inside:
                lanes = {
                    lane
                    for n in range(inside[0], inside[-1] + 1)
                    for lane in (self.steps[n].source, self.steps[n].target)
                }
                found.setdefault(inside[0], []).append(
                    (
                        inside[-1],
                        set_text(f"LOOP [{loop.condition}]", EDGE_SIZE, LOOP_WIDTH_MAX, lines_max=3, is_bold=True),
                        lanes,
                    )
                )
        for loops in found.values():
            loops.sort(key=lambda each: -each[0])
        return found

    def _start(self, step: Step, number: int) -> None:
        """Put a start on its lifeline before its first message."""
        if step.ends[0] and step.ends[0] not in self.reached:
            self._note(self.nodes[step.ends[0]])
            self.touched.setdefault(step.source, []).append((number, self.y - AFTER))

    def _message(self, step: Step, number: int) -> None:
        if step.source == step.target:
            self._self_message(step, number)
            return
        self.y += step.face.height + 6
        rightward = step.target > step.source
        start = self.x[step.source] + (BAR if rightward else -BAR)
        end = self.x[step.target] - (BAR if rightward else -BAR)
        y = self.y
        box = _beside(start, y - step.face.height - 4, step.face.width, step.face.height, rightward=rightward)
        labels = step.face.pieces(box)
        if step.outcome.lines:
            away = AWAY + 4
            x = end - away - step.outcome.width if rightward else end + away
            labels += (
                Piece(
                    step.outcome,
                    Box(x, y + 4, step.outcome.width, step.outcome.height),
                    "end" if rightward else "start",
                    "target",
                ),
            )
        self.lines.append(Line(step.id, ((start, y), (end, y)), step.face.title, *step.ends, labels, step.state))
        for lane in (step.source, step.target):
            self.touched.setdefault(lane, []).append((number, y))
        self.y += max(6.0, step.outcome.height + 4) + AFTER / 2

    def _self_message(self, step: Step, number: int) -> None:
        height = max(SELF_HEIGHT, step.face.height + step.outcome.height)
        x, top = self.x[step.source] + BAR, self.y + 4 + (height - SELF_HEIGHT) / 2
        points = ((x, top), (x + SELF_WIDTH, top), (x + SELF_WIDTH, top + SELF_HEIGHT), (x, top + SELF_HEIGHT))
        left = x + SELF_WIDTH + 7
        y = self.y + 4 + (height - step.face.height - step.outcome.height) / 2
        placed = []
        for role, text in (*step.face.rows, ("target", step.outcome)):
            if text.lines:
                placed.append(Piece(text, Box(left, y, text.width, text.height), "start", role))
                y += text.height
        self.lines.append(Line(step.id, points, step.face.title, *step.ends, tuple(placed), step.state))
        self.touched.setdefault(step.source, []).extend([(number, top), (number, top + SELF_HEIGHT)])
        self.y += height + 4 + AFTER / 2

    def _arrival(self, step: Step) -> None:
        """Put an end or a decision on its lifeline when it is first reached."""
        if step.ends[1] and step.ends[1] not in self.reached:
            self.reached.add(step.ends[1])
            node = self.nodes[step.ends[1]]
            if node.shape in {"circle", "diamond"}:
                self._note(node)

    def _note(self, node: Node) -> None:
        self.reached.add(node.id)
        text = _note_text(node)
        if not text.lines:
            return
        x = self.x[self.lanes[node.lane]]
        pad = 22.0 if node.shape == "diamond" else 15.0
        box = Box(x - text.width / 2 - pad, self.y + 2, text.width + 2 * pad, text.height + 12)
        inside = Box(x - text.width / 2, box.y + 6, text.width, text.height)
        shape: Literal["circle", "decision", "note"] = (
            "circle" if node.shape == "circle" else "decision" if node.shape == "diamond" else "note"
        )
        mark = self.overlay.nodes.get(node.id)
        piece = Piece(text, inside)
        self.figures.append(
            Figure(
                node.id,
                shape,
                box,
                node.label or node.id,
                (piece,),
                self.lanes[node.lane],
                mark.state if mark else "plain",
            )
        )
        self.y += box.height + AFTER / 2 + 2

    def _unreached(self) -> None:
        for node in self.graph.nodes:
            if node.id not in self.reached:
                self._note(node)

    def _frame(self, top: float, bottom: float, text: Text, lanes: set[int], depth: int) -> Frame:
        low, high = min(lanes), max(lanes)
        inset = 34.0 - 6.0 * min(depth - 1, 3)
        own_texts = [
            SELF_WIDTH + max(s.face.width, s.outcome.width) + AWAY for s in self.steps if s.source == s.target == high
        ]
        left = self.x[low] - max([inset, *(half + 6 for half in self._notes_of(low))])
        right = self.x[high] + max(
            [inset, *(half + 6 for half in self._notes_of(high)), *(each + BAR + 4 for each in own_texts)]
        )
        right = max(right, self.x[low] + text.width + 2 * AWAY)
        piece = Piece(text, Box(self.x[low] + AWAY, top + 7, text.width, text.height), "start", "loop")
        return Frame((Box(left, top, right - left, bottom - top + 2),), " ".join(text.lines), piece, has_sign=False)

    def _participants(self, y: float) -> list[Figure]:
        figures = []
        for place, lane in enumerate(self.graph.lanes):
            name, x = self.names[place], self.x[place]
            box = Box(x - name.width / 2 - 18, y, name.width + 36, self.heads)
            inside = Box(x - name.width / 2, y + (self.heads - name.height) / 2, name.width, name.height)
            figures.append(Figure(lane.id, "participant", box, lane.name, (Piece(name, inside),), place))
        return figures

    def _bands(self, bottom: float) -> list[Band]:
        bands = []
        for place, lane in enumerate(self.graph.lanes):
            top = MARGIN + self.heads
            line = Box(self.x[place] - 0.5, top, 1.0, bottom - top)
            bands.append(Band(lane.id, line, line, lane.name, Piece(self.names[place], line), place))
        return bands

    def _bars(self) -> list[tuple[int, Box]]:
        """Show when each lane is at work: from a message to the next, unless it rests for long."""
        bars = []
        for lane, touches in sorted(self.touched.items()):
            runs: list[list[tuple[int, float]]] = []
            for touch in sorted(touches, key=lambda each: each[1]):
                if runs and touch[0] - runs[-1][-1][0] <= REST_STEPS:
                    runs[-1].append(touch)
                else:
                    runs.append([touch])
            for run in runs:
                top, bottom = run[0][1] - 5, run[-1][1] + 7
                bars.append((lane, Box(self.x[lane] - BAR, top, 2 * BAR, bottom - top)))
        return bars


def _note_text(node: Node) -> Text:
    return set_text(node.label or node.description, EDGE_SIZE + 0.5, 130.0, lines_max=3)


def _beside(start: float, y: float, width: float, height: float, *, rightward: bool) -> Box:
    return Box(start + AWAY if rightward else start - AWAY - width, y, width, height)
