"""What one service's database holds, read from outside by a plain client with the service's own rights."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Protocol

import msgspec

from freehold.drill.observed import Copy, Kept, Row
from freehold.drill.workload import Effects
from freehold.errors import DeclarationError
from freehold.service import Entity, Replica, Service

# A server that is being killed is not waited for: whoever looks, looks again.
ANSWER_TIMEOUT_S = 5.0

Place = tuple[str, int, int]
"""Key, version and index of what waits in an outbox."""


class Unreadable(Exception):
    """The database does not answer right now; whoever reads it looks again."""


class Holdings(Protocol):
    """One database, for one thread at a time. Every method raises `Unreadable` while it does not answer."""

    def rows(self, entity: Entity) -> dict[str, Row]:
        """Give every entity of this kind by id."""

    def waiting(self) -> set[Place]:
        """Give what waits in the outbox."""

    def parked(self) -> int:
        """Count the parked events."""

    def positions(self, source: str) -> dict[int, int]:
        """Give, by partition, up to where the source's topic is applied."""

    def kept(self, replica: Replica) -> Kept:
        """Give all copies that the replica keeps."""

    def versions(self, replica: Replica, ids: Collection[str]) -> dict[str, int]:
        """Give the version of the copies of these."""

    def traces(self, effects: Effects) -> dict[str, list[str]]:
        """Give, by entity, what the handler left behind, in order."""

    def trace_counts(self, effects: Effects, ids: Collection[str]) -> dict[str, int]:
        """Count the traces of these."""

    def content(self) -> dict[str, bytes]:
        """Give the bytes of every table or collection by its name."""

    def close(self) -> None:
        """Let go of the connections."""


def open_holdings(service: Service, url: str) -> Holdings:
    """Connect to a service's database; nothing is read yet."""
    if service.store.kind == "postgres":
        from freehold.drill.holdings_postgres import PostgresHoldings

        return PostgresHoldings(url)
    if service.store.kind == "mongo":
        from freehold.drill.holdings_mongo import MongoHoldings

        return MongoHoldings(service.name, url)
    raise DeclarationError(f"a drill cannot look into a {service.store.kind} store, which {service.name} has")


def make_row(entity: Entity, row: Mapping[str, Any]) -> Row:
    """Make of an owner's row what others may know of it; of one that is gone only its id and version."""
    entity_id = str(row[entity.key] if entity.key in row else row["_id"])
    gone = bool(entity.deleted) and row[entity.deleted] is not None and row[entity.deleted] is not False
    return Row(entity_id, int(row["version"]), {} if gone else published(entity, row), deleted=gone)


def published(entity: Entity, row: Mapping[str, Any]) -> dict[str, Any]:
    """Give the published fields of a row, as a topic has them, without the key."""
    fields: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(entity.state.of(row)))
    fields.pop(entity.state.__key__, None)
    return fields


def make_copy(where: str, entity_id: str, replica: Replica, found: Mapping[str, Any], *, document: str = "") -> Copy:
    """Make a copy of what is kept, whose fields may be absent when the entity is gone."""
    fields = {name: found.get(name) for name in copied_fields(replica)}
    deleted = bool(found.get("deleted", False))
    return Copy(where, entity_id, int(found["version"] or 0), fields, deleted, document)


def copied_fields(replica: Replica) -> list[str]:
    """Name the fields that a replica keeps beside the id."""
    return [name for name in replica.state.__struct_fields__ if name != "id"]
