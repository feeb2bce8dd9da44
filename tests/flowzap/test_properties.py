"""What holds of any text at all, and of any diagram."""

import collections
import dataclasses

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from freehold.flowzap import Document, parse, parse_bytes
from freehold.flowzap.diff import differences
from freehold.flowzap.format import Unclear, formatted
from freehold.flowzap.problem import apply
from freehold.flowzap.report import describe
from freehold.flowzap.rules import RULES
from tests.flowzap.texts import SCRIBBLES, diagrams, mutilated

# A busy machine is no fault of a test, and `make test` is run often: longer searches raise `max_examples`.
# A failure is made small before it is told, which takes its time.
pytestmark = pytest.mark.timeout(400)
QUICK = settings(deadline=None, max_examples=60)
ANY_TEXT = st.one_of(SCRIBBLES, mutilated(), diagrams(), diagrams(is_lenient=True))


def assert_sound(document: Document) -> None:
    """Each problem lies in the text, and each place that the graph names is there."""
    lines = {branch.line.number: branch.line.text for branch in document.tree.lines} or {1: ""}
    for problem in document.problems:
        assert problem.code in RULES
        assert 1 <= problem.column < problem.end_column
        assert problem.column <= len(lines[problem.line]) + 1
        assert all(0 <= edit.start <= edit.end <= len(document.text) for edit in problem.fix)
    nodes = document.graph.node_by_id
    assert len(nodes) == len(document.graph.nodes)
    assert {node.lane for node in nodes.values()} <= {lane.id for lane in document.graph.lanes}
    assert all(edge.source in nodes and edge.target in nodes for edge in document.graph.edges)
    assert all(name in nodes for loop in document.graph.loops for name in loop.nodes)


@given(ANY_TEXT)
@QUICK
@example("x n1: circle { # a")
def test_any_text_is_read_without_loss(text: str) -> None:
    document = parse(text)

    assert text == str(document.tree)
    assert_sound(document)
    assert describe(document, "any.fz").count("-->") >= len(document.problems)


@given(
    st.one_of(
        st.binary(max_size=200),
        ANY_TEXT.map(lambda text: text.encode("utf-16")),
        st.binary().map(b"\xef\xbb\xbf".__add__),
    )
)
@QUICK
def test_any_bytes_are_read(data: bytes) -> None:
    document = parse_bytes(data)

    assert data == str(document.tree).encode("utf-8", "surrogateescape")
    assert_sound(document)


@given(ANY_TEXT)
@QUICK
def test_lenient_reading_finds_the_same_in_the_same_places(text: str) -> None:
    strict, lenient = parse(text), parse(text, lenient=True)

    assert strict.graph == lenient.graph
    assert [
        dataclasses.replace(problem, severity=RULES[problem.code].lenient if problem.severity != "info" else "info")
        for problem in strict.problems
    ] == list(lenient.problems)


@given(ANY_TEXT, st.booleans())
@QUICK
@example('A {# n1: circle label:"x" }', False)
def test_formatting_keeps_the_meaning_and_is_done_once(text: str, keeps_comments: bool) -> None:
    document = parse(text)
    try:
        written = formatted(document, keeps_comments=keeps_comments)
    except Unclear:
        assert document.has_errors
        return
    again = parse(written)

    assert document.graph == again.graph
    assert differences(document.graph, again.graph) == ()
    assert written == formatted(again, keeps_comments=keeps_comments)
    assert {"FZ502"} >= {problem.code for problem in again.problems if problem.severity == "error"}


@given(diagrams(is_lenient=True))
@QUICK
def test_lenient_forms_are_warnings_when_asked_for(text: str) -> None:
    document = parse(text, lenient=True)

    assert not document.has_errors, describe(document, "lenient.fz")


@given(diagrams())
@QUICK
def test_a_diagram_without_mistakes_has_no_errors(text: str) -> None:
    document = parse(text)

    assert not document.has_errors, describe(document, "strict.fz")


@given(diagrams(is_lenient=True))
@QUICK
def test_fixes_of_lenient_forms_lose_nothing(text: str) -> None:
    document = parse(text)
    mended = parse(apply(text, [problem.fix for problem in document.problems if RULES[problem.code].is_form]))

    assert set(document.graph.nodes) == set(mended.graph.nodes)
    assert collections.Counter(document.graph.edges) == collections.Counter(mended.graph.edges)


@given(ANY_TEXT)
@QUICK
def test_fixes_of_any_text_give_a_text(text: str) -> None:
    document = parse(text)
    mended = parse(apply(text, [problem.fix for problem in document.problems]))

    assert_sound(mended)


@given(diagrams(), diagrams())
@QUICK
def test_differences_are_none_exactly_when_the_graphs_are_equal(first: str, second: str) -> None:
    before, after = parse(first).graph, parse(second).graph

    assert differences(before, before) == ()
    assert (before == after) == (differences(before, after) == ())
