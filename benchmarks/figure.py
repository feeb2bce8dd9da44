"""A published number: what was measured, beside which limit of the same run, and what it should reach."""

from __future__ import annotations

import dataclasses
import os
import platform
import subprocess
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclasses.dataclass(frozen=True, kw_only=True)
class Figure:
    """One number with its unit; `limit` is the bare peer's number from the same run, `wanted` what docs/reference says."""

    name: str
    value: float
    unit: str
    limit: float | None = None
    limit_name: str = ""
    wanted: str = ""

    @property
    def ratio(self) -> float | None:
        """Give value / limit; None without a limit."""
        return self.value / self.limit if self.limit else None


def machine() -> dict[str, Any]:
    """Describe where and of what the figures were measured."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)  # noqa: S607
    return {
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "commit": commit.stdout.strip(),
    }


def show(figures: Sequence[Figure], console: Console) -> None:
    """Print the figures as a table."""
    table = Table(title=None, header_style="bold")
    for column in ("figure", "value", "unit", "limit in this run", "value / limit", "to reach"):
        table.add_column(column, justify="right" if column in {"value", "value / limit"} else "left")
    for figure in figures:
        limit = f"{_short(figure.limit)} ({figure.limit_name})" if figure.limit else figure.limit_name
        ratio = f"{figure.ratio:.2f}" if figure.ratio else ""
        table.add_row(figure.name, _short(figure.value), figure.unit, limit, ratio, figure.wanted)
    console.print(table)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
