"""`freehold events`: what lies on the topics, and what readers were promised of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from freehold.cli.output import JSON, SYSTEM, here, print_json, say

if TYPE_CHECKING:
    from freehold.topic.address import KafkaAddress

LAST_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="What lies on the topics, and what readers were promised.", no_args_is_help=True)
    group.command("tail")(tail)
    contracts = typer.Typer(help="The committed promise of each event.", no_args_is_help=True)
    contracts.command("write")(write)
    contracts.command("check")(check)
    group.add_typer(contracts, name="contracts")
    app.add_typer(group, name="events", rich_help_panel="A system")


def tail(
    topic: Annotated[
        str | None, typer.Argument(help="The service whose topic it is; all of them unless given.")
    ] = None,
    lines: Annotated[int, typer.Option("--lines", "-n", min=0, max=10_000, help="How many of the last.")] = LAST_SHOWN,
    follow: Annotated[bool, typer.Option(help="Go on with those that come. Ctrl-C ends it.")] = True,
    json: JSON = False,
) -> None:
    """Print the last events, and each as it comes; with --json one object a line."""
    import msgspec

    from freehold.runtime.watch import watch_topics

    try:
        for seen in watch_topics(_addresses(topic), last=lines, follow=follow):
            typer.echo(msgspec.json.encode(seen) if json else seen.line())
    except KeyboardInterrupt:
        return


def write(system: SYSTEM) -> None:
    """Write the contract file of each event; a change that breaks a promise is refused."""
    from freehold.contract import write_contracts
    from freehold.runtime.load import load_system

    for service in load_system(system).services:
        for path in write_contracts(service) if service.publishes else ():
            typer.echo(f"wrote {path}")


def check(system: SYSTEM, json: JSON = False) -> None:
    """Hold the events, and what each service reads of the others, to the committed contracts."""
    from freehold.contract import check_contracts, check_readers
    from freehold.runtime.load import load_system

    loaded = load_system(system)
    problems = [str(problem) for service in loaded.services for problem in check_contracts(service)]
    problems += [str(problem) for problem in check_readers(loaded)]
    if json:
        print_json({"problems": problems})
    elif not problems:
        typer.echo("every event keeps its contract, and every reader's needs are in it")
    for problem in () if json else problems:
        say(problem)
    if problems:
        raise typer.Exit(1)


def _addresses(topic: str | None) -> dict[str, KafkaAddress]:
    from freehold.errors import ConfigurationError
    from freehold.runtime.supervisor.report import read_state
    from freehold.topic.address import KafkaAddress

    place = here()
    state = read_state(place)
    services = [process.name for process in (state.processes if state else ()) if process.role == "service"]
    if state is None or state.state not in {"ready", "starting"}:
        raise ConfigurationError("no system is up here; start one: freehold up SYSTEM")
    if topic is not None and topic not in services:
        raise ConfigurationError(f"{topic} is no service that is up here; there is: {', '.join(services)}")
    wanted = services if topic is None else [topic]
    return {name: KafkaAddress.parse(place.read_environment(name)["FREEHOLD_KAFKA_URL"]) for name in wanted}
