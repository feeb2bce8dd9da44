"""Say which of some entities have events that are parked here: whoever waits for their copies waits in vain."""

from __future__ import annotations

from collections.abc import Collection

from freehold.consumer.parking import Lot, ParkedId

PAGE = 500
# Of more than these nobody is told; the copy is then only said to be behind.
PAGES_MAX = 10


async def parked_among(lot: Lot, source: str, keys: Collection[str]) -> set[str]:
    """Give those of the keys ("user/42") of which at least one event of this source is parked.

    Raises:
        StoreUnavailable: The own store does not answer.
    """
    found: set[str] = set()
    after: ParkedId | None = None
    for _ in range(PAGES_MAX):
        events = await lot.scan(source=source, after=after, limit=PAGE)
        found.update(event.key for event in events if event.key in keys)
        if len(events) < PAGE or len(found) == len(keys):
            break
        after = events[-1].id
    return found
