"""A strict JSON body as a msgspec Struct.

400 is for what is no JSON or is ambiguous (a key twice), 415 for another media type, 422 for JSON that does not fit the
Struct or holds text that no store takes. Each names the field by a JSON pointer (RFC 6901) where there is one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, NoReturn, TypeVar

import msgspec

from freehold.http.problem import Fault, Problem

T = TypeVar("T")

_AT = re.compile(r" - at `\$(.*)`$", re.DOTALL)
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")
_FIELD = re.compile(r"Object (?:contains unknown|missing required) field `(.*)`", re.DOTALL)
_POSITION = re.compile(r"\(byte (\d+)\)")
# Text that is legal JSON and yet not storable or not exchangeable: NUL (PostgreSQL refuses it) and the noncharacters
# (Unicode 23.7: not for interchange). A lone surrogate is refused by the decoder already.
_UNUSABLE = re.compile(
    "[\0\ufdd0-\ufdef" + "".join(f"{chr(p + 0xFFFE)}{chr(p + 0xFFFF)}" for p in range(0, 0x110000, 0x10000)) + "]"
)
# Only these can hide such a character: an escape, or the lead bytes of the noncharacters' UTF-8.
_MAY_BE_UNUSABLE = re.compile(rb"\\u|\xef|[\xf0-\xf4]")
_decoders: dict[type, msgspec.json.Decoder[Any]] = {}


class Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A request's body, or a part of one: unknown fields are refused."""


def decode_body(raw: bytes, content_type: str | None, into: type[T]) -> T:
    """Read a JSON body.

    Args:
        raw: The body's bytes; their number is the edge's to bound.
        content_type: The request's header; JSON or none at all.
        into: The Struct; derive it from `Body`, so that unknown fields are refused.

    Raises:
        Problem: 400, 415 or 422; see above.
    """
    check_content_type(content_type)
    try:
        value = _decoder(into).decode(raw)
    except msgspec.ValidationError as error:
        _check_keys(raw)
        _refuse(str(error))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _malformed(raw, error) from None
    _check_keys(raw)
    if _MAY_BE_UNUSABLE.search(raw):
        _check_text(msgspec.to_builtins(value))
    return value  # type: ignore[no-any-return]


def check_content_type(content_type: str | None) -> None:
    """Take `application/json` and `+json` types, with UTF-8 or no charset.

    Raises:
        Problem: 415.
    """
    if content_type is None:
        return
    media_type, _, parameters = content_type.lower().partition(";")
    media_type = media_type.strip()
    charset = parameters.replace(" ", "").replace('"', "")
    fits = media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))
    if not fits or ("charset=" in charset and "charset=utf-8" not in charset):
        raise Problem(
            415,
            "the body must be application/json in UTF-8",
            type="unsupported-media-type",
            errors=[Fault("Content-Type", "must be application/json")],
            headers={"Accept": "application/json"},
        )


def check_text(text: str, pointer: str) -> str:
    """Give the text back if every store takes it.

    Raises:
        Problem: 422 naming `pointer`: NUL, a lone surrogate or a noncharacter is in it.
    """
    match = _UNUSABLE.search(text)
    if match is not None:
        _refuse_character(ord(match[0]), pointer)
    try:
        text.encode()
    except UnicodeEncodeError as error:
        _refuse_character(ord(text[error.start]), pointer)
    return text


def _decoder(into: type) -> msgspec.json.Decoder[Any]:
    decoder = _decoders.get(into)
    if decoder is None:
        decoder = _decoders[into] = msgspec.json.Decoder(into)
    return decoder


def _refuse(message: str) -> NoReturn:
    place = _AT.search(message)
    pointer = _pointer(place[1]) if place else ""
    detail = _AT.sub("", message)
    field = _FIELD.fullmatch(detail)
    if field is not None:
        pointer += f"/{_escape(field[1])}"
        detail = "is not a field here" if "unknown" in detail[:24] else "is missing"
    detail = detail.replace("`", "")
    raise Problem(422, f"{pointer or 'the body'}: {detail}", type="invalid-body", errors=[Fault(pointer, detail)])


def _refuse_character(code: int, pointer: str) -> NoReturn:
    detail = f"holds the character U+{code:04X}, which cannot be stored"
    raise Problem(422, f"{pointer}: {detail}", type="unusable-text", errors=[Fault(pointer, detail)])


def _pointer(path: str) -> str:
    return "".join(f"/{_escape(name or index)}" for name, index in _STEP.findall(path))


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _malformed(raw: bytes, error: Exception) -> Problem:
    if not raw:
        return Problem(400, "the body is empty; send a JSON object", type="malformed-json")
    if isinstance(error, UnicodeDecodeError):
        return Problem(400, f"the body is not UTF-8 (byte {error.start})", type="malformed-json")
    position = _POSITION.search(str(error))
    if position is None:
        return Problem(400, "the body is not JSON: it ends too early or is nested too deep", type="malformed-json")
    line = raw.count(b"\n", 0, int(position[1])) + 1
    return Problem(400, f"the body is not JSON: byte {position[1]}, line {line}", type="malformed-json")


def _check_keys(raw: bytes) -> None:
    # msgspec keeps the last of two equal keys silently, and two readers may keep different ones.
    try:
        _keys_decoder.decode(raw.decode())
    except (ValueError, RecursionError) as error:
        raise _malformed(raw, error) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        name = next(name for name in names if names.count(name) > 1)
        shown = name.encode("utf-8", "replace").decode()
        raise Problem(
            400,
            f"the key {shown!r} is there twice in one object",
            type="duplicate-key",
            errors=[Fault(f"/{_escape(shown)}", "is there twice")],
        )
    return found


_keys_decoder = json.JSONDecoder(object_pairs_hook=_unique)


def _check_text(value: Any) -> None:
    for pointer, text in _texts(value, ""):
        check_text(text, pointer)


def _texts(value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield pointer, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield pointer, str(name)
            yield from _texts(item, f"{pointer}/{_escape(str(name))}")
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _texts(item, f"{pointer}/{index}")
