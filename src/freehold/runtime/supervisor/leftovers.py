"""What is left running by an `up` that was killed, and how it is ended."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable

from freehold.errors import StartError
from freehold.runtime.supervisor.state import PROCESSES, ProcessState, SystemState, boot_id, is_same

POLL_S = 0.02
SERVICE_TIMEOUT_S = 4.5
SERVER_TIMEOUT_S = 10.0
# PostgreSQL: SIGINT ends its sessions (fast shutdown), where SIGTERM would wait for them.
STOP_SIGNALS = {"postgres": signal.SIGINT}


def end_leftovers(state: SystemState | None, report: Callable[[str], None], *, servers: bool) -> None:
    """End what an earlier run left behind: first the processes of ours together, then, if asked, the servers.

    Args:
        state: What that run said of itself.
        report: Told which processes are ended.
        servers: Whether the servers are ended too; a start of theirs does that by itself.

    Raises:
        StartError: One of them cannot be ended.
    """
    if state is None or state.boot != boot_id():
        return
    left = [process for process in state.processes if is_same(process.pid, process.started_ticks)]
    _end_all([process for process in left if process.role != "server"], SERVICE_TIMEOUT_S, report)
    if servers:
        _end_all([process for process in left if process.role == "server"], SERVER_TIMEOUT_S, report)


def kill_children() -> None:
    """Kill what this process started and what is still there, each with its group."""
    for pid in own_children():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)


def own_children() -> list[int]:
    """List the processes that this one started and that are still there."""
    children = []
    for entry in PROCESSES.iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended while we looked
            if int(fields[1]) == os.getpid() and fields[0] not in "ZX":
                children.append(int(entry.name))
    return children


def end_process(pid: int | None, ticks: int | None, number: signal.Signals, timeout_s: float) -> bool:
    """End a process that somebody else started, if it still is the one that started then; by force after so long.

    Returns:
        Whether it is gone.
    """
    for each in (number, signal.SIGKILL):
        if pid is not None and is_same(pid, ticks):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, each)
        limit = time.monotonic() + timeout_s
        while is_same(pid, ticks) and time.monotonic() < limit:
            time.sleep(POLL_S)
    return not is_same(pid, ticks)


def _end_all(processes: list[ProcessState], timeout_s: float, report: Callable[[str], None]) -> None:
    enders = []
    for process in processes:
        report(f"{process.name}: ending process {process.pid}, which an earlier run left behind")
        number = STOP_SIGNALS.get(process.name.partition("-")[0], signal.SIGTERM)
        ender = threading.Thread(
            target=end_process, args=(process.pid, process.started_ticks, number, timeout_s), daemon=True
        )
        ender.start()
        enders.append(ender)
    for ender in enders:
        ender.join()
    stuck = [process for process in processes if is_same(process.pid, process.started_ticks)]
    if stuck:
        names = ", ".join(f"{process.name} (process {process.pid})" for process in stuck)
        raise StartError(f"{names} of an earlier run cannot be ended; end it by hand, then try again")
