"""A process of our own program: started with an environment made from scratch, watched, and ended by its id."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from freehold.errors import StartError
from freehold.runtime.embedded.ports import LOOPBACK
from freehold.runtime.embedded.process import open_log
from freehold.runtime.supervisor.state import started_ticks

# What runs us; a drill with a planted bug begins with another one.
PROGRAM: tuple[str, ...] = (sys.executable, "-m", "freehold")
READY_TIMEOUT_S = 60.0  # a service migrates its store before it is ready
PROBE_TIMEOUT_S = 2.0
POLL_S = 0.02
KILL_TIMEOUT_S = 5.0
LOG_BYTES_SHOWN = 2048
LOG_LINES_SHOWN = 4
LINE_SHOWN_MAX = 400

# What a process may know of the world around us, beside what it is given; everything else could be a secret.
INHERITED = {
    *("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TERM", "NO_COLOR"),
    *("FREEHOLD_LOG_LEVEL", "LOG_LEVEL", "FREEHOLD_BODY_BYTES_MAX", "FREEHOLD_ANSWER_S_MAX"),
}


def command(*arguments: str) -> list[str]:
    """Give the command line of `freehold` with these arguments, by the same Python as ours."""
    return [*PROGRAM, *arguments]


def child_environment(own: Mapping[str, str]) -> dict[str, str]:
    """Make the environment of a child: its own settings, where programs are, and OpenTelemetry's variables."""
    kept = {name: value for name, value in os.environ.items() if name in INHERITED or name.startswith("OTEL_")}
    return {**kept, "PYTHONUNBUFFERED": "1", **own}


class Child:
    """One process of this program, `python -m freehold ...`.

    Args:
        name: What it is called in messages.
        arguments: What follows `freehold`; never a secret, anybody on the machine can read it.
        environment: The whole of its environment.
        log: Where its output goes.
        pipes_output: Keep its standard output for us, instead of in the log.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        log: Path,
        *,
        pipes_output: bool = False,
    ) -> None:
        self.name = name
        self.log = log
        with open_log(log) as stream:
            self.process = subprocess.Popen(
                command(*arguments),
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if pipes_output else stream,
                stderr=stream,
                text=True,
                start_new_session=True,  # Ctrl-C on the terminal reaches the supervisor alone
            )

    @property
    def pid(self) -> int:
        """Give its process id."""
        return self.process.pid

    @property
    def ticks(self) -> int | None:
        """Give the moment that it started, by which it is known later."""
        return started_ticks(self.process.pid)

    def is_running(self) -> bool:
        """Tell whether it has not ended."""
        return self.process.poll() is None

    def wait_until_ready(self, port: int, is_wanted: Callable[[], bool]) -> None:
        """Wait until `/readyz` answers 200, as long as that is wanted.

        Raises:
            StartError: It ended, or was not ready in time; the message shows the end of its log and names the file.
        """
        limit = time.monotonic() + READY_TIMEOUT_S
        while is_wanted() and not is_ready(port):
            if not self.is_running():
                raise StartError(f"{self.name} ended with code {self.process.returncode}; {last_lines(self.log)}")
            if time.monotonic() > limit:
                raise StartError(f"{self.name} was not ready within {READY_TIMEOUT_S:g} s; {last_lines(self.log)}")
            time.sleep(POLL_S)

    def stop(self, timeout_s: float) -> None:
        """End it in order; kill it and what it started if it takes longer."""
        if self.is_running():
            self.process.terminate()
        try:
            self.process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it and what it started at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(KILL_TIMEOUT_S)


def is_ready(port: int) -> bool:
    """Ask a service of ours whether it is ready."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def last_lines(log: Path) -> str:
    """Give the end of a log, and where the rest is."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - LOG_BYTES_SHOWN))
            lines = stream.read().decode(errors="replace").splitlines()
    except OSError:
        lines = []
    shown = "".join(f"\n    {line[:LINE_SHOWN_MAX]}" for line in lines[-LOG_LINES_SHOWN:])
    return f"see {log}, which ends with:{shown}" if shown else f"see {log}"
