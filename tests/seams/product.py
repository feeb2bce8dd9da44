"""What the seam suites need of a product beside the seams themselves: a little shop with users and orders in its store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec

from freehold.consumer import Ledger
from freehold.consumer.parking import Lot
from freehold.consumer.redrive import Rounds
from freehold.event import Event, OutboxRow
from freehold.outbox import StoreOutbox
from freehold.replica import Copies
from freehold.service import Replica


class UserUpdated(Event, entity="user"):
    id: str
    name: str


class UserNoted(Event, entity="user"):
    id: str
    name: str


class NeverDeclared(Event, entity="user"):
    id: str


PUBLISHES = (UserUpdated, UserNoted)


class Customer(msgspec.Struct):
    id: str
    name: str
    email: str | None = None
    credit: int | None = None
    tags: list[str] = []


CUSTOMERS = Replica(Customer, of="users", entity="user", into="customers", embedded_in={"orders": "customer"})


class Product(Protocol):
    """PostgreSQL or MongoDB, as the suites use it."""

    # Nobody answers there, and it says so at once.
    dead_url: str

    def make_store(self) -> Any:
        """Declare a store with users (id, name, version) and orders that embed a customer."""

    def make_source(self, url: str, service: str) -> StoreOutbox:
        """Make what reads the store's outbox."""

    def make_ledger(self, store: Any) -> Ledger:
        """Make the ledger of an open store."""

    def make_lot(self, store: Any) -> Lot:
        """Make the lot of an open store."""

    def make_rounds(self, store: Any) -> Rounds:
        """Make the rounds of an open store."""

    def make_copies(self, store: Any, replica: Replica) -> Copies:
        """Make the copies of an open store."""

    async def insert_user(self, tx: Any, user_id: str, name: str) -> Mapping[str, Any]:
        """Insert a user at version 1 and return its row."""

    async def rename_user(self, tx: Any, user_id: str, name: str) -> Mapping[str, Any]:
        """Give a user that is there a name and the next version, and return its row."""

    async def read_user(self, store: Any, user_id: str) -> Mapping[str, Any] | None:
        """Read a user outside any transaction."""

    async def read_outbox(self, store: Any) -> list[OutboxRow]:
        """Read what waits in the outbox, by (key, version, index)."""

    async def meet_conflict(self, tx: Any) -> None:
        """Fail as the product does when a transaction met another one."""

    async def place_order(self, tx: Any, order_id: str, customer_id: str, copy: Mapping[str, Any] | None) -> None:
        """Insert an order that embeds the copy, or only the customer's id when there is none."""

    async def read_orders(self, store: Any) -> dict[str, dict[str, Any]]:
        """Read by order id what is embedded: {id, name, email, credit, tags, epoch, version, deleted}; absent is None."""

    async def read_copies(self, store: Any) -> dict[str, dict[str, Any]]:
        """Read by entity id: {id, name, email, credit, tags, epoch, version, index, deleted}; absent is None."""

    async def lose_log(self, store: Any, service: str) -> None:
        """Let the store forget the log that an open source follows."""

    async def take_lease(self, store: Any) -> None:
        """Take the relay's lease over, as another relay does when the holder was stopped for too long."""
