"""What may change in an event that readers rely on, and what may not."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import pytest

from freehold.contract import Problem, contract_of, record_contracts
from freehold.contract import check_contracts as check_system
from freehold.contract.form import form_of, is_readable_as
from freehold.errors import ContractError
from freehold.event import Event
from freehold.service import Listen, Replica, Service, System


async def app(*_: Any) -> None: ...


def service(*events: type[Event], name: str = "users", contracts: Path | None = None, **more: Any) -> Service:
    return Service(name=name, store=None, app=app, publishes=events, contracts=contracts, **more)


def check_contracts(*services: Service) -> list[Problem]:
    return check_system(System(name="s", services=services))


class UserUpdated(Event, entity="user"):
    """A user's name has changed."""

    id: str
    name: str
    age: int | None = None


class UserDeleted(Event, entity="user", erases=True):
    id: str


ORIGINAL = UserUpdated


def variants() -> dict[str, type[Event]]:
    """Give classes of the same event that break its contract, by what must be said of them."""

    class Removed(Event, entity="user"):
        id: str
        age: int | None = None

    class Changed(Event, entity="user"):
        id: str
        name: int
        age: int | None = None

    class Widened(Event, entity="user"):
        id: str
        name: str | None
        age: int | None = None

    class Narrowed(Event, entity="user"):
        id: str
        name: Annotated[str, msgspec.Meta(max_length=10)]
        age: int | None = None

    class Demanding(Event, entity="user"):
        id: str
        name: str
        email: str
        age: int | None = None

    class Loosened(Event, entity="user"):
        id: str
        name: str = ""
        age: int | None = None

    class Rekeyed(Event, entity="user", key="name"):
        id: str
        name: str
        age: int | None = None

    class Moved(Event, entity="person"):
        id: str
        name: str
        age: int | None = None

    class Erasing(Event, entity="user", erases=True):
        id: str
        name: str
        age: int | None = None

    return {
        "the field 'name' would be gone": Removed,
        "the type of 'name' would allow what readers cannot read": Changed,
        "type of 'name' would allow what readers": Widened,
        "the type of 'name' would be narrower": Narrowed,
        "the field 'email' would be required": Demanding,
        "the field 'name' would be optional": Loosened,
        "its key was 'id' and would be 'name'": Rekeyed,
        "its entity was 'user' and would be 'person'": Moved,
        "its erases was False and would be True": Erasing,
    }


def renamed(event: type[Event]) -> type[Event]:
    event.__name__ = "UserUpdated"
    return event


@pytest.mark.parametrize("said", variants())
def test_breaking_change_is_refused_by_name(tmp_path: Path, said: str) -> None:
    record_contracts(service(ORIGINAL, contracts=tmp_path))
    before = (tmp_path / "UserUpdated.1.json").read_bytes()
    changed = service(renamed(variants()[said]), contracts=tmp_path)

    problems = [str(problem) for problem in check_contracts(changed)]

    assert any(said in problem for problem in problems), problems
    assert all("schema=2" in problem for problem in problems)
    with pytest.raises(ContractError, match="nothing was written"):
        record_contracts(changed)
    assert (tmp_path / "UserUpdated.1.json").read_bytes() == before


def test_adding_an_optional_field_is_fine_once_written(tmp_path: Path) -> None:
    class Grown(Event, entity="user"):
        id: str
        name: str
        age: int | None = None
        email: str | None = None

    record_contracts(service(ORIGINAL, contracts=tmp_path))
    grown = service(renamed(Grown), contracts=tmp_path)

    assert [problem.kind for problem in check_contracts(grown)] == ["contract-stale", "sample-stale"]
    assert [path.name for path in record_contracts(grown)] == ["UserUpdated.1.json", "UserUpdated.1.2.json"]
    assert check_contracts(grown) == []


def test_new_schema_number_is_a_new_file_beside_the_old_one(tmp_path: Path) -> None:
    class Second(Event, entity="user", schema=2):
        id: str
        full_name: str

    record_contracts(service(ORIGINAL, contracts=tmp_path))
    second = service(renamed(Second), contracts=tmp_path)
    record_contracts(second)

    assert (
        sorted(path.name for path in tmp_path.rglob("*.json"))
        == ["UserUpdated.1.json"] * 2 + ["UserUpdated.2.json"] * 2
    )
    assert check_contracts(second) == []
    assert [problem.kind for problem in check_contracts(service(ORIGINAL, contracts=tmp_path))] == ["schema-behind"]


def test_writing_twice_changes_nothing(tmp_path: Path) -> None:
    users = service(ORIGINAL, UserDeleted, contracts=tmp_path)

    assert len(record_contracts(users)) == 4
    assert record_contracts(users) == []


def test_missing_and_abandoned_files_are_named(tmp_path: Path) -> None:
    record_contracts(service(UserDeleted, contracts=tmp_path))

    found = check_contracts(service(ORIGINAL, contracts=tmp_path))

    assert [problem.kind for problem in found] == ["contract-missing", "event-removed"]


@pytest.mark.parametrize("content", ["", "{}", '{"type": 1}', "[]"])
def test_unreadable_contract_is_an_error_that_names_the_file(tmp_path: Path, content: str) -> None:
    (tmp_path / "UserUpdated.1.json").write_text(content)

    with pytest.raises(ContractError, match=r"UserUpdated\.1\.json cannot be read"):
        check_contracts(service(ORIGINAL, contracts=tmp_path))


def test_contract_does_not_change_with_a_docstring() -> None:
    class Silent(Event, entity="user"):
        id: str
        name: str
        age: int | None = None

    assert contract_of(service(), renamed(Silent)) == contract_of(service(), ORIGINAL)


class Customer(msgspec.Struct):
    id: str
    name: str


class Demanding(msgspec.Struct):
    id: str
    email: str = ""


class Ageing(msgspec.Struct):
    id: str
    age: int


class Numbered(msgspec.Struct):
    __schema__: ClassVar[int] = 2
    id: str


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (Customer, None),
        (Demanding, "needs 'email', which users.UserUpdated (schema 1) does not have"),
        (Ageing, "needs 'age', which users.UserUpdated (schema 1) may lack"),
        (Numbered, "reads schema 2 and has no upcast for users.UserUpdated (schema 1), which is on the topic"),
    ],
)
def test_replica_is_held_to_every_contract_of_its_entity(
    tmp_path: Path, state: type[msgspec.Struct], said: str | None
) -> None:
    users = service(ORIGINAL, UserDeleted, contracts=tmp_path)
    record_contracts(users)
    orders = service(name="orders", replicates=[Replica(state, of="users", entity="user", into="customers")])

    found = [problem.what for problem in check_contracts(users, orders)]

    assert [text for text in found if said is None or said not in text] == []
    assert bool(found) is (said is not None)


def test_listener_is_held_to_the_contract_of_its_type(tmp_path: Path) -> None:
    class Seen(Event, entity="user"):
        id: str
        name: int

    users = service(ORIGINAL, contracts=tmp_path)
    record_contracts(users)

    def found(listen: Listen) -> list[str]:
        orders = service(name="orders", listens=[listen])
        return [problem.what for problem in check_contracts(users, orders)]

    async def handler(*_: Any) -> None: ...

    assert found(Listen(Seen, handler, of="users", name="UserUpdated")) == [
        "reads 'name' as another type than users.UserUpdated (schema 1) has"
    ]
    assert found(Listen(Seen, handler, of="users")) == ["users has no contract of what it reads"]


@dataclasses.dataclass
class Of:
    """A class with one field of that type, since forms are compared as fields of events."""

    kind: Any

    @property
    def form(self) -> dict[str, Any]:
        return form_of(msgspec.defstruct("Holder", [("field", self.kind)]))


class Line(msgspec.Struct):
    sku: str
    count: int


class Less(msgspec.Struct):
    sku: str


class Tree(msgspec.Struct):
    name: str
    children: list[Tree] = []


class Weighted(msgspec.Struct):
    name: str
    weight: int
    children: list[Weighted] = []


POSITIVE = Annotated[int, msgspec.Meta(ge=1)]
ABOVE_TEN = Annotated[int, msgspec.Meta(ge=10)]


@pytest.mark.parametrize(
    ("written", "read", "expected"),
    [
        (int, int, True),
        (int, float, True),
        (float, int, False),
        (str, Any, True),
        (Any, str, False),
        (str, str | None, True),
        (str | None, str, False),
        (int | str, str | int | None, True),
        (Literal["a"], Literal["a", "b"], True),
        (Literal["a", "b"], Literal["a"], False),
        (Literal["a"], str, True),
        (Literal[1], str, False),
        (str, Literal["a"], False),
        (list[int], list[float], True),
        (list[str], list[int], False),
        (list[str], list, True),
        (list, list[str], False),
        (dict[str, int], dict[str, float], True),
        (dict[str, str], dict[str, int], False),
        (Line, Less, True),
        (Less, Line, False),
        (list[Line], list[Less], True),
        (tuple[int, str], tuple[int, str], True),
        (tuple[int, str], tuple[str, int], False),
        (ABOVE_TEN, POSITIVE, True),
        (POSITIVE, ABOVE_TEN, False),
        (POSITIVE, int, True),
        (int, POSITIVE, False),
        (Tree, Tree, True),
        (Weighted, Tree, True),
        (Tree, Weighted, False),
    ],
)
def test_one_form_is_readable_as_another(written: Any, read: Any, expected: bool) -> None:
    assert is_readable_as(Of(written).form, Of(read).form) is expected
