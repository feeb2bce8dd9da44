"""A declaration that cannot run is refused when it is made, not when it runs."""

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from freehold.errors import DeclarationError
from freehold.event import Event
from freehold.service import Listen, Parking, Replica, Service, System
from freehold.store.mongo import Mongo
from freehold.store.postgres import Postgres


class Customer(msgspec.Struct):
    id: str
    name: str


class PaymentTaken(Event, entity="payment"):
    id: str


async def application(scope: Any, receive: Any, send: Any) -> None: ...


async def confirm(tx: Any, event: PaymentTaken) -> None: ...


def service(name: str, **declared: Any) -> Service:
    return Service(name=name, store=object(), app=application, **declared)


@pytest.mark.parametrize("name", ["", "Users", "users-api", "1st", "u" * 42, "users;drop"])
def test_name_that_no_database_would_take_is_refused(name: str) -> None:
    with pytest.raises(DeclarationError, match="service name"):
        service(name)


def test_published_event_must_say_what_it_is_about() -> None:
    class Nameless(Event):
        id: str

    with pytest.raises(DeclarationError, match="say which entity"):
        service("users", publishes=[Nameless])


def test_service_does_not_listen_to_itself() -> None:
    with pytest.raises(DeclarationError, match="listens to itself"):
        service("payments", listens=[Listen(PaymentTaken, confirm, of="payments")])


def test_sources_are_named_once() -> None:
    orders = service(
        "orders",
        listens=[Listen(PaymentTaken, confirm, of="payments")],
        replicates=[
            Replica(Customer, of="users", entity="user", into="customers"),
            Replica(Customer, of="payments", entity="payer", into="payers"),
        ],
    )

    assert orders.sources() == ["payments", "users"]


def test_replica_may_not_declare_what_freehold_keeps() -> None:
    class Versioned(msgspec.Struct):
        id: str
        version: int

    with pytest.raises(DeclarationError, match="declares version"):
        Replica(Versioned, of="users", entity="user", into="customers")


def test_replica_needs_an_id() -> None:
    class Anonymous(msgspec.Struct):
        name: str

    with pytest.raises(DeclarationError, match="needs a field id"):
        Replica(Anonymous, of="users", entity="user", into="customers")


def test_system_refuses_two_services_of_one_name() -> None:
    with pytest.raises(DeclarationError, match="two services are called users"):
        System(name="shop", services=[service("users"), service("users")])


def test_system_refuses_a_source_that_it_does_not_have() -> None:
    orders = service("orders", replicates=[Replica(Customer, of="users", entity="user", into="customers")])

    with pytest.raises(DeclarationError, match="reads the events of users"):
        System(name="shop", services=[orders])


def test_system_names_its_services_when_asked_for_another() -> None:
    with pytest.raises(DeclarationError, match="it has users, orders"):
        System(name="shop", services=[service("users"), service("orders")]).service("payments")


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"at_once": -1}, "at_once must be"),
        ({"at_once": 3, "attempts": 3}, "attempts must be greater"),
        ({"age": timedelta(0)}, "age must be"),
        ({"back_off_s": (0, 1)}, "back_off_s must be"),
        ({"back_off_s": (2, 1)}, "back_off_s must be"),
        ({"deadline_s": 0}, "deadline_s must be"),
        ({"deadline_s": 20.1}, "deadline_s must be more than 0 and at most 20"),
        ({"per_key_max": 0}, "per_key_max must be"),
        ({"per_key_max": 11, "total_max": 10}, "per_key_max must be"),
        ({"total_max": 100_001}, "total_max must be"),
        ({"unreadable": "skip"}, "unreadable must be"),
    ],
)
def test_parking_that_makes_no_sense_is_refused(policy: Any, said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        Parking(**policy)


def test_parking_of_events_that_are_not_read_is_refused() -> None:
    listens = [Listen(PaymentTaken, confirm, of="payments")]
    service("orders", listens=listens, parking={"payments": Parking()})

    with pytest.raises(DeclarationError, match="'payment', which it does not read"):
        service("orders", listens=listens, parking={"payment": Parking()})


def test_deadline_behind_which_postgresql_ends_the_transaction_is_refused() -> None:
    def with_deadline(store: Any, deadline_s: float) -> Service:
        listens = [Listen(PaymentTaken, confirm, of="payments")]
        parking = {"payments": Parking(deadline_s=deadline_s)}
        return Service(name="orders", store=store, app=application, listens=listens, parking=parking)

    with_deadline(Mongo(), 20)
    with_deadline(Postgres(migrations="migrations"), 9)
    with pytest.raises(DeclarationError, match=r"take 9\.5 s; with postgres deadline_s is at most 9"):
        with_deadline(Postgres(migrations="migrations"), 9.5)
