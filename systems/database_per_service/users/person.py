"""The bodies of users' requests and answers."""

from __future__ import annotations

from typing import Annotated

import msgspec

from freehold.http.body import Body

# Control characters (C0, DEL, C1) break logs, terminals and letters. `(?!\n)`: Python's `$` also matches before one.
_CONTROL = r"\u0000-\u001f\u007f-\u009f"
# There is something to see in a name; scripts, signs and length are people's own business.
_NAME = rf"^[^{_CONTROL}]*[^\s{_CONTROL}][^{_CONTROL}]*$(?!\n)"
# Only a letter sent to it proves an address; this refuses what cannot be one.
_EMAIL = rf"^[^\s@{_CONTROL}]+@[^\s@{_CONTROL}]+$(?!\n)"

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=_NAME)]
Email = Annotated[str, msgspec.Meta(min_length=3, max_length=254, pattern=_EMAIL)]  # 254: RFC 5321, 4.5.3.1


class Change(Body, frozen=True):
    """What a client says of a user."""

    name: Name
    email: Email


class User(msgspec.Struct, frozen=True):
    """A user as a client sees it."""

    id: Annotated[str, msgspec.Meta(extra_json_schema={"format": "uuid"})]
    name: str
    email: str
    version: Annotated[int, msgspec.Meta(ge=1)]


class UserPage(msgspec.Struct, frozen=True):
    """Some users, and the cursor of those that follow; none when these are the last."""

    items: list[User]
    next: str | None
