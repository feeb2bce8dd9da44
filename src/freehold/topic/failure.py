"""Turn what Kafka's client raises into Freehold's errors, split by who must act."""

from __future__ import annotations

import logging

from confluent_kafka import KafkaError, KafkaException

from freehold.errors import ConfigurationError, FreeholdError, TopicUnavailable

# librdkafka's own lines go through Python's logging, never straight to standard error.
log = logging.getLogger("freehold.topic")

# 3 is syslog's "error". Its warnings repeat what the errors and our own states say, and warn of settings chosen on purpose.
LOG_LEVEL = 3

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
    return TopicUnavailable(text)
