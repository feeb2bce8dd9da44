"""Build a source's copies anew beside the serving ones, compare them with the owner, and let them take over in one step.

Theory of operation (decision 22). What is built is filled by the same guarded writes as the serving copy, from the topic's
log or from the owner: there the topic's ends are noted first, then the owner is read part by part, then the topic from
those ends on; the guards put both in order, whatever comes first. Only when it is equal to its owner the consumers are
held for a moment, the last events are applied, and it takes over. All that is known is kept in the subscriber's store;
whatever is killed, the command can be run again and goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace

import msgspec

from freehold.consumer.parking.erased import clear_erased
from freehold.converge.audit import Outcome, Progress
from freehold.converge.building import Building, Parts, extents_of
from freehold.converge.judge import Finding
from freehold.converge.work import (
    Method,
    Previous,
    Stage,
    Work,
    beside,
    choose_method,
    positions_anew,
    previous_name,
)
from freehold.errors import FreeholdError, PeerError, RebuildError, StoreUnavailable
from freehold.service import Replica

EMBED_COPIES = 500
# Consumers look so often whether they are held; then they finish their batch.
LET_GO_S = 1.5
# A killed command holds nobody for longer.
HOLD_S = 30.0
SETTLE_S = 30.0
EXAMPLES_MAX = 5


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """What a rebuild says of itself while it goes on."""

    source: str
    replicas: list[str]
    stage: str
    text: str
    done: int = 0
    total: int = 0


class Rebuild:
    """One run of the work on a source's copies. Make it and go through `run` once.

    Args:
        parts: What it works with.
        source: The owner's name.
        replicas: The replicas of that source that are rebuilt.
        method: What they are built from; chosen, and said, when None.
        rows_per_s: So many entities are applied at most, and then as many as go; no limit when None.
    """

    def __init__(
        self,
        parts: Parts,
        source: str,
        replicas: Sequence[Replica],
        *,
        method: Method | None = None,
        rows_per_s: int | None = None,
    ) -> None:
        self._parts = parts
        self._source = source
        self._replicas = list(replicas)
        self._method = method
        self._rows_per_s = rows_per_s
        self._work = Work(source=source)

    async def run(self) -> AsyncIterator[Step]:
        """Build, compare, switch and embed, from wherever the last run came to; say each step.

        Raises:
            RebuildError: It cannot be done, or what was built is not equal to the owner and stays beside; says why.
            PeerError: A server does not answer, or another run took over: run it again.
        """
        self._work = await self._parts.versions.begin(self._source)
        if self._work.stage is Stage.SWITCHING:
            await self._resolve()
        if self._work.stage is not Stage.EMBEDDING:
            extents = await self._begin()
            building = Building(self._parts, self._work, self._replicas, self._rows_per_s)
            try:
                for work in (self._build(building, extents), self._compare(building)):
                    async for step in work:
                        yield step
                yield self._step("taking over: consumers are held for a moment")
                await self._take_over(building)
            except FreeholdError as error:
                await self._erase_gone()
                if isinstance(error, StoreUnavailable):
                    # What it worked on may have been taken by a later run: then that is the reason to give.
                    await self._save()
                raise
            finally:
                building.close()
        async for step in self._embed():
            yield step
        await self._note_seeded()
        await self._enter(Stage.DONE)
        serves = (
            "the copy of before serves again" if self._work.method is Method.PREVIOUS else "the rebuilt copy serves"
        )
        yield self._step(serves, done=self._work.rows, total=self._work.rows)

    # Building.

    async def _build(self, building: Building, extents: Mapping[int, tuple[int, int]]) -> AsyncIterator[Step]:
        waiting = [each for each in self._replicas if each.into not in self._work.scanned]
        for replica in waiting if self._work.method is Method.OWNER else ():
            async for each in building.scan(replica):
                yield self._step(each.stage, done=each.done, total=each.total)
        async for each in building.follow(sum(end - start for start, end in extents.values())):
            yield self._step(each.stage, done=each.done, total=each.total)

    async def _begin(self) -> Mapping[int, tuple[int, int]]:
        """Go on with what an earlier run has built, or begin anew."""
        parts, work = self._parts, self._work
        identity = await asyncio.to_thread(parts.topics.identify, parts.topic)
        extents = await asyncio.to_thread(parts.topics.extents, parts.topic, range(identity.partition_count))
        names = sorted(replica.into for replica in self._replicas)
        if work.can_go_on(names, self._method, identity.topic_id):
            # What an earlier run did not come to is begun here, and what it did stays.
            taken = [await self._take(replica) for replica in self._replicas]
            if all(taken):
                await self._enter(Stage.BUILDING)
                return extents
        starts = {partition: start for partition, (start, _) in extents.items()}
        known = await parts.ledger.topic_ids(self._source)
        if known - {identity.topic_id}:
            # Once the copies have taken over nothing else would tell.
            work.made_anew = identity.topic_id
        method = choose_method(known, identity.topic_id, starts, work.made_anew)
        work.replicas, work.method, work.topic_id = names, self._method or method, identity.topic_id
        work.cursors, work.scanned, work.rows = {}, [], 0
        for replica in self._replicas:
            await parts.versions.drop_strays(replica, None)
        if work.method is Method.PREVIOUS:
            await self._check_previous(starts)
            # Kept first: whoever goes on must know that these are the only ones of their kind.
            await self._enter(Stage.BUILDING)
            for replica in self._replicas:
                await parts.versions.restore_previous(replica, work.run)
            return extents
        ends = {partition: end for partition, (_, end) in extents.items()}
        work.positions = ends if work.method is Method.OWNER else starts
        for replica in self._replicas:
            await parts.versions.check(replica)
            await parts.make_copies(beside(replica, work.run)).prepare()
            await parts.versions.index_alike(replica, work.run)
        await self._enter(Stage.BUILDING)
        return extents

    async def _take(self, replica: Replica) -> bool:
        """Take over what an earlier run has built of a copy."""
        versions, run = self._parts.versions, self._work.run
        if await versions.take_over(replica, run):
            return True
        if self._work.method is Method.PREVIOUS:
            await versions.restore_previous(replica, run)
        return self._work.method is Method.PREVIOUS

    async def _check_previous(self, starts: Mapping[int, int]) -> None:
        """Make sure that the copies of before can go on from where they stood.

        Raises:
            RebuildError: They cannot; says why.
        """
        work = self._work
        kept = [each for replica in self._replicas if (each := work.previous.get(replica.into)) is not None]
        if len(kept) < len(self._replicas):
            raise RebuildError(
                f"there is no copy of before of {', '.join(work.replicas)}: none was replaced by a rebuilt one"
            )
        if any(each.topic_id != work.topic_id for each in kept):
            raise RebuildError(
                "the topic was made anew since the copy of before was replaced; rebuild instead: --from owner"
            )
        positions = {partition: min(each.positions.get(partition, 0) for each in kept) for partition in starts}
        if any(position < starts[partition] for partition, position in positions.items()):
            raise RebuildError("the topic no longer reaches back to where the copy of before stood; rebuild instead")
        work.positions = positions
        for replica in self._replicas:
            before = replace(replica, into=previous_name(replica.into), embedded_in={})
            if not await self._parts.versions.is_there(before):
                raise RebuildError(f"there is no copy of before: {before.into} does not exist")
            lacking = await self._parts.make_copies(before).lacking()
            if lacking:
                raise RebuildError(
                    f"{before.into} has no {', '.join(lacking)}, which {replica.into} declares; rebuild instead"
                )

    # Comparing and taking over.

    async def _compare(self, building: Building) -> AsyncIterator[Step]:
        await self._enter(Stage.COMPARING)
        for replica in self._replicas:
            try:
                async for step in self._compare_one(building, replica):
                    yield step
            except FreeholdError:
                raise
            except Exception:
                # What is compared may have been taken by a later run: then that is the reason to give.
                await self._save()
                raise

    async def _compare_one(self, building: Building, replica: Replica) -> AsyncIterator[Step]:
        built = beside(replica, self._work.run)
        found: list[Finding] = []
        rows = 0
        async for each in self._parts.compare(built, building.read_on):
            if isinstance(each, Finding):
                found = [*found, each][:EXAMPLES_MAX]
            elif isinstance(each, Progress):
                yield self._step(f"comparing {replica.into} with {self._source}", done=each.done, total=each.total)
            elif each.differing or each.behind:
                await self._enter(Stage.DIFFERS)
                raise RebuildError(self._tell_difference(building, built, each, found))
            else:
                rows = each.rows
        yield self._step(f"{replica.into} is equal to {self._source}", done=rows, total=rows)

    def _tell_difference(self, building: Building, built: Replica, outcome: Outcome, found: Sequence[Finding]) -> str:
        examples = ", ".join(f"{each.id}: {each.kind}" for each in found) or outcome.reason
        rejected = f". An event could not be applied: {building.rejected}" if building.rejected else ""
        hint = "" if self._work.method is Method.OWNER else "; build it from the owner: --from owner"
        return (
            f"{built.into} differs from {self._source} in {outcome.differing:,} of {outcome.rows:,} entities and stays beside "
            f"the serving copy, which goes on ({examples}){rejected}{hint}"
        )

    async def _take_over(self, building: Building) -> None:
        parts, work = self._parts, self._work
        kept = await parts.ledger.positions(self._source)
        known = await parts.ledger.topic_ids(self._source)
        for replica in self._replicas:
            await parts.versions.keep_previous(replica)
            work.previous[replica.into] = Previous(topic_id=min(known, default=work.topic_id), positions=kept)
        await parts.versions.settle(SETTLE_S)
        await self._enter(Stage.SWITCHING)
        # A later run goes on with the hold of a killed one; an earlier one cannot switch any more.
        token = f"rebuild of {self._source}"
        await parts.ledger.hold(self._source, token, HOLD_S)
        try:
            await asyncio.sleep(LET_GO_S)
            extents = await building.extents()
            await building.reach({partition: end for partition, (_, end) in extents.items()})
            anew = positions_anew(kept, extents, is_same_topic=known <= {work.topic_id})
            await parts.versions.switch(work, self._replicas, token, anew)
        finally:
            # If this fails too, it ends by itself.
            with contextlib.suppress(PeerError):
                await parts.ledger.release(self._source, token)

    async def _resolve(self) -> None:
        """See what a run that was killed while it switched had done, and go on behind that."""
        parts, work = self._parts, self._work
        replicas = [replica for replica in parts.service.replicates if replica.into in work.replicas]
        waiting = [replica for replica in replicas if await parts.versions.take_over(replica, work.run)]
        if waiting:
            work.replicas = [replica.into for replica in waiting]
            work.stage = Stage.BUILDING
            if {replica.into for replica in self._replicas} == {replica.into for replica in replicas}:
                self._replicas = waiting
            await self._save()
            return
        # It may have been stopped for so long that consumers went on before it switched: they read that once more.
        kept = await parts.ledger.positions(self._source)
        if await parts.ledger.topic_ids(self._source) <= {work.topic_id}:
            back = {partition: min(offset, work.positions.get(partition, offset)) for partition, offset in kept.items()}
        else:
            back = {partition: start for partition, (start, _) in (await extents_of(parts, work)).items()}
        await parts.service.store.transact(parts.ledger.replace, self._source, work.topic_id, back)
        await self._enter(Stage.EMBEDDING)

    async def _embed(self) -> AsyncIterator[Step]:
        """Let the own documents that embed the copies follow, at an equal place too: fields may be new."""
        for replica in self._replicas:
            copies = self._parts.make_copies(replica)
            await copies.prepare()
            last: str | None = None
            done = 0
            while replica.embedded_in and (last := await copies.embed_again(last, EMBED_COPIES)) is not None:
                done += EMBED_COPIES
                yield self._step(
                    f"following in {', '.join(replica.embedded_in)}", done=done, total=max(done, self._work.rows)
                )
            await self._parts.versions.drop_strays(replica, None)
            store, lot = self._parts.service.store, self._parts.lot
            await clear_erased(store, lot, self._source, replica.entity, copies)

    async def _erase_gone(self) -> None:
        """Leave nothing of whom was erased in what stays beside; what a killed run left goes when the service starts."""
        with contextlib.suppress(PeerError):
            for replica in self._replicas:
                await self._parts.versions.erase_gone(replica)

    async def _note_seeded(self) -> None:
        seeded = await self._parts.versions.seeded(self._source) or []
        await self._parts.versions.note_seeded(self._source, sorted({*seeded, *(each.into for each in self._replicas)}))

    # What is kept and said.

    async def _enter(self, stage: Stage) -> None:
        self._work.stage = stage
        await self._save()

    async def _save(self) -> None:
        await self._parts.versions.save(self._work)

    def _step(self, text: str, *, done: int = 0, total: int = 0) -> Step:
        names = [replica.into for replica in self._replicas]
        return Step(source=self._source, replicas=names, stage=self._work.stage, text=text, done=done, total=total)
