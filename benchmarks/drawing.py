"""How good and how fast drawings are: `python -m benchmarks.drawing`. No server is needed.

The pictures of our own diagrams beside those of Graphviz (`dot`, orthogonal wires, a cluster for each lane, the same
boxes, the same sides, labels of the same size), measured alike: crossings, bends, wires through boxes, what lies on what,
area. Graphviz keeps no lanes in rows and no label clear of wires: that is why the layout is ours. It comes with
`pip install pygraphviz`; without it our numbers stand alone. Then the time for a diagram of the language's greatest length.
"""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.figure import Figure, machine, show
from freehold.flowzap import Graph, parse
from freehold.flowzap.layout.quality import Quality, quality_of
from freehold.flowzap.layout.scene import Box, Line, Piece, Scene
from freehold.flowzap.layout.scene import Figure as Shape
from freehold.flowzap.svg.draw import View, draw, scene_of

DIAGRAMS = Path(__file__).parents[1] / "docs" / "diagrams"
CHARACTERS = 50_000
RUNS = 5
VIEWS: tuple[View, ...] = ("workflow", "sequence", "architecture")
POINTS_PER_INCH = 72.0
COMPASS = {"left": "w", "right": "e", "top": "n", "bottom": "s"}
WITHOUT_PEER = "pygraphviz is not installed"


def main() -> None:
    """Measure and print."""
    console = Console(width=140)
    show(measure(None), console)
    console.print(f"[dim]{machine()}[/dim]")


def measure(_: object) -> list[Figure]:
    """Give all figures; no stage is needed."""
    graphs = [parse(path.read_text()).graph for path in sorted(DIAGRAMS.glob("*.fz"))]
    scenes = [scene_of(graph) for graph in graphs]
    ours = [quality_of(scene) for scene in scenes]
    theirs = (
        [quality_of(_by_graphviz(graph, scene)) for graph, scene in zip(graphs, scenes, strict=True)]
        if _has_peer()
        else []
    )
    return [*_quality_figures(ours, theirs), *_speed_figures()]


def _quality_figures(ours: Sequence[Quality], theirs: Sequence[Quality]) -> list[Figure]:
    edges = sum(each.edges for each in ours)
    counted = {
        "crossings": lambda each: each.crossings,
        "bends": lambda each: each.bends,
        "wires through boxes": lambda each: len(each.through_nodes),
        "wires on one another": lambda each: len(each.shared),
        "labels on something": lambda each: len(each.covered),
        "area": lambda each: each.area / 1e6,
    }
    figures = []
    for name, count in counted.items():
        peer = float(sum(map(count, theirs))) if theirs else None
        value = float(sum(map(count, ours)))
        unit = "million px" if name == "area" else f"in {len(ours)} diagrams, {edges} edges"
        wanted = "0" if name.startswith(("wires", "labels")) else ""
        limit_name = "Graphviz" if theirs else WITHOUT_PEER
        figures.append(
            Figure(name=f"drawing: {name}", value=value, unit=unit, limit=peer, limit_name=limit_name, wanted=wanted)
        )
    return figures


def _speed_figures() -> list[Figure]:
    graph = parse(long_diagram(CHARACTERS)).graph
    figures = []
    for view in VIEWS:
        taken = []
        for _ in range(RUNS):
            began = time.process_time()
            draw(graph, view=view)
            taken.append(time.process_time() - began)
        name = f"drawing: {CHARACTERS:,} characters, {view}"
        unit = f"s of CPU, median of {RUNS}; {len(graph.nodes)} nodes, {len(graph.edges)} edges"
        figures.append(Figure(name=name, value=statistics.median(taken), unit=unit, wanted="1"))
    return figures


def long_diagram(characters: int, lanes: int = 12) -> str:
    """Write a diagram of nearly that many characters: chains in lanes, decisions, calls to the next lane and back."""
    text = ""
    steps = 4
    while len(longer := _diagram(lanes, steps)) <= characters:
        text, steps = longer, steps + 1
    return text


def _diagram(lanes: int, steps: int) -> str:
    lines = []
    for lane in range(lanes):
        first = lane * steps + 1
        lines.append(f"Lane{lane} {{ # Lane {lane}")
        for step in range(steps):
            shape = "circle" if step in {0, steps - 1} else "diamond" if step % 7 == 3 else "rectangle"
            lines.append(f'n{first + step}: {shape} label:"Step {step} of lane {lane}"')
        for step in range(steps - 1):
            node = first + step
            lines.append(
                f"n{node}.handle(right) -> n{node + 1}.handle(left)" + (' [label="Yes"]' if step % 7 == 3 else "")
            )
            if step % 7 == 3 and step + 2 < steps:
                lines.append(f'n{node}.handle(top) -> n{node + 2}.handle(top) [label="No"]')
            if step % 5 == 2 and lane + 1 < lanes:
                lines.append(
                    f'n{node}.handle(bottom) -> Lane{lane + 1}.n{node + steps}.handle(top) [label="Call {step}"]'
                )
            if step % 5 == 4 and lane:
                lines.append(
                    f'n{node}.handle(top) -> Lane{lane - 1}.n{node - steps}.handle(bottom) [label="Answer {step}"]'
                )
        lines.append("}")
    return "\n".join(lines) + "\n"


def _has_peer() -> bool:
    try:
        import pygraphviz  # noqa: F401
    except ModuleNotFoundError:
        return False
    return True


def _by_graphviz(graph: Graph, ours: Scene) -> Scene:
    """Let Graphviz lay the same boxes and wires out, and read where it put them."""
    import pygraphviz

    made: Any = pygraphviz.AGraph(
        directed=True, strict=False, rankdir="LR", splines="ortho", nodesep="0.4", ranksep="0.6"
    )
    for figure in ours.figures:
        width, height = figure.box.width / POINTS_PER_INCH, figure.box.height / POINTS_PER_INCH
        made.add_node(figure.id, label="", shape="box", fixedsize="true", width=width, height=height)
    for lane in graph.lanes:
        made.add_subgraph([n.id for n in graph.nodes if n.lane == lane.id], name=f"cluster_{lane.id}", label=lane.name)
    for place, (edge, line) in enumerate(zip(graph.edges, ours.lines, strict=True)):
        ports = {"tailport": COMPASS[edge.source_side], "headport": COMPASS[edge.target_side]}
        label = "\n".join(" ".join(piece.text.lines) for piece in line.labels)
        made.add_edge(
            edge.source, edge.target, key=str(place), xlabel=label, fontsize="11.5", fontname="Helvetica", **ports
        )
    made.layout(prog="dot")
    _, _, width, height = (float(each) for each in made.graph_attr["bb"].split(","))
    shapes = [_moved(figure, _point(made.get_node(figure.id).attr["pos"], height)) for figure in ours.figures]
    lines = [
        _line(line, made.get_edge(edge.source, edge.target, key=str(place)), height)
        for place, (edge, line) in enumerate(zip(graph.edges, ours.lines, strict=True))
    ]
    return Scene("graphviz", width, height, figures=tuple(shapes), lines=tuple(lines))


def _point(text: str, height: float) -> tuple[float, float]:
    x, y = (float(each) for each in text.split(","))
    return x, height - y


def _moved(figure: Shape, centre: tuple[float, float]) -> Shape:
    box = figure.box
    return dataclasses.replace(
        figure, box=Box(centre[0] - box.width / 2, centre[1] - box.height / 2, box.width, box.height)
    )


def _line(line: Line, edge: Any, height: float) -> Line:
    """Read a wire: of its curves, which are straight here, the ends; and its label's place."""
    words = edge.attr["pos"].split()
    head = [_point(word[2:], height) for word in words if word.startswith("e,")]
    points = [_point(word, height) for word in words if not word.startswith(("e,", "s,"))][::3] + head
    labels: tuple[Piece, ...] = ()
    if line.labels and edge.attr["xlp"]:
        x, y = _point(edge.attr["xlp"], height)
        wide = max(piece.box.width for piece in line.labels)
        high = sum(piece.box.height for piece in line.labels)
        labels = (Piece(line.labels[0].text, Box(x - wide / 2, y - high / 2, wide, high)),)
    return dataclasses.replace(line, points=_corners(points), labels=labels)


def _corners(points: Sequence[tuple[float, float]]) -> tuple[tuple[float, float], ...]:
    kept = [points[0]]
    for before, here, after in zip(points, points[1:], points[2:], strict=False):
        turns = (here[0] - before[0]) * (after[1] - here[1]) - (here[1] - before[1]) * (after[0] - here[0])
        if abs(turns) > 1.0:
            kept.append(here)
    return (*kept, points[-1])


if __name__ == "__main__":
    main()
