"""One service or the gateway as one process: answer HTTP, ship and apply events, and stop in order.

The process that is started is the one that answers: uvicorn runs inside it, without workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

import uvloop

from freehold.cancel import end_tasks
from freehold.errors import ConfigurationError
from freehold.http.edge import Edge
from freehold.runtime.export import export_metrics, metrics_interval_s
from freehold.runtime.health import Health
from freehold.runtime.log import set_up_logs
from freehold.runtime.metrics import Metrics
from freehold.runtime.observe import set_up_traces
from freehold.runtime.outbound import ObservedLoop, observe_connections
from freehold.runtime.running import Part, RunningService
from freehold.runtime.server import Server
from freehold.runtime.settings import Settings
from freehold.runtime.threads import DaemonThreads
from freehold.service import Service
from freehold.telemetry import is_traced

# Stopping takes this, the server's DRAIN_S, the events' EVENTS_STOP_S and the store's CLOSE_S: together below 4 s.
# Time for a probe to see that we are not ready any more, before the door closes.
UNREADY_S = 0.1
BACKLOG_CONNECTIONS = 1_024
_logger = logging.getLogger("freehold.runtime")


def run_service(service: Service, settings: Settings, only: Part | None = None) -> None:
    """Run the service in this process until SIGTERM or SIGINT.

    Args:
        service: The declaration.
        settings: See `read_settings`.
        only: "api", "relay" or "consumers" to run that part alone; health is answered all the same.

    Raises:
        ConfigurationError: The port is in use, or a setting is missing.
        OperatorError, StoreUnavailable: It could not be started.
    """
    _run(service.name, settings, lambda: RunningService(service, settings, only=only))


def run_gateway(gateway: Any, settings: Settings) -> None:
    """Run the gateway in this process until SIGTERM or SIGINT; its upstreams are in the settings.

    Raises:
        ConfigurationError: The port is in use, or an upstream is not set.
    """
    from freehold.runtime.running_gateway import RunningGateway

    _run(gateway.name, settings, lambda: RunningGateway(gateway, settings))


class Running(Protocol):
    """What a process runs: a service or the gateway."""

    health: Health
    metrics: Metrics
    app: Edge

    async def open(self) -> None:
        """Become ready."""

    def start_events(self) -> None:
        """Start what goes on in the background."""

    async def stop(self) -> None:
        """Let go of everything, within a bound."""


def _run(name: str, settings: Settings, make: Callable[[], Running]) -> None:
    set_up_logs(service=name, level=settings.log_level)
    flush = set_up_traces(name)
    interval_s = metrics_interval_s()
    for unknown in settings.unknown:
        _logger.warning("%s is no setting of Freehold; it is not read", unknown)
    if is_traced():
        observe_connections(name, settings.store_url)
    try:
        uvloop.run(
            _run_until_told(make, settings, interval_s),
            loop_factory=ObservedLoop if is_traced() else uvloop.new_event_loop,
        )
    finally:
        flush()


async def _run_until_told(make: Callable[[], Running], settings: Settings, interval_s: float | None) -> None:
    asyncio.get_running_loop().set_default_executor(DaemonThreads())
    running = make()
    listener = listen(settings)
    stopping = _catch_signals()
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(running.stop)
        # Probes are answered while the store is still waited for.
        server = Server(running.app)
        serving = asyncio.create_task(server.serve(sockets=[listener]), name="http")
        stack.push_async_callback(_close_server, server, serving)
        if not await _unless(stopping, running.open()):
            return
        running.start_events()
        if interval_s is not None:
            exporting = asyncio.create_task(export_metrics(running.health.service, running.metrics, interval_s))
            stack.callback(exporting.cancel)
        _logger.info("ready on http://%s:%s", *listener.getsockname()[:2])
        await _first(stopping, serving)
        running.health.phase = "stopping"
        await asyncio.sleep(UNREADY_S)


async def _close_server(server: Server, serving: asyncio.Task[None]) -> None:
    server.should_exit = True
    await serving


def listen(settings: Settings) -> socket.socket:
    """Bind the address that the settings name.

    Raises:
        ConfigurationError: It is in use, or is no address of this machine.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    # Connections of a predecessor that linger in TIME_WAIT do not hold the port; a live listener does.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG_CONNECTIONS)
    except OSError as error:
        listener.close()
        raise ConfigurationError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}; "
            f"set FREEHOLD_PORT to a free port, or to 0 for any"
        ) from error
    listener.setblocking(False)
    return listener


def _catch_signals() -> asyncio.Event:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopping.set)
    loop.add_signal_handler(signal.SIGINT, _interrupt, stopping)
    return stopping


def _interrupt(stopping: asyncio.Event) -> None:
    if stopping.is_set():
        # Whoever presses Ctrl-C twice does not want to wait; what was in hand is done again after the next start.
        os._exit(128 + signal.SIGINT)
    stopping.set()


async def _unless(stopping: asyncio.Event, work: Coroutine[Any, Any, Any]) -> bool:
    task = asyncio.create_task(work)
    await _first(stopping, task)
    if task.done():
        task.result()
        return True
    await end_tasks([task])
    return False


async def _first(stopping: asyncio.Event, task: asyncio.Task[Any]) -> None:
    told = asyncio.create_task(stopping.wait())
    await asyncio.wait({told, task}, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
