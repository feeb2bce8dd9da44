"""An event: an immutable fact about one entity at one version, and the envelope it travels in.

An author declares a class; its fields are what readers are promised (docs/concepts/events.md):

    class UserUpdated(Event, entity="user"):
        id: str
        name: str
        email: str

Its place in the history of its entity is (epoch, version, index): the store's epoch, the version that the owner's
transaction gave the entity, and the index of the event within that transaction. Everywhere the guard is "greater than
what was applied", so gaps are legal and repeats are harmless. An event that only says again what its entity is at that
version, for copies that lack it, has an index beyond those of any transaction: its repair number (decision 20).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar, Self, dataclass_transform
from uuid import UUID

import msgspec

from freehold.errors import DeclarationError, PublishError
from freehold.upcast import Upcast, Upcasts, check_upcasts

# Kafka's default message.max.bytes is 1 MiB for the whole batch with its headers; what is left is the envelope's.
EVENT_BYTES_MAX = 900_000
MESSAGE_BYTES_MAX = 1_048_588
# The key stands in the record three times; one that did not fit would hold every later event up.
KEY_BYTES_MAX = 1_000
# Events of one transaction are counted from 0 to here; from here on the index is a repair number.
REPAIR_FROM = 1_000_000

_encoder = msgspec.json.Encoder()


def _check_declaration(cls: Any) -> None:
    fields = cls.__struct_fields__
    if fields and cls.__entity__ and cls.__key__ not in fields:
        raise DeclarationError(
            f"{cls.__name__}: its key field {cls.__key__!r} is not among its fields {', '.join(fields)}; "
            f'add the field or name another with key="..."'
        )


class Place(msgspec.Struct, frozen=True, order=True, gc=False):
    """Where an event stands in its entity's history; ordered, and compared with "greater than" everywhere."""

    epoch: int
    version: int
    index: int

    @property
    def is_repair(self) -> bool:
        """Say whether the event only tells copies again what its entity is; nothing happened to the entity."""
        return self.index >= REPAIR_FROM


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class _EventMeta(msgspec.StructMeta):
    """Takes the class keywords that msgspec does not know, and keeps every event frozen."""

    def __new__(
        mcls,
        name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        *,
        entity: str | None = None,
        key: str | None = None,
        schema: int | None = None,
        erases: bool | None = None,
        upcasts: Mapping[int, Upcast] | None = None,
        **config: Any,
    ) -> Any:
        cls: Any = super().__new__(mcls, name, bases, namespace, frozen=True, kw_only=True, **config)
        if entity is not None:
            cls.__entity__ = entity
        if key is not None:
            cls.__key__ = key
        # Neither is inherited: each form says its own number, and how an older one becomes just that.
        cls.__schema__ = 1 if schema is None else schema
        cls.__upcasts__ = {} if upcasts is None else dict(upcasts)
        if erases is not None:
            cls.__erases__ = erases
        _check_declaration(cls)
        check_upcasts(cls)
        return cls


class Event(msgspec.Struct, metaclass=_EventMeta):
    """Declare what a service tells others of one of its entities.

    Class keywords: `entity` is the kind of thing ("user"), required on each event or a class it inherits from; `key`
    names the field that identifies it (default "id"); `schema` is the number of this form of the event (default 1);
    `erases=True` says that the entity is gone and its copies lose everything but the key. A reader's class says by
    `upcasts={1: function}` how the data of an older number becomes that of the next one (docs/guides/change-an-event.md).
    """

    __entity__: ClassVar[str] = ""
    __key__: ClassVar[str] = "id"
    __schema__: ClassVar[int] = 1
    __erases__: ClassVar[bool] = False
    __upcasts__: ClassVar[Upcasts] = {}

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Self:
        """Make the event from the owner's row or document; override it where names differ.

        Fields are taken by name, the key also from `_id`; what the class does not declare is left out.

        Raises:
            PublishError: The row lacks a field or holds a value of another type.
        """
        values = {name: _plain(row[name]) for name in cls.__struct_fields__ if name in row}
        if cls.__key__ not in values and "_id" in row:
            values[cls.__key__] = _plain(row["_id"])
        try:
            return msgspec.convert(values, cls)
        except msgspec.ValidationError as error:
            raise PublishError(f"{cls.__name__} cannot be made from this row: {error}") from error


def _plain(value: Any) -> Any:
    return str(value) if isinstance(value, UUID) else value


class Envelope(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of an event beside its data: who, what, which place in the entity's history, when, and which trace.

    `key` is "entity/id" and is the Kafka key; `id` is unique for its source and the same for every repeat; `erases` tells
    every reader, also one that has no class for this type, that the entity is gone.
    """

    id: str
    type: str
    source: str
    key: str
    schema: int
    place: Place
    time: str
    erases: bool = False
    traceparent: str | None = None

    @property
    def entity_id(self) -> str:
        """The id that the owner gave the entity: the key without its kind."""
        return self.key.partition("/")[2]


class OutboxRow(msgspec.Struct, frozen=True, gc=False):
    """An event as it waits in the outbox: what will be sent, byte for byte, whenever and however often it is sent.

    `headers` is the msgpack of the record's header list; `data` the JSON of the event.
    """

    key: str
    version: int
    index: int
    type: str
    headers: bytes
    data: bytes


def event_type(owner: str, cls: type[Event]) -> str:
    """Name an event class as readers see it: "users.UserUpdated"."""
    return _event_type(owner, cls.__name__)


@functools.cache
def _event_type(owner: str, name: str) -> str:
    return f"{owner}.{name}"


def event_key(event: Event) -> str:
    """Give the key that keeps an entity's events in one partition: "user/42"."""
    return f"{event.__entity__}/{getattr(event, event.__key__)}"


def event_id(key: str, place: Place) -> str:
    """Name an event for its source: the same for every repeat."""
    return f"{key}:{place.epoch}.{place.version}.{place.index}"


def encode_data(event: Event) -> bytes:
    """Encode the event's fields as JSON.

    Raises:
        PublishError: It is larger than a topic takes (EVENT_BYTES_MAX).
    """
    data = _encoder.encode(event)
    if len(data) > EVENT_BYTES_MAX:
        raise PublishError(
            f"{type(event).__name__} for {event_key(event)} has {len(data):,} bytes; a topic takes {EVENT_BYTES_MAX:,}: "
            f"publish a reference to what is large instead"
        )
    return data


def envelope_for(owner: str, event: Event, place: Place, traceparent: str | None) -> Envelope:
    """Address an event of `owner` at its place, now.

    Raises:
        PublishError: The version is not a positive whole number, or the event has no key.
    """
    # That somebody is gone whom the owner has never had is told at version 0: whatever it may become comes later.
    version_min = 0 if place.is_repair else 1
    if isinstance(place.version, bool) or not isinstance(place.version, int) or place.version < version_min:
        raise PublishError(
            f"{type(event).__name__}: version {place.version!r} is not a whole number from 1; "
            f"raise the entity's version by one in the transaction that changes it"
        )
    key = event_key(event)
    if len(key.encode()) > KEY_BYTES_MAX:
        raise PublishError(
            f"{type(event).__name__}: its key has {len(key.encode()):,} bytes; use at most {KEY_BYTES_MAX:,}"
        )
    if key.endswith("/"):
        raise PublishError(f"{type(event).__name__}: its key field {event.__key__!r} is empty")
    return Envelope(
        id=event_id(key, place),
        type=event_type(owner, type(event)),
        source=f"/services/{owner}",
        key=key,
        schema=event.__schema__,
        place=place,
        time=datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        erases=event.__erases__,
        traceparent=traceparent,
    )
