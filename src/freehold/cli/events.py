"""`freehold events`: what lies on the topics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from freehold.cli.output import JSON, here

if TYPE_CHECKING:
    from freehold.topic.address import KafkaAddress

LAST_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="What lies on the topics.", no_args_is_help=True)
    group.command("tail")(tail)
    app.add_typer(group, name="events", rich_help_panel="A system")


def tail(
    topic: Annotated[
        str | None,
        typer.Argument(
            help="The service whose topic it is (SERVICE.dead: of its dead letters); all services unless given."
        ),
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


def _addresses(topic: str | None) -> dict[str, KafkaAddress]:
    from freehold.errors import ConfigurationError
    from freehold.runtime.supervisor.report import read_state
    from freehold.topic.address import KafkaAddress
    from freehold.topic.dead import SUFFIX

    place = here()
    state = read_state(place)
    services = [process.name for process in (state.processes if state else ()) if process.role == "service"]
    if state is None or state.state not in {"ready", "starting"}:
        raise ConfigurationError("no system is up here; start one: freehold up SYSTEM")
    if topic is not None and topic.removesuffix(SUFFIX) not in services:
        raise ConfigurationError(f"{topic} is no service that is up here; there is: {', '.join(services)}")
    wanted = services if topic is None else [topic]
    urls = {name: place.read_environment(name.removesuffix(SUFFIX))["FREEHOLD_KAFKA_URL"] for name in wanted}
    return {name: KafkaAddress.parse(url) for name, url in urls.items()}
