"""`freehold epoch advance`: the way on for a store that was restored behind its topic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from freehold.cli.output import JSON, print_json, say

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
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Also if the store does not seem to be behind.")] = False,
    json: JSON = False,
) -> None:
    """Begin a new epoch of a store that was restored from a backup, and tell all its entities again.

    It says first what will happen, and asks. Until it is run nothing of such a store is published. Run it again after
    whatever interrupted it: it goes on.
    """
    from freehold.cli.reach import reach
    from freehold.converge.epoch import Advance, Look, Standing, Told
    from freehold.errors import EpochError

    reached = reach()
    peer = reached.peer(service)
    standing = peer.ask("epoch", Look(), Standing)
    if not json:
        _explain(reached, service, standing)
    if not (standing.is_behind or standing.is_telling or force):
        raise EpochError(f"nothing to advance: the store of {service} is not behind its topic")
    if not yes and not typer.confirm("Begin a new epoch?", err=True):
        raise typer.Exit(1)
    epoch, told = standing.epoch, dict.fromkeys(standing.entities, 0)
    for step in peer.lines("epoch/advance", Advance(force=force), Told):
        epoch = step.epoch
        if step.entity:
            told[step.entity] = step.done
            if not json:
                say(f"{service}: told again {step.done:,} of about {step.total:,}: {step.entity}")
    if json:
        print_json({"service": service, "epoch": epoch, "told": told})
    else:
        typer.echo(
            f"{service}: epoch {epoch}; {sum(told.values()):,} entities told again. Now compare: freehold audit --repair"
        )


def _explain(reached: Reached, service: str, standing: Standing) -> None:
    counts = ", ".join(f"{count:,} of {kind}" for kind, count in standing.entities.items()) or "none"
    readers = [
        f"{each.name}.{copy.into}" for each in reached.system.services for copy in each.replicates if copy.of == service
    ]
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
    say(
        f"Copies that follow: {', '.join(readers) or 'none'}. What only the lost history had stays there until an audit."
    )
