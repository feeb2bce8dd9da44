"""Apply one partition, in order: batch by batch, again when the store fails, and never past an event that cannot be applied."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import itertools
import logging
import random
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from freehold.consumer import Claim, Ledger
from freehold.consumer.apply import Applier
from freehold.consumer.batch import Delivery, Subscription, size_of, take_batch
from freehold.consumer.progress import ConsumerProgress, PartitionProgress, PartitionState
from freehold.discreet import words_of
from freehold.errors import EventRejected, FencedError, PeerError
from freehold.topic import Record

# One transaction's worth. Decoding a record takes some 10 µs, so a batch keeps the service's loop for about 5 ms.
BATCH_RECORDS_MAX = 500
BATCH_BYTES_MAX = 4 * 1024 * 1024

RETRY_S_MIN = 0.1
RETRY_S_MAX = 5.0
STOPPED_S_MIN = 1.0
STOPPED_S_MAX = 30.0
# Copies may be written again, so the position behind them is kept only so often: one write instead of one per batch.
KEEP_AFTER_S = 0.25

log = logging.getLogger("freehold.consumer")


class _Poisoned(Exception):
    """One event cannot be applied; everything before it is. Never leaves this file."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class Worker:
    """Applies the records of one claimed partition, in the service's event loop.

    Args:
        claim: The partition and the position to begin from.
        subscription: What a record means here.
        applier: Lets a batch take effect.
        ledger: Tells, after a failure, what was committed.
        progress: The whole subscription's; the partition's own is kept in it.
        on_done: Called whenever a batch is done, so that reading goes on.
    """

    def __init__(
        self,
        claim: Claim,
        subscription: Subscription,
        applier: Applier,
        ledger: Ledger,
        progress: ConsumerProgress,
        on_done: Callable[[], None],
    ) -> None:
        self.claim = claim
        self.progress = PartitionProgress(offset=claim.offset)
        self._subscription = subscription
        self._applier = applier
        self._ledger = ledger
        self._total = progress
        self._on_done = on_done
        self._waiting: collections.deque[Record] = collections.deque()
        self._batch_count = 0
        self._waiting_bytes = 0
        self._batch_bytes = 0
        self._where = f"{subscription.service}: {subscription.source}, partition {claim.partition}"
        self._arrived = asyncio.Event()
        self._closing = False
        # Copies are written up to here; the kept position, which is the claim's, follows.
        self._written = claim.offset
        self._keep_at: float | None = None
        self._is_position_sure = True

    @property
    def in_hand(self) -> int:
        """Count the records that wait here or are being applied."""
        return len(self._waiting) + self._batch_count

    @property
    def in_hand_bytes(self) -> int:
        """Count the bytes of their values."""
        return self._waiting_bytes + self._batch_bytes

    @property
    def is_held(self) -> bool:
        """Say whether nothing more should be read for it."""
        return self.progress.state is not PartitionState.READING

    def take(self, records: Sequence[Record]) -> None:
        """Queue records behind those taken before."""
        self._waiting.extend(records)
        self._waiting_bytes += size_of(records)
        self._arrived.set()

    def close(self) -> None:
        """Let `run` return after the batch in hand."""
        self._closing = True
        self._arrived.set()

    async def run(self) -> None:
        """Apply what is taken until closed.

        Raises:
            FencedError: Somebody else has claimed the partition.
        """
        while True:
            await self._wait_for_records()
            if self._closing:
                with contextlib.suppress(PeerError):  # who comes next writes the same copies again
                    await self._keep_position()
                return
            count = take_batch(self._waiting, BATCH_RECORDS_MAX, BATCH_BYTES_MAX)
            if count == 0:
                self._arrived.clear()
                continue
            batch = [self._waiting.popleft() for _ in range(count)]
            self._batch_count, self._batch_bytes = count, size_of(batch)
            self._waiting_bytes -= self._batch_bytes
            await self._finish(batch)
            self._batch_count = self._batch_bytes = 0
            self._on_done()

    async def _wait_for_records(self) -> None:
        """Wait for records, or to be closed; keep the position when it is time to."""
        while self._keep_at is not None:
            left_s = self._keep_at - time.monotonic()
            if left_s > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left_s):
                        await self._arrived.wait()
                    return
            await self._try_to_keep_position()
        await self._arrived.wait()

    async def _try_to_keep_position(self) -> None:
        try:
            await self._keep_position()
        except FencedError:
            raise
        except PeerError as error:
            self._keep_at = time.monotonic() + RETRY_S_MAX
            log.info("%s: its position is not kept yet: %s", self._where, error)

    async def _keep_position(self) -> None:
        """Let the kept position follow what was written."""
        if not self._is_position_sure:
            await self._read_position()
        if self._written is not None and self._written != self.claim.offset:
            self._is_position_sure = False
            self.claim = await self._applier.keep(self.claim, self._written)
            self._is_position_sure = True
        self._keep_at = None

    async def _finish(self, batch: list[Record]) -> None:
        """Apply the batch, however often that takes."""
        for attempt in itertools.count():
            try:
                if not self._is_position_sure:
                    await self._read_position()
                await self._attempt(batch)
            except FencedError:
                raise
            except PeerError as error:
                self._is_position_sure = False
                self._enter(PartitionState.RETRYING, str(error))
                pause_s = min(RETRY_S_MIN * 2**attempt, RETRY_S_MAX)
            except _Poisoned as error:
                # Its place for parking: error, raw record and position would go into one transaction here.
                self._enter(PartitionState.STOPPED, error.text)
                await self._try_to_keep_position()
                pause_s = min(STOPPED_S_MIN * 2**attempt, STOPPED_S_MAX)
            else:
                self._enter(PartitionState.READING, "")
                return
            if await self._is_closed_within(pause_s * random.uniform(0.5, 1.0)):  # noqa: S311 -- spreads retries
                return

    async def _read_position(self) -> None:
        """Let the position itself tell whether a commit took effect whose answer was lost.

        It is read, not claimed again: a process that has lost the partition without knowing must not take it back. If
        somebody else has claimed it, or the lost commit is yet to land, moving the position will find that out.
        """
        positions = await self._ledger.positions(self.claim.source)
        kept = positions.get(self.claim.partition)
        self.claim = dataclasses.replace(self.claim, offset=kept)
        if kept is not None and (self._written is None or kept > self._written):
            self._written = kept
        self._is_position_sure = True

    async def _attempt(self, batch: list[Record]) -> None:
        """Apply what of the batch is not applied yet, up to the first record that cannot be read."""
        deliveries: list[Delivery] = []
        unreadable: EventRejected | None = None
        until = batch[-1].offset + 1
        for record in batch:
            if self._written is not None and record.offset < self._written:
                continue
            try:
                deliveries.append(self._subscription.read(record))
            except EventRejected as error:
                unreadable, until = error, record.offset
                break
        if deliveries:
            await self._apply(deliveries, until)
        if unreadable is not None:
            raise _Poisoned(str(unreadable))

    async def _apply(self, deliveries: Sequence[Delivery], until: int) -> None:
        """Apply the deliveries, in halves when they fail, so that all before a poisonous one are applied."""
        try:
            if any(delivery.calls for delivery in deliveries):
                self.claim = await self._applier.handle(self.claim, deliveries, until)
                self._keep_at = None
            else:
                await self._applier.copy(deliveries)
                self._keep_at = self._keep_at or time.monotonic() + KEEP_AFTER_S
            self._written = until
        except PeerError:
            raise
        except Exception as error:
            if len(deliveries) == 1:
                raise self._poisoned(deliveries[0], error) from error
            half = len(deliveries) // 2
            await self._apply(deliveries[:half], deliveries[half].offset)
            await self._apply(deliveries[half:], until)
        else:
            self._note_applied(deliveries)

    def _poisoned(self, delivery: Delivery, error: Exception) -> _Poisoned:
        envelope = delivery.envelope
        where = f"{self._subscription.source}, partition {self.claim.partition}, offset {delivery.offset}"
        return _Poisoned(
            f"{where}: {envelope.type} of {envelope.key} cannot be applied: {words_of(error)}"
        )

    def _note_applied(self, deliveries: Sequence[Delivery]) -> None:
        self.progress.offset = self._written
        skipped = sum(not (delivery.states or delivery.calls) for delivery in deliveries)
        self._total.skipped_total += skipped
        self._total.applied_total += len(deliveries) - skipped
        published_at = datetime.fromisoformat(deliveries[-1].envelope.time)
        self._total.last_lag_s = (datetime.now(UTC) - published_at).total_seconds()

    def _enter(self, state: PartitionState, error: str) -> None:
        """Note the state; a change is logged once, not each try."""
        if (state, error) == (self.progress.state, self.progress.error):
            return
        self.progress.state, self.progress.error = state, error
        if state is PartitionState.READING:
            log.info("%s goes on", self._where)
        else:
            level = logging.ERROR if state is PartitionState.STOPPED else logging.WARNING
            log.log(level, "%s is %s: %s", self._where, state.value, error)

    async def _is_closed_within(self, pause_s: float) -> bool:
        """Wait; records that arrive meanwhile do not cut it short, closing does."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                while not self._closing:
                    self._arrived.clear()
                    await self._arrived.wait()
        self._arrived.set()
        return self._closing
