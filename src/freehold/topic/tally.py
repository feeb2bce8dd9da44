"""What a topic remembers of its owner's store: how often the store has noted that its events were shipped.

It is kept as the position of a group that nobody joins, beside the topic it speaks of: it goes with a topic that is
deleted, needs no right that an owner has not, and no reader of the topic ever meets it.
"""

from __future__ import annotations

import time
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from freehold.errors import TopicUnavailable
from freehold.topic.address import KafkaAddress
from freehold.topic.failure import LOG_LEVEL, explained, failed, log

REQUEST_TIMEOUT_S = 5.0
# Whoever closes waits so long for what was written last, if Kafka is away.
CLOSE_LIMIT_S = 1.0
PARTITION = 0
ASK_AGAIN_S = 0.05
# On a cluster's first day, or after a restart, its groups are looked after a moment later than its topics.
_PASSING = {
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}


class TopicTally:
    """One topic's tally, used by one thread."""

    def __init__(self, address: KafkaAddress, topic: str) -> None:
        self._address = address
        self._topic = topic
        self._consumer: Consumer | None = None

    def read(self) -> int:
        """Give what was written last; 0 when nothing was, or the topic has been made anew since.

        Raises:
            TopicUnavailable: Kafka does not answer.
            ConfigurationError: Kafka refuses the credentials or the rights.
        """
        doing = f"read how far topic {self._topic} has followed its store"
        self.close()
        self._consumer = Consumer(self._settings(), logger=log)
        until = time.monotonic() + REQUEST_TIMEOUT_S
        while True:
            try:
                [place] = self._consumer.committed([TopicPartition(self._topic, PARTITION)], timeout=REQUEST_TIMEOUT_S)
                break
            except KafkaException as error:
                if error.args[0].code() not in _PASSING or time.monotonic() > until:
                    raise failed(doing, error) from error
                time.sleep(ASK_AGAIN_S)
        if place.error is not None:
            raise explained(doing, place.error)
        return max(0, place.offset)

    def write(self, tally: int) -> None:
        """Let the topic know, in the background: one that does not arrive is followed by the next."""
        if self._consumer is None:
            raise TopicUnavailable(f"the tally of topic {self._topic} is not open; read it first")
        try:
            self._consumer.poll(0)  # takes in what befell the connection meanwhile
            self._consumer.commit(offsets=[TopicPartition(self._topic, PARTITION, tally)], asynchronous=True)
        except KafkaException as error:
            raise failed(f"note how far topic {self._topic} has followed its store", error) from error

    def close(self) -> None:
        """Let go of the connection, within a second; idempotent."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()

    def _settings(self) -> dict[str, Any]:
        return {
            **self._address.client_config(),
            "group.id": f"{self._topic}.relay.tally",
            "enable.auto.commit": False,
            # Nobody joins the group: it bounds nothing but the wait for a write as the connection is closed (else 45 s).
            "session.timeout.ms": round(CLOSE_LIMIT_S * 1_000),
            "heartbeat.interval.ms": round(CLOSE_LIMIT_S * 1_000 / 4),
            # What befalls the connection is told of by the request that meets it, and by the writer beside it.
            "log_level": LOG_LEVEL,
        }
