"""`freehold events`: what lies on the topics, and what readers were promised of it."""

from __future__ import annotations

import typer


def register(app: typer.Typer) -> None:
    """Add the commands."""
