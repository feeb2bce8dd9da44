"""A quiet relay waits for nobody, a busy one gathers, one with a backlog goes on at once."""

import pytest

from freehold.outbox import CHUNK_ROWS
from freehold.outbox.pace import REST_S, Pace


def rests(pace: Pace, per_second: int, seconds: float, begin: float = 100.0) -> list[float]:
    return [pace.rest_s(1, begin + number / per_second) for number in range(int(per_second * seconds))]


@pytest.mark.parametrize("per_second", [1, 50, 200, 390])
def test_quiet_relay_never_rests(per_second: int) -> None:
    assert set(rests(Pace(), per_second, 2)) == {0.0}


def test_busy_relay_rests_after_each_chunk_from_the_second_slot_on() -> None:
    found = rests(Pace(), 1_000, 1)

    assert set(found[:90]) == {0.0}
    assert set(found[110:]) == {REST_S}


def test_busy_relay_that_gathers_stays_busy() -> None:
    pace = Pace()
    rests(pace, 1_000, 0.2)

    assert {pace.rest_s(10, 100.2 + number * 0.01) for number in range(50)} == {REST_S}


def test_relay_that_was_quiet_for_a_moment_waits_for_nobody() -> None:
    pace = Pace()
    rests(pace, 1_000, 0.5)

    assert pace.rest_s(1, 101.0) == 0.0


def test_whole_chunk_is_followed_at_once() -> None:
    pace = Pace()

    assert {pace.rest_s(CHUNK_ROWS, 100 + number / 50) for number in range(50)} == {0.0}
