"""`freehold run` and `demo`: one service in this very process, with its settings from the environment."""

from __future__ import annotations

import sys
from enum import StrEnum
from typing import Annotated

import typer

from freehold.cli.output import JSON, say

FROM = Annotated[str, typer.Option("--system", "-s", help="A folder with system.py, or package.module:attribute.")]


class Only(StrEnum):
    """A part of a service that may run by itself."""

    API = "api"
    RELAY = "relay"
    CONSUMERS = "consumers"


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("run", rich_help_panel="One service")(run)
    app.command("demo", rich_help_panel="One service")(demo)


def run(
    service: Annotated[
        str, typer.Argument(help="Its name in the system, or the gateway's; or package.module:attribute.")
    ],
    system: FROM = ".",
    only: Annotated[Only | None, typer.Option(help="Run this part of it alone.")] = None,
) -> None:
    """Run one service, or the gateway, with its settings from the environment (freehold config show)."""
    from freehold.cli.serve import run_named

    run_named(service, system, only.value if only else None)


def demo(
    service: Annotated[str, typer.Argument(help="Its name.")],
    system: FROM = ".",
    json: JSON = False,
) -> None:
    """Write a service's demo data through its own functions; what is there already is not written again."""
    import asyncio

    from freehold.runtime.demo import write_demo
    from freehold.runtime.load import load_part
    from freehold.runtime.settings import read_settings

    def progress(done: int, total: int) -> None:
        if json:
            sys.stdout.write(f'{{"done": {done}, "total": {total}}}\n')
            sys.stdout.flush()
        else:
            say(f"{service}: {done:,} of {total:,}")

    asyncio.run(write_demo(load_part(system, service), read_settings(), progress))
