"""The internal routes by which an operator reaches the parked events of a service; nobody else may."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from freehold.consumer.parking import Intent
from freehold.consumer.parking.decide import now
from freehold.consumer.redrive import Round
from freehold.consumer.redrive.choose import IDS_MAX, Filter
from freehold.consumer.redrive.desk import Desk
from freehold.consumer.redrive.shown import Page, Proposal, Step
from freehold.errors import CallerError
from freehold.http.body import Body
from freehold.http.internal import InternalRoutes
from freehold.identifier import is_id

PATH = "dead/"
LIMIT_MAX = 1_000
BY_CHARS_MAX = 200


class ListAsked(Body, frozen=True, kw_only=True):
    """Which events to list; `after` is what the page before said."""

    filter: Filter = Filter()
    after: str = ""
    limit: int = LIMIT_MAX


class EventAsked(Body, frozen=True, kw_only=True):
    """One event ("users:0:42")."""

    id: str


class EditAsked(Body, frozen=True, kw_only=True):
    """Data to try in place of an event's; None for its own again."""

    id: str
    data: bytes | None
    round: str
    by: str


class ProposeAsked(Body, frozen=True, kw_only=True):
    """What to choose, for which round, and who asks."""

    filter: Filter
    intent: Intent
    round: str
    by: str
    even_quarantined: bool = False
    dry_run: bool = False


class RoundAsked(Body, frozen=True, kw_only=True):
    """One round."""

    round: str


class StepAsked(Body, frozen=True, kw_only=True):
    """How many events of a round to ask for."""

    round: str
    count: int


class Edited(Body, frozen=True, kw_only=True):
    """Whether an edited event is tried now, or when its turn comes."""

    is_tried_now: bool


class Unfinished(Body, frozen=True, kw_only=True):
    """The newest round that was not asked for to its end, if there is one."""

    round: str | None


class Done(Body, frozen=True):
    """It was done."""


class DeadLetterRoutes:
    """Answers operators about the parked events of a service."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def add_to(self, internal: InternalRoutes) -> None:
        """Answer under these paths."""
        answers: dict[str, tuple[type[Any], Callable[[Any], Awaitable[Any]]]] = {
            "list": (ListAsked, self._list),
            "show": (EventAsked, lambda asked: self._desk.show(asked.id)),
            "edit": (EditAsked, self._edit),
            "propose": (ProposeAsked, self._propose),
            "confirm": (RoundAsked, self._confirm),
            "drop": (RoundAsked, self._drop),
            "step": (StepAsked, self._step),
            "unfinished": (Body, self._unfinished),
            "tally": (RoundAsked, lambda asked: self._desk.tally(asked.round)),
        }
        for path, (asked, answer) in answers.items():
            internal.add(PATH + path, asked, answer)

    async def _list(self, asked: ListAsked) -> Page:
        if not 1 <= asked.limit <= LIMIT_MAX:
            raise CallerError(f"limit is 1 to {LIMIT_MAX:,}")
        return await self._desk.list_page(asked.filter, asked.after, asked.limit)

    async def _propose(self, asked: ProposeAsked) -> Proposal:
        if len(asked.filter.ids) > IDS_MAX:
            raise CallerError(f"at most {IDS_MAX:,} ids at once")
        made = _round(asked.round, asked.intent, asked.by, even_quarantined=asked.even_quarantined)
        return await self._desk.propose(asked.filter, made, dry_run=asked.dry_run)

    async def _edit(self, asked: EditAsked) -> Edited:
        made = _round(asked.round, Intent.REDRIVE, asked.by)
        return Edited(is_tried_now=await self._desk.edit(asked.id, asked.data, made) is not None)

    async def _step(self, asked: StepAsked) -> Step:
        if not 1 <= asked.count <= LIMIT_MAX:
            raise CallerError(f"count is 1 to {LIMIT_MAX:,}")
        return await self._desk.step(asked.round, asked.count)

    async def _confirm(self, asked: RoundAsked) -> Done:
        await self._desk.confirm(asked.round)
        return Done()

    async def _drop(self, asked: RoundAsked) -> Done:
        await self._desk.drop(asked.round)
        return Done()

    async def _unfinished(self, _asked: Body) -> Unfinished:
        found = await self._desk.unfinished()
        return Unfinished(round=None if found is None else found.id)


def _round(round_id: str, intent: Intent, by: str, *, even_quarantined: bool = False) -> Round:
    if not is_id(round_id):
        raise CallerError("a round's id is a UUID")
    return Round(id=round_id, intent=intent, by=by[:BY_CHARS_MAX], at=now(), even_quarantined=even_quarantined)
