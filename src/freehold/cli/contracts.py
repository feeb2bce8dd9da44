"""`freehold contracts`: what readers were promised of each event, recorded, and held."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from freehold.cli.output import JSON, print_json, print_table, say

if TYPE_CHECKING:
    from freehold.contract import Problem
    from freehold.service import System

OPTIONAL_SYSTEM = Annotated[
    str | None,
    typer.Argument(
        help="A folder with system.py, or package.module:attribute; this folder unless given.", metavar="[SYSTEM]"
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(help="What readers were promised of each event.", no_args_is_help=True)
    group.command("record")(record)
    group.command("check")(check)
    app.add_typer(group, name="contracts", rich_help_panel="A system")


def record(system: OPTIONAL_SYSTEM = None) -> None:
    """Write the contract of each event, and a sample of each form that has none; commit both.

    A change that breaks a promise is refused, and nothing is written. Samples are never written over.
    """
    from freehold.contract import record_contracts
    from freehold.contract.problem import shown

    written = 0
    for service in _load(system).services:
        for path in record_contracts(service) if service.publishes else ():
            typer.echo(f"wrote {shown(path)}")
            written += 1
    if not written:
        typer.echo("everything is recorded already")


def check(system: OPTIONAL_SYSTEM = None, json: JSON = False) -> None:
    """Say whether a change of events breaks readers, and how; exit code 1 if anything is wrong.

    Holds the classes to the committed contracts, what each service reads of the others to both, and every sample of
    what was ever published to all who declare that they read it.
    """
    from freehold.contract import check_contracts

    problems = check_contracts(_load(system))
    if json:
        print_json({"problems": problems})
    elif not problems:
        typer.echo("every event keeps its contract, and whatever was published is read by all who declare it")
    else:
        _show(problems)
    if problems:
        raise typer.Exit(1)


def _show(problems: Sequence[Problem]) -> None:
    """Print a table for a person, and a line each for what reads lines."""
    if sys.stdout.isatty():
        rows = [(each.where, each.what, "\n".join(each.breaks) or "-", each.mend) for each in problems]
        print_table(("where", "what", "who breaks", "what to do"), rows)
    else:
        for problem in problems:
            typer.echo(str(problem))
    say(f"{len(problems)} {'thing is' if len(problems) == 1 else 'things are'} wrong")


def _load(system: str | None) -> System:
    from freehold.errors import ConfigurationError
    from freehold.runtime.load import load_system

    if system is None and not Path("system.py").is_file():
        raise ConfigurationError(
            "there is no system.py in this folder; name the system: freehold contracts check SYSTEM"
        )
    return load_system(system or ".")
