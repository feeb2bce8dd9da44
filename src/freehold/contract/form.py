"""Compare two forms of JSON data: whether all that one allows can be read as the other.

A form is the JSON Schema (2020-12) that msgspec writes for a type, in the part of the language that msgspec uses. What is
not understood is taken as different, so a comparison errs on the side of saying so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

Form = Mapping[str, Any]

# Words about a form, not of it.
_SPOKEN = {"title", "description", "default", "examples", "discriminator", "$defs"}
_LOWER_BOUNDS = {"minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties"}
_UPPER_BOUNDS = {"maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"}
_STRUCTURE = {"type", "properties", "required", "items", "prefixItems", "additionalProperties", "anyOf", "enum", "$ref"}


def form_of(cls: type) -> dict[str, Any]:
    """Give the form of a class's JSON, without what only describes it."""
    whole = msgspec.json.schema(cls)
    definitions: dict[str, Any] = {name: _plain(form) for name, form in whole.get("$defs", {}).items()}
    reference = whole.get("$ref", "")
    name = reference.rpartition("/")[2]
    contains_itself = repr(reference) in repr(definitions)
    if name in definitions and not contains_itself:
        form: dict[str, Any] = definitions.pop(name)
    else:
        form = _plain({word: value for word, value in whole.items() if word != "$defs"})
    return {**form, "$defs": definitions} if definitions else form


def resolved(form: Form, whole: Form) -> Form:
    """Follow a reference within the whole form."""
    while "$ref" in form:
        form = whole["$defs"][form["$ref"].rpartition("/")[2]]
    return form


def is_readable_as(written: Form, read: Form) -> bool:
    """Say whether all data of the form `written` can be read as the form `read`."""
    return _Comparison(written, read).covers(written, read)


def is_field_readable_as(written_whole: Form, written: Form, read_whole: Form, read: Form) -> bool:
    """Compare the forms of one field, each within the definitions of its whole."""
    return is_readable_as(
        {**written, "$defs": written_whole.get("$defs", {})}, {**read, "$defs": read_whole.get("$defs", {})}
    )


class _Comparison:
    """One comparison of two whole forms; the pairs on the way are remembered, so a form may contain itself."""

    def __init__(self, written: Form, read: Form) -> None:
        self._written = written
        self._read = read
        self._assumed: set[tuple[int, int]] = set()

    def covers(self, written: Form, read: Form) -> bool:
        written, read = resolved(written, self._written), resolved(read, self._read)
        pair = (id(written), id(read))
        if pair in self._assumed or not read.keys() - _SPOKEN:
            return True
        self._assumed.add(pair)
        if "anyOf" in written:
            return all(self.covers(each, read) for each in written["anyOf"])
        if "anyOf" in read:
            return any(self._branch().covers(written, each) for each in read["anyOf"])
        return self._is_same_kind(written, read) and _are_bounds_within(written, read)

    def _branch(self) -> _Comparison:
        """Try one of several ways: what it assumes must not count for the others if it fails."""
        branch = _Comparison(self._written, self._read)
        branch._assumed = set(self._assumed)
        return branch

    def _is_same_kind(self, written: Form, read: Form) -> bool:
        if "enum" in read:
            return "enum" in written and all(value in read["enum"] for value in written["enum"])
        if "enum" in written:
            return {_kind(value) for value in written["enum"]} <= {read.get("type")}
        kinds = (written.get("type"), read.get("type"))
        if kinds == ("object", "object"):
            return self._is_object_covered(written, read)
        if kinds == ("array", "array"):
            return self._is_array_covered(written, read)
        return kinds[0] == kinds[1] or kinds == ("integer", "number")

    def _is_object_covered(self, written: Form, read: Form) -> bool:
        sent, needed = written.get("properties", {}), read.get("properties", {})
        if not set(read.get("required", ())) <= set(written.get("required", ())):
            return False
        if not all(self.covers(sent[name], needed[name]) for name in needed if name in sent):
            return False
        others = read.get("additionalProperties", True)
        if others is False:
            return set(sent) <= set(needed) and written.get("additionalProperties") is False
        if others is True:
            return True
        more = written.get("additionalProperties")
        return isinstance(more, Mapping) and self.covers(more, others)

    def _is_array_covered(self, written: Form, read: Form) -> bool:
        if "prefixItems" in written or "prefixItems" in read:
            sent, needed = written.get("prefixItems", []), read.get("prefixItems", [])
            return len(sent) == len(needed) and all(map(self.covers, sent, needed))
        items = read.get("items")
        return items is None or ("items" in written and self.covers(written["items"], items))


def _are_bounds_within(written: Form, read: Form) -> bool:
    """Say whether what bounds the read form bounds the written one at least as much."""
    for word in read.keys() - _SPOKEN - _STRUCTURE:
        bound, sent = read[word], written.get(word)
        if sent == bound:
            continue
        if sent is not None and word in _LOWER_BOUNDS and sent >= bound:
            continue
        if sent is not None and word in _UPPER_BOUNDS and sent <= bound:
            continue
        return False
    return True


def _kind(value: Any) -> str:
    return {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}.get(
        type(value), "object"
    )


def _plain(form: Any) -> Any:
    """Leave out what only describes a form, at every depth; names of fields are no words of the language."""
    if isinstance(form, list):
        return [_plain(each) for each in form]
    if not isinstance(form, dict):
        return form
    plain = {}
    for word, value in form.items():
        if word in {"properties", "$defs"}:
            plain[word] = {name: _plain(each) for name, each in value.items()}
        elif word in {"enum", "required"}:
            plain[word] = value
        elif word not in {"title", "description", "default", "examples"}:
            plain[word] = _plain(value)
    return plain
