"""`freehold rebuild`: copies built anew beside the serving ones, compared with their owner, and put in their place."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from freehold.cli.output import JSON, console, interruptible, print_json_line, say

if TYPE_CHECKING:
    from freehold.cli.reach import Reached
    from freehold.converge.rebuild import Step
    from freehold.converge.rebuild_routes import Wanted
    from freehold.converge.work import Method

Show = Callable[["Step"], None]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("rebuild", rich_help_panel="A system")(rebuild)


def rebuild(
    replica: Annotated[
        str, typer.Argument(help="Its table or collection (customers), or with its service (orders.customers).")
    ] = "",
    of: Annotated[str, typer.Option("--of", help="All copies of this service's facts, at once.")] = "",
    source: Annotated[
        Literal["topic", "owner"] | None,
        typer.Option("--from", help="What to build from; chosen by how far the topic reaches back, unless given."),
    ] = None,
    rows_per_s: Annotated[int | None, typer.Option("--rows-per-s", min=1, help="Apply no more than so many.")] = None,
    rollback: Annotated[bool, typer.Option("--rollback", help="Take the copy back that was replaced last.")] = False,
    drop_previous: Annotated[bool, typer.Option("--drop-previous", help="Drop the copy that was replaced.")] = False,
    json: JSON = False,
) -> None:
    """Build copies anew while the present ones serve; they take over once they are equal to their owner.

    Run it again after whatever interrupted it: it goes on.
    """
    from freehold.cli.reach import reach
    from freehold.converge.work import Method
    from freehold.errors import ConfigurationError

    if not (replica or of) or (replica and of):
        raise ConfigurationError(
            "say which copies: freehold rebuild REPLICA, or all of a service's facts: freehold rebuild --of SERVICE"
        )
    if bool(source) + rollback + drop_previous > 1:
        raise ConfigurationError("--from, --rollback and --drop-previous exclude one another")
    method = Method.PREVIOUS if rollback else Method(source) if source else None
    reached = reach()
    chosen = _find(reached, replica, of, method, rows_per_s, drop_previous=drop_previous)
    with interruptible("the services go on with it by themselves; the same command shows how far they are"):
        for service, wanted in chosen:
            if drop_previous:
                _drop(reached, service, wanted, json=json)
            else:
                _rebuild(reached, service, wanted, json=json)


def _find(
    reached: Reached, replica: str, of: str, method: Method | None, rows_per_s: int | None, *, drop_previous: bool
) -> list[tuple[str, Wanted]]:
    """Find the services that keep what was asked for."""
    from freehold.converge.rebuild_routes import Wanted
    from freehold.converge.work import Method
    from freehold.errors import ConfigurationError

    service, _, into = replica.rpartition(".")
    kept = [(each.name, copy) for each in reached.system.services for copy in each.replicates]
    names = {
        name: copy.into for name, copy in kept if (copy.of == of if of else copy.into == into and service in {"", name})
    }
    if of and method is not Method.PREVIOUS and not drop_previous:
        # Who only listens to it keeps nothing to build, and goes on behind what the topic has lost.
        names |= {each.name: "" for each in reached.system.services if of in each.sources()}
    if not names:
        there = ", ".join(f"{name}.{copy.into} (of {copy.of})" for name, copy in kept) or "none"
        raise ConfigurationError(
            f"there is no replica {replica or f'of {of}'} in {reached.system.name}; there is: {there}"
        )
    if len(names) > 1 and not of:
        raise ConfigurationError(f"several services keep {into}: say which, as in {min(names)}.{into}")
    return [
        (name, Wanted(replica="" if of else into, of=of, method=method, rows_per_s=rows_per_s))
        for name in sorted(names)
    ]


def _rebuild(reached: Reached, service: str, wanted: Wanted, *, json: bool) -> None:
    from freehold.converge.rebuild import Step

    began_at = time.monotonic()
    last: Step | None = None
    with _showing(service, json=json) as show:
        for last in reached.peer(service).lines("rebuild", wanted, Step):
            show(last)
    if last is None:
        return
    seconds = time.monotonic() - began_at
    if json:
        found = {"service": service, "source": last.source, "replicas": last.replicas, "state": last.stage}
        print_json_line(found | {"rows": last.done, "seconds": round(seconds, 3)})
    else:
        names = ", ".join(f"{service}.{each}" for each in last.replicas)
        applied = f" ({last.done:,} states applied, {seconds:.1f} s)" if names else ""
        typer.echo(f"{names or service}: {last.text}{applied}")


def _drop(reached: Reached, service: str, wanted: Wanted, *, json: bool) -> None:
    from freehold.converge.rebuild_routes import Dropped

    dropped = reached.peer(service).ask("rebuild/drop-previous", wanted, Dropped)
    if json:
        print_json_line({"service": service, "dropped": dropped.replicas})
        return
    for into in dropped.replicas:
        typer.echo(f"{service}.{into}: the copy that was replaced is dropped")
    if not dropped.replicas:
        typer.echo(f"{service}: there is no copy that was replaced")


@contextmanager
def _showing(service: str, *, json: bool) -> Iterator[Show]:
    """Show the steps: as a bar on a terminal, else each new one as a line."""
    screen = console(on_stderr=True)
    if screen.is_terminal and not json:
        from rich.progress import Progress

        with Progress(console=screen, transient=True) as progress:
            bar = progress.add_task(service)
            yield lambda step: progress.update(
                bar, description=f"{service}: {step.text}", completed=step.done, total=step.total or None
            )
        return
    told: set[str] = set()

    def tell(step: Step) -> None:
        if step.text not in told and not json:
            told.add(step.text)
            say(f"{service}: {step.text}")

    yield tell
