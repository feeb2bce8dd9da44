"""A service writes its own topics and reads what it declared; each refusal stands beside what shows that it is no accident."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer
from confluent_kafka.admin import (
    AclBinding,
    AdminClient,
    NewTopic,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from freehold.errors import ConfigurationError, TopicUnavailable
from freehold.runtime.embedded.kafka import KafkaServer
from freehold.runtime.provision.kafka import list_rights, provision_kafka
from freehold.runtime.provision.secrets import Secrets
from freehold.topic.address import KafkaAddress
from tests.runtime.conftest import ANSWER_TIMEOUT_S, STOP_TIMEOUT_S, wait_until
from tests.runtime.kafka_wire import Wire

pytestmark = pytest.mark.services

SASL_AUTHENTICATION_FAILED = 58
AWKWARD = "p@ss/w:rd?&# %41 ü"


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Secrets:
    return Secrets(tmp_path_factory.mktemp("server") / "secrets.json")


@pytest.fixture(scope="module")
def server(secrets: Secrets) -> Iterator[KafkaServer]:
    server = KafkaServer(secrets.file.parent / "kafka", secrets=secrets)
    server.start(lambda _: None)
    yield server
    server.stop(STOP_TIMEOUT_S)


@pytest.fixture(scope="module")
def users(server: KafkaServer) -> str:
    url = provision_kafka(server.admin_url, "users", AWKWARD, reads=[])
    create(url, "users")
    produce(url, "users")
    return url


@pytest.fixture(scope="module")
def orders(server: KafkaServer, users: str) -> str:
    url = provision_kafka(server.admin_url, "orders", "orders-password", reads=["users"])
    create(url, "orders.dead")
    return url


def test_service_writes_its_own_topic_and_reads_what_it_declared(orders: str) -> None:
    produce(orders, "orders.dead")

    assert consume(orders, "users", group="orders") == b"value"
    assert consume(orders, "orders.dead", group="orders.dead") == b"value"


@pytest.mark.parametrize(
    ("attempt", "code"),
    [
        (lambda url: produce(url, "users"), KafkaError.TOPIC_AUTHORIZATION_FAILED),
        (lambda url: create(url, "users.more"), KafkaError.TOPIC_AUTHORIZATION_FAILED),
        (lambda url: create(url, "ordersx"), KafkaError.TOPIC_AUTHORIZATION_FAILED),
        (lambda url: delete(url, "users"), KafkaError.TOPIC_AUTHORIZATION_FAILED),
        (lambda url: consume(url, "users", group="users"), KafkaError.GROUP_AUTHORIZATION_FAILED),
        (lambda url: grant(url, "orders", ["secrets"]), KafkaError.CLUSTER_AUTHORIZATION_FAILED),
        (lambda url: make_user(url, "mine"), KafkaError.CLUSTER_AUTHORIZATION_FAILED),
    ],
)
def test_all_else_refuses_the_service(orders: str, attempt: Callable[[str], object], code: int) -> None:
    with pytest.raises(KafkaException) as caught:
        attempt(orders)

    assert caught.value.args[0].code() == code


def test_undeclared_topic_cannot_be_read(users: str, orders: str) -> None:
    with pytest.raises(KafkaException) as caught:
        consume(users, "orders.dead", group="users")

    assert caught.value.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


def test_right_that_is_no_longer_declared_is_taken(server: KafkaServer, users: str) -> None:
    provision_kafka(server.admin_url, "reports", "pw", reads=["users"])
    url = provision_kafka(server.admin_url, "reports", "pw", reads=[])

    with pytest.raises(KafkaException) as caught:
        consume(url, "users", group="reports")

    assert caught.value.args[0].code() == KafkaError.TOPIC_AUTHORIZATION_FAILED


def test_strangers_and_wrong_passwords_are_refused(server: KafkaServer, users: str) -> None:
    address = KafkaAddress.parse(users)
    with Wire(server.port) as stranger, pytest.raises(ConnectionResetError):
        stranger.describe_configs()
    wrong = KafkaAddress(address.servers, "users", "wrong", address.security)
    failures: list[int] = []
    client = Producer({**wrong.client_config(), "log_level": "0", "error_cb": lambda e: failures.append(e.code())})
    wait_until(lambda: client.poll(0.05) >= 0 and KafkaError._AUTHENTICATION in failures, "the refusal")


def test_controller_refuses_strangers(secrets: Secrets, server: KafkaServer) -> None:
    """Whoever reaches it can do everything; its own password shows that the question is right."""
    with Wire(server.controller_port) as stranger, pytest.raises(ConnectionResetError):
        stranger.describe_configs()
    with Wire(server.controller_port) as administrator:
        refused = administrator.login("admin", secrets.get("kafka/admin"))
    with Wire(server.controller_port) as controller:
        accepted = controller.login("controller", secrets.get("kafka/controller"))
        answered = controller.describe_configs()

    assert (refused, accepted, answered) == (SASL_AUTHENTICATION_FAILED, 0, 0)


def test_lack_of_rights_and_of_a_server_are_told_apart(users: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigurationError, match="elsewhere"):
        provision_kafka(users, "elsewhere", "secret-word", reads=[])

    monkeypatch.setattr("freehold.runtime.provision.kafka.REQUEST_TIMEOUT_S", 0.5)
    with pytest.raises(TopicUnavailable) as caught:
        provision_kafka("kafka://admin:secret-word@127.0.0.1:1", "elsewhere", "secret-word", reads=[])

    assert "secret-word" not in str(caught.value)


def test_answer_that_does_not_come_is_no_bare_timeout(server: KafkaServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freehold.runtime.provision.kafka.ANSWER_TIMEOUT_S", 0.0)

    with pytest.raises(TopicUnavailable, match="did not answer"):
        provision_kafka(server.admin_url, "late", "pw", reads=[])


def quiet(url: str) -> dict[str, Any]:
    return {**KafkaAddress.parse(url).client_config(), "log_level": "0"}


def create(url: str, topic: str) -> None:
    admin = AdminClient(quiet(url))
    for future in admin.create_topics([NewTopic(topic, 1, 1)]).values():
        future.result(ANSWER_TIMEOUT_S)


def delete(url: str, topic: str) -> None:
    admin = AdminClient(quiet(url))
    for future in admin.delete_topics([topic]).values():
        future.result(ANSWER_TIMEOUT_S)


def make_user(url: str, name: str) -> None:
    """Not asked here: to describe users. confluent-kafka 2.16 corrupts its memory when that is refused."""
    admin = AdminClient(quiet(url))
    change = UserScramCredentialUpsertion(name, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096), b"pw")
    for future in admin.alter_user_scram_credentials([change]).values():
        future.result(ANSWER_TIMEOUT_S)


def grant(url: str, service: str, reads: list[str]) -> None:
    admin = AdminClient(quiet(url))
    rights: list[AclBinding] = list_rights(service, reads)
    for future in admin.create_acls(rights).values():
        future.result(ANSWER_TIMEOUT_S)


def produce(url: str, topic: str) -> None:
    failures: list[KafkaError] = []
    producer = Producer({**quiet(url), "enable.idempotence": True})
    producer.produce(topic, b"value", on_delivery=lambda error, _: failures.append(error) if error else None)
    assert producer.flush(ANSWER_TIMEOUT_S) == 0
    for failure in failures:
        raise KafkaException(failure)


def consume(url: str, topic: str, group: str) -> bytes | None:
    consumer = Consumer({**quiet(url), "group.id": group, "auto.offset.reset": "earliest"})
    try:
        consumer.subscribe([topic])
        message = consumer.poll(ANSWER_TIMEOUT_S)
        if message is None:
            return None
        error = message.error()
        if error is not None:
            raise KafkaException(error)
        value = message.value()
        return value if isinstance(value, bytes) else None
    finally:
        consumer.close()
