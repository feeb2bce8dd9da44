"""What one process reads from its environment, checked once at the start (the table is in ARCHITECTURE.md).

A wrong value is refused with the variable's name and what it takes. A secret is never shown: not in an error, not in a
`repr`, not by `freehold config show`.
"""

from __future__ import annotations

import dataclasses
import os
import re
import socket
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

from freehold.errors import ConfigurationError
from freehold.http.cursor import derive_key
from freehold.http.peer import Peer
from freehold.http.token import TokenKey
from freehold.topic.address import KafkaAddress

STORE_SCHEMES = {"postgresql": "postgres", "postgres": "postgres", "mongodb": "mongo", "mongodb+srv": "mongo"}
LOG_LEVELS = ("debug", "info", "warning", "error", "critical")
# Shorter than the gateway waits for an answer, or "not here yet" would come too late to be told.
COPIES_WAIT_S_MAX = 8.0
UPSTREAM_PREFIX = "FREEHOLD_UPSTREAM_"
# Read by other commands than `run`; a process that finds them in its environment has not been misspelt.
SYSTEM = "FREEHOLD_SYSTEM"
_OTHERS = {"FREEHOLD_POSTGRES_URL", "FREEHOLD_MONGO_URL", SYSTEM}
_HIDDEN = "***"
_PASSWORD = re.compile(r"(://[^:/@\s]*):[^@\s]*@")
_INSTANCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,60}")
_NAMESPACE = re.compile(r"(?:[a-z][a-z0-9_]{0,20})?")


@dataclasses.dataclass(frozen=True)
class Variable:
    """A setting's place in the environment: its name, the names read after it, what it takes, and how it is read."""

    field: str
    name: str
    takes: str
    read: Callable[[str], Any]
    usual: str = ""
    aliases: tuple[str, ...] = ()
    is_secret: bool = False


@dataclasses.dataclass(frozen=True)
class Shown:
    """A setting as it may be shown: where it came from is a variable's name, or "default"."""

    name: str
    value: str
    origin: str
    takes: str


@dataclasses.dataclass(frozen=True, kw_only=True, repr=False)
class Settings:
    """The settings of one process. Made by `read_settings`; a test may make its own."""

    store_url: str = ""
    kafka_url: str = ""
    host: str = "127.0.0.1"
    port: int = 8000
    instance: str = ""
    namespace: str = ""
    log_level: str = "info"
    cursor_secret: str = ""
    internal_key: str = ""
    token_secret: str = ""
    copies_wait_s: float = 2.0
    body_bytes_max: int = 1_048_576
    answer_s_max: float = 30.0
    upstreams: Mapping[str, str] = dataclasses.field(default_factory=dict)
    origins: Mapping[str, str] = dataclasses.field(default_factory=dict)
    unknown: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Show all but the secrets."""
        return f"Settings({', '.join(f'{line.name}={line.value}' for line in self.shown())})"

    def shown(self) -> list[Shown]:
        """List each setting with its value, secrets hidden, and its origin."""
        lines = [
            Shown(
                variable.name,
                _shown_value(variable, getattr(self, variable.field)),
                self.origins.get(variable.field, "default"),
                variable.takes,
            )
            for variable in VARIABLES
        ]
        for service, url in self.upstreams.items():
            name = UPSTREAM_PREFIX + service.upper()
            lines.append(Shown(name, hide_password(url), name, "base URL of the service"))
        return lines

    def qualified(self, name: str) -> str:
        """Name a service's topic, consumer group and replication slot on servers that others share: namespace and name."""
        return f"{self.namespace}_{name}" if self.namespace else name

    def kafka(self) -> KafkaAddress:
        """Give Kafka's address.

        Raises:
            ConfigurationError: It is not set.
        """
        return KafkaAddress.parse(self.required("kafka_url"))

    def required(self, field: str) -> str:
        """Give a setting that this process cannot do without.

        Raises:
            ConfigurationError: It is not set; the message names the variable.
        """
        value: str = getattr(self, field)
        if not value:
            variable = next(variable for variable in VARIABLES if variable.field == field)
            raise ConfigurationError(f"{variable.name} is not set; it takes {variable.takes}")
        return value

    def peer(self, service: str) -> Peer:
        """Give a service that this one reads from, as its internal routes are reached.

        Raises:
            ConfigurationError: It is not set where that service is, or as whom to call it.
        """
        url = self.upstreams.get(service, "")
        if not url:
            raise ConfigurationError(
                f"{UPSTREAM_PREFIX}{service.upper()} is not set: it takes the base URL of {service} and the credential for it, "
                f"http://CALLER:CREDENTIAL@host:port"
            )
        return Peer(service, url)

    def token_key(self) -> TokenKey | None:
        """Give the key that signs what clients have written; None when there is none, and no token is made."""
        return TokenKey(self.token_secret) if self.token_secret else None

    def cursor_key(self) -> bytes:
        """Give the key that signs cursors: of its own secret, else of the store's URL, which all instances share."""
        return derive_key(self.cursor_secret or self.store_url)


def read_settings(environment: Mapping[str, str] | None = None) -> Settings:
    """Read the settings of this process.

    Args:
        environment: The process's own unless given.

    Raises:
        ConfigurationError: A variable has a value that it does not take.
    """
    given = os.environ if environment is None else environment
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for variable in VARIABLES:
        origin = next((name for name in (variable.name, *variable.aliases) if given.get(name)), None)
        if origin is None:
            continue
        origins[variable.field] = origin
        try:
            values[variable.field] = variable.read(given[origin])
        except (ValueError, ConfigurationError) as error:
            reason = f" ({error})" if isinstance(error, ConfigurationError) else ""
            found = "" if variable.is_secret else f", not {given[origin]!r}"
            raise ConfigurationError(f"{origin} takes {variable.takes}{found}{reason}") from None
    upstreams = {
        name.removeprefix(UPSTREAM_PREFIX).lower(): _read_upstream(name, value)
        for name, value in given.items()
        if name.startswith(UPSTREAM_PREFIX) and value
    }
    known = {variable.name for variable in VARIABLES} | _OTHERS
    unknown = sorted(
        name
        for name in given
        if name.startswith("FREEHOLD_") and name not in known and not name.startswith(UPSTREAM_PREFIX)
    )
    return Settings(**values, upstreams=upstreams, origins=origins, unknown=tuple(unknown))


def hide_password(url: str) -> str:
    """Give the URL without its password."""
    return _PASSWORD.sub(rf"\1:{_HIDDEN}@", url)


def default_instance(service: str) -> str:
    """Name an instance that was not named: unlike any other's, so that it shares nothing with one that runs."""
    return f"{service}-{socket.gethostname()}-{os.getpid()}"


def _read_store_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in STORE_SCHEMES or not parts.hostname:
        raise ValueError
    return text


def _read_kafka_url(text: str) -> str:
    url = text if "://" in text else f"kafka://{text}"
    KafkaAddress.parse(url)
    return url


def _read_port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65_535:
        raise ValueError
    return port


def _read_matching(pattern: re.Pattern[str]) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not pattern.fullmatch(text):
            raise ValueError
        return text

    return read


def _read_level(text: str) -> str:
    if text.lower() not in LOG_LEVELS:
        raise ValueError
    return text.lower()


def _read_secret(text: str) -> str:
    if len(text) < 16:
        raise ValueError
    return text


def _read_bytes(text: str) -> int:
    count = int(text)
    if not 1_024 <= count <= 64 * 1_048_576:
        raise ValueError
    return count


def _read_seconds(text: str) -> float:
    seconds = float(text)
    if not 0.1 <= seconds <= 3_600:
        raise ValueError
    return seconds


def _read_wait(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= COPIES_WAIT_S_MAX:
        raise ValueError
    return seconds


def _read_upstream(name: str, text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ConfigurationError(f"{name} takes the base URL of a service, such as http://127.0.0.1:8001")
    return text.rstrip("/")


def _shown_value(variable: Variable, value: Any) -> str:
    if not value and value != 0:
        return ""
    if not variable.is_secret:
        return str(value)
    return hide_password(value) if "://" in str(value) else _HIDDEN


VARIABLES = (
    Variable(
        "store_url",
        "FREEHOLD_STORE_URL",
        "postgresql://user:password@host:port/database or mongodb://user:password@host:port/database?...",
        _read_store_url,
        aliases=("DATABASE_URL",),
        is_secret=True,
    ),
    Variable(
        "kafka_url",
        "FREEHOLD_KAFKA_URL",
        "kafka://user:password@host:port,host:port?security=...&mechanism=...",
        _read_kafka_url,
        aliases=("KAFKA_BOOTSTRAP_SERVERS",),
        is_secret=True,
    ),
    Variable("host", "FREEHOLD_HOST", "an address to listen on", str),
    Variable("port", "FREEHOLD_PORT", "a port from 0 (any free one) to 65535", _read_port, aliases=("PORT",)),
    Variable(
        "instance",
        "FREEHOLD_INSTANCE",
        "a stable name of this instance, such as users-1: letters, digits, . _ -, at most 61",
        _read_matching(_INSTANCE),
    ),
    Variable(
        "namespace",
        "FREEHOLD_NAMESPACE",
        "a prefix for topic, group and slot names on servers that others share: a-z, 0-9, _, at most 21",
        _read_matching(_NAMESPACE),
    ),
    Variable(
        "log_level",
        "FREEHOLD_LOG_LEVEL",
        f"one of {', '.join(LOG_LEVELS)}",
        _read_level,
        aliases=("LOG_LEVEL",),
    ),
    Variable(
        "cursor_secret",
        "FREEHOLD_CURSOR_KEY",
        "at least 16 characters that all instances share; of the store's URL unless set",
        _read_secret,
        is_secret=True,
    ),
    Variable(
        "internal_key",
        "FREEHOLD_INTERNAL_KEY",
        "at least 16 characters, this service's own; its internal routes are closed without",
        _read_secret,
        is_secret=True,
    ),
    Variable(
        "token_secret",
        "FREEHOLD_TOKEN_KEY",
        "at least 16 characters that the gateway and all services share; clients are given no token without",
        _read_secret,
        is_secret=True,
    ),
    Variable(
        "copies_wait_s",
        "FREEHOLD_COPIES_WAIT_S",
        f"seconds that a request with a token waits for copies at most, 0 to {COPIES_WAIT_S_MAX:g}",
        _read_wait,
    ),
    Variable("body_bytes_max", "FREEHOLD_BODY_BYTES_MAX", "bytes of a request's body, 1024 to 67108864", _read_bytes),
    Variable("answer_s_max", "FREEHOLD_ANSWER_S_MAX", "seconds that an answer may take, 0.1 to 3600", _read_seconds),
)
