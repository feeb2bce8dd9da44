"""Start the processes of a system, keep each one running, and stop them in order.

Theory of operation. Each step has a thread of its own (`keeper`). The main thread only watches: it takes the signals,
says when all is ready or that it failed, and stops everything. All that any of them knows is on the board, which is
the state file too. Whoever was killed before is dealt with first: what it left running is ended (`leftovers`).
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from freehold.errors import StartError
from freehold.runtime.embedded.ports import LOOPBACK, reserve_port
from freehold.runtime.supervisor.keeper import WATCH_S, Keeper
from freehold.runtime.supervisor.leftovers import kill_children
from freehold.runtime.supervisor.plan import assign_servers, demo_name, part_name, parts_of, plan, stop_order
from freehold.runtime.supervisor.runner import (
    DemoRunner,
    EmbeddedRunner,
    ExternalRunner,
    GatewayRunner,
    PartRunner,
    Runner,
    ServiceRunner,
)
from freehold.runtime.supervisor.state import Board, Place, ProcessState, SystemState, boot_id, started_ticks
from freehold.service import System

# A stop takes less than 5 s in all; each kind of process is killed when its share of that is used up.
STOP_BY_S = {"demo": 0.3, "gateway": 0.8, "service": 2.6, "server": 3.9}
KEEPERS_TIMEOUT_S = 0.4


@dataclass(frozen=True)
class Launch:
    """What to run and how.

    Attributes:
        system: The declaration.
        target: How a child finds the same declaration: an absolute path, or `module:name`.
        place: Where data, logs and state are kept.
        ports: By process name, a port that it must have.
        external: By kind of server, the administrator's URL of one that the user has.
        seeds: Whether demo data is written if it has not been yet.
        is_apart: Whether each service's API, relay and consumers run in processes of their own.
    """

    system: System
    target: str
    place: Place
    ports: Mapping[str, int] = field(default_factory=dict)
    external: Mapping[str, str] = field(default_factory=dict, repr=False)
    seeds: bool = True
    is_apart: bool = False

    def unseeded(self) -> set[str]:
        """Name the services whose demo data is still to be written."""
        return {each.name for each in self.system.services if self.seeds and not self.place.is_seeded(each.name)}


class Supervisor:
    """One system, from the start of its first process to the end of its last.

    Args:
        launch: What to run and how.
        show: Called with the whole state at each change, from any thread, one at a time.
    """

    def __init__(self, launch: Launch, show: Callable[[SystemState], None]) -> None:
        self._launch = launch
        servers = assign_servers(launch.system, launch.place.read_servers(), launch.external)
        self._steps = plan(launch.system, servers=servers, seeds=launch.unseeded(), is_apart=launch.is_apart)
        kinds = {service.name: service.store.kind for service in launch.system.services}
        self._embedded = {name: server for name, server in servers.items() if kinds[name] not in launch.external}
        self._state = SystemState(
            system=launch.system.name,
            target=launch.target,
            pid=os.getpid(),
            started_ticks=started_ticks(os.getpid()),
            boot=boot_id(),
            curl=list(launch.system.curl),
            processes=[ProcessState(name=step.name, role=step.role) for step in self._steps],
        )
        self._board = Board(launch.place, self._state, show)
        self._keepers: list[Keeper] = []
        self._signal_count = 0

    def run(self, announce: Callable[[SystemState], None]) -> None:
        """Start everything, announce it when it is ready, keep it running, and stop it on SIGINT or SIGTERM.

        The caller holds the place.

        Raises:
            StartError: A process failed that the system cannot do without; everything was stopped again.
            ConfigurationError: A port that must be used is taken.
        """
        with self._signals(), contextlib.ExitStack() as stack:
            self._board.conclude("starting")
            try:
                self._launch.place.write_servers(self._launch.place.read_servers() | self._embedded)
                ports = self._reserve_ports(stack)
                stack.callback(self._stop)
                self._start(ports)
                if self._wait_until_ready():
                    announce(self._state)
                    while not self._signal_count:
                        time.sleep(WATCH_S)
            except BaseException as error:
                self._board.conclude("failed", str(error))
                raise

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        # The handler only counts: it may interrupt this very thread while that holds any lock.
        def count(_number: int, _frame: object) -> None:
            self._signal_count += 1

        before = {number: signal.signal(number, count) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _reserve_ports(self, stack: contextlib.ExitStack) -> dict[str, int]:
        """Hold the port of each process of ours for as long as we run, so that a restart finds it free."""
        ports = {}
        for step in self._steps:
            if step.role in {"service", "part", "gateway"}:
                fixed = self._launch.ports.get(step.name)
                port = stack.enter_context(reserve_port([fixed or step.port], fixed=fixed is not None))
                if port != (fixed or step.port):
                    self._board.update(step.name, detail=f"port {step.port} is taken, using {port}")
                ports[step.name] = port
        return ports

    def _start(self, ports: Mapping[str, int]) -> None:
        runners = self._make_runners(ports)
        self._keepers = [Keeper(step, runners[step.name], self._board) for step in self._steps]
        for keeper in self._keepers:
            keeper.start()

    def _make_runners(self, ports: Mapping[str, int]) -> dict[str, Runner]:
        launch = self._launch
        servers: dict[str, EmbeddedRunner | ExternalRunner] = {
            step.name: ExternalRunner(step.kind, launch.external[step.kind])
            if step.kind in launch.external
            else EmbeddedRunner(step.name, step.kind, launch.place, launch.ports.get(step.name))
            for step in self._steps
            if step.role == "server"
        }
        runners: dict[str, Runner] = dict(servers)
        urls = {each.name: f"http://{LOOPBACK}:{ports[each.name]}" for each in launch.system.services}
        for service in launch.system.services:
            name = service.name
            runners[name] = ServiceRunner(
                service,
                launch.place,
                launch.target,
                ports[name],
                servers,
                {source: urls[source] for source in service.sources()},
                only="api" if launch.is_apart else None,
            )
            for part in parts_of(service) if launch.is_apart else ():
                own = part_name(name, part)
                runners[own] = PartRunner(own, name, part, launch.place, launch.target, ports[own])
            runners[demo_name(name)] = DemoRunner(demo_name(name), name, launch.place, launch.target)
        if launch.system.gateway is not None:
            name = launch.system.gateway.name
            runners[name] = GatewayRunner(name, launch.place, launch.target, ports[name], urls)
        return runners

    def _wait_until_ready(self) -> bool:
        """Wait until all is ready; False when it was asked to stop before that.

        Raises:
            StartError: A process failed that the system cannot do without.
        """
        wanted = {step.name for step in self._steps if step.role != "demo"}
        demos = {step.name for step in self._steps if step.role == "demo"}
        while not self._signal_count:
            failed = sorted(self._board.names("failed"))
            for name in failed:
                if name in wanted:
                    raise StartError(f"{name}: {self._board.find(name).detail}")
            if wanted <= self._board.names("ready") and demos <= self._board.names("done", "failed"):
                # Demo data is no part of what was promised: the system stands without it, and says so.
                self._board.conclude("ready", "; ".join(self._board.find(name).detail for name in failed))
                return True
            time.sleep(WATCH_S)
        return False

    def _stop(self) -> None:
        """Stop everything in order, in less than 5 s; a second signal kills what is left at once."""
        begun_at, signals_before = time.monotonic(), max(1, self._signal_count)
        for keeper in self._keepers:
            keeper.release()
        ended = "failed" if self._state.state == "failed" else "stopped"
        self._board.conclude("stopping", self._state.reason)
        by_name = {keeper.step.name: keeper for keeper in self._keepers}
        for group in stop_order(self._steps):
            limit = begun_at + STOP_BY_S[group[0].role]
            stoppers = [
                threading.Thread(
                    target=by_name[step.name].stop, args=(max(0.2, limit - time.monotonic()),), daemon=True
                )
                for step in group
            ]
            for stopper in stoppers:
                stopper.start()
            while any(stopper.is_alive() for stopper in stoppers):
                if self._signal_count > signals_before:
                    kill_children()
                time.sleep(WATCH_S / 5)
        self._end_keepers()
        self._board.conclude(ended, self._state.reason)

    def _end_keepers(self) -> None:
        """Let the keepers end; what one of them started at this very moment is killed."""
        limit = time.monotonic() + KEEPERS_TIMEOUT_S
        while any(keeper.is_alive() for keeper in self._keepers) and time.monotonic() < limit:
            kill_children()
            time.sleep(WATCH_S)
        kill_children()
