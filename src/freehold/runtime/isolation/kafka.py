"""Kafka: what a service's user tries on the topics, groups and rights of others, and on the controller's door."""

from __future__ import annotations

import dataclasses
import functools
import logging
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from confluent_kafka import (
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
)

from freehold.runtime.isolation.attempt import NOBODY, Attempt, Identity, NoAnswer, Refused
from freehold.service import System
from freehold.topic.address import PLAIN_TEXT, KafkaAddress
from freehold.topic.rights import every_right

SERVER = "kafka"
# Refusals are what we ask for: the client's own lines about them would only alarm.
LOG_LEVEL = 0
log = logging.getLogger("freehold.runtime.isolation")
log.addHandler(logging.NullHandler())
log.propagate = False
TIMEOUT_S = 5.0
SILENCE_S = 2.0  # a broker that waits for a login says nothing to who asks without one
PROBE = "freehold_isolation_probe"
TOO_LARGE_BYTES = 3_000_000
READ_RIGHTS = {"READ", "DESCRIBE", "DESCRIBE_CONFIGS"}
REFUSALS = {
    KafkaError.TOPIC_AUTHORIZATION_FAILED,
    KafkaError.GROUP_AUTHORIZATION_FAILED,
    KafkaError.CLUSTER_AUTHORIZATION_FAILED,
    KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    KafkaError.SASL_AUTHENTICATION_FAILED,
    KafkaError._AUTHENTICATION,
}
# What a broker says to somebody who has the right to write: the record itself is impossible.
IMPOSSIBLE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_RECORD, KafkaError.INVALID_MSG}


def kafka_attempts(system: System, identities: Sequence[Identity], controller: str | None) -> list[Attempt]:
    """List what is tried on Kafka."""
    attempts: list[Attempt] = []
    for service in identities:
        reads = set(system.service(service.name).sources())
        for other in (each.name for each in identities if each is not service):
            groups = [f"{other}.{source}" for source in system.service(other).sources()] or [other]
            attempts += _on_other(service, other, may_read=other in reads)
            attempts.append(
                _attempt(
                    service.name,
                    f"see where {other}'s consumers stand, or move them",
                    functools.partial(_use_groups, service, groups),
                )
            )
        attempts += _on_cluster(service)
        for other_identity in (each for each in identities if each is not service):
            attempts.append(_log_in_as(service, other_identity))
    address = KafkaAddress.parse(identities[0].kafka_url)
    attempts.append(_attempt(NOBODY, "use the client listener without a password", lambda: _open_listener(address)))
    if controller is not None:
        attempts.append(_attempt(NOBODY, "use the controller without a password", lambda: _open_controller(controller)))
    return attempts


def _on_other(service: Identity, other: str, *, may_read: bool) -> Iterator[Attempt]:
    def attempt(what: str, run: Callable[[Identity, str], str]) -> Attempt:
        return _attempt(service.name, what, functools.partial(run, service, other))

    if not may_read:
        yield attempt(f"read {other}'s topic, which it does not declare to read", _read)
    yield attempt(f"write to {other}'s topic", _write)
    yield attempt(f"change the settings of {other}'s topic", _alter_settings)
    yield attempt(f"add partitions to {other}'s topic", _add_partitions)
    yield attempt(f"have any other right on {other}'s topic", functools.partial(_list_rights, may_read=may_read))
    yield attempt(f"make a topic under {other}'s name", _make_topic)


def _on_cluster(service: Identity) -> Iterator[Attempt]:
    yield _attempt(service.name, "make a topic under a free name", functools.partial(_make_topic, service, PROBE))
    yield _attempt(service.name, "list everybody's rights", functools.partial(_list_acls, service))
    yield _attempt(service.name, "change the broker's settings", functools.partial(_alter_broker, service))


def _log_in_as(service: Identity, other: Identity) -> Attempt:
    own, theirs = KafkaAddress.parse(service.kafka_url), KafkaAddress.parse(other.kafka_url)
    mixed = dataclasses.replace(theirs, password=own.password)
    return _attempt(service.name, f"log in as {other.name} with its own password", lambda: _log_in(mixed))


def _attempt(who: str, what: str, run: Callable[[], str]) -> Attempt:
    return Attempt(who, SERVER, what, functools.partial(_judge, run))


def _judge(run: Callable[[], str]) -> str:
    try:
        return run()
    except KafkaException as error:
        raise _judged(error.args[0]) from error


def _judged(error: KafkaError) -> Exception:
    return Refused(error.str()) if error.code() in REFUSALS else NoAnswer(error.str())


def _client(service: Identity) -> AdminClient:
    return AdminClient({**KafkaAddress.parse(service.kafka_url).client_config(), "log_level": LOG_LEVEL}, logger=log)


def _ask(service: Identity, ask: Callable[[AdminClient], Any]) -> Any:
    """Ask one thing, and hold the client until the answer is there: what it was asked ends with it."""
    client = _client(service)
    asked = ask(client)
    future = next(iter(asked.values())) if isinstance(asked, dict) else asked
    answer = future.result(2 * TIMEOUT_S)
    client.poll(0)
    return answer


def _read(service: Identity, other: str) -> str:
    """Read from the start of a partition, as a consumer that asks no group for it."""
    settings = KafkaAddress.parse(service.kafka_url).client_config()
    consumer = Consumer(
        {**settings, "group.id": service.name, "auto.offset.reset": "earliest", "log_level": LOG_LEVEL}, logger=log
    )
    try:
        known = consumer.list_topics(other, timeout=TIMEOUT_S).topics[other]
        if known.error is not None:
            raise _judged(known.error)
        consumer.assign([TopicPartition(other, 0, 0)])
        message = consumer.poll(TIMEOUT_S)
        error = message.error() if message is not None else None
        if error is not None:
            raise _judged(error)
        if message is None:
            raise NoAnswer(f"nothing came from {other} within {TIMEOUT_S:g} s, and no refusal either")
        return "read a record"
    finally:
        consumer.close()


def _write(service: Identity, other: str) -> str:
    """Send a record that no topic takes: without a key, and too large. Who may not write is told so before that."""
    outcome: list[KafkaError | None] = []
    settings = KafkaAddress.parse(service.kafka_url).client_config()
    limits = {"message.max.bytes": 2 * TOO_LARGE_BYTES, "message.timeout.ms": int(TIMEOUT_S * 1000)}
    producer = Producer({**settings, **limits, "log_level": LOG_LEVEL}, logger=log)
    producer.produce(other, value=bytes(TOO_LARGE_BYTES), on_delivery=lambda error, _: outcome.append(error))
    producer.flush(2 * TIMEOUT_S)
    error = outcome[0] if outcome else KafkaError(KafkaError._TIMED_OUT)
    if error is None or error.code() in IMPOSSIBLE:
        return "the broker looked at its record"
    raise _judged(error)


def _alter_settings(service: Identity, other: str) -> str:
    entry = ConfigEntry("retention.ms", "1000", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.TOPIC, other, incremental_configs=[entry])
    _ask(
        service,
        lambda client: client.incremental_alter_configs([resource], validate_only=True, request_timeout=TIMEOUT_S),
    )
    return "was allowed to"


def _alter_broker(service: Identity) -> str:
    entry = ConfigEntry("log.cleaner.threads", "1", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.BROKER, "1", incremental_configs=[entry])
    _ask(
        service,
        lambda client: client.incremental_alter_configs([resource], validate_only=True, request_timeout=TIMEOUT_S),
    )
    return "was allowed to"


def _add_partitions(service: Identity, other: str) -> str:
    asked = [NewPartitions(other, 100)]
    _ask(service, lambda client: client.create_partitions(asked, validate_only=True, request_timeout=TIMEOUT_S))
    return "was allowed to"


def _list_rights(service: Identity, other: str, *, may_read: bool) -> str:
    """Ask the broker which rights it would grant; deleting and altering cannot be tried without doing it."""
    asked = TopicCollection([other])
    found = _ask(
        service,
        lambda client: client.describe_topics(asked, include_authorized_operations=True, request_timeout=TIMEOUT_S),
    )
    rights = {operation.name for operation in found.authorized_operations or ()}
    excess = rights - (READ_RIGHTS if may_read else set())
    if excess:
        return f"has {', '.join(sorted(excess))}"
    raise Refused(f"the broker grants {', '.join(sorted(rights)) or 'nothing'}, as declared")


def _use_groups(service: Identity, groups: Sequence[str]) -> str:
    """Ask for the groups' positions; the right to move them, or to join, includes the right to see them."""
    refusals = []
    for group in groups:
        asked = [ConsumerGroupTopicPartitions(group)]
        try:
            _ask(service, functools.partial(_list_offsets, asked))
        except KafkaException as error:
            refusals.append(_judged(error.args[0]))
        else:
            return f"read the positions of {group}"
    raise refusals[0]


def _list_offsets(asked: list[ConsumerGroupTopicPartitions], client: AdminClient) -> Any:
    return client.list_consumer_group_offsets(asked, request_timeout=TIMEOUT_S)


def _make_topic(service: Identity, other: str) -> str:
    name = other if other == PROBE else f"{other}.{PROBE}"
    wanted = [NewTopic(name, 1, 1)]
    _ask(service, lambda client: client.create_topics(wanted, validate_only=True, request_timeout=TIMEOUT_S))
    return "was allowed to"


def _list_acls(service: Identity) -> str:
    found = _ask(service, lambda client: client.describe_acls(every_right(), request_timeout=TIMEOUT_S))
    if not found:
        raise Refused("the broker shows no right, not even its own")
    return f"read {len(found)} rights"


def _log_in(address: KafkaAddress) -> str:
    failures: list[KafkaError] = []
    settings: dict[str, Any] = {**address.client_config(), "log_level": LOG_LEVEL, "error_cb": failures.append}
    client = AdminClient(settings, logger=log)
    try:
        client.list_topics(timeout=SILENCE_S)
    except KafkaException as error:
        client.poll(0.1)
        refusal = next((each for each in failures if each.code() in REFUSALS), error.args[0])
        raise _judged(refusal) from error
    return "logged in"


def _open_listener(address: KafkaAddress) -> str:
    host, _, port = address.servers[0].rpartition(":")
    if address.security == PLAIN_TEXT:
        return "the listener asks nobody for a password"
    return _ask_without_login(host, int(port))


def _open_controller(controller: str) -> str:
    host, _, port = controller.rpartition(":")
    return _ask_without_login(host, int(port))


def _ask_without_login(host: str, port: int) -> str:
    """Ask for no topics to be made (CreateTopics, version 2): harmless, valid, and answered by whoever asks for no login."""
    body = struct.pack(">hhih", 19, 2, 1, -1) + struct.pack(">ii?", 0, 1000, True)
    try:
        with socket.create_connection((host, port), timeout=SILENCE_S) as connection:
            connection.sendall(struct.pack(">i", len(body)) + body)
            answer = connection.recv(4)
    except TimeoutError:
        raise NoAnswer(f"{host}:{port} neither answered nor hung up") from None
    except ConnectionResetError:
        answer = b""
    except OSError as error:
        raise NoAnswer(f"{host}:{port}: {error}") from error
    if answer:
        return "the server answered without a login"
    raise Refused("the server hung up on a request without a login")
