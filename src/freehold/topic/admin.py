"""Look after topics: create the own one, tell one made anew from the one that was known, and see how far each reaches."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager
from typing import Any

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec

from freehold.errors import ConfigurationError, FreeholdError, TopicUnavailable
from freehold.service import Topic
from freehold.topic import TopicIdentity
from freehold.topic.address import KafkaAddress
from freehold.topic.failure import LOG_LEVEL, explained, log

REQUEST_TIMEOUT_S = 5.0
# The client waits for its own time-out and then answers; only a bug of its would make us wait for ours.
FUTURE_TIMEOUT_S = REQUEST_TIMEOUT_S + 2.0
KNOWN_WITHIN_S = 5.0
ASK_AGAIN_S = 0.02

_SETTINGS_REFUSED = {KafkaError.INVALID_CONFIG, KafkaError.INVALID_REPLICATION_FACTOR, KafkaError.INVALID_PARTITIONS}


class Topics:
    """The topics of a cluster, as one service may see them. Safe to use from several threads at once."""

    def __init__(self, address: KafkaAddress) -> None:
        self._last_error: KafkaError | None = None
        settings: dict[str, Any] = {**address.client_config(), "log_level": LOG_LEVEL, "error_cb": self._note_error}
        self._admin = AdminClient(settings, logger=log)

    def ensure(self, name: str, wanted: Topic) -> list[str]:
        """Create the topic as its owner wants it; what is there already is compared, and never changed.

        Returns:
            Each difference of an existing topic in plain words; empty when it is as wanted.

        Raises:
            TopicUnavailable: Kafka does not answer.
            ConfigurationError: Kafka refuses the credentials or the settings.
        """
        new = NewTopic(name, wanted.partitions, wanted.replication_factor, config=wanted.settings())
        with self._doing(f"create topic {name}"):
            created = self._admin.create_topics([new], request_timeout=REQUEST_TIMEOUT_S)[name]
            try:
                created.result(FUTURE_TIMEOUT_S)
            except KafkaException as error:
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise
            else:
                self._wait_until_known(name)
                return []
        return self._differences(name, wanted)

    def identify(self, name: str) -> TopicIdentity:
        """Tell which topic has this name now.

        Raises:
            TopicUnavailable: Kafka does not answer, or there is no such topic.
        """
        with self._doing(f"describe topic {name}"):
            asked = self._admin.describe_topics(TopicCollection([name]), request_timeout=REQUEST_TIMEOUT_S)
            found = asked[name].result(FUTURE_TIMEOUT_S)
        if found.topic_id is None:
            raise ConfigurationError(f"this Kafka gives topic {name} no id; Freehold needs Apache Kafka 3 or later")
        return TopicIdentity(name, str(found.topic_id), len(found.partitions))

    def identify_or_none(self, name: str) -> TopicIdentity | None:
        """Tell which topic has this name now; None when none has."""
        try:
            return self.identify(name)
        except TopicUnavailable as error:
            cause = error.__cause__
            if isinstance(cause, KafkaException) and cause.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return None
            raise

    def extents(self, name: str, partitions: Iterable[int]) -> dict[int, tuple[int, int]]:
        """Give the first offset that each partition still has, and the offset after its last readable one.

        Raises:
            TopicUnavailable: Kafka does not answer, or there is no such topic or partition.
        """
        places = [TopicPartition(name, partition) for partition in partitions]
        starts = self._offsets(name, places, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
        ends = self._offsets(name, places, OffsetSpec.latest())  # type: ignore[no-untyped-call]
        return {place.partition: (starts[place.partition], ends[place.partition]) for place in places}

    def newest_at(self, name: str, partitions: Iterable[int]) -> dict[int, int]:
        """Give when the newest record of each partition was written, in ms since 1970; -1 where there is none.

        Raises:
            TopicUnavailable: Kafka does not answer, or there is no such topic or partition.
        """
        places = [TopicPartition(name, partition) for partition in partitions]
        newest: Any = OffsetSpec.max_timestamp()  # type: ignore[no-untyped-call]
        with self._doing(f"list the newest records of topic {name}"):
            asked = self._admin.list_offsets(dict.fromkeys(places, newest), request_timeout=REQUEST_TIMEOUT_S)
            return {place.partition: future.result(FUTURE_TIMEOUT_S).timestamp for place, future in asked.items()}

    def _offsets(self, name: str, places: list[TopicPartition], spec: Any) -> dict[int, int]:
        with self._doing(f"list offsets of topic {name}"):
            asked = self._admin.list_offsets(
                dict.fromkeys(places, spec),
                isolation_level=IsolationLevel.READ_COMMITTED,
                request_timeout=REQUEST_TIMEOUT_S,
            )
            return {place.partition: future.result(FUTURE_TIMEOUT_S).offset for place, future in asked.items()}

    def _wait_until_known(self, name: str) -> TopicIdentity:
        """Wait for a topic that the controller has made until the broker that we ask has heard of it."""
        until = time.monotonic() + KNOWN_WITHIN_S
        while True:
            found = self.identify_or_none(name)
            if found is not None:
                return found
            if time.monotonic() > until:
                raise TopicUnavailable(
                    f"topic {name} is not known to every broker {KNOWN_WITHIN_S:g} s after it was made"
                )
            time.sleep(ASK_AGAIN_S)

    def _differences(self, name: str, wanted: Topic) -> list[str]:
        found = self._wait_until_known(name)
        differences = []
        if found.partition_count != wanted.partitions:
            differences.append(f"topic {name} has {found.partition_count} partitions, declared are {wanted.partitions}")
        resource = ConfigResource(ConfigResource.Type.TOPIC, name)
        with self._doing(f"describe the settings of topic {name}"):
            asked: dict[Any, Future[Any]] = self._admin.describe_configs([resource], request_timeout=REQUEST_TIMEOUT_S)
            settings = asked[resource].result(FUTURE_TIMEOUT_S)
        for setting, value in wanted.settings().items():
            kept = settings[setting].value if setting in settings else None
            if kept != value:
                differences.append(f"topic {name} has {setting}={kept}, declared is {value}")
        return differences

    @contextmanager
    def _doing(self, what: str) -> Iterator[None]:
        try:
            yield
        except KafkaException as error:
            raise self._explain(what, error.args[0]) from error
        except FutureTimeoutError:
            raise self._explain(what, KafkaError(KafkaError._TIMED_OUT)) from None

    def _explain(self, what: str, error: KafkaError) -> FreeholdError:
        if error.code() in _SETTINGS_REFUSED:
            return ConfigurationError(f"{what}: {error.str()}")
        self._admin.poll(0)  # hands over what `_note_error` is to note
        if error.code() == KafkaError._TIMED_OUT and self._last_error is not None:
            # The client says why only beside the answer, which is that none came.
            return explained(what, self._last_error)
        self._last_error = None
        return explained(what, error)

    def _note_error(self, error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN or self._last_error is None:
            self._last_error = error
