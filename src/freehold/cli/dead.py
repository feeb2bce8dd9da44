"""`freehold dead`: look at the events that could not be applied, and have them tried again, edited or given up."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from freehold.cli.dead_filter import (
    ALL,
    ERROR,
    IDS,
    KEY,
    NEWER,
    OLDER,
    SERVICE,
    SOURCE,
    STATE,
    TYPE,
    Wanted,
    split_id,
    wanted,
    words_of_age,
)
from freehold.cli.dead_round import RATE, WAIT, YES, resume_round, run_round, who
from freehold.cli.output import JSON, print_json, print_table, say

if TYPE_CHECKING:
    from freehold.cli.reach import Reached
    from freehold.consumer.redrive.shown import Line, Shown

SHOWN = 100
PAGE = 500


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Events that could not be applied, and what waits behind them.", no_args_is_help=True)
    group.command("list")(list_events)
    group.command("show")(show)
    group.command("redrive")(redrive)
    group.command("edit")(edit)
    group.command("discard")(discard)
    app.add_typer(group, name="dead", rich_help_panel="A system")


def list_events(
    service: SERVICE = None,
    source: SOURCE = "",
    type_: TYPE = "",
    key: KEY = "",
    error: ERROR = "",
    older: OLDER = "",
    newer: NEWER = "",
    state: STATE = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=100_000, help="How many at most.")] = SHOWN,
    json: JSON = False,
) -> None:
    """List the parked events: dead, failed and tried again by themselves, or waiting behind another one of their key."""
    from freehold.cli.reach import reach

    asked = wanted((), service, source, type_, key, error, older, newer, state)
    reached = reach()
    lines, is_cut, failures = _gather(reached, asked, limit)
    if json:
        print_json([_as_data(name, line) for name, line in lines])
    elif lines:
        columns = ("id", "type", "key", "state", "error", "tries", "age")
        print_table(columns, [_row(name, line) for name, line in lines], whole=("id",))
    elif not failures:
        say("no parked event matches" if asked.is_narrow else "nothing is parked")
    if is_cut:
        say(f"there are more than these {limit:,}; narrow the filter, or raise --limit")
    for failure in failures:
        say(f"freehold: {failure}")
    if failures:
        raise typer.Exit(1)


def show(
    event: Annotated[str, typer.Argument(help="As the list gives it: orders/users:0:42.", metavar="ID")],
    json: JSON = False,
) -> None:
    """Show everything about one parked event: its data and headers, what it failed with, and what waits behind it."""
    from freehold.cli.reach import reach
    from freehold.consumer.redrive.routes import PATH, EventAsked
    from freehold.consumer.redrive.shown import Shown

    service, event_id = split_id(event)
    shown = reach().ask(service, PATH + "show", EventAsked(id=event_id), Shown)
    if json:
        import msgspec

        rest = msgspec.structs.asdict(shown)
        del rest["line"]
        rest["waits_for"] = shown.waits_for and f"{service}/{shown.waits_for}"
        rest["behind_ids"] = [f"{service}/{each}" for each in shown.behind_ids]
        print_json(_as_data(service, shown.line) | rest)
        return
    for text in _page(service, shown):
        typer.echo(text)


def redrive(
    ids: IDS = None,
    service: SERVICE = None,
    source: SOURCE = "",
    type_: TYPE = "",
    key: KEY = "",
    error: ERROR = "",
    older: OLDER = "",
    newer: NEWER = "",
    state: STATE = None,
    everything: ALL = False,
    even_quarantined: Annotated[
        bool, typer.Option("--even-quarantined", help="Also what was redriven 3 times and came back.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be redriven, and do nothing.")] = False,
    rate: RATE = "50/s",
    wait: WAIT = "60s",
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the redrive ID, or with the newest that was interrupted.")
    ] = False,
    yes: YES = False,
    json: JSON = False,
) -> None:
    """Have parked events tried again, by ids or by a filter; what has taken effect already does so no second time.

    What is chosen stays as it is chosen: events that die later are no part of it. Exit code 0 only if all took effect.
    """
    from freehold.cli.reach import reach

    if resume:
        resume_round(reach(), ids or [], rate=rate, wait=wait, json=json)
        return
    asked = wanted(ids or (), service, source, type_, key, error, older, newer, state)
    asked.refuse_all(what="redrive", everything=everything)
    run_round(
        reach(),
        asked,
        "redrive",
        even_quarantined=even_quarantined,
        dry_run=dry_run,
        rate=rate,
        wait=wait,
        yes=yes,
        json=json,
    )


def discard(
    ids: IDS = None,
    service: SERVICE = None,
    source: SOURCE = "",
    type_: TYPE = "",
    key: KEY = "",
    error: ERROR = "",
    older: OLDER = "",
    newer: NEWER = "",
    state: STATE = None,
    everything: ALL = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be discarded, and do nothing.")] = False,
    rate: RATE = "50/s",
    wait: WAIT = "60s",
    yes: YES = False,
    json: JSON = False,
) -> None:
    """Give parked events up for good: they take no effect, and later ones of their keys go on. Who did it is kept."""
    from freehold.cli.reach import reach

    asked = wanted(ids or (), service, source, type_, key, error, older, newer, state)
    asked.refuse_all(what="discard", everything=everything)
    run_round(
        reach(), asked, "discard", even_quarantined=True, dry_run=dry_run, rate=rate, wait=wait, yes=yes, json=json
    )


def edit(
    event: Annotated[str, typer.Argument(help="As the list gives it: orders/users:0:42.", metavar="ID")],
    data: Annotated[
        str, typer.Option("--data", help="A file with the new data, - for stdin; $EDITOR unless given.", metavar="FILE")
    ] = "",
    original: Annotated[bool, typer.Option("--original", help="Take the event's own data again.")] = False,
    json: JSON = False,
) -> None:
    """Let other data be tried in place of an event's. Its id, key and place stay, and its own data is kept beside it."""
    from freehold.cli.reach import reach
    from freehold.consumer.redrive.routes import PATH, EditAsked, Edited, EventAsked
    from freehold.consumer.redrive.shown import Shown
    from freehold.errors import ConfigurationError
    from freehold.identifier import new_id

    if data and original:
        raise ConfigurationError("--data and --original exclude one another")
    service, event_id = split_id(event)
    reached = reach()
    content = None if original else _read(data) if data else None
    if not (data or original):
        shown = reached.ask(service, PATH + "show", EventAsked(id=event_id), Shown)
        content = _from_editor(shown.edited if shown.edited is not None else shown.data or "")
    edited = reached.ask(service, PATH + "edit", EditAsked(id=event_id, data=content, round=new_id(), by=who()), Edited)
    if json:
        print_json({"id": event, "edited": content is not None, "is_tried_now": edited.is_tried_now})
    else:
        when = "is tried now" if edited.is_tried_now else "is tried when the events before it have taken effect"
        typer.echo(f"{event} {'has new data' if content is not None else 'has its own data again'}, and {when}")


def _gather(reached: Reached, asked: Wanted, limit: int) -> tuple[list[tuple[str, Line]], bool, list[str]]:
    """Give the lines of all services, whether there are more, and what could not be asked."""
    from freehold.errors import PeerError

    found: list[tuple[str, Line]] = []
    failures: list[str] = []
    for service in asked.services(reached):
        try:
            found.extend((service, line) for line in _lines(reached, service, asked, limit + 1 - len(found)))
        except PeerError as error:
            failures.append(str(error))
        if len(found) > limit:
            break
    return found[:limit], len(found) > limit, failures


def _lines(reached: Reached, service: str, asked: Wanted, limit: int) -> Iterator[Line]:
    from freehold.consumer.redrive.routes import PATH, ListAsked
    from freehold.consumer.redrive.shown import Page

    after, left = "", limit
    while left > 0:
        question = ListAsked(filter=asked.filter(service), after=after, limit=min(left, PAGE))
        page = reached.ask(service, PATH + "list", question, Page)
        yield from page.lines
        left -= len(page.lines)
        if page.after is None:
            return
        after = page.after


def _as_data(service: str, line: Line) -> dict[str, Any]:
    import msgspec

    return {"service": service} | msgspec.structs.asdict(line) | {"id": f"{service}/{line.id}"}


def _row(service: str, line: Line) -> tuple[str, ...]:
    from freehold.consumer.redrive.choose import without_place

    state = f"{line.state}, {line.asked} asked" if line.asked else str(line.state)
    error = f"{line.error_type}: {without_place(line.error_type, line.error)}".strip(": ").partition("\n")[0]
    error = error if len(error) <= 80 else f"{error[:80]}..."
    age = words_of_age(line.age_s)
    return f"{service}/{line.id}", line.type, line.key, state, error, str(line.attempts), age


def _page(service: str, shown: Shown) -> Iterator[str]:
    line = shown.line
    yield f"{service}/{line.id}: {line.type or 'no type'} of {line.key or 'no key'}, version {line.version or 'unknown'}"
    yield f"  state      {line.state}{f', {line.asked} asked' if line.asked else ''}"
    yield f"  lies       {line.topic}, partition {line.partition}, offset {line.offset}"
    yield f"  parked     {line.parked_at:%Y-%m-%d %H:%M:%S %Z}, {words_of_age(line.age_s)} ago"
    if line.first_failed_at and line.last_failed_at:
        first, last = f"{line.first_failed_at:%Y-%m-%d %H:%M:%S}", f"{line.last_failed_at:%Y-%m-%d %H:%M:%S}"
        yield f"  tried      {_times(line.attempts)}, first {first}, last {last}; redriven {_times(line.replays)}"
    for each in shown.tries[:-1]:
        yield f"             {each.at:%Y-%m-%d %H:%M:%S} {each.error_type}"
    if line.retry_at:
        yield f"  next try   {line.retry_at:%Y-%m-%d %H:%M:%S %Z}"
    if shown.waits_for:
        yield f"  waits for  {service}/{shown.waits_for}"
    if shown.behind:
        yield f"  behind it  {shown.behind:,}: {', '.join(f'{service}/{each}' for each in shown.behind_ids)}"
    if line.error_type:
        yield f"\n{line.error_type}: {line.error}"
    if shown.traceback:
        yield f"\n{shown.traceback.rstrip()}"
    yield "\nheaders"
    yield from (f"  {name}: {value}" for name, value in shown.headers)
    yield f"\ndata\n{_pretty(shown.data)}"
    if shown.edited is not None:
        yield f"\nedited: tried in its place\n{_pretty(shown.edited)}"


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count:,} times"


def _pretty(text: str | None) -> str:
    import msgspec

    if text is None:
        return "(none)"
    try:
        return msgspec.json.format(text, indent=2)
    except msgspec.DecodeError:
        return text


def _read(data: str) -> bytes:
    from freehold.errors import ConfigurationError

    if data == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(data).read_bytes()
    except OSError as error:
        raise ConfigurationError(f"the data in {data} cannot be read: {error.strerror}") from None


def _from_editor(text: str) -> bytes:
    from freehold.errors import ConfigurationError

    if not sys.stdin.isatty():
        raise ConfigurationError("there is no terminal to edit on; give the data: --data FILE, or --data - from stdin")
    before = _pretty(text)
    # A directory of its own: what the editor leaves beside the file goes with it.
    with tempfile.TemporaryDirectory(prefix="freehold-") as directory:
        file = Path(directory) / "event.json"
        file.write_text(before, encoding="utf-8")
        _run_editor(str(file))
        try:
            after = file.read_bytes()
        except OSError:
            raise ConfigurationError("the editor took the file away, so nothing was done") from None
    if after.strip() == before.strip().encode():
        raise ConfigurationError("nothing was changed, so nothing was done")
    return after.strip()


def _run_editor(path: str) -> None:
    from freehold.errors import ConfigurationError

    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    # What is typed while it runs is for the editor; a handler, unlike ignoring it, is not inherited.
    before = signal.signal(signal.SIGINT, lambda _number, _frame: None)
    try:
        subprocess.run([*shlex.split(editor), path], check=True)
    except (OSError, ValueError, subprocess.CalledProcessError) as error:
        raise ConfigurationError(f"{editor} failed, so nothing was done: {error}") from None
    finally:
        signal.signal(signal.SIGINT, before)
