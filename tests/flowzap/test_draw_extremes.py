"""Diagrams at the edge of what there can be: drawn cleanly, or refused with the limit."""

import itertools
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.flowzap.graph import Edge, Graph, Lane, Loop, Node, Shape, Side
from freehold.flowzap.layout.quality import quality_of, texts_outside
from freehold.flowzap.svg.draw import EDGES_MAX, NODES_MAX, TooLargeToDrawError, View, draw, scene_of
from tests.flowzap.drawings import VIEWS, chain, edge

SIDES: tuple[Side, ...] = ("left", "right", "top", "bottom")
SHAPES: tuple[Shape, ...] = ("circle", "rectangle", "diamond", "taskbox")


@pytest.mark.parametrize("view", VIEWS)
@pytest.mark.parametrize(
    "graph",
    [
        pytest.param(Graph(), id="nothing"),
        pytest.param(Graph((Lane("A", "Only a lane"),)), id="a lane without nodes"),
        pytest.param(
            Graph((Lane("A", "A"), Lane("B", "B")), (Node("n1", "", "circle", "A"),)), id="a node without label"
        ),
        pytest.param(chain(*("" for _ in range(5))), id="unlabelled"),
        pytest.param(chain("Start"), id="one node"),
        pytest.param(
            chain("التحقق من الطلب", "בדיקת התשלום", "確認付款 支払いを確認する", "e\u0301tape\u0301"), id="scripts"
        ),
        pytest.param(chain("x" * 500, "y " * 400, "Donaudampfschifffahrtsgesellschaft"), id="long words"),
    ],
)
def test_small_and_odd_diagrams_are_drawn(graph: Graph, view: View) -> None:
    scene = scene_of(graph, view=view)

    ET.fromstring(draw(graph, view=view))  # noqa: S314  our own output
    assert quality_of(scene).faults == ()
    assert texts_outside(scene) == []
    assert scene.width > 0
    assert scene.height > 0


@pytest.mark.parametrize(("out", "into"), list(itertools.product(SIDES, SIDES)))
def test_edge_from_a_node_to_itself_goes_round_it(out: Side, into: Side) -> None:
    graph = Graph(
        (Lane("L", "Lane"),), (Node("n1", "Again", "rectangle", "L"),), (edge("n1", "n1", (out, into), "retry"),)
    )
    scene = scene_of(graph)

    (line,), (figure,) = scene.lines, scene.figures
    assert quality_of(scene).faults == ()
    assert len(line.points) >= 4
    assert line.points[0] != line.points[-1]
    outside = [point for point in line.points[1:-1] if not figure.box.meets(type(figure.box)(*point, 0, 0))]
    assert len(outside) == len(line.points) - 2


@pytest.mark.parametrize(("out", "into"), list(itertools.product(SIDES, SIDES)))
@pytest.mark.parametrize("is_same_lane", [True, False])
def test_any_two_sides_can_be_joined(out: Side, into: Side, is_same_lane: bool) -> None:
    lanes = (Lane("A", "A"), Lane("B", "B"))
    nodes = (Node("n1", "One", "rectangle", "A"), Node("n2", "Two", "diamond", "A" if is_same_lane else "B"))
    graph = Graph(lanes, nodes, (edge("n1", "n2", (out, into), "there"), edge("n2", "n1", (out, into), "and back")))

    assert quality_of(scene_of(graph)).faults == ()


def test_flows_without_connection_stand_in_rows_of_their_own() -> None:
    flows = [chain(f"A{place}", f"B{place}") for place in range(3)]
    nodes = tuple(
        Node(f"n{number * 2 + place}", node.label, "rectangle", "L")
        for number, flow in enumerate(flows)
        for place, node in enumerate(flow.nodes, 1)
    )
    edges = tuple(edge(f"n{number * 2 + 1}", f"n{number * 2 + 2}") for number in range(3))
    scene = scene_of(Graph((Lane("L", "Lane"),), nodes, edges))

    assert len({line.points[0][1] for line in scene.lines}) == 3
    assert quality_of(scene).crossings == 0


@pytest.mark.parametrize("count", [2, 5, 12])
def test_hub_has_a_port_for_each_edge(count: int) -> None:
    lanes = (Lane("A", "Hub"), Lane("B", "Rest"))
    nodes = (
        Node("n1", "Hub", "rectangle", "A"),
        *(Node(f"n{k}", f"Leaf {k}", "rectangle", "B") for k in range(2, count + 2)),
    )
    edges = tuple(edge("n1", f"n{k}", ("bottom", "top"), f"to {k}") for k in range(2, count + 2))
    quality = quality_of(scene_of(Graph(lanes, nodes, edges)))

    assert quality.shared == ()
    assert quality.through_nodes == ()


def test_sequence_puts_an_undefined_order_by_cause() -> None:
    """The follow-up of an answer stands in the file before the request."""
    nodes = tuple(Node(f"n{k}", f"Step {k}", "rectangle", "A" if k in {1, 4, 5} else "B") for k in range(1, 6))
    edges = (
        edge("n1", "n2", label="ask"),
        edge("n4", "n5", label="use it"),
        edge("n2", "n3"),
        edge("n3", "n4", label="answer"),
    )
    graph = Graph((Lane("A", "A"), Lane("B", "B")), nodes, edges)

    by_cause = [line.id for line in scene_of(graph, view="sequence").lines]
    by_file = [line.id for line in scene_of(graph, view="sequence", in_file_order=True).lines]
    assert by_cause == ["0", "2", "3", "1"]
    assert by_file == ["0", "1", "2", "3"]


@pytest.mark.parametrize("view", VIEWS)
def test_too_large_a_diagram_is_refused_with_the_limit(view: View) -> None:
    with pytest.raises(TooLargeToDrawError, match=f"10,000 nodes.*at most {NODES_MAX:,}"):
        draw(chain(*(f"Step {k}" for k in range(10_000))), view=view)


def test_too_many_edges_are_refused_with_the_limit() -> None:
    graph = chain("One", "Two")
    with pytest.raises(TooLargeToDrawError, match=f"at most {EDGES_MAX:,}"):
        draw(Graph(graph.lanes, graph.nodes, graph.edges * 4_000))


@st.composite
def graphs(make: st.DrawFn) -> Graph:
    lanes = tuple(Lane(f"L{k}", f"Lane {k}") for k in range(make(st.integers(1, 4))))
    count = make(st.integers(1, 14))
    texts = st.sampled_from(["", "Go", "Check the order", "A rather long label that needs lines"])
    nodes = tuple(
        Node(f"n{k}", make(texts), make(st.sampled_from(SHAPES)), make(st.sampled_from(lanes)).id)
        for k in range(1, count + 1)
    )
    ends = st.sampled_from([node.id for node in nodes])
    side = st.sampled_from(SIDES)
    edges = make(st.lists(st.builds(Edge, ends, ends, texts, side, side), max_size=20))
    loops = make(st.lists(st.builds(Loop, texts, st.lists(ends, min_size=1, max_size=4).map(tuple)), max_size=2))
    return Graph(lanes, nodes, tuple(edges), tuple(loops))


@settings(max_examples=120, deadline=None, derandomize=True)
@given(graphs(), st.sampled_from(VIEWS))
def test_whatever_the_diagram_nothing_lies_on_anything_else(graph: Graph, view: View) -> None:
    scene = scene_of(graph, view=view)
    quality = quality_of(scene)

    ET.fromstring(draw(graph, view=view))  # noqa: S314  our own output
    assert quality.faults == ()
    assert texts_outside(scene) == []
    assert len(scene.lines) == len(graph.edges) or view == "architecture"
