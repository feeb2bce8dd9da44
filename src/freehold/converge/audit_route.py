"""The audit of a service's replicas, as an operator asks for it: an internal route that tells each finding as it comes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import msgspec

from freehold.converge.audit import Outcome, Progress
from freehold.converge.judge import Finding
from freehold.errors import DeclarationError
from freehold.http.body import Body
from freehold.http.internal import InternalRoutes
from freehold.service import Replica, Service

PATH = "audit"


class AuditAsked(Body, frozen=True):
    """Asks to compare a replica, by the table or collection that it is kept in, with its owner; and to repair it."""

    replica: str
    repair: bool = False


class Line(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of the answer: one of these."""

    progress: Progress | None = None
    finding: Finding | None = None
    outcome: Outcome | None = None


def find_replica(service: Service, into: str) -> Replica:
    """Find a replica by the table or collection that it is kept in.

    Raises:
        DeclarationError: There is none; names those there are.
    """
    for replica in service.replicates:
        if replica.into == into:
            return replica
    there = ", ".join(replica.into for replica in service.replicates) or "none"
    raise DeclarationError(f"{service.name} keeps no replica {into!r}; it keeps {there}")


def add_route(routes: InternalRoutes, service: Service, run: Callable[[Replica, bool], AsyncIterator[Line]]) -> None:
    """Let an operator ask for audits.

    Args:
        routes: The service's.
        service: Whose replicas.
        run: Runs one audit, with repair or without.
    """

    async def answer(asked: AuditAsked) -> AsyncIterator[Line]:
        async for line in run(find_replica(service, asked.replica), asked.repair):
            yield line

    routes.add(PATH, AuditAsked, answer)


def line_of(each: Progress | Finding | Outcome) -> Line:
    """Give what an audit tells as a line."""
    if isinstance(each, Progress):
        return Line(progress=each)
    return Line(finding=each) if isinstance(each, Finding) else Line(outcome=each)
