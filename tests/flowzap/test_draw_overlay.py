"""The result of a run, drawn on the diagram."""

import re
from xml.etree import ElementTree as ET

import pytest

from freehold.flowzap.graph import Graph, Lane, Node
from freehold.flowzap.layout.quality import quality_of
from freehold.flowzap.overlay import Mark, Overlay, Undeclared
from freehold.flowzap.svg.draw import View, draw, scene_of
from freehold.flowzap.svg.theme import THEMES
from tests.flowzap.drawings import FILES, VIEWS, edge, graph_in

SVG = "{http://www.w3.org/2000/svg}"
LIGHT = THEMES["light"]
GRAPH = Graph(
    (Lane("Client", "Client"), Lane("Users", "Users"), Lane("Orders", "Orders")),
    (
        Node("n1", "Ask", "circle", "Client"),
        Node("n2", "Read", "rectangle", "Users"),
        Node("n3", "List", "rectangle", "Orders"),
    ),
    (edge("n1", "n2", ("bottom", "top"), "GET"), edge("n1", "n3", ("bottom", "top"), "GET")),
)
OVERLAY = Overlay(
    nodes={"n1": Mark("seen"), "n2": Mark("seen", "12 seen"), "n3": Mark("unseen")},
    edges={0: Mark("seen", "12 seen, p50 3 ms, p99 9 ms"), 1: Mark("unseen", "never seen")},
    undeclared=(Undeclared("Orders", "Users", "SELECT from users"),),
)


def strokes(drawn: str, edge_id: str) -> ET.Element:
    root = ET.fromstring(drawn)  # noqa: S314  our own output
    (found,) = [g for g in root.iter(f"{SVG}g") if g.get("data-edge") == edge_id and g.get("class") == "edge"]
    return list(found.iter(f"{SVG}path"))[1]


@pytest.mark.parametrize("view", ["workflow", "sequence"])
def test_seen_unseen_and_undeclared_look_different(view: View) -> None:
    drawn = draw(GRAPH, view=view, overlay=OVERLAY)

    assert strokes(drawn, "0").get("stroke") == LIGHT.seen
    assert strokes(drawn, "0").get("stroke-dasharray") is None
    assert strokes(drawn, "1").get("stroke") == LIGHT.unseen
    assert strokes(drawn, "1").get("stroke-dasharray") == "5 4"
    assert strokes(drawn, "undeclared-0").get("stroke") == LIGHT.undeclared


def test_architecture_tells_of_each_pair_what_was_seen() -> None:
    drawn = draw(GRAPH, view="architecture", overlay=OVERLAY)

    assert strokes(drawn, "Client-Users").get("stroke") == LIGHT.seen
    assert strokes(drawn, "Client-Orders").get("stroke") == LIGHT.unseen
    assert strokes(drawn, "Orders-Users").get("stroke") == LIGHT.undeclared


@pytest.mark.parametrize("view", VIEWS)
def test_captions_are_text(view: View) -> None:
    text = re.sub(r"</?tspan[^>]*>", "", draw(GRAPH, view=view, overlay=OVERLAY))

    for words in ("p99 9 ms", "SELECT from users"):
        assert words in text


def test_architecture_counts_what_was_seen_of_several() -> None:
    nodes = (
        Node("n1", "Ask", "circle", "A"),
        Node("n2", "Read", "rectangle", "B"),
        Node("n3", "List", "rectangle", "B"),
    )
    edges = (edge("n1", "n2", ("bottom", "top")), edge("n1", "n3", ("bottom", "top")))
    graph = Graph((Lane("A", "A"), Lane("B", "B")), nodes, edges)
    overlay = Overlay(edges={0: Mark("seen", "3 seen"), 1: Mark("unseen")})

    (line,) = scene_of(graph, view="architecture", overlay=overlay).lines
    assert line.state == "seen"
    assert "1 of 2 seen" in [" ".join(piece.text.lines) for piece in line.labels]


@pytest.mark.parametrize("view", VIEWS)
def test_what_is_marked_stays_where_it_was(view: View) -> None:
    """A reader compares the two pictures: the order of things is the same with and without the result."""
    graph = graph_in(next(path for path in FILES if path.stem == "order-flow"))
    overlay = Overlay(undeclared=(Undeclared(graph.lanes[0].id, graph.lanes[2].id, "GET"),))
    plain, marked = scene_of(graph, view=view), scene_of(graph, view=view, overlay=overlay)

    order = [sorted((figure.box.x, figure.id) for figure in scene.figures) for scene in (plain, marked)]
    assert [name for _, name in order[0]] == [name for _, name in order[1]]


@pytest.mark.parametrize("view", VIEWS)
def test_many_undeclared_ways_stay_apart(view: View) -> None:
    lanes = [lane.id for lane in GRAPH.lanes]
    pairs = [(one, other) for one in lanes for other in lanes if one != other]
    overlay = Overlay(undeclared=tuple(Undeclared(*pair, "call without a line in the diagram") for pair in pairs))
    quality = quality_of(scene_of(GRAPH, view=view, overlay=overlay))

    assert quality.covered == ()
    assert quality.shared == ()
    assert quality.outside == ()


def test_way_within_a_lane_or_to_no_lane_does_no_harm() -> None:
    overlay = Overlay(undeclared=(Undeclared("Users", "Users", "itself"), Undeclared("Users", "Nobody", "?")))

    for view in VIEWS:
        ET.fromstring(draw(GRAPH, view=view, overlay=overlay))  # noqa: S314  our own output
