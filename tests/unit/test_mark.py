"""A mark is an event that every reader may meet and none can ask for."""

from __future__ import annotations

from typing import Any

import pytest

from freehold.consumer.batch import Subscription
from freehold.event import Event
from freehold.service import Listen, Service
from freehold.topic import Record
from freehold.topic.mark import DATA, make_mark
from freehold.topic.partition import partition_of


async def app(*_: Any) -> None: ...


async def handler(*_: Any) -> None: ...


class Mark(Event, entity="mark"):
    id: str


@pytest.mark.parametrize("partition", range(6))
def test_mark_lies_where_it_is_needed_and_is_skipped_by_declaration(partition: int) -> None:
    key, headers = make_mark("users", partition, 6, 1_000)
    orders = Service(name="orders", store=None, app=app, listens=[Listen(Mark, handler, of="users")])

    delivery = Subscription(orders, "users").read(Record("users", partition, 0, 0, key.encode(), DATA, tuple(headers)))

    assert partition_of(key.encode(), 6) == partition
    assert (delivery.states, delivery.calls) == ([], [])


def test_mark_of_a_partition_has_one_key_and_a_later_version_each_time() -> None:
    first, second = (dict(make_mark("users", 3, 6, now_ms)[1]) for now_ms in (1_000, 2_000))

    assert first["ce_subject"] == second["ce_subject"]
    assert int(first["ce_version"]) < int(second["ce_version"])
    assert first["ce_time"] == b"1970-01-01T00:00:01.000Z"
