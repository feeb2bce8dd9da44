"""Ask again of copies that differed at first sight, where nothing can be in flight, until each is judged or a bound is met."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import msgspec

from freehold.converge.canonical import Canonical
from freehold.converge.judge import EMPTY, Finding, Held, Kind, Owned, judge
from freehold.converge.owner import OwnedStates
from freehold.converge.source import Source
from freehold.errors import EventRejected
from freehold.replica.rows import CopyRow, CopyRows
from freehold.service import Replica
from freehold.topic.partition import partition_of
from freehold.upcast import Reader

# A copy that is written all the time is caught between two of its owner's versions; so often it is looked at.
ROUNDS_MAX = 6
CAUGHT_UP_LIMIT_S = 15.0
# Once a partition did not come on for so long, it is not waited for as long again.
BEHIND_LIMIT_S = 0.5
LOOK_S = 0.02
# Of a copy that says its entity is gone, and still holds something of it: like no state.
_LEFT = b"\xc1left"


class Positions(Protocol):
    """How far copies are: the ledger's for those that serve, a rebuild's own for those that it builds."""

    async def positions(self, source: str) -> dict[int, int]:
        """Give the next record to apply, by partition of the source's topic."""


class Settled(msgspec.Struct, frozen=True):
    """What is known of some copies, by their keys: those that differ, and those that could not be judged.

    Those that changed whenever they were looked at are `unsettled`; to those that are `behind` the consumer has not come.
    """

    findings: dict[str, Finding]
    unsettled: list[str]
    behind: list[str]


class Settle:
    """Judges copies of one replica.

    Args:
        replica: Whose copies.
        source: Its owner.
        ledger: The positions of the service that keeps them.

    Attributes:
        reason: Where the consumer stands, if it was behind; empty when it never was.
    """

    def __init__(self, replica: Replica, source: Source, ledger: Positions) -> None:
        self.source = source
        self.replica = replica
        self.reason = ""
        self._ledger = ledger
        self._reader = Reader(replica.state)
        self._canonical = Canonical(replica.state)

    async def settle(self, rows: CopyRows, keys: Sequence[str]) -> Settled:
        """Judge the copies with these keys; raises as `Source` does."""
        findings: dict[str, Finding] = {}
        left, behind = list(keys), list[str]()
        for _ in range(ROUNDS_MAX):
            found, left, not_reached = await self._look(rows, left)
            findings |= found
            behind += not_reached
            if not left:
                break
        return Settled(findings, left, behind)

    def read(self, part: OwnedStates) -> dict[str, Owned]:
        """Give what the owner says, by entity.

        Raises:
            EventRejected: The replica's class cannot read it.
        """
        owned = {}
        for each in part.rows:
            content = None
            if not each.is_gone:
                try:
                    content = self._canonical.of_state(self._reader.read(bytes(each.data), each.schema))
                except EventRejected as reason:
                    raise EventRejected(
                        f"{self.source.name}'s {self.replica.entity} {each.entity_id} cannot be compared with "
                        f"{self.replica.into}: {reason}"
                    ) from None
            owned[each.entity_id] = Owned(each.version, content)
        return owned

    def held(self, row: CopyRow | None) -> Held | None:
        """Give what a copy says."""
        if row is None:
            return None
        if row.deleted:
            return Held(row.place, _LEFT if row.fields else None)
        return Held(row.place, self._canonical.of_fields(row.entity_id, row.fields))

    async def _look(self, rows: CopyRows, keys: Sequence[str]) -> tuple[dict[str, Finding], list[str], list[str]]:
        """Look once: give what differs, what is to be looked at again, and to what the consumer has not come."""
        is_own = rows.where == self.replica.into
        first = await _find(rows, keys)
        # What does not embed anybody any more is nobody's copy.
        ids = {key: key for key in keys} if is_own else {key: row.entity_id for key, row in first.items()}
        entities = sorted(set(ids.values()))
        before = self.read(await self.source.find(entities))
        partition_count, behind = await self._catch_up()
        now = await _find(rows, keys)
        last = await self.source.find(entities)
        after = self.read(last)
        findings, again, not_reached = {}, list[str](), list[str]()
        for key, entity_id in ids.items():
            copy = now.get(key)
            if copy is not None and copy.entity_id != entity_id:
                again.append(key)
                continue
            if not is_own and copy is None:
                continue
            if partition_of(f"{self.replica.entity}/{entity_id}".encode(), partition_count) in behind:
                not_reached.append(key)
                continue
            held = self.held(None if is_own and copy is not None and copy.place == EMPTY else copy)
            moved = copy is None or key not in first or first[key].place != copy.place
            owned = after.get(entity_id)
            verdict = judge(before.get(entity_id), held, owned, epoch=last.epoch, moved=moved)
            if verdict == "unsettled":
                again.append(key)
            elif verdict != "equal":
                assert isinstance(verdict, Kind)
                findings[key] = Finding(
                    id=entity_id,
                    kind=verdict,
                    owner_version=owned.version if owned is not None else None,
                    copy_version=copy.place.version if held is not None and copy is not None else None,
                    where=rows.where,
                    document="" if is_own else rows.shown(key),
                )
        return findings, again, not_reached

    async def _catch_up(self) -> tuple[int, Collection[int]]:
        """Wait until this service has applied all that the owner had committed; name the partitions where it has not."""
        shipped = await self.source.shipped()
        until = time.monotonic() + (BEHIND_LIMIT_S if self.reason else CAUGHT_UP_LIMIT_S)
        while True:
            positions = await self._ledger.positions(self.replica.of)
            behind = _behind(positions, shipped.ends)
            if not behind or time.monotonic() > until:
                break
            await asyncio.sleep(LOOK_S)
        if behind:
            stand = ", ".join(f"{number} at {positions.get(number, 0)} of {shipped.ends[number]}" for number in behind)
            self.reason = f"the consumer of {self.replica.of} has not caught up: partition {stand}; see freehold status, and audit again"
        return shipped.partition_count, behind


def _behind(positions: Mapping[int, int], ends: Mapping[int, int]) -> list[int]:
    return [number for number, end in sorted(ends.items()) if positions.get(number, 0) < end]


async def _find(rows: CopyRows, keys: Sequence[str]) -> dict[str, CopyRow]:
    return {row.key: row for row in await rows.find(keys)}
