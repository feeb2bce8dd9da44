"""`freehold up`, `down` and `reset`: the life of a system on this machine."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from freehold.cli.output import JSON, SYSTEM, absolute_target, console, external_servers, here, print_json, say

if TYPE_CHECKING:
    from freehold.runtime.supervisor.display import LineDisplay, LiveDisplay
    from freehold.runtime.supervisor.state import Place, SystemState
    from freehold.runtime.supervisor.supervise import Launch


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("up", rich_help_panel="A system")(up)
    app.command("down", rich_help_panel="A system")(down)
    app.command("reset", rich_help_panel="A system")(reset)


def up(
    system: SYSTEM,
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return when it is ready.")] = False,
    demo: Annotated[bool, typer.Option(help="Write the demo data on the first run.")] = True,
    port: Annotated[
        list[str] | None, typer.Option("--port", metavar="NAME=PORT", help="A port that must be used; repeatable.")
    ] = None,
    apart: Annotated[
        bool, typer.Option("--apart", help="Run each service's API, relay and consumers as processes of their own.")
    ] = False,
    json: JSON = False,
) -> None:
    """Start a system here: its servers, its services, its gateway. Ctrl-C stops it.

    A server is embedded, with its data in .freehold/ of the current directory, unless FREEHOLD_POSTGRES_URL,
    FREEHOLD_MONGO_URL or FREEHOLD_KAFKA_URL name one that you have.
    """
    if detach:
        from freehold.runtime.supervisor.detach import start_detached

        arguments = [absolute_target(system), *([] if demo else ["--no-demo"]), *(["--apart"] if apart else [])]
        arguments += [f"--port={each}" for each in port or ()]
        with display() as shown:
            state = start_detached(here(), arguments, shown.show)
        announce(state, json=json)
        return
    place = here()
    ports = _parse_ports(port or ())
    _run_here(place, lambda: _launch(place, system, demo=demo, ports=ports, is_apart=apart), json=json)


def down(json: JSON = False) -> None:
    """Stop what is up here, in order. Doing it again does no harm."""
    from freehold.runtime.supervisor.detach import stop

    was_up = stop(here(), say)
    if json:
        print_json({"stopped": was_up})
    else:
        typer.echo("stopped" if was_up else "nothing is up here")


def reset(
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Delete all data, credentials and logs of the system here, for good."""
    from freehold.errors import StartError
    from freehold.runtime.supervisor.leftovers import end_leftovers

    place = here()
    if not place.directory.exists():
        typer.echo("there is nothing to delete here")
        return
    if place.is_held():
        raise StartError(f"a system is up on {place.directory}; stop it first: freehold down")
    if not yes:
        typer.confirm(f"Delete everything in {place.directory}?", abort=True)
    with place.held():
        # Servers that outlived a killed supervisor would go on writing into what is deleted.
        end_leftovers(place.read(), say, servers=True)
        shutil.rmtree(place.directory)
    typer.echo(f"deleted {place.directory}")


def announce(state: SystemState, *, json: bool) -> None:
    """Print where everything is, and what to try."""
    if json:
        from freehold.runtime.supervisor.report import as_json

        print_json(as_json(state))
        return
    from freehold.runtime.supervisor.display import closing_table

    out = console()
    out.print(closing_table(state.processes))
    if state.reason:
        say(f"freehold: {state.reason}")
    for line in state.curl:
        typer.echo(f"  {_with_urls(line, state)}")
    sys.stdout.flush()


def _with_urls(line: str, state: SystemState) -> str:
    """Put the address of each process where the line has its name in braces; JSON's braces hold no such name."""
    for process in state.processes:
        line = line.replace(f"{{{process.name}}}", process.url or "")
    return line


def display() -> LiveDisplay | LineDisplay:
    """Choose how the start is shown: on stderr, which may be a terminal where stdout is none."""
    from freehold.runtime.supervisor.display import LineDisplay, LiveDisplay

    shown_on = console(on_stderr=True)
    return LiveDisplay(shown_on) if shown_on.is_terminal else LineDisplay(say)


def _run_here(place: Place, launch: Callable[[], Launch], *, json: bool) -> None:
    from freehold.errors import FreeholdError
    from freehold.runtime.supervisor.leftovers import end_leftovers

    code = 0
    try:
        with place.held():
            end_leftovers(place.read(), say, servers=False)
            _supervise(launch(), json=json)
    except FreeholdError as error:
        say(f"freehold: {error}")
        code = 1
    sys.stdout.flush()
    # A download that was interrupted goes on in its thread, and would hold an ordinary exit until it is through.
    os._exit(code)


def _supervise(launch: Launch, *, json: bool) -> None:
    from freehold.runtime.supervisor.display import LineDisplay
    from freehold.runtime.supervisor.supervise import Supervisor

    # Once all is ready the table is closed, and what changes later is told in lines beneath it.
    starting, later = display(), LineDisplay(say)
    shown: list[LiveDisplay | LineDisplay] = [starting]

    def ready(state: SystemState) -> None:
        later.skip(state)
        shown[0] = later
        starting.__exit__(None, None, None)
        announce(state, json=json)
        if sys.stderr.isatty():
            say("Ctrl-C stops it.")

    with starting:
        Supervisor(launch, lambda state: shown[0].show(state)).run(ready)


def _launch(place: Place, source: str, *, demo: bool, ports: dict[str, int], is_apart: bool) -> Launch:
    from freehold.runtime.load import load_system
    from freehold.runtime.supervisor.supervise import Launch

    target = absolute_target(source)
    return Launch(
        load_system(target),
        target,
        place,
        ports=ports,
        external=external_servers(),
        seeds=demo,
        is_apart=is_apart,
    )


def _parse_ports(given: list[str] | tuple[str, ...]) -> dict[str, int]:
    ports = {}
    for each in given:
        name, equals, number = each.partition("=")
        if not (name and equals and number.isdigit() and 0 < int(number) <= 65_535):
            raise typer.BadParameter(f"{each!r}: write NAME=PORT, such as gateway=4000", param_hint="--port")
        ports[name] = int(number)
    return ports
