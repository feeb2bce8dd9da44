"""Be one service, or the gateway, in this very process; its settings come from the environment."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Literal, cast

Part = Literal["api", "relay", "consumers"]
PARTS: tuple[Part, ...] = ("api", "relay", "consumers")


def serve(arguments: Sequence[str]) -> None:
    """Read what follows `freehold run`, and run it; the same options are told to people by the command in `run`."""
    parser = argparse.ArgumentParser(prog="freehold run", add_help=False, allow_abbrev=False)
    parser.add_argument("service")
    parser.add_argument("--system", "-s", default=".")
    parser.add_argument("--only", choices=PARTS)
    given = parser.parse_args(arguments)
    run_named(given.service, given.system, cast("Part | None", given.only))


def run_named(name: str, source: str, only: Part | None) -> None:
    """Run the service or gateway of that name until SIGTERM or SIGINT.

    Args:
        name: Its name in the system; or "package.module:attribute" of a service by itself.
        source: Where the system is.
        only: The part of a service to run alone.
    """
    from freehold.runtime.load import load_part, load_service
    from freehold.runtime.process import run_gateway, run_service
    from freehold.runtime.settings import read_settings
    from freehold.service import Service

    settings = read_settings()
    part = load_service(name) if ":" in name else load_part(source, name)
    if isinstance(part, Service):
        run_service(part, settings, only=only)
    else:
        run_gateway(part, settings)
