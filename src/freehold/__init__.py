"""Freehold: every service owns its data outright; all that leaves it is a fact on a log.

A store's driver is an extra (`freehold[postgres]`, `freehold[mongo]`), so the stores are imported when first named.
"""

import importlib
from typing import TYPE_CHECKING, Any

from freehold.errors import CommitUnknown, ConflictError, FreeholdError, PublishError, StoreUnavailable
from freehold.event import Event
from freehold.service import Entity, Listen, Parking, Replica, Service, System, Topic

if TYPE_CHECKING:
    from freehold.gateway import Composition, Forward, Gateway, Part
    from freehold.store.mongo import Collection, Mongo, MongoTransaction
    from freehold.store.postgres import Postgres
    from freehold.store.postgres_transaction import PostgresTransaction

__all__ = [
    "Collection",
    "CommitUnknown",
    "Composition",
    "ConflictError",
    "Entity",
    "Event",
    "Forward",
    "FreeholdError",
    "Gateway",
    "Listen",
    "Mongo",
    "MongoTransaction",
    "Parking",
    "Part",
    "Postgres",
    "PostgresTransaction",
    "PublishError",
    "Replica",
    "Service",
    "StoreUnavailable",
    "System",
    "Topic",
]

_LAZY = {
    "Collection": "freehold.store.mongo",
    "Composition": "freehold.gateway",
    "Forward": "freehold.gateway",
    "Gateway": "freehold.gateway",
    "Mongo": "freehold.store.mongo",
    "MongoTransaction": "freehold.store.mongo",
    "Part": "freehold.gateway",
    "Postgres": "freehold.store.postgres",
    "PostgresTransaction": "freehold.store.postgres_transaction",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'freehold' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
