"""How a start looks while it goes on: a live table on a terminal, one line for each change on a pipe."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from freehold.runtime.supervisor.state import ProcessState, SystemState

COLOURS = {
    "ready": "green",
    "done": "green",
    "failed": "bold red",
    "restarting": "yellow",
    "waiting": "dim",
    "stopped": "dim",
}
REFRESHES_PER_S = 12
BAR_COLUMNS = 24
# A pipe is told of progress in steps of so many percent; a line for each would bury the rest.
LINE_STEP_PERCENT = 20


class LiveDisplay:
    """A table that changes in place."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, refresh_per_second=REFRESHES_PER_S, transient=True)
        self._spinners: dict[str, Spinner] = {}

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the terminal as it was."""
        self._live.stop()

    def show(self, state: SystemState) -> None:
        """Draw the state."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
        for process in state.processes:
            table.add_row(self._mark(process), Text(process.name, style="bold"), *_cells(process))
        self._live.update(Group(Text(f"{state.system}: {state.state}"), table))

    def _mark(self, process: ProcessState) -> RenderableType:
        if process.state in {"starting", "restarting", "stopping"}:
            return self._spinners.setdefault(process.name, Spinner("dots"))
        marks = {"ready": "●", "done": "✓", "failed": "✗", "waiting": "○", "stopped": "○"}
        return Text(marks.get(process.state, "·"), style=COLOURS.get(process.state, ""))


class LineDisplay:
    """One line for each change."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._shown: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; there is nothing to undo."""

    def skip(self, state: SystemState) -> None:
        """Take all this as said."""
        self._shown = {process.name: describe(process) for process in state.processes}

    def show(self, state: SystemState) -> None:
        """Write a line for each process that has something new to say."""
        for process in state.processes:
            line = describe(process)
            if self._shown.get(process.name) != line:
                self._shown[process.name] = line
                self._write(f"{process.name}: {line}")


def describe(process: ProcessState) -> str:
    """Say in words how a process is doing."""
    if process.state == "ready" and process.url:
        number = f" (process {process.pid})" if process.pid else ""
        return f"ready at {process.url}{number}"
    if process.state == "done":
        return f"done, {process.total_count:,} written" if process.total_count else "done"
    if process.total_count:
        percent = 100 * process.done_count // process.total_count
        step = percent - percent % LINE_STEP_PERCENT
        return f"{process.state}: {_doing(process)}, {step} % of {process.total_count:,}"
    # The same words for the same thing: "starting: starting" says no more than "starting".
    detail = "" if process.detail in {process.state, "ready"} else process.detail
    if process.state == "waiting" and detail.startswith("for "):
        return f"waiting {detail}"
    return f"{process.state}: {detail}" if detail else process.state


def closing_table(processes: Iterable[ProcessState]) -> Table:
    """Make the table that says where everything is."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="bold")
    for column in ("name", "role", "url", "process", "port", "log"):
        table.add_column(column, overflow="fold", justify="right" if column in {"process", "port"} else "left")
    for process in processes:
        if process.role != "demo":
            number, port = (str(value) if value else "" for value in (process.pid, process.port))
            table.add_row(process.name, process.role, process.url or "", number, port, process.log or "")
    return table


def _cells(process: ProcessState) -> list[RenderableType]:
    state = Text(process.state, style=COLOURS.get(process.state, ""))
    if process.total_count and process.state == "starting":
        bar = ProgressBar(total=process.total_count, completed=process.done_count, width=BAR_COLUMNS)
        return [state, bar, Text(f"{_doing(process)}, {process.done_count:,} of {process.total_count:,}")]
    return [
        state,
        Text(process.url or "" if process.state == "ready" else process.detail, overflow="ellipsis"),
        Text(""),
    ]


def _doing(process: ProcessState) -> str:
    """Say what it is that progresses: what a server reports goes on with how far it is, which is shown by itself."""
    return process.detail.partition(":")[0] or process.state
