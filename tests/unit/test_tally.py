"""The topic's tally while Kafka is away: the request fails, and the log stays readable."""

from __future__ import annotations

import logging

import pytest

from freehold.errors import TopicUnavailable
from freehold.runtime.embedded.ports import LOOPBACK, reserve_port
from freehold.topic.address import KafkaAddress
from freehold.topic.tally import TopicTally


def test_kafka_that_refuses_connections_is_told_of_by_the_request_alone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its client tries to connect hundreds of times a second; a line for each would bury everything else."""
    monkeypatch.setattr("freehold.topic.tally.REQUEST_TIMEOUT_S", 0.5)
    with caplog.at_level(logging.DEBUG), reserve_port([0]) as port:
        tally = TopicTally(KafkaAddress.parse(f"kafka://{LOOPBACK}:{port}"), "users.events")
        with pytest.raises(TopicUnavailable):
            tally.read()
        tally.write(1)
        tally.close()
    assert caplog.messages == []
