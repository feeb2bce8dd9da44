"""Write a span for each command that this process sends through PyMongo, to whomever it sends it.

As `postgres_spans` does for asyncpg: only beneath a span that is kept, and never a value.
"""

from __future__ import annotations

from typing import Any

from pymongo import monitoring
from pymongo.errors import PyMongoError
from pymongo.uri_parser import parse_uri

from freehold.telemetry import write_statement

# Commands that read or write documents; the others manage sessions, transactions and connections.
_DATA = frozenset(
    {"find", "getMore", "aggregate", "count", "distinct", "insert", "update", "delete", "findAndModify", "bulkWrite"}
)
_PENDING_MAX = 10_000


class StatementListener(monitoring.CommandListener):
    """Tells of each command when it is over.

    Args:
        service: Whose process this is.
        own_url: The store that is its own; others are seen too.
    """

    def __init__(self, service: str, own_url: str) -> None:
        self._service = service
        self._own = _place(own_url, service)
        self._collections: dict[int, str] = {}

    def started(self, event: monitoring.CommandStartedEvent) -> None:
        """Keep which collection it is about; the later events do not say."""
        is_data = event.command_name in _DATA and event.database_name != "admin"
        if is_data and len(self._collections) < _PENDING_MAX:
            name = "collection" if event.command_name == "getMore" else event.command_name
            self._collections[event.request_id] = str(event.command.get(name, ""))

    def succeeded(self, event: monitoring.CommandSucceededEvent) -> None:
        """Write the span."""
        self._tell(event)

    def failed(self, event: monitoring.CommandFailedEvent) -> None:
        """Write the span: it was tried."""
        self._tell(event)

    def _tell(self, event: Any) -> None:
        collection = self._collections.pop(event.request_id, None)
        if collection is None:
            return
        host, port = event.connection_id
        database = event.database_name
        owner = self._service if self._own == database else ""
        seconds = event.duration_micros / 1e6
        write_statement("mongodb", event.command_name, collection, (database, host, port or 0), owner, seconds)


def observe_pymongo(service: str, own_url: str) -> None:
    """Have every client that is made from now on tell of its commands; once a process."""
    monitoring.register(StatementListener(service, own_url))


def _place(url: str, service: str) -> str:
    try:
        return parse_uri(url)["database"] or service if url.startswith("mongodb") else ""
    except (PyMongoError, ValueError):
        return ""
