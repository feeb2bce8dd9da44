"""Whatever a diagram says and whatever was exported, there is a verdict, and the same one again."""

from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.conform.binding import bind
from freehold.conform.span import Span
from freehold.flowzap import Edge, Graph, Lane, Loop, Node
from freehold.flowzap.graph import Shape
from tests.conform.seen import LANDSCAPE, judged, shop

WORDS = (
    "Client",
    "Gateway",
    "users",
    "Orders",
    "Kafka",
    "topic",
    "Read",
    "publish",
    "replica",
    "GET /users/{id}",
    "UserUpdated",
    "412",
    "\N{RIGHT-TO-LEFT OVERRIDE}",
    "",
)
labels = st.lists(st.sampled_from(WORDS) | st.text(max_size=8), max_size=4).map(" ".join)
ids = st.integers(1, 12).map(lambda number: f"n{number}")
hexadecimal = st.integers(0, 9).map(lambda number: f"{number:016x}")


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    lanes = tuple(Lane(f"L{number}", draw(labels)) for number in range(draw(st.integers(1, 4))))
    shapes: st.SearchStrategy[Shape] = st.sampled_from(("circle", "rectangle", "diamond", "taskbox"))
    names = draw(st.lists(ids, unique=True, min_size=1))
    nodes = tuple(Node(name, draw(labels), draw(shapes), draw(st.sampled_from(lanes)).id) for name in names)
    ends = st.sampled_from(names)
    edges = draw(st.lists(st.builds(Edge, ends, ends, labels, st.just("right"), st.just("left")), max_size=20))
    loops = draw(st.lists(st.builds(Loop, labels, st.lists(ends, min_size=2, max_size=3).map(tuple)), max_size=2))
    return Graph(lanes, nodes, tuple(edges), tuple(loops))


attributes = st.dictionaries(
    st.sampled_from(
        (
            "freehold.service",
            "freehold.store",
            "freehold.topic",
            "freehold.operation",
            "freehold.events",
            "db.system.name",
            "db.namespace",
            "http.request.method",
            "http.route",
            "peer.service",
            "server.port",
            "network.local.port",
            "network.peer.port",
        )
    ),
    st.sampled_from(("users", "orders", "gateway", "users.UserUpdated", "GET", "/users/{id}", 4001, 5432, 50_000, ""))
    | st.lists(st.sampled_from(("users.UserUpdated", "")), max_size=2),
)
spans = st.builds(
    Span,
    trace=st.sampled_from(("a" * 32, "b" * 32)),
    id=hexadecimal,
    parent=hexadecimal | st.just(""),
    service=st.sampled_from(("users", "orders", "gateway", "elsewhere", "")),
    name=st.sampled_from(
        ("transact", "connect 127.0.0.1:4001", "apply users.UserUpdated", "handle users.UserUpdated", "other")
    ),
    kind=st.sampled_from(("internal", "server", "client", "producer", "consumer")),
    began_ns=st.integers(0, 100),
    ended_ns=st.integers(0, 100),
    attributes=attributes,
    links=st.lists(st.tuples(st.just("a" * 32), hexadecimal), max_size=2).map(tuple),
    is_failed=st.booleans(),
)


@settings(max_examples=60, deadline=None)
@given(graphs(), st.lists(spans, max_size=12))
def test_there_is_always_a_verdict(graph: Graph, seen: list[Span]) -> None:
    binding = bind(graph, LANDSCAPE, {})
    verdict = judged([*shop(), *seen], binding)

    assert 0.0 <= verdict.fitness <= 1.0
    assert all(each.seen == (each.count > 0) for each in (*verdict.nodes, *verdict.edges))
    assert (len(verdict.nodes), len(verdict.edges)) == (len(graph.nodes), len(graph.edges))
    assert judged([*shop(), *seen], bind(graph, LANDSCAPE, {})) == verdict
