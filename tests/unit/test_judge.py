"""Whether a copy is equal, in flight, or wrong, and how: each case, and random histories in which nothing is wrong."""

from __future__ import annotations

import random

import pytest

from freehold.converge.judge import EMPTY, SET_BACK, Held, Kind, Owned, judge, seems_equal
from freehold.event import Place


def held(version: int, content: bytes | None = b"x", epoch: int = 1, index: int = 0) -> Held:
    return Held(Place(epoch, version, index), content)


def owned(version: int, content: bytes | None = b"x") -> Owned:
    return Owned(version, content)


@pytest.mark.parametrize(
    ("before", "copy", "after", "verdict"),
    [
        (owned(3), held(3), owned(3), "equal"),
        (owned(3), held(4, b"y"), owned(4, b"y"), "equal"),
        (owned(3), held(3), owned(9), "equal"),
        (owned(3, None), held(3, None), owned(3, None), "equal"),
        (None, None, None, "equal"),
        (None, Held(EMPTY, b""), None, "equal"),
        (None, held(0, None), None, "equal"),  # told gone, of somebody who never was
        (None, None, owned(1), "equal"),
        (owned(3), held(3, epoch=1, index=1_000_007), owned(3), "equal"),
        (owned(3), None, owned(3), Kind.MISSING),
        (owned(3, None), None, owned(3, None), Kind.MISSING),
        (owned(3), Held(EMPTY, b""), owned(3), Kind.STALE),
        (owned(3), held(2), owned(3), Kind.STALE),
        (owned(3, None), held(2), owned(3, None), Kind.STALE),
        (owned(3), Held(SET_BACK, b"x"), owned(3), Kind.STALE),
        (owned(3), held(4), owned(3), Kind.AHEAD),
        (owned(3), held(3, epoch=2), owned(3), Kind.AHEAD),
        (owned(3), held(4, None), owned(3), Kind.AHEAD),
        (owned(3), held(3, b"y"), owned(3), Kind.CONTENT),
        (owned(3), held(3, None), owned(3), Kind.CONTENT),
        (owned(3), held(3, b"y"), owned(4), Kind.CONTENT),
        (owned(3, None), held(3), owned(3, None), Kind.LEFT_OVER),
        (None, held(3), None, Kind.LEFT_OVER),
        (None, Held(SET_BACK, b"x"), None, Kind.LEFT_OVER),
        (None, held(1), owned(1), "unsettled"),
        (owned(3), held(4, b"y"), owned(5), "unsettled"),
        (owned(3), held(4, b"half"), owned(4, b"whole"), "unsettled"),
        (owned(3), held(3), None, "unsettled"),
    ],
)
def test_verdict(before: Owned | None, copy: Held | None, after: Owned | None, verdict: str) -> None:
    assert judge(before, copy, after, epoch=1, moved=False) == verdict


def test_copy_that_came_while_the_owner_was_asked_is_not_left_over() -> None:
    """Made and removed for good between the owner's two answers: its end may be on its way."""
    assert judge(None, held(1), None, epoch=1, moved=True) == "unsettled"


def test_copy_of_an_epoch_that_is_over_is_judged_by_its_version() -> None:
    assert judge(owned(3), held(3, epoch=1), owned(3), epoch=2, moved=False) == "equal"
    assert judge(owned(3), held(5, epoch=1), owned(3), epoch=2, moved=False) == Kind.AHEAD
    assert seems_equal(owned(3), held(3), 2)
    assert not seems_equal(owned(3), held(3, epoch=2), 1)


@pytest.mark.parametrize("seed", range(300))
def test_in_a_history_where_nothing_is_wrong_no_moment_looks_wrong(seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311 (repeatable)
    # What the owner has from version to version: absent, states, gone, and states again.
    states = [owned(version, None if chance.random() < 0.2 else b"%d" % version) for version in range(1, 9)]
    history = [None, *states]
    first = chance.randrange(9)
    last = chance.randrange(first, 9)
    reached = chance.randrange(first, last + 1)  # the copy has all that was there first, and nothing beyond the last
    state = history[reached]
    copy = None if state is None else Held(Place(1, state.version, 0), state.content)

    verdict = judge(history[first], copy, history[last], epoch=1, moved=chance.random() < 0.5)

    assert verdict in {"equal", "unsettled"}, (seed, first, reached, last)
