"""Follow all topics from outside by a plain Kafka client: every record ever seen, and the newest version of each entity.

A topic that is made anew goes on where the former one of its name ended: what was on either is one story.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import queue
import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
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


@dataclasses.dataclass
class Past:
    """What was on topics that are no more: their records by topic, and by partition the offset behind the last of them."""

    records: dict[str, list[SentRecord]] = dataclasses.field(default_factory=lambda: defaultdict(list))
    ends: Counter[tuple[str, int]] = dataclasses.field(default_factory=Counter)


class Tail:
    """Reads the topics of a system in a thread, from their beginning, while the `with` block runs.

    Args:
        config: For a Kafka client that may read them all.
        topics: Their names; they exist.
        past: What topics of these names had before they were made anew.
    """

    def __init__(self, config: Mapping[str, str], topics: Sequence[str], past: Past | None = None) -> None:
        # The group is never joined and nothing is committed: partitions are assigned by hand.
        own = {"group.id": "freehold.drill", "enable.auto.commit": False, "isolation.level": "read_committed"}
        quiet = {"log_level": 0, "reconnect.backoff.max.ms": 500, "auto.offset.reset": "error"}
        self._consumer = Consumer({**config, **own, **quiet})
        # Asked for ends by another thread: asked of the one that reads, the client waits for itself.
        self._asked = Consumer({**config, **own, **quiet})
        self.past = past or Past()
        self._topics = list(topics)
        self._followed: dict[str, list[int]] = {}
        self._records: dict[str, list[SentRecord]] = {topic: [] for topic in topics}
        self._reached: dict[tuple[str, int], int] = {}
        self._newest: dict[str, int] = defaultdict(int)
        for record in [each for records in self.past.records.values() for each in records]:
            self._newest[record.key] = max(self._newest[record.key], record.version)
        self._raw: deque[Any] = deque(maxlen=RAW_RECORDS_MAX)
        self._lock = threading.Lock()
        self._asked_for: queue.SimpleQueue[tuple[Callable[[], None], Future[None]]] = queue.SimpleQueue()
        self._ending = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="drill tail", daemon=True)

    def __enter__(self) -> Tail:
        self._followed = {topic: self._partitions(topic) for topic in self._topics}
        self._assign()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(STOP_TIMEOUT_S)
        if not self._thread.is_alive():
            self._consumer.close()
        self._asked.close()

    def leave(self, topic: str) -> None:
        """Follow a topic no more that is about to be deleted; what it had becomes the past.

        Raises:
            DrillError: It could not be read to here.
        """

        def leave() -> None:
            del self._followed[topic]
            self._assign()
            with self._lock:
                self.past.records[topic] += self._records[topic]
                self._records[topic] = []
                for each in [each for each in self._reached if each[0] == topic]:
                    self.past.ends[each] += self._reached.pop(each)

        self._do(leave)

    def follow(self, topic: str) -> None:
        """Follow the topic of that name that there is now, from its beginning.

        Raises:
            Unreadable: Kafka does not answer, or has no such topic.
            DrillError: What came before could not be read to here.
        """
        partitions = self._partitions(topic)

        def follow() -> None:
            self._followed[topic] = partitions
            self._assign()

        self._do(follow)

    def records(self, topic: str, entity: str) -> list[SentRecord]:
        """Give what the topic, and those of its name before it, have had of a kind of entity, in the order of each partition.

        Raises:
            DrillError: It could not be read to here.
        """
        self._check()
        with self._lock:
            found = [*self.past.records[topic], *self._records[topic]]
        return [record for record in found if record.key.startswith(f"{entity}/")]

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
                each: self._asked.get_watermark_offsets(TopicPartition(topic, each), timeout=ANSWER_TIMEOUT_S)[1]
                for each in self._partitions(topic)
            }
        except KafkaException as error:
            raise Unreadable(str(error)) from error

    def unread(self, topic: str, ends: Mapping[int, int]) -> int:
        """Count the records before these ends that are not seen yet."""
        return sum(max(0, end - self._reached.get((topic, partition), 0)) for partition, end in ends.items())

    def _partitions(self, topic: str) -> list[int]:
        try:
            found = self._asked.list_topics(topic, timeout=ANSWER_TIMEOUT_S).topics[topic]
        except KafkaException as error:
            raise Unreadable(str(error)) from error
        if found.error is not None:
            raise Unreadable(str(found.error))
        return list(found.partitions)

    def _assign(self) -> None:
        places = [(topic, partition) for topic, partitions in self._followed.items() for partition in partitions]
        self._consumer.assign([TopicPartition(*place, self._reached.get(place, OFFSET_BEGINNING)) for place in places])

    def _do(self, what: Callable[[], None]) -> None:
        """Have the thread do something between two reads, and wait for it."""
        self._check()
        done: Future[None] = Future()
        self._asked_for.put((what, done))
        try:
            done.result(STOP_TIMEOUT_S)
        except TimeoutError:
            self._check()
            raise DrillError(f"the topics are not followed: no answer within {STOP_TIMEOUT_S:g} s") from None

    def _do_what_is_asked(self) -> None:
        while not self._asked_for.empty():
            what, done = self._asked_for.get()
            what()
            done.set_result(None)

    def _check(self) -> None:
        if self._failure is not None:
            raise DrillError(f"the topics could not be followed: {self._failure!r}") from self._failure

    def _run(self) -> None:
        try:
            while not self._ending.is_set():
                self._do_what_is_asked()
                for message in self._consumer.consume(CONSUME_RECORDS, CONSUME_S):
                    # An error of the connection is no record: the client connects again by itself.
                    if message.error() is None:
                        self._take(message)
        except Exception as error:  # noqa: BLE001 -- it is raised again where somebody asks
            self._failure = error

    def _take(self, message: Any) -> None:
        topic, place = message.topic(), (message.topic(), message.partition())
        if topic not in self._followed:
            return
        record = read_record(message, behind=self.past.ends[place])
        with self._lock:
            self._records[topic].append(record)
            self._raw.append(message)
        self._newest[record.key] = max(self._newest[record.key], record.version)
        self._reached[place] = message.offset() + 1


def read_record(message: Any, *, behind: int = 0) -> SentRecord:
    """Read what a comparison needs of a record, by the headers' own words and without any code of ours.

    Args:
        message: The record.
        behind: So many came before it on former topics of this name, in its partition.
    """
    headers = message.headers()
    named = dict(headers)
    fields = json.loads(message.value())
    fields.pop("id", None)
    return SentRecord(
        partition=message.partition(),
        offset=behind + message.offset(),
        key=message.key().decode(),
        event_id=named["ce_id"].decode(),
        version=int(named["ce_version"]),
        index=int(named["ce_index"]),
        erases=named.get("ce_erases") == b"true",
        fields=fields,
        content=hashlib.blake2b(repr((message.key(), message.value(), headers)).encode(), digest_size=16).digest(),
        epoch=int(named["ce_epoch"]),
    )
