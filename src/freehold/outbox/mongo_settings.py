"""How Freehold speaks to MongoDB: the bounds of every wait, the names that it keeps for itself, what an error means."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Iterator
from typing import Any

from pymongo.errors import ConfigurationError as DriverConfigurationError
from pymongo.errors import ConnectionFailure, InvalidURI, OperationFailure, PyMongoError, WaitQueueTimeoutError
from pymongo.uri_parser import parse_uri

from freehold.errors import ConfigurationError, FreeholdError, StoreUnavailable

# Freehold's own collections in the service's database.
OUTBOX = "freehold_outbox"
EPOCHS = "freehold_store"
LEASES = "freehold_leases"
POSITIONS = "freehold_positions"
APPLIED = "freehold_applied"
PARKED = "freehold_parked"
ROUNDS = "freehold_rounds"
CHOSEN = "freehold_chosen"
HOLDS = "freehold_holds"
REBUILDS = "freehold_rebuilds"
AUDITS = "freehold_audits"
OWN_PREFIX = "freehold_"

# An election takes about two seconds, a restart after kill -9 three; a caller waits no longer for a primary.
SELECTION_LIMIT_MS = 5_000
CONNECT_LIMIT_MS = 2_000
# No statement of Freehold's runs longer; more than the server's own limit for a transaction (30 to 60 s).
SOCKET_LIMIT_MS = 60_000
WAIT_QUEUE_LIMIT_MS = 5_000
# A transaction takes about 4 ms, so 32 connections carry some thousands a second.
CONNECTIONS_MAX = 32

_UNAUTHORIZED = frozenset({13, 18})
# Being the primary no more, shutting down, a cursor that went with its server: all end by asking again.
_PASSING = frozenset({6, 7, 43, 89, 91, 175, 189, 237, 262, 317, 358, 9001, 10058, 10107, 11600, 11602, 13435, 13436})
# What a follower of the log meets when the log's history is gone or cannot be read on.
_HISTORY_LOST = frozenset({136, 222, 234, 239, 246, 280, 286, 10334})


def new_name(service: str) -> str:
    """Name this process to the server: unique, so that its connections and transactions can be told from others'."""
    return f"{name_prefix(service)}{uuid.uuid4().hex}"


def name_prefix(service: str) -> str:
    """Give what the names of all processes of a service begin with."""
    return f"freehold/{service}/"


def client_options(name: str) -> dict[str, Any]:
    """Give the driver's options; each wait has its bound.

    Args:
        name: From `new_name`.
    """
    return {
        "appname": name,
        "serverSelectionTimeoutMS": SELECTION_LIMIT_MS,
        "connectTimeoutMS": CONNECT_LIMIT_MS,
        "socketTimeoutMS": SOCKET_LIMIT_MS,
        "waitQueueTimeoutMS": WAIT_QUEUE_LIMIT_MS,
        "maxPoolSize": CONNECTIONS_MAX,
        # A process that lives can be seen by its connection (mongo_presence).
        "minPoolSize": 1,
        # What another instance has read must not be undone by an election. w=1 would also make change streams wait for
        # the journal's next flush, up to 100 ms; majority flushes it at once.
        "w": "majority",
        "readConcernLevel": "majority",
        "retryWrites": True,
        "tz_aware": True,
        "uuidRepresentation": "standard",
    }


def database_name(url: str, service: str) -> str:
    """Take the database from the URL's path; without one it has the service's name.

    Raises:
        ConfigurationError: It is no MongoDB URL; the message holds no part of it that could be a password.
    """
    try:
        name = parse_uri(url)["database"]
    except (InvalidURI, DriverConfigurationError, ValueError) as error:
        raise ConfigurationError(
            f"the store URL of {service} is no MongoDB URL ({type(error).__name__}); "
            f"it looks like mongodb://user:password@host:27017/{service}?replicaSet=...&authSource={service}"
        ) from None
    return name or service


def is_unavailable(error: PyMongoError) -> bool:
    """Tell whether the server was not there for us, rather than refusing what we asked."""
    if isinstance(error, (ConnectionFailure, WaitQueueTimeoutError)):
        return True
    return isinstance(error, OperationFailure) and error.code in _PASSING


@contextlib.contextmanager
def translating(what: str) -> Iterator[None]:
    """Let what the driver raises within leave as `translate` says it."""
    try:
        yield
    except PyMongoError as error:
        raise translate(error, what) from error


def translate(error: PyMongoError, what: str) -> FreeholdError:
    """Say in Freehold's terms what the driver met while Freehold itself was at work.

    Args:
        error: What the driver raised.
        what: What was being done, to which service's store: "read the outbox of orders".
    """
    code = getattr(error, "code", None)
    # What the driver adds to the server's words is long, and can hold data.
    words = str(error).partition(", full error")[0].partition(", Timeout:")[0]
    if code in _UNAUTHORIZED:
        return ConfigurationError(f"{what}: MongoDB refused: {words}; the service's user needs readWrite and dbAdmin")
    if code in _HISTORY_LOST:
        return StoreUnavailable(f"{what}: the log's history is gone ({words}); the outbox is swept again")
    if is_unavailable(error):
        return StoreUnavailable(f"{what}: MongoDB does not answer: {words}; it is tried again")
    return StoreUnavailable(f"{what}: MongoDB failed: {words}")
