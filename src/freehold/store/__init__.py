"""A service's own database: open, migrate, transact. One file per product; its driver is imported nowhere else but beside it.

The seam that both products fill (tests/seams/test_store.py):

- `transact(run, *args)` calls `await run(tx, *args)` in one transaction and commits it; on a conflict it calls it again,
  so `run` must have no effect but through `tx`. Reads inside see one consistent state as the product defines it.
- What `tx.publish` was given leaves with that commit, or not at all.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Concatenate, ParamSpec, Protocol, TypeVar

from freehold.errors import StoreUnavailable
from freehold.event import Event

P = ParamSpec("P")
T = TypeVar("T")

# A transaction that meets others is run again this often at most, with a growing random pause; then ConflictError.
CONFLICT_RUNS_MAX = 12


@dataclasses.dataclass(frozen=True)
class Backlog:
    """What waits in the outbox: rows (counted up to 10,000) and the age of the oldest by the database's clock."""

    rows: int
    oldest_age_s: float


class Transaction(Protocol):
    """The open transaction that an author's function is given; it must not be kept after the function returns."""

    def publish(self, event: type[Event], row: Mapping[str, Any]) -> None:
        """Let `event`, made from the changed row, leave with this commit.

        The row carries the entity's new version under "version". Nothing is sent if the transaction does not commit.

        Raises:
            PublishError: Not declared in `publishes`, too large, or without a whole version from 1.
        """

    async def copy(self, into: str, entity_id: str) -> Mapping[str, Any] | None:
        """Read the own copy of another service's entity, so that what is written from it cannot miss a newer state.

        Touches the copy's row: this transaction and the arrival of a newer state cannot both pass unseen (write skew).

        Returns:
            The replica's fields with `epoch`, `version` and `deleted`; None when the entity was never heard of.
        """


class OpenStore(Protocol):
    """What the runtime needs of a store, whatever the product."""

    @property
    def kind(self) -> str:
        """Name the product: "postgres" or "mongo"."""

    @property
    def epoch(self) -> int:
        """The store's epoch: raised only when its history was rewritten (a restored backup)."""

    async def open(self, url: str, *, service: str, publishes: tuple[type[Event], ...]) -> None:
        """Connect; raises StoreUnavailable when it does not answer within its limit."""

    async def migrate(self) -> list[str]:
        """Bring Freehold's own tables and the service's migrations up to date, under a lock; names of what ran.

        Raises:
            MigrationError: One failed (it is rolled back whole where the product can) or was changed after it ran.
        """

    async def close(self) -> None:
        """Let go of every connection; idempotent."""

    def explain(self, error: BaseException) -> StoreUnavailable | None:
        """Say whether a driver's error, met outside any transaction, means that the server was not there for us."""

    async def ping(self) -> None:
        """Raise StoreUnavailable unless the database answers within a second and takes writes."""

    async def backlog(self) -> Backlog:
        """Count what the relay has still to ship; asked of the store itself, independently of any relay."""

    async def transact(self, run: Callable[Concatenate[Any, P], Awaitable[T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run `run(tx, ...)` in one transaction, again on conflict, and return its result.

        Raises:
            ConflictError: It still conflicted after CONFLICT_RUNS_MAX runs; nothing was written.
            StoreUnavailable: The connection was lost before the commit was asked for; nothing was written.
            CommitUnknown: The connection was lost while committing: read before trying again.
            PublishError: See `Transaction.publish`; nothing was written.
        """
