"""Audit a service's replicas in the background, one after the other, now and then, at little cost."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager

from freehold.converge.audit import Audit, Outcome, Rest
from freehold.converge.audits import Audited, Audits
from freehold.errors import FreeholdError, PeerError
from freehold.service import Replica

# An audit by the service itself works for one part in so many of the time, on one core, and rests for the others.
SHARE = 20
REST_S_MAX = 2.0
# A service that was just started has other things to do.
FIRST_AFTER_S = 600.0
# So often it is looked whether one is due, and what another instance found.
LOOK_S_MAX = 30.0
LOOKS_BETWEEN = 10

Auditing = Callable[[Replica, Rest], AbstractAsyncContextManager[Audit]]
Tell = Callable[[Replica, Audited], None]
_logger = logging.getLogger("freehold.audit")


class Schedule:
    """The audits of one service that nobody asked for.

    Args:
        replicas: Those that are audited now and then.
        audits: When each is due, and what was found; shared by the service's instances.
        auditing: Gives the audit of a replica.
        tell: Is told what the last audit found, whoever carried it out.
    """

    def __init__(self, replicas: Sequence[Replica], audits: Audits, auditing: Auditing, tell: Tell) -> None:
        self._replicas = [replica for replica in replicas if replica.audit_every_s > 0]
        self._audits = audits
        self._auditing = auditing
        self._tell = tell

    async def run(self) -> None:
        """Audit whatever is due, for ever."""
        if not self._replicas:
            return
        look_s = min(LOOK_S_MAX, *(replica.audit_every_s / LOOKS_BETWEEN for replica in self._replicas))
        while True:
            for replica in self._replicas:
                try:
                    await self._look(replica)
                except PeerError as error:
                    _logger.info("audit of %s: %s", replica.into, error)
                except Exception:
                    # Whatever an audit meets, the next one is carried out all the same.
                    _logger.exception("the audit of %s failed", replica.into)
            await asyncio.sleep(look_s)

    async def _look(self, replica: Replica) -> None:
        # Services that were started at once must not all be audited at once.
        spread = random.uniform(0.5, 1.0)  # noqa: S311 (no secret)
        every_s = replica.audit_every_s
        if await self._audits.claim(replica.into, spread * min(FIRST_AFTER_S, every_s), every_s * (0.75 + spread / 2)):
            await self._audit(replica)
        last = await self._audits.last(replica.into)
        if last is not None:
            self._tell(replica, last)

    async def _audit(self, replica: Replica) -> None:
        try:
            outcome = await self._run(replica)
        except FreeholdError as error:
            # It is the owner that is not up, or does not say what it owns: no finding, and asked again next time.
            _logger.info("%s could not be compared with %s: %s", replica.into, replica.of, error)
            await self._audits.note(replica.into, 0, 0, str(error))
            return
        await self._audits.note(replica.into, outcome.rows, outcome.differing, outcome.reason)
        if outcome.differing:
            _logger.warning(words(replica, outcome.differing))

    async def _run(self, replica: Replica) -> Outcome:
        async with self._auditing(replica, rest) as audit:
            async for each in audit.run():
                if isinstance(each, Outcome):
                    return each
        raise AssertionError("an audit ends in its outcome")


async def rest(worked_s: float) -> None:
    """Rest for as long as an audit that nobody waits for should."""
    await asyncio.sleep(min(worked_s * (SHARE - 1), REST_S_MAX))


def words(replica: Replica, differing: int) -> str:
    """Say that copies differ, and what to do."""
    copies = "copy in {} differs" if differing == 1 else "copies in {} differ"
    return (
        f"{differing:,} {copies.format(replica.into)} from {replica.of}; see which, and repair: "
        f"freehold audit {replica.into} [--repair]"
    )
