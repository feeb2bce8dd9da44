"""How many events share a transaction follows what was met: slow handlers, failures, and their end."""

from __future__ import annotations

from freehold.consumer.together import BATCH_RECORDS_MAX, QUICK_S, Together


def test_batch_is_whole_until_something_speaks_against_it() -> None:
    together = Together()
    together.went_well(BATCH_RECORDS_MAX, 0.01)

    assert together.most == BATCH_RECORDS_MAX


def test_slow_events_come_in_parts_that_do_not_grow_while_they_are_slow() -> None:
    together = Together()
    together.took_too_long(30)
    together.went_well(15, QUICK_S + 0.1)
    assert together.most == 15
    together.took_too_long(1)
    assert together.most == 1


def test_parts_grow_again_with_what_goes_well() -> None:
    together = Together()
    together.failed(0)
    sizes = [together.most]
    while together.most < BATCH_RECORDS_MAX:
        together.went_well(together.most, 0.1)
        sizes.append(together.most)

    assert sizes == [1, 2, 4, 8, 16, 32, 64, 128, 256, BATCH_RECORDS_MAX]
    together.failed(100)
    together.went_well(3, 0.1)
    assert together.most == 100
