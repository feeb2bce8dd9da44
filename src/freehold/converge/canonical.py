"""One form of a state for whatever holds it: an owner's JSON, a PostgreSQL row, a MongoDB document.

The written rules (docs/concepts/copies.md):

- What is compared are the fields that the replica's class declares, each as the type that it declares. What else lies in a
  document is not, unless the entity is gone: then nothing may be left.
- An instant is an instant whatever its time zone, to the millisecond: MongoDB keeps no more. One without a zone is in UTC.
- A number is its value: 1 is 1.0, -0.0 is 0, NaN is NaN, Decimal("1.50") is Decimal("1.5").
- A field that a store does not hold is null. One that an event does not carry is what the class makes of that: its default.
- Text is what it is, character for character: nothing is normalised. The order of lists counts, that of names does not.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec
from msgspec import inspect

_encode = msgspec.msgpack.Encoder(order="deterministic").encode
# What MessagePack tells apart by itself, and is already in its one form. Whatever is not among these takes its way
# through `_plain`, which costs some microseconds a value.
_PLAIN = (inspect.StrType, inspect.IntType, inspect.BoolType, inspect.NoneType)
_WHOLE_MAX = 2**63
_DECIMAL, _LARGE, _NOT_FINITE, _SPAN = 1, 2, 3, 4


class Canonical:
    """Gives states of one class, a msgspec Struct, their one form."""

    def __init__(self, cls: type[msgspec.Struct]) -> None:
        self._cls = cls
        self._fields = tuple(name for name in cls.__struct_fields__ if name != "id")
        # Such a class's defaults are not written, and a store that holds nothing means them.
        self._means_default = cls.__struct_config__.omit_defaults
        self._is_plain = not self._means_default and all(_is_plain(field.type) for field in _struct_type(cls).fields)

    def of_state(self, state: msgspec.Struct) -> bytes:
        """Give the form of a decoded state, without the entity's id."""
        values = [getattr(state, name) for name in self._fields]
        return _encode(values if self._is_plain else [_plain(value) for value in values])

    def of_fields(self, entity_id: str, fields: Mapping[str, Any]) -> bytes:
        """Give the form of what a store holds; of what the class could never be, a form that no state has."""
        values = {name: fields.get(name) for name in self._fields}
        if self._is_plain and all(type(value) in _BUILTIN for value in values.values()):
            return _encode(list(values.values()))
        # MongoDB's shell writes every number as a float; msgspec would take none of these for a whole one.
        values = {
            name: int(value) if type(value) is float and value.is_integer() else value for name, value in values.items()
        }
        if self._means_default:
            values = {name: value for name, value in values.items() if value is not None}
        try:
            return self.of_state(msgspec.convert(values | {"id": entity_id}, self._cls))
        except (msgspec.ValidationError, OverflowError, ValueError):
            return b"\xc1" + repr(values).encode("utf-8", "surrogatepass")  # a byte that MessagePack never uses


_BUILTIN = frozenset({str, int, bool, type(None)})


def _is_plain(found: inspect.Type) -> bool:
    if isinstance(found, inspect.UnionType):
        return all(map(_is_plain, found.types))
    return isinstance(found, _PLAIN)


def _struct_type(cls: type[msgspec.Struct]) -> inspect.StructType:
    found = inspect.type_info(cls)
    assert isinstance(found, inspect.StructType)
    return found


def _plain(value: Any) -> Any:  # noqa: C901 -- one line for each type there is
    """Give a value in its one form, of types that MessagePack tells apart."""
    if value is None or isinstance(value, (bool, str)):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, Enum):
        return _plain(value.value)
    if isinstance(value, (int, float, Decimal)):
        return _number(value)
    if isinstance(value, datetime):
        instant = value if value.tzinfo is not None else value.replace(tzinfo=UTC)
        return instant.astimezone(UTC).replace(microsecond=instant.microsecond // 1_000 * 1_000)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return msgspec.msgpack.Ext(_SPAN, str(value // timedelta(microseconds=1)).encode())
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return {str(_plain(name)): _plain(each) for name, each in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((_plain(each) for each in value), key=_encode)
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return _plain(msgspec.to_builtins(value, builtin_types=(datetime, Decimal)))


def _number(value: float | Decimal) -> Any:
    if not math.isfinite(value):
        return msgspec.msgpack.Ext(_NOT_FINITE, str(float(value)).encode())
    whole = int(value)
    if whole == value:
        is_small = -_WHOLE_MAX <= whole < _WHOLE_MAX
        return whole if is_small else msgspec.msgpack.Ext(_LARGE, str(whole).encode())
    if isinstance(value, Decimal):
        return msgspec.msgpack.Ext(_DECIMAL, str(value.normalize()).encode())
    return value
