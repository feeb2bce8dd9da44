"""Read a topic once more from given positions, beside all who subscribe to it: no group, no position kept, nothing moved."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from freehold.errors import IdentityError
from freehold.topic import Record
from freehold.topic.address import KafkaAddress
from freehold.topic.failure import LOG_LEVEL, explained, failed, log
from freehold.topic.reader import record_of

READ_RECORDS_MAX = 500
# Read ahead at most this much.
AHEAD_KBYTES_MAX = 4 * 1024


class Replay:
    """Reads all partitions of a topic from `positions` on, which it keeps up to date. For one thread at a time.

    Attributes:
        positions: By partition, the offset after the last record that was given; compaction leaves gaps, so it can move
            without one.
    """

    def __init__(self, address: KafkaAddress, topic: str, group: str, positions: Mapping[int, int]) -> None:
        self.positions = dict(positions)
        self._topic = topic
        self._consumer = Consumer(
            {
                **address.client_config(),
                # A client must name a group even if it never joins one, and must have the right to.
                "group.id": group,
                "log_level": LOG_LEVEL,
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "isolation.level": "read_committed",
                "enable.partition.eof": True,
                "queued.max.messages.kbytes": AHEAD_KBYTES_MAX,
                "fetch.queue.backoff.ms": 5,
            },
            logger=log,
        )
        self._consumer.assign([TopicPartition(topic, number, offset) for number, offset in self.positions.items()])

    def read(self, wait_s: float) -> list[Record]:
        """Give the next records, in order per partition; none when none came within `wait_s`, or only ends were met.

        Raises:
            TopicUnavailable: Kafka does not answer.
            IdentityError: A position is not in the log.
            ConfigurationError: Kafka refuses the credentials or the rights.
        """
        records = []
        try:
            messages = self._consumer.consume(READ_RECORDS_MAX, wait_s)
        except KafkaException as error:
            raise failed(f"read topic {self._topic} again", error) from error
        for message in messages:
            failure = message.error()
            if failure is None:
                record = record_of(message)
                self.positions[record.partition] = record.offset + 1
                records.append(record)
            elif failure.code() == KafkaError._PARTITION_EOF:
                self._note_end(message.partition(), message.offset())
            elif failure.code() in {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}:
                raise IdentityError(
                    f"read topic {self._topic} again: {failure.str()}; the log no longer reaches back there"
                )
            else:
                raise explained(f"read topic {self._topic} again", failure)
        return records

    def close(self) -> None:
        """Let go of the connection; idempotent."""
        self._consumer.close()

    def _note_end(self, partition: int | None, end: int | None) -> None:
        if partition is not None and end is not None:
            self.positions[partition] = max(end, self.positions.get(partition, 0))
