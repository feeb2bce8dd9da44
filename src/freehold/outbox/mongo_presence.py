"""Who is there: which processes of a service the server still sees, and what gone or stopped ones left open.

Each process gives its connections a name of its own (`mongo_settings.new_name`), which the server shows in $currentOp to
whoever is authenticated as the same user, without any further right. A process that was killed has no connection any
more, since the kernel closed them; its open transaction is still there, though, and would block its documents until the
server's limit (60 s). A process that was stopped keeps its connections, but its transaction makes no step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

# A process has some tens of connections at most.
OPERATIONS_MAX = 10_000
# Between two statements a transaction that goes on rests for some milliseconds. If one that rests this long
# should go on after all, it is run again.
STOPPED_AFTER_S = 2.0


def list_operations(prefix: str) -> dict[str, Any]:
    """Give the command, for the admin database, that lists the connections and sessions of a service's processes.

    Its answer's `cursor.firstBatch` is what the functions below take.

    Args:
        prefix: What the names of the service's processes begin with.
    """
    return {
        "aggregate": 1,
        "pipeline": [
            {"$currentOp": {"allUsers": False, "idleConnections": True, "idleSessions": True}},
            {"$match": {"appName": {"$gte": prefix, "$lt": prefix[:-1] + chr(ord(prefix[-1]) + 1)}}},
            {"$project": {"type": 1, "appName": 1, "lsid": 1, "transaction": {"timeInactiveMicros": 1}}},
        ],
        "cursor": {"batchSize": OPERATIONS_MAX},
    }


def names_present(operations: Iterable[Mapping[str, Any]]) -> set[str]:
    """Collect the names of all processes that have a connection."""
    return {operation["appName"] for operation in operations if operation["type"] != "idleSession"}


def abandoned_sessions(operations: Sequence[Mapping[str, Any]], stopped: str | None = None) -> list[Mapping[str, Any]]:
    """Find the sessions whose open transaction nobody will end.

    Args:
        operations: What `list_operations` was answered.
        stopped: A process that may have been stopped; its transactions count when they have rested for long.

    Returns:
        Session ids, as `killSessions` takes them.
    """
    present = names_present(operations)
    found: list[Mapping[str, Any]] = []
    for operation in operations:
        name = operation["appName"]
        if operation["type"] != "idleSession" or "transaction" not in operation:
            continue
        rested_s = operation["transaction"].get("timeInactiveMicros", 0) / 1_000_000
        if name not in present or (name == stopped and rested_s > STOPPED_AFTER_S):
            found.append({"id": operation["lsid"]["id"]})
    return found
