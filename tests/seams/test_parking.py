"""Parking on real Kafka and both stores: a poison event stops nobody else, and the order of its own key is kept."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from typing import Any

import pytest
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import Message

from freehold.consumer.parking import Intent, ParkedState
from freehold.consumer.parking.decide import UNREADABLE
from freehold.consumer.progress import PartitionState
from freehold.errors import StoreUnavailable
from freehold.event import Place
from freehold.testing import Scene
from freehold.topic.address import KafkaAddress
from freehold.topic.admin import Topics
from freehold.topic.dead import SUFFIX, DeadLetterTopic
from freehold.topic.partition import partition_of
from tests.seams.consuming import IDS, LIMIT_S, PARTITIONS, Run, consumer_of, until
from tests.seams.pair import Named, copies, effects, owner, update, update_many
from tests.seams.parked import (
    BESIDE,
    NEVER_AGAIN,
    ONCE,
    QUICK,
    Poison,
    ask,
    json_of,
    lot_of,
    parked,
    parking,
    until_effects,
    until_parked,
    until_redriven,
)
from tests.seams.thorough import ON_MONGO, ON_POSTGRES

pytestmark = pytest.mark.services


@pytest.mark.parametrize("reading", ON_MONGO)
async def test_poison_stops_nobody_else_and_keeps_the_order_of_its_own_key(freehold_service: Run, reading: str) -> None:
    poison = Poison("u3")
    users, orders = owner("mongo"), parking(reading, poison, dataclasses.replace(QUICK, attempts=1_000))
    async with freehold_service(users) as running, freehold_service(orders) as reader:
        for version in (1, 2, 3):
            await users.store.transact(update_many, IDS, version)

        await until_effects(orders, {user_id: [1, 2, 3] for user_id in IDS if user_id != "u3"})
        found = await until_parked(orders, {"user/u3": ["failed", "behind", "behind"]})
        assert {name for user_id, name in poison.given if user_id == "u3"} == {"name 1"}
        assert (await copies(orders))["u3"] == ("name 3", 3, False)  # copies wait for nobody
        [first] = [event for event in found if event.state is ParkedState.FAILED]
        assert (first.type, first.event_id, first.place) == ("users.UserUpdated", "user/u3:1.1.3", Place(1, 1, 3))
        assert (first.error_type, first.error) == ("LookupError", "no such thing")
        assert first.attempts >= 2
        whole = await lot_of(orders).find("users", first.id.partition, first.id.offset)
        assert whole is not None
        assert "raise self.error" in whole.traceback
        assert json_of(whole.record.value) == {"id": "u3", "name": "name 1"}
        assert dict(whole.record.headers)["ce_subject"] == b"user/u3"
        report: dict[str, Any] = {}

        async def is_told() -> bool:
            answer = await reader.client.get("/readyz?verbose", headers={"accept": "application/json"})
            report.update(answer.json())
            consumer = report["consumers"]["users"]
            return (consumer["parked"], consumer["dead"], consumer["parked_total"]) == (3, 0, 3)

        await until(is_told, lambda: report)
        assert report["ready"] is True
        metrics = (await reader.client.get("/metrics")).text
        partition = first.id.partition
        assert f'freehold_parked_events{{partition="{partition}",source="users",state="waiting"}} 3.0' in metrics

        with pytest.raises(
            AssertionError, match=r"parked users.UserUpdated of user/u3 \(failed\): LookupError no such thing"
        ):
            await running.settled(0.1)

        poison.refused.clear()
        await users.store.transact(update_many, IDS, 4)
        await until_effects(orders, {user_id: [1, 2, 3, 4] for user_id in IDS})
        await until_parked(orders, {})
        await users.store.transact(update, "u3", 5)
        await running.settled()
        assert (await effects(orders))["u3"] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("reading", ON_POSTGRES)
async def test_dead_event_holds_its_key_until_it_is_redriven(freehold_service: Run, reading: str) -> None:
    poison = Poison("u3 name 1")
    users, orders = owner("mongo"), parking(reading, poison, QUICK)
    async with freehold_service(users), freehold_service(orders):
        await users.store.transact(update_many, ["u3", *BESIDE], 1)
        await users.store.transact(update_many, ["u3", *BESIDE], 2)
        [dead, _] = await until_parked(orders, {"user/u3": ["dead", "behind"]})
        assert (dead.attempts, dead.retry_at) == (QUICK.attempts, None)
        assert poison.given.count(("u3", "name 1")) >= QUICK.attempts

        await ask(orders, dead, Intent.REDRIVE)
        [again, _] = await until_redriven(orders, dead)
        assert (again.state, again.attempts, again.replays) == (ParkedState.DEAD, QUICK.attempts + 1, 1)

        poison.refused.clear()
        await ask(orders, again, Intent.REDRIVE)
        await until_effects(orders, {user_id: [1, 2] for user_id in ["u3", *BESIDE]})
        await until_parked(orders, {})


@pytest.mark.parametrize("reading", ON_MONGO)
async def test_edited_event_takes_effect_as_it_was_edited(freehold_service: Run, reading: str) -> None:
    poison = Poison("u3 name 1")
    users, orders = owner("mongo"), parking(reading, poison, NEVER_AGAIN)
    async with freehold_service(users), freehold_service(orders):
        await users.store.transact(update_many, ["u3"], 1)
        await users.store.transact(update_many, ["u3"], 2)
        [dead, _] = await until_parked(orders, {"user/u3": ["dead", "behind"]})
        await ask(orders, dead, Intent.REDRIVE, b"{nonsense")
        [dead, _] = await until_redriven(orders, dead)
        assert (dead.state, dead.error_type) == (ParkedState.DEAD, UNREADABLE)
        whole = await lot_of(orders).find("users", dead.id.partition, dead.id.offset)
        assert whole is not None
        assert (whole.edited, json_of(whole.record.value)["name"]) == (b"{nonsense", "name 1")

        await ask(orders, dead, Intent.REDRIVE, b'{"id": "u3", "name": "edited 7"}')
        await until_effects(orders, {"u3": [7, 2]})


@pytest.mark.parametrize("reading", ON_POSTGRES)
async def test_discarded_event_lets_its_key_go_on(freehold_service: Run, reading: str) -> None:
    poison = Poison("u3 name 1")
    users, orders = owner("mongo"), parking(reading, poison, NEVER_AGAIN)
    async with freehold_service(users), freehold_service(orders):
        for version in (1, 2, 3):
            await users.store.transact(update, "u3", version)
        found = await until_parked(orders, {"user/u3": ["dead", "behind", "behind"]})
        await ask(orders, found[1], Intent.DISCARD)
        await until_parked(orders, {"user/u3": ["dead", "behind"]})
        await ask(orders, found[0], Intent.DISCARD)

        await until_effects(orders, {"u3": [3]})
        await until_parked(orders, {})


@pytest.mark.parametrize("reading", ON_MONGO)
async def test_dead_letter_says_where_why_when_and_how_often(
    freehold_service: Run, freehold_scene: Scene, reading: str
) -> None:
    users, orders = owner("mongo"), parking(reading, Poison("u3"), QUICK)
    async with freehold_service(users), freehold_service(orders):
        await users.store.transact(update, "u3", 1)
        [dead] = await until_parked(orders, {"user/u3": ["dead"]})
        [letter] = await asyncio.to_thread(letters_of, freehold_scene, 1)

        async def is_told() -> bool:
            return (await parked(orders))[0].is_told

        await until(is_told, lambda: "the lot knows that it was told")
        whole = await lot_of(orders).find("users", dead.id.partition, dead.id.offset)
        assert whole is not None
        assert (letter.key(), letter.value()) == (b"user/u3", whole.record.value)
        headers: dict[str, Any] = dict(letter.headers() or [])
        assert headers.items() >= dict(whole.record.headers).items()
        said = {name: value.decode() for name, value in headers.items() if name.startswith("freehold-")}
        topic, group = f"{freehold_scene.namespace}_users", f"{freehold_scene.namespace}_orders.users"
        assert (
            said.items()
            >= {
                "freehold-service": "orders",
                "freehold-source": "users",
                "freehold-topic": topic,
                "freehold-partition": str(dead.id.partition),
                "freehold-offset": str(dead.id.offset),
                "freehold-error-type": "LookupError",
                "freehold-error": "no such thing",
                "freehold-attempts": str(QUICK.attempts),
                "freehold-replays": "0",
            }.items()
        )
        assert said["freehold-first-failed-at"] < said["freehold-last-failed-at"]
        assert headers["kafka_dlt-original-topic"].decode() == topic
        assert headers["kafka_dlt-original-consumer-group"].decode() == group
        assert int.from_bytes(headers["kafka_dlt-original-offset"], "big") == dead.id.offset
        assert b"Traceback" not in b"".join(headers.values())
        topics = Topics(KafkaAddress.parse(freehold_scene.servers.admin_url("kafka")))
        name = f"{freehold_scene.namespace}_orders{SUFFIX}"
        assert await asyncio.to_thread(topics.ensure, name, DeadLetterTopic()) == []


def letters_of(scene: Scene, count: int) -> list[Message]:
    """Read dead letters as any Kafka client would."""
    address = KafkaAddress.parse(scene.servers.admin_url("kafka"))
    consumer = KafkaConsumer(
        {**address.client_config(), "group.id": f"{scene.namespace}_looks", "auto.offset.reset": "earliest"}
    )
    with contextlib.closing(consumer):
        consumer.subscribe([f"{scene.namespace}_orders.dead"])
        found: list[Message] = []
        for _ in range(60):
            message = consumer.poll(0.5)
            if message is not None and message.error() is None:
                found.append(message)
            if len(found) >= count:
                break
    assert len(found) == count
    return found


@pytest.mark.parametrize("reading", ON_POSTGRES)
async def test_partition_stands_still_at_the_cap_and_goes_on_when_there_is_room(
    freehold_service: Run, reading: str
) -> None:
    poison = Poison("u3 name 1")
    policy = dataclasses.replace(NEVER_AGAIN, per_key_max=3)
    users, orders = owner("mongo"), parking(reading, poison, policy)
    partition = partition_of(b"user/u3", PARTITIONS)
    async with freehold_service(users) as running, freehold_service(orders) as reader:
        for version in (1, 2, 3, 4):
            await users.store.transact(update_many, ["u3"], version)
        await users.store.transact(update_many, BESIDE, 1)
        consumer = await consumer_of(reader)
        await until(
            lambda: (
                partition in consumer.progress.partitions
                and consumer.progress.partitions[partition].state is PartitionState.STOPPED
            ),
            lambda: consumer.progress,
        )
        assert "3 events of its key are (per_key_max)" in consumer.progress.partitions[partition].error
        assert "redrive or discard" in consumer.progress.partitions[partition].error
        found = await until_parked(orders, {"user/u3": ["dead", "behind", "behind"]})
        assert await effects(orders) == {}

        poison.refused.clear()
        await ask(orders, found[0], Intent.REDRIVE)
        await running.settled(LIMIT_S)
        await until_effects(orders, {"u3": [1, 2, 3, 4]} | {key: [1] for key in BESIDE})
        assert consumer.progress.partitions[partition].state is PartitionState.READING


@pytest.mark.parametrize("reading", ON_MONGO)
async def test_handler_that_hangs_is_cut_off(freehold_service: Run, reading: str) -> None:
    hanging = True

    async def hang(_tx: Any, event: Named) -> None:
        if hanging and event.id == "u3":
            await asyncio.Event().wait()

    users = owner("mongo")
    orders = parking(reading, hang, dataclasses.replace(QUICK, attempts=1_000, deadline_s=0.2))
    async with freehold_service(users), freehold_service(orders):
        await users.store.transact(update_many, ["u3", *BESIDE], 1)
        await until_effects(orders, {key: [1] for key in BESIDE})
        [event] = await until_parked(orders, {"user/u3": ["failed"]})
        assert event.error_type == "HandlerTimeout"
        assert "did not return within 0.2 s" in event.error

        hanging = False
        await until_effects(orders, {key: [1] for key in ["u3", *BESIDE]})


@pytest.mark.parametrize("reading", ON_POSTGRES)
async def test_handlers_that_take_long_together_share_out_their_batch(
    freehold_service: Run, monkeypatch: pytest.MonkeyPatch, reading: str
) -> None:
    """MongoDB ends a transaction after half a minute, whatever is done in it: a batch that lasted longer would never be done."""
    monkeypatch.setattr("freehold.consumer.apply.CALLS_S_MAX", 0.2)
    monkeypatch.setattr("freehold.consumer.together.QUICK_S", 0.1)
    transactions: list[Any] = []

    async def take_long(tx: Any, _event: Named) -> None:
        transactions.append(tx)
        await asyncio.sleep(0.03)

    users, orders = owner("mongo", partitions=1), parking(reading, take_long, ONCE)
    async with freehold_service(users) as running:
        for version in (1, 2, 3):
            await users.store.transact(update_many, IDS, version)
        await running.settled(LIMIT_S)
        async with freehold_service(orders):
            await until_effects(orders, {user_id: [1, 2, 3] for user_id in IDS})

            assert max(transactions.count(each) for each in transactions) <= 8
            assert len(transactions) < 2 * 3 * len(IDS)  # what is begun in vain is begun again in smaller parts
            assert await parked(orders) == []


@pytest.mark.parametrize("reading", ON_MONGO)
async def test_handler_that_waits_for_what_is_cancelled_fails_like_any_other(
    freehold_service: Run, reading: str
) -> None:
    async def wait_for_cancelled(_tx: Any, event: Named) -> None:
        if event.id == "u3":
            waiting = asyncio.create_task(asyncio.Event().wait())
            waiting.cancel()
            await waiting

    users, orders = owner("mongo"), parking(reading, wait_for_cancelled, ONCE)
    async with freehold_service(users), freehold_service(orders):
        await users.store.transact(update_many, ["u3", *BESIDE], 1)
        await until_effects(orders, {key: [1] for key in BESIDE})
        [event] = await until_parked(orders, {"user/u3": ["failed"]})

        assert event.error_type == "HandlerCancelled"


@pytest.mark.parametrize(
    ("reading", "error"),
    [
        ("postgres", ConnectionResetError("shop is away")),
        ("mongo", ConnectionResetError("shop is away")),
        ("mongo", StoreUnavailable("the store is away")),
    ],
)
async def test_what_passes_by_itself_is_waited_for_and_never_parked(
    freehold_service: Run, reading: str, error: Exception
) -> None:
    poison = Poison("u3")
    poison.error = error
    users = owner("mongo")
    orders = parking(reading, poison, dataclasses.replace(NEVER_AGAIN, transient=(ConnectionError,)))
    partition = partition_of(b"user/u3", PARTITIONS)
    async with freehold_service(users) as running, freehold_service(orders) as reader:
        await users.store.transact(update_many, [*BESIDE, "u3"], 1)
        consumer = await consumer_of(reader)
        await until(
            lambda: (
                partition in consumer.progress.partitions
                and consumer.progress.partitions[partition].state is PartitionState.RETRYING
                and poison.given.count(("u3", "name 1")) > 3
            ),
            lambda: consumer.progress,
        )
        assert "is away" in consumer.progress.partitions[partition].error
        assert await parked(orders) == []

        poison.refused.clear()
        await running.settled(LIMIT_S)
        assert await effects(orders) == {key: [1] for key in [*BESIDE, "u3"]}
