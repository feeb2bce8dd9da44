"""Write to the own topic: gapless, in order, acknowledged by every replica in sync; a failure ends the writer.

The order of an entity's events rests on three settings: idempotence keeps librdkafka's own repeats in order, the gapless
guarantee ends the producer when a batch fails for good, and no message ever times out locally, since the next version
could then pass it. So while Kafka is away messages wait, within the caller's bound, and go out as they are; whatever
fails for good is found by the caller, who begins again from what was not acknowledged.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from freehold.errors import TopicUnavailable
from freehold.event import MESSAGE_BYTES_MAX
from freehold.topic.address import KafkaAddress
from freehold.topic.admin import Topics
from freehold.topic.failure import LOG_LEVEL, explained, failed, log

# Bounds what waits inside librdkafka beside the caller's own bound.
QUEUE_MESSAGES_MAX = 50_000
QUEUE_KBYTES_MAX = 32 * 1024
CLOSE_WAIT_S = 0.1


class Shipment:
    """Records that were sent together; done when the topic has acknowledged each of them.

    It is itself the delivery callback: one bound method call per record is all that the way back costs.
    """

    __slots__ = ("failure", "waiting")

    def __init__(self, record_count: int) -> None:
        self.waiting = record_count
        self.failure: KafkaError | None = None

    def settle(self, error: KafkaError | None, _message: Message) -> None:
        """Take note of one record's delivery."""
        if error is not None:
            self.failure = error
        self.waiting -= 1


class Writer:
    """Writes to one topic, from one thread at a time."""

    def __init__(self, address: KafkaAddress, topic: str) -> None:
        self.topic = topic
        self.last_error = ""
        self._address = address
        self._producer: Producer | None = None

    def open(self) -> None:
        """Connect to the topic, which must exist.

        Raises:
            TopicUnavailable: Kafka does not answer, or there is no such topic.
            ConfigurationError: Kafka refuses the credentials.
        """
        # A producer's own look-up would create the topic on a broker that does so for anybody who asks.
        Topics(self._address).identify(self.topic)
        self.last_error = ""
        self._producer = Producer({**self._address.client_config(), **self._settings()}, logger=log)

    def send(
        self,
        key: str | bytes | None,
        value: bytes | None,
        headers: Sequence[tuple[str, bytes | None]],
        shipment: Shipment,
    ) -> bool:
        """Queue a record behind those sent before it.

        Returns:
            False when the queue is full: it was not queued; `poll`, and send it again.

        Raises:
            TopicUnavailable: The writer has failed; close it and begin again.
        """
        try:
            # The client's annotation asks for a list of exactly its own union; it only reads it.
            self._opened.produce(self.topic, value, key, headers=headers, on_delivery=shipment.settle)  # type: ignore[arg-type]
        except BufferError:
            return False
        except KafkaException as error:
            raise failed(f"write to topic {self.topic}", error) from error
        return True

    def poll(self, wait_s: float) -> None:
        """Let shipments know what was delivered; returns after `wait_s`, or as soon as some were."""
        self._opened.poll(wait_s)

    def check(self, shipment: Shipment) -> None:
        """Raise TopicUnavailable, or ConfigurationError, when a record of the shipment was refused."""
        if shipment.failure is not None:
            raise explained(f"write to topic {self.topic}", shipment.failure)

    def close(self) -> None:
        """Drop what is still queued and let go of the connections; idempotent.

        What was on its way may yet arrive, as an exact copy of what will be sent again.
        """
        producer, self._producer = self._producer, None
        if producer is not None:
            # Dropping what is on its way is fatal to a producer that must leave no gap; it is dropped with it.
            with contextlib.suppress(KafkaException):
                producer.purge()
                producer.flush(CLOSE_WAIT_S)

    @property
    def _opened(self) -> Producer:
        if self._producer is None:
            raise TopicUnavailable(f"the writer of topic {self.topic} is not open")
        return self._producer

    def _settings(self) -> dict[str, object]:
        return {
            "log_level": LOG_LEVEL,
            "error_cb": self._note_error,
            "acks": "all",
            "enable.idempotence": True,
            "enable.gapless.guarantee": True,
            "message.timeout.ms": 0,
            "message.max.bytes": MESSAGE_BYTES_MAX,
            "partitioner": "murmur2_random",
            # A wait only adds to latency (decision 12); batches form by themselves as soon as there is a queue.
            "linger.ms": 0,
            # Headers repeat from record to record: most of the bytes are saved, and nothing was faster (decision 12).
            "compression.type": "lz4",
            "queue.buffering.max.messages": QUEUE_MESSAGES_MAX,
            "queue.buffering.max.kbytes": QUEUE_KBYTES_MAX,
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 1_000,
        }

    def _note_error(self, error: KafkaError) -> None:
        self.last_error = error.str()
