"""One slip of the finger, anywhere in a diagram, is told as one problem."""

import re
from collections.abc import Iterator

import pytest

from freehold.flowzap import parse

LINES = """Shop { # The shop
n1: circle label:"Order"
n2: diamond label:"In stock?"
n3: circle label:"Done"
n1.handle(right) -> n2.handle(left)
n2.handle(bottom) -> Store.n4.handle(top) [label="Yes"]
n2.handle(right) -> n3.handle(left) [label="No"]
}
Store { # The store
n4: rectangle label:"Pack the next item"
n4.handle(top) -> Shop.n2.handle(right) [label="Packed"]
loop [items are left] n2 n4
}""".splitlines()


def slips(line: str) -> Iterator[str]:
    """Give a line with one character too few or too many, two swapped, or one word in the wrong case."""
    for found in re.finditer(r'[{}#:."()\[\]>=-]', line):
        yield line[: found.start()] + line[found.end() :]
        yield line[: found.start()] + found[0] + line[found.start() :]
    for found in re.finditer(r"[A-Za-z]{3,}", line):
        at = found.start() + 1
        yield line[:at] + line[at + 1] + line[at] + line[at + 2 :]
        yield line[: found.start()] + found[0].swapcase() + line[found.end() :]
    for found in re.finditer(r"n\d", line):
        yield line[: found.start()] + line[found.start() + 1 :]
        yield line[: found.start()] + "N" + line[found.start() + 1 :]


def test_the_diagram_has_no_problem() -> None:
    assert [problem.code for problem in parse("\n".join(LINES)).problems if problem.severity != "info"] == []


@pytest.mark.parametrize("place", range(len(LINES)))
def test_one_slip_gives_one_problem_at_most(place: int) -> None:
    told = {}
    for slip in slips(LINES[place]):
        text = "\n".join([*LINES[:place], slip, *LINES[place + 1 :]])
        told[slip] = [problem.code for problem in parse(text).problems if problem.severity != "info"]

    assert {slip: codes for slip, codes in told.items() if len(codes) > 1} == {}
