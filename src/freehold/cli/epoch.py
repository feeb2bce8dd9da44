"""`freehold epoch advance`: the way on for a store that was restored behind its topic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from freehold.cli.output import JSON, Show, bars, confirm, interruptible, print_json, say

if TYPE_CHECKING:
    from freehold.cli.reach import Reached
    from freehold.converge.epoch import Standing


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="A store whose history was rewritten.", no_args_is_help=True)
    group.callback()(_group)
    group.command("advance")(advance)
    app.add_typer(group, name="epoch", rich_help_panel="A system")


def _group() -> None:
    """A store whose history was rewritten."""


def advance(
    service: Annotated[str, typer.Argument(help="The service whose store was restored.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also if the store does not seem to be behind.")] = False,
    json: JSON = False,
) -> None:
    """Begin a new epoch of a store that was restored from a backup, and tell all its entities again.

    It says first what will happen, and asks. Until it is run nothing of such a store is published. Run it again after
    whatever interrupted it: it goes on.
    """
    from freehold.cli.reach import reach
    from freehold.converge.epoch import Look, Standing
    from freehold.errors import EpochError

    reached = reach()
    standing = reached.peer(service).ask("epoch", Look(), Standing)
    if not (standing.is_behind or standing.is_telling or force):
        raise EpochError(
            f"nothing to advance: the store of {service} is not behind its topic (store {standing.tally}, topic "
            f"{standing.topic_tally}); if you know that it was restored all the same, say --force"
        )
    if not json:
        _explain(reached, service, standing)
    confirm("Go on with it?" if standing.is_telling else "Begin a new epoch?", yes=yes, json=json)
    with (
        interruptible(f"{service} goes on with it by itself; run it again until it ends"),
        bars(lines=not json) as show,
    ):
        epoch, told = _tell(reached, service, standing, force=force, show=show)
        copies = {f"{name}.{into}": _repair(reached, name, into, show) for name, into in _readers(reached, service)}
    if json:
        print_json({"service": service, "epoch": epoch, "told": told, "copies": copies})
    else:
        typer.echo(f"{service}: epoch {epoch}, {sum(told.values()):,} entities told again")
        for name, found in copies.items():
            typer.echo(
                f"{name}: {found['rows']:,} compared, {found['differing']:,} differed, {found['repaired']:,} repaired"
            )
    if any(found["differing"] > found["repaired"] or found["behind"] for found in copies.values()):
        say("not all copies are equal yet: freehold audit --repair")
        raise typer.Exit(1)


def _tell(reached: Reached, service: str, standing: Standing, *, force: bool, show: Show) -> tuple[int, dict[str, int]]:
    """Let the service begin the epoch and tell its entities again; give the epoch, and how many by kind."""
    from freehold.converge.epoch import Advance, Told

    epoch, told = standing.epoch, dict.fromkeys(standing.entities, 0)
    for step in reached.peer(service).lines("epoch/advance", Advance(force=force), Told):
        epoch = step.epoch
        if step.entity:
            told[step.entity] = step.done
            show(f"{service}: telling again: {step.entity}", step.done, step.total)
    return epoch, told


def _repair(reached: Reached, name: str, into: str, show: Show) -> dict[str, int]:
    """Compare a copy with its owner, and let what only the lost history had be removed."""
    from freehold.converge.audit_route import PATH, AuditAsked, Line

    found = {"rows": 0, "differing": 0, "repaired": 0, "behind": 0}
    for line in reached.peer(name).lines(PATH, AuditAsked(into, repair=True), Line):
        if line.progress is not None:
            show(f"{name}.{into}: {line.progress.stage}", line.progress.done, line.progress.total)
        if line.outcome is not None:
            found = {each: getattr(line.outcome, each) for each in found}
    return found


def _readers(reached: Reached, service: str) -> list[tuple[str, str]]:
    """Name the copies of a service's facts in the services that are up."""
    return [
        (each.name, copy.into)
        for each in reached.system.services
        for copy in each.replicates
        if copy.of == service and each.name in reached.urls
    ]


def _explain(reached: Reached, service: str, standing: Standing) -> None:
    counts = ", ".join(f"{count:,} of {kind}" for kind, count in standing.entities.items()) or "none"
    readers = ", ".join(f"{name}.{into}" for name, into in _readers(reached, service))
    say(f"{service}: its topic has followed the store to {standing.topic_tally}; the store stands at {standing.tally}.")
    if standing.is_telling:
        say(f"Epoch {standing.epoch} has begun, and not all entities were told again yet: that goes on.")
    else:
        say(
            f"A new epoch ({standing.epoch + 1}) will begin: from then on what the store says is later than all said before."
        )
    say(f"All entities are published again (about {counts}), and {standing.waiting:,} events that wait in its outbox.")
    if standing.untold:
        say(f"Not told again, as {service} does not say where they lie: {', '.join(standing.untold)}.")
    if readers:
        say(
            f"Copies that follow: {readers}. In the end they are compared, and what only the lost history had is removed."
        )
    else:
        say("No copy follows in what is up here.")
