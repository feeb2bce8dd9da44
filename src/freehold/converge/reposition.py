"""Let a service that keeps no copies of a source go on when its positions are not on the topic any more (promise 9).

There is nothing to build: what its handlers had not handled of the events that are gone, nobody can give them. So it is
done only when an operator asks, and said.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from freehold.converge.building import Parts
from freehold.converge.rebuild import HOLD_S, LET_GO_S, Step
from freehold.converge.work import Stage, positions_anew
from freehold.errors import PeerError


async def reposition(parts: Parts, source: str) -> AsyncIterator[Step]:
    """Put the positions to where the topic begins, in one step, if they are lost; say what was done.

    What its handlers have handled already takes no effect again.

    Raises:
        PeerError: A server does not answer: run it again.
        HeldError: Another command holds the source.
    """
    identity = await asyncio.to_thread(parts.topics.identify, parts.topic)
    extents = await asyncio.to_thread(parts.topics.extents, parts.topic, range(identity.partition_count))
    known = await parts.ledger.topic_ids(source)
    kept = await parts.ledger.positions(source)
    anew = positions_anew(kept, extents, is_same_topic=known <= {identity.topic_id})
    if anew is None:
        yield _step(source, f"keeps no copies of {source}, and its positions are on the topic: nothing was done")
        return
    token = f"reposition of {source}"
    await parts.ledger.hold(source, token, HOLD_S)
    try:
        await asyncio.sleep(LET_GO_S)
        await parts.service.store.transact(parts.ledger.replace, source, identity.topic_id, anew)
    finally:
        # If this fails too, it ends by itself.
        with contextlib.suppress(PeerError):
            await parts.ledger.release(source, token)
    yield _step(
        source,
        f"keeps no copies of {source}; its handlers go on where the topic begins, and are not given what it does not hold "
        "any more",
    )


def _step(source: str, text: str) -> Step:
    return Step(source=source, replicas=[], stage=Stage.DONE, text=text)
