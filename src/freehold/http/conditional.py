"""Strong ETags and conditional requests (RFC 9110, 8.8.3 and 13.1).

`If-Match` compares what a client may change, the entity's own version; `If-None-Match` everything that the answer shows.
A resource that shows copies of others' facts therefore has an ETag of several parts, of which the first is its own.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from freehold.http.problem import Fault, Problem

_TAG = re.compile(r'\s*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"\s*(?:,|$)')
# A list of tags is short; what is longer is an attack on the parser.
_HEADER_CHARACTERS_MAX = 4_096


def make_etag(*parts: int | str) -> str:
    """Write a strong ETag of the versions that an answer is made of, the entity's own first: '"7"', '"7.1.3"'."""
    return f'"{".".join(str(part) for part in parts)}"'


def parse_tags(header: str) -> list[tuple[bool, str]] | None:
    """Read an If-Match or If-None-Match header.

    Returns:
        For each tag whether it is weak, and its text without quotes; None for `*`.

    Raises:
        Problem: 400, the header is malformed.
    """
    text = header.strip()
    if text == "*":
        return None
    tags: list[tuple[bool, str]] = []
    position = 0
    while position < len(text):
        match = _TAG.match(text, position)
        if match is None or len(text) > _HEADER_CHARACTERS_MAX:
            raise Problem(400, 'the header is no list of ETags such as "7"', type="bad-precondition")
        tags.append((match[1] is not None, match[2]))
        position = match.end()
    if not tags:
        raise Problem(400, "the header is empty", type="bad-precondition")
    return tags


def precondition(if_match: str | None, etag: str | None, *, own_parts: int | None = None) -> None:
    """Hold a change to its If-Match; a weak tag never matches (RFC 9110, 8.8.3.2).

    Args:
        if_match: The request's header; None lets every change pass.
        etag: The entity's current ETag; None when there is no such entity.
        own_parts: Compare only so many leading parts of the ETag, those that are the entity's own; None compares all.

    Raises:
        Problem: 412, the entity is not as the client saw it; 400, the header is malformed.
    """
    if if_match is None:
        return
    tags = parse_tags(if_match)
    if etag is not None:
        wanted = _leading(etag.strip('"'), own_parts)
        if tags is None or any(not weak and _leading(tag, own_parts) == wanted for weak, tag in tags):
            return
    raise Problem(
        412,
        "it was changed since you read it" if etag is not None else "there is no such thing to change",
        type="precondition-failed",
        errors=[Fault("If-Match", f"the current ETag is {etag}" if etag is not None else "nothing matches")],
        headers={"ETag": etag} if etag is not None else None,
    )


def expected_versions(if_match: str | None) -> Sequence[int] | None:
    """Read the entity's own versions that an If-Match allows, for a change that compares in its own statement.

    Returns:
        None when every version is allowed; empty when none can match.
    """
    if if_match is None:
        return None
    tags = parse_tags(if_match)
    if tags is None:
        return None
    own = (_leading(tag, 1) for weak, tag in tags if not weak)
    return [int(version) for version in own if version.isascii() and version.isdecimal() and len(version) <= 18]


def is_unchanged(if_none_match: str | None, etag: str) -> bool:
    """Say whether a read may be answered with 304: the client has just this (weak comparison, RFC 9110, 13.1.2)."""
    if if_none_match is None:
        return False
    tags = parse_tags(if_none_match)
    return tags is None or any(tag == etag.strip('"') for _, tag in tags)


def _leading(tag: str, count: int | None) -> str:
    return tag if count is None else ".".join(tag.split(".")[:count])
