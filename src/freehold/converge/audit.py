"""Compare one replica with its owner while both go on, and repair what differs.

Theory of operation (decision 21). The owner is read in the order of its own key, a part at a time, and for each part the
copies are looked up by id. What differs at first sight is mostly on its way, since only a few rows are written in the
milliseconds between the two reads; it is asked again where nothing can be in flight (`settle`), and only then named. The
copies are then walked in their own order, and the owner is asked which of them it never had. Fields that are embedded in
own documents are held against the replica's own row first, and what differs there against the owner.

Repairs come last: one of the replica's own row reaches all that embeds it, which would not be found to differ any more.
Memory is flat: what differs is settled and told in lots, and forgotten; what waits for its repair is bounded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import TypeVar

import msgspec

from freehold.converge.judge import EMPTY, Finding, seems_equal
from freehold.converge.owner import OwnedStates
from freehold.converge.repair import Repair
from freehold.converge.settle import Settle
from freehold.replica.rows import CopyRow, CopyRows

# Rows that are compared at once: so long each event loop that takes part is busy, a few milliseconds.
PART_ROWS = 1_000
# What differs at first sight is settled in lots of so many.
LOT_MAX = 1_000
# Of so many entities it is remembered that they were found to differ, so that all that embeds them is asked of the owner;
# and so many wait for their repair at most.
REMEMBERED_MAX = 10_000

Part = TypeVar("Part")
Rest = Callable[[float], Awaitable[None]]
Locating = Callable[[Sequence[Finding]], Awaitable[Sequence[Finding]]]


class Progress(msgspec.Struct, frozen=True):
    """How far an audit is; `total` is about how many there are, 0 when nobody knows."""

    stage: str
    done: int
    total: int = 0


class Outcome(msgspec.Struct, frozen=True):
    """What an audit came to.

    Attributes:
        rows: Entities of the owner that were compared.
        differing: Copies that differ, repaired or not.
        repaired: Those of them that are equal again.
        unsettled: Copies that changed whenever they were looked at; nothing speaks against them.
        behind: Copies that could not be judged, for the consumer has not come so far.
        seconds: How long it took.
        reason: Where the consumer stands, if it is behind.
    """

    rows: int
    differing: int
    repaired: int
    unsettled: int
    behind: int
    seconds: float
    reason: str = ""


class Audit:
    """The audit of one replica, run once.

    Args:
        settle: Asks again of what differs at first sight.
        own: The replica's own rows.
        embedded: The rows of the service's own that embed them.
        repair: Mends what differs; None leaves it.
        rest: Is told how long the last part took, and may wait before the next.
        locate: Gives findings with their positions on the topic.
    """

    def __init__(
        self,
        settle: Settle,
        own: CopyRows,
        embedded: Sequence[CopyRows],
        repair: Repair | None = None,
        rest: Rest | None = None,
        locate: Locating | None = None,
    ) -> None:
        self._settle = settle
        self._source = settle.source
        self._own = own
        self._embedded = embedded
        self._repair = repair
        self._rest = rest
        self._locate = locate
        self._suspects: list[str] = []
        self._found: set[str] = set()
        self._open: list[tuple[CopyRows, Mapping[str, Finding]]] = []
        self._rows = self._differing = self._repaired = self._unsettled = self._behind = 0

    async def run(self) -> AsyncIterator[Progress | Finding | Outcome]:
        """Give progress and each finding as they come, and the outcome last.

        Raises:
            PeerError: The owner, or the own store, does not answer.
            CallerError: The owner does not say where such entities lie.
            EventRejected: The replica's class cannot read what the owner publishes.
        """
        start = time.monotonic()
        stages = [
            self._compare(),
            self._look_for_left_over(),
            *(self._compare_embedded(each) for each in self._embedded),
        ]
        for stage in stages:
            async for each in stage:
                yield each
        async for finding in self._mend():
            yield finding
        yield Outcome(
            self._rows,
            self._differing,
            self._repaired,
            self._unsettled,
            self._behind,
            round(time.monotonic() - start, 3),
            self._settle.reason,
        )

    async def _compare(self) -> AsyncIterator[Progress | Finding]:
        """Hold each copy against its owner's state."""
        total = await self._source.count()
        async with aclosing(
            _ahead(lambda after: self._source.scan(after, PART_ROWS), lambda part: part.cursor)
        ) as parts:
            async for part in parts:
                start = time.monotonic()
                self._suspects += await self._screen(part)
                self._rows += len(part.rows)
                async for finding in self._settle_lots(self._own):
                    yield finding
                yield Progress(self._own.where, self._rows, max(total, self._rows))
                await self._take_rest(start)
        async for finding in self._settle_lots(self._own, is_last=True):
            yield finding

    async def _screen(self, part: OwnedStates) -> list[str]:
        """Name those of a part whose copies do not seem equal."""
        copies = {row.key: row for row in await self._own.find([each.entity_id for each in part.rows])}
        owned = self._settle.read(part)
        return [
            entity_id
            for entity_id, each in owned.items()
            if not seems_equal(each, self._settle.held(copies.get(entity_id)), part.epoch)
        ]

    async def _look_for_left_over(self) -> AsyncIterator[Progress | Finding]:
        """Find the copies that live of what the owner never had."""
        after, done = None, 0
        while ids := await self._own.scan_living(after, PART_ROWS):
            start = time.monotonic()
            self._suspects += await self._source.absent(ids)
            after, done = ids[-1], done + len(ids)
            async for finding in self._settle_lots(self._own):
                yield finding
            yield Progress(f"{self._own.where}, left over", done, max(self._rows, done))
            await self._take_rest(start)
        async for finding in self._settle_lots(self._own, is_last=True):
            yield finding

    async def _compare_embedded(self, rows: CopyRows) -> AsyncIterator[Progress | Finding]:
        """Hold what is embedded against the replica's own row, and what differs against the owner."""
        done = 0

        def next_of(part: list[CopyRow]) -> str | None:
            return part[-1].key if len(part) == PART_ROWS else None

        async with aclosing(_ahead(lambda after: rows.scan(after, PART_ROWS), next_of)) as parts:
            async for part in parts:
                start = time.monotonic()
                copies = {row.key: row for row in await self._own.find(sorted({row.entity_id for row in part}))}
                self._suspects += [row.key for row in part if self._is_suspect(row, copies.get(row.entity_id))]
                done += len(part)
                async for finding in self._settle_lots(rows):
                    yield finding
                yield Progress(rows.where, done)
                await self._take_rest(start)
        async for finding in self._settle_lots(rows, is_last=True):
            yield finding

    def _is_suspect(self, row: CopyRow, copy: CopyRow | None) -> bool:
        if row.entity_id in self._found:
            return True  # what it would be held against was wrong itself
        if copy is None:
            return row.place != EMPTY
        return (row.place, row.deleted, row.fields) != (copy.place, copy.deleted, copy.fields)

    async def _settle_lots(self, rows: CopyRows, *, is_last: bool = False) -> AsyncIterator[Finding]:
        while len(self._suspects) >= LOT_MAX or (is_last and self._suspects):
            lot, self._suspects = self._suspects[:LOT_MAX], self._suspects[LOT_MAX:]
            settled = await self._settle.settle(rows, lot)
            self._unsettled += len(settled.unsettled)
            self._behind += len(settled.behind)
            self._differing += len(settled.findings)
            self._found |= (
                {each.id for each in settled.findings.values()} if len(self._found) < REMEMBERED_MAX else set()
            )
            found = await self._located(settled.findings)
            if self._repair is None:
                for finding in found.values():
                    yield finding
            elif found:
                self._open.append((rows, found))
                if sum(len(findings) for _, findings in self._open) >= REMEMBERED_MAX:
                    async for finding in self._mend():
                        yield finding

    async def _located(self, findings: Mapping[str, Finding]) -> Mapping[str, Finding]:
        if self._locate is None or not findings:
            return findings
        return dict(zip(findings, await self._locate(list(findings.values())), strict=True))

    async def _mend(self) -> AsyncIterator[Finding]:
        """Repair what was found until now."""
        waiting, self._open = self._open, []
        for rows, findings in waiting:
            assert self._repair is not None  # nothing waits without one
            for finding in await self._repair.mend(rows, findings):
                self._repaired += finding.repaired
                yield finding

    async def _take_rest(self, start: float) -> None:
        if self._rest is not None:
            await self._rest(time.monotonic() - start)


async def _ahead(
    scan: Callable[[str | None], Awaitable[Part]], next_of: Callable[[Part], str | None]
) -> AsyncGenerator[Part, None]:
    """Give part after part; while one is compared the next is read."""
    reading = asyncio.ensure_future(scan(None))
    try:
        while True:
            part = await reading
            after = next_of(part)
            if after is None:
                yield part
                return
            reading = asyncio.ensure_future(scan(after))
            yield part
    finally:
        reading.cancel()
