"""The topic's tally while Kafka is away: the request fails, the log stays readable, and nobody waits for it."""

from __future__ import annotations

import logging
import time

import pytest

from freehold.errors import TopicUnavailable
from freehold.runtime.embedded.ports import LOOPBACK, reserve_port
from freehold.topic.address import KafkaAddress
from freehold.topic.tally import TopicTally

# The client itself would wait 45 s for what was written; a service that is told to stop has not got them.
BOUND_S = 20


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
        begun = time.monotonic()
        tally.close()
    assert caplog.messages == []
    assert time.monotonic() - begun < BOUND_S
