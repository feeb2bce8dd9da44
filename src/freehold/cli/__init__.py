"""`freehold ...`: the command line. Each command imports what it needs when it runs, so that `--help` is there at once."""

from __future__ import annotations

import sys

from freehold.errors import FreeholdError


def main() -> None:
    """Run the command line; an error of ours is one message on stderr and exit code 1."""
    arguments = sys.argv[1:]
    is_verbose = False
    try:
        # A service's process is to hold the service: Typer, and pydantic which it brings, are 25 MB that it never uses.
        if arguments[:1] == ["run"] and not {"-h", "--help"} & set(arguments):
            from freehold.cli.serve import serve

            serve(arguments[1:])
        else:
            from freehold.cli.commands import app, chosen

            try:
                app()
            finally:
                is_verbose = chosen["verbose"]
    except FreeholdError as error:
        if is_verbose:
            raise
        sys.stderr.write(f"freehold: {error}\n")
        raise SystemExit(1) from None
    except BrokenPipeError:
        # Whoever read our output has enough of it (`| head`).
        sys.stderr.close()
        raise SystemExit(0) from None
