"""MongoDB: what a service's user tries on the databases of others, on the oplog, and on the server."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from pymongo import MongoClient
from pymongo.database import Database
from pymongo.errors import OperationFailure, PyMongoError

from freehold.runtime.isolation.attempt import NOBODY, Attempt, Identity, NoAnswer, Refused

SERVER = "mongo"
TIMEOUT_MS = 5_000
PROBE = "freehold_isolation_probe"
UNAUTHORIZED, AUTHENTICATION_FAILED, USER_NOT_FOUND = 13, 18, 11
# A connection without credentials is told this instead of Unauthorized by some commands.
REQUIRES_AUTHENTICATION = "requires authentication"

# None of them changes anything where it is allowed.
ADMIN_COMMANDS: dict[str, dict[str, Any]] = {
    "change a server parameter": {"setParameter": 1, "quiet": False},
    "read the server's log": {"getLog": "global"},
    "read the replica set's settings": {"replSetGetConfig": 1},
    "end another user's sessions": {"killAllSessions": [{"user": PROBE, "db": PROBE}]},
}

Client = MongoClient[dict[str, Any]]
Try = Callable[[Client], str]


def mongo_attempts(identities: Sequence[Identity]) -> list[Attempt]:
    """List what is tried on MongoDB; nothing when no service has its store there."""
    owners = [each for each in identities if each.kind == "mongo"]
    attempts: list[Attempt] = []
    for service in owners:
        for other in (each.name for each in identities if each is not service):
            attempts += _on_other(service, other)
        attempts += _on_server(service, [each.name for each in identities if each is not service])
    for owner in owners[:1]:
        for stranger in (each for each in identities if each.kind != "mongo"):
            attempts += _as_stranger(stranger, owner)
    for owner in owners:
        url = _at(owner.store_url, "", "")
        attempts.append(
            _attempt(NOBODY, f"read {owner.name}'s documents without a password", url, _reading(owner.name))
        )
        attempts.append(_attempt(NOBODY, "list databases without a password", url, _list_databases([owner.name])))
    return attempts


def _on_other(service: Identity, other: str) -> Iterator[Attempt]:
    url = service.store_url
    yield _attempt(service.name, f"read {other}'s documents", url, _reading(other))
    yield _attempt(service.name, f"write into {other}'s database", url, _writing(other))
    yield _attempt(service.name, f"follow {other}'s changes", url, lambda client: _follow(client[other]))
    yield _attempt(service.name, f"list {other}'s users", url, _commanding(other, {"usersInfo": 1}))


def _on_server(service: Identity, others: list[str]) -> Iterator[Attempt]:
    url = service.store_url
    yield _attempt(service.name, "see the names of others' databases", url, _list_databases(others))
    yield _attempt(service.name, "read the oplog", url, _reading("local", "oplog.rs"))
    yield _attempt(service.name, "read the user table", url, _reading("admin", "system.users"))
    yield _attempt(service.name, "write into the settings database", url, _writing("config"))
    yield _attempt(service.name, "follow the changes of all databases", url, _follow)
    yield _attempt(service.name, "see others' operations", url, _aggregating({"$currentOp": {"allUsers": True}}))
    for words, command in ADMIN_COMMANDS.items():
        yield _attempt(service.name, words, url, _commanding("admin", command))
    roles = [{"role": "root", "db": "admin"}]
    grant, revoke = (
        {"grantRolesToUser": service.name, "roles": roles},
        {"revokeRolesFromUser": service.name, "roles": roles},
    )
    yield _attempt(service.name, "become root", url, _commanding(service.name, grant, undo=revoke))
    make, drop = {"createUser": PROBE, "pwd": PROBE, "roles": []}, {"dropUser": PROBE}
    yield _attempt(service.name, "make a user in admin", url, _commanding("admin", make, undo=drop))


def _as_stranger(stranger: Identity, owner: Identity) -> Iterator[Attempt]:
    password = urlsplit(stranger.store_url).password or ""
    for user in (stranger.name, owner.name):
        url = _at(owner.store_url, f"{quote(user, safe='')}:{password}@", owner.name)
        words = f"read {owner.name}'s documents as {user} with its own password"
        yield _attempt(stranger.name, words, url, _reading(owner.name))


def _attempt(who: str, what: str, url: str, run: Try) -> Attempt:
    return Attempt(who, SERVER, what, functools.partial(_judge, url, run))


def _judge(url: str, run: Try) -> str:
    """Run it with a client of its own, and tell a refusal from everything else."""
    try:
        with MongoClient[dict[str, Any]](url, serverSelectionTimeoutMS=TIMEOUT_MS, timeoutMS=TIMEOUT_MS) as client:
            return run(client)
    except OperationFailure as error:
        words = str((error.details or {}).get("errmsg", error))
        if error.code in {UNAUTHORIZED, AUTHENTICATION_FAILED} or REQUIRES_AUTHENTICATION in words:
            raise Refused(words) from error
        raise NoAnswer(words) from error
    except PyMongoError as error:
        raise NoAnswer(str(error)) from error


def _reading(database: str, collection: str = "outbox") -> Try:
    def run(client: Client) -> str:
        client[database][collection].find_one()
        return "read it"

    return run


def _writing(database: str) -> Try:
    def run(client: Client) -> str:
        client[database][PROBE].insert_one({"_id": PROBE})
        client[database][PROBE].drop()
        return "wrote a document"

    return run


def _commanding(database: str, command: dict[str, Any], undo: dict[str, Any] | None = None) -> Try:
    def run(client: Client) -> str:
        client[database].command(command)
        if undo is not None:
            client[database].command(undo)
        return f"ran {next(iter(command))}"

    return run


def _aggregating(stage: dict[str, Any]) -> Try:
    def run(client: Client) -> str:
        with client.admin.aggregate([stage]) as found:
            return f"read {len(list(found))} entries"

    return run


def _follow(source: Client | Database[dict[str, Any]]) -> str:
    with source.watch(max_await_time_ms=1):
        return "opened a change stream"


def _list_databases(others: Sequence[str]) -> Try:
    def run(client: Client) -> str:
        seen = sorted(set(client.list_database_names()) & {*others, "admin", "local", "config"})
        if not seen:
            raise Refused("the server names only its own databases")
        return f"saw {', '.join(seen)}"

    return run


def _at(url: str, credentials: str, database: str) -> str:
    """Give the URL of the same server for somebody else."""
    parts = urlsplit(url)
    options = {name: value for name, value in parse_qsl(parts.query) if name != "authSource"}
    if credentials:
        options["authSource"] = database
    hosts = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{credentials}{hosts}", path=f"/{database}", query=urlencode(options)))
