"""`freehold fz`: diagrams in FlowZap Code, by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from freehold.cli.output import print_json

FILE = Annotated[Path, typer.Argument(help="A diagram in FlowZap Code.", metavar="FILE", exists=True, dir_okay=False)]

# `fz_draw` adds its command to the same group.
group = typer.Typer(help="Check, format, compare and draw diagrams in FlowZap Code.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group.command("graph")(graph)
    group.callback()(_language)
    app.add_typer(group, name="fz", rich_help_panel="Diagrams")


def graph(file: FILE) -> None:
    """Print what a diagram means, as JSON."""
    from freehold.flowzap import read

    print_json(read(file, lenient=True).graph)


def _language() -> None:
    """Check, format, compare and draw diagrams in FlowZap Code."""
