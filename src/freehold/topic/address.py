"""Where Kafka is, as one URL: `kafka://user:password@host:port,host:port?mechanism=SCRAM-SHA-256`."""

from dataclasses import dataclass, field
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from freehold.errors import ConfigurationError

USUAL_PORT = 9092
PLAIN_TEXT = "PLAINTEXT"
SASL_PLAIN_TEXT = "SASL_PLAINTEXT"
USUAL_MECHANISM = "SCRAM-SHA-256"
SECURITY = {PLAIN_TEXT, SASL_PLAIN_TEXT, "SSL", "SASL_SSL"}
MECHANISMS = {"PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"}


@dataclass(frozen=True)
class KafkaAddress:
    """A Kafka cluster, and as whom to use it.

    Attributes:
        servers: `host:port` of one or more of its brokers.
        user: The SASL user; empty for none.
        password: Its password.
        security: Kafka's security protocol.
        mechanism: Kafka's SASL mechanism; used with a user only.
    """

    servers: tuple[str, ...]
    user: str = ""
    password: str = field(default="", repr=False)
    security: str = PLAIN_TEXT
    mechanism: str = USUAL_MECHANISM

    @classmethod
    def parse(cls, url: str) -> "KafkaAddress":
        """Read a `kafka://` URL.

        Args:
            url: `kafka://[user:password@]host[:port][,host[:port]...][?security=...&mechanism=...]`; user and
                password percent-encoded. With a user `security` is SASL_PLAINTEXT unless told, without PLAINTEXT.

        Raises:
            ConfigurationError: A part is missing or unknown. The message names the part and never quotes the password.
        """
        scheme, _, rest = url.strip().partition("://")
        if scheme.lower() != "kafka":
            raise ConfigurationError("the Kafka URL must begin with kafka:// , as in kafka://user:password@host:port")
        # Not by the standard library: it takes one host, and refuses a list in which one is an IPv6 address.
        location, _, query = rest.partition("?")
        location = location.removesuffix("/")
        if set("/#") & set(location) or "#" in query:
            raise ConfigurationError(
                "the Kafka URL ends after its hosts and options; percent-encode / ? # and @ in user and password"
            )
        credentials, _, hosts = location.rpartition("@")
        user, colon, password = credentials.partition(":")
        if credentials and not (user and colon):
            raise ConfigurationError("the Kafka URL has an @ without user:password before it")
        options = _parse_options(query)
        return cls(
            servers=tuple(_parse_server(host) for host in hosts.split(",")),
            user=unquote(user),
            password=unquote(password),
            security=options.get("security", SASL_PLAIN_TEXT if user else PLAIN_TEXT),
            mechanism=options.get("mechanism", USUAL_MECHANISM),
        )

    def format(self) -> str:
        """Write the URL that `parse` reads; it holds the password."""
        credentials = f"{quote(self.user, safe='')}:{quote(self.password, safe='')}@" if self.user else ""
        options = f"?security={self.security}" + (f"&mechanism={self.mechanism}" if self.user else "")
        return f"kafka://{credentials}{','.join(self.servers)}{options}"

    def client_config(self) -> dict[str, str]:
        """Give the settings that let a confluent-kafka client connect."""
        config = {"bootstrap.servers": ",".join(self.servers), "security.protocol": self.security}
        if self.user:
            config["sasl.mechanism"] = self.mechanism
            config["sasl.username"] = self.user
            config["sasl.password"] = self.password
        return config


def _parse_options(query: str) -> dict[str, str]:
    allowed = {"security": SECURITY, "mechanism": MECHANISMS}
    options = dict(parse_qsl(query, keep_blank_values=True))
    for name, value in options.items():
        if name not in allowed:
            raise ConfigurationError(f"the Kafka URL has an unknown option {name!r}; it takes {', '.join(allowed)}")
        if value not in allowed[name]:
            raise ConfigurationError(f"the Kafka URL's {name} must be one of {', '.join(sorted(allowed[name]))}")
    return options


def _parse_server(text: str) -> str:
    try:
        parts = urlsplit(f"//{text}")
    except ValueError:
        raise ConfigurationError("the Kafka URL has a host that cannot be read") from None
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ConfigurationError("the Kafka URL has a port that is no number from 1 to 65535") from None
    if not host or parts.path or port == 0:
        raise ConfigurationError("the Kafka URL lacks a host, or has one that cannot be read")
    bracketed = f"[{host}]" if ":" in host else host
    return f"{bracketed}:{port or USUAL_PORT}"
