"""An error as a value that an author raises, and as the `application/problem+json` that a client gets (RFC 9457).

    raise Problem(409, "this email belongs to another user", type="email-taken", errors=[Fault("/email", "is taken")])

The edge renders it with `trace_id` and `instance`. What is raised and is no Problem becomes one here: an error that
Freehold knows by its kind, a framework's own HTTP error by its status, anything else as a bare 500. A body never holds
a stack trace, a message of the unexpected, or a secret.
"""

from __future__ import annotations

import http
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import msgspec

from freehold.errors import CommitUnknown, ConflictError, PeerError

MEDIA_TYPE = "application/problem+json"
TYPE_PREFIX = "urn:freehold:problem:"
# A store that restarts needs about a second; a conflict is over in milliseconds, but a retry at once meets it again.
RETRY_AFTER_S = 1
# A framework's plain error text is a sentence.
_DETAIL_BYTES_MAX = 1_000


class Fault(msgspec.Struct, frozen=True):
    """One thing that is wrong with a request.

    Args:
        pointer: Where: a JSON pointer into the body ("/lines/0/quantity"), or the name of a parameter or header.
        detail: What is wrong with it.
    """

    pointer: str
    detail: str


class Problem(Exception):
    """Answer the request with this problem.

    Args:
        status: HTTP status, 400 to 599.
        detail: What went wrong this time, for the person who reads it.
        title: What kind of problem it is; the status' own phrase unless given.
        type: Its kind: an absolute URI, or a short name ("email-taken") that becomes a `urn:freehold:problem:`.
        errors: What is wrong, field by field.
        headers: Headers of the answer, such as Retry-After.
        members: What a program wants to know beside these, by names that RFC 9457 leaves free.
    """

    def __init__(
        self,
        status: int,
        detail: str = "",
        *,
        title: str = "",
        type: str = "about:blank",  # noqa: A002 - RFC 9457's own word
        errors: Sequence[Fault] = (),
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail or title or phrase(status))
        self.status = status
        self.detail = detail
        self.title = title or phrase(status)
        self.type = type if ":" in type else TYPE_PREFIX + type
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.members = dict(members or {})

    def body(self, *, instance: str, trace_id: str) -> bytes:
        """Render the answer's body."""
        content: dict[str, Any] = {"type": self.type, "title": self.title, "status": self.status}
        if self.detail:
            content["detail"] = self.detail
        content["instance"] = instance
        content["trace_id"] = trace_id
        if self.errors:
            content["errors"] = self.errors
        content |= self.members
        try:
            return msgspec.json.encode(content)
        except UnicodeEncodeError:
            # A lone surrogate from the request was quoted in the detail.
            return msgspec.json.encode({name: _encodable(value) for name, value in content.items()})


def problem_of(error: BaseException) -> Problem | None:
    """Give the problem that an exception means to a client; None if it is unexpected: a 500 that must be logged."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, CommitUnknown):
        return Problem(
            503,
            "the connection to the store was lost while committing: the change may or may not have been made; "
            "read before trying again",
            title="It is not known whether the change was made",
            type="commit-unknown",
            headers={"Retry-After": str(RETRY_AFTER_S)},
        )
    if isinstance(error, ConflictError):
        return _try_again("conflict", "Too many changes at once", "nothing was changed; try again")
    if isinstance(error, PeerError):
        return _try_again("store-unavailable", "The store does not answer", "nothing was changed; try again")
    return _from_framework(error)


def problem_of_answer(status: int, media_type: str, body: bytes) -> Problem:
    """Turn an error answer that a framework made in its own form into a problem, keeping what it says of the request."""
    if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
        return Problem(status)
    if media_type.startswith("text/plain") and len(body) <= _DETAIL_BYTES_MAX:
        text = body.decode("utf-8", "replace")
        return Problem(status, "" if text == phrase(status) else text)
    try:
        content = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Problem(status)
    if not isinstance(content, dict):
        return Problem(status)
    detail = content.get("detail")
    if isinstance(detail, list):
        return Problem(status, errors=_faults(detail))
    return Problem(status, detail if isinstance(detail, str) else "", errors=_faults(content.get("extra")))


def propagate(_request: Any, error: Exception) -> NoReturn:
    """Raise the error again: as a framework's exception handler it leaves all errors to the edge.

    Litestar answers every exception itself unless told: `Litestar(..., exception_handlers={Exception: propagate})`.
    """
    raise error


def _encodable(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, tuple):
        return [Fault(_encodable(fault.pointer), _encodable(fault.detail)) for fault in value]
    return value


def phrase(status: int) -> str:
    """Name a status in HTTP's own words."""
    try:
        return http.HTTPStatus(status).phrase
    except ValueError:
        return "Error"


def _try_again(kind: str, title: str, detail: str) -> Problem:
    return Problem(503, detail, title=title, type=kind, headers={"Retry-After": str(RETRY_AFTER_S)})


def _from_framework(error: BaseException) -> Problem | None:
    # Starlette's, FastAPI's and Litestar's HTTP errors share these attributes and no base class.
    status = getattr(error, "status_code", None)
    if not isinstance(status, int) or not 400 <= status < 600:
        return None
    detail = getattr(error, "detail", "")
    headers = getattr(error, "headers", None)
    if status >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
        return None if status == http.HTTPStatus.INTERNAL_SERVER_ERROR else Problem(status, headers=headers)
    if detail == phrase(status):
        detail = ""
    faults = _faults(getattr(error, "extra", None))
    return Problem(status, detail if isinstance(detail, str) else "", errors=faults, headers=headers)


def _faults(items: Any) -> list[Fault]:
    if not isinstance(items, list):
        return []
    return [_fault(item) for item in items if isinstance(item, dict)]


def _fault(item: Mapping[str, Any]) -> Fault:
    place = item.get("loc")
    if isinstance(place, list):  # FastAPI: ["body", "lines", 0, "sku"]
        inside = place[1:] if place and place[0] == "body" else place
        pointer = "".join(f"/{part}" for part in inside)
        return Fault(pointer, str(item.get("msg", "")))
    key = str(item.get("key", ""))  # Litestar: "lines.0.sku"
    pointer = "/" + key.replace(".", "/") if item.get("source") == "body" else key
    return Fault(pointer, str(item.get("message", "")))
