"""What the servers saw: whoever comes to a service's store and is not that service's own, by whatever means.

The traces tell what our processes do through the drivers that are watched there. A stolen credential can also be used by a
C library, a child process or another machine: that the server alone sees. Each connection of Freehold's says whose it
is, so a connection as a service's user that does not say so is a stranger's. The servers of the run are ours, so
PostgreSQL is told to log its connections; MongoDB does by itself. A stranger that says that it is Freehold goes unseen.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from freehold.conform.span import Span
from freehold.runtime.supervisor.state import Place, SystemState
from freehold.telemetry import SERVICE, STORE

STRANGER = "a stranger"
_AUTHORIZED = re.compile(
    r"connection authorized: user=(?P<user>\S+)(?: database=(?P<database>\S+))?(?: application_name=(?P<name>.*?))?(?: SSL|$)"
)
# MongoDB's own numbers of what it logs: what a client says of itself, and that it has authenticated.
_METADATA, _AUTHENTICATED = 51800, 20250
LOG_BYTES_MAX = 64 * 1_048_576


def watch_connections(place: Place, state: SystemState) -> None:
    """Have the run's own PostgreSQL servers log who connects from now on."""
    import psycopg

    from freehold.runtime.embedded.postgres import PostgresServer

    for server in _servers(state, "postgres"):
        admin = PostgresServer(place.directory / server.name, port=server.port, secrets=place.secrets)
        with psycopg.connect(admin.admin_url, autocommit=True, connect_timeout=5) as connection:
            connection.execute("ALTER SYSTEM SET log_connections = 'on'")
            connection.execute("SELECT pg_reload_conf()")


def find_strangers(state: SystemState, services: Collection[str]) -> dict[str, tuple[str, str]]:
    """Give, by the service whose store they came to, which product it is and what the first of them calls itself.

    Args:
        state: The run.
        services: The names of the services, which are those of their users.
    """
    found: dict[str, tuple[str, str]] = {}
    for server in _servers(state, "postgres"):
        for owner, name in _in_postgres(_read(server.log), services):
            found.setdefault(owner, ("postgresql", name))
    for server in _servers(state, "mongo"):
        for owner, name in _in_mongo(_read(server.log), services):
            found.setdefault(owner, ("mongodb", name))
    return found


def untold(strangers: Mapping[str, tuple[str, str]], spans: Iterable[Span]) -> list[Span]:
    """Give a span for each store that a stranger came to, where the traces do not tell already who that was."""
    told = {span.text("db.namespace") for span in spans if "db.system.name" in span.attributes and not span.text(STORE)}
    return [_span(owner, *said) for owner, said in sorted(strangers.items()) if owner not in told]


def _servers(state: SystemState, kind: str) -> list[_Server]:
    return [
        _Server(process.name, process.port, Path(process.log))
        for process in state.processes
        if process.role == "server" and process.log and process.port and process.name.partition("-")[0] == kind
    ]


class _Server(msgspec.Struct, frozen=True):
    name: str
    port: int
    log: Path


def _read(log: Path) -> list[str]:
    with log.open("rb") as stream:
        return stream.read(LOG_BYTES_MAX).decode(errors="replace").splitlines()


def _in_postgres(lines: Iterable[str], services: Collection[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        said = _AUTHORIZED.search(line)
        if said is not None and said["user"] in services and not _is_own(said["name"] or "", said["user"], " "):
            yield said["user"], said["name"] or "no name"


def _in_mongo(lines: Iterable[str], services: Collection[str]) -> Iterator[tuple[str, str]]:
    names: dict[str, str] = {}
    for line in lines:
        if f'"id":{_METADATA},' not in line and f'"id":{_AUTHENTICATED},' not in line:
            continue
        try:
            told = msgspec.json.decode(line)
        except msgspec.DecodeError:
            continue  # the last line, half written
        if told["id"] == _METADATA:
            names[told["ctx"]] = told["attr"]["doc"].get("application", {}).get("name", "")
            continue
        user, name = told["attr"].get("principalName", ""), names.get(told["ctx"], "")
        if user in services and not _is_own(name, user, "/"):
            yield user, name or "no name"


def _is_own(name: str, service: str, separator: str) -> bool:
    own = f"freehold{separator}{service}"
    return name == own or name.startswith(own + separator)


def _span(owner: str, system: str, name: str) -> Span:
    attributes = {
        "db.system.name": system,
        "db.namespace": owner,
        "db.operation.name": f"connect as {owner}, calling itself {name!r}",
        SERVICE: STRANGER,
    }
    return Span("", f"stranger in {owner}", "", STRANGER, f"connect {owner}", "client", 0, 0, attributes)
