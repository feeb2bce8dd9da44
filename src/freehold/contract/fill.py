"""Fill a class: a value for every field, optional ones too, the same each time; what samples are made of.

Values are tried as JSON has them. Where none of ours fits, a field says its own:
`Annotated[str, msgspec.Meta(pattern="...", examples=["..."])]`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from freehold.errors import ContractError

Struct = TypeVar("Struct", bound=msgspec.Struct)

_UUID = "0190a6e8-7c3a-7d2e-8f4b-3c1d5e6f7a8b"
_SIMPLE: dict[type[inspect.Type], Any] = {
    inspect.NoneType: None,
    inspect.BoolType: True,
    inspect.AnyType: "anything",
    inspect.RawType: "anything",
    inspect.BytesType: "ZnJlZWhvbGQ=",
    inspect.ByteArrayType: "ZnJlZWhvbGQ=",
    inspect.MemoryViewType: "ZnJlZWhvbGQ=",
    inspect.DateType: "2026-01-02",
    inspect.TimeDeltaType: "P1DT2H3M4.5S",
    inspect.UUIDType: _UUID,
    inspect.DecimalType: "12.50",
}
# For a text with a pattern: the first that fits.
_TEXTS = (_UUID, "ada@example.org", "https://example.org/1", "2026-01-02T03:04:05Z", "2026-01-02", "12:30", "EUR", "GB",
          "eur", "a-1", "a", "A1", "1", "12345", "+15550100", "1.2.3", "#0a1b2c", "192.0.2.1")  # fmt: skip


class _Endless(Exception):
    """A class holds itself; where it may be left out, it is. Never leaves this file."""


def fill(cls: type[Struct]) -> Struct:
    """Make an instance with every field filled.

    Raises:
        ContractError: No value of ours fits a field; the message says how to give one.
    """
    try:
        return msgspec.json.decode(msgspec.json.encode(_value(inspect.type_info(cls), "", ())), type=cls)
    except (_Endless, msgspec.ValidationError) as error:
        raise ContractError(
            f"no sample of {cls.__name__} can be made: {error}; give that field an example: "
            f'Annotated[..., msgspec.Meta(examples=["..."])]'
        ) from error


def _value(kind: inspect.Type, name: str, within: tuple[Any, ...]) -> Any:  # noqa: C901 -- one case for each kind of type
    """Give the value of a field of that name, within the classes that it is part of."""
    match kind:
        case inspect.Metadata():
            examples = (kind.extra_json_schema or {}).get("examples")
            return examples[0] if examples else _value(kind.type, name, within)
        case inspect.StrType():
            return _text(kind, name)
        case inspect.IntType() | inspect.FloatType():
            return _number(kind)
        case inspect.DateTimeType() | inspect.TimeType():
            instant = "2026-01-02T03:04:05.678901" if isinstance(kind, inspect.DateTimeType) else "03:04:05.678901"
            return instant if kind.tz is False else f"{instant}Z"
        case inspect.EnumType():
            return msgspec.to_builtins(next(iter(kind.cls)).value if issubclass(kind.cls, enum.Enum) else None)
        case inspect.LiteralType():
            return min(kind.values, key=lambda value: (value is None, str(value)))
        case inspect.UnionType():
            return _first_that_ends(kind.types, name, within)
        case inspect.DictType():
            return {_value(kind.key_type, "key", within): _value(kind.value_type, name, within)}
        case inspect.TupleType():
            return [_value(each, name, within) for each in kind.item_types]
        case inspect.StructType() | inspect.TypedDictType() | inspect.DataclassType() | inspect.NamedTupleType():
            return _object(kind, within)
    if hasattr(kind, "item_type"):
        return _items(kind, name, within)
    return _SIMPLE.get(type(kind), "anything")


def _object(kind: Any, within: tuple[Any, ...]) -> Any:
    if kind.cls in within:
        raise _Endless(f"{kind.cls.__name__} holds itself")
    values: dict[str, Any] = {}
    if getattr(kind, "tag", None) is not None:
        values[kind.tag_field] = kind.tag
    for field in kind.fields:
        try:
            value = _value(field.type, field.encode_name, (*within, kind.cls))
        except _Endless:
            if field.required:
                raise
            continue
        values[field.encode_name] = _other_than(field.default, value)
    is_list = isinstance(kind, inspect.NamedTupleType) or getattr(kind, "array_like", False)
    return list(values.values()) if is_list else values


def _items(kind: Any, name: str, within: tuple[Any, ...]) -> list[Any]:
    try:
        return [_value(kind.item_type, name, within)] * max(1, kind.min_length or 0)
    except _Endless:
        if kind.min_length:
            raise
        return []


def _first_that_ends(kinds: Sequence[inspect.Type], name: str, within: tuple[Any, ...]) -> Any:
    """Take the first way of a union that does not lead back; None is the last."""
    failure = _Endless(f"{name} has no value")
    for kind in sorted(kinds, key=lambda kind: isinstance(kind, inspect.NoneType)):
        try:
            return _value(kind, name, within)
        except _Endless as endless:
            failure = endless
    raise failure


def _text(kind: inspect.StrType, name: str) -> str:
    least, most = kind.min_length or 0, kind.max_length if kind.max_length is not None else 1_000_000
    if kind.pattern is None:
        # Beyond ASCII where there is room, since readers must take that too.
        return f"{name} é".ljust(least, "x")[:most]
    return next((text for text in _TEXTS if least <= len(text) <= most and re.search(kind.pattern, text)), name)


def _number(kind: inspect.IntType | inspect.FloatType) -> float:
    step = kind.multiple_of or (1 if isinstance(kind, inspect.IntType) else 0.5)
    least = kind.ge if kind.ge is not None else kind.gt + step if kind.gt is not None else None
    most = kind.le if kind.le is not None else kind.lt - step if kind.lt is not None else None
    value = 7 * step if most is None else min(7 * step, most)
    value = value if least is None else max(value, least)
    return int(value) if isinstance(kind, inspect.IntType) else float(value)


def _other_than(default: Any, value: Any) -> Any:
    """Take another value than the default, which a class with `omit_defaults` would leave out."""
    if value is True and default is True:
        return False
    if isinstance(value, int | float) and not isinstance(value, bool) and value == default:
        return value + 1
    return f"{value}2" if isinstance(value, str) and value == default else value
