"""Which class fills which seam: the one place that knows both stores. Drivers are imported when they are needed only.

The application's own imports have the store's driver loaded already; the other product's is never loaded.
"""

from __future__ import annotations

import importlib
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
    # Slots are named for the whole cluster, which other copies of the system may share.
    name = settings.qualified(service.name)
    source: StoreOutbox = _filling(service, "freehold.outbox.{}", "Outbox")(settings.store_url, name)
    return source


def make_owned(service: Service, entity: Entity) -> Owned:
    """Give the service's entities of one kind, in its own open store."""
    owned: Owned = _filling(service, "freehold.store.{}_owned", "Owned")(service.store, entity)
    return owned


def make_histories(service: Service) -> Histories:
    """Give the history of the service's own open store."""
    histories: Histories = _filling(service, "freehold.store.{}_history", "History")(service.store)
    return histories


def make_ledger(service: Service) -> Ledger:
    """Give the ledger of the service's positions, in its own open store."""
    ledger: Ledger = _filling(service, "freehold.consumer.{}", "Ledger")(service.store)
    return ledger


def make_lot(service: Service) -> Lot:
    """Give the lot of the service's parked events, in its own open store."""
    lot: Lot = _filling(service, "freehold.consumer.parking.{}", "Lot")(service.store)
    return lot


def make_rounds(service: Service) -> Rounds:
    """Give what operators chose of the service's parked events, in its own open store."""
    rounds: Rounds = _filling(service, "freehold.consumer.redrive.{}", "Rounds")(service.store)
    return rounds


def make_versions(service: Service) -> Versions:
    """Give the versions of the service's copies, in its own open store."""
    versions: Versions = _filling(service, "freehold.converge.{}_versions", "Versions")(service.store)
    return versions


def make_copies(service: Service, replica: Replica) -> Copies:
    """Give the copies of one replica, in the service's own open store."""
    copies: Copies = _filling(service, "freehold.replica.{}", "Copies")(service.store, replica)
    return copies


def make_copy_rows(service: Service, replica: Replica, embedded_in: str = "") -> CopyRows:
    """Give the copies of one replica as they lie in the service's own open store, or in a table that embeds them."""
    rows: CopyRows = _filling(service, "freehold.replica.{}_rows", "CopyRows")(service.store, replica, embedded_in)
    return rows


def make_audits(service: Service) -> Audits:
    """Give when the service's replicas are audited, in its own open store."""
    audits: Audits = _filling(service, "freehold.converge.{}_audits", "Audits")(service.store)
    return audits


def _filling(service: Service, module: str, seam: str) -> Any:
    """Import the class that fills a seam for the product of the service's store."""
    product = service.store.kind
    return getattr(importlib.import_module(module.format(product)), f"{product.capitalize()}{seam}")
