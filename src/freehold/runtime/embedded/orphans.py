"""Servers of ours that outlived who started them, found by the directory that they run in."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from freehold.errors import StartError

POLL_S = 0.02
ORDERLY_TIMEOUT_S = 20.0
KILL_TIMEOUT_S = 10.0
PROCESSES = Path("/proc")


def end_orphans(directory: Path, program: str, stop_signal: signal.Signals, report: Callable[[str], None]) -> None:
    """End what still runs on this data directory because its supervisor was killed.

    A pid file is no evidence (its number may be another process by now); a running program whose working directory
    is our data directory is.

    Args:
        directory: The data directory, which is the working directory of each process of the server.
        program: What the command line of such a process begins with, the path left out.
        stop_signal: What makes the server stop in order.
        report: Told when there is something to end.

    Raises:
        StartError: One of them is there even after it was killed.
    """
    orphans = find_processes(directory, program)
    if not orphans:
        return
    report(f"stopping the {program} that an earlier run left behind (pid {', '.join(map(str, orphans))})")
    for pid in orphans:
        # The server tells its own children; to them the same signal may mean something else.
        if _find_parent(pid) not in orphans:
            _signal(pid, stop_signal)
    if _wait_until(lambda: not find_processes(directory, program), ORDERLY_TIMEOUT_S):
        return
    for pid in find_processes(directory, program):
        _signal(pid, signal.SIGKILL)
    if not _wait_until(lambda: not find_processes(directory, program), KILL_TIMEOUT_S):
        raise StartError(f"{program} of an earlier run still holds {directory} and cannot be ended; end it by hand")


def find_processes(directory: Path, program: str) -> list[int]:
    """List the running processes of this program whose working directory is `directory`."""
    if not PROCESSES.is_dir():
        return []
    wanted = directory.resolve()
    return [
        int(entry.name) for entry in PROCESSES.iterdir() if entry.name.isdigit() and _is_one(entry, wanted, program)
    ]


def _is_one(entry: Path, directory: Path, program: str) -> bool:
    try:
        command = (entry / "cmdline").read_bytes().split(b"\0")[0].decode(errors="replace")
        # PostgreSQL's children call themselves "postgres: checkpointer" and the like.
        if command.split(":")[0].rpartition("/")[2] != program:
            return False
        return (entry / "cwd").readlink() == directory
    except OSError:
        return False  # it ended while we looked, or belongs to somebody else


def _find_parent(pid: int) -> int:
    try:
        # The name in parentheses may hold spaces; what follows it is the state and the parent.
        return int((PROCESSES / str(pid) / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _wait_until(condition: Callable[[], bool], timeout_s: float) -> bool:
    limit = time.monotonic() + timeout_s
    while time.monotonic() < limit:
        if condition():
            return True
        time.sleep(POLL_S)
    return condition()
