"""Run a system on data and servers of its own, do what its scenarios say, and give all that it exported.

The system is run by `freehold up` in a temporary directory, as a person would, without the demo data. Each process sends
its spans to a collector here. When the scenarios are over and nothing is on its way any more, each process gets one more
request: once that has been exported, so has all before it. Nothing is waited for by the clock alone.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from freehold.conform.collector import Collector
from freehold.conform.door import Door
from freehold.conform.landscape import Landscape, survey
from freehold.conform.span import Span
from freehold.conform.verdict import Outcome
from freehold.conform.witness import find_strangers, untold, watch_connections
from freehold.errors import ConfigurationError, FreeholdError, ScenarioError, StartError
from freehold.runtime.supervisor.detach import stop
from freehold.runtime.supervisor.report import read_progress, read_state
from freehold.runtime.supervisor.state import Place, SystemState
from freehold.service import System

OTLP_PORT = 4318
SETTLED_S = 20.0
POLL_S = 0.1
EXPORTED_S = 20.0
REMOVED_S = 10.0
LINES_SHOWN = 10
# What would sample or redirect spans, and servers that hold data which is not the run's own.
_NOT_PASSED_ON = ("OTEL_", "FREEHOLD_POSTGRES_URL", "FREEHOLD_MONGO_URL", "FREEHOLD_KAFKA_URL")


@dataclasses.dataclass(frozen=True)
class Observed:
    """What a run gave: the spans, the system with its addresses, and how each scenario ended."""

    spans: Sequence[Span]
    landscape: Landscape
    outcomes: Sequence[Outcome]


def drive(system: System, target: str, say: Callable[[str], None]) -> Observed:
    """Start the system, drive its scenarios, stop it, and give what was seen.

    Args:
        system: The declaration.
        target: How a process finds it: an absolute path.
        say: Told what is being done.

    Raises:
        StartError: The system did not start.
        ScenarioError: The system declares no scenarios.
    """
    if not system.scenarios:
        raise ScenarioError(
            f"{system.name} declares no scenarios, so nothing would happen in it: System(..., scenarios=[...]), or watch "
            f"real traffic with --minutes"
        )
    with Collector() as collector, _running(target, collector.url, say) as (place, state):
        landscape = locate(survey(system), place, state)
        watch_connections(place, state)
        outcomes = [_run(scenario, Door(_door_url(system, state)), say) for scenario in system.scenarios]
        settled = _settle(state, say)
        marked, exported = _wait_for_spans(collector, state)
        strangers = find_strangers(state, landscape.services.keys())
    lost = [Outcome(name="all spans kept", problem=f"{collector.lost} spans were too many")] if collector.lost else []
    spans = [span for span in collector.spans() if span.trace not in marked]
    return Observed([*spans, *untold(strangers, spans)], landscape, [*outcomes, settled, exported, *lost])


def watch(
    system: System, place: Place, minutes: float, say: Callable[[str], None], *, port: int = OTLP_PORT
) -> Observed:
    """Take what is exported to a port of ours for so long, and give what was seen; Ctrl-C ends it earlier.

    Args:
        system: The declaration.
        place: Where the system may be up: who answers where is taken from there.
        minutes: For how long.
        say: Told where to export to.
        port: Where we listen; OpenTelemetry's usual one for HTTP.

    Raises:
        ConfigurationError: The port is taken.
    """
    landscape, state = survey(system), read_state(place)
    if state is not None:
        landscape = locate(landscape, place, state)
    try:
        collector = Collector(port)
    except OSError as error:
        raise ConfigurationError(
            f"port {port} cannot be listened on: {error.strerror}; name another, --port"
        ) from error
    with collector:
        say(f"watching for {minutes:g} minutes what is exported to OTEL_EXPORTER_OTLP_ENDPOINT={collector.url}")
        with contextlib.suppress(KeyboardInterrupt):
            time.sleep(minutes * 60)
    lost = [Outcome(name="all spans kept", problem=f"{collector.lost} spans were too many")] if collector.lost else []
    return Observed(collector.spans(), landscape, lost)


def locate(landscape: Landscape, place: Place, state: SystemState) -> Landscape:
    """Add to what is known of a system where its parts answer."""
    ports = {each.port: each.name for each in state.processes if each.port and each.role in {"service", "gateway"}}
    on_server: dict[int, set[str]] = {}
    by_name = {each.name: each.port for each in state.processes if each.role == "server"}
    assigned = place.read_servers()
    for service, kind in landscape.services.items():
        port = by_name.get(assigned.get(service, kind))
        if port:
            on_server.setdefault(port, set()).add(service)
    servers = {port: frozenset(services) for port, services in on_server.items()}
    return dataclasses.replace(landscape, ports=ports, servers=servers)


@contextlib.contextmanager
def _running(target: str, collector: str, say: Callable[[str], None]) -> Iterator[tuple[Place, SystemState]]:
    directory = Path(tempfile.mkdtemp(prefix="freehold-verify-"))
    place = Place(directory / ".freehold")
    try:
        try:
            _start(target, directory, _environment(collector), say)
            state = place.read()
            assert state is not None  # it was started
            yield place, state
        finally:
            stop(place, say)
    finally:
        _remove(directory)


def _remove(directory: Path) -> None:
    """Delete all data; what a server that was ended while it started still writes is deleted too."""
    limit = time.monotonic() + REMOVED_S
    while directory.exists() and time.monotonic() < limit:
        shutil.rmtree(directory, ignore_errors=True)
        time.sleep(POLL_S if directory.exists() else 0)


def _start(target: str, directory: Path, environment: Mapping[str, str], say: Callable[[str], None]) -> None:
    """Have it started in a directory, by a process that ends when it is ready."""
    command = [sys.executable, "-m", "freehold", "up", target, "--no-demo", "--detach", "--json"]
    with subprocess.Popen(
        command,
        cwd=directory,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as starting:
        lines = []
        for line in starting.stderr or ():
            lines.append(line.rstrip())
            say(line.rstrip())
    if starting.returncode:
        last = "\n".join(lines[-LINES_SHOWN:]).removeprefix("freehold: ")
        raise StartError(f"{target} did not start: {last or 'it said nothing'}")


def _environment(collector: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_PASSED_ON)}
    return kept | {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector,
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_TRACES_SAMPLER": "always_on",
        "OTEL_BSP_SCHEDULE_DELAY": "200",
        "OTEL_BSP_MAX_QUEUE_SIZE": "100000",
    }


def _door_url(system: System, state: SystemState) -> str:
    """Give the gateway's address; a system without one is asked at its first service."""
    name = system.gateway.name if system.gateway is not None else system.services[0].name
    return state.find(name).url or ""


def _run(scenario: Callable[[Door], None], door: Door, say: Callable[[str], None]) -> Outcome:
    name = (scenario.__doc__ or scenario.__name__).strip().partition("\n")[0]
    say(name)
    try:
        scenario(door)
    except ScenarioError as error:
        return Outcome(name=name, problem=str(error))
    except FreeholdError as error:
        return Outcome(name=name, problem=f"{type(error).__name__}: {error}")
    except (AssertionError, LookupError, TypeError, ValueError) as error:
        # A scenario is an author's code; what it met is said, and the report comes all the same.
        return Outcome(name=name, problem=f"{type(error).__name__}: {error}")
    return Outcome(name=name)


def _settle(state: SystemState, say: Callable[[str], None]) -> Outcome:
    """Wait until every outbox is empty and every subscriber has applied what there is, seen twice in a row."""
    say("waiting for what is on its way")
    services = {each.name: each.port for each in state.processes if each.role == "service" and each.port}
    limit = time.monotonic() + SETTLED_S
    quiet = 0
    unmet: Mapping[str, str] = {}
    while time.monotonic() < limit:
        unmet = {name: words for name, port in services.items() if (words := _on_its_way(port))}
        quiet = 0 if unmet else quiet + 1
        if quiet == 2:
            return Outcome(name="all events arrived")
        time.sleep(POLL_S)
    words = "; ".join(f"{name}: {said}" for name, said in unmet.items())
    return Outcome(name="all events arrived", problem=f"not within {SETTLED_S:g} s: {words}")


def _wait_for_spans(collector: Collector, state: SystemState) -> tuple[set[str], Outcome]:
    """Wait until each process has exported a request that was made last, and with it all before; give its traces."""
    path = f"/verify/{secrets.token_hex(8)}"
    processes = {each.name: each.url for each in state.processes if each.role in {"service", "gateway"} and each.url}
    for url in processes.values():
        with contextlib.suppress(ScenarioError):
            Door(url).ask("GET", path)
    limit = time.monotonic() + EXPORTED_S
    while True:
        marks = {span.service: span.trace for span in collector.spans() if span.text("url.path") == path}
        missing = sorted(set(processes) - set(marks))
        if not missing or time.monotonic() > limit:
            words = f"{', '.join(missing)} exported nothing of it within {EXPORTED_S:g} s" if missing else ""
            return set(marks.values()), Outcome(name="all spans arrived", problem=words)
        time.sleep(POLL_S)


def _on_its_way(port: int) -> str:
    progress = read_progress(port)
    if progress is None:
        return "does not answer"
    waiting = (progress.get("backlog") or {}).get("rows", 0)
    if waiting:
        return f"{waiting} events wait in the outbox"
    behind = {
        source: consumer["lag"] for source, consumer in (progress.get("consumers") or {}).items() if consumer.get("lag")
    }
    return f"events not applied yet: {behind}" if behind else ""
