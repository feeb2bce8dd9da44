"""What runs here: a lock that one `up` holds, and a file that says what it started, for every other command to read.

The lock is the kernel's (flock), so a killed holder never leaves it behind. A process is known by its id and the moment
that it started: an id alone may be somebody else's by now.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from freehold.errors import ConfigurationError, StartError
from freehold.runtime.provision.secrets import Secrets, write_private
from freehold.runtime.supervisor.plan import Role

PROCESSES = Path("/proc")
# Whoever only asks whether the lock is held (`is_held`) holds it for an instant.
LOCK_TRIES_MAX = 10
LOCK_TRY_S = 0.02
COMMAND_BYTES_MAX = 4096


class ProcessState(msgspec.Struct, kw_only=True):
    """One process: what it is, where it answers, and how it is doing.

    `state` is one of waiting, starting, ready, restarting, done, failed, stopping, stopped; `detail` says more in
    words; `done_count` of `total_count` is the progress of what it is doing.
    """

    name: str
    role: Role
    pid: int | None = None
    url: str | None = None
    state: str = "waiting"
    log: str | None = None
    port: int | None = None
    detail: str = ""
    done_count: int = 0
    total_count: int = 0
    restart_count: int = 0
    started_ticks: int | None = None


class SystemState(msgspec.Struct, kw_only=True):
    """All that runs here: `state` is one of starting, ready, failed, stopping, stopped; `reason` says why it failed."""

    system: str
    target: str
    pid: int
    started_ticks: int | None
    boot: str = ""
    state: str = "starting"
    reason: str = ""
    curl: list[str] = []
    processes: list[ProcessState] = []

    def find(self, name: str) -> ProcessState:
        """Find a process by name.

        Raises:
            ConfigurationError: There is none of that name; the message lists those there are.
        """
        for process in self.processes:
            if process.name == name:
                return process
        known = ", ".join(process.name for process in self.processes) or "nothing"
        raise ConfigurationError(f"there is no process {name!r} here; there is: {known}")


class Place:
    """The folder `.freehold` of the current directory, and what lies where in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory.resolve()

    @property
    def logs(self) -> Path:
        """Give the folder of the logs, one file a process."""
        return self.directory / "logs"

    @property
    def secrets(self) -> Secrets:
        """Open the generated credentials."""
        return Secrets(self.directory / "secrets.json")

    def token_key(self) -> str:
        """Give the key by which gateway and services know the tokens of what a client has written."""
        return self.secrets.get("token")

    def internal_key(self, service: str) -> str:
        """Give the key by which a service knows who calls its internal routes."""
        return self.secrets.get(f"internal/{service}")

    def log(self, name: str) -> Path:
        """Say where a process writes what it does."""
        return self.logs / f"{name.replace(' ', '-')}.log"

    def read(self) -> SystemState | None:
        """Read what was last written of what runs here; None when nothing ever ran."""
        try:
            return msgspec.json.decode((self.directory / "state.json").read_bytes(), type=SystemState)
        except FileNotFoundError:
            return None
        except msgspec.MsgspecError as error:
            raise ConfigurationError(
                f"{self.directory / 'state.json'} cannot be read ({error}); end what it speaks of, then delete it"
            ) from error

    def write(self, state: SystemState) -> None:
        """Write what runs here, in one step, for its owner's eyes."""
        write_private(self.directory / "state.json", msgspec.json.encode(state).decode())

    def read_environment(self, service: str) -> dict[str, str]:
        """Read what a service was started with: its own credentials and addresses.

        Raises:
            ConfigurationError: It never ran here.
        """
        try:
            raw = (self.directory / "environment" / f"{service}.json").read_bytes()
        except FileNotFoundError:
            raise ConfigurationError(
                f"{service} has no credentials in {self.directory}; start it here with `freehold up SYSTEM`"
            ) from None
        return msgspec.json.decode(raw, type=dict[str, str])

    def write_environment(self, service: str, environment: dict[str, str]) -> None:
        """Keep what a service is started with; only its owner can read the file."""
        write_private(self.directory / "environment" / f"{service}.json", msgspec.json.encode(environment).decode())

    def read_servers(self) -> dict[str, str]:
        """Read which server each service's data is on."""
        try:
            return msgspec.json.decode((self.directory / "servers.json").read_bytes(), type=dict[str, str])
        except FileNotFoundError:
            return {}

    def write_servers(self, servers: dict[str, str]) -> None:
        """Keep which server each service's data is on."""
        write_private(self.directory / "servers.json", msgspec.json.encode(servers).decode())

    def is_seeded(self, service: str) -> bool:
        """Tell whether the service's demo data has been written."""
        return (self.directory / "seeded" / service).exists()

    def mark_seeded(self, service: str) -> None:
        """Remember that the service's demo data has been written."""
        (self.directory / "seeded").mkdir(exist_ok=True)
        (self.directory / "seeded" / service).touch()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Be the one that runs a system on this data.

        Raises:
            StartError: Another one does; the message names its process id and command.
        """
        self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self.directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            if not _take(descriptor):
                holder = os.read(descriptor, COMMAND_BYTES_MAX).decode(errors="replace").strip()
                raise StartError(
                    f"{self.directory} is in use by process {holder or 'that has just begun'}; "
                    f"stop it with `freehold down` in {self.directory.parent}, or work in another directory"
                )
            os.ftruncate(descriptor, 0)
            os.pwrite(
                descriptor, f"{os.getpid()} (freehold {shlex.join(sys.argv[1:])})".encode()[:COMMAND_BYTES_MAX], 0
            )
            yield
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def is_held(self) -> bool:
        """Tell whether some process runs a system on this data right now."""
        return self.holder() is not None

    def holder(self) -> int | None:
        """Give the id of the process that runs a system on this data right now; 0 when it has not said it yet."""
        try:
            descriptor = os.open(self.directory / "lock", os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return None
        except BlockingIOError:
            said = os.read(descriptor, COMMAND_BYTES_MAX).split(b" ")[0]
            return int(said) if said.isdigit() else 0
        finally:
            os.close(descriptor)


class Board:
    """The state of all processes while they run: told by many threads, kept in the file, shown to whoever watches."""

    def __init__(self, place: Place, state: SystemState, show: Callable[[SystemState], None]) -> None:
        self._place = place
        self._state = state
        self._show = show
        self._changed = threading.Condition()

    @property
    def state(self) -> str:
        """Give the state of the whole."""
        return self._state.state

    def update(self, name: str, **changes: Any) -> None:
        """Change what is known of a process; keep it and show it."""
        with self._changed:
            process = self._state.find(name)
            if all(getattr(process, field) == value for field, value in changes.items()):
                return
            for field, value in changes.items():
                setattr(process, field, value)
            self._publish()

    def conclude(self, state: str, reason: str = "") -> None:
        """Change the state of the whole."""
        with self._changed:
            self._state.state, self._state.reason = state, reason
            self._publish()

    def names(self, *states: str) -> set[str]:
        """Name the processes that are in one of these states."""
        with self._changed:
            return {process.name for process in self._state.processes if process.state in states}

    def find(self, name: str) -> ProcessState:
        """Give what is known of a process right now."""
        with self._changed:
            return msgspec.structs.replace(self._state.find(name))

    def wait(self, timeout_s: float) -> None:
        """Wait until something has changed, at most so long."""
        with self._changed:
            self._changed.wait(timeout_s)

    def wake(self) -> None:
        """Let everybody who waits look again."""
        with self._changed:
            self._changed.notify_all()

    def _publish(self) -> None:
        self._place.write(self._state)
        self._show(self._state)
        self._changed.notify_all()


def _take(descriptor: int) -> bool:
    for _ in range(LOCK_TRIES_MAX):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(LOCK_TRY_S)
        else:
            return True
    return False


def started_ticks(pid: int) -> int | None:
    """Give the moment that a process started, in clock ticks since boot; None when it is not there, or a zombie."""
    try:
        # The name in the second field may itself hold spaces and brackets: what follows the last bracket is safe.
        fields = (PROCESSES / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def is_same(pid: int | None, ticks: int | None) -> bool:
    """Tell whether the process of this id is still the one that started then."""
    return pid is not None and ticks is not None and started_ticks(pid) == ticks


def boot_id() -> str:
    """Name this run of the machine: ticks of another one mean nothing."""
    try:
        return (PROCESSES / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""
