"""Parking on real Kafka and both stores: a poison event stops nobody else, and the order of its own key is kept."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import random
from typing import Any

import msgspec
import pytest
from confluent_kafka import Consumer as KafkaConsumer
from confluent_kafka import Message

from freehold.consumer.apply import Applier, Gone
from freehold.consumer.batch import Delivery, Subscription
from freehold.consumer.parking import Intent, Lot, ParkedEvent, ParkedState
from freehold.consumer.parking.decide import UNREADABLE, unreadable
from freehold.consumer.parking.queues import Aside
from freehold.consumer.progress import PartitionState
from freehold.errors import CommitUnknown, FencedError, StoreUnavailable
from freehold.event import Event, Place
from freehold.runtime.parts import make_ledger, make_lot
from freehold.service import Listen, Parking, Service
from freehold.testing import Scene
from freehold.topic import Record
from freehold.topic.address import KafkaAddress
from freehold.topic.admin import Topics
from freehold.topic.dead import SUFFIX, DeadLetterTopic
from freehold.topic.partition import partition_of
from tests.seams.pair import (
    PRODUCTS,
    Named,
    copies,
    delete,
    effects,
    owner,
    subscriber,
    update,
    update_many,
)
from tests.seams.test_consumer import (
    IDS,
    LIMIT_S,
    PARTITIONS,
    Run,
    compact_no_more,
    consumer_of,
    cut_connections,
    until,
    write_raw,
)

pytestmark = pytest.mark.services

QUICK = Parking(at_once=1, attempts=4, back_off_s=(0.05, 0.2))
# Tried again so late that a test ends before.
ONCE = Parking(at_once=0, attempts=2, back_off_s=(200, 300))
NEVER_AGAIN = Parking(at_once=0, attempts=1)
BESIDE = [u for u in IDS if u != "u3" and partition_of(f"user/{u}".encode(), 3) == partition_of(b"user/u3", 3)]


class Poison:
    """A handler that refuses what it is told to, and remembers what it was given."""

    def __init__(self, *refused: str) -> None:
        self.refused = set(refused)
        self.error: Exception = LookupError("no such thing")
        self.given: list[tuple[str, str]] = []

    async def __call__(self, _tx: Any, event: Named) -> None:
        self.given.append((event.id, event.name))
        if event.id in self.refused or f"{event.id} {event.name}" in self.refused:
            raise self.error


def parking(reading: str, handler: Any, policy: Parking) -> Service:
    return dataclasses.replace(subscriber(reading, handler), parking={"users": policy})


def lot_of(service: Service) -> Lot:
    return make_lot(service)


async def parked(service: Service) -> list[ParkedEvent]:
    return await lot_of(service).scan()


async def until_parked(service: Service, states: dict[str, list[str]]) -> list[ParkedEvent]:
    """Wait until these, by key, are parked in these states, and nothing else."""
    found: list[ParkedEvent] = []

    async def as_expected() -> bool:
        found[:] = await parked(service)
        by_key: dict[str, list[str]] = {}
        for event in found:
            by_key.setdefault(event.key, []).append(event.state.value)
        return by_key == states

    await until(as_expected, lambda: found)
    return found


async def until_effects(service: Service, expected: dict[str, list[int]]) -> None:
    found: dict[str, list[int]] = {}

    async def as_expected() -> bool:
        seen = await effects(service)
        found.clear()
        found.update(seen)
        return found == expected

    await until(as_expected, lambda: found)


async def ask(service: Service, event: ParkedEvent, intent: Intent, edited: bytes | None = None) -> None:
    """Want something of a parked event, as an operator's command does; its worker may just be changing it."""

    async def is_asked() -> bool:
        whole = await lot_of(service).find(event.id.source, event.id.partition, event.id.offset)
        assert whole is not None
        wanted = msgspec.structs.replace(whole, intent=intent, edited=edited, replays=whole.replays + 1)
        return await lot_of(service).change(wanted) is not None

    await until(is_asked, lambda: f"{event.id} can be asked for")


@pytest.mark.parametrize("reading", PRODUCTS)
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


def json_of(value: bytes | None) -> Any:
    return msgspec.json.decode(value or b"")


@pytest.mark.parametrize("reading", PRODUCTS)
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


async def until_redriven(service: Service, before: ParkedEvent) -> list[ParkedEvent]:
    found: list[ParkedEvent] = []

    async def was_tried() -> bool:
        found[:] = await parked(service)
        return bool(found) and found[0].attempts > before.attempts and found[0].intent is None

    await until(was_tried, lambda: found)
    return found


@pytest.mark.parametrize("reading", PRODUCTS)
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


@pytest.mark.parametrize("reading", PRODUCTS)
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


@pytest.mark.parametrize("reading", PRODUCTS)
async def test_what_is_parked_outlives_a_restart(freehold_service: Run, reading: str) -> None:
    poison = Poison("u3")
    users, orders = owner("mongo"), parking(reading, poison, ONCE)
    async with freehold_service(users) as running:
        async with freehold_service(orders):
            await users.store.transact(update, "u3", 1)
            await until_parked(orders, {"user/u3": ["failed"]})
        async with freehold_service(orders):
            await users.store.transact(update_many, ["u3", *BESIDE], 2)
            await until_effects(orders, {key: [2] for key in BESIDE})
            [first, _] = await until_parked(orders, {"user/u3": ["failed", "behind"]})
            assert poison.given.count(("u3", "name 2")) == 0
        poison.refused.clear()
        async with freehold_service(orders):
            await ask(orders, first, Intent.REDRIVE)
            await until_effects(orders, {"u3": [1, 2]} | {key: [2] for key in BESIDE})
            await running.settled()


@pytest.mark.parametrize("reading", PRODUCTS)
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


@pytest.mark.parametrize("reading", PRODUCTS)
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


@pytest.mark.parametrize("reading", PRODUCTS)
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


@pytest.mark.parametrize("reading", PRODUCTS)
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


@pytest.mark.parametrize("reading", PRODUCTS)
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


@pytest.mark.parametrize("reading", PRODUCTS)
async def test_erasure_waits_behind_no_poison_and_clears_what_was_parked(freehold_service: Run, reading: str) -> None:
    told = []

    class Gone(Event, entity="user"):
        id: str

    async def note(_tx: Any, event: Gone) -> None:
        told.append(event.id)

    users, orders = owner("mongo"), parking(reading, Poison("u3", "u4"), ONCE)
    orders = dataclasses.replace(orders, listens=[*orders.listens, Listen(Gone, note, of="users", name="UserDeleted")])
    async with freehold_service(users), freehold_service(orders):
        for version in (1, 2):
            await users.store.transact(update_many, ["u3", "u4"], version)
        await until_parked(orders, {"user/u3": ["failed", "behind"], "user/u4": ["failed", "behind"]})
        await users.store.transact(delete, "u3", 3)
        await until_parked(orders, {"user/u4": ["failed", "behind"]})
        assert (await copies(orders))["u3"] == (None, 3, True)
        assert told == ["u3"]
        assert await effects(orders) == {}
        assert b"name" not in await bytes_of_parked(orders, "user/u3")


async def bytes_of_parked(service: Service, key: str) -> bytes:
    found = [event for event in await parked(service) if event.key == key]
    wholes = [await lot_of(service).find(e.id.source, e.id.partition, e.id.offset) for e in found]
    return b"".join(whole.record.value or b"" for whole in wholes if whole is not None)


@pytest.mark.parametrize("reading", PRODUCTS)
async def test_newer_state_of_a_copy_supersedes_what_could_not_be_read(
    freehold_service: Run, freehold_scene: Scene, reading: str
) -> None:
    users, orders = owner("mongo"), subscriber(reading)
    orders = dataclasses.replace(orders, listens=[])
    async with freehold_service(users) as running, freehold_service(orders):
        await users.store.transact(update, "u3", 1)
        await running.settled()
        await write_raw(freehold_scene, b"user/u3", b'{"id": "u3"}', headers_of("u3", 2))
        await users.store.transact(update_many, BESIDE, 1)
        [dead] = await until_parked(orders, {"user/u3": ["dead"]})
        assert (dead.for_handlers, dead.error_type, dead.place) == (False, UNREADABLE, Place(1, 2, 0))
        await until_copies(orders, BESIDE, 1)

        await write_raw(freehold_scene, b"user/u3", b'{"id": "u3", "name": "old 1"}', headers_of("u3", 1))
        await users.store.transact(update_many, BESIDE, 2)
        await until_copies(orders, BESIDE, 2)
        assert [event.id for event in await parked(orders)] == [dead.id]  # an older state supersedes nothing

        await users.store.transact(update, "u3", 3)
        await until_parked(orders, {})
        assert (await copies(orders))["u3"] == ("name 3", 3, False)


async def until_copies(service: Service, ids: list[str], version: int) -> None:
    async def are_there() -> bool:
        found = await copies(service)
        return all(user_id in found and found[user_id][1] == version for user_id in ids)

    await until(are_there, lambda: f"version {version} of {ids}")


def headers_of(user_id: str, version: int, schema: int = 1) -> list[tuple[str, bytes]]:
    key = f"user/{user_id}"
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", f"{key}:1.{version}.0".encode()),
        ("ce_type", b"users.UserUpdated"),
        ("ce_source", b"/services/users"),
        ("ce_subject", key.encode()),
        ("ce_time", b"2026-01-01T00:00:00Z"),
        ("ce_dataschema", f"urn:freehold:users.UserUpdated:{schema}".encode()),
        ("ce_epoch", b"1"),
        ("ce_version", str(version).encode()),
        ("ce_index", b"0"),
        ("content-type", b"application/json"),
    ]


@pytest.mark.parametrize("reading", PRODUCTS)
async def test_unknown_schema_is_parked_and_read_by_the_code_that_can(
    freehold_service: Run, freehold_scene: Scene, reading: str
) -> None:
    class Newer(Event, entity="user", schema=2):
        id: str
        title: str

    seen: list[str] = []

    async def note(_tx: Any, event: Newer) -> None:
        seen.append(event.title)

    users, orders = owner("mongo"), dataclasses.replace(subscriber(reading), replicates=[])
    newer = dataclasses.replace(orders, listens=[Listen(Newer, note, of="users", name="UserUpdated")])
    async with freehold_service(users) as running:
        async with freehold_service(orders):
            await users.store.transact(update, "u5", 1)
            await running.settled()
            for version in (1, 2):
                value = b'{"id": "u3", "title": "title %d"}' % version
                await write_raw(freehold_scene, b"user/u3", value, headers_of("u3", version, schema=2))
            await users.store.transact(update_many, BESIDE, 1)
            await until_effects(orders, {key: [1] for key in ["u5", *BESIDE]})
            await until_parked(orders, {"user/u3": ["dead", "dead"]})
        async with freehold_service(newer):
            await until_parked(orders, {})
        assert seen == ["title 1", "title 2"]


@pytest.mark.parametrize("reading", PRODUCTS)
async def test_record_without_a_key_blocks_nobody(freehold_service: Run, freehold_scene: Scene, reading: str) -> None:
    users, orders = owner("mongo", partitions=1), subscriber(reading)
    async with freehold_service(users) as running, freehold_service(orders):
        await users.store.transact(update_many, IDS, 1)
        await running.settled()
        await compact_no_more(freehold_scene)  # a compacted topic refuses such records
        for value in (b"hello", None):
            await write_raw(freehold_scene, None, value, [])
        await users.store.transact(update_many, IDS, 2)
        await until_effects(orders, {user_id: [1, 2] for user_id in IDS})

        found = await until_parked(orders, {"": ["dead", "dead"]})
        await ask(orders, found[0], Intent.DISCARD)
        [left] = await until_parked(orders, {"": ["dead"]})
        assert left.id == found[1].id
        assert "no ce_specversion header" in left.error


@pytest.mark.parametrize("reading", PRODUCTS)
async def test_event_whose_effect_has_happened_is_taken_out_without_another(
    freehold_service: Run, caplog: pytest.LogCaptureFixture, reading: str
) -> None:
    poison = Poison("u3")
    users, orders = owner("mongo"), parking(reading, poison, NEVER_AGAIN)
    async with freehold_service(users), freehold_service(orders):
        await users.store.transact(update, "u3", 1)
        [dead] = await until_parked(orders, {"user/u3": ["dead"]})
        await orders.store.transact(make_ledger(orders).record, "users", {"user/u3": Place(1, 1, 0)})
        poison.refused.clear()
        with caplog.at_level("INFO", "freehold.consumer"):
            await ask(orders, dead, Intent.REDRIVE)
            await until_parked(orders, {})

        assert await effects(orders) == {}
        assert "had taken effect already" in caplog.text


@pytest.mark.parametrize("point", ["park", "after park", "remove", "after remove", "change", "next_of", "asked"])
@pytest.mark.parametrize("reading", PRODUCTS)
async def test_process_that_ends_at_any_point_takes_effect_once(
    freehold_service: Run, monkeypatch: pytest.MonkeyPatch, reading: str, point: str
) -> None:
    """The lot's call at that point never returns, and the process is stopped in it; the next one goes on."""
    poison = Poison("u3 name 1")
    users, orders = owner("mongo"), parking(reading, poison, dataclasses.replace(QUICK, attempts=1_000))
    lot_class, name = type(lot_of(orders)), point.removeprefix("after ")
    original = getattr(lot_class, name)
    reached = asyncio.Event()

    async def hang(*args: Any, **named: Any) -> Any:
        if point.startswith("after "):
            await original(*args, **named)
        reached.set()
        await asyncio.Event().wait()

    async with freehold_service(users):
        with monkeypatch.context() as patched:
            patched.setattr(lot_class, name, hang)
            async with freehold_service(orders):
                for version in (1, 2, 3):
                    await users.store.transact(update_many, ["u3", *BESIDE], version)
                await asyncio.wait_for(reached.wait(), LIMIT_S)
        poison.refused.clear()
        async with freehold_service(orders):
            await until_effects(orders, {key: [1, 2, 3] for key in ["u3", *BESIDE]})
            await until_parked(orders, {})


@pytest.mark.parametrize("reading", PRODUCTS)
async def test_handlers_that_fail_at_random_under_cut_connections_take_effect_once_and_in_order(
    freehold_service: Run, freehold_scene: Scene, reading: str
) -> None:
    seed = random.randrange(1_000_000)  # noqa: S311 -- no secret
    chance = random.Random(seed)  # noqa: S311 -- no secret
    versions = 12
    # One in five is refused often enough to be parked.
    left = {(user, f"name {v}"): chance.choice([0] * 8 + [3, 5]) for user in IDS for v in range(1, versions + 1)}

    async def fail_at_random(_tx: Any, event: Named) -> None:
        left[event.id, event.name] -= 1
        if left[event.id, event.name] >= 0:
            raise LookupError(event.name)

    users = owner("mongo")
    orders = parking(reading, fail_at_random, Parking(at_once=0, attempts=1_000, back_off_s=(0.01, 0.05)))
    async with freehold_service(users), freehold_service(orders) as reader:
        consumer = await consumer_of(reader)
        for version in range(1, versions + 1):
            await users.store.transact(update_many, IDS, version)
            await cut_connections(freehold_scene, orders)

        await until_effects(orders, {user_id: list(range(1, versions + 1)) for user_id in IDS})
        await until_parked(orders, {})
        assert consumer.progress.parked_total > 10, f"seed {seed}"


@pytest.mark.parametrize("reading", PRODUCTS)
async def test_event_that_was_parked_though_the_answer_was_lost_holds_up_its_key(
    freehold_service: Run, monkeypatch: pytest.MonkeyPatch, reading: str
) -> None:
    poison = Poison("u3")
    users, orders = owner("mongo"), parking(reading, poison, ONCE)
    transact = orders.store.transact
    lost: list[Any] = []

    async def lose_an_answer(run: Any, *args: Any) -> Any:
        result = await transact(run, *args)
        if not lost and any(isinstance(each, Aside) and each.parked for each in args):
            lost.append(result)
            poison.refused.clear()
            raise CommitUnknown("the connection was lost")
        return result

    monkeypatch.setattr(orders.store, "transact", lose_an_answer)
    async with freehold_service(users), freehold_service(orders):
        await users.store.transact(update, "u3", 1)
        await until_parked(orders, {"user/u3": ["failed"]})
        await users.store.transact(update_many, ["u3", *BESIDE], 2)
        await until_effects(orders, {key: [2] for key in BESIDE})

        [first, _] = await until_parked(orders, {"user/u3": ["failed", "behind"]})
        await ask(orders, first, Intent.REDRIVE)
        await until_effects(orders, {"u3": [1, 2]} | {key: [2] for key in BESIDE})


@pytest.mark.parametrize("reading", PRODUCTS)
async def test_what_is_left_of_a_topic_that_is_no_more_can_be_discarded(freehold_service: Run, reading: str) -> None:
    users, orders = owner("mongo"), parking(reading, Poison("u3"), ONCE)
    async with freehold_service(users):
        async with freehold_service(orders):
            await users.store.transact(update, "u3", 1)
            [light] = await until_parked(orders, {"user/u3": ["failed"]})
            event = await lot_of(orders).find("users", light.id.partition, light.id.offset)
            assert event is not None
            former = msgspec.structs.replace(event, id=event.id._replace(topic_id="former", offset=999))
            await orders.store.transact(lot_of(orders).park, [former])
        async with freehold_service(orders):
            await ask(orders, former, Intent.REDRIVE)
            await until_asked_for_nothing(orders)
            await ask(orders, former, Intent.DISCARD)
            [left] = await until_parked(orders, {"user/u3": ["failed"]})
            assert left.id == light.id


@pytest.mark.parametrize("reading", PRODUCTS)
async def test_erasure_clears_what_is_left_of_a_topic_that_is_no_more(freehold_service: Run, reading: str) -> None:
    """Of whatever partition: the former topic may have had more. Nothing of that entity is parked of the present one."""
    users, orders = owner("mongo"), parking(reading, Poison("u3"), ONCE)
    async with freehold_service(users):
        async with freehold_service(orders):
            await users.store.transact(update, "u3", 1)
            [light] = await until_parked(orders, {"user/u3": ["failed"]})
            event = await lot_of(orders).find("users", light.id.partition, light.id.offset)
            assert event is not None
            lost = [
                msgspec.structs.replace(event, id=event.id._replace(topic_id="former", partition=n)) for n in (0, 9)
            ]
            other = msgspec.structs.replace(
                lost[0],
                id=lost[0].id._replace(offset=7),
                record=msgspec.structs.replace(event.record, key=b"user/u4"),
            )
            await orders.store.transact(lot_of(orders).park, [*lost, other])
            assert await orders.store.transact(lot_of(orders).remove, event)
        async with freehold_service(orders):
            await users.store.transact(delete, "u3", 3)
            await until_parked(orders, {"user/u4": ["failed"]})


async def until_asked_for_nothing(service: Service) -> None:
    async def is_so() -> bool:
        return all(event.intent is None for event in await parked(service))

    await until(is_so, lambda: "no intent is left")


@pytest.mark.parametrize("reading", PRODUCTS)
async def test_parked_event_that_two_try_at_once_takes_effect_once(freehold_service: Run, reading: str) -> None:
    """A process that does not know yet that its partition was taken from it tries what its successor tries."""
    users, orders = owner("mongo"), parking(reading, Poison("u3"), ONCE)
    async with freehold_service(users), freehold_service(orders):
        await users.store.transact(update, "u3", 1)
        [light] = await until_parked(orders, {"user/u3": ["failed"]})
        event = await lot_of(orders).find("users", light.id.partition, light.id.offset)
        assert event is not None
        at_work = subscriber(reading)
        subscription = Subscription(at_work, "users")
        applier = Applier(
            subscription, orders.store, make_ledger(orders), [], lot=lot_of(orders), policy=orders.parking["users"]
        )
        read = subscription.read(event.record)
        delivery = Delivery(read.offset, read.envelope, [], read.calls)
        results = await asyncio.gather(
            *(applier.handle_parked(event, delivery) for _ in range(5)), return_exceptions=True
        )

        assert results.count(True) == 1
        assert all(result is True or isinstance(result, Gone) for result in results)
        assert await effects(orders) == {"u3": [1]}


@pytest.mark.parametrize("reading", PRODUCTS)
async def test_process_that_was_replaced_cannot_park(freehold_service: Run, reading: str) -> None:
    orders = parking(reading, Poison(), ONCE)
    async with freehold_service(orders, only="api"):
        ledger, lot = make_ledger(orders), lot_of(orders)
        former = await ledger.claim("users", "the-topic", 0)
        await ledger.claim("users", "the-topic", 0)
        applier = Applier(
            Subscription(orders, "users"), orders.store, ledger, [], lot=lot, policy=orders.parking["users"]
        )
        record = Record("users", 0, 7, 0, b"user/u3", b"{", tuple(headers_of("u3", 1)))
        event = unreadable(former, record, ValueError("no"), listened=frozenset())
        with pytest.raises(FencedError):
            await applier.handle(former, [], 8, Aside([event]))

        assert await lot.scan() == []
