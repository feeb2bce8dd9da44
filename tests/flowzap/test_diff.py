"""What changed between two diagrams, in words."""

import pytest

from freehold.flowzap import parse
from freehold.flowzap.diff import differences
from freehold.flowzap.order import causal_order

BEFORE = """Shop { # Shop
n1: circle label:"Order"
n2: diamond label:"Paid?"
n3: circle label:"Done"
n1.handle(right) -> n2.handle(left)
n2.handle(right) -> n3.handle(left) [label="Yes"]
n2.handle(bottom) -> n3.handle(bottom) [label="Later"]
loop [unpaid] n1 n2
}
"""


def told(after: str) -> list[str]:
    return [found.text for found in differences(parse(BEFORE).graph, parse(after).graph)]


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ("{ # Shop", "{ # The shop", 'lane Shop is called "The shop" instead of "Shop"'),
        ("Order", "Buy", 'node n1: label is "Buy" instead of "Order"'),
        ("diamond", "rectangle", "node n2: is a rectangle instead of a diamond"),
        ('"Later"', '"Never"', 'edge n2 -> n3 "Later": label is "Never" instead of "Later"'),
        ("n2.handle(bottom)", "n2.handle(top)", 'edge n2 -> n3 "Later": leaves on the top instead of the bottom'),
        ('n2.handle(bottom) -> n3.handle(bottom) [label="Later"]\n', "", 'edge n2 -> n3 "Later" is gone'),
        ("[unpaid]", "[not paid]", 'loop "unpaid" has the condition "not paid"'),
        ("n1 n2\n", "n1 n2 n3\n", 'loop "unpaid" goes over n1 n2 n3 instead of n1 n2'),
    ],
)
def test_one_change_is_told_in_one_sentence(old: str, new: str, text: str) -> None:
    assert [text] == told(BEFORE.replace(old, new))


def test_third_parallel_edge_is_the_one_that_is_new() -> None:
    edge = 'n2.handle(top) -> n3.handle(top) [label="No"]\n'

    assert told(BEFORE.replace("loop", f"{edge}loop")) == ['edge n2 -> n3 "No" is new']


def test_another_order_is_told() -> None:
    lines = BEFORE.splitlines()
    lines[5], lines[6] = lines[6], lines[5]

    assert told("\n".join(lines)) == ["edges stand in another order"]


def test_other_text_of_the_same_meaning_is_no_difference() -> None:
    assert told(BEFORE.replace('label:"Order"', 'label="Order"').replace("\n", "\r\n\r\n")) == []


def test_edges_follow_their_cause_and_else_the_file() -> None:
    text = """A { # A
n1: circle label:"1"
n3: circle label:"3"
n1.handle(right) -> B.n2.handle(left)
n3.handle(right) -> n1.handle(left)
n1.handle(top) -> n3.handle(top)
}
B { # B
n2: rectangle label:"2"
n2.handle(right) -> A.n3.handle(left)
}
"""
    edges = parse(text).graph.edges

    # All wait for one another, so the first in the file begins, and what it leads to opens the rest.
    assert causal_order(edges) == [0, 3, 1, 2]
