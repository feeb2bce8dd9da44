"""What an operation of a service is: values that `api` routes by and `openapi` describes."""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal

from freehold.http.problem import Fault, Problem
from freehold.identifier import is_id

Headers = Sequence[tuple[bytes, bytes]]


class Request:
    """What an operation is given: path, query and body as they were declared."""

    __slots__ = ("_headers", "_path", "body", "query")

    def __init__(self, headers: Headers, path: Mapping[str, str], query: Mapping[str, str]) -> None:
        self._headers = headers
        self._path = path
        self.query = query
        self.body: Any = None

    def header(self, name: bytes) -> str | None:
        """Give a header by its lower-case name, several of one name joined by commas (RFC 9110, 5.3); None without."""
        values = [value for key, value in self._headers if key == name]
        return b", ".join(values).decode("latin-1") if values else None

    def id(self, name: str = "id") -> str:
        """Give the id that stands in the path, or in the query, in lower case.

        Raises:
            Problem: 400 naming it: it is missing, or no UUID.
        """
        text = self._path.get(name) or self.query.get(name, "")
        if not is_id(text):
            detail = 'must be a UUID such as "018f3c5e-7a10-7cc4-9d3a-5b1f0e2d4c6b"'
            raise Problem(400, f"{name} {detail}", type="bad-id", errors=[Fault(name, detail)])
        return text.lower()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """What an operation answers: a body that msgspec encodes, or none; an ETag is also held against If-None-Match."""

    status: int = 200
    body: Any = None
    etag: str | None = None
    headers: Headers = ()


@dataclasses.dataclass(frozen=True)
class Parameter:
    """A parameter beside the path's own, which are UUIDs: its type is for the description; `run` reads the text."""

    name: str
    place: Literal["query", "header"]
    type: Any
    description: str
    _: dataclasses.KW_ONLY
    required: bool = False


@dataclasses.dataclass(frozen=True)
class Operation:
    """Declare one thing that a service can do.

    Args:
        method: GET (and with it HEAD), POST, PUT, PATCH or DELETE.
        path: "/users/{id}"; a name in braces is a UUID.
        run: Does it: `async def run(request) -> Answer`, or raises a Problem.
        id: Stable name for generated clients, "changeUser".
        summary: What it does, in one line.
        answers: By status, the Struct that is answered; None for no body.
        problems: By status, when it is answered beside those that every request may meet.
        body: The Struct of the request's body.
        parameters: Query and headers; a query parameter that is not here is refused.
    """

    method: str
    path: str
    run: Callable[[Request], Awaitable[Answer]]
    _: dataclasses.KW_ONLY
    id: str
    summary: str
    answers: Mapping[int, Any]
    problems: Mapping[int, str] = dataclasses.field(default_factory=dict)
    body: Any = None
    parameters: Sequence[Parameter] = ()
