"""`freehold check` and `doctor`: what is proven of a system, by its code or while it runs; what this machine lacks."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from freehold.cli.output import JSON, SYSTEM, external_servers, here, print_json, print_table, say

if TYPE_CHECKING:
    from freehold.runtime.isolation import Identity
    from freehold.runtime.supervisor.state import Place
    from freehold.service import System

MARKS = {True: "ok", False: "NO"}


class SystemOrCommand(TyperGroup):
    """A group whose command may be left out: `freehold check SYSTEM` is `freehold check system SYSTEM`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put the command in where a system stands in its place."""
        is_named = not args or args[0] in self.commands or args[0] in ctx.help_option_names
        return super().parse_args(ctx, args if is_named else ["system", *args])


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        help="Prove what a system promises: SYSTEM by its code, or isolation.",
        cls=SystemOrCommand,
        no_args_is_help=True,
    )
    group.command("system")(system)
    group.command("isolation")(isolation)
    app.add_typer(group, name="check", rich_help_panel="A system")
    app.command("doctor", rich_help_panel="This machine")(doctor)


def system(system: SYSTEM, json: JSON = False) -> None:
    """Hold a system's code to its diagram and contracts, without starting anything.

    The diagram parses, each lane and node is bound, no service imports another, events keep their contracts and
    readers find in them what they need.
    """
    from freehold.conform.static import check_system
    from freehold.runtime.load import load_system

    loaded = load_system(system)
    problems = check_system(loaded, system)
    if loaded.diagram is None:
        say(f"{loaded.name} names no diagram: System(..., diagram=Path(...))")
    if json:
        print_json({"problems": problems})
    elif not problems:
        typer.echo("nothing is wrong: the diagram, the imports between services, the contracts")
    for problem in () if json else problems:
        say(problem)
    if problems:
        raise typer.Exit(1)


def isolation(json: JSON = False) -> None:
    """Try each service's own credentials against everybody else's data, topics, slots and backups."""
    from freehold.errors import ConfigurationError
    from freehold.runtime.isolation import check_isolation
    from freehold.runtime.load import load_system
    from freehold.runtime.supervisor.report import read_state

    place = here()
    state = read_state(place)
    if state is None or state.state != "ready":
        raise ConfigurationError("no system is up here; start one: freehold up SYSTEM")
    system = load_system(state.target)
    results = check_isolation(system, _identities(place, system), _controller(place))
    failed = [result for result in results if not result.ok]
    if json:
        print_json(results)
    else:
        print_table(
            ("who", "server", "tried to", "expected", "got", "", "in the server's words"),
            [(x.who, x.server, x.what, x.expected, x.got, MARKS[x.ok], x.detail) for x in results],
        )
        say(f"{len(results)} attempts, {len(failed)} not as they must be")
    if failed:
        raise typer.Exit(1)


def doctor(json: JSON = False) -> None:
    """Say what this machine lacks to run a system, what your own servers lack, and how to get it.

    Your own servers are those that FREEHOLD_POSTGRES_URL, FREEHOLD_MONGO_URL and FREEHOLD_KAFKA_URL name.
    """
    from freehold.runtime.doctor import examine

    findings = examine(here().directory, external_servers())
    missing = [finding for finding in findings if finding.grade == "missing"]
    if json:
        print_json(findings)
    else:
        print_table(("", "what", "found", "what helps"), [(x.grade, x.subject, x.found, x.mend) for x in findings])
        say("nothing is missing" if not missing else f"{len(missing)} things are missing")
    if missing:
        raise typer.Exit(1)


def _identities(place: Place, system: System) -> list[Identity]:
    from freehold.runtime.isolation import Identity

    identities = []
    for service in system.services:
        environment = place.read_environment(service.name)
        store_url, kafka_url = environment["FREEHOLD_STORE_URL"], environment["FREEHOLD_KAFKA_URL"]
        identities.append(Identity(service.name, service.store.kind, store_url, kafka_url))
    return identities


def _controller(place: Place) -> str | None:
    """Find the controller's address of our own Kafka; a user's own is not ours to know."""
    settings: Path = place.directory / "kafka" / "server.properties"
    if not settings.exists():
        return None
    found = re.search(r"CONTROLLER://([^\s,]+)", settings.read_text())
    return found[1] if found else None
