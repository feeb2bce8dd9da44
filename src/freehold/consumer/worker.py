"""Apply one partition, in order: batch by batch, and a batch again when the store fails."""

from __future__ import annotations

import asyncio
import collections
import contextlib
import functools
import itertools
import logging
import random
import time
from collections.abc import Awaitable, Callable, Sequence

from freehold.cancel import end_tasks
from freehold.consumer import Claim, Ledger
from freehold.consumer.apply import Applier, HandlerWaits
from freehold.consumer.attempt import Attempt, StandsStill
from freehold.consumer.batch import Subscription, size_of, take_batch
from freehold.consumer.parking.retry import Retries
from freehold.consumer.position import KEEP_AGAIN_S, Position
from freehold.consumer.progress import ConsumerProgress, PartitionProgress, PartitionState
from freehold.consumer.together import BATCH_RECORDS_MAX
from freehold.errors import FencedError, PeerError
from freehold.service import Parking
from freehold.topic import Record

BATCH_BYTES_MAX = 4 * 1024 * 1024

RETRY_S_MIN = 0.1
RETRY_S_MAX = 5.0
STOPPED_S_MIN = 1.0

log = logging.getLogger("freehold.consumer")


class Worker:
    """Applies the records of one claimed partition, in the service's event loop.

    Args:
        claim: The partition and the position to begin from.
        subscription: What a record means here.
        applier: Lets a batch take effect.
        ledger: Tells, after a failure, what was committed.
        retries: What is parked of the partition, and tries it again.
        policy: What is parked when.
        total: The whole subscription's progress.
        progress: The partition's own.
        on_done: Called whenever a batch is done, so that reading goes on.
    """

    def __init__(
        self,
        claim: Claim,
        *,
        subscription: Subscription,
        applier: Applier,
        ledger: Ledger,
        retries: Retries,
        policy: Parking,
        total: ConsumerProgress,
        progress: PartitionProgress,
        on_done: Callable[[], None],
    ) -> None:
        self.progress = progress
        self._position = Position(claim, applier, ledger)
        self._retries = retries
        self._on_done = on_done
        self._waiting: collections.deque[Record] = collections.deque()
        self._batch_count = 0
        self._waiting_bytes = 0
        self._batch_bytes = 0
        self._where = f"{subscription.service}: {subscription.source}, partition {claim.partition}"
        self._arrived = asyncio.Event()
        self._closing = False
        self._attempt = Attempt(
            self._position,
            subscription=subscription,
            applier=applier,
            retries=retries,
            policy=policy,
            total=total,
            progress=progress,
            where=self._where,
        )

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
        """Apply what is taken until closed, and try again what is parked.

        Raises:
            FencedError: Somebody else has claimed the partition.
        """
        # Before anything is applied: what is parked holds up its key.
        await self._until_done(self._attempt.make_sure)
        retrying = asyncio.create_task(self._retries.run())
        try:
            await self._apply_until_closed()
        finally:
            await end_tasks([retrying])

    async def _apply_until_closed(self) -> None:
        while True:
            await self._wait_for_records()
            if self._closing:
                with contextlib.suppress(PeerError):  # who comes next writes the same copies again
                    await self._position.keep()
                return
            count = take_batch(self._waiting, BATCH_RECORDS_MAX, BATCH_BYTES_MAX)
            if count == 0:
                self._arrived.clear()
                continue
            batch = [self._waiting.popleft() for _ in range(count)]
            self._batch_count, self._batch_bytes = count, size_of(batch)
            self._waiting_bytes -= self._batch_bytes
            await self._until_done(functools.partial(self._attempt.run, batch))
            self._batch_count = self._batch_bytes = 0
            self._on_done()

    async def _wait_for_records(self) -> None:
        """Wait for records, or to be closed; keep the position when it is time to."""
        while self._position.keep_at is not None:
            left_s = self._position.keep_at - time.monotonic()
            if left_s > 0:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(left_s):
                        await self._arrived.wait()
                    return
            await self._try_to_keep_position()
        await self._arrived.wait()

    async def _try_to_keep_position(self) -> None:
        try:
            await self._position.keep()
        except FencedError:
            raise
        except PeerError as error:
            self._position.keep_at = time.monotonic() + KEEP_AGAIN_S
            log.info("%s: its position is not kept yet: %s", self._where, error)

    async def _until_done(self, attempt: Callable[[], Awaitable[None]]) -> None:
        """Do it, however often that takes; closing ends it undone."""
        for number in itertools.count():
            try:
                await attempt()
            except FencedError:
                raise
            except HandlerWaits as error:
                self._enter(PartitionState.RETRYING, str(error))
                pause_s = min(RETRY_S_MIN * 2**number, RETRY_S_MAX)
            except PeerError as error:
                self._position.is_sure = False
                self._enter(PartitionState.RETRYING, str(error))
                pause_s = min(RETRY_S_MIN * 2**number, RETRY_S_MAX)
            except StandsStill as error:
                self._enter(PartitionState.STOPPED, error.text)
                await self._try_to_keep_position()
                pause_s = min(STOPPED_S_MIN * 2**number, error.pause_s_max)
            else:
                self._enter(PartitionState.READING, "")
                return
            if await self._is_closed_within(pause_s * random.uniform(0.5, 1.0)):  # noqa: S311 -- spreads retries
                return

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
