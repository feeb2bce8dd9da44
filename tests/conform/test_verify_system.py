"""The reference system is driven once and held against its diagrams; a broken one is driven once and found out."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest

from freehold.conform.binding import bind
from freehold.conform.drive import Observed, drive
from freehold.conform.judge import judge
from freehold.conform.span import Span
from freehold.conform.verdict import Verdict
from freehold.flowzap import read
from freehold.runtime.load import load_system
from tests.conform.seen import unseen

ROOT = Path(__file__).parents[2]
SYSTEM = ROOT / "systems" / "database_per_service"
OWN = SYSTEM / "system.fz"
SEED = ROOT.parent / "shared" / "seed" / "database-per-service.fz"
BROKEN = Path(__file__).with_name("broken_shop.py")
is_seed_there = pytest.mark.skipif(not SEED.exists(), reason=f"the template's own diagram is not at {SEED}")

pytestmark = pytest.mark.services


@pytest.fixture(scope="module")
def observed() -> Observed:
    return drive(load_system(str(SYSTEM)), str(SYSTEM), print)


@pytest.fixture(scope="module")
def broken() -> Observed:
    return drive(load_system(str(BROKEN)), str(BROKEN), print)


def hold(observed: Observed, diagram: Path, *, added: str = "", into: str = "") -> Verdict:
    """Hold a diagram, or one with a line put behind another, against what was observed."""
    text = diagram.read_text()
    if added:
        assert into in text
        text = text.replace(into, f"{into}\n{added}", 1)
    from freehold.flowzap import parse

    lines = load_system(str(SYSTEM)).bindings
    binding = bind(parse(text).graph, observed.landscape, lines, is_own=diagram == OWN)
    return judge(
        observed.spans, binding, observed.landscape, system="shop", diagram=diagram.name, scenarios=observed.outcomes
    )


def changed(observed: Observed, change: Callable[[Span], Span | None]) -> Observed:
    """Give what would have been observed, had each span been so."""
    spans = [made for span in observed.spans if (made := change(span)) is not None]
    return dataclasses.replace(observed, spans=spans)


def test_own_diagram_is_clean_and_true(observed: Observed) -> None:
    verdict = hold(observed, OWN)

    assert [each for each in read(OWN).problems if each.severity != "info"] == []
    assert (unseen(verdict), verdict.undeclared, verdict.deviations) == ((set(), set()), [], [])
    assert verdict.problems == ()
    assert [each.problem for each in verdict.scenarios if each.problem] == []
    assert (verdict.fitness, verdict.holds) == (1.0, True)


@is_seed_there
def test_template_as_it_was_published_holds(observed: Observed) -> None:
    verdict = hold(observed, SEED)

    assert (sum(node.seen for node in verdict.nodes), len(verdict.nodes)) == (16, 16)
    assert (sum(edge.seen for edge in verdict.edges), len(verdict.edges)) == (17, 17)
    assert (verdict.fitness, verdict.undeclared, verdict.problems) == (1.0, [], ())
    assert verdict.holds


@is_seed_there
@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("n7.handle(bottom) -> OrderService.n11.handle(top)", "User PostgreSQL -> Order MongoDB"),
        ("n5.handle(bottom) -> n8.handle(bottom)", "Handle User Request -> Return User Data"),
        ("n5.handle(bottom) -> n7.handle(bottom)", "Handle User Request -> User PostgreSQL"),
        ("n6.handle(bottom) -> n8.handle(bottom)", "Query User DB -> Return User Data"),
        ("n6.handle(bottom) -> OrderService.n9.handle(top)", "Query User DB -> Handle Order Request"),
        ("n7.handle(top) -> Gateway.n3.handle(bottom)", "User PostgreSQL -> Aggregate Responses"),
        ("n7.handle(bottom) -> EventBus.n14.handle(top)", "User PostgreSQL -> Event Topic"),
        ("n5.handle(bottom) -> EventBus.n13.handle(top)", "Handle User Request -> Publish Domain Event"),
        ("n8.handle(bottom) -> EventBus.n13.handle(top)", "Return User Data -> Publish Domain Event"),
        ("n8.handle(top) -> Gateway.n2.handle(bottom)", "Return User Data -> Route to Service"),
    ],
)
def test_template_with_one_more_edge_is_false_at_that_edge(observed: Observed, line: str, named: str) -> None:
    verdict = hold(observed, SEED, added=line, into='n7.handle(right) -> n8.handle(left) [label="Result"]')

    assert unseen(verdict) == (set(), {named})
    assert not verdict.holds


@is_seed_there
def test_template_is_false_at_the_one_edge_when_that_event_is_not_published(broken: Observed) -> None:
    assert unseen(hold(broken, SEED)) == (set(), {"Publish Domain Event -> Event Topic"})


def test_event_that_is_not_published_is_named(broken: Observed) -> None:
    """Every other event still goes the same way: only the branch that says UserUpdated is not gone."""
    nodes, edges = unseen(hold(broken, OWN))

    # What is embedded follows a change, so it goes too, unless an erasure was applied in the same batch as a new user.
    assert edges - {"Customers replica -> Customers inside orders"} == {"Still at that version? -> Outbox of users"}
    assert nodes == set()


@pytest.mark.parametrize("diagram", [OWN, pytest.param(SEED, marks=is_seed_there)])
def test_stolen_credential_and_call_past_the_gateway_are_named_the_data_first(broken: Observed, diagram: Path) -> None:
    verdict = hold(broken, diagram)

    assert [found.what for found in verdict.undeclared] == [
        "a stranger -> the store of orders",
        "orders -> the store of users",
        "orders -> the API of users",
    ]
    assert "connect as orders" in verdict.undeclared[0].details[0]
    assert "SELECT users" in verdict.undeclared[1].details
    assert verdict.undeclared[2].details == ("GET /users",)
    assert verdict.fitness < 1.0


def test_scenario_that_does_not_come_to_its_end_is_said(broken: Observed) -> None:
    problems = [each.problem for each in broken.outcomes if each.problem]

    assert problems == ["the new name in the order did not come within 1 s"]


def test_function_that_was_renamed_is_named(observed: Observed) -> None:
    def rename(span: Span) -> Span:
        if span.attributes.get("freehold.operation") != "change":
            return span
        return dataclasses.replace(span, attributes={**span.attributes, "freehold.operation": "modify"})

    nodes, edges = unseen(hold(changed(observed, rename), OWN))

    assert "Change in one transaction" in nodes
    assert {edge for edge in edges if "Change in one transaction" not in edge} <= {
        "Still at that version? -> Outbox of users",
        "Still at that version? -> Refuse with 412",
    }


def test_copy_that_is_skipped_is_named(observed: Observed) -> None:
    nodes, edges = unseen(hold(changed(observed, lambda span: None if span.name == "update customers" else span), OWN))

    assert nodes == {"Customers replica", "Replica without the person", "Is the person gone?"}
    assert edges == {
        "Consumer of users -> Is the person gone?",
        "Is the person gone? -> Customers replica",
        "Is the person gone? -> Replica without the person",
        "Customers replica -> MongoDB of orders",
        "Customers replica -> Customers inside orders",
        "Replica without the person -> MongoDB of orders",
        "Replica without the person -> Customers inside orders",
    }


def test_edge_that_was_added_is_named(observed: Observed) -> None:
    verdict = hold(
        observed,
        OWN,
        added='n18.handle(bottom) -> Orders.n28.handle(top) [label="Straight"]',
        into="Users { # Users",
    )

    assert unseen(verdict) == (set(), {"PostgreSQL of users -> MongoDB of orders"})
