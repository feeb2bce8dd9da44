"""A service's own MongoDB database and user."""

from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

from freehold.errors import ConfigurationError, StoreUnavailable

SELECTION_TIMEOUT_MS = 10_000
USER_NOT_FOUND = 11
USER_EXISTS = 51003
# Change streams of the own database need no more than readWrite; dbAdmin brings indexes and validators. To end the
# session that a killed process of the same user left behind needs no right: one's own sessions may always be ended.
ROLES = ("readWrite", "dbAdmin")


def provision_mongo(admin_url: str, service: str, password: str) -> str:
    """Give a service its own database and user, both of the service's name. Doing it again changes nothing else.

    Args:
        admin_url: Where and as whom to do it; needs `userAdminAnyDatabase`.
        service: The name of service, database and user.
        password: The user's password.

    Returns:
        The service's own URL; it holds the password.

    Raises:
        StoreUnavailable: The server does not answer.
        ConfigurationError: The server refused; the message says what and why.
    """
    roles = [{"role": role, "db": service} for role in ROLES]
    try:
        client: MongoClient[dict[str, Any]] = MongoClient(admin_url, serverSelectionTimeoutMS=SELECTION_TIMEOUT_MS)
        with client:
            database = client[service]
            try:
                database.command("updateUser", service, pwd=password, roles=roles)
            except OperationFailure as error:
                if error.code != USER_NOT_FOUND:
                    raise
                database.command("createUser", service, pwd=password, roles=roles)
    except OperationFailure as error:
        raise ConfigurationError(f"MongoDB refused to make the user {service}: {error}") from error
    except PyMongoError as error:
        raise StoreUnavailable(f"MongoDB did not answer while making the user {service}: {error}") from error
    return _format_url(admin_url, service, password)


def _format_url(admin_url: str, service: str, password: str) -> str:
    """Give the administrator's URL with the service's name, password and database in it."""
    parts = urlsplit(admin_url)
    hosts = parts.netloc.rpartition("@")[2]
    options = dict(parse_qsl(parts.query)) | {"authSource": service, "w": "majority"}
    name = quote(service, safe="")
    return urlunsplit(
        parts._replace(netloc=f"{name}:{quote(password, safe='')}@{hosts}", path=f"/{name}", query=urlencode(options))
    )
