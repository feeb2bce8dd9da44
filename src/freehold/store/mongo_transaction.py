"""The open transaction on MongoDB that an author's function is given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pymongo import ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import BulkWriteError

from freehold.errors import DeclarationError, PublishError
from freehold.event import Event, OutboxRow
from freehold.outbox.mongo import outbox_document
from freehold.outbox.mongo_settings import OUTBOX
from freehold.outbox.outgoing import Outgoing
from freehold.store.mongo_queue import Turn
from freehold.telemetry import note_published

Document = dict[str, Any]

DUPLICATE_KEY = 11000
TOO_LARGE_FOR_CACHE = 388


class MongoTransaction:
    """The open transaction that an author's function is given; it must not be kept after the function returns."""

    def __init__(
        self, database: AsyncDatabase[Document], session: AsyncClientSession, outgoing: Outgoing, turn: Turn
    ) -> None:
        self._database = database
        self._outgoing: Outgoing | None = outgoing
        self._turn = turn
        self._has_begun = False
        self.session = session

    def __getitem__(self, name: str) -> AsyncCollection[Document]:
        """Give PyMongo's collection; its calls take part in the transaction.

        Raises:
            DeclarationError: The transaction is over; a write would stand by itself.
        """
        if self._outgoing is None:
            raise DeclarationError(f"{name}: the transaction is over; use it inside the function that it runs")
        self._has_begun = True
        return self._database[name]

    def publish(self, event: type[Event], row: Mapping[str, Any]) -> None:
        """Let `event`, made from the changed document, leave with this commit.

        The document carries the entity's new version under "version".

        Raises:
            PublishError: Not declared, too large, without a version, or the transaction is over.
        """
        if self._outgoing is None:
            raise PublishError(f"{event.__name__}: the transaction is over; publish inside the function that it runs")
        self._outgoing.add(event, row)

    def publish_again(self, event: Event, version: int, repair: int) -> None:
        """Tell copies once more what the entity is at its present version; Freehold's own (`freehold.store.owned`)."""
        if self._outgoing is None:
            raise PublishError(f"{type(event).__name__}: the transaction is over")
        self._outgoing.add_again(event, version, repair)

    async def copy(self, into: str, entity_id: str) -> Document | None:
        """Read the own copy of another service's entity, so that what is written from it cannot miss a newer state.

        Returns:
            The replica's fields with `epoch`, `version`, `index` and `deleted`; None when it was never heard of.
        """
        await self._turn.ask((into, entity_id), may_wait=not self._has_begun)
        # MongoDB's snapshots do not conflict on reads: without this write a newer state could arrive unseen between this
        # read and the commit, and what is written here would keep the older one for ever. An entity that was never
        # heard of gets an empty copy for the same reason: its first state must meet this transaction too.
        found = await self[into].find_one_and_update(
            {"_id": entity_id},
            {
                "$inc": {"guard": 1},
                "$setOnInsert": {"epoch": 0, "version": 0, "index": 0, "deleted": False},
            },
            upsert=True,
            return_document=ReturnDocument.AFTER,
        )
        assert found is not None  # an upsert
        if found["version"] == 0:
            return None
        del found["guard"]
        return {"id": found.pop("_id"), **found}

    async def write_outbox(self) -> list[OutboxRow]:
        """End the author's part and write what was published, in one statement; Freehold calls it before the commit.

        Returns:
            The rows that were written.

        Raises:
            PublishError: MongoDB refused them; says why.
        """
        rows = self._outgoing.rows if self._outgoing is not None else []
        self._outgoing = None
        if not rows:
            return rows
        try:
            await self._database[OUTBOX].insert_many([outbox_document(row) for row in rows])
        except BulkWriteError as error:
            # Not from the driver's error: it shows the data.
            raise _refused(error, rows) from None
        # The commit has still to come: a span that ends in an error has published nothing.
        note_published(row.type for row in rows)
        return rows


def _refused(error: BulkWriteError, rows: list[OutboxRow]) -> PublishError:
    failure = error.details["writeErrors"][0]
    row = rows[failure["index"]]
    reason = f"MongoDB refused it (error {failure['code']})"
    if failure["code"] == DUPLICATE_KEY:
        reason = (
            f"version {row.version} was published before; raise the entity's version by one in the transaction that "
            f"changes it"
        )
    elif failure["code"] == TOO_LARGE_FOR_CACHE:
        reason = (
            f"with {len(rows):,} events this transaction is more than MongoDB's cache takes; publish them in several"
        )
    return PublishError(f"{row.type} of {row.key}: {reason}")
