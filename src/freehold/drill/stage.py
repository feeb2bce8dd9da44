"""The system on trial as real processes, in a directory of its own, found by what they say of themselves."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from freehold.drill.waiting import wait_until
from freehold.errors import DrillError, StartError
from freehold.runtime.embedded.ports import LOOPBACK, reserve_port
from freehold.runtime.supervisor.child import is_ready
from freehold.runtime.supervisor.plan import ALONE, KAFKA, assign_servers, parts_of
from freehold.runtime.supervisor.report import read_state
from freehold.runtime.supervisor.state import PROCESSES, Place, ProcessState, SystemState
from freehold.service import Service, System
from freehold.topic.address import KafkaAddress

UP_TIMEOUT_S = 300.0
COMMAND_TIMEOUT_S = 60.0
READY_LIMIT_S = 60.0
END_TIMEOUT_S = 10.0
# What follows `python` to run Freehold; a planted bug begins with another module.
PROGRAM: tuple[str, ...] = ("-m", "freehold")
# Settings of Freehold's or pytest's own are not what a newcomer's shell has; neither are servers that hold other data.
NOT_PASSED_ON = ("FREEHOLD_", "PYTEST_", "OTEL_")


class Missed(Exception):
    """What a fault was to be done to is not there at this moment; the fault is left out."""


@dataclass(frozen=True)
class Finished:
    """A command that has ended: its code, what it wrote, how long it took."""

    code: int
    output: str
    errors: str
    took_s: float


class Stage:
    """One system, up or down, in one directory.

    Args:
        directory: Where its data and logs are.
        system: The declaration.
        target: How a process finds it: an absolute path.
        is_apart: Whether each service's API, relay and consumers have processes of their own.
    """

    def __init__(
        self,
        directory: Path,
        system: System,
        target: str,
        *,
        is_apart: bool = False,
    ) -> None:
        self.directory = directory
        self.system = system
        self.target = target
        self.place = Place(directory / ".freehold")
        self.is_apart = is_apart
        self.program = [sys.executable, *PROGRAM]

    def freehold(self, *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S) -> Finished:
        """Run a command in the system's directory, as a person would; its output is read to the end."""
        begun_at = time.monotonic()
        done = subprocess.run(
            [*self.program, *arguments],
            cwd=self.directory,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr, time.monotonic() - begun_at)

    def up(self) -> Finished:
        """Start it without demo data, and return when it is ready.

        Raises:
            StartError: It did not start.
        """
        apart = ["--apart"] if self.is_apart else []
        done = self.freehold("up", self.target, "--no-demo", "--detach", *apart, timeout_s=UP_TIMEOUT_S)
        if done.code:
            raise StartError(f"{self.system.name} did not start: {done.errors.strip()}")
        return done

    def down(self) -> Finished:
        """Stop it, whether it is up or not.

        Raises:
            StartError: Something could not be stopped.
        """
        done = self.freehold("down")
        if done.code:
            raise StartError(f"{self.system.name} did not stop: {done.errors.strip()}")
        return done

    def names(self) -> list[str]:
        """Name every process that belongs to it, servers first."""
        gateway = [self.system.gateway.name] if self.system.gateway is not None else []
        parts = [
            f"{service.name} {part}"
            for service in self.system.services
            for part in (parts_of(service) if self.is_apart else ())
        ]
        return [*self.servers(), *(service.name for service in self.system.services), *parts, *gateway]

    def servers(self) -> list[str]:
        """Name the servers, also before they are up."""
        return sorted({*assign_servers(self.system, self.place.read_servers(), ()).values(), KAFKA})

    def server_of(self, service: Service) -> str:
        """Name the server that a service's data is on."""
        return str(self.place.read_servers().get(service.name, service.store.kind))

    def state(self) -> SystemState:
        """Read what `freehold status` would show, without a process for each look.

        Raises:
            DrillError: Nothing was ever up here.
        """
        state = read_state(self.place)
        if state is None:
            raise DrillError(f"nothing was ever up in {self.directory}")
        return state

    def status(self) -> dict[str, ProcessState]:
        """Give what runs, by process name."""
        return {process.name: process for process in self.state().processes}

    def unready(self) -> str:
        """Say which processes are not ready; empty when all are."""
        states = {name: process.state for name, process in self.status().items()}
        return ", ".join(
            f"{name} {states.get(name, 'unknown')}" for name in self.names() if states.get(name) != "ready"
        )

    def silent(self, name: str) -> str:
        """Say that a service does not answer that it is ready; empty when it does."""
        port = self.status()[name].port
        return "" if port and is_ready(port) else f"{name} does not answer"

    def wait_until_ready(self, limit_s: float = READY_LIMIT_S) -> float:
        """Wait until each process is ready; gives the moment."""
        return wait_until("all processes are ready", self.unready, limit_s)

    def pid(self, name: str) -> int:
        """Give the process id of a process that is there.

        Raises:
            Missed: It is not there right now.
        """
        found = self.status()[name].pid
        if found is None:
            raise Missed(f"{name} has no process right now")
        return found

    def url(self, name: str) -> str:
        """Give the base URL of a process.

        Raises:
            DrillError: It has none.
        """
        found = self.status()[name].url
        if found is None:
            raise DrillError(f"{name} has no address right now")
        return found

    def doors(self) -> dict[str, list[str]]:
        """Give the ways in for writes, by kind of entity: through the gateway, and straight to the service."""
        gateway = [self.url(self.system.gateway.name)] if self.system.gateway is not None else []
        return {
            entity.name: [*gateway, self.url(service.name)]
            for service in self.system.services
            for entity in service.owns
        }

    def store_url(self, service: str) -> str:
        """Give the URL of a service's own database, as the service."""
        return str(self.place.read_environment(service)["FREEHOLD_STORE_URL"])

    def admin_store_url(self, server: str) -> str:
        """Give the URL of a database server, as its administrator."""
        port = self.status()[server].port
        if server.partition("-")[0] == ALONE:
            # Each PostgreSQL server has its own secrets' name only in its directory: the administrator's is shared.
            password = self.place.secrets.get("postgres/admin")
            return f"postgresql://admin:{password}@{LOOPBACK}:{port}/postgres?sslmode=disable"
        password = self.place.secrets.get("mongo/admin")
        return f"mongodb://admin:{password}@{LOOPBACK}:{port}/?replicaSet=freehold&authSource=admin&w=majority"

    def kafka_address(self) -> KafkaAddress:
        """Say where Kafka is, as its administrator."""
        port, password = self.status()[KAFKA].port, self.place.secrets.get("kafka/admin")
        return KafkaAddress((f"{LOOPBACK}:{port}",), "admin", password, "SASL_PLAINTEXT")

    def kafka_config(self) -> dict[str, str]:
        """Give the settings of a Kafka client that may do everything."""
        return self.kafka_address().client_config()

    def log(self, name: str) -> Path:
        """Give the log of a process."""
        return self.place.log(name)

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
def second_instance(stage: Stage, service: str, *options: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run a second instance of a service on the same store, as in production; gives its process and base URL.

    It is ready when the block begins, and stopped in order at the end unless it has ended already.
    """
    process, port = start_instance(stage, service, *options)
    try:
        wait_until(f"the second {service} is ready", lambda: _unready(process, port), READY_LIMIT_S)
        yield process, f"http://{LOOPBACK}:{port}"
    finally:
        end_process(process)


def start_instance(
    stage: Stage, service: str, *options: str, clock_off_s: float = 0.0
) -> tuple[subprocess.Popen[bytes], int]:
    """Start a second instance of a service on the same store, perhaps with a wrong clock; gives its process and port at once."""
    program = [sys.executable, "-m", "freehold.drill.clock", str(clock_off_s)] if clock_off_s else stage.program
    with reserve_port([0]) as port, stage.log(f"{service}-2").open("ab") as log:
        own = {"FREEHOLD_PORT": str(port), "FREEHOLD_INSTANCE": f"{service}-2"}
        process = subprocess.Popen(
            [*program, "run", service, "--system", stage.target, *options],
            cwd=stage.directory,
            env=clean_environment() | stage.place.read_environment(service) | own,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    return process, port


def start_command(stage: Stage, name: str, *arguments: str) -> subprocess.Popen[bytes]:
    """Start `freehold NAME ...` as an operator of the system would; what it prints is in `printed` once it has ended."""
    with stage.log(name).open("ab") as log, printed(stage, name).open("wb") as output:
        return subprocess.Popen(
            [*stage.program, name, *arguments],
            cwd=stage.directory,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=log,
            start_new_session=True,
        )


def printed(stage: Stage, name: str) -> Path:
    """Name the file with what the last such command printed."""
    return stage.log(name).with_suffix(".out")


def end_process(process: subprocess.Popen[bytes]) -> None:
    """Stop a process that we started, by force if it must be."""
    if process.poll() is None:
        process.send_signal(signal.SIGCONT)
        process.terminate()
    try:
        process.wait(END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(END_TIMEOUT_S)


def clean_environment() -> dict[str, str]:
    """Give an environment without settings of Freehold's own, for a command as a newcomer runs it."""
    return {name: value for name, value in os.environ.items() if not name.startswith(NOT_PASSED_ON)}


def _unready(process: subprocess.Popen[bytes], port: int) -> str:
    if process.poll() is not None:
        raise DrillError(f"the second instance ended with {process.returncode}")
    return "" if is_ready(port) else "it does not say so"


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
