"""A service's own Kafka user: it owns its topic, and reads the topics that it declared."""

import time
from collections.abc import Sequence
from dataclasses import replace

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from freehold.errors import ConfigurationError, TopicUnavailable
from freehold.topic.address import KafkaAddress
from freehold.topic.rights import every_right

REQUEST_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 15.0  # longer than the request's own, which tells more
POLL_S = 0.02
LOGIN_TIMEOUT_S = 10.0
ITERATIONS = 4096  # the least that SCRAM-SHA-256 allows; a generated password gains nothing from more
CLUSTER = "kafka-cluster"
OWN_TOPIC = ("CREATE", "WRITE", "READ", "DESCRIBE", "ALTER_CONFIGS", "DESCRIBE_CONFIGS")
READ_TOPIC = ("READ", "DESCRIBE", "DESCRIBE_CONFIGS")
GROUP = ("READ", "DESCRIBE")
MECHANISMS = {"SCRAM-SHA-256": ScramMechanism.SCRAM_SHA_256, "SCRAM-SHA-512": ScramMechanism.SCRAM_SHA_512}


def provision_kafka(admin_url: str, service: str, password: str, *, reads: Sequence[str]) -> str:
    """Give a service its own Kafka user with exactly the rights that it needs; rights it no longer needs are taken.

    Args:
        admin_url: Where and as whom to do it: a `kafka://` URL of a user who may alter users and rights.
        service: The name of service and user, and of the topic and consumer group that it owns, with all names
            that begin with it and a dot.
        password: The user's password.
        reads: The topics of others that it may read.

    Returns:
        The service's own URL; it holds the password.

    Raises:
        TopicUnavailable: Kafka does not answer, or the new user cannot log in within a limit.
        ConfigurationError: Kafka refused; the message says what and why.
    """
    address = KafkaAddress.parse(admin_url)
    if address.mechanism not in MECHANISMS:
        raise ConfigurationError(f"users can be made for {', '.join(MECHANISMS)} only, not for {address.mechanism}")
    own = replace(address, user=service, password=password)
    admin = AdminClient({**address.client_config(), "log_level": "0"})
    try:
        _make_user(admin, own)
        _set_rights(admin, f"User:{service}", list_rights(service, reads))
    except KafkaException as error:
        failure = error.args[0]
        kind = TopicUnavailable if failure.retriable() or failure.code() < 0 else ConfigurationError
        # By name: the broker's own words on a lack of rights are its internals.
        raise kind(f"Kafka refused to make the user {service}: {failure.name()}") from error
    except TimeoutError as error:
        raise TopicUnavailable(f"Kafka did not answer while making the user {service}; try again") from error
    _wait_for_login(own)
    return own.format()


def list_rights(service: str, reads: Sequence[str]) -> list[AclBinding]:
    """List the rights that a service needs."""
    principal = f"User:{service}"
    rights = [_allow(principal, ResourceType.BROKER, CLUSTER, "IDEMPOTENT_WRITE")]
    for pattern, name in ((ResourcePatternType.LITERAL, service), (ResourcePatternType.PREFIXED, f"{service}.")):
        rights += [_allow(principal, ResourceType.TOPIC, name, operation, pattern) for operation in OWN_TOPIC]
        rights += [_allow(principal, ResourceType.GROUP, name, operation, pattern) for operation in GROUP]
    for topic in reads:
        rights += [_allow(principal, ResourceType.TOPIC, topic, operation) for operation in READ_TOPIC]
    return rights


def _allow(
    principal: str,
    resource: ResourceType,
    name: str,
    operation: str,
    pattern: ResourcePatternType = ResourcePatternType.LITERAL,
) -> AclBinding:
    return AclBinding(resource, name, pattern, principal, "*", AclOperation[operation], AclPermissionType.ALLOW)


def _make_user(admin: AdminClient, own: KafkaAddress) -> None:
    credential = ScramCredentialInfo(MECHANISMS[own.mechanism], ITERATIONS)
    change = UserScramCredentialUpsertion(own.user, credential, own.password.encode())
    for future in admin.alter_user_scram_credentials([change], request_timeout=REQUEST_TIMEOUT_S).values():
        future.result(ANSWER_TIMEOUT_S)


def _set_rights(admin: AdminClient, principal: str, wanted: list[AclBinding]) -> None:
    found = admin.describe_acls(every_right(principal), request_timeout=REQUEST_TIMEOUT_S).result(ANSWER_TIMEOUT_S)
    missing = [right for right in wanted if right not in found]
    excess = [_only(right) for right in found if right not in wanted]
    if missing:
        for made in admin.create_acls(missing, request_timeout=REQUEST_TIMEOUT_S).values():
            made.result(ANSWER_TIMEOUT_S)
    if excess:
        for taken in admin.delete_acls(excess, request_timeout=REQUEST_TIMEOUT_S).values():
            taken.result(ANSWER_TIMEOUT_S)


def _only(right: AclBinding) -> AclBindingFilter:
    return AclBindingFilter(
        right.restype,
        right.name,
        right.resource_pattern_type,
        right.principal,
        right.host,
        right.operation,
        right.permission_type,
    )


def _wait_for_login(own: KafkaAddress) -> None:
    """Wait until the broker has learnt of the new password, which it does a moment after it accepted it."""
    limit = time.monotonic() + LOGIN_TIMEOUT_S
    while time.monotonic() < limit:
        try:
            AdminClient({**own.client_config(), "log_level": "0"}).list_topics(timeout=1.0)
        except KafkaException:
            time.sleep(POLL_S)
        else:
            return
    raise TopicUnavailable(
        f"Kafka accepted the user {own.user}, who cannot log in after {LOGIN_TIMEOUT_S:g} s; try again"
    )
