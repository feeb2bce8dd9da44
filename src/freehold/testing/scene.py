"""The services of one test: provisioned, run and waited for under a namespace of their own."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import secrets
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import TYPE_CHECKING, Any

from freehold.errors import StartError
from freehold.service import Service
from freehold.testing.servers import Servers
from freehold.testing.settled import unapplied, unshipped

if TYPE_CHECKING:
    import httpx

    from freehold.runtime.running import Part, RunningService
    from freehold.runtime.server import Server

# Longer than a consumer waits for its group to let it in, before it leaves and joins again (JOIN_LIMIT_S in topic/reader.py).
SETTLED_S = 45.0
_POLL_S = 0.01
_POLL_S_MAX = 0.1  # whoever waits long, for a group to be joined, should not keep the servers from it by asking


class Scene:
    """The services of one test, under one namespace."""

    def __init__(self, servers: Servers, namespace: str) -> None:
        self.servers = servers
        self.namespace = namespace
        self.services: list[TestedService] = []
        self.urls: dict[str, str] = {}
        self.internal_key = secrets.token_urlsafe()
        self.token_secret = secrets.token_urlsafe()
        self._urls: dict[str, tuple[str, str]] = {}
        self._provisioned: list[Callable[[], None]] = []

    @contextlib.asynccontextmanager
    async def run(self, service: Service, *, only: Part | None = None, **changes: Any) -> AsyncIterator[TestedService]:
        """Run a service: provisioned on first use in the test, migrated, opened, answering HTTP, relay and consumers on.

        Args:
            service: The declaration.
            only: Run this part alone.
            changes: Other settings, by their names in `freehold.runtime.settings.Settings`.
        """
        from freehold.http.peer import peer_url
        from freehold.runtime.process import listen
        from freehold.runtime.running import RunningService
        from freehold.runtime.server import Server
        from freehold.runtime.settings import Settings

        store_url, kafka_url = await asyncio.to_thread(self.provision, service)
        listener = listen(Settings(port=changes.get("port", 0)))
        url = "http://{}:{}".format(*listener.getsockname()[:2])
        self.urls[service.name] = url
        own: dict[str, Any] = {
            "store_url": store_url,
            "kafka_url": kafka_url,
            "namespace": self.namespace,
            "port": 0,
            "internal_key": self.internal_key,
            "token_secret": self.token_secret,
            # Whoever of them is run first is found by those that read from it.
            "upstreams": {name: peer_url(each, service.name, self.internal_key) for name, each in self.urls.items()},
        }
        settings = Settings(**(own | changes))
        running = RunningService(service, settings, only=only)
        server = Server(running.app)
        async with _client(url) as client, _serving(server, server.serve(sockets=[listener])):
            tested = TestedService(service, running, url, client, self)
            try:
                await running.open()
                running.start_events()
                self.services.append(tested)
                yield tested
            finally:
                if tested in self.services:
                    self.services.remove(tested)
                await running.stop()

    def provision(self, service: Service) -> tuple[str, str]:
        """Give the service its database and its rights on Kafka; once a test.

        Returns:
            The URLs of store and Kafka, with the service's own credentials; the latter empty if it needs no Kafka.
        """
        if service.name not in self._urls:
            needs_kafka = bool(service.publishes or service.sources())
            self.servers.start({service.store.kind} | ({"kafka"} if needs_kafka else set()))
            store_url = self._provision_store(service)
            self._urls[service.name] = (store_url, self._provision_kafka(service) if needs_kafka else "")
        return self._urls[service.name]

    async def settled(self, limit_s: float) -> None:
        """See `TestedService.settled`."""
        until = time.monotonic() + limit_s
        pause_s = _POLL_S
        while True:
            before = await self._unmet()
            # What a consumer applied may itself have published: nothing is unmet only when that holds twice.
            if not before and not await self._unmet():
                return
            if time.monotonic() > until:
                raise AssertionError(f"not settled after {limit_s:g} s: {'; '.join(before) or 'still publishing'}")
            await asyncio.sleep(pause_s)
            pause_s = min(1.5 * pause_s, _POLL_S_MAX)

    def drop(self) -> None:
        """Drop what was provisioned."""
        for drop in self._provisioned:
            drop()

    def _qualified(self, name: str) -> str:
        return f"{self.namespace}_{name}"

    def _provision_store(self, service: Service) -> str:
        from freehold.runtime.provision import drop
        from freehold.runtime.provision.mongo import provision_mongo
        from freehold.runtime.provision.postgres import provision_postgres

        admin_url, name = self.servers.admin_url(service.store.kind), self._qualified(service.name)
        if service.store.kind == "postgres":
            self._provisioned.append(lambda: drop.drop_postgres(admin_url, name))
            return provision_postgres(admin_url, name, secrets.token_urlsafe())
        self._provisioned.append(lambda: drop.drop_mongo(admin_url, name))
        return provision_mongo(admin_url, name, secrets.token_urlsafe())

    def _provision_kafka(self, service: Service) -> str:
        from freehold.runtime.provision import drop
        from freehold.runtime.provision.kafka import provision_kafka

        admin_url, name = self.servers.admin_url("kafka"), self._qualified(service.name)
        self._provisioned.append(lambda: drop.drop_kafka(admin_url, name))
        reads = [self._qualified(source) for source in service.sources()]
        return provision_kafka(admin_url, name, secrets.token_urlsafe(), reads=reads)

    async def _unmet(self) -> list[str]:
        unmet: list[str] = []
        for tested in list(self.services):
            unmet += await unshipped(tested)
        if unmet:
            return unmet  # what is not on the topic yet has not been applied either: Kafka need not be asked
        for tested in list(self.services):
            for source in tested.service.sources():
                if any(other.service.name == source for other in self.services):
                    unmet += await unapplied(tested, source)
        return unmet


@dataclasses.dataclass
class TestedService:
    """A service that runs in this test, answering real HTTP on a port of its own."""

    __test__ = False

    service: Service
    running: RunningService
    url: str
    client: httpx.AsyncClient
    scene: Scene

    async def settled(self, limit_s: float = SETTLED_S) -> None:
        """Wait until all that the test's services published has reached everybody in the test who reads it.

        An event that is parked has not.

        Raises:
            AssertionError: It did not within `limit_s`; says who waits for what, and why what is parked failed.
        """
        await self.scene.settled(limit_s)


def _client(url: str) -> httpx.AsyncClient:
    import httpx

    # It is asked by HTTP on loopback alone: to load the certificates of the web would take 40 ms for each service.
    return httpx.AsyncClient(base_url=url, timeout=30, verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


@contextlib.asynccontextmanager
async def _serving(server: Server, work: Awaitable[None]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)
    try:
        until = time.monotonic() + SETTLED_S
        while not server.started:
            if task.done() or time.monotonic() > until:
                raise StartError("the test's HTTP server did not start")
            await asyncio.sleep(_POLL_S)
        yield
    finally:
        server.should_exit = True
        await task
