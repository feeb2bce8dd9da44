"""One server process: started in its own session, awaited, ended by its process id, found again when orphaned."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, ClassVar

from freehold.errors import ConfigurationError, FreeholdError, StartError
from freehold.runtime.embedded.ports import HeldPort

Report = Callable[[str], None]

POLL_S = 0.02
KILL_TIMEOUT_S = 10.0  # a killed process that is not gone by then hangs in the kernel
LOG_BYTES_MAX = 16 * 1024 * 1024
LOG_LINES_SHOWN = 5


class ServerProcess:
    """A server that this process started."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.log = directory.parent / "logs" / f"{name}.log"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid if self.is_running() and self._process else None

    def is_running(self) -> bool:
        """Tell whether the process was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self, command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start the command in the data directory, in a session of its own, with its output in the log."""
        with open_log(self.log) as log:
            self._process = subprocess.Popen(
                command,
                cwd=self._directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C on the terminal reaches the supervisor alone
            )

    def make_data(
        self, command: Sequence[str], *, directory: Path, limit_s: float, environment: Mapping[str, str] | None = None
    ) -> None:
        """Run the command that makes the server's data to its end, with its output in the log.

        Raises:
            StartError: It failed, or had not ended by its limit.
        """
        what = f"making the data of {self.name} in {directory}"
        with open_log(self.log) as log:
            try:
                done = subprocess.run(
                    command,
                    cwd=directory,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    timeout=limit_s,
                    start_new_session=True,
                    check=False,
                )
            except subprocess.TimeoutExpired:
                raise StartError(
                    f"{what} took longer than {limit_s:g} s; start it again when the machine is less busy: {self.last_lines()}"
                ) from None
        if done.returncode != 0:
            raise StartError(f"{what} failed: {self.last_lines()}")

    def wait_until_ready(self, is_ready: Callable[[], bool], timeout_s: float) -> None:
        """Wait until the server answers; one that does not is ended.

        Args:
            is_ready: Asks the server; what it raises ends the wait.
            timeout_s: How long to wait.

        Raises:
            StartError: It ended, or did not answer in time; the message shows the end of its log.
        """
        try:
            self._wait_until_ready(is_ready, timeout_s)
        except FreeholdError:
            self.stop(signal.SIGKILL, KILL_TIMEOUT_S)
            raise

    def _wait_until_ready(self, is_ready: Callable[[], bool], timeout_s: float) -> None:
        limit = time.monotonic() + timeout_s
        while time.monotonic() < limit:
            if not self.is_running():
                code = self._process.returncode if self._process else None
                raise StartError(f"{self.name} ended with code {code} while starting: {self.last_lines()}")
            if is_ready():
                return
            time.sleep(POLL_S)
        raise StartError(f"{self.name} did not answer within {timeout_s:g} s: {self.last_lines()}")

    def stop(self, stop_signal: signal.Signals, timeout_s: float) -> None:
        """End the process in order; kill its group if it has not ended within `timeout_s`."""
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(stop_signal)
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(KILL_TIMEOUT_S)
        self._process = None

    def last_lines(self) -> str:
        """Quote the end of the log, and say where it is."""
        try:
            with self.log.open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 4096))
                lines = log.read().decode(errors="replace").splitlines()
        except OSError:
            lines = []
        return f"{' | '.join(lines[-LOG_LINES_SHOWN:])} (see {self.log})"


class EmbeddedServer:
    """One server process of ours, and the ports that it keeps while it is down.

    Who inherits sets `_process` and `_held_ports`.
    """

    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    _process: ServerProcess
    _held_ports: tuple[HeldPort, ...]

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self._process.pid

    @property
    def log(self) -> Path:
        """Where the server writes what it does."""
        return self._process.log

    def stop(self, timeout_s: float) -> None:
        """Stop the server in order; kill it if it takes longer than `timeout_s`."""
        self._process.stop(self.stop_signal, timeout_s)
        for port in self._held_ports:
            port.release()


def refused(name: str, secrets: Path) -> ConfigurationError:
    """Make the error of a server of ours that does not take our password."""
    return ConfigurationError(
        f"{name} refuses its administrator's password: {secrets} does not belong to this data; "
        "restore the file that does, or reset the data"
    )


def open_log(log: Path) -> BinaryIO:
    """Open a log to append to; one that has grown too large is first set aside, in place of the one set aside before."""
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        log.replace(log.with_suffix(".log.1"))
    return log.open("ab")
