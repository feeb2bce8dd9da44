"""All commands, as Typer has them."""

from __future__ import annotations

import inspect
from typing import Annotated

import typer

from freehold.cli import (
    audit,
    check,
    config,
    contracts,
    dead,
    drill,
    epoch,
    events,
    fz,
    rebuild,
    run,
    status,
    up,
    verify,
)

app = typer.Typer(
    name="freehold",
    help="Every service owns its data outright; all that leaves it is a fact on a log.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
# What `main` must know of the options even when the command has failed.
chosen = {"verbose": False}


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"freehold {version('freehold')}")
        raise typer.Exit


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the traceback of an error.")] = False,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Every service owns its data outright; all that leaves it is a fact on a log."""
    chosen["verbose"] = verbose


up.register(app)
status.register(app)
run.register(app)
check.register(app)
verify.register(app)
drill.register(app)
audit.register(app)
rebuild.register(app)
dead.register(app)
epoch.register(app)
fz.register(app)
events.register(app)
contracts.register(app)
config.register(app)


def _let_flow(group: typer.Typer) -> None:
    """Join the lines of each paragraph: Typer keeps the breaks that the source has, whatever the terminal's width."""
    for command in group.registered_commands:
        paragraphs = (inspect.getdoc(command.callback) or "").split("\n\n")
        command.help = "\n\n".join(" ".join(each.split()) for each in paragraphs)
    for nested in group.registered_groups:
        if nested.typer_instance is not None:
            _let_flow(nested.typer_instance)


_let_flow(app)
