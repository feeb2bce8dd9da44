"""How a class breaks the contract that was committed for its type and schema number: pure comparisons."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from freehold.contract.contract import Contract
from freehold.contract.form import is_field_readable_as, resolved


@dataclasses.dataclass(frozen=True)
class Break:
    """One way in which a class breaks its contract.

    Attributes:
        kind: The kind of problem.
        what: What would be, in words.
        is_of_all: Whether no reader can go on, whatever it reads; else only those that cannot read the new form.
    """

    kind: str
    what: str
    is_of_all: bool = False


def breaks(old: Contract, new: Contract) -> list[Break]:
    """List every way in which events of `new`, or those of `old` on the topic, would not be what readers rely on."""
    return [*_identity(old, new), *_fields(old, new), *_types(old, new)]


def _identity(old: Contract, new: Contract) -> Iterator[Break]:
    for name in ("entity", "key", "erases"):
        was, would = getattr(old, name), getattr(new, name)
        if was != would:
            yield Break(f"{name}-changed", f"its {name} was {was!r} and would be {would!r}", is_of_all=True)


def _fields(old: Contract, new: Contract) -> Iterator[Break]:
    for field in sorted(old.fields.keys() - new.fields.keys()):
        yield Break("field-removed", f"the field {field!r} would be gone")
    for field in sorted(new.required - old.required):
        yield Break("field-required", f"the field {field!r} would be required, and events without it are on the topic")
    for field in sorted((old.required & new.fields.keys()) - new.required):
        yield Break("field-optional", f"the field {field!r} would be optional, and readers rely on it")


def _types(old: Contract, new: Contract) -> Iterator[Break]:
    for field in sorted(old.fields.keys() & new.fields.keys()):
        was, would = old.fields[field], new.fields[field]
        if not is_field_readable_as(new.data, would, old.data, was):
            added = _values(new, would) - _values(old, was)
            if added and _values(old, was):
                values = ", ".join(sorted(added))
                yield Break("value-added", f"{field!r} would have the new value {values}, which readers refuse")
            else:
                yield Break("type-widened", f"the type of {field!r} would allow what readers cannot read")
        elif not is_field_readable_as(old.data, was, new.data, would):
            yield Break("type-narrowed", f"the type of {field!r} would be narrower than that of events on the topic")


def _values(contract: Contract, form: Any) -> set[str]:
    """Name the values of an enumeration; none when it is another type."""
    return {repr(value) for value in resolved(form, contract.data).get("enum", ())}
