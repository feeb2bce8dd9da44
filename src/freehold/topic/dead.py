"""The topic of a service's dead letters: made by the service itself, kept for days, for others' tools to see."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Sequence

from freehold.errors import TopicUnavailable
from freehold.event import MESSAGE_BYTES_MAX
from freehold.service import DAY_MS, Topic
from freehold.topic.address import KafkaAddress
from freehold.topic.admin import Topics
from freehold.topic.writer import Shipment, Writer

SUFFIX = ".dead"
# Kafka deletes whole segments: closed daily, nothing stays longer than a day beyond what is promised.
KEPT_MS = 7 * DAY_MS
SEGMENT_MS = DAY_MS
SEND_LIMIT_S = 5.0
POLL_S = 0.1
CLOSE_WAIT_S = 0.2
# What a record's own frame, and that of its batch, may take.
FRAME_BYTES = 2_000
# What the names of added headers begin with; `kafka_dlt-` is Spring's.
ADDED = ("freehold-", "kafka_dlt-")

# A record to write: key, value and headers.
Letter = tuple[bytes | None, bytes | None, Sequence[tuple[str, bytes | None]]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeadLetterTopic(Topic):
    """Settings of that topic: one partition, so that they lie in the order in which they died."""

    partitions: int = 1

    def settings(self) -> dict[str, str]:
        """Give the topic's configuration in Kafka's own words."""
        return {
            "cleanup.policy": "delete",
            "retention.ms": str(KEPT_MS),
            "segment.ms": str(SEGMENT_MS),
            "min.insync.replicas": str(max(1, self.replication_factor - 1)),
            "max.message.bytes": str(MESSAGE_BYTES_MAX),
        }


class DeadLetters:
    """Writes the dead letters of one service; connects when the first one dies. May be used from any thread.

    Args:
        address: Where Kafka is.
        topic: The service's own topic by its qualified name; that of dead letters is called after it.
        topics: Makes it.
        replication_factor: How often it is kept.
    """

    def __init__(self, address: KafkaAddress, topic: str, topics: Topics, replication_factor: int) -> None:
        self.topic = topic + SUFFIX
        self._wanted = DeadLetterTopic(replication_factor=replication_factor)
        self._topics = topics
        self._writer = Writer(address, self.topic)
        self._is_open = False
        self._turn = threading.Lock()

    def send(self, letters: Sequence[Letter]) -> None:
        """Write these, and return when the topic has them all; some may be there when it fails.

        Raises:
            TopicUnavailable: Kafka did not take them within SEND_LIMIT_S.
            ConfigurationError: Kafka refuses the credentials or the rights.
        """
        with self._turn:
            try:
                self._open()
                self._send(letters)
            except BaseException:
                self._close()
                raise

    def close(self) -> None:
        """Let go of the connection, unless somebody is just sending; idempotent."""
        if self._turn.acquire(timeout=CLOSE_WAIT_S):
            try:
                self._close()
            finally:
                self._turn.release()

    def _open(self) -> None:
        if not self._is_open:
            self._topics.ensure(self.topic, self._wanted)
            self._writer.open()
            self._is_open = True

    def _send(self, letters: Sequence[Letter]) -> None:
        shipment = Shipment(len(letters))
        until = time.monotonic() + SEND_LIMIT_S
        waiting = list(letters)
        while waiting or shipment.waiting:
            while waiting and self._writer.send(*fitted(waiting[0]), shipment):
                waiting.pop(0)
            self._writer.poll(POLL_S)
            self._writer.check(shipment)
            if time.monotonic() > until:
                raise TopicUnavailable(
                    f"topic {self.topic} did not take {len(letters)} dead letters within {SEND_LIMIT_S:g} s"
                )

    def _close(self) -> None:
        self._is_open = False
        self._writer.close()


def fitted(letter: Letter) -> Letter:
    """Leave out of a letter that is too large first its value, then its original headers; a header says so."""
    key, value, headers = letter
    if _size(letter) <= MESSAGE_BYTES_MAX:
        return letter
    said = ("freehold-left-out", b"%d bytes" % len(value or b""))
    shorter: Letter = (key, None, [*headers, said])
    if _size(shorter) <= MESSAGE_BYTES_MAX:
        return shorter
    added = [(name, text) for name, text in headers if name.startswith(ADDED)]
    return key, None, [*added, ("freehold-left-out", b"value and headers")]


def _size(letter: Letter) -> int:
    key, value, headers = letter
    named = sum(len(name) + len(text or b"") for name, text in headers)
    return FRAME_BYTES + len(key or b"") + len(value or b"") + named
