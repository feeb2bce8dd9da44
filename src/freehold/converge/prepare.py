"""Prepare a service's copies at its start, and see which of them only a rebuild makes whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from freehold.consumer import Ledger
from freehold.converge.versions import Versions
from freehold.replica import Copies
from freehold.service import Replica


async def prepare_copies(
    replicas: Sequence[Replica], make_copies: Callable[[Replica], Copies], versions: Versions, ledger: Ledger
) -> dict[str, str]:
    """Make what is not there, and say of each copy that is not whole why, by its table or collection.

    May be run again, and by several processes at once.

    Raises:
        MigrationError: What is there does not fit a declaration.
        StoreUnavailable: The own store does not answer.
    """
    notes: dict[str, str] = {}
    for source in sorted({replica.of for replica in replicas}):
        own = [replica for replica in replicas if replica.of == source]
        there = {replica.into for replica in own if await versions.is_there(replica)}
        has_begun = any((await ledger.positions(source)).values())
        for replica in own:
            copies = make_copies(replica)
            await copies.prepare()
            await versions.erase_gone(replica)
            lacking = await copies.lacking()
            if lacking:
                notes[replica.into] = f"{replica.into} lacks {', '.join(lacking)}: freehold rebuild {replica.into}"
        seeded = await versions.seeded(source)
        known = _seeded({replica.into for replica in own}, there, seeded, has_begun=has_begun)
        if seeded is None or set(seeded) != known:
            await versions.note_seeded(source, sorted(known))
        for replica in own:
            if replica.into not in known:
                notes[replica.into] = (
                    f"{replica.into} is new and holds only what changed since: freehold rebuild {replica.into}"
                )
    return notes


def _seeded(declared: set[str], there: set[str], seeded: Sequence[str] | None, *, has_begun: bool) -> set[str]:
    """Name the copies that hold all of their source."""
    if not has_begun:
        return declared
    # What was there before anybody noted it has followed from the beginning.
    return declared & (there if seeded is None else set(seeded))
