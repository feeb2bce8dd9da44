"""Read the data of an event as one class, whatever schema number it was published with: the one path for every reader.

A topic keeps the newest event of each entity for ever, so a reader of schema 3 meets events of 1 and 2 as well. Its class
says how an older form becomes its own, one number at a time:

    def with_full_name(data):                      # from 1 to 2
        return {"id": data["id"], "full_name": f"{data['given']} {data['family']}"}

    class UserUpdated(Event, entity="user", schema=2, upcasts={1: with_full_name}): ...

    class Customer(msgspec.Struct):                # a replica's state says it with class variables
        __schema__: ClassVar[int] = 2
        __upcasts__: ClassVar[Upcasts] = {1: with_full_name}

An upcast is a plain function of the decoded JSON object: no I/O, no clock, the same answer each time. Events that arrive,
are read again for a rebuild, were parked or are redriven keep their bytes, and become the class here and nowhere else
(decision 18). Errors say nothing of what the data holds: they end up in logs, which outlive an erasure.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from freehold.errors import DeclarationError, EventRejected

Upcast = Callable[[dict[str, Any]], dict[str, Any]]
Upcasts = Mapping[int, Upcast]

_decoder = msgspec.json.Decoder()
_encoder = msgspec.json.Encoder()
# What msgspec quotes of the data; everything else that it says is about names and types.
_QUOTING = ("Invalid enum value", "Invalid value")


class Reader:
    """Reads the data of events as one class: a msgspec Struct, with `__schema__` (1) and `__upcasts__` (none)."""

    def __init__(self, cls: type[msgspec.Struct]) -> None:
        self._cls = cls
        self._schema = schema_of(cls)
        self._upcasts = upcasts_of(cls)
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(cls)

    def read(self, data: bytes, schema: int) -> Any:
        """Decode data that was published with that schema number.

        Raises:
            EventRejected: It is of a schema number that the class does not read, or does not hold what the class needs. The
                message says which, and what to do; where the event lies is the caller's to say.
        """
        try:
            return self._decoder.decode(data if schema == self._schema else self._upcast(data, schema))
        except (msgspec.DecodeError, UnicodeDecodeError) as error:  # ValidationError is a DecodeError
            raise EventRejected(f"its data is refused: {_without_data(error)}") from None

    def _upcast(self, data: bytes, schema: int) -> bytes:
        name = self._cls.__name__
        if schema > self._schema:
            raise EventRejected(
                f"it has schema {schema}, and {name} here reads schema {self._schema}; run a release whose {name} reads "
                f"schema {schema}"
            )
        if schema not in self._upcasts:
            raise EventRejected(
                f"it has schema {schema}, and {name} here reads schema {self._schema}; give {name} the upcast of {schema}"
            )
        fields = _decoder.decode(data)
        for number in range(schema, self._schema):
            fields = _step(self._upcasts[number], fields, f"{name}'s upcast of schema {number}")
        return _encoder.encode(fields)


def schema_of(cls: type[msgspec.Struct]) -> int:
    """Give the schema number that a class reads: 1, unless it says another."""
    return int(getattr(cls, "__schema__", 1))


def upcasts_of(cls: type[msgspec.Struct]) -> Upcasts:
    """Give the upcasts of a class by the schema number that each begins with."""
    found: Upcasts = getattr(cls, "__upcasts__", {})
    return found


def check_upcasts(cls: type[msgspec.Struct]) -> None:
    """Hold the upcasts of a class to its schema number.

    Raises:
        DeclarationError: They do not lead, one number at a time, to the class's own, or one is no plain function.
    """
    schema, upcasts = schema_of(cls), upcasts_of(cls)
    wanted = list(range(schema - len(upcasts), schema))
    if sorted(upcasts) != wanted or (wanted and wanted[0] < 1):
        raise DeclarationError(
            f"{cls.__name__} reads schema {schema}, and its upcasts begin with {', '.join(map(str, sorted(upcasts)))}; give "
            f"one for each number from the oldest that is to be read up to {schema - 1}"
        )
    for number, upcast in upcasts.items():
        if not callable(upcast) or inspect.iscoroutinefunction(upcast):
            raise DeclarationError(
                f"{cls.__name__}: the upcast of schema {number} is not a plain function of the data; it may do no I/O"
            )


def _step(upcast: Upcast, fields: Any, what: str) -> Any:
    if not isinstance(fields, dict):
        raise EventRejected("its data is refused: it is no JSON object")
    try:
        return upcast(fields)
    except Exception as error:  # noqa: BLE001 -- the author's function may fail in any way, and its words may quote the data
        raise EventRejected(f"{what} raised {type(error).__name__}; mend it, the event waits") from None


def _without_data(error: Exception) -> str:
    text = str(error)
    if text.startswith(_QUOTING):
        _, at, path = text.rpartition(" - at ")
        return f"a value that its class does not know{at}{path}" if at else "a value that its class does not know"
    return text
