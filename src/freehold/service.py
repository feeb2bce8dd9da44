"""What a service is: one readable value that the runtime runs, the tests open and the diagram checks.

Nothing here does I/O. A service names what it owns, its ASGI application, what it publishes, what it listens to and
which facts of others it keeps; `System` names the services that run together and the gateway before them.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, Protocol

import msgspec

from freehold.errors import DeclarationError
from freehold.event import MESSAGE_BYTES_MAX, Event
from freehold.upcast import check_upcasts

DAY_MS = 86_400_000
# What is parked is held by a table, not a log.
PARKED_MAX = 100_000
# PostgreSQL ends a transaction that rests for 10 s, MongoDB one that lasts for 30 to 60 s. That would look like a store
# that went away, which is waited out for ever: a handler must be cut off before.
DEADLINE_S_MAX = {"postgres": 9.0, "mongo": 20.0}
_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")

Application = Callable[..., Awaitable[None]]
Handler = Callable[[Any, Any], Awaitable[None]]


class Store(Protocol):
    """The one database that a service owns; `freehold.store` has PostgreSQL's and MongoDB's."""

    @property
    def kind(self) -> str:
        """Name the product: "postgres" or "mongo"."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Topic:
    """Settings of the topic that carries a service's events; it is created with them by its owner (decision 4).

    `partitions` cannot be changed later. Every event is kept for `full_history_ms`; after that, and at the latest
    after `compacted_after_ms`, only the newest event of each entity is kept, for ever.
    """

    partitions: int = 6
    replication_factor: int = 1
    full_history_ms: int = DAY_MS
    compacted_after_ms: int = 7 * DAY_MS

    def settings(self) -> dict[str, str]:
        """Give the topic's configuration in Kafka's own words."""
        return {
            "cleanup.policy": "compact",
            "min.compaction.lag.ms": str(self.full_history_ms),
            "max.compaction.lag.ms": str(self.compacted_after_ms),
            "min.insync.replicas": str(max(1, self.replication_factor - 1)),
            # Kafka's default, which a cluster may have lowered: the largest event with its key and headers.
            "max.message.bytes": str(MESSAGE_BYTES_MAX),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entity:
    """Say where the rows of a kind of entity lie, so that copies of it can be seeded, compared with it and repaired.

    Args:
        state: Its `of(row)` makes the published state of a row; seeds and repairs are sent as this event.
        rows: Own table or collection, each row with the entity's `version`.
        key: The column or field that identifies it; it is unique, and its text is the entity's id.
        deleted: The column or field that is set (neither null nor false) when the entity is gone; its row stays.
        gone: The event that erases, for entities that are.
    """

    state: type[Event]
    rows: str
    key: str = "id"
    deleted: str = ""
    gone: type[Event] | None = None

    def __post_init__(self) -> None:
        if self.gone is not None and not self.gone.__erases__:
            raise DeclarationError(f"Entity in {self.rows}: {self.gone.__name__} does not say erases=True")
        if self.deleted and self.gone is None:
            raise DeclarationError(
                f"Entity in {self.rows}: rows with {self.deleted} set are gone; name the event that says so: gone=..."
            )
        if self.gone is not None and self.gone.__entity__ != self.name:
            raise DeclarationError(
                f"Entity in {self.rows}: {self.state.__name__} is about {self.name!r} and {self.gone.__name__} about "
                f"{self.gone.__entity__!r}"
            )

    @property
    def name(self) -> str:
        """The kind of entity ("user")."""
        return self.state.__entity__


@dataclasses.dataclass(frozen=True)
class Replica:
    """Keep another service's facts in the own store: a declared copy.

    Args:
        state: A msgspec Struct with the fields that are kept, a subset of the owner's published state; its `key`
            field ("id") becomes the primary key. Unless it reads schema 1 alone, it says so by `__schema__` and `__upcasts__`.
        of: The service that owns the facts.
        entity: The kind of entity that it is a copy of ("user").
        into: Table or collection of the own store; Freehold creates it and alone writes it.
        embedded_in: Own tables or collections that carry the same fields denormalised, by the name of the embedded
            document ("customer") or, in PostgreSQL, of the column prefix ("customer" for customer_id, customer_name).
        audit_every_s: How often the service compares it with its owner by itself, about; 0: never.
    """

    state: type[msgspec.Struct]
    _: dataclasses.KW_ONLY
    of: str
    entity: str
    into: str
    embedded_in: Mapping[str, str] = dataclasses.field(default_factory=dict)
    audit_every_s: float = 3_600.0

    def __post_init__(self) -> None:
        if self.audit_every_s < 0:
            raise DeclarationError(
                f"Replica {self.into}: audit_every_s is {self.audit_every_s}; it is 0 or more seconds"
            )
        fields = set(self.state.__struct_fields__)
        reserved = fields & {"epoch", "version", "index", "deleted"}
        if reserved:
            raise DeclarationError(
                f"Replica {self.into}: {self.state.__name__} declares {', '.join(sorted(reserved))}, which Freehold keeps "
                f"beside every copy itself; leave the field out"
            )
        if "id" not in fields:
            raise DeclarationError(f"Replica {self.into}: {self.state.__name__} needs a field id: str, the entity's id")
        check_upcasts(self.state)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Parking:
    """Say how a subscription deals with an event that fails: it is tried again, and parked meanwhile (decision 16).

    Args:
        at_once: Times that it is run again at once, before it is parked.
        attempts: Times that it is tried in all, those at once included, until it is dead: not tried again by itself.
        age: How long after its first failure it is dead in any case.
        back_off_s: The first and the longest pause between tries; each is twice the one before, less a random part.
        deadline_s: How long a handler may take, in the transaction that waits for it: at most 9 with PostgreSQL as the
            subscriber's store, 20 with MongoDB.
        per_key_max: Events of one key that may be parked; its partition stands still behind the next one.
        total_max: Events of the subscription that may be parked.
        unreadable: What is done with a record that cannot be read, such as one of an unknown schema: "park", or "pause"
            its partition until the service reads it.
        transient: Exceptions that are no failure of the event, such as an HTTP client's: the partition waits.
    """

    at_once: int = 2
    attempts: int = 20
    age: timedelta = timedelta(days=1)
    back_off_s: tuple[float, float] = (1.0, 300.0)
    deadline_s: float = 8.0
    per_key_max: int = 1_000
    total_max: int = 10_000
    unreadable: Literal["park", "pause"] = "park"
    transient: tuple[type[Exception], ...] = ()

    def __post_init__(self) -> None:
        first_s, longest_s = self.back_off_s
        most_s = max(DEADLINE_S_MAX.values())
        rules = {
            "at_once must be 0 to 100": 0 <= self.at_once <= 100,
            "attempts must be greater than at_once": self.attempts > self.at_once,
            "age must be positive": self.age > timedelta(0),
            "back_off_s must be (first, longest), 0 < first <= longest": 0 < first_s <= longest_s,
            f"deadline_s must be more than 0 and at most {most_s:g}": 0 < self.deadline_s <= most_s,
            "per_key_max must be at least 1, and total_max no less": 1 <= self.per_key_max <= self.total_max,
            f"total_max must be at most {PARKED_MAX:,}": self.total_max <= PARKED_MAX,
            'unreadable must be "park" or "pause"': self.unreadable in {"park", "pause"},
        }
        for rule, holds in rules.items():
            if not holds:
                raise DeclarationError(f"Parking: {rule}; it is {self}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Service:
    """Declare a service: a unit with its own code, its own database and its own process.

    Args:
        name: Also the name of its database, its credentials and its topic, and what its consumer groups begin with.
        store: Postgres(...) or Mongo(...); the one database that it owns.
        app: Its HTTP side, any ASGI application. Health, metrics, tracing and limits are put around it.
        publishes: The event classes that its transactions may publish.
        owns: Where its entities' rows lie, so that copies of them can be seeded, compared and repaired.
        listens: By event class, what to do with another service's event: `async def handler(tx, event)`, run in a
            transaction of the own store, perhaps again, exactly once in effect. The class says whose it is by
            `of` in `Listen`.
        replicates: The copies that it keeps of others' facts.
        parking: By the service whose events they are, how it deals with events that fail; else as `Parking()` says.
        topic: Settings of its own topic.
        contracts: Folder of the committed contract files of the events that it publishes.
        demo: Writes the demo data through the service's own functions: `async def demo(progress)`.
    """

    name: str
    store: Any
    app: Application
    publishes: Sequence[type[Event]] = ()
    owns: Sequence[Entity] = ()
    listens: Sequence[Listen] = ()
    replicates: Sequence[Replica] = ()
    parking: Mapping[str, Parking] = dataclasses.field(default_factory=dict)
    topic: Topic = dataclasses.field(default_factory=Topic)
    contracts: Path | None = None
    demo: Callable[[Callable[[int, int], None]], Awaitable[None]] | None = None

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise DeclarationError(
                f"service name {self.name!r}: use a-z, 0-9 and _, from a letter, at most 41 characters"
            )
        for cls in self.publishes:
            if not cls.__entity__:
                raise DeclarationError(
                    f'{cls.__name__}: say which entity it is about: class {cls.__name__}(Event, entity="...")'
                )
        for entity in self.owns:
            for event in (entity.state, entity.gone):
                if event is not None and event not in self.publishes:
                    raise DeclarationError(
                        f"{self.name} owns {entity.name!r} as {event.__name__}, which it does not publish: add it to publishes"
                    )
        own = [source for source in self.sources() if source == self.name]
        if own:
            raise DeclarationError(f"{self.name} listens to itself; call the function in the same transaction instead")
        self._check_parking()

    def entity(self, name: str) -> Entity:
        """Find what it owns by the kind of entity.

        Raises:
            DeclarationError: It does not say where such entities lie.
        """
        for entity in self.owns:
            if entity.name == name:
                return entity
        raise DeclarationError(
            f"{self.name} does not say where its entities of kind {name!r} lie; declare it: owns=[Entity(...)]"
        )

    def sources(self) -> list[str]:
        """Name the services whose topics this one reads, sorted, each once."""
        return sorted({listen.of for listen in self.listens} | {replica.of for replica in self.replicates})

    def _check_parking(self) -> None:
        for source, parking in self.parking.items():
            if source not in self.sources():
                raise DeclarationError(f"{self.name} says how to park events of {source!r}, which it does not read")
            kind = getattr(self.store, "kind", "")
            if parking.deadline_s > DEADLINE_S_MAX.get(kind, parking.deadline_s):
                raise DeclarationError(
                    f"{self.name} lets a handler of {source!r} take {parking.deadline_s:g} s; with {kind} deadline_s is at most "
                    f"{DEADLINE_S_MAX[kind]:g}, since the store itself would end the transaction. Let the handler write down "
                    f"what is to be done, and do what takes long outside of it"
                )


@dataclasses.dataclass(frozen=True)
class Listen:
    """Run `handler(tx, event)` for each event of that class which the service `of` publishes.

    The class is the subscriber's own view of the event, with the publisher's class name (or `name`) and the fields
    that it needs. Per entity handlers run in version order; each takes effect exactly once in the own store.
    """

    event: type[Event]
    handler: Handler
    _: dataclasses.KW_ONLY
    of: str
    name: str | None = None

    @property
    def type(self) -> str:
        """The event's type on the topic, "payments.PaymentTaken"."""
        return f"{self.of}.{self.name or self.event.__name__}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class System:
    """Declare the services that run together, the gateway before them, and the diagram that they are held to.

    Args:
        name: What it is called.
        services: Those that run together.
        gateway: The one door before them.
        diagram: The .fz file that `freehold verify` holds it to.
        bindings: What the diagram's words do not say by themselves: by "Lane", who that is ("service users"); by
            "Lane / Label", what happens there ("commit rename").
        scenarios: What `freehold verify` does to see the diagram happen: each is called with a door
            (`freehold.conform.door.Door`); its docstring's first line is its name.
        curl: Lines that `freehold up` shows to try.
    """

    name: str
    services: Sequence[Service]
    gateway: Any = None
    diagram: Path | None = None
    bindings: Mapping[str, str] = dataclasses.field(default_factory=dict)
    scenarios: Sequence[Callable[[Any], None]] = ()
    curl: Sequence[str] = ()

    def __post_init__(self) -> None:
        names = [service.name for service in self.services]
        doubled = {name for name in names if names.count(name) > 1}
        if doubled:
            raise DeclarationError(f"system {self.name}: two services are called {', '.join(sorted(doubled))}")
        for service in self.services:
            unknown = set(service.sources()) - set(names)
            if unknown:
                raise DeclarationError(
                    f"{service.name} reads the events of {', '.join(sorted(unknown))}, which is no service of {self.name}"
                )

    def service(self, name: str) -> Service:
        """Find a service by name.

        Raises:
            DeclarationError: There is none of that name; the message lists those there are.
        """
        for service in self.services:
            if service.name == name:
                return service
        raise DeclarationError(
            f"{self.name} has no service {name!r}; it has {', '.join(s.name for s in self.services)}"
        )
