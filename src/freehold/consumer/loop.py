"""Read one source's topic and let each event take effect once in the own store.

Theory of operation. A thread blocks in the topic's reader; what it reads it hands to one worker per partition, in the
service's event loop, where the store's drivers live. On assignment each partition is claimed in the store, which fences
whoever had it, and read from the position that the claim tells; when it is taken away the batch in hand is finished
first. The thread reads no further while enough waits in hand; a partition that is stopped or retrying is held, so the
others go on. A failure of the reader ends the session whole: it leaves the group and joins again, with back-off.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from freehold.cancel import end_tasks
from freehold.consumer import Claim, Ledger
from freehold.consumer.apply import Applier
from freehold.consumer.batch import Subscription
from freehold.consumer.parking import Lot, ParkedEvent
from freehold.consumer.parking.letter import dead_letter
from freehold.consumer.parking.retry import Retries
from freehold.consumer.progress import ConsumerProgress, ConsumerState, PartitionProgress
from freehold.consumer.worker import Worker
from freehold.discreet import words_of
from freehold.errors import (
    FencedError,
    FreeholdError,
    HeldError,
    IdentityError,
    OperatorError,
    PeerError,
    StoreUnavailable,
)
from freehold.replica import Copies
from freehold.service import Parking, Service
from freehold.store import OpenStore
from freehold.topic import Record, TopicIdentity
from freehold.topic.admin import Topics
from freehold.topic.dead import DeadLetters
from freehold.topic.reader import Reader

READ_WAIT_S = 0.1  # bounds how long holding a partition, or stopping, waits for the reader
# Read no further while this much waits: bounds memory, and keeps each partition's next batch at hand.
IN_HAND_RECORDS_MAX = 4_000
IN_HAND_BYTES_MAX = 32 * 1024 * 1024
CLAIM_TIMEOUT_S = 10.0
RELEASE_TIMEOUT_S = 5.0
IDENTITY_CHECK_S = 3.0
HOLD_CHECK_S = 0.5
ENDS_S = 1.0
REPORT_S = 5.0
RETRY_S_MIN = 0.2
RETRY_S_MAX = 5.0
STOPPED_S = 30.0  # an operator has mended what was wrong: found without a restart

log = logging.getLogger("freehold.consumer")


class Consumer:
    """One subscription of a service. Make it, `start` it in the service's event loop, and `stop` it there.

    Args:
        service: Whose subscription it is.
        source: The service whose events are read.
        reader: Reads the source's topic, as a member of the service's group.
        topics: Tells which topic that is, and how far it reaches.
        store: The service's own store, open.
        ledger: Positions and guards in that store.
        copies: The service's replicas of this source, prepared, in the order of their declaration.
        lot: The service's parked events, in that store.
        dead_letters: The topic that is told of those that died.
    """

    def __init__(
        self,
        service: Service,
        source: str,
        *,
        reader: Reader,
        topics: Topics,
        store: OpenStore,
        ledger: Ledger,
        copies: Sequence[Copies],
        lot: Lot,
        dead_letters: DeadLetters,
    ) -> None:
        self.progress = ConsumerProgress(source)
        self._subscription = Subscription(service, source)
        self._policy = service.parking.get(source, Parking())
        self._applier = Applier(self._subscription, store, ledger, copies, lot=lot, policy=self._policy)
        self._lot = lot
        self._dead_letters = dead_letters
        self._copies = copies
        self._reader = reader
        self._topics = topics
        self._ledger = ledger
        self._workers: dict[int, tuple[Worker, asyncio.Task[None]]] = {}
        self._thread = threading.Thread(target=self._run, name=f"freehold-read-{source}", daemon=True)
        self._ending = threading.Event()
        self._has_room = threading.Event()
        self._failure: FreeholdError | None = None
        self._identity: TopicIdentity | None = None
        self._handing = 0
        self._is_silent = False

    def start(self) -> None:
        """Begin, in the running event loop and a thread beside it."""
        self._loop = asyncio.get_running_loop()
        self._watching = self._loop.create_task(self._watch())
        self._thread.start()

    async def stop(self, timeout_s: float) -> bool:
        """Finish the batches in hand and leave the group.

        Returns:
            False when it was not done within `timeout_s`: what it had in hand is applied by its successor.
        """
        self._ending.set()
        self._has_room.set()
        await end_tasks([self._watching])
        await asyncio.to_thread(self._thread.join, timeout_s)
        for _, task in self._workers.values():
            task.cancel()
        await asyncio.to_thread(self._dead_letters.close)
        self.progress.state = ConsumerState.ENDED
        return not self._thread.is_alive()

    # In the thread: blocking calls of the reader.

    def _run(self) -> None:
        pause_s = RETRY_S_MIN
        while not self._ending.is_set():
            applied = self.progress.applied_total
            try:
                self._read_session()
            except Exception as error:  # noqa: BLE001 -- even a bug must be seen in `progress`, and not end the thread in silence
                is_new = self.progress.applied_total > applied or isinstance(error, HeldError)
                pause_s = RETRY_S_MIN if is_new else min(pause_s * 2, RETRY_S_MAX)
                self._pause(error, STOPPED_S if isinstance(error, IdentityError) else pause_s)

    def _read_session(self) -> None:
        """Join the group and read until told to end or something fails."""
        self._failure = None
        self._identity = self._topics.identify(self._reader.topic)
        self._reader.open(self._claim, self._release)
        told_at = reported_at = time.monotonic()
        try:
            while not self._ending.is_set():
                if self._failure is not None:
                    raise self._failure
                self._wait_for_room()
                self._reader.hold({number for number, (worker, _) in list(self._workers.items()) if worker.is_held})
                self._hand_over(self._reader.read(READ_WAIT_S))
                now = time.monotonic()
                if now - told_at > ENDS_S:
                    told_at = now
                    self._note_ends()
                if now - reported_at > REPORT_S:
                    reported_at = now
                    self._report()
        except IdentityError as error:
            # The log is not what it was; that it is another one altogether says more.
            raise self._find_another_topic() or error from None
        finally:
            self._reader.close()
            self._await(self._release_all(), RELEASE_TIMEOUT_S)

    def _find_another_topic(self) -> IdentityError | None:
        """See whether the topic of this name is still the one that this session began with."""
        known, found = self._identity, self._topics.identify(self._reader.topic)
        if known is None or found.topic_id == known.topic_id:
            return None
        return IdentityError(
            f"topic {found.name} was made anew: it was {known.topic_id}, and is {found.topic_id}; nothing of it is read "
            f"until an operator says: freehold rebuild --of {self._subscription.source}"
        )

    def _wait_for_room(self) -> None:
        while not self._ending.is_set() and self._failure is None and self._is_full():
            self._has_room.clear()
            if self._is_full():
                self._has_room.wait(READ_WAIT_S)

    def _is_full(self) -> bool:
        """Say whether enough waits; what waits behind a partition that is held must not keep the others from reading."""
        reading = [worker for worker, _ in list(self._workers.values()) if not worker.is_held]
        count = self._handing + sum(worker.in_hand for worker in reading)
        return count >= IN_HAND_RECORDS_MAX or sum(worker.in_hand_bytes for worker in reading) >= IN_HAND_BYTES_MAX

    def _hand_over(self, records: list[Record]) -> None:
        if not records:
            return
        by_partition: dict[int, list[Record]] = {}
        for record in records:
            by_partition.setdefault(record.partition, []).append(record)
        self._handing += len(records)
        self._loop.call_soon_threadsafe(self._take, by_partition, len(records))

    def _claim(self, partitions: list[int]) -> Mapping[int, int | None]:
        """Claim what was assigned, make sure that the log still holds the positions, and start applying."""
        if not partitions or self._ending.is_set():
            # More instances than partitions: this one stands by.
            self._enter(ConsumerState.READING, "")
            return {}
        topic = self._reader.topic
        identity = self._topics.identify(topic)
        claims = self._await(self._claim_each(identity.topic_id, partitions), CLAIM_TIMEOUT_S)
        check_extents(topic, claims, self._topics.extents(topic, partitions))
        self._await(self._begin(claims), CLAIM_TIMEOUT_S)
        return {claim.partition: claim.offset for claim in claims}

    def _release(self, partitions: list[int]) -> None:
        self._await(self._end(partitions), RELEASE_TIMEOUT_S)

    def _await(self, coroutine: Any, timeout_s: float) -> Any:
        """Run a coroutine in the event loop, and wait for it here."""
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result(timeout_s)
        except FutureTimeoutError:
            future.cancel()
            raise StoreUnavailable(f"the own store did not answer within {timeout_s:g} s") from None

    def _note_ends(self) -> None:
        ends = self._reader.ends()
        for number, partition in list(self.progress.partitions.items()):
            partition.end = ends.get(number, partition.end)

    def _report(self) -> None:
        """Tell Kafka's own tools how far we are; nothing of ours reads it."""
        positions = {n: p.offset for n, p in list(self.progress.partitions.items()) if p.offset is not None}
        if positions:
            self._reader.report(positions)

    def _pause(self, error: Exception, pause_s: float) -> None:
        is_expected = isinstance(error, FreeholdError)
        text = words_of(error)
        state = ConsumerState.STOPPED if isinstance(error, OperatorError) else ConsumerState.RETRYING
        self._enter(state, text, None if is_expected else error)
        self.progress.retry_at = time.time() + pause_s
        self._ending.wait(pause_s)

    def _enter(self, state: ConsumerState, text: str, bug: Exception | None = None) -> None:
        """Note the state; a change is logged once, not each try."""
        progress = self.progress
        if (state, text) != (progress.state, progress.error):
            level = {ConsumerState.RETRYING: logging.WARNING, ConsumerState.STOPPED: logging.ERROR}.get(
                state, logging.INFO
            )
            where = f"{self._subscription.service}: reading {progress.source}"
            log.log(level, "%s is %s%s", where, state.value, f": {text}" if text else "", exc_info=bug)
        progress.state, progress.error, progress.retry_at = state, text, None

    # In the event loop: what touches the store.

    async def _claim_each(self, topic_id: str, partitions: list[int]) -> list[Claim]:
        source = self._subscription.source
        claims = [await self._ledger.claim(source, topic_id, partition) for partition in partitions]
        # A rebuilt copy may have taken the place of the one that was known, and have other fields. Looked at behind the
        # claim: a copy that takes over later fences it, while one that took over just before it would go unnoticed.
        for copies in self._copies:
            await copies.prepare()
        return claims

    async def _begin(self, claims: list[Claim]) -> None:
        for claim in claims:
            worker = self._make_worker(claim)
            task = self._loop.create_task(self._work(worker))
            self._workers[claim.partition] = (worker, task)
            self.progress.partitions[claim.partition] = worker.progress
        self._enter(ConsumerState.READING, "")

    def _make_worker(self, claim: Claim) -> Worker:
        progress = PartitionProgress(offset=claim.offset)
        retries = Retries(
            claim,
            subscription=self._subscription,
            applier=self._applier,
            lot=self._lot,
            policy=self._policy,
            tell=self._tell,
            total=self.progress,
            progress=progress,
        )
        return Worker(
            claim,
            subscription=self._subscription,
            applier=self._applier,
            ledger=self._ledger,
            retries=retries,
            policy=self._policy,
            total=self.progress,
            progress=progress,
            on_done=self._has_room.set,
        )

    async def _tell(self, events: Sequence[ParkedEvent]) -> None:
        """Tell the topic of dead letters of these; raises TopicUnavailable or ConfigurationError."""
        service, group = self._subscription.service, self._reader.group
        letters = [dead_letter(event, service, group) for event in events]
        await asyncio.to_thread(self._dead_letters.send, letters)

    async def _work(self, worker: Worker) -> None:
        try:
            await worker.run()
        except FencedError as error:
            self._failure = error
        except Exception as error:
            log.exception("%s: applying %s failed", self._subscription.service, self._subscription.source)
            self._failure = PeerError(f"applying failed: {words_of(error)}")

    def _take(self, by_partition: dict[int, list[Record]], count: int) -> None:
        self._handing -= count
        for number, records in by_partition.items():
            if number in self._workers:
                self._workers[number][0].take(records)

    async def _end(self, partitions: list[int]) -> None:
        """Let each worker finish its batch; one that cannot is cut off before the caller loses patience."""
        ending = [(number, self._workers.pop(number)) for number in partitions if number in self._workers]
        for _, (worker, _task) in ending:
            worker.close()
        tasks = [task for _, (_, task) in ending]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=RELEASE_TIMEOUT_S * 0.8)
            for task in late:
                task.cancel()
        for number, _ in ending:
            self.progress.partitions.pop(number, None)

    async def _release_all(self) -> None:
        await self._end(list(self._workers))

    async def _watch(self) -> None:
        """See, now and then, whether the topic is still the one that the positions point into, and nobody holds it."""
        looked_at = time.monotonic()
        while True:
            await asyncio.sleep(HOLD_CHECK_S)
            await self._look_for_hold()
            if time.monotonic() - looked_at < IDENTITY_CHECK_S:
                continue
            looked_at = time.monotonic()
            try:
                self._failure = await asyncio.to_thread(self._find_another_topic) or self._failure
            except FreeholdError as error:
                # The reader waits for Kafka by itself and says nothing; whoever asks for progress should know.
                if self.progress.state is ConsumerState.READING:
                    self._is_silent = True
                    self._enter(ConsumerState.RETRYING, str(error))
            else:
                if self._is_silent and self.progress.state is ConsumerState.RETRYING:
                    self._enter(ConsumerState.JOINING if self._reader.is_joining else ConsumerState.READING, "")
                self._is_silent = False

    async def _look_for_hold(self) -> None:
        """Let go at once when the copies are to be replaced: whoever has nothing to do would not notice the fence."""
        with contextlib.suppress(PeerError):
            if self._workers and await self._ledger.is_held(self._subscription.source):
                self._failure = HeldError(self._subscription.source)


def check_extents(topic: str, claims: Sequence[Claim], extents: Mapping[int, tuple[int, int]]) -> None:
    """Make sure that each position lies in the log.

    Raises:
        IdentityError: One is before the log's start (what it points to has expired) or after its end (it was truncated).
    """
    for claim in claims:
        if claim.offset is None:
            continue
        start, end = extents[claim.partition]
        where = f"{topic}, partition {claim.partition}: the stored position {claim.offset}"
        if claim.offset < start:
            raise IdentityError(
                f"{where} is before {start}, where the log begins now: events expired unread. Go on by: freehold "
                f"rebuild --of {claim.source}"
            )
        if claim.offset > end:
            raise IdentityError(
                f"{where} is after {end}, where the log ends: the log was truncated. Go on by: freehold "
                f"rebuild --of {claim.source}"
            )
