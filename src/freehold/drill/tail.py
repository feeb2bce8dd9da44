"""Follow all topics from outside by a plain Kafka client: every record ever seen, and the newest version of each entity."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from freehold.drill.holdings import Unreadable
from freehold.drill.observed import SentRecord
from freehold.errors import DrillError

ANSWER_TIMEOUT_S = 5.0
CONSUME_RECORDS = 2_000
CONSUME_S = 0.05
STOP_TIMEOUT_S = 15.0
# Of the records that could be sent once more as they are: enough to choose from.
RAW_RECORDS_MAX = 500


class Tail:
    """Reads the topics of a system in a thread, from their beginning, while the `with` block runs.

    Args:
        config: For a Kafka client that may read them all.
        topics: Their names; they exist.
    """

    def __init__(self, config: Mapping[str, str], topics: Sequence[str]) -> None:
        # The group is never joined and nothing is committed: partitions are assigned by hand.
        own = {"group.id": "freehold.drill", "enable.auto.commit": False, "isolation.level": "read_committed"}
        quiet = {"log_level": 0, "reconnect.backoff.max.ms": 500, "auto.offset.reset": "error"}
        self._consumer = Consumer({**config, **own, **quiet})
        # Asked for ends by another thread: asked of the one that reads, the client waits for itself.
        self._asked = Consumer({**config, **own, **quiet})
        self._topics = list(topics)
        self._records: dict[str, list[SentRecord]] = {topic: [] for topic in topics}
        self._reached: dict[tuple[str, int], int] = {}
        self._newest: dict[str, int] = {}
        self._raw: deque[Any] = deque(maxlen=RAW_RECORDS_MAX)
        self._lock = threading.Lock()
        self._ending = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="drill tail", daemon=True)

    def __enter__(self) -> Tail:
        self._consumer.assign([each for topic in self._topics for each in self._partitions(topic)])
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(STOP_TIMEOUT_S)
        if not self._thread.is_alive():
            self._consumer.close()
        self._asked.close()

    def records(self, topic: str, entity: str) -> list[SentRecord]:
        """Give what the topic has had of a kind of entity, in the order of each partition.

        Raises:
            DrillError: It could not be read to here.
        """
        self._check()
        with self._lock:
            return [record for record in self._records[topic] if record.key.startswith(f"{entity}/")]

    def newest(self, key: str) -> int:
        """Give the highest version of the entity that was seen on its topic; 0 when none was."""
        return self._newest.get(key, 0)

    def raw(self) -> list[Any]:
        """Give some of the last messages as they came from Kafka."""
        with self._lock:
            return list(self._raw)

    def ends(self, topic: str) -> dict[int, int]:
        """Ask where each partition ends now.

        Raises:
            Unreadable: Kafka does not answer.
        """
        self._check()
        try:
            return {
                each.partition: self._asked.get_watermark_offsets(each, timeout=ANSWER_TIMEOUT_S)[1]
                for each in self._partitions(topic)
            }
        except KafkaException as error:
            raise Unreadable(str(error)) from error

    def unread(self, topic: str, ends: Mapping[int, int]) -> int:
        """Count the records before these ends that are not seen yet."""
        return sum(max(0, end - self._reached.get((topic, partition), 0)) for partition, end in ends.items())

    def _partitions(self, topic: str) -> list[TopicPartition]:
        try:
            found = self._asked.list_topics(topic, timeout=ANSWER_TIMEOUT_S).topics[topic]
        except KafkaException as error:
            raise Unreadable(str(error)) from error
        if found.error is not None:
            raise Unreadable(str(found.error))
        return [TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in found.partitions]

    def _check(self) -> None:
        if self._failure is not None:
            raise DrillError(f"the topics could not be followed: {self._failure!r}") from self._failure

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                for message in self._consumer.consume(CONSUME_RECORDS, CONSUME_S):
                    # An error of the connection is no record: the client connects again by itself.
                    if message.error() is None:
                        self._take(message)
        except Exception as error:  # noqa: BLE001 -- it is raised again where somebody asks
            self._failure = error

    def _take(self, message: Any) -> None:
        topic = message.topic()
        record = read_record(message)
        with self._lock:
            self._records[topic].append(record)
            self._raw.append(message)
        self._newest[record.key] = max(self._newest.get(record.key, 0), record.version)
        self._reached[topic, record.partition] = record.offset + 1


def read_record(message: Any) -> SentRecord:
    """Read what a comparison needs of a record, by the headers' own words and without any code of ours."""
    headers = message.headers()
    named = dict(headers)
    fields = json.loads(message.value())
    fields.pop("id", None)
    return SentRecord(
        partition=message.partition(),
        offset=message.offset(),
        key=message.key().decode(),
        event_id=named["ce_id"].decode(),
        version=int(named["ce_version"]),
        index=int(named["ce_index"]),
        erases=named.get("ce_erases") == b"true",
        fields=fields,
        content=hashlib.blake2b(repr((message.key(), message.value(), headers)).encode(), digest_size=16).digest(),
        epoch=int(named["ce_epoch"]),
    )
