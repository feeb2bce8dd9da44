"""The reference system as a newcomer starts it: real processes, in a directory of their own, found by what they say of themselves."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from freehold.runtime.embedded.ports import LOOPBACK, reserve_port
from freehold.runtime.supervisor.child import is_ready
from freehold.runtime.supervisor.report import read_state
from freehold.runtime.supervisor.state import Place, ProcessState, SystemState
from freehold.topic.address import KafkaAddress
from tests.faults.load import Doors
from tests.faults.waiting import wait_until

ROOT = Path(__file__).parents[2]
SYSTEM = ROOT / "systems" / "database_per_service"
PROCESSES = Path("/proc")
UP_TIMEOUT_S = 180.0
COMMAND_TIMEOUT_S = 60.0
READY_LIMIT_S = 60.0
SERVERS = ("postgres", "mongo", "kafka")
SERVICES = ("users", "orders")


@dataclass(frozen=True)
class Finished:
    """A command that has ended: its code, what it wrote, how long it took."""

    code: int
    output: str
    errors: str
    took_s: float


class RunningSystem:
    """One system, up or down, in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def freehold(self, *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S) -> Finished:
        """Run a command in the system's directory, as a person would; its output is read to the end."""
        begun_at = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "freehold", *arguments],
            cwd=self.directory,
            env=environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr, time.monotonic() - begun_at)

    def up(self) -> Finished:
        """Start it without demo data, and return when it is ready."""
        done = self.freehold("up", str(SYSTEM), "--no-demo", "--detach", timeout_s=UP_TIMEOUT_S)
        assert done.code == 0, f"freehold up ended with {done.code}: {done.errors}"
        return done

    def down(self) -> Finished:
        """Stop it, whether it is up or not."""
        done = self.freehold("down")
        assert done.code == 0, f"freehold down ended with {done.code}: {done.errors}"
        return done

    def start_in_foreground(self) -> subprocess.Popen[bytes]:
        """Start it as on a terminal, to be stopped by a signal; returns at once."""
        with (self.directory / "foreground.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "freehold", "up", str(SYSTEM), "--no-demo"],
                cwd=self.directory,
                env=environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def state(self) -> SystemState:
        """Read what `freehold status` would show, without a process for each look."""
        state = read_state(Place(self.directory / ".freehold"))
        assert state is not None, f"nothing was ever up in {self.directory}"
        return state

    def status(self) -> dict[str, ProcessState]:
        """Give what runs, by process name."""
        return {process.name: process for process in self.state().processes}

    def unready(self) -> str:
        """Say which processes are not ready; empty when all are."""
        states = {name: process.state for name, process in self.status().items()}
        wanted = [*SERVERS, *SERVICES, "gateway"]
        return ", ".join(f"{name} {states.get(name, 'unknown')}" for name in wanted if states.get(name) != "ready")

    def wait_until_ready(self, limit_s: float) -> float:
        """Wait until each process is ready; gives the moment."""
        return wait_until("all processes are ready", self.unready, limit_s)

    def pid(self, name: str) -> int:
        """Give the process id of a process that is there."""
        found = self.status()[name].pid
        assert found is not None, f"{name} has no process right now"
        return found

    def signal(self, name: str, number: signal.Signals) -> int:
        """Send a signal to a process by its id, and to nothing else; gives the id."""
        pid = self.pid(name)
        os.kill(pid, number)
        return pid

    def url(self, name: str) -> str:
        """Give the base URL of a process."""
        found = self.status()[name].url
        assert found is not None, f"{name} has no address right now"
        return found

    def doors(self) -> Doors:
        """Give the ways in for writes: through the gateway, and straight to the service."""
        gateway = self.url("gateway")
        return Doors(users=[gateway, self.url("users")], orders=[gateway, self.url("orders")])

    def environment_of(self, service: str) -> dict[str, str]:
        """Read what a service was started with."""
        text = (self.directory / ".freehold" / "environment" / f"{service}.json").read_text()
        return dict(json.loads(text))

    def store_url(self, service: str) -> str:
        """Give the URL of a service's own database, as the service."""
        return self.environment_of(service)["FREEHOLD_STORE_URL"]

    def admin_store_url(self, server: str) -> str:
        """Give the URL of a database server, as its administrator."""
        port = self.status()[server].port
        password = json.loads((self.directory / ".freehold" / "secrets.json").read_text())[f"{server}/admin"]
        if server == "postgres":
            return f"postgresql://admin:{password}@{LOOPBACK}:{port}/postgres?sslmode=disable"
        return f"mongodb://admin:{password}@{LOOPBACK}:{port}/?replicaSet=freehold&authSource=admin&w=majority"

    def kafka_config(self, service: str) -> dict[str, str]:
        """Give a service's own settings for a Kafka client."""
        return KafkaAddress.parse(self.environment_of(service)["FREEHOLD_KAFKA_URL"]).client_config()

    def log(self, name: str) -> Path:
        """Give the log of a process."""
        return self.directory / ".freehold" / "logs" / f"{name}.log"

    def processes(self) -> dict[int, str]:
        """List every process on this machine that runs in the directory or names it, whoever started it."""
        found = {}
        for entry in PROCESSES.iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                command = _command(entry)
                if command and (str(self.directory) in command or _lies_in(entry, self.directory)):
                    found[int(entry.name)] = command
        return found


@contextlib.contextmanager
def second_instance(
    system: RunningSystem, service: str, *options: str
) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run a second instance of a service on the same store, as in production; gives its process and base URL.

    It is ready when the block begins, and stopped in order at the end unless it has ended already.
    """
    with reserve_port([0]) as port, system.log(f"{service}-2").open("ab") as log:
        own = system.environment_of(service) | {"FREEHOLD_PORT": str(port), "FREEHOLD_INSTANCE": f"{service}-2"}
        process = subprocess.Popen(
            [sys.executable, "-m", "freehold", "run", service, "--system", str(SYSTEM), *options],
            cwd=system.directory,
            env=environment() | own,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        try:
            wait_until(f"the second {service} is ready", lambda: _unready(process, port), READY_LIMIT_S)
            yield process, f"http://{LOOPBACK}:{port}"
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
                raise


def _unready(process: subprocess.Popen[bytes], port: int) -> str:
    assert process.poll() is None, f"the second instance ended with {process.returncode}"
    return "" if is_ready(port) else "it does not say so"


def environment() -> dict[str, str]:
    """Give an environment without settings of Freehold's own, for a command as a newcomer runs it."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("FREEHOLD_", "PYTEST_"))}


def _command(entry: Path) -> str:
    try:
        return (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""  # it ended while we looked


def _lies_in(entry: Path, directory: Path) -> bool:
    try:
        return (entry / "cwd").readlink().is_relative_to(directory)
    except OSError:
        return False
