"""Whatever was ever published is read by all who declare it, or `freehold contracts check` says who cannot, and why."""

from __future__ import annotations

import datetime
import enum
import itertools
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal
from uuid import UUID

import msgspec
import pytest

from freehold.contract import Problem, check_contracts, record_contracts
from freehold.contract.fill import fill
from freehold.contract.sample import read_samples
from freehold.errors import ContractError
from freehold.event import Event
from freehold.service import Listen, Replica, Service, System
from freehold.upcast import Upcasts


async def app(*_: Any) -> None: ...


async def handler(*_: Any) -> None: ...


def first() -> type[Event]:
    class UserUpdated(Event, entity="user"):
        id: str
        given: str
        family: str
        kind: Literal["person", "company"] = "person"

    return UserUpdated


def second() -> type[Event]:
    class UserUpdated(Event, entity="user", schema=2):
        id: str
        name: str

    return UserUpdated


def owner(folder: Path, *events: type[Event]) -> Service:
    return Service(name="users", store=None, app=app, publishes=events, contracts=folder)


def join_names(data: dict[str, Any]) -> dict[str, Any]:
    return {"id": data["id"], "name": f"{data['given']} {data['family']}"}


class FirstCustomer(msgspec.Struct):
    id: str
    given: str
    kind: Literal["person", "company"] = "person"


class Customer(msgspec.Struct):
    __schema__: ClassVar[int] = 2
    __upcasts__: ClassVar[Upcasts] = {1: join_names}
    id: str
    name: str


class LateCustomer(msgspec.Struct):
    __schema__: ClassVar[int] = 2
    id: str
    name: str


class UserUpdated(Event, entity="user", schema=2, upcasts={1: join_names}):
    id: str
    name: str


def reader(*states: type[msgspec.Struct], listens: tuple[type[Event], ...] = ()) -> Service:
    return Service(
        name="orders",
        store=None,
        app=app,
        replicates=[Replica(state, of="users", entity="user", into=f"copy{n}") for n, state in enumerate(states)],
        listens=[Listen(event, handler, of="users") for event in listens],
    )


def check(*services: Service) -> list[Problem]:
    return check_contracts(System(name="shop", services=services))


@pytest.fixture
def evolved(tmp_path: Path) -> Path:
    """Give the contracts of an event that has gone from its first schema number to its second."""
    record_contracts(owner(tmp_path, first()))
    record_contracts(owner(tmp_path, second()))
    return tmp_path


def test_every_sample_is_read_by_copy_and_handler(evolved: Path) -> None:
    assert [sample.number for sample in read_samples(evolved)] == [("users.UserUpdated", 1), ("users.UserUpdated", 2)]
    assert check(owner(evolved, second()), reader(Customer, listens=(UserUpdated,))) == []


def test_reader_without_the_upcast_is_named(evolved: Path) -> None:
    (found,) = check(owner(evolved, second()), reader(LateCustomer))

    assert (found.kind, found.breaks) == ("upcast-missing", ("orders: Replica copy0 (LateCustomer)",))
    assert found.what == "reads schema 2 and has no upcast for users.UserUpdated (schema 1), which is on the topic"
    assert found.mend == "give LateCustomer upcasts that begin with 1"


def test_schema_raised_over_a_readers_head_is_named_before_it_is_recorded(tmp_path: Path) -> None:
    record_contracts(owner(tmp_path, first()))

    found = check(owner(tmp_path, second()), reader(FirstCustomer))

    assert [problem.kind for problem in found] == ["contract-missing", "schema-unknown"]
    assert found[1].what == "reads schema 1, but users.UserUpdated is published with schema 2"


def test_reader_that_is_ahead_of_its_owner_is_right(tmp_path: Path) -> None:
    record_contracts(owner(tmp_path, first()))

    assert check(owner(tmp_path, first()), reader(Customer)) == []


@pytest.mark.parametrize("schema", [1, 2])
def test_deleted_sample_is_missed(evolved: Path, schema: int) -> None:
    (evolved / "samples" / f"UserUpdated.{schema}.json").unlink()

    (found,) = check(owner(evolved, second()), reader(Customer))

    assert (found.kind, found.where[-18:]) == ("sample-missing", f"UserUpdated.{schema}.json")
    assert ("version control" in found.mend) is (schema == 1)


def test_deleted_contract_is_missed(evolved: Path) -> None:
    (evolved / "UserUpdated.1.json").unlink()

    found = check(owner(evolved, second()), reader(Customer))

    assert [problem.kind for problem in found] == ["contract-gone", "contract-gone"]
    assert "numbers count from 1" in found[0].what
    assert "is a sample of an event that has no contract" in found[1].what


def test_upcast_that_fails_and_one_that_is_not_pure_are_found(evolved: Path) -> None:
    numbers = itertools.count()

    class Failing(msgspec.Struct):
        __schema__: ClassVar[int] = 2
        __upcasts__: ClassVar[Upcasts] = {1: lambda data: {"id": data["id"], "name": data["full_name"]}}
        id: str
        name: str

    class Impure(msgspec.Struct):
        __schema__: ClassVar[int] = 2
        __upcasts__: ClassVar[Upcasts] = {1: lambda data: {"id": data["id"], "name": str(next(numbers))}}
        id: str
        name: str

    failing, impure = check(owner(evolved, second()), reader(Failing, Impure))

    assert (failing.kind, failing.what[:50]) == ("sample-refused", "Failing's upcast of schema 1 raised KeyError; mend")
    assert (impure.kind, impure.what) == ("upcast-impure", "gives something else each time")


def test_additive_change_gets_a_sample_beside_the_old_one_which_stays(tmp_path: Path) -> None:
    class UserUpdated(Event, entity="user"):
        id: str
        given: str
        family: str
        kind: Literal["person", "company"] = "person"
        phone: str | None = None

    record_contracts(owner(tmp_path, first()))
    before = (tmp_path / "samples" / "UserUpdated.1.json").read_bytes()
    grown = owner(tmp_path, UserUpdated)

    assert [problem.kind for problem in check(grown)] == ["contract-stale", "sample-stale"]
    assert [path.name for path in record_contracts(grown)] == ["UserUpdated.1.json", "UserUpdated.1.2.json"]
    assert check(grown, reader(FirstCustomer)) == []
    assert (tmp_path / "samples" / "UserUpdated.1.json").read_bytes() == before
    assert [b"phone" in sample.data for sample in read_samples(tmp_path)] == [True, False]


def test_new_value_of_an_enumeration_names_the_readers_that_refuse_it(tmp_path: Path) -> None:
    class UserUpdated(Event, entity="user"):
        id: str
        given: str
        family: str
        kind: Literal["person", "company", "robot"] = "person"

    class Wide(msgspec.Struct):
        id: str
        kind: str = ""

    record_contracts(owner(tmp_path, first()))
    (found,) = check(owner(tmp_path, UserUpdated), reader(FirstCustomer, Wide))

    assert (found.kind, found.breaks) == ("value-added", ("orders: Replica copy0 (FirstCustomer)",))
    assert found.what == "'kind' would have the new value 'robot', which readers refuse"
    assert found.mend == "publish it with schema=2 instead, when its readers have an upcast of schema 1"


def test_removed_field_names_the_readers_that_need_it(tmp_path: Path) -> None:
    class UserUpdated(Event, entity="user"):
        id: str
        family: str
        kind: Literal["person", "company"] = "person"

    class Familiar(msgspec.Struct):
        id: str
        family: str

    record_contracts(owner(tmp_path, first()))
    (found,) = check(owner(tmp_path, UserUpdated), reader(FirstCustomer, Familiar))

    assert (found.kind, found.breaks) == ("field-removed", ("orders: Replica copy0 (FirstCustomer)",))


def test_changed_key_or_erasure_breaks_everybody_who_reads_it(tmp_path: Path) -> None:
    class UserUpdated(Event, entity="user", key="given", erases=True):
        id: str
        given: str
        family: str
        kind: Literal["person", "company"] = "person"

    record_contracts(owner(tmp_path, first()))
    found = check(owner(tmp_path, UserUpdated), reader(FirstCustomer))

    assert {problem.kind for problem in found} == {"key-changed", "erases-changed"}
    assert {problem.breaks for problem in found} == {("orders: Replica copy0 (FirstCustomer)",)}


def test_event_that_is_published_no_more_names_who_waits_for_it(evolved: Path) -> None:
    found = check(owner(evolved), reader(listens=(UserUpdated,)))

    assert {(problem.kind, problem.breaks) for problem in found} == {("event-removed", ("orders: Listen UserUpdated",))}


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "cannot be read as a sample"),
        ("{}", "cannot be read as a sample"),
        ('{"key": "user/1", "headers": {}, "data": "{}"}', "holds no event"),
        (None, "holds a sample of UserUpdated.2"),
    ],
)
def test_sample_that_cannot_be_read_is_an_error_that_names_the_file(
    evolved: Path, content: str | None, said: str
) -> None:
    folder = evolved / "samples"
    other = (folder / "UserUpdated.2.json").read_text()
    (folder / "UserUpdated.1.json").write_text(other if content is None else content)

    with pytest.raises(ContractError, match=rf"UserUpdated\.1\.json {said}.*restore it from version control"):
        check(owner(evolved, second()))


def test_sample_whose_data_its_own_class_refuses_is_found(evolved: Path) -> None:
    file = evolved / "samples" / "UserUpdated.2.json"
    file.write_text(file.read_text().replace(r"\"name\":", r"\"nome\":"))

    found = check(owner(evolved, second()))

    assert [problem.kind for problem in found] == ["sample-stale", "sample-refused"]


class Colour(enum.Enum):
    RED = "red"


class Line(msgspec.Struct, tag="line"):
    count: Annotated[int, msgspec.Meta(ge=10)]


class Everything(Event, entity="thing", omit_defaults=True):
    id: UUID
    at: datetime.datetime
    local: Annotated[datetime.datetime, msgspec.Meta(tz=False)]
    price: Decimal
    colour: Colour
    short: Annotated[str, msgspec.Meta(max_length=2)]
    long: Annotated[str, msgspec.Meta(min_length=30)]
    slug: Annotated[str, msgspec.Meta(pattern="^[a-z]+-[0-9]+$")]
    own: Annotated[str, msgspec.Meta(pattern="^§$", examples=["§"])]
    line: Line
    flag: bool = True
    count: int = 7
    text: str = "text é"
    nothing: str | None = None
    many: list[Line] = msgspec.field(default_factory=list)
    pair: tuple[int, str] = (0, "")
    names: dict[str, float] = msgspec.field(default_factory=dict)
    one_of: Literal["a", "b"] | None = None


class Tree(Event, entity="tree"):
    id: str
    parent: Tree | None = None
    children: list[Tree] = msgspec.field(default_factory=list)


def test_sample_fills_every_field_the_same_each_time() -> None:
    filled = fill(Everything)

    assert fill(Everything) == filled
    assert set(msgspec.json.decode(msgspec.json.encode(filled))) == set(Everything.__struct_fields__)
    assert fill(Tree) == Tree(id="id é")


def test_class_that_cannot_be_filled_says_how_to_give_an_example(tmp_path: Path) -> None:
    class Odd(Event, entity="odd"):
        id: Annotated[str, msgspec.Meta(pattern="^§$")]

    with pytest.raises(ContractError, match=r"no sample of Odd can be made.*\$\.id.*Meta\(examples="):
        record_contracts(owner(tmp_path, Odd))
    assert list(tmp_path.rglob("*")) == []
