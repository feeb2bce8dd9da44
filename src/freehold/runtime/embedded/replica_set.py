"""Bring a freshly started mongod to where it is the primary of its own replica set and knows its administrator."""

from typing import Any

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

ATTEMPT_TIMEOUT_MS = 1_000
UNAUTHORIZED = 13
AUTHENTICATION_FAILED = 18
NOT_YET_INITIALIZED = 94
# What a set in the middle of a step answers; the next attempt sees where it got to.
PASSING = {10107, 11602, 13435, 13436, 189, 91, 23, NOT_YET_INITIALIZED}


def become_primary(host: str, replica_set: str, admin: str, password: str) -> bool:
    """Take the next step towards a primary that accepts the administrator.

    Each step is decided from what the server says, so that one that was interrupted anywhere goes on from there. A
    server without users lets a client on its own machine make the first one: that is how it gets its administrator.

    Args:
        host: Host and port of the server, as the replica set shall know it.
        replica_set: The name of the set.
        admin: The administrator's name.
        password: The administrator's password.

    Returns:
        True once nothing is left to do.
    """
    try:
        with _connect(host) as client:
            hello = client.admin.command("hello")
            if hello.get("isWritablePrimary"):
                return _is_admin_known(client, host, admin, password)
            if "setName" not in hello:
                _enter_set(client, host, replica_set, admin, password)
    except OperationFailure as error:
        if error.code not in PASSING:
            raise
    except PyMongoError:
        pass  # not listening yet
    return False


def _is_admin_known(client: "MongoClient[dict[str, Any]]", host: str, admin: str, password: str) -> bool:
    try:
        with _connect(host, username=admin, password=password) as authenticated:
            authenticated.admin.command("ping")
    except OperationFailure as error:
        if error.code != AUTHENTICATION_FAILED:
            raise
    else:
        return True
    client.admin.command("createUser", admin, pwd=password, roles=["root"])
    return False


def _enter_set(client: "MongoClient[dict[str, Any]]", host: str, replica_set: str, admin: str, password: str) -> None:
    """Make the set; or, where it is known by the port of an earlier run, tell it of the new one."""
    try:
        client.admin.command("replSetInitiate", {"_id": replica_set, "members": [{"_id": 0, "host": host}]})
    except OperationFailure as error:
        if error.code != UNAUTHORIZED:
            raise
    else:
        return
    with _connect(host, username=admin, password=password) as authenticated:
        config = authenticated.admin.command("replSetGetConfig")["config"]
        config["members"][0]["host"] = host
        config["version"] += 1
        authenticated.admin.command("replSetReconfig", config, force=True)


def _connect(host: str, username: str | None = None, password: str | None = None) -> "MongoClient[dict[str, Any]]":
    return MongoClient(
        host,
        directConnection=True,
        serverSelectionTimeoutMS=ATTEMPT_TIMEOUT_MS,
        connectTimeoutMS=ATTEMPT_TIMEOUT_MS,
        username=username,
        password=password,
    )
