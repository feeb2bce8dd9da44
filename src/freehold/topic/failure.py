"""Turn what Kafka's client raises into Freehold's errors, split by who must act."""

from __future__ import annotations

import logging

from confluent_kafka import KafkaError, KafkaException

from freehold.errors import ConfigurationError, FreeholdError, TopicUnavailable

# librdkafka's own lines go through Python's logging, never straight to standard error.
log = logging.getLogger("freehold.topic")

# 2 is syslog's "critical". Its errors come to us as errors as well, and are said once, by whoever meets them; a broker that is
# away would otherwise be told of at each attempt to reach it.
LOG_LEVEL = 2

REFUSED = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._AUTHENTICATION,  # noqa: SLF001, RUF100 -- librdkafka's public code for the same
}


def failed(doing: str, error: KafkaException) -> FreeholdError:
    """Give the error to raise for what Kafka's client raised while `doing`.

    Refused credentials or rights need somebody to mend them; all else is waited out.
    """
    return explained(doing, error.args[0])


def explained(doing: str, error: KafkaError) -> FreeholdError:
    """Give the error to raise for an error that Kafka's client handed over while `doing`."""
    text = f"{doing}: {error.str()}"
    if error.code() in REFUSED:
        return ConfigurationError(f"{text}; check the Kafka URL and the rights of its user")
    if error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
        text += "; a service makes its topic as it starts, SERVICE.dead when its first event dies; was it deleted?"
    return TopicUnavailable(text)
