"""The consumer on real Kafka and both stores: exactly once in effect, whatever is repeated, stopped or refused."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from freehold.consumer.progress import ConsumerState, PartitionState
from freehold.runtime.embedded.kafka import KafkaServer
from freehold.runtime.provision.secrets import Secrets
from freehold.service import Parking, Replica, Service
from freehold.testing import Scene
from freehold.topic.partition import partition_of
from tests.seams.consuming import (
    IDS,
    LIMIT_S,
    PARTITIONS,
    Run,
    consumer_of,
    cut_connections,
    set_positions,
    until,
    write_raw,
)
from tests.seams.pair import PRODUCTS, Customer, copies, delete, effects, owner, subscriber, update, update_many
from tests.seams.thorough import ON_MONGO, ON_POSTGRES, PAIRS

pytestmark = pytest.mark.services


@pytest.mark.parametrize(("owning", "reading"), PAIRS)
async def test_each_event_takes_effect_once_and_copies_converge(
    freehold_service: Run, owning: str, reading: str
) -> None:
    users, orders = owner(owning), subscriber(reading)
    async with freehold_service(users) as running, freehold_service(orders):
        for version in (1, 2, 3):
            await users.store.transact(update_many, IDS, version)
        await users.store.transact(delete, "u0", 4)
        await running.settled()

        assert await effects(orders) == {user_id: [1, 2, 3] for user_id in IDS}
        expected = dict.fromkeys(IDS[1:], ("name 3", 3, False))
        assert await copies(orders) == expected | {"u0": (None, 4, True)}


@pytest.mark.parametrize(("owning", "reading"), PAIRS)
async def test_replaying_the_whole_topic_twice_has_no_effect(freehold_service: Run, owning: str, reading: str) -> None:
    """The positions are lost, as with a restored backup of that table alone: the guards of keys and copies hold."""
    users, orders = owner(owning), subscriber(reading)
    async with freehold_service(users) as running:
        for version in (1, 2):
            await users.store.transact(update_many, IDS, version)
        for replay in range(3):
            async with freehold_service(orders) as reader:
                await running.settled()
                applied = (await consumer_of(reader)).progress.applied_total
                assert applied == 2 * len(IDS), f"replay {replay} read the whole topic"
                assert await effects(orders) == {user_id: [1, 2] for user_id in IDS}
                assert await copies(orders) == dict.fromkeys(IDS, ("name 2", 2, False))
                await set_positions(orders, None)


@pytest.mark.parametrize(
    ("value", "headers", "said"),
    [
        (b"hello", [], "no ce_specversion header"),
        (None, [], "no ce_specversion header"),
        (b"{}", [("ce_specversion", b"1.0"), ("content-type", b"text/plain")], "content-type is 'text/plain'"),
    ],
)
async def test_record_that_is_no_event_stops_its_partition_and_says_why_if_told_to(
    freehold_service: Run, freehold_scene: Scene, value: bytes | None, headers: list[tuple[str, bytes]], said: str
) -> None:
    users = owner("mongo")
    orders = dataclasses.replace(subscriber("mongo"), parking={"users": Parking(unreadable="pause")})
    partition = partition_of(b"user/u3", PARTITIONS)
    async with freehold_service(users) as running, freehold_service(orders) as reader:
        await users.store.transact(update, "u3", 1)
        await running.settled()
        await write_raw(freehold_scene, b"user/u3", value, headers)
        consumer = await consumer_of(reader)
        await until(
            lambda: consumer.progress.partitions[partition].state is PartitionState.STOPPED, lambda: consumer.progress
        )

        assert said in consumer.progress.partitions[partition].error
        report = (await reader.client.get("/readyz?verbose", headers={"accept": "application/json"})).json()
        assert said in json.dumps(report["consumers"])


@pytest.mark.parametrize("reading", PRODUCTS)
async def test_two_instances_divide_the_partitions(freehold_service: Run, reading: str) -> None:
    users, first, second = owner("mongo"), subscriber(reading), subscriber(reading)
    async with (
        freehold_service(users) as running,
        freehold_service(first, instance="orders-1") as one,
        freehold_service(second, instance="orders-2") as two,
    ):
        consumers = [await consumer_of(one), await consumer_of(two)]

        def divided() -> bool:
            held = [set(consumer.progress.partitions) for consumer in consumers]
            return all(held) and not held[0] & held[1] and held[0] | held[1] == set(range(PARTITIONS))

        await until(divided, lambda: [consumer.progress for consumer in consumers])
        for version in range(1, 6):
            await users.store.transact(update_many, IDS, version)
        await running.settled()

        assert await effects(first) == {user_id: [1, 2, 3, 4, 5] for user_id in IDS}
        assert all(consumer.progress.applied_total > 0 for consumer in consumers)


@pytest.mark.parametrize("reading", ON_POSTGRES)
async def test_rebalancing_under_load_takes_effect_once(freehold_service: Run, reading: str) -> None:
    users, first = owner("mongo"), subscriber(reading)
    async with freehold_service(users) as running, freehold_service(first, instance="orders-1"):
        writing = asyncio.create_task(write_versions(users, 40))
        while not writing.done():
            async with freehold_service(subscriber(reading), instance="orders-2") as coming:
                consumer = await consumer_of(coming)
                await until(
                    lambda consumer=consumer: bool(consumer.progress.partitions),  # type: ignore[misc]
                    lambda consumer=consumer: consumer.progress,  # type: ignore[misc]
                )
        await writing
        await running.settled(LIMIT_S)

        assert await effects(first) == {user_id: list(range(1, 41)) for user_id in IDS}


async def write_versions(users: Service, count: int) -> None:
    for version in range(1, count + 1):
        await users.store.transact(update_many, IDS, version)
        await asyncio.sleep(0.05)  # spreads the load over some rebalances


@pytest.mark.timeout(180)
@pytest.mark.parametrize("reading", PRODUCTS)
async def test_consumer_stopped_in_a_transaction_past_its_session_changes_nothing(
    freehold_service: Run, freehold_scene: Scene, tmp_path: Path, reading: str
) -> None:
    """A zombie: its process is stopped inside a handler, another takes its partitions, then it goes on."""
    users, orders = owner("mongo"), subscriber(reading)
    async with freehold_service(users) as running:
        store_url, kafka_url = await asyncio.to_thread(freehold_scene.provision, orders)
        environment = os.environ | {
            "FREEHOLD_STORE_URL": store_url,
            "FREEHOLD_KAFKA_URL": kafka_url,
            "FREEHOLD_NAMESPACE": freehold_scene.namespace,
            "FREEHOLD_INSTANCE": "orders-zombie",
        }
        zombie = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.seams.subscriber_process", reading, str(tmp_path), env=environment
        )
        try:
            await users.store.transact(update_many, [*IDS, "stop"], 1)
            await until(lambda: (tmp_path / "inside").exists(), lambda: "the zombie is inside its transaction")
            zombie.send_signal(signal.SIGSTOP)
            async with freehold_service(orders, instance="orders-2"):
                await users.store.transact(update_many, [*IDS, "stop"], 2)
                await running.settled(LIMIT_S)
                expected = {user_id: [1, 2] for user_id in [*IDS, "stop"]}
                assert await effects(orders) == expected

                (tmp_path / "go").touch()
                zombie.send_signal(signal.SIGCONT)
                await users.store.transact(update_many, [*IDS, "stop"], 3)
                await running.settled(LIMIT_S)
                (tmp_path / "end").touch()
                assert await asyncio.wait_for(zombie.wait(), LIMIT_S) == 0
                assert await effects(orders) == {user_id: [1, 2, 3] for user_id in expected}
                assert await copies(orders) == dict.fromkeys(expected, ("name 3", 3, False))
        finally:
            if zombie.returncode is None:
                zombie.kill()
                await zombie.wait()


@pytest.mark.parametrize("reading", PRODUCTS)
async def test_connections_cut_while_committing_take_effect_once(
    freehold_service: Run, freehold_scene: Scene, reading: str
) -> None:
    """Whether a commit took effect whose answer was lost is told by the position, not guessed."""
    users, orders = owner("mongo"), subscriber(reading)
    async with freehold_service(users) as running, freehold_service(orders):
        writing = asyncio.create_task(write_versions(users, 30))
        cuts = 0
        while not writing.done():
            await cut_connections(freehold_scene, orders)
            cuts += 1
            await asyncio.sleep(0.1)
        await writing
        await running.settled(LIMIT_S)

        assert cuts > 5
        assert await effects(orders) == {user_id: list(range(1, 31)) for user_id in IDS}


@pytest.fixture
def own_kafka(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[KafkaServer]:
    """Let the test's services use a Kafka that the test may kill."""
    server = KafkaServer(tmp_path / "kafka", secrets=Secrets(tmp_path / "secrets.json"))
    server.start(lambda _: None)
    monkeypatch.setenv("FREEHOLD_KAFKA_URL", server.admin_url)
    yield server
    server.stop(10)


@pytest.mark.parametrize("reading", ON_MONGO)
async def test_killed_kafka_is_waited_for_and_nothing_is_lost_or_doubled(
    own_kafka: KafkaServer, freehold_service: Run, reading: str
) -> None:
    users, orders = owner("mongo"), subscriber(reading)
    async with freehold_service(users) as running, freehold_service(orders) as reader:
        await users.store.transact(update_many, IDS, 1)
        await running.settled()
        assert own_kafka.pid is not None
        os.kill(own_kafka.pid, signal.SIGKILL)
        await users.store.transact(update_many, IDS, 2)
        consumer = await consumer_of(reader)
        await until(lambda: consumer.progress.state is ConsumerState.RETRYING, lambda: consumer.progress)
        assert "describe topic" in consumer.progress.error
        assert (await reader.client.get("/readyz")).status_code == 200
        await asyncio.to_thread(own_kafka.stop, 5)
        await asyncio.to_thread(own_kafka.start, lambda _: None)
        await users.store.transact(update_many, IDS, 3)
        await running.settled(LIMIT_S)

        assert await effects(orders) == {user_id: [1, 2, 3] for user_id in IDS}
        await until(lambda: consumer.progress.state is ConsumerState.READING, lambda: consumer.progress)


async def test_named_instance_reads_two_sources_at_once(freehold_service: Run) -> None:
    """Each subscription is a group of its own, so the same instance name is no conflict."""
    users = owner("mongo")
    others = dataclasses.replace(owner("mongo"), name="guests")
    reading = subscriber("mongo")
    guests = Replica(Customer, of="guests", entity="user", into="guests")
    orders = dataclasses.replace(reading, replicates=[*reading.replicates, guests])
    async with (
        freehold_service(users) as running,
        freehold_service(others),
        freehold_service(orders, instance="orders-1"),
    ):
        await users.store.transact(update, "u1", 1)
        await others.store.transact(update, "g1", 1)
        await running.settled()

        assert await copies(orders) == {"u1": ("name 1", 1, False)}
        assert [row["_id"] async for row in orders.store["guests"].find()] == ["g1"]


async def test_stop_while_kafka_is_frozen_keeps_its_bound(own_kafka: KafkaServer, freehold_service: Run) -> None:
    users, orders = owner("mongo"), subscriber("mongo")
    async with freehold_service(users) as running, freehold_service(orders) as reader:
        await users.store.transact(update_many, IDS, 1)
        await running.settled()
        consumer = await consumer_of(reader)
        assert own_kafka.pid is not None
        os.kill(own_kafka.pid, signal.SIGSTOP)
        try:
            async with asyncio.timeout(4):
                await consumer.stop(2.0)
        finally:
            os.kill(own_kafka.pid, signal.SIGCONT)

        assert consumer.progress.state is ConsumerState.ENDED
        assert await effects(orders) == {user_id: [1] for user_id in IDS}
