"""`freehold ...`: the command line. Each command imports what it needs when it runs, so that `--help` is there at once."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from freehold.cli import check, config, events, run, status, up
from freehold.errors import FreeholdError

app = typer.Typer(
    name="freehold",
    help="Every service owns its data outright; all that leaves it is a fact on a log.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_options = {"verbose": False}


@app.callback()
def options(
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the traceback of an error.")] = False,
) -> None:
    """Every service owns its data outright; all that leaves it is a fact on a log."""
    _options["verbose"] = verbose


up.register(app)
status.register(app)
run.register(app)
check.register(app)
events.register(app)
config.register(app)


def main() -> None:
    """Run the command line; an error of ours is one message on stderr and exit code 1."""
    try:
        app()
    except FreeholdError as error:
        if _options["verbose"]:
            raise
        typer.echo(f"freehold: {error}", err=True)
        raise SystemExit(1) from None
    except BrokenPipeError:
        # Whoever read our output has enough of it (`| head`).
        sys.stderr.close()
        raise SystemExit(0) from None
