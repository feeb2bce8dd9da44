"""A running service: its open store, its relay and consumers, and its application with the edge around it.

What needs Kafka waits for Kafka in the background and goes on when it is there; the API does not wait with it. Both the
process (`process.py`) and the tests (`freehold.testing`) run a service through this class, so what they run is the same.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from freehold.cancel import end_tasks
from freehold.consumer.parking.among import parked_among
from freehold.errors import FreeholdError, PeerError, StoreUnavailable
from freehold.http.edge import Edge, Limits
from freehold.http.internal import InternalRoutes
from freehold.http.read_your_writes import ReadYourWrites
from freehold.replica.arrival import Arrivals
from freehold.runtime.converging import add_routes, keep_auditing
from freehold.runtime.dead_letters import add_dead_letter_routes
from freehold.runtime.health import Health
from freehold.runtime.lifespan import Lifespan
from freehold.runtime.metrics import Metrics
from freehold.runtime.parts import check_store, make_copies, make_ledger, make_lot, make_source
from freehold.runtime.rebuilding import prepare_own_copies
from freehold.runtime.settings import Settings, default_instance
from freehold.service import Service

if TYPE_CHECKING:
    from freehold.topic.admin import Topics

T = TypeVar("T")
Part = Literal["api", "relay", "consumers"]

# A store that is started beside the service answers within seconds; recovery after a crash may take a while.
STORE_WAIT_S = 60.0
PAUSE_S_MIN = 0.1
PAUSE_S_MAX = 5.0
# Consumers and relay finish what is in hand; what they do not finish is done again, without effect.
EVENTS_STOP_S = 1.5
CLOSE_S = 0.5
_logger = logging.getLogger("freehold.runtime")


class RunningService:
    """Run one service in this process.

    Args:
        service: The declaration.
        settings: Where its store and Kafka are, and its name among its instances.
        only: Run this part alone; all of them when None.
    """

    def __init__(self, service: Service, settings: Settings, *, only: Part | None = None) -> None:
        check_store(service, settings)
        self.service = service
        self.settings = settings
        self.health = Health(service.name, settings.instance or default_instance(service.name))
        self.metrics = Metrics(service.name, self.health)
        self.relay: Any = None
        self.consumers: dict[str, Any] = {}
        self._only = only
        self._topics: Topics | None = None
        self._tasks: list[asyncio.Task[None]] = []
        app = service.app if only in {None, "api"} else _no_api
        self._lifespan = Lifespan(app)
        self.internal = InternalRoutes(service.name, settings.internal_key)
        add_routes(self)
        add_dead_letter_routes(self)
        # Even without consumers in this process: whoever asks it waits for what another one writes.
        self._arrivals = Arrivals([(each, make_copies(service, each)) for each in service.replicates], self._parked)
        self.app = Edge(
            app,
            service=service.name,
            health=self.health.routes() | self.metrics.routes(),
            limits=Limits(body_bytes=settings.body_bytes_max, answer_s=settings.answer_s_max),
            observe=self.metrics.observe,
            cursor_key=settings.cursor_key(),
            is_ready=lambda: self.health.phase != "starting",
            state=self._lifespan.state,
            explain=service.store.explain,
            internal=self.internal,
            memory=self._memory(),
        )

    @property
    def topics(self) -> Topics:
        """The topics as this service may see them; connects on first use."""
        if self._topics is None:
            from freehold.topic.admin import Topics

            self._topics = Topics(self.settings.kafka())
        return self._topics

    async def open(self) -> None:
        """Open the store, bring its schema up to date and start the application; wait while the store does not answer.

        Raises:
            StartError: The application did not start.
            StoreUnavailable: It did not answer within STORE_WAIT_S.
            MigrationError: Its schema could not be brought up to date.
        """
        store, name = self.service.store, self.service.name
        self.health.waits_for = "the store"
        await _until_answered(
            lambda: store.open(self.settings.store_url, service=name, publishes=tuple(self.service.publishes))
        )
        self.health.waits_for = "migrations"
        ran = await _until_answered(store.migrate)
        if ran:
            _logger.info("migrated: %s", ", ".join(ran))
        self.health.notes = await _until_answered(lambda: prepare_own_copies(self.service))
        for note in self.health.notes.values():
            _logger.warning("%s", note)
        self.health.store = store
        self.metrics.store = store
        self.health.waits_for = "the application"
        await self._lifespan.start()
        self.health.phase = "ready"

    def start_events(self) -> None:
        """Start relay and consumers in the background, as far as this process runs them."""
        needs_topic = bool(self.service.publishes)
        if needs_topic and self._only in {None, "relay"}:
            self.health.relay = lambda: {"state": "starting"}
            self._tasks.append(asyncio.create_task(self._start_relay(), name="relay"))
        if self._only in {None, "consumers"}:
            for source in self.service.sources():
                self.health.consumers[source] = lambda: {"state": "starting"}
                self._tasks.append(asyncio.create_task(self._start_consumer(source), name=f"consumer of {source}"))
            self._tasks.append(asyncio.create_task(keep_auditing(self), name="audits"))

    async def stop(self) -> None:
        """Stop consumers and relay, then close the store; each within its bound, and whatever fails on the way."""
        self.health.phase = "stopping"
        await end_tasks(self._tasks)
        bound_s = EVENTS_STOP_S + CLOSE_S
        stops = [_bounded("consumer", consumer.stop(EVENTS_STOP_S), bound_s) for consumer in self.consumers.values()]
        if self.relay is not None:
            stops.append(_bounded("relay", asyncio.to_thread(self.relay.stop, EVENTS_STOP_S), bound_s))
        stops.append(self._lifespan.stop())
        await asyncio.gather(*stops)
        await _bounded("store", self.service.store.close(), CLOSE_S)

    async def _parked(self, source: str, keys: Collection[str]) -> Collection[str]:
        return await parked_among(make_lot(self.service), source, keys)

    def _memory(self) -> ReadYourWrites | None:
        key, settings = self.settings.token_key(), self.settings
        if key is None:
            return None
        return ReadYourWrites(key, self.service.name, arrive=self._arrivals.wait, wait_s=settings.copies_wait_s)

    async def _start_relay(self) -> None:
        await asyncio.to_thread(_import_events)
        from freehold.outbox.relay import Relay
        from freehold.outbox.tallied import TalliedSource
        from freehold.topic.mark import Marks
        from freehold.topic.tally import TopicTally
        from freehold.topic.writer import Writer

        address = self.settings.kafka()
        name = self.settings.qualified(self.service.name)
        differences = await self._until_done("topic", lambda: self.topics.ensure(name, self.service.topic))
        for difference in differences:
            _logger.warning("%s; it is left as it is", difference)
        source = TalliedSource(make_source(self.service, self.settings), TopicTally(address, name), self.service.name)
        marks = Marks(self.topics, name, self.service.name, self.service.topic.compacted_after_ms)
        relay = Relay(source, Writer(address, name), marks)
        relay.start()
        self.relay = relay
        self.health.relay = lambda: relay.progress

    async def _start_consumer(self, source: str) -> None:
        await asyncio.to_thread(_import_events)
        from freehold.consumer.loop import Consumer
        from freehold.topic.dead import DeadLetters
        from freehold.topic.reader import Reader

        address, own = self.settings.kafka(), self.settings.qualified(self.service.name)
        # A group for each subscription: one that stops or rejoins must not disturb the service's others.
        reader = Reader(address, self.settings.qualified(source), f"{own}.{source}", self.settings.instance or None)
        consumer = Consumer(
            self.service,
            source,
            reader=reader,
            topics=self.topics,
            store=self.service.store,
            ledger=make_ledger(self.service),
            lot=make_lot(self.service),
            dead_letters=DeadLetters(address, own, self.topics, self.service.topic.replication_factor),
            copies=[
                self._arrivals.watched(number)
                for number, each in enumerate(self.service.replicates)
                if each.of == source
            ],
        )
        self.consumers[source] = consumer
        self.health.consumers[source] = lambda: consumer.progress
        consumer.start()

    async def _until_done(self, what: str, do: Callable[[], T]) -> T:
        pause_s = PAUSE_S_MIN
        reason = ""
        while True:
            try:
                return await asyncio.to_thread(do)
            except FreeholdError as error:
                if str(error) != reason:
                    _logger.warning("%s: %s; tried again", what, error)
                reason = str(error)
                self.health.relay = lambda reason=reason: {"state": "waiting", "error": reason}
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, PAUSE_S_MAX)


def _import_events() -> None:
    """Import Kafka's client and what uses it, in a thread: requests are answered meanwhile."""
    import freehold.consumer.loop
    import freehold.outbox.relay  # noqa: F401


async def _until_answered(do: Callable[[], Awaitable[T]]) -> T:
    until = time.monotonic() + STORE_WAIT_S
    pause_s = PAUSE_S_MIN
    while True:
        try:
            return await do()
        except StoreUnavailable as error:
            if time.monotonic() > until:
                raise
            _logger.warning("the store does not answer yet: %s", error)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, 1.0)


async def _bounded(what: str, stopping: Awaitable[Any], bound_s: float) -> None:
    try:
        async with asyncio.timeout(bound_s):
            await stopping
    except TimeoutError:
        _logger.warning("%s did not stop in time; what it had in hand is done again after the next start", what)
    except PeerError as error:
        _logger.warning("%s: %s", what, error)


async def _no_api(scope: Any, _receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    from freehold.http.problem import Problem

    raise Problem(404, "this process runs without the API")
