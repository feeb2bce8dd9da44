"""Which class fills which seam: the one place that knows both stores. Drivers are imported when they are needed only.

The application's own imports have the store's driver loaded already; the other product's is never loaded.
"""

from __future__ import annotations

from typing import Any

from freehold.consumer import Ledger
from freehold.consumer.parking import Lot
from freehold.consumer.redrive import Rounds
from freehold.converge.audits import Audits
from freehold.converge.versions import Versions
from freehold.errors import DeclarationError
from freehold.outbox import StoreOutbox
from freehold.replica import Copies
from freehold.replica.rows import CopyRows
from freehold.runtime.settings import STORE_SCHEMES, Settings
from freehold.service import Entity, Replica, Service
from freehold.store.history import Histories
from freehold.store.owned import Owned


def check_store(service: Service, settings: Settings) -> None:
    """Hold the declared store to the URL that is set.

    Raises:
        DeclarationError: The service declares another product.
    """
    scheme = settings.required("store_url").partition(":")[0]
    if STORE_SCHEMES[scheme] != service.store.kind:
        raise DeclarationError(
            f"{service.name} declares a {service.store.kind} store, and FREEHOLD_STORE_URL begins with {scheme}://"
        )


def make_source(service: Service, settings: Settings) -> StoreOutbox:
    """Give the service's outbox as a relay reads it."""
    source: Any
    if service.store.kind == "postgres":
        from freehold.outbox.postgres import PostgresOutbox

        # Slots are named for the whole cluster, which other copies of the system may share.
        source = PostgresOutbox(settings.store_url, settings.qualified(service.name))
    else:
        from freehold.outbox.mongo import MongoOutbox

        source = MongoOutbox(settings.store_url, settings.qualified(service.name))
    return source  # type: ignore[no-any-return]


def make_owned(service: Service, entity: Entity) -> Owned:
    """Give the service's entities of one kind, in its own open store."""
    owned: Any
    if service.store.kind == "postgres":
        from freehold.store.postgres_owned import PostgresOwned

        owned = PostgresOwned(service.store, entity)
    else:
        from freehold.store.mongo_owned import MongoOwned

        owned = MongoOwned(service.store, entity)
    return owned  # type: ignore[no-any-return]


def make_histories(service: Service) -> Histories:
    """Give the history of the service's own open store."""
    histories: Any
    if service.store.kind == "postgres":
        from freehold.store.postgres_history import PostgresHistory

        histories = PostgresHistory(service.store)
    else:
        from freehold.store.mongo_history import MongoHistory

        histories = MongoHistory(service.store)
    return histories  # type: ignore[no-any-return]


def make_ledger(service: Service) -> Ledger:
    """Give the ledger of the service's positions, in its own open store."""
    ledger: Any
    if service.store.kind == "postgres":
        from freehold.consumer.postgres import PostgresLedger

        ledger = PostgresLedger(service.store)
    else:
        from freehold.consumer.mongo import MongoLedger

        ledger = MongoLedger(service.store)
    return ledger  # type: ignore[no-any-return]


def make_lot(service: Service) -> Lot:
    """Give the lot of the service's parked events, in its own open store."""
    lot: Any
    if service.store.kind == "postgres":
        from freehold.consumer.parking.postgres import PostgresLot

        lot = PostgresLot(service.store)
    else:
        from freehold.consumer.parking.mongo import MongoLot

        lot = MongoLot(service.store)
    return lot  # type: ignore[no-any-return]


def make_rounds(service: Service) -> Rounds:
    """Give what operators chose of the service's parked events, in its own open store."""
    rounds: Any
    if service.store.kind == "postgres":
        from freehold.consumer.redrive.postgres import PostgresRounds

        rounds = PostgresRounds(service.store)
    else:
        from freehold.consumer.redrive.mongo import MongoRounds

        rounds = MongoRounds(service.store)
    return rounds  # type: ignore[no-any-return]


def make_versions(service: Service) -> Versions:
    """Give the versions of the service's copies, in its own open store."""
    versions: Any
    if service.store.kind == "postgres":
        from freehold.converge.postgres_versions import PostgresVersions

        versions = PostgresVersions(service.store)
    else:
        from freehold.converge.mongo_versions import MongoVersions

        versions = MongoVersions(service.store)
    return versions  # type: ignore[no-any-return]


def make_copies(service: Service, replica: Replica) -> Copies:
    """Give the copies of one replica, in the service's own open store."""
    copies: Any
    if service.store.kind == "postgres":
        from freehold.replica.postgres import PostgresCopies

        copies = PostgresCopies(service.store, replica)
    else:
        from freehold.replica.mongo import MongoCopies

        copies = MongoCopies(service.store, replica)
    return copies  # type: ignore[no-any-return]


def make_copy_rows(service: Service, replica: Replica, embedded_in: str = "") -> CopyRows:
    """Give the copies of one replica as they lie in the service's own open store, or in a table that embeds them."""
    rows: Any
    if service.store.kind == "postgres":
        from freehold.replica.postgres_rows import PostgresCopyRows

        rows = PostgresCopyRows(service.store, replica, embedded_in)
    else:
        from freehold.replica.mongo_rows import MongoCopyRows

        rows = MongoCopyRows(service.store, replica, embedded_in)
    return rows  # type: ignore[no-any-return]


def make_audits(service: Service) -> Audits:
    """Give when the service's replicas are audited, in its own open store."""
    audits: Any
    if service.store.kind == "postgres":
        from freehold.converge.postgres_audits import PostgresAudits

        audits = PostgresAudits(service.store)
    else:
        from freehold.converge.mongo_audits import MongoAudits

        audits = MongoAudits(service.store)
    return audits  # type: ignore[no-any-return]
