"""The small system of `small/`, started and stopped as a person would, in a directory of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

SOURCE = Path(__file__).with_name("small")
COMMAND_TIMEOUT_S = 60.0
UP_TIMEOUT_S = 240.0
PROCESSES = ("postgres", "postgres-tags", "mongo", "kafka", "notes", "tags", "marks", "gateway")


@dataclass(frozen=True)
class Finished:
    code: int
    output: str
    errors: str
    took_s: float


class SmallSystem:
    """A directory in which the small system is up, or not."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def freehold(
        self, *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S, variables: Mapping[str, str] | None = None
    ) -> Finished:
        """Run a command to its end, and its output too: one that somebody still holds open is a failure."""
        begun_at = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "freehold", *arguments],
            cwd=self.directory,
            env=environment() | dict(variables or {}),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr, time.monotonic() - begun_at)

    def up(self, *arguments: str, source: Path = SOURCE) -> Finished:
        done = self.freehold("up", str(source), "--detach", *arguments, timeout_s=UP_TIMEOUT_S)
        assert done.code == 0, done.errors
        return done

    def start_in_foreground(self, *arguments: str) -> subprocess.Popen[str]:
        """Start it as on a terminal; its lines can be read one by one."""
        return subprocess.Popen(
            [sys.executable, "-m", "freehold", "up", str(SOURCE), *arguments],
            cwd=self.directory,
            env=environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def status(self) -> dict[str, dict[str, Any]]:
        done = self.freehold("status", "--json")
        assert done.code == 0, done.errors
        return {process["name"]: process for process in json.loads(done.output)["processes"]}

    def state(self) -> dict[str, Any]:
        """Read what the supervisor wrote, without asking any process."""
        found: dict[str, Any] = json.loads((self.directory / ".freehold" / "state.json").read_text())
        return found

    def is_ready(self, name: str) -> bool:
        """Tell whether a process is ready, by what the supervisor wrote."""
        return any(each["name"] == name and each["state"] == "ready" for each in self.state()["processes"])

    def note(self) -> str:
        """Write a note; gives its id."""
        return self._ask("notes", "POST")

    def count(self) -> int:
        return int(self._ask("notes", "GET"))

    def processes(self) -> dict[int, str]:
        """List the processes that run in this directory or on its data, by what the kernel says of them."""
        found = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                with contextlib.suppress(OSError):
                    if (entry / "cwd").readlink().is_relative_to(self.directory):
                        found[int(entry.name)] = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def _ask(self, name: str, method: str) -> str:
        with urlopen(Request(self.status()[name]["url"] + "/notes", method=method), timeout=10) as answer:  # noqa: S310
            return str(answer.read().decode())


@contextlib.contextmanager
def small_system(directory: Path) -> Iterator[SmallSystem]:
    """Give a directory to start it in, and leave nothing of it."""
    system = SmallSystem(directory)
    try:
        yield system
    finally:
        system.freehold("down")
        for pid in system.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def environment() -> dict[str, str]:
    """Make the environment of a command: what a shell has, and nothing of the test run's own settings."""
    return {name: value for name, value in os.environ.items() if not name.startswith("FREEHOLD_")}


def wait_until(condition: Callable[[], bool], what: str, limit_s: float = COMMAND_TIMEOUT_S) -> None:
    limit = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < limit, f"{what} did not come true within {limit_s:g} s"
        time.sleep(0.05)
