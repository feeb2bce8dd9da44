"""What a record means to a subscription, and how records make a batch."""

from __future__ import annotations

from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.consumer.batch import Subscription, fold, take_batch
from freehold.errors import DeclarationError, EventRejected
from freehold.event import Event, Place, encode_data, envelope_for
from freehold.service import Listen, Replica, Service
from freehold.topic import Record
from freehold.topic.cloudevents import encode_headers
from freehold.upcast import Upcasts


async def app(*_: Any) -> None: ...


async def handler(*_: Any) -> None: ...


class UserUpdated(Event, entity="user"):
    id: str
    name: str


class UserMoved(Event, entity="user"):
    id: str
    city: str


class UserDeleted(Event, entity="user", erases=True, schema=9):
    id: str


class OrderPlaced(Event, entity="order"):
    id: str


class Customer(msgspec.Struct):
    id: str
    name: str


class LaterCustomer(msgspec.Struct):
    __schema__: ClassVar[int] = 2
    id: str
    name: str


class Named(Event, entity="user"):
    id: str
    name: str


def subscription(state: type[msgspec.Struct] = Customer) -> Subscription:
    service = Service(
        name="orders",
        store=None,
        app=app,
        replicates=[Replica(state, of="users", entity="user", into="customers")],
        listens=[Listen(Named, handler, of="users", name="UserUpdated")],
    )
    return Subscription(service, "users")


def record(event: Event, place: Place, *, owner: str = "users", data: bytes | None = None, offset: int = 0) -> Record:
    envelope = envelope_for(owner, event, place, None)
    value = encode_data(event) if data is None else data
    return Record("users", 1, offset, 0, envelope.key.encode(), value, tuple(encode_headers(envelope)))


PLACE = Place(1, 7, 0)


def test_event_of_a_replicated_entity_gives_its_state_and_calls_its_handlers() -> None:
    delivery = subscription().read(record(UserUpdated(id="1", name="Ada"), PLACE))

    (state,) = [state for _, state in delivery.states]
    assert (state.entity_id, state.place, state.fields) == ("1", PLACE, {"name": "Ada"})
    assert [event for _, event in delivery.calls] == [Named(id="1", name="Ada")]


def test_erasing_event_empties_the_copy_whatever_its_schema_number() -> None:
    delivery = subscription().read(record(UserDeleted(id="1"), PLACE))

    assert [state.fields for _, state in delivery.states] == [None]
    assert delivery.calls == []


def test_event_of_another_entity_is_skipped_by_declaration() -> None:
    delivery = subscription().read(record(OrderPlaced(id="1"), PLACE))

    assert (delivery.states, delivery.calls) == ([], [])


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (record(UserUpdated(id="1", name="Ada"), PLACE, owner="orders"), "not of users"),
        (record(UserMoved(id="1", city="Paris"), PLACE), "missing required field `name`"),
        (record(UserUpdated(id="1", name="Ada"), PLACE, data=b"{"), "its data is refused"),
        (record(UserUpdated(id="1", name="Ada"), PLACE, data=b'{"id":"1","name":7}'), "got `int` - at `$.name`"),
        (record(UserUpdated(id="1", name="Ada"), PLACE, data=b'{"id":"2","name":"x"}'), "its data is not about '1'"),
        (record(UserUpdated(id="1", name="Ada"), PLACE, data=b'{"id":"1","name":"\xff"}'), "its data is refused"),
    ],
)
def test_event_that_cannot_be_read_is_refused_with_its_place_and_reason(bad: Record, said: str) -> None:
    with pytest.raises(EventRejected) as caught:
        subscription().read(bad)

    assert said in str(caught.value)
    assert "users, partition 1, offset 0" in str(caught.value)


def test_other_schema_number_is_refused() -> None:
    with pytest.raises(EventRejected, match="it has schema 1, and LaterCustomer here reads schema 2"):
        subscription(LaterCustomer).read(record(UserUpdated(id="1", name="Ada"), PLACE))


class Moved(msgspec.Struct):
    __schema__: ClassVar[int] = 2
    __upcasts__: ClassVar[Upcasts] = {1: lambda data: {"id": data["id"], "full_name": data["name"]}}
    id: str
    full_name: str


class Greeted(Event, entity="user", schema=2, upcasts={1: lambda data: {**data, "greeting": f"Dear {data['name']}"}}):
    id: str
    greeting: str


def test_copy_and_handler_each_read_an_older_event_by_their_own_upcasts() -> None:
    service = Service(
        name="orders",
        store=None,
        app=app,
        replicates=[Replica(Moved, of="users", entity="user", into="customers")],
        listens=[Listen(Greeted, handler, of="users", name="UserUpdated")],
    )

    delivery = Subscription(service, "users").read(record(UserUpdated(id="1", name="Ada"), PLACE))

    assert [state.fields for _, state in delivery.states] == [{"full_name": "Ada"}]
    assert [event for _, event in delivery.calls] == [Greeted(id="1", greeting="Dear Ada")]


def test_upcasts_that_lead_nowhere_are_refused_at_the_declaration() -> None:
    class Customer(msgspec.Struct):
        __upcasts__: ClassVar[Upcasts] = {1: lambda data: data}
        id: str

    with pytest.raises(DeclarationError, match="Customer reads schema 1, and its upcasts begin with 1"):
        Replica(Customer, of="users", entity="user", into="customers")
    with pytest.raises(DeclarationError, match="Early reads schema 3, and its upcasts begin with 1"):

        class Early(Event, entity="user", schema=3, upcasts={1: lambda data: data}):
            id: str


def test_any_data_is_read_or_refused() -> None:
    read = subscription().read

    @given(st.binary())
    def holds(data: bytes) -> None:
        try:
            delivery = read(record(UserUpdated(id="1", name="Ada"), PLACE, data=data))
        except EventRejected:
            return
        assert len(delivery.states) == 1

    holds()


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, 5), st.integers(0, 2)), max_size=20))
def test_fold_keeps_the_newest_state_of_each_entity(events: list[tuple[str, int, int]]) -> None:
    deliveries = [subscription().read(record(UserUpdated(id=i, name=f"{v}.{x}"), Place(1, v, x))) for i, v, x in events]

    expected = {i: max(Place(1, v, x) for other, v, x in events if other == i) for i, _, _ in events}
    assert {state.entity_id: state.place for state in fold(deliveries, 0)} == expected
    assert fold(deliveries, 1) == []


@given(st.lists(st.integers(0, 50), max_size=30), st.integers(1, 10), st.integers(1, 100))
def test_batch_is_bounded_and_never_stuck(sizes: list[int], records_max: int, bytes_max: int) -> None:
    waiting = [Record("users", 0, n, 0, b"k", b"x" * size, ()) for n, size in enumerate(sizes)]

    count = take_batch(waiting, records_max, bytes_max)

    assert (count > 0) is bool(waiting)
    assert count <= min(len(waiting), records_max)
    assert count <= 1 or sum(sizes[:count]) <= bytes_max
