"""The strict form of texts that are not strict."""

import pytest

from freehold.flowzap import parse
from freehold.flowzap.format import Unclear, formatted

LOOSE = """
  Shop {# The shop
// first of all
n1 : circle label="Order"

Shop.n1.handle(right)->n3.handle(left) [label:"Items"]
n2: circle label:"Done"
// last of all
}
// between
Store {
\tn3: rectangle label:"Pack"
loop [more] Shop.n1 n3
}
n3.handle(top) -> Store.n2.handle(bottom) [label=""]
// the end"""

STRICT = """Shop { # The shop
n1: circle label:"Order"
n2: circle label:"Done"
n1.handle(right) -> Store.n3.handle(left) [label="Items"]
}
Store { # Store
n3: rectangle label:"Pack"
n3.handle(top) -> Shop.n2.handle(bottom)
loop [more] n1 n3
}
"""

WITH_COMMENTS = """Shop { # The shop
// first of all
n1: circle label:"Order"
n2: circle label:"Done"
n1.handle(right) -> Store.n3.handle(left) [label="Items"]
// last of all
}
// between
Store { # Store
n3: rectangle label:"Pack"
n3.handle(top) -> Shop.n2.handle(bottom)
loop [more] n1 n3
}
// the end
"""


def test_loose_text_becomes_strict() -> None:
    loose = LOOSE.replace("->n3", "->Store.n3")

    assert formatted(parse(loose)) == STRICT
    assert formatted(parse(loose), keeps_comments=True) == WITH_COMMENTS


def test_strict_text_stays_as_it_is() -> None:
    assert formatted(parse(STRICT)) == STRICT


def test_error_beyond_form_leaves_the_text_alone() -> None:
    with pytest.raises(Unclear, match="FZ305"):
        formatted(parse(LOOSE))
