"""What commands have in common in what they print: data to stdout, the rest to stderr."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from freehold.runtime.supervisor.state import Place

# What is done, how far, and of how many (0: not known).
Show = Callable[[str, int, int], None]

EXTERNAL = {"postgres": "FREEHOLD_POSTGRES_URL", "mongo": "FREEHOLD_MONGO_URL", "kafka": "FREEHOLD_KAFKA_URL"}
WIDTH_OFF_TERMINAL = 160

JSON = Annotated[bool, typer.Option("--json", help="Print data for programs.")]
SYSTEM = Annotated[str, typer.Argument(help="A folder with system.py, or package.module:attribute.", metavar="SYSTEM")]


def here() -> Place:
    """Give the place of the current directory: everything but a start acts on what is up there."""
    from freehold.runtime.supervisor.state import Place

    return Place(Path.cwd() / ".freehold")


def external_servers() -> dict[str, str]:
    """Read which servers the user has, by kind: the administrator's URL of each."""
    return {kind: os.environ[variable] for kind, variable in EXTERNAL.items() if os.environ.get(variable)}


def say(text: str) -> None:
    """Tell a person something that is no data."""
    typer.echo(text, err=True)


def confirm(question: str, *, yes: bool, json: bool = False) -> None:
    """Go on if whoever is at the terminal says so, or said --yes before.

    Raises:
        ConfigurationError: Nobody can be asked here.
    """
    from freehold.errors import ConfigurationError

    if yes:
        return
    if json or not sys.stdin.isatty():
        raise ConfigurationError("nothing was done: say --yes, since nobody can be asked here")
    typer.confirm(question, abort=True, err=True)


@contextlib.contextmanager
def interruptible(way_on: str) -> Iterator[None]:
    """Say how to go on when Ctrl-C ends the command; exit code 130, as a shell has it."""
    try:
        yield
    except KeyboardInterrupt:
        say(f"interrupted; {way_on}")
        raise typer.Exit(130) from None


def print_json(value: Any) -> None:
    """Print data for programs."""
    import msgspec

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")
    sys.stdout.flush()


def print_json_line(value: Any) -> None:
    """Print data for programs where more may follow: each on a line."""
    import msgspec

    sys.stdout.write(msgspec.json.encode(value).decode() + "\n")
    sys.stdout.flush()


def console(*, on_stderr: bool = False) -> Console:
    """Make a console; off a terminal lines are long rather than broken."""
    from rich.console import Console

    made = Console(stderr=on_stderr, highlight=False, soft_wrap=False)
    return made if made.is_terminal else Console(stderr=on_stderr, highlight=False, width=WIDTH_OFF_TERMINAL)


@contextlib.contextmanager
def bars(*, lines: bool = False) -> Iterator[Show]:
    """Show how far each thing is: a bar each on a terminal; elsewhere nothing, or with `lines` each once as a line."""
    shown_on = console(on_stderr=True)
    if not shown_on.is_terminal:
        told: set[str] = set()

        def tell(what: str, _done: int, _total: int) -> None:
            if lines and what not in told:
                told.add(what)
                say(what)

        yield tell
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=shown_on, transient=True) as progress:
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = progress.add_task(what, total=None)
            progress.update(tasks[what], completed=done, total=total or None)

        yield show


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, whole: Collection[str] = ()) -> None:
    """Print rows under their headings; the columns in `whole`, which people copy from, are the last to be broken."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in whole)
    for row in rows:
        table.add_row(*row)
    console().print(table)


def absolute_target(source: str) -> str:
    """Give the source of a system as a child in another directory would find it."""
    path = Path(source)
    return str(path.resolve()) if path.exists() else source
