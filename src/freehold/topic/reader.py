"""Read another service's topic as a member of a group; where to read from is the caller's to say, never the broker's."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from freehold.errors import FencedError, FreeholdError, IdentityError, TopicUnavailable
from freehold.topic import Record
from freehold.topic.address import KafkaAddress
from freehold.topic.failure import LOG_LEVEL, REFUSED, explained, failed, log

# A killed member's partitions wait this long for another member, unless its successor has the same instance name.
SESSION_TIMEOUT_MS = 6_000
HEARTBEAT_MS = 1_500
# The longest that applying a batch may keep the reading thread from asking for more.
POLL_INTERVAL_MS_MAX = 300_000
# A group lets a member in within its other members' sessions. A broker that moves the group elsewhere amid that forgets to
# answer, and librdkafka would wait for the poll interval and 3 s.
JOIN_LIMIT_S = 20.0
# Read ahead at most this much, whatever waits on the topic. What is fetched is compressed, and held whole until its last
# record was read: four times as much doubled a consumer's memory and drained no backlog faster.
AHEAD_KBYTES_MAX = 4 * 1024
AHEAD_MESSAGES_MIN = 2_000
FETCH_BYTES_MAX = 4 * 1024 * 1024
FETCH_PARTITION_BYTES = 256 * 1024  # a larger record comes all the same
READ_RECORDS_MAX = 1_000

Assigned = Callable[[list[int]], Mapping[int, int | None]]
Revoked = Callable[[list[int]], None]

_FENCED = {KafkaError.FENCED_INSTANCE_ID, KafkaError._FENCED}
_GONE = {KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE}


class Reader:
    """One member of a group that reads one topic. Everything is called from one thread, which may block in it.

    Args:
        address: Where Kafka is.
        topic: The topic to read.
        group: The group that shares the partitions.
        instance: A name that stays the same when this process is started again, so that it takes its partitions back
            at once; without one the group waits for a killed member's session to end.
    """

    def __init__(self, address: KafkaAddress, topic: str, group: str, instance: str | None) -> None:
        self.topic = topic
        self.group = group
        self._settings = address.client_config() | self._group_settings(group, instance)
        self._consumer: Consumer | None = None
        self._failure: Exception | None = None
        self._assigned: list[TopicPartition] = []
        self._assignment_count = 0
        self._joining_since: float | None = None
        self._held: set[int] = set()

    def open(self, on_assigned: Assigned, on_revoked: Revoked) -> None:
        """Join the group.

        Args:
            on_assigned: Given the partitions that are now this member's; gives the offset to read each from, None for
                where the log begins. Called from `read`, which raises what it raises.
            on_revoked: Given the partitions that are not this member's any more, called from `read` and `close`.
        """

        def assign(consumer: Consumer, places: list[TopicPartition]) -> None:
            try:
                offsets = on_assigned([place.partition for place in places])
            except FreeholdError as error:  # carried past librdkafka, which called us
                self._failure = error
                offsets = {}
            self._held = set()
            self._joining_since = None
            self._assignment_count += 1
            self._assigned = [
                TopicPartition(self.topic, partition, OFFSET_BEGINNING if offset is None else offset)
                for partition, offset in offsets.items()
            ]
            consumer.assign(self._assigned)

        def revoke(consumer: Consumer, places: list[TopicPartition]) -> None:
            try:
                on_revoked([place.partition for place in places])
            except FreeholdError as error:
                self._failure = error
            self._assigned = []
            self._joining_since = time.monotonic()
            consumer.unassign()

        self._failure = None
        self._joining_since = time.monotonic()
        self._consumer = Consumer({**self._settings, "error_cb": self._note_error}, logger=log)
        self._consumer.subscribe([self.topic], on_assign=assign, on_revoke=revoke, on_lost=revoke)

    @property
    def is_joining(self) -> bool:
        """Say whether the group has yet to tell what is this member's, which may be nothing."""
        return self._joining_since is not None

    def read(self, wait_s: float) -> list[Record]:
        """Give the records that are there, in order per partition; wait for the first at most `wait_s`.

        Raises:
            TopicUnavailable: Kafka does not answer, the group is gone, or it has not let this member in within JOIN_LIMIT_S.
            FencedError: Another process has joined with this instance's name.
            IdentityError: An offset that was asked for is not in the log.
            ConfigurationError: Kafka refuses the credentials or the rights.
        """
        consumer = self._opened
        assignment = self._assignment_count
        try:
            first = consumer.poll(wait_s)
            # Asking for many at once waits for all of them; asked without waiting, what is there comes back.
            messages = [] if first is None else [first, *consumer.consume(READ_RECORDS_MAX, 0)]
        except KafkaException as error:
            raise failed(f"read topic {self.topic}", error) from error
        if self._failure is not None:
            raise self._failure
        if self._joining_since is not None and time.monotonic() - self._joining_since > JOIN_LIMIT_S:
            raise TopicUnavailable(
                f"read topic {self.topic}: the group {self.group} has not let this member in within {JOIN_LIMIT_S:g} s"
            )
        if self._assignment_count != assignment and messages:
            # Some may be from before the assignment and ahead of what was just claimed: begin again where it says.
            consumer.assign(self._assigned)
            return []
        return [self._record(message) for message in messages]

    def hold(self, partitions: set[int]) -> None:
        """Read nothing of these partitions, and all the others, until told otherwise."""
        wanted = partitions & {place.partition for place in self._opened.assignment()} if partitions else set()
        if wanted == self._held:
            return
        self._opened.pause([TopicPartition(self.topic, partition) for partition in wanted - self._held])
        self._opened.resume([TopicPartition(self.topic, partition) for partition in self._held - wanted])
        self._held = wanted

    def ends(self) -> dict[int, int]:
        """Give the offset after the last record of each assigned partition, as last heard; asks nobody."""
        found = {}
        for place in self._assigned:
            _, end = self._opened.get_watermark_offsets(place, cached=True)
            if end >= 0:
                found[place.partition] = end
        return found

    def report(self, positions: Mapping[int, int]) -> None:
        """Tell the broker how far this group has come, for Kafka's own tools; nothing here ever reads it."""
        places = [TopicPartition(self.topic, partition, offset) for partition, offset in positions.items()]
        try:
            self._opened.commit(offsets=places, asynchronous=True)
        except KafkaException as error:
            log.info("report positions of topic %s: %s", self.topic, error.args[0].str())

    def close(self) -> None:
        """Leave the group, unless this instance has a name to come back under; idempotent."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()

    @property
    def _opened(self) -> Consumer:
        if self._consumer is None:
            raise TopicUnavailable(f"the reader of topic {self.topic} is not open")
        return self._consumer

    def _record(self, message: Message) -> Record:
        error = message.error()
        if error is not None:
            raise self._explain(error)
        return record_of(message)

    def _explain(self, error: KafkaError) -> FreeholdError:
        doing = f"read topic {self.topic}"
        if error.code() in _GONE:
            return IdentityError(
                f"{doing}: {error.str()}; the log no longer holds the stored position. Rebuild what was read from it"
            )
        if error.code() in _FENCED:
            return FencedError(f"{doing}: another process has joined under this instance's name ({error.str()})")
        return explained(doing, error)

    def _note_error(self, error: KafkaError) -> None:
        if error.fatal() or error.code() in REFUSED:
            self._failure = self._explain(error)

    @staticmethod
    def _group_settings(group: str, instance: str | None) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "log_level": LOG_LEVEL,
            "group.id": group,
            "session.timeout.ms": SESSION_TIMEOUT_MS,
            "heartbeat.interval.ms": HEARTBEAT_MS,
            "max.poll.interval.ms": POLL_INTERVAL_MS_MAX,
            "enable.auto.commit": False,
            # An offset that is not there is a log that is not the same: never jump (pitfalls: truncated or expired).
            "auto.offset.reset": "error",
            "isolation.level": "read_committed",
            "allow.auto.create.topics": False,
            "fetch.min.bytes": 1,
            "fetch.max.bytes": FETCH_BYTES_MAX,
            "fetch.message.max.bytes": FETCH_PARTITION_BYTES,
            "queued.min.messages": AHEAD_MESSAGES_MIN,
            "queued.max.messages.kbytes": AHEAD_KBYTES_MAX,
            # By default fetching rests a whole second after reading ahead enough, and a backlog drains in bursts.
            "fetch.queue.backoff.ms": 5,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1_000,
        }
        if instance is not None:
            settings["group.instance.id"] = instance
        return settings


def record_of(message: Message) -> Record:
    """Give the record that a message without an error is."""
    found: Any = message  # the client's annotations allow for messages that were never on a topic
    return Record(
        found.topic(),
        found.partition(),
        found.offset(),
        found.timestamp()[1],
        found.key(),
        found.value(),
        tuple(found.headers() or ()),
    )
