"""Look at a topic without being a subscriber: the last records, and then each as it comes."""

from __future__ import annotations

from collections.abc import Iterator

from confluent_kafka import Consumer, KafkaException, TopicPartition

from freehold.topic import Record
from freehold.topic.address import KafkaAddress
from freehold.topic.admin import Topics
from freehold.topic.failure import LOG_LEVEL, explained, failed, log
from freehold.topic.reader import record_of

LAST_MAX = 10_000
WAIT_S = 0.5


def tail(address: KafkaAddress, topic: str, *, last: int, follow: bool) -> Iterator[Record]:
    """Give the last records of a topic, oldest first, and with `follow` those that come after, for ever.

    Joins no group and keeps no position. Among partitions the order is that of the records' times.

    Args:
        address: Where Kafka is.
        topic: The topic to look at.
        last: How many records to begin with, 0 to LAST_MAX.
        follow: Whether to go on when these were given.

    Raises:
        TopicUnavailable: Kafka does not answer, or there is no such topic.
        ConfigurationError: Kafka refuses the credentials or the rights.
    """
    topics = Topics(address)
    count = max(0, min(last, LAST_MAX))
    extents = topics.extents(topic, range(topics.identify(topic).partition_count))
    # Compaction leaves gaps between offsets, so this many back may be fewer records; never more than were asked for.
    places = [TopicPartition(topic, number, max(start, end - count)) for number, (start, end) in extents.items()]
    settings = {
        **address.client_config(),
        # A client must name a group even if it never joins one; this name asks for no right.
        "group.id": f"{topic}.tail",
        "log_level": LOG_LEVEL,
        "enable.auto.commit": False,
        "auto.offset.reset": "latest",
        "isolation.level": "read_committed",
        "enable.partition.eof": False,
    }
    consumer = Consumer(settings, logger=log)
    try:
        consumer.assign(places)
        ends = {number: end for number, (start, end) in extents.items() if count and end > start}
        before = sorted(_until(consumer, topic, ends), key=lambda record: record.timestamp_ms)
        yield from before[max(0, len(before) - count) :]
        while follow:
            yield from _read(consumer, topic)
    finally:
        consumer.close()


def _until(consumer: Consumer, topic: str, ends: dict[int, int]) -> Iterator[Record]:
    """Give what is there up to these ends."""
    behind = dict(ends)
    while behind:
        for record in _read(consumer, topic):
            if record.offset + 1 >= behind.get(record.partition, 0):
                behind.pop(record.partition, None)
            yield record


def _read(consumer: Consumer, topic: str) -> Iterator[Record]:
    try:
        message = consumer.poll(WAIT_S)
    except KafkaException as error:
        raise failed(f"read topic {topic}", error) from error
    if message is None:
        return
    failure = message.error()
    if failure is not None:
        raise explained(f"read topic {topic}", failure)
    yield record_of(message)
