"""Take one round of `freehold dead redrive` or `discard` through: choose, ask, go step by step, say what became of it.

The command only paces it. All that must outlive the command lies in the services' stores, so it may be killed anywhere, and
`--resume` goes on.
"""

from __future__ import annotations

import dataclasses
import getpass
import re
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from freehold.cli.dead_filter import Wanted, read_age
from freehold.cli.output import console, print_json, print_table, say

if TYPE_CHECKING:
    from freehold.cli.reach import Reached
    from freehold.consumer.redrive.shown import Proposal
    from freehold.consumer.redrive.tally import Tally

RATE = Annotated[str, typer.Option("--rate", help="How many to ask for at most: 50/s, 10/m.")]
WAIT = Annotated[
    str, typer.Option("--wait", help="How long to wait for what becomes of them: 30s, 5m; 0s: not at all.")
]
YES = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]

STEP_MAX = 200
TICK_S = 0.2
LOOK_S = 0.3
LOOK_S_MAX = 2.0  # each look reads the lot
GOOD = {"took effect", "had taken effect already", "discarded", "left by itself"}
_RATE = re.compile(r"(\d{1,6})(?:/(s|m|h))?")
_PER_S = {"s": 1.0, "m": 60.0, "h": 3_600.0}


@dataclasses.dataclass(frozen=True)
class Pace:
    """How fast and how long."""

    per_s: float
    wait_s: float


def run_round(
    reached: Reached,
    asked: Wanted,
    what: str,
    *,
    even_quarantined: bool,
    dry_run: bool,
    rate: str,
    wait: str,
    yes: bool,
    json: bool,
) -> None:
    """Choose, ask the person, and have it done; raises ConfigurationError when nothing is chosen."""
    from freehold.errors import ConfigurationError
    from freehold.identifier import new_id

    pace = Pace(read_rate(rate), read_age(wait, "--wait") or 0.0)
    round_id = new_id()
    proposals = _propose(reached, asked, what, round_id, even_quarantined=even_quarantined, dry_run=dry_run)
    count = sum(each.count for each in proposals.values())
    if json and dry_run:
        print_json(_proposal_data(proposals))
    elif not json:
        _print_proposals(proposals, what)
    if dry_run:
        return
    if not count:
        left_out = [f"{number:,} {why}" for each in proposals.values() for why, number in each.left_out.items()]
        raise ConfigurationError(
            f"there is nothing to {what}: " + ("; ".join(left_out) if left_out else "no parked event matches")
        )
    chosen = [service for service, each in proposals.items() if each.count]
    try:
        _confirm(what, count, yes=yes, json=json)
    except BaseException:
        _ask_each(reached, chosen, "drop", round_id)
        raise
    _ask_each(reached, chosen, "confirm", round_id)
    _finish(reached, {service: proposals[service].count for service in chosen}, round_id, what, pace, json=json)


def resume_round(reached: Reached, ids: list[str], *, rate: str, wait: str, json: bool) -> None:
    """Go on with a round where it was interrupted, and say what became of all of it."""
    from freehold.consumer.redrive.routes import PATH, RoundAsked
    from freehold.consumer.redrive.tally import Tally
    from freehold.errors import CallerError, ConfigurationError

    pace = Pace(read_rate(rate), read_age(wait, "--wait") or 0.0)
    if len(ids) > 1:
        raise ConfigurationError("--resume takes one id, that of a redrive")
    round_id = ids[0] if ids else _newest_unfinished(reached)
    there: dict[str, Tally] = {}
    for service in _services(reached):
        try:
            there[service] = reached.ask(service, PATH + "tally", RoundAsked(round=round_id), Tally)
        except CallerError:
            continue
    if not there:
        raise ConfigurationError(f"no service that is up knows a redrive {round_id}")
    if not any(each.is_confirmed for each in there.values()):
        raise ConfigurationError(f"nothing was begun under {round_id}: it was never confirmed; begin anew")
    # The one confirmation was for all of them.
    _ask_each(reached, list(there), "confirm", round_id)
    what = next(iter(there.values())).intent.value
    _finish(reached, {name: each.unasked for name, each in there.items()}, round_id, what, pace, json=json)


def who() -> str:
    """Say who asks, for the record."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = "somebody"
    return f"{name}@{socket.gethostname()}"


def read_rate(text: str) -> float:
    """Read "50/s", "10/m" or "50" as events a second; raises ConfigurationError."""
    from freehold.errors import ConfigurationError

    found = _RATE.fullmatch(text)
    if found is None or int(found[1]) == 0:
        raise ConfigurationError(f"--rate {text!r}: say how many as 50/s, 10/m or 100/h")
    return int(found[1]) / _PER_S[found[2] or "s"]


def due(elapsed_s: float, per_s: float, done: int) -> int:
    """Say how many may be asked for now: the first at once, the others no faster than the rate."""
    return max(0, min(STEP_MAX, 1 + int(elapsed_s * per_s) - done))


def _propose(
    reached: Reached, asked: Wanted, what: str, round_id: str, *, even_quarantined: bool, dry_run: bool
) -> dict[str, Proposal]:
    from freehold.consumer.parking import Intent
    from freehold.consumer.redrive.routes import PATH, ProposeAsked
    from freehold.consumer.redrive.shown import Proposal

    found: dict[str, Proposal] = {}
    for service in asked.services(reached):
        question = ProposeAsked(
            filter=asked.filter(service),
            intent=Intent(what),
            round=round_id,
            by=who(),
            even_quarantined=even_quarantined,
            dry_run=dry_run,
        )
        try:
            found[service] = reached.ask(service, PATH + "propose", question, Proposal)
        except BaseException:
            _ask_each(reached, list(found), "drop", round_id)
            raise
    return found


def _confirm(what: str, count: int, *, yes: bool, json: bool) -> None:
    from freehold.errors import ConfigurationError

    if yes:
        return
    if json or not sys.stdin.isatty():
        raise ConfigurationError(f"{count:,} would be asked to {what}; say --yes, since nobody can be asked here")
    lost = "They take no effect, now or later, and their data is deleted. " if what == "discard" else ""
    events = "event" if count == 1 else "events"
    typer.confirm(f"{lost}{what.capitalize()} {count:,} {events}?", abort=True, err=True)


def _ask_each(reached: Reached, services: list[str], path: str, round_id: str) -> None:
    from freehold.consumer.redrive.routes import PATH, Done, RoundAsked

    for service in services:
        reached.ask(service, PATH + path, RoundAsked(round=round_id), Done)


def _finish(reached: Reached, services: Mapping[str, int], round_id: str, what: str, pace: Pace, *, json: bool) -> None:
    """Step through the round in these services, each with so many events to ask for, and say what became of them."""
    from freehold.errors import PeerError

    try:
        with _progress(what) as show:
            _step_through(reached, services, round_id, pace, show)
            tallies = _wait(reached, services, round_id, pace, show)
    except KeyboardInterrupt:
        say(f"interrupted; go on with: freehold dead redrive --resume {round_id}")
        raise typer.Exit(130) from None
    except PeerError as error:
        raise PeerError(f"{error}; go on with: freehold dead redrive --resume {round_id}") from error
    if json:
        print_json(_tally_data(round_id, what, tallies))
    else:
        _print_tallies(tallies, round_id)
    if not _is_good(tallies):
        raise typer.Exit(1)


def _step_through(reached: Reached, services: Mapping[str, int], round_id: str, pace: Pace, show: Any) -> None:
    from freehold.consumer.redrive.routes import PATH, StepAsked
    from freehold.consumer.redrive.shown import Step

    began_at, done = time.monotonic(), 0
    for service in services:
        is_last = False
        while not is_last:
            count = due(time.monotonic() - began_at, pace.per_s, done)
            if count == 0:
                time.sleep(min(TICK_S, 1 / pace.per_s))
                continue
            step = reached.ask(service, PATH + "step", StepAsked(round=round_id, count=count), Step)
            done, is_last = done + step.asked, step.is_last
            show(f"{service}: asked", done, sum(services.values()))


def _wait(reached: Reached, services: Mapping[str, int], round_id: str, pace: Pace, show: Any) -> dict[str, Tally]:
    """Wait until everything was tried, as long as was said."""
    from freehold.consumer.redrive.routes import PATH, RoundAsked
    from freehold.consumer.redrive.tally import Tally

    until, pause_s = time.monotonic() + pace.wait_s, LOOK_S
    while True:
        question = RoundAsked(round=round_id)
        tallies = {service: reached.ask(service, PATH + "tally", question, Tally) for service in services}
        pending = sum(each.pending for each in tallies.values())
        settled = sum(sum(each.outcomes.values()) for each in tallies.values())
        show("tried", settled, settled + pending)
        if not pending or time.monotonic() >= until:
            return tallies
        time.sleep(pause_s)
        pause_s = min(1.5 * pause_s, LOOK_S_MAX)


def _newest_unfinished(reached: Reached) -> str:
    from freehold.consumer.redrive.routes import PATH, Unfinished
    from freehold.errors import ConfigurationError
    from freehold.http.body import Body

    found = [reached.ask(each, PATH + "unfinished", Body(), Unfinished).round for each in _services(reached)]
    ids = [each for each in found if each is not None]
    if not ids:
        raise ConfigurationError("no redrive was interrupted; all that were begun have been asked for to their end")
    return max(ids)


def _services(reached: Reached) -> list[str]:
    return [each.name for each in reached.system.services if each.sources() and each.name in reached.urls]


def _is_good(tallies: Mapping[str, Tally]) -> bool:
    return all(not each.pending and not each.unasked and set(each.outcomes) <= GOOD for each in tallies.values())


def _print_proposals(proposals: Mapping[str, Proposal], what: str) -> None:
    rows = [
        (service, each.type, each.reason, f"{each.count:,}")
        for service, proposal in proposals.items()
        for each in proposal.reasons
    ]
    if rows:
        print_table(("service", "type", "failed with", "events"), rows)
    for service, proposal in proposals.items():
        for why, count in proposal.left_out.items():
            say(f"{service}: {count:,} left out: {why}")
        if proposal.waiting_behind:
            say(f"{service}: {proposal.waiting_behind:,} wait behind these, and go on after them")
    say(f"{sum(each.count for each in proposals.values()):,} to {what}")


def _proposal_data(proposals: Mapping[str, Proposal]) -> dict[str, Any]:
    import msgspec

    by_reason = [
        {"service": service} | msgspec.structs.asdict(reason)
        for service, each in proposals.items()
        for reason in each.reasons
    ]
    left_out = [
        {"service": service, "reason": why, "count": count}
        for service, each in proposals.items()
        for why, count in each.left_out.items()
    ]
    count = sum(each.count for each in proposals.values())
    return {"dry_run": True, "count": count, "by_reason": by_reason, "left_out": left_out}


def _print_tallies(tallies: Mapping[str, Tally], round_id: str) -> None:
    for service, each in tallies.items():
        words = [f"{count:,} {outcome}" for outcome, count in sorted(each.outcomes.items())]
        words += [f"{each.pending:,} not tried yet"] if each.pending else []
        words += [f"{each.unasked:,} still to be asked for"] if each.unasked else []
        typer.echo(f"{service}: {', '.join(words)}")
        for failed in each.failed_again:
            typer.echo(f"  {service}/{failed.id}: {failed.state}: {failed.error.partition(chr(10))[0]}")
    if any(each.pending or each.unasked for each in tallies.values()):
        say(f"see what becomes of them: freehold dead redrive --resume {round_id}")


def _tally_data(round_id: str, what: str, tallies: Mapping[str, Tally]) -> dict[str, Any]:
    outcomes: dict[str, int] = {}
    for each in tallies.values():
        for outcome, count in each.outcomes.items():
            outcomes[outcome] = outcomes.get(outcome, 0) + count
    return {
        "id": round_id,
        "intent": what,
        "outcomes": outcomes,
        "pending": sum(each.pending for each in tallies.values()),
        "unasked": sum(each.unasked for each in tallies.values()),
        "failed_again": [
            {"id": f"{service}/{failed.id}", "type": failed.type, "state": failed.state, "error": failed.error}
            for service, each in tallies.items()
            for failed in each.failed_again
        ],
    }


@contextmanager
def _progress(what: str) -> Iterator[Any]:
    """Show a bar on a terminal, and nothing where nobody looks."""
    shown_on = console(on_stderr=True)
    if not shown_on.is_terminal:
        yield lambda _text, _done, _total: None
        return
    from rich.progress import Progress

    with Progress(console=shown_on, transient=True) as bars:
        bar = bars.add_task(what, total=None)
        yield lambda text, done, total: bars.update(bar, description=text, completed=done, total=total or None)
