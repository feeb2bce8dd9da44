"""Topics, writer and reader on a real Kafka."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import time
from collections.abc import Callable, Iterator

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource

from freehold.errors import ConfigurationError, IdentityError, TopicUnavailable
from freehold.event import EVENT_BYTES_MAX
from freehold.service import Topic
from freehold.testing import Servers
from freehold.topic import Record
from freehold.topic.address import KafkaAddress
from freehold.topic.admin import Topics
from freehold.topic.partition import partition_of
from freehold.topic.reader import Reader
from freehold.topic.tail import tail
from freehold.topic.writer import Shipment, Writer

LIMIT_S = 20.0
WANTED = Topic(partitions=3)


@pytest.fixture(scope="module")
def address(freehold_servers: Servers) -> KafkaAddress:
    return KafkaAddress.parse(freehold_servers.admin_url("kafka"))


@pytest.fixture
def topics(address: KafkaAddress) -> Topics:
    return Topics(address)


@pytest.fixture
def admin(address: KafkaAddress) -> AdminClient:
    return AdminClient({**address.client_config()})


@pytest.fixture
def topic(topics: Topics, admin: AdminClient) -> Iterator[str]:
    name = f"t{secrets.token_hex(4)}"
    topics.ensure(name, WANTED)
    yield name
    with contextlib.suppress(Exception):
        admin.delete_topics([name])[name].result(10)


@pytest.fixture
def writer(address: KafkaAddress, topic: str) -> Iterator[Writer]:
    writer = Writer(address, topic)
    writer.open()
    yield writer
    writer.close()


def write(writer: Writer, *pairs: tuple[str, bytes]) -> None:
    shipment = Shipment(len(pairs))
    for key, value in pairs:
        assert writer.send(key, value, [("ce_id", value[:10])], shipment)
    settle(writer, shipment)


def settle(writer: Writer, shipment: Shipment) -> None:
    until = time.monotonic() + LIMIT_S
    while shipment.waiting:
        assert time.monotonic() < until, f"{shipment.waiting} records are not acknowledged"
        writer.poll(0.05)
    writer.check(shipment)


@contextlib.contextmanager
def reading(
    address: KafkaAddress, topic: str, offsets: dict[int, int | None] | None = None, instance: str | None = None
) -> Iterator[Callable[[int], list[Record]]]:
    """Give what reads that many records."""
    reader = Reader(address, topic, f"{topic}.readers", instance)
    reader.open(lambda partitions: {n: (offsets or {}).get(n) for n in partitions}, lambda _: None)

    def read(count: int) -> list[Record]:
        found: list[Record] = []
        until = time.monotonic() + LIMIT_S
        while len(found) < count:
            assert time.monotonic() < until, f"{len(found)} of {count} records came"
            found += reader.read(0.1)
        return found

    try:
        yield read
    finally:
        reader.close()


def test_own_topic_is_made_with_its_settings(topics: Topics, topic: str) -> None:
    assert topics.identify(topic).partition_count == 3
    assert topics.ensure(topic, WANTED) == []


def test_topic_that_differs_is_named_and_not_changed(topics: Topics, topic: str) -> None:
    other = dataclasses.replace(WANTED, partitions=6, full_history_ms=5)

    assert topics.ensure(topic, other) == [
        f"topic {topic} has 3 partitions, declared are 6",
        f"topic {topic} has min.compaction.lag.ms={WANTED.full_history_ms}, declared is 5",
    ]
    assert topics.ensure(topic, WANTED) == []


def test_settings_that_kafka_refuses_are_a_configuration_error(topics: Topics) -> None:
    with pytest.raises(ConfigurationError, match="replication"):
        topics.ensure(f"t{secrets.token_hex(4)}", Topic(replication_factor=3))


def test_topic_made_anew_has_another_id(topics: Topics, admin: AdminClient, topic: str) -> None:
    before = topics.identify(topic)
    admin.delete_topics([topic])[topic].result(10)
    until = time.monotonic() + LIMIT_S
    while topics.identify_or_none(topic) is not None:
        assert time.monotonic() < until
    topics.ensure(topic, WANTED)

    assert topics.identify(topic).topic_id != before.topic_id


def test_absent_topic_is_unavailable_and_not_made(topics: Topics, address: KafkaAddress) -> None:
    name = f"t{secrets.token_hex(4)}"

    for ask in (lambda: topics.identify(name), lambda: topics.extents(name, [0]), Writer(address, name).open):
        with pytest.raises(TopicUnavailable, match=name):
            ask()
    assert topics.identify_or_none(name) is None


def test_wrong_password_is_a_configuration_error_without_the_password(address: KafkaAddress) -> None:
    wrong = dataclasses.replace(address, password="not-the-password")

    with pytest.raises(ConfigurationError) as caught:
        Topics(wrong).identify("users")
    assert "not-the-password" not in str(caught.value)


def test_server_that_is_not_there_is_unavailable_within_the_limit() -> None:
    started_at = time.monotonic()

    with pytest.raises(TopicUnavailable):
        Topics(KafkaAddress(("127.0.0.1:1",))).identify("users")
    assert time.monotonic() - started_at < 10


def test_records_lie_where_a_java_client_would_look(address: KafkaAddress, topic: str, writer: Writer) -> None:
    keys = [f"user/{number}" for number in range(50)]
    write(writer, *((key, b"{}") for key in keys))

    with reading(address, topic) as read:
        found = {record.key.decode(): record.partition for record in read(50) if record.key is not None}

    assert found == {key: partition_of(key.encode(), 3) for key in keys}


def test_any_kafka_client_reads_key_value_and_headers(address: KafkaAddress, topic: str, writer: Writer) -> None:
    write(writer, ("user/1", b'{"id":"1"}'))
    plain = Consumer({**address.client_config(), "group.id": f"{topic}.plain", "auto.offset.reset": "earliest"})
    plain.assign([TopicPartition(topic, partition_of(b"user/1", 3))])
    message = plain.poll(LIMIT_S)
    plain.close()

    assert message is not None
    assert (message.key(), message.value(), message.headers()) == (
        b"user/1",
        b'{"id":"1"}',
        [("ce_id", b'{"id":"1"}')],
    )


def test_largest_event_fits(address: KafkaAddress, topic: str, writer: Writer) -> None:
    value = secrets.token_bytes(EVENT_BYTES_MAX)  # what compression cannot make smaller
    write(writer, ("user/1", value))

    with reading(address, topic) as read:
        assert read(1)[0].value == value


def test_order_per_key_is_that_of_sending(address: KafkaAddress, topic: str, writer: Writer) -> None:
    write(writer, *((f"user/{number % 7}", b"%d" % number) for number in range(2_000)))

    with reading(address, topic) as read:
        by_key: dict[bytes | None, list[int]] = {}
        for record in read(2_000):
            by_key.setdefault(record.key, []).append(int(record.value or b""))

    assert len(by_key) == 7
    assert all(numbers == sorted(numbers) for numbers in by_key.values())


def test_reading_begins_where_the_caller_says(address: KafkaAddress, topic: str, writer: Writer) -> None:
    write(writer, *(("user/1", b"%d" % number) for number in range(10)))
    partition = partition_of(b"user/1", 3)

    with reading(address, topic, {partition: 4}) as read:
        assert [record.offset for record in read(6)] == [4, 5, 6, 7, 8, 9]
    with reading(address, topic, {partition: None}) as read:
        assert [record.offset for record in read(10)] == list(range(10))


def test_offset_that_expired_is_no_longer_the_same_log(
    address: KafkaAddress, topics: Topics, admin: AdminClient, topic: str, writer: Writer
) -> None:
    partition = partition_of(b"user/1", 3)
    write(writer, *(("user/1", b"%d" % number) for number in range(10)))
    admin.incremental_alter_configs([deletable(topic)])[deletable(topic)].result(10)
    place = TopicPartition(topic, partition, 5)
    admin.delete_records([place])[place].result(10)

    assert topics.extents(topic, [partition]) == {partition: (5, 10)}
    with reading(address, topic, {partition: 3}) as read, pytest.raises(IdentityError, match="no longer holds"):
        read(1)


def deletable(topic: str) -> ConfigResource:
    """Give the change that lets records be deleted by hand."""
    entry = ConfigEntry("cleanup.policy", "delete", incremental_operation=AlterConfigOpType.SET)
    return ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[entry])


def test_successor_of_the_same_instance_reads_at_once(address: KafkaAddress, topic: str, writer: Writer) -> None:
    """A static member that is gone without leaving is replaced without waiting for its session to end."""
    write(writer, ("user/1", b"1"))
    killed = Reader(address, topic, f"{topic}.readers", "orders-1")
    killed.open(dict.fromkeys, lambda _: None)
    until = time.monotonic() + LIMIT_S
    while not killed.read(0.1):
        assert time.monotonic() < until
    killed.close()  # leaves without a word, as a named instance does

    started_at = time.monotonic()
    with reading(address, topic, instance="orders-1") as read:
        read(1)

    assert time.monotonic() - started_at < 3.0  # its session would end after six


def test_group_that_does_not_let_a_member_in_is_left_and_joined_again(
    address: KafkaAddress, topic: str, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a coordinator that moved and forgot to answer: here another member lives, and does not join again."""
    monkeypatch.setattr("freehold.topic.reader.JOIN_LIMIT_S", 2.0)
    write(writer, ("a", b"1"))
    settings = {**address.client_config(), "group.id": f"{topic}.readers", "auto.offset.reset": "earliest"}
    fellow = Consumer(settings)
    fellow.subscribe([topic])
    until = time.monotonic() + LIMIT_S
    while not fellow.assignment():
        assert time.monotonic() < until, "the fellow is not let in"
        fellow.poll(0.05)

    with (
        reading(address, topic) as read,
        pytest.raises(TopicUnavailable, match="has not let this member in within 2 s"),
    ):
        read(1)
    fellow.close()

    with reading(address, topic) as read:
        assert [record.value for record in read(1)] == [b"1"]


def test_held_partition_waits_while_others_go_on(address: KafkaAddress, topic: str, writer: Writer) -> None:
    first, second = partition_of(b"user/1", 3), partition_of(b"user/3", 3)
    assert first != second
    reader = Reader(address, topic, f"{topic}.readers", None)
    reader.open(dict.fromkeys, lambda _: None)
    write(writer, ("user/1", b"a"), ("user/3", b"a"))
    found: list[Record] = []
    until = time.monotonic() + LIMIT_S
    while len(found) < 2:
        assert time.monotonic() < until
        found += reader.read(0.1)

    reader.hold({first})
    write(writer, ("user/1", b"b"), ("user/3", b"b"))
    found = []
    while not found:
        assert time.monotonic() < until
        found += reader.read(0.1)
    assert {record.partition for record in found} == {second}
    reader.hold(set())
    while {record.partition for record in found} != {first, second}:
        assert time.monotonic() < until
        found += reader.read(0.1)
    reader.close()


def test_tail_gives_the_last_records_in_the_order_of_their_time(
    address: KafkaAddress, topic: str, writer: Writer
) -> None:
    for number in range(9):
        write(writer, (f"user/{number}", b"%d" % number))

    assert [record.value for record in tail(address, topic, last=4, follow=False)] == [b"5", b"6", b"7", b"8"]
    assert len(list(tail(address, topic, last=100, follow=False))) == 9


def test_a_writer_with_records_on_their_way_lets_go_of_them(address: KafkaAddress, topic: str) -> None:
    """To purge what is on its way is fatal to an idempotent producer; whoever closes it must not hear of that."""
    for _ in range(5):
        writer = Writer(address, topic)
        writer.open()
        shipment = Shipment(20_000)
        for number in range(20_000):
            assert writer.send(f"user/{number}", b"{}" * 100, [], shipment)
        until = time.monotonic() + LIMIT_S
        while shipment.waiting == 20_000:
            assert time.monotonic() < until, "nothing was acknowledged"
            writer.poll(0.001)
        writer.close()

        assert 0 <= shipment.waiting < 20_000
