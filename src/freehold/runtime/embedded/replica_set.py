"""Bring a freshly started mongod to where it is the primary of its own replica set and knows its administrator."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

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

    Raises:
        PermissionError: The server has users, and none of this name and password.
    """
    try:
        with _connect(host) as client:
            hello = client.admin.command("hello")
            if hello.get("isWritablePrimary"):
                return _is_admin_known(client, host, admin, password)
            if "setName" not in hello:
                config = {"_id": replica_set, "members": [{"_id": 0, "host": host}]}
                client.admin.command("replSetInitiate", config)
    except OperationFailure as error:
        if error.code == UNAUTHORIZED:
            raise PermissionError(f"{host} has an administrator of another password") from error
        if error.code not in PASSING:
            raise
    except PyMongoError:
        pass  # not listening yet
    return False


def move_member(host: str, socket: Path) -> bool:
    """Have the set know its one member by another address; needs a server that runs outside the set.

    Inside it, a server that does not find itself at the address that the set knows asks there, and waits half a
    minute for an answer if what took its port listens and says nothing.

    Args:
        host: Host and port, as the set shall know it.
        socket: The Unix socket that the server listens on.

    Returns:
        True once it is done.
    """
    try:
        with _connect(quote(str(socket), safe="")) as client:
            client.local["system.replset"].update_many({}, {"$set": {"members.0.host": host}})
    except PyMongoError:
        return False  # not listening yet
    return True


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


def _connect(host: str, username: str | None = None, password: str | None = None) -> "MongoClient[dict[str, Any]]":
    return MongoClient(
        f"mongodb://{host}",
        directConnection=True,
        serverSelectionTimeoutMS=ATTEMPT_TIMEOUT_MS,
        connectTimeoutMS=ATTEMPT_TIMEOUT_MS,
        username=username,
        password=password,
    )
