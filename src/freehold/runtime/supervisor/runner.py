"""What each kind of step does when it is started: an embedded server, a server that the user has, our own programs."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol
from urllib.parse import urlsplit

from freehold.errors import StartError
from freehold.http.peer import peer_url
from freehold.runtime.embedded.ports import LOOPBACK
from freehold.runtime.provision.secrets import Secrets
from freehold.runtime.supervisor.child import Child, child_environment, last_lines
from freehold.runtime.supervisor.plan import KAFKA, Part
from freehold.runtime.supervisor.state import Place
from freehold.service import Service

Tell = Callable[..., None]
IsWanted = Callable[[], bool]
SCHEMES = {"postgres": "postgresql", "mongo": "mongodb", KAFKA: "kafka"}
_PROGRESS = re.compile(r"(\d+) of (\d+)")


class Runner(Protocol):
    """One step, as the supervisor starts, watches and stops it. `tell(...)` changes what is known of its process."""

    def met(self, name: str, tell: Tell) -> None:
        """Prepare what can be prepared now that this one, which it waited for, is ready."""

    def start(self, tell: Tell, is_wanted: IsWanted) -> None:
        """Start it and return when it is ready, or no longer wanted; may be called again when it has ended."""

    def is_running(self) -> bool:
        """Tell whether it has not ended."""

    def stop(self, timeout_s: float) -> None:
        """End it in order, and by force after so long; idempotent."""


class Server(Protocol):
    """An embedded server (`freehold.runtime.embedded`)."""

    port: int

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""

    @property
    def log(self) -> Path:
        """Where the server writes what it does."""

    @property
    def admin_url(self) -> str:
        """Where and as whom the administrator connects; holds the password."""

    def start(self, report: Callable[[str], None]) -> None:
        """Start the server, and return when it answers."""

    def stop(self, timeout_s: float) -> None:
        """Stop the server in order; kill it if it takes longer."""


def embedded_server(kind: str, directory: Path, port: int | None, secrets: Secrets) -> Server:
    """Make a server of this kind; its driver is only imported for it."""
    if kind == "postgres":
        from freehold.runtime.embedded.postgres import PostgresServer

        return PostgresServer(directory, port=port, secrets=secrets)
    if kind == "mongo":
        from freehold.runtime.embedded.mongo import MongoServer

        return MongoServer(directory, port=port, secrets=secrets)
    if kind == KAFKA:
        from freehold.runtime.embedded.kafka import KafkaServer

        return KafkaServer(directory, port=port, secrets=secrets)
    raise StartError(f"there is no embedded {kind}; name a server that you have, in FREEHOLD_{kind.upper()}_URL")


@dataclass
class EmbeddedRunner:
    """A server of our own, with its data under the current directory."""

    name: str
    kind: str
    place: Place
    port: int | None
    server: Server | None = None

    def met(self, name: str, tell: Tell) -> None:
        """Do nothing: a server waits for nobody."""

    def start(self, tell: Tell, is_wanted: IsWanted) -> None:
        """Start the server, and say where it answers."""
        if self.server is None:
            self.server = embedded_server(self.kind, self.place.directory / self.name, self.port, self.place.secrets)
        server = self.server

        def report(text: str) -> None:
            found = _PROGRESS.search(text)
            done, total = (int(found[1]), int(found[2])) if found else (0, 0)
            tell(detail=text, done_count=done, total_count=total, pid=server.pid, log=str(server.log))

        server.start(report)
        url = f"{SCHEMES[self.kind]}://{LOOPBACK}:{server.port}"
        tell(pid=server.pid, port=server.port, url=url, log=str(server.log), done_count=0, total_count=0)

    def is_running(self) -> bool:
        """Tell whether the server's process is there."""
        return self.server is not None and self.server.pid is not None

    def stop(self, timeout_s: float) -> None:
        """Stop the server."""
        if self.server is not None:
            self.server.stop(timeout_s)

    @property
    def admin_url(self) -> str:
        """Where and as whom the administrator connects; holds the password."""
        if self.server is None:
            raise StartError(f"{self.name} was asked for its address before it was started")
        return self.server.admin_url


@dataclass
class ExternalRunner:
    """A server that the user has; we only say where it is."""

    kind: str
    admin_url: str = field(repr=False)

    def met(self, name: str, tell: Tell) -> None:
        """Do nothing."""

    def start(self, tell: Tell, is_wanted: IsWanted) -> None:
        """Say where it is; that it answers is found out by who needs it."""
        hosts = urlsplit(self.admin_url).netloc.rpartition("@")[2]
        tell(url=f"{SCHEMES[self.kind]}://{hosts}", detail="a server of your own")

    def is_running(self) -> bool:
        """Leave it alone: it is not ours to restart."""
        return True

    def stop(self, timeout_s: float) -> None:
        """Leave it alone."""


@dataclass(kw_only=True)
class ChildRunner:
    """A program of ours in a process of its own."""

    child: Child | None = None

    def is_running(self) -> bool:
        """Tell whether its process is there."""
        return self.child is not None and self.child.is_running()

    def stop(self, timeout_s: float) -> None:
        """Stop its process."""
        if self.child is not None:
            self.child.stop(timeout_s)


@dataclass
class ServiceRunner(ChildRunner):
    """A service in its own process, with its own credentials and nothing else."""

    service: Service
    place: Place
    target: str
    port: int
    servers: Mapping[str, EmbeddedRunner | ExternalRunner]
    sources: Mapping[str, str]
    environment: dict[str, str] = field(default_factory=dict, repr=False)
    only: Literal["api"] | None = None

    def met(self, name: str, tell: Tell) -> None:
        """Make its database, user and rights on the server that is ready now."""
        server, service = self.servers[name], self.service.name
        admin_url, password = server.admin_url, self.place.secrets.get(f"{server.kind}/{service}")
        tell(state="starting", detail=f"making its user and rights in {name}")
        if server.kind == KAFKA:
            from freehold.runtime.provision.kafka import provision_kafka

            url = provision_kafka(admin_url, service, password, reads=self.service.sources())
            self.environment["FREEHOLD_KAFKA_URL"] = url
        elif server.kind == "postgres":
            from freehold.runtime.provision.postgres import provision_postgres

            self.environment["FREEHOLD_STORE_URL"] = provision_postgres(admin_url, service, password)
        else:
            from freehold.runtime.provision.mongo import provision_mongo

            self.environment["FREEHOLD_STORE_URL"] = provision_mongo(admin_url, service, password)

    def start(self, tell: Tell, is_wanted: IsWanted) -> None:
        """Start its process, and return when it is ready."""
        name = self.service.name
        self.environment |= http_environment(name, self.port)
        self.environment["FREEHOLD_INTERNAL_KEY"] = self.place.internal_key(name)
        self.environment["FREEHOLD_TOKEN_KEY"] = self.place.token_key()
        for source, url in self.sources.items():
            self.environment[f"FREEHOLD_UPSTREAM_{source.upper()}"] = peer_url(
                url, name, self.place.internal_key(source)
            )
        self.place.write_environment(name, self.environment)
        arguments = run_arguments(name, self.target, self.only)
        self.child = start_http(name, arguments, self.environment, self.place.log(name), tell)
        self.child.wait_until_ready(self.port, is_wanted)


@dataclass
class PartRunner(ChildRunner):
    """A service's relay or its consumers by themselves, with what the service itself was started with."""

    name: str
    service: str
    part: Part
    place: Place
    target: str
    port: int

    def met(self, name: str, tell: Tell) -> None:
        """Do nothing: the service has its user and rights, and has migrated its store."""

    def start(self, tell: Tell, is_wanted: IsWanted) -> None:
        """Start its process, and return when it is ready."""
        own = http_environment(f"{self.service}-{self.part}", self.port)
        environment = self.place.read_environment(self.service) | own
        arguments = run_arguments(self.service, self.target, self.part)
        self.child = start_http(self.name, arguments, environment, self.place.log(self.name), tell)
        self.child.wait_until_ready(self.port, is_wanted)


@dataclass
class GatewayRunner(ChildRunner):
    """The one door, in its own process; it knows where the services are, and no credentials of theirs."""

    name: str
    place: Place
    target: str
    port: int
    upstreams: Mapping[str, str]

    def met(self, name: str, tell: Tell) -> None:
        """Do nothing."""

    def start(self, tell: Tell, is_wanted: IsWanted) -> None:
        """Start its process, and return when it is ready."""
        environment = http_environment(self.name, self.port) | {"FREEHOLD_TOKEN_KEY": self.place.token_key()}
        environment |= {f"FREEHOLD_UPSTREAM_{service.upper()}": url for service, url in self.upstreams.items()}
        arguments = run_arguments(self.name, self.target)
        self.child = start_http(self.name, arguments, environment, self.place.log(self.name), tell)
        self.child.wait_until_ready(self.port, is_wanted)


@dataclass
class DemoRunner(ChildRunner):
    """Writes a service's demo data once, as the service and through its own functions, in a process that then ends.

    What it has written when it is stopped stays, and the next run goes on from there.
    """

    name: str
    service: str
    place: Place
    target: str

    def met(self, name: str, tell: Tell) -> None:
        """Do nothing."""

    def start(self, tell: Tell, is_wanted: IsWanted) -> None:
        """Run it to its end.

        Raises:
            StartError: It failed; the message shows the end of its log.
        """
        environment = child_environment(self.place.read_environment(self.service))
        log = self.place.log(self.name)
        arguments = ["demo", self.service, "--system", self.target, "--json"]
        self.child = child = Child(self.name, arguments, environment, log, pipes_output=True)
        tell(pid=child.pid, started_ticks=child.ticks, log=str(log), detail="writing")
        shown = 0
        for line in child.process.stdout or ():
            with contextlib.suppress(ValueError, KeyError, TypeError):  # a service that prints is no failure
                progress = json.loads(line)
                done, total = int(progress["done"]), int(progress["total"])
                if done == total or (done - shown) * 100 >= total:
                    shown = done
                    tell(done_count=done, total_count=total)
        if child.process.wait() == 0:
            self.place.mark_seeded(self.service)
        elif is_wanted():
            raise StartError(f"{self.name} ended with code {child.process.returncode}; {last_lines(log)}")


def http_environment(name: str, port: int) -> dict[str, str]:
    """Say where a process of ours answers HTTP, and what it is called."""
    return {"FREEHOLD_HOST": LOOPBACK, "FREEHOLD_PORT": str(port), "FREEHOLD_INSTANCE": f"{name}-1"}


def run_arguments(name: str, target: str, only: str | None = None) -> list[str]:
    """Give what follows `freehold` to run a service, a part of it, or the gateway."""
    return ["run", name, "--system", target, *(["--only", only] if only else [])]


def start_http(name: str, arguments: Sequence[str], environment: Mapping[str, Any], log: Path, tell: Tell) -> Child:
    """Start a process that answers HTTP, and say what is known of it."""
    child = Child(name, arguments, child_environment(environment), log)
    port = int(environment["FREEHOLD_PORT"])
    url = f"http://{LOOPBACK}:{port}"
    tell(pid=child.pid, started_ticks=child.ticks, port=port, url=url, log=str(log), detail="starting its process")
    return child
