"""The relay on real stores and a real Kafka: nothing lost, in order, and visible whatever fails."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import secrets
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from freehold.errors import StoreUnavailable
from freehold.event import OutboxRow
from freehold.outbox import CHUNK_ROWS, OutboxSource
from freehold.outbox.relay import IN_FLIGHT_ROWS_MAX, Relay, RelayState
from freehold.runtime.embedded.kafka import KafkaServer
from freehold.runtime.parts import make_source
from freehold.runtime.provision.secrets import Secrets
from freehold.service import Topic
from freehold.testing import TestedService
from freehold.topic import Record
from freehold.topic.address import KafkaAddress
from freehold.topic.admin import Topics
from freehold.topic.mark import ENTITY, Marks
from freehold.topic.tail import LAST_MAX, tail
from freehold.topic.writer import Writer
from tests.seams.pair import PRODUCTS, owner, update, update_many
from tests.seams.thorough import ON_MONGO, ON_POSTGRES
from tests.seams.waiting import LIMIT_S, until

pytestmark = [pytest.mark.services]

Run = Callable[..., Any]
# A mark a second after the last event, the cleaner's turn every five, and some for a busy machine.
COMPACTED_S = 60.0


@pytest.fixture(scope="module")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """Give a Kafka of this file's own, since it is stopped and killed."""
    directory = tmp_path_factory.mktemp("kafka")
    server = KafkaServer(directory / "kafka", secrets=Secrets(directory / "secrets.json"))
    server.start(lambda _: None)
    yield server
    server.stop(10)


class Shop:
    """An owner whose relay the test starts and stops, on a topic of the file's own Kafka."""

    def __init__(self, tested: TestedService, kafka: KafkaServer) -> None:
        self.store = tested.service.store
        self.address = KafkaAddress.parse(kafka.admin_url)
        self.topic = f"t{secrets.token_hex(4)}"
        self._tested = tested
        self._started: list[Relay] = []

    def make_topic(self) -> None:
        Topics(self.address).ensure(self.topic, Topic(partitions=2))

    def make_marks(self, compacted_after_ms: int) -> Marks:
        """Make its topic anew as one that is compacted at once, and the marks that let it be."""
        self.topic = f"{self.topic}c"
        topics = Topics(self.address)
        topics.ensure(self.topic, Topic(partitions=2, full_history_ms=0, compacted_after_ms=compacted_after_ms))
        return Marks(topics, self.topic, "users", compacted_after_ms)

    def source(self) -> OutboxSource:
        return make_source(self._tested.service, self._tested.running.settings)

    def start_relay(self, source: OutboxSource | None = None, marks: Marks | None = None) -> Relay:
        relay = Relay(source or self.source(), Writer(self.address, self.topic), marks)
        relay.start()
        self._started.append(relay)
        return relay

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a named condition."""
        await until(condition, what, lambda: [relay.progress for relay in self._started])

    async def until_empty(self) -> None:
        async with asyncio.timeout(LIMIT_S):
            while True:
                if not (await self.store.backlog()).rows:
                    return
                await asyncio.sleep(0.01)

    async def records(self) -> list[Record]:
        return await asyncio.to_thread(lambda: list(tail(self.address, self.topic, last=LAST_MAX, follow=False)))

    async def compacted(self, key: bytes) -> list[Record]:
        """Wait until nothing but the newest record of a key is left, and give it."""
        async with asyncio.timeout(COMPACTED_S):
            while True:
                found = [record for record in await self.records() if record.key == key]
                if len(found) == 1:
                    return found
                await asyncio.sleep(0.2)

    async def stop(self) -> None:
        for relay in self._started:
            await asyncio.to_thread(relay.stop, 10)


@contextlib.asynccontextmanager
async def open_shop(run: Run, product: str, kafka: KafkaServer, *, has_topic: bool = True) -> Any:
    async with run(owner(product), only="api") as tested:
        shop = Shop(tested, kafka)
        if has_topic:
            await asyncio.to_thread(shop.make_topic)
        try:
            yield shop
        finally:
            await shop.stop()


def versions(records: list[Record]) -> dict[str, list[int]]:
    """Give the versions of each key, in the order of its partition, repeats left out as they are defined."""
    seen: dict[bytes, Record] = {}
    found: dict[str, list[int]] = collections.defaultdict(list)
    for record in sorted(records, key=lambda record: (record.partition, record.offset)):
        headers = {name: value or b"" for name, value in record.headers}
        first = seen.setdefault(headers["ce_id"], record)
        # A repeat is an exact copy.
        assert (first.key, first.value, first.headers) == (record.key, record.value, record.headers)
        if first is record:
            found[(record.key or b"").decode()].append(int(headers["ce_version"]))
    return dict(found)


@pytest.mark.parametrize("product", PRODUCTS)
async def test_all_that_committed_is_shipped_in_order_and_deleted(
    freehold_service: Run, kafka: KafkaServer, product: str
) -> None:
    async with open_shop(freehold_service, product, kafka) as shop:
        for version in (1, 2):
            await shop.store.transact(update_many, ["a", "b"], version)
        relay = shop.start_relay()
        await shop.until(lambda: relay.progress.state is RelayState.FOLLOWING, "following")
        for version in (3, 4):
            await shop.store.transact(update_many, ["a", "b"], version)
        await shop.until_empty()

        assert versions(await shop.records()) == {"user/a": [1, 2, 3, 4], "user/b": [1, 2, 3, 4]}
        await shop.until(lambda: relay.progress.shipped_total == 8, "eight are counted")
        assert relay.progress.in_flight == 0


class FailingOnce:
    """A real source whose first acknowledgement fails, as when the relay is killed between sending and deleting."""

    def __init__(self, source: OutboxSource) -> None:
        self._source = source
        self.failure_count = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._source, name)

    def acknowledge(self, rows: list[OutboxRow], position: Any) -> None:
        if rows and not self.failure_count:
            self.failure_count += 1
            raise StoreUnavailable("cut off between sending and deleting")
        self._source.acknowledge(rows, position)


@pytest.mark.parametrize("product", PRODUCTS)
async def test_what_was_sent_and_not_deleted_is_repeated_exactly(
    freehold_service: Run, kafka: KafkaServer, product: str
) -> None:
    async with open_shop(freehold_service, product, kafka) as shop:
        await shop.store.transact(update_many, ["a", "b"], 1)
        await shop.store.transact(update_many, ["a", "b"], 2)
        source = FailingOnce(shop.source())
        relay = shop.start_relay(source)
        await shop.until_empty()
        records = await shop.records()

        assert source.failure_count == 1
        assert len(records) == 8
        assert versions(records) == {"user/a": [1, 2], "user/b": [1, 2]}
        await shop.until(lambda: relay.progress.state is RelayState.FOLLOWING, "following again")


@pytest.mark.parametrize("product", ON_MONGO)
async def test_absent_topic_is_waited_for_and_said(freehold_service: Run, kafka: KafkaServer, product: str) -> None:
    async with open_shop(freehold_service, product, kafka, has_topic=False) as shop:
        await shop.store.transact(update, "a", 1)
        relay = shop.start_relay()
        await shop.until(lambda: relay.progress.state is RelayState.RETRYING, "retrying")

        assert shop.topic in relay.progress.last_error
        assert relay.progress.retry_at is not None
        await asyncio.to_thread(shop.make_topic)
        await shop.until_empty()
        assert versions(await shop.records()) == {"user/a": [1]}


@pytest.mark.parametrize("product", ON_POSTGRES)
async def test_silent_kafka_holds_nothing_up_but_the_relay(
    freehold_service: Run, kafka: KafkaServer, product: str
) -> None:
    """Kafka is frozen while more is written than the relay may hold: the API goes on, the relay's memory does not grow."""
    users = [f"u{number}" for number in range(1_000)]
    async with open_shop(freehold_service, product, kafka) as shop:
        relay = shop.start_relay()
        await shop.store.transact(update, "first", 1)
        await shop.until(lambda: relay.progress.shipped_total == 1, "the first is shipped")
        frozen(kafka)
        try:
            for version in range(1, 14):
                await shop.store.transact(update_many, users, version)
                assert relay.progress.in_flight <= IN_FLIGHT_ROWS_MAX + CHUNK_ROWS
            await shop.until(lambda: relay.progress.state is RelayState.WAITING_FOR_TOPIC, "waiting for the topic")
            assert relay.progress.last_error
            assert relay.progress.in_flight <= IN_FLIGHT_ROWS_MAX + CHUNK_ROWS
        finally:
            thawed(kafka)
        await shop.until_empty()

        # Counted after the rows are deleted, so the empty outbox may be seen a moment earlier.
        await shop.until(lambda: relay.progress.shipped_total == 13_001, "each row is counted as shipped once")
        sampled = versions(await shop.records())
    assert all(each == sorted(each) for each in sampled.values())
    assert len(sampled) >= 1_000


def frozen(kafka: KafkaServer) -> None:
    assert kafka.pid is not None
    os.kill(kafka.pid, signal.SIGSTOP)


def thawed(kafka: KafkaServer) -> None:
    assert kafka.pid is not None
    os.kill(kafka.pid, signal.SIGCONT)


@pytest.mark.parametrize("product", ON_POSTGRES)
async def test_killed_kafka_loses_nothing_and_breaks_no_order(
    freehold_service: Run, kafka: KafkaServer, product: str
) -> None:
    async with open_shop(freehold_service, product, kafka) as shop:
        relay = shop.start_relay()
        await shop.store.transact(update_many, ["a", "b"], 1)
        await shop.until(lambda: relay.progress.shipped_total == 2, "the first are shipped")
        assert kafka.pid is not None
        os.kill(kafka.pid, signal.SIGKILL)
        for version in range(2, 20):
            await shop.store.transact(update_many, ["a", "b"], version)
        await asyncio.to_thread(kafka.stop, 5)
        await asyncio.to_thread(kafka.start, lambda _: None)
        await shop.until_empty()

        expected = list(range(1, 20))
        assert versions(await shop.records()) == {"user/a": expected, "user/b": expected}


@pytest.mark.parametrize("product", PRODUCTS)
async def test_second_relay_waits_and_takes_over(freehold_service: Run, kafka: KafkaServer, product: str) -> None:
    async with open_shop(freehold_service, product, kafka) as shop:
        first = shop.start_relay()
        await shop.until(lambda: first.progress.state is RelayState.FOLLOWING, "the first follows")
        second = shop.start_relay()
        await shop.until(lambda: second.progress.state is RelayState.WAITING_FOR_LEASE, "the second waits")
        await shop.store.transact(update, "a", 1)
        await shop.until_empty()

        assert (second.progress.shipped_total, first.progress.state) == (0, RelayState.FOLLOWING)
        assert await asyncio.to_thread(first.stop, 5)
        await shop.store.transact(update, "a", 2)
        await shop.until_empty()
        assert versions(await shop.records()) == {"user/a": [1, 2]}


@pytest.mark.parametrize("product", ON_MONGO)
async def test_stop_while_kafka_is_silent_keeps_its_bound(
    freehold_service: Run, kafka: KafkaServer, product: str, tmp_path: Path
) -> None:
    async with open_shop(freehold_service, product, kafka) as shop:
        relay = shop.start_relay()
        await shop.until(lambda: relay.progress.state is RelayState.FOLLOWING, "following")
        frozen(kafka)
        try:
            await shop.store.transact(update, "a", 1)
            await shop.until(lambda: relay.progress.in_flight == 1, "in flight")
            async with asyncio.timeout(3):
                assert await asyncio.to_thread(relay.stop, 2.0)
        finally:
            thawed(kafka)

        assert (await shop.store.backlog()).rows == 1
        shop.start_relay()
        await shop.until_empty()
        assert versions(await shop.records()) == {"user/a": [1]}


@pytest.mark.parametrize("product", ON_POSTGRES)
async def test_quiet_topic_is_compacted_since_each_partition_gets_a_mark(
    freehold_service: Run, kafka: KafkaServer, product: str
) -> None:
    """Kafka closes a segment only when something is appended: without marks the older states would stay for ever."""
    async with open_shop(freehold_service, product, kafka, has_topic=False) as shop:
        marks = await asyncio.to_thread(shop.make_marks, 1_000)
        shop.start_relay(marks=marks)
        for version in range(1, 4):
            await shop.store.transact(update, "u1", version)
        await shop.until_empty()

        found = await shop.compacted(b"user/u1")

        assert [dict(record.headers)["ce_version"] for record in found] == [b"3"]
        keys = {record.key for record in await shop.records()} - {b"user/u1"}
        assert len(keys) == 1, "a partition that has nothing to compact gets no mark"
        assert all(key is not None and key.startswith(ENTITY.encode()) for key in keys)
