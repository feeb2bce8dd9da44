"""Find what is to be drilled: the file drill.py beside a system's system.py, which holds `workload`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import freehold
from freehold.drill.workload import Workload
from freehold.errors import ConfigurationError, DeclarationError
from freehold.runtime.load import load_attribute

FILE = "drill.py"
REFERENCE = Path("systems") / "database_per_service"
COMMAND_TIMEOUT_S = 10.0


def find_workload(source: str | None) -> tuple[Workload, Path]:
    """Load the workload of a system.

    Args:
        source: A folder with drill.py, or that file; None: the current folder, else the reference system of the checkout
            that this program runs from.

    Returns:
        The workload, and the file that declares it.

    Raises:
        ConfigurationError: There is none.
        DeclarationError: What is there is no workload, or cannot be imported.
    """
    candidates = [Path(source)] if source is not None else [Path(), Path(REFERENCE), _checkout() / REFERENCE]
    for candidate in candidates:
        file = candidate if candidate.suffix == ".py" else candidate / FILE
        if file.is_file():
            found = load_attribute(str(file), "workload")
            if not isinstance(found, Workload):
                raise DeclarationError(f"`workload` in {file} is a {type(found).__name__}; it must be a Workload")
            return found, file.resolve()
    where = (
        source if source is not None else "the current folder, and no checkout of Freehold with its reference system"
    )
    raise ConfigurationError(
        f"there is nothing to drill in {where}: put a file {FILE} with `workload = Workload(...)` beside system.py"
    )


def read_commit() -> str:
    """Name the commit of the checkout that this program runs from; empty when there is none."""
    try:
        done = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],  # noqa: S607 - whichever git there is
            cwd=_checkout(),
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()


def _checkout() -> Path:
    return Path(freehold.__file__).parents[2]
