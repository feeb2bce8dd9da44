"""Promise 7, proven by trying: each service's own credentials against everybody else's data, topics, slots and backups.

Every attempt is harmless where it succeeds: what it would change is a probe of its own, is undone, or is asked for in a
form that the server must refuse for another reason after it has allowed it. A server's refusal is told apart from a
server that does not answer: the latter proves nothing, and fails the check.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from freehold.errors import ConfigurationError
from freehold.runtime.isolation.attempt import Attempt, Identity, Result, carry_out
from freehold.service import System

__all__ = ["Attempt", "Identity", "Result", "check_isolation"]

ATTEMPTS_AT_ONCE = 6


def check_isolation(system: System, identities: list[Identity], controller: str | None) -> list[Result]:
    """Try what must not be possible, and say what came of it.

    Args:
        system: The declaration: who reads whose topic.
        identities: Each service, with its own credentials.
        controller: `host:port` of Kafka's controller if it is known.

    Raises:
        ConfigurationError: There is nobody whose credentials could be tried.
    """
    if not identities:
        raise ConfigurationError("there are no credentials to try; start the system here: freehold up SYSTEM")
    from freehold.runtime.isolation.kafka import kafka_attempts
    from freehold.runtime.isolation.mongo import mongo_attempts
    from freehold.runtime.isolation.postgres import postgres_attempts

    attempts = [
        *postgres_attempts(identities),
        *mongo_attempts(identities),
        *kafka_attempts(system, identities, controller),
    ]
    with ThreadPoolExecutor(ATTEMPTS_AT_ONCE) as pool:
        return list(pool.map(carry_out, attempts))
