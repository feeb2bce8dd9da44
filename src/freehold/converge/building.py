"""Fill the copies that a rebuild builds: from the topic, or from the owner and then the topic (decision 22)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from freehold.consumer import Ledger
from freehold.consumer.batch import Subscription, fold, read_fields
from freehold.consumer.parking import Lot
from freehold.converge.audit import Outcome, Progress
from freehold.converge.judge import Finding
from freehold.converge.owner import OwnedState
from freehold.converge.source import Source
from freehold.converge.versions import Versions
from freehold.converge.work import Work, beside, lag
from freehold.errors import EventRejected, RebuildError
from freehold.event import Place
from freehold.replica import Copies, State
from freehold.service import Replica, Service
from freehold.topic import Record
from freehold.topic.address import KafkaAddress
from freehold.topic.admin import Topics
from freehold.topic.replay import Replay
from freehold.upcast import Reader

SCAN_ROWS = 1_000
READ_WAIT_S = 0.2
SAVE_EVERY_S = 1.0
# So few events are applied within the moment that consumers are held.
NEAR_EVENTS = 2_000
# The end of a topic under load moves on; what is left after this is applied while consumers are held.
CATCH_UP_S_MAX = 3_600.0

ReadOn = Callable[[], Awaitable[Mapping[int, int]]]
# Compares a copy with its owner; is given what applies further events to it and tells where it stands then.
Compare = Callable[[Replica, ReadOn], AsyncIterator[Progress | Finding | Outcome]]


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a rebuild works with.

    Attributes:
        service: The subscriber; its store is open.
        topic: The source's topic, as Kafka calls it.
        group: A name that begins with the subscriber's own; nobody joins it.
        address: Where Kafka is.
        topics: Tells which topic that is, and how far it reaches.
        ledger: The subscriber's positions.
        lot: Its parked events.
        versions: The versions of its copies.
        make_copies: Gives the copies of a replica.
        make_source: Gives the owner of a replica's facts.
        compare: Compares what was built with its owner.
    """

    service: Service
    topic: str
    group: str
    address: KafkaAddress
    topics: Topics
    ledger: Ledger
    lot: Lot
    versions: Versions
    make_copies: Callable[[Replica], Copies]
    make_source: Callable[[Replica], Source]
    compare: Compare


class Building:
    """What one run builds, and how far it is. Close it.

    Args:
        parts: What it works with.
        work: Its positions and cursors are kept up to date, and saved now and then.
        replicas: Those that are rebuilt.
        rows_per_s: So many entities are applied at most; no limit when None.

    Attributes:
        rejected: The first event that could not be applied. A later state of its entity may do instead; if none does, the
            comparison tells.
    """

    def __init__(self, parts: Parts, work: Work, replicas: Sequence[Replica], rows_per_s: int | None) -> None:
        self.rejected: EventRejected | None = None
        self._parts = parts
        self._work = work
        self._rows_per_s = rows_per_s
        self._saved_at = 0.0
        built = [beside(replica, work.run) for replica in replicas]
        self._subscription = Subscription(replace(parts.service, listens=(), replicates=built), work.source)
        self._copies = [parts.make_copies(replica) for replica in self._subscription.replicas]
        self._replay = Replay(parts.address, parts.topic, parts.group, work.positions)

    def close(self) -> None:
        """Let go of the topic."""
        self._replay.close()

    async def scan(self, replica: Replica) -> AsyncIterator[Progress]:
        """Read the owner part by part; what changes meanwhile comes by the topic, behind the ends that were noted."""
        work, source = self._work, self._parts.make_source(replica)
        copies = self._parts.make_copies(beside(replica, work.run))
        await copies.prepare()
        reader = Reader(replica.state)
        try:
            total, done = await source.count(), 0
            cursor = work.cursors.get(replica.into)
            while True:
                began_at = time.monotonic()
                part = await source.scan(cursor, SCAN_ROWS)
                await copies.apply([_state(row, part.epoch, reader) for row in part.rows])
                done, cursor = done + len(part.rows), part.cursor
                work.rows += len(part.rows)
                if cursor is None:
                    break
                work.cursors[replica.into] = cursor
                await self._save_now_and_then()
                yield Progress(f"reading {replica.entity}s of {source.name}", done, max(total, done))
                await self._pace(len(part.rows), began_at)
        finally:
            await source.close()
        work.scanned.append(replica.into)
        await self._parts.versions.save(work)

    async def follow(self, total: int) -> AsyncIterator[Progress]:
        """Read the topic until so little is left that consumers can be held meanwhile."""
        until = time.monotonic() + CATCH_UP_S_MAX
        while time.monotonic() < until:
            ends = {partition: end for partition, (_, end) in (await self.extents()).items()}
            left = lag(self._work.positions, ends)
            yield Progress(f"reading the topic of {self._work.source}", max(0, total - left), total)
            if left <= NEAR_EVENTS:
                break
            read_until = time.monotonic() + SAVE_EVERY_S
            while time.monotonic() < read_until and lag(self._work.positions, ends):
                await self.read_on()
            await self._save_now_and_then()

    async def reach(self, ends: Mapping[int, int]) -> None:
        """Apply all events before these ends."""
        while lag(self._work.positions, ends):
            await self.read_on()

    async def read_on(self) -> Mapping[int, int]:
        """Apply the next events, if there are any, and say where what is built stands then."""
        began_at = time.monotonic()
        records = await asyncio.to_thread(self._replay.read, READ_WAIT_S)
        await self._apply(records)
        self._work.positions = dict(self._replay.positions)
        await self._pace(len(records), began_at)
        return self._work.positions

    async def extents(self) -> dict[int, tuple[int, int]]:
        """Say how far the topic reaches, if it still is the one that is read.

        Raises:
            RebuildError: It was made anew.
        """
        return await extents_of(self._parts, self._work)

    async def _apply(self, records: Sequence[Record]) -> None:
        deliveries = []
        for record in records:
            try:
                deliveries.append(self._subscription.read(record))
            except EventRejected as error:
                self.rejected = self.rejected or error
        for number, copies in enumerate(self._copies):
            states = fold(deliveries, number)
            await copies.apply(states)
            self._work.rows += len(states)

    async def _save_now_and_then(self) -> None:
        if time.monotonic() - self._saved_at > SAVE_EVERY_S:
            await self._parts.versions.save(self._work)
            self._saved_at = time.monotonic()

    async def _pace(self, rows: int, began_at: float) -> None:
        if self._rows_per_s:
            await asyncio.sleep(max(0.0, rows / self._rows_per_s - (time.monotonic() - began_at)))


async def extents_of(parts: Parts, work: Work) -> dict[int, tuple[int, int]]:
    """Say how far the topic of a work reaches; see `Building.extents`."""
    identity = await asyncio.to_thread(parts.topics.identify, parts.topic)
    if identity.topic_id != work.topic_id:
        raise RebuildError(f"the topic of {work.source} was made anew meanwhile; run the command again")
    return await asyncio.to_thread(parts.topics.extents, parts.topic, range(identity.partition_count))


def _state(row: OwnedState, epoch: int, reader: Reader) -> State:
    """Make of an owner's row what a copy of it is: behind it comes whatever the topic has of that version."""
    fields = None if row.is_gone else read_fields(bytes(row.data), row.schema, row.entity_id, reader)
    return State(row.entity_id, Place(epoch, row.version, 0), fields)
