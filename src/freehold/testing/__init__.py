"""Pytest fixtures: the real servers once a session, and for each test a service with a clean database of its own.

    async def test_a_new_name_reaches_orders(freehold_service):
        async with freehold_service(users) as u, freehold_service(orders) as o:
            await u.client.post("/users", json={...})
            await u.settled()
            assert (await o.client.get("/orders?user_id=...")).json()[...] == ...

The servers are embedded unless `FREEHOLD_POSTGRES_URL`, `FREEHOLD_MONGO_URL` or `FREEHOLD_KAFKA_URL` names the user's own;
only those that a test's services need are started. The services of one test share a namespace, which stands before the
names of databases, topics and groups, and is dropped after the test: event types and everything else stay as they are.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import importlib
import logging
import os
import random
import secrets
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from freehold.errors import StartError, TopicUnavailable
from freehold.service import Service

if TYPE_CHECKING:
    import httpx

    from freehold.runtime.running import Part, RunningService
    from freehold.runtime.server import Server
    from freehold.testing.process import ServiceProcess

SEED_VARIABLE = "FREEHOLD_TEST_SEED"
SETTLED_S = 20.0
_POLL_S = 0.01
_STOP_S = 10.0
_PARKED_SHOWN = 5
_OWN_SERVERS = {
    "postgres": "FREEHOLD_POSTGRES_URL",
    "mongo": "FREEHOLD_MONGO_URL",
    "kafka": "FREEHOLD_KAFKA_URL",
}
_USED_IN_THREADS = (
    "embedded.kafka",
    "embedded.mongo",
    "embedded.postgres",
    "parts",
    "process",
    "provision.drop",
    "provision.kafka",
    "provision.mongo",
    "provision.postgres",
    "running",
)
_logger = logging.getLogger("freehold.testing")


class Servers:
    """PostgreSQL, MongoDB and Kafka, each started when it is first needed, several at once in parallel."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.embedded: dict[str, Any] = {}

    def admin_url(self, kind: str) -> str:
        """Give the administrator's URL of "postgres", "mongo" or "kafka"; start the server first if need be.

        Raises:
            MissingPartError: The server cannot be had on this machine.
            StartError: It did not become ready.
        """
        own = os.environ.get(_OWN_SERVERS[kind])
        if own:
            return own
        self.start({kind})
        return str(self.embedded[kind].admin_url)

    def start(self, kinds: set[str]) -> None:
        """Start those that are not there yet, in parallel."""
        wanted = [
            kind for kind in sorted(kinds) if kind not in self.embedded and not os.environ.get(_OWN_SERVERS[kind])
        ]
        made = {kind: self._make(kind) for kind in wanted}
        with ThreadPoolExecutor(len(_OWN_SERVERS)) as threads:
            starts = {kind: threads.submit(server.start, _quiet) for kind, server in made.items()}
        for kind, start in starts.items():
            start.result()
            self.embedded[kind] = made[kind]

    def stop(self) -> None:
        """Stop what was started."""
        with ThreadPoolExecutor(len(_OWN_SERVERS)) as threads:
            list(threads.map(lambda server: server.stop(_STOP_S), self.embedded.values()))
        self.embedded.clear()

    def _make(self, kind: str) -> Any:
        from freehold.runtime.provision.secrets import Secrets

        kept = Secrets(self.directory / "secrets.json")
        directory = self.directory / kind
        if kind == "postgres":
            from freehold.runtime.embedded.postgres import PostgresServer

            return PostgresServer(directory, secrets=kept)
        if kind == "mongo":
            from freehold.runtime.embedded.mongo import MongoServer

            return MongoServer(directory, secrets=kept)
        from freehold.runtime.embedded.kafka import KafkaServer

        return KafkaServer(directory, secrets=kept)


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
        while True:
            before = await self._unmet()
            # What a consumer applied may itself have published: nothing is unmet only when that holds twice.
            if not before and not await self._unmet():
                return
            if time.monotonic() > until:
                raise AssertionError(f"not settled after {limit_s:g} s: {'; '.join(before) or 'still publishing'}")
            await asyncio.sleep(_POLL_S)

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
            unmet += await _unshipped(tested)
        for tested in list(self.services):
            for source in tested.service.sources():
                if any(other.service.name == source for other in self.services):
                    unmet += await _unapplied(tested, source)
        return unmet


@pytest.fixture(scope="session")
def freehold_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Servers]:
    """Give the session's servers; nothing is started before it is needed."""
    # Imported here, in one thread: pytest rewrites our modules as they are imported, and Python 3.11's parser fails now
    # and then when two threads do that at once.
    for name in _USED_IN_THREADS:
        importlib.import_module(f"freehold.runtime.{name}")
    servers = Servers(tmp_path_factory.mktemp("freehold"))
    yield servers
    servers.stop()


@pytest.fixture
def freehold_scene(freehold_servers: Servers) -> Iterator[Scene]:
    """Give the test's own scene: its services share its namespace, which is dropped after the test."""
    scene = Scene(freehold_servers, f"t{secrets.token_hex(4)}")
    yield scene
    scene.drop()


@pytest.fixture
def freehold_service(freehold_scene: Scene) -> Callable[..., AbstractAsyncContextManager[TestedService]]:
    """Give what runs a service in this test on a clean database; see the top of this file."""
    return freehold_scene.run


@pytest.fixture
def freehold_process(freehold_scene: Scene) -> Callable[..., AbstractAsyncContextManager[ServiceProcess]]:
    """Give what runs a service in a process of its own, which can crash at a commit, stand still and come back.

    `async with freehold_process(service, instance="orders-1") as process:`; see `freehold.testing.process`.
    """
    from freehold.testing.process import run_process

    return partial(run_process, freehold_scene)


@pytest.fixture
def freehold_chance() -> random.Random:
    """Give chance with a seed that is told when the test fails; FREEHOLD_TEST_SEED plays it again."""
    seed = os.environ.get(SEED_VARIABLE) or str(secrets.randbelow(10**9))
    sys.stdout.write(f"chance is seeded: play it again with {SEED_VARIABLE}={seed}\n")
    return random.Random(seed)  # noqa: S311 - the same again is the point


async def _unshipped(tested: TestedService) -> list[str]:
    if not tested.service.publishes:
        return []
    backlog = await tested.service.store.backlog()
    if backlog.rows == 0:
        return []
    progress = tested.running.relay.progress if tested.running.relay else "not started"
    return [f"{backlog.rows} rows wait in the outbox of {tested.service.name} (relay: {progress})"]


async def _unapplied(tested: TestedService, source: str) -> list[str]:
    consumer = tested.running.consumers.get(source)
    try:
        positions, ends = await asyncio.gather(_positions(tested, source), asyncio.to_thread(_ends, tested, source))
    except TopicUnavailable as error:
        # Its owner makes it in the background, and a broker tells of a new topic in its own time.
        return [f"{tested.service.name} cannot read {source}: {error}"]
    behind = {
        partition: f"{positions.get(partition, 0)} of {end}"
        for partition, end in ends.items()
        if positions.get(partition, 0) < end
    }
    if not behind:
        return await _parked(tested, source)
    progress = consumer.progress if consumer else "not started"
    return [f"{tested.service.name} has not applied {source}: {behind} (consumer: {progress})"]


async def _parked(tested: TestedService, source: str) -> list[str]:
    from freehold.runtime.parts import make_lot

    return [
        f"{tested.service.name} has parked {event.type or 'a record'} of {event.key or 'no key'} ({event.state.value}): "
        f"{event.error_type} {event.error}"
        for event in await make_lot(tested.service).scan(source=source, limit=_PARKED_SHOWN)
    ]


async def _positions(tested: TestedService, source: str) -> dict[int, int]:
    from freehold.runtime.parts import make_ledger

    return await make_ledger(tested.service).positions(source)


def _ends(tested: TestedService, source: str) -> dict[int, int]:
    topics = tested.running.topics
    name = tested.running.settings.qualified(source)
    partitions = range(topics.identify(name).partition_count)
    # A partition that nothing was written to has nothing to apply, though its position was never kept.
    return {partition: end for partition, (start, end) in topics.extents(name, partitions).items() if end > start}


def _client(url: str) -> httpx.AsyncClient:
    import httpx

    return httpx.AsyncClient(base_url=url, timeout=30)


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


def _quiet(text: str) -> None:
    _logger.info("%s", text)
