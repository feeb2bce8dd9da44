"""`freehold status` and `logs`: what is up here, and what it writes."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from freehold.cli.output import JSON, here, print_json, print_table, say

if TYPE_CHECKING:
    from freehold.runtime.supervisor.state import ProcessState

FOLLOW_S = 0.1
LINES_SHOWN = 200


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("status", rich_help_panel="A system")(status)
    app.command("logs", rich_help_panel="A system")(logs)


def status(json: JSON = False) -> None:
    """Show what is up here: its processes, and how far relays and consumers are."""
    from freehold.runtime.supervisor.report import as_json, ask_processes, explain_stops, read_state

    state = read_state(here())
    progress = ask_processes(state) if state is not None else {}
    if json:
        data = as_json(state)
        for process in data["processes"]:
            if process["name"] in progress:
                process["progress"] = progress[process["name"]]
        print_json(data)
        return
    if state is None:
        typer.echo("nothing is up here; start a system: freehold up SYSTEM")
        return
    typer.echo(f"{state.system}: {state.state}" + (f" ({state.reason})" if state.reason else ""))
    print_table(
        ("name", "role", "state", "url", "process", "lag"),
        [_row(process, progress.get(process.name)) for process in state.processes],
        whole=("url",),
    )
    for name, told in progress.items():
        for line in [*explain_stops(told), *(told.get("notes") or ())]:
            typer.echo(f"{name}: {line}")
    say("what one of them wrote: freehold logs NAME")


def logs(
    service: Annotated[str, typer.Argument(help="The name of a process: a service, gateway, postgres, ...")],
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, help="How many of the last lines.")] = LINES_SHOWN,
) -> None:
    """Print what a process wrote."""
    log = _find_log(service)
    with log.open(errors="replace") as stream:
        typer.echo("".join(stream.readlines()[-lines:] if lines else stream.readlines()[:0]), nl=False)
        with contextlib.suppress(KeyboardInterrupt):
            while follow:
                typer.echo(stream.read(), nl=False)
                time.sleep(FOLLOW_S)


def _find_log(name: str) -> Path:
    from freehold.errors import ConfigurationError

    place = here()
    state = place.read()
    known = place.log(name) if name == "up" or state is None else Path(state.find(name).log or place.log(name))
    if not known.exists():
        raise ConfigurationError(f"{name} has written nothing here yet: there is no {known}")
    return known


def _row(process: ProcessState, progress: dict[str, Any] | None) -> tuple[str, ...]:
    words = process.detail.partition("\n")[0] if process.state in {"failed", "restarting", "unready", "waiting"} else ""
    state = f"{process.state}: {words}" if words else process.state
    number = str(process.pid) if process.pid else ""
    return process.name, process.role, state, process.url or "", number, _lag(progress)


def _lag(progress: dict[str, Any] | None) -> str:
    """Say in a few words what waits in the outbox, and what of each source is still to be applied."""
    if progress is None:
        return ""
    from freehold.runtime.supervisor.report import summarise_lag

    return summarise_lag(progress)
