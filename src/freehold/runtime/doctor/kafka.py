"""What a Kafka cluster says of itself."""

from __future__ import annotations

import dataclasses
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    ConfigResource,
)

from freehold.errors import TopicUnavailable
from freehold.topic.address import KafkaAddress
from freehold.topic.failure import LOG_LEVEL, failed, log
from freehold.topic.rights import every_right


@dataclasses.dataclass(frozen=True)
class KafkaServerFacts:
    """What the doctor looks at."""

    broker_count: int
    has_authorizer: bool
    authorizer_words: str
    message_bytes_max: int
    makes_topics: bool
    rebalance_delay_ms: int


def read_facts(url: str, timeout_s: float) -> KafkaServerFacts:
    """Ask the cluster.

    Raises:
        TopicUnavailable: It does not answer.
        ConfigurationError: The URL cannot be read, or the login is refused.
    """
    refusals: list[Any] = []
    settings: dict[str, Any] = {"log_level": LOG_LEVEL, "error_cb": refusals.append}
    client = AdminClient(settings | KafkaAddress.parse(url).client_config(), logger=log)
    try:
        brokers = client.list_topics(timeout=timeout_s).brokers
        broker = ConfigResource(ConfigResource.Type.BROKER, str(next(iter(brokers))))
        asked = client.describe_configs([broker], request_timeout=timeout_s)
        found: dict[str, Any] = next(iter(asked.values())).result(2 * timeout_s)
    except KafkaException as error:
        client.poll(0.1)
        # The client waits for brokers that refuse its login, and in the end says only that it waited.
        if refusals:
            raise TopicUnavailable(refusals[0].str()) from error
        raise failed("ask Kafka", error) from error
    has_authorizer, words = _read_authorizer(client, timeout_s)
    return KafkaServerFacts(
        broker_count=len(brokers),
        has_authorizer=has_authorizer,
        authorizer_words=words,
        message_bytes_max=int(found["message.max.bytes"].value),
        makes_topics=found["auto.create.topics.enable"].value == "true",
        rebalance_delay_ms=int(found["group.initial.rebalance.delay.ms"].value),
    )


def _read_authorizer(client: AdminClient, timeout_s: float) -> tuple[bool, str]:
    try:
        client.describe_acls(every_right(), request_timeout=timeout_s).result(2 * timeout_s)
    except KafkaException as error:
        return False, error.args[0].str()
    return True, ""
