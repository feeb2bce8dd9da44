"""`freehold check` and `doctor`: what is proven of the running system, and what is missing on this machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from freehold.cli.output import JSON, external_servers, here, print_json, print_table, say

if TYPE_CHECKING:
    from freehold.runtime.isolation import Identity
    from freehold.runtime.supervisor.state import Place
    from freehold.service import System

MARKS = {True: "ok", False: "NO"}


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="Prove what is promised of the system that is up here.", no_args_is_help=True)
    group.command("isolation")(isolation)
    # A group of one command would lose the command's name.
    group.callback()(_checks)
    app.add_typer(group, name="check", rich_help_panel="A system")
    app.command("doctor", rich_help_panel="This machine")(doctor)


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


def _checks() -> None:
    """Prove what is promised of the system that is up here."""


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
