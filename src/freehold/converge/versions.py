"""Several versions of a copy in the subscriber's store: the serving one, the next, and the previous; and the work on them.

The seam that both products fill (tests/seams/test_rebuild.py).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from freehold.converge.work import Work
from freehold.service import Replica


class Versions(Protocol):
    """The versions of a service's copies. Every method raises StoreUnavailable when the store does not answer."""

    async def begin(self, source: str) -> Work:
        """Read the work on a source's copies as the next run of it; from now on no earlier run can save or switch."""

    async def read(self, source: str) -> Work | None:
        """Read the work on a source's copies."""

    async def save(self, work: Work) -> None:
        """Keep how far it is.

        Raises:
            FencedError: A later run has taken over.
        """

    async def check(self, replica: Replica) -> None:
        """Make sure that another copy can take the place of this one.

        Raises:
            RebuildError: Something in the store holds on to it; says what.
        """

    async def take_over(self, replica: Replica, run: int) -> bool:
        """Make what the latest run built this one's; False when none built anything, or it has taken its place already."""

    async def index_alike(self, replica: Replica, run: int) -> None:
        """Give the copy of that run the indexes that the serving one has beside its key."""

    async def drop_strays(self, replica: Replica, keep_run: int | None) -> None:
        """Drop what other runs have left."""

    async def erase_gone(self, replica: Replica) -> None:
        """Erase from what runs have built whom the serving copy knows to be gone, where they show an earlier place.

        An erasure does so as it is applied; this is for what was written behind it, by a run that came to no end.
        """

    async def keep_previous(self, replica: Replica) -> None:
        """Keep the serving copy as the previous one, where the switch itself cannot."""

    async def settle(self, limit_s: float) -> None:
        """Wait until no open transaction could see what was built as it was before it was whole.

        Raises:
            RebuildError: One is still open after `limit_s`.
        """

    async def switch(self, work: Work, replicas: Sequence[Replica], token: str, anew: Mapping[int, int] | None) -> None:
        """Let what this run built take the place of the serving copies, each in one step, under the hold of that token.

        Args:
            work: Its stage is kept as EMBEDDING with the last of it.
            replicas: The serving copies.
            token: The hold's.
            anew: The positions that take the place of the source's, for the work's topic; None: they stay.

        Raises:
            HeldError: The hold ended before.
            FencedError: A later run has taken over.
            ConflictError: Readers left no moment for it.
        """

    async def restore_previous(self, replica: Replica, run: int) -> None:
        """Let the previous copy be what this run has built.

        Raises:
            RebuildError: There is none.
        """

    async def drop_previous(self, replica: Replica) -> bool:
        """Drop the previous copy; False when there is none."""

    async def is_there(self, replica: Replica) -> bool:
        """Say whether its serving copy has been made."""

    async def seeded(self, source: str) -> list[str] | None:
        """Name the replicas of a source that have been there from its beginning, or were built since; None: not noted yet."""

    async def note_seeded(self, source: str, replicas: Sequence[str]) -> None:
        """Keep that, instead of what was noted before."""
