"""Clear what is parked of entities that are gone when only their copies say so, and no event ever will again.

Copies that were made anew from their owner know of erasures that were lost with a topic, or expired unread.
"""

from __future__ import annotations

from freehold.consumer.parking import Lot, ParkedId
from freehold.replica import Copies
from freehold.store import OpenStore

PAGE = 500


async def clear_erased(store: OpenStore, lot: Lot, source: str, entity: str, copies: Copies) -> int:
    """Clear, for each entity that its copy says is gone, what is parked of it from before; say how many those are.

    Raises:
        PeerError: The own store does not answer; done again, it goes on.
    """
    count = 0
    after: ParkedId | None = None
    while True:
        events = await lot.scan(source=source, after=after, limit=PAGE)
        ids = {event.key.removeprefix(f"{entity}/") for event in events if event.key.startswith(f"{entity}/")}
        for entity_id, reached in (await copies.reach(sorted(ids))).items():
            if reached.deleted:
                key = f"{entity}/{entity_id}".encode()
                await store.transact(lot.clear, ParkedId(source, "", 0, 0), key, reached.place, erases=True)
                count += 1
        if len(events) < PAGE:
            return count
        after = events[-1].id
