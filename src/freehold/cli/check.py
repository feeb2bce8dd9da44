"""`freehold check` and `doctor`: what is proven of the running system, and what is missing on this machine."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
