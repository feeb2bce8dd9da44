"""What a person sees at once in a bad picture, measured on every diagram of ours."""

from pathlib import Path

import pytest

from freehold.flowzap.graph import Graph, Lane, Node
from freehold.flowzap.layout.quality import quality_of, texts_outside
from freehold.flowzap.overlay import Mark, Overlay, Undeclared
from freehold.flowzap.svg.draw import View, scene_of
from tests.flowzap.drawings import FILES, SEED, VIEWS, edge, graph_in


def every(path: Path) -> Overlay:
    """Mark everything, so that each wire has a caption too."""
    graph = graph_in(path)
    lanes = [lane.id for lane in graph.lanes]
    return Overlay(
        nodes={node.id: Mark("seen", "1,204 seen") for node in graph.nodes},
        edges={place: Mark("seen", "1,204 seen, p50 3 ms, p99 12 ms") for place in range(len(graph.edges))},
        undeclared=(
            Undeclared(lanes[0], lanes[-1], "SELECT from users"),
            Undeclared(lanes[-1], lanes[0], "GET /orders"),
        ),
    )


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_nothing_lies_on_anything_else(path: Path, view: View) -> None:
    """No edge through a node or along another one, no label on an edge, a node, a lane's header or a label."""
    scene = scene_of(graph_in(path), view=view)

    assert quality_of(scene).faults == ()
    assert texts_outside(scene) == []


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize("path", [path for path in FILES if path.stem != "harbour-day"], ids=lambda path: path.stem)
def test_nothing_lies_on_anything_else_with_the_result_on_it(path: Path, view: View) -> None:
    scene = scene_of(graph_in(path), view=view, overlay=every(path))

    assert quality_of(scene).faults == ()
    assert texts_outside(scene) == []


@pytest.mark.skipif(not SEED.exists(), reason="the seed's own diagram is not beside this repository")
@pytest.mark.parametrize("view", VIEWS)
def test_diagram_that_is_not_ours_is_as_clean(view: View) -> None:
    quality = quality_of(scene_of(graph_in(SEED), view=view))

    assert quality.faults == ()
    assert quality.crossings <= 1


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_wires_leave_and_enter_at_the_stated_sides(path: Path) -> None:
    graph = graph_in(path)
    scene = scene_of(graph)
    boxes = {figure.id: figure.box for figure in scene.figures}

    for line, declared in zip(scene.lines, graph.edges, strict=True):
        ends = [
            (declared.source, declared.source_side, line.points[0], line.points[1]),
            (declared.target, declared.target_side, line.points[-1], line.points[-2]),
        ]
        for node, side, (x, y), (next_x, next_y) in ends:
            box = boxes[node]
            assert box.grown(0.01).meets(type(box)(x, y, 0, 0))
            ahead = {"left": x - next_x, "right": next_x - x, "top": y - next_y, "bottom": next_y - y}[side]
            assert ahead > 0, f"{line.id} turns back at the {side} of {node}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_wire_runs_across_or_along(path: Path) -> None:
    for line in scene_of(graph_in(path)).lines:
        for (x1, y1), (x2, y2) in zip(line.points, line.points[1:], strict=False):
            assert x1 == pytest.approx(x2) or y1 == pytest.approx(y2)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_lanes_are_rows_of_one_width_and_hold_their_nodes(path: Path) -> None:
    graph = graph_in(path)
    scene = scene_of(graph)
    bands = {band.id: band.box for band in scene.bands}
    boxes = {figure.id: figure.box for figure in scene.figures}

    assert len({(band.x, band.width) for band in bands.values()}) == 1
    assert [band.id for band in sorted(scene.bands, key=lambda band: band.box.y)] == [lane.id for lane in graph.lanes]
    for one, other in zip(scene.bands, scene.bands[1:], strict=False):
        assert one.box.bottom == pytest.approx(other.box.y)
    for node in graph.nodes:
        band, box = bands[node.lane], boxes[node.id]
        assert band.y < box.y
        assert box.bottom < band.bottom


def test_chain_in_one_lane_is_one_straight_line() -> None:
    nodes = tuple(Node(f"n{place}", f"Step {place}", "rectangle", "L") for place in range(1, 6))
    edges = tuple(edge(f"n{place}", f"n{place + 1}") for place in range(1, 5))
    scene = scene_of(Graph((Lane("L", "Lane"),), nodes, edges))

    assert len({line.points[0][1] for line in scene.lines} | {line.points[-1][1] for line in scene.lines}) == 1
    assert quality_of(scene).bends == 0


def test_parallel_edges_lie_apart_with_a_label_each() -> None:
    nodes = (Node("n1", "Ready?", "diamond", "L"), Node("n2", "Go on", "rectangle", "L"))
    edges = (edge("n1", "n2", label="Yes"), edge("n1", "n2", label="No"))
    scene = scene_of(Graph((Lane("L", "Lane"),), nodes, edges))

    assert quality_of(scene).faults == ()
    assert scene.lines[0].points != scene.lines[1].points


def test_loop_is_framed_round_its_members_alone() -> None:
    scene = scene_of(graph_in(next(path for path in FILES if path.stem == "support-ticket")))
    boxes = {figure.id: figure.box for figure in scene.figures}
    (frame,) = scene.frames

    (outline,) = frame.boxes
    inside = {node for node, box in boxes.items() if outline.meets(box)}
    assert {figure.title for figure in scene.figures if figure.id in inside} == {"Write a test that fails", "Mend it"}
