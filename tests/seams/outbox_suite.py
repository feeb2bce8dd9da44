"""What every outbox source promises: each committed row at least once, per key in version order, one relay at a time."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from freehold.errors import FencedError, PeerError, StoreUnavailable
from freehold.event import OutboxRow
from freehold.outbox import CHUNK_ROWS, OutboxSource, StoreOutbox
from tests.seams.product import Product, UserUpdated
from tests.seams.suite import SeamSuite

LIMIT_S = 20.0
Place = tuple[str, int, int]


class OutboxSuite(SeamSuite):
    @pytest.fixture
    def make_source(self, url: str, service: str, store: Any) -> Iterator[Callable[[], StoreOutbox]]:
        made: list[StoreOutbox] = []

        def make() -> StoreOutbox:
            made.append(self.product.make_source(url, service))
            return made[-1]

        yield make
        for source in made:
            source.close()

    @pytest.fixture
    def source(self, make_source: Callable[[], StoreOutbox]) -> OutboxSource:
        return make_source()

    async def publish(self, store: Any, *versions: tuple[str, int]) -> None:
        """Publish each (id, version) in a transaction of its own."""
        for user_id, version in versions:
            await store.transact(_publish, [(user_id, version)])

    async def test_quiet_outbox_has_nothing_to_hand_over(self, store: Any, source: OutboxSource) -> None:
        assert await asyncio.to_thread(source.open)
        assert await asyncio.to_thread(sweep, source) == []

        started_at = time.monotonic()
        assert await asyncio.to_thread(source.follow, 0.2) is None
        assert 0.1 < time.monotonic() - started_at < 2

    async def test_sweep_hands_over_what_is_there_by_key_and_version(self, store: Any, source: OutboxSource) -> None:
        await self.publish(store, ("b", 1), ("a", 1), ("b", 2), ("a", 2))

        await asyncio.to_thread(source.open)
        rows = await asyncio.to_thread(sweep, source)

        assert [place(row) for row in rows] == [
            ("user/a", 1, 0),
            ("user/a", 2, 0),
            ("user/b", 1, 0),
            ("user/b", 2, 0),
        ]
        assert rows == await self.product.read_outbox(store)

    async def test_log_hands_over_what_comes_later_in_commit_order(self, store: Any, source: OutboxSource) -> None:
        await self.publish(store, ("a", 1))
        await asyncio.to_thread(source.open)
        await asyncio.to_thread(sweep, source)
        await self.publish(store, ("b", 1), ("a", 2), ("b", 2))

        rows = await asyncio.to_thread(follow, source, 3)

        assert [place(row) for row in rows] == [("user/b", 1, 0), ("user/a", 2, 0), ("user/b", 2, 0)]
        assert {row.data for row in rows} == {b'{"id":"a","name":"name"}', b'{"id":"b","name":"name"}'}
        assert await asyncio.to_thread(source.follow, 0.1) is None

    async def test_what_commits_between_opening_and_sweeping_comes_once(self, store: Any, source: OutboxSource) -> None:
        await self.publish(store, ("a", 1))
        await asyncio.to_thread(source.open)
        await self.publish(store, ("a", 2))

        rows = await asyncio.to_thread(sweep, source)
        rows += await asyncio.to_thread(follow, source, 2 - len(rows))

        assert [place(row) for row in rows] == [("user/a", 1, 0), ("user/a", 2, 0)]
        assert await asyncio.to_thread(source.follow, 0.1) is None

    async def test_acknowledged_rows_are_gone_and_the_others_come_again(
        self, store: Any, make_source: Callable[[], StoreOutbox]
    ) -> None:
        first, second = make_source(), make_source()
        await asyncio.to_thread(first.open)
        await asyncio.to_thread(sweep, first)
        await self.publish(store, ("a", 1), ("b", 1), ("c", 1))
        rows, position = await asyncio.to_thread(follow_with_position, first, 3)

        await asyncio.to_thread(first.acknowledge, [row for row in rows if row.key != "user/b"], position)
        assert [row.key for row in await self.product.read_outbox(store)] == ["user/b"]
        await asyncio.to_thread(first.close)

        assert await asyncio.to_thread(second.open)
        assert [place(row) for row in await asyncio.to_thread(sweep, second)] == [("user/b", 1, 0)]
        assert await asyncio.to_thread(second.follow, 0.2) is None

    async def test_transaction_of_many_rows_comes_in_chunks(self, store: Any, source: OutboxSource) -> None:
        await asyncio.to_thread(source.open)
        await asyncio.to_thread(sweep, source)
        count = 3 * CHUNK_ROWS + 7
        await store.transact(_publish, [(f"u{number}", 1) for number in range(count)])

        rows: list[OutboxRow] = []
        while len(rows) < count:
            chunk = await asyncio.to_thread(source.follow, LIMIT_S)
            assert chunk is not None
            assert len(chunk.rows) <= CHUNK_ROWS
            rows += chunk.rows

        assert [place(row) for row in rows] == [(f"user/u{number}", 1, number) for number in range(count)]

    async def test_sweep_comes_in_chunks(self, store: Any, source: OutboxSource) -> None:
        count = 2 * CHUNK_ROWS + 7
        await store.transact(_publish, [(f"u{number:05d}", 1) for number in range(count)])
        await asyncio.to_thread(source.open)

        sizes = await asyncio.to_thread(lambda: [len(chunk.rows) for chunk in source.sweep()])

        assert sum(sizes) == count
        assert max(sizes) <= CHUNK_ROWS

    async def test_rolled_back_rows_are_never_handed_over(self, store: Any, source: OutboxSource) -> None:
        async def fail(tx: Any) -> None:
            await _publish(tx, [("ghost", 1)])
            raise LookupError

        await asyncio.to_thread(source.open)
        await asyncio.to_thread(sweep, source)
        with pytest.raises(LookupError):
            await store.transact(fail)
        await self.publish(store, ("a", 1))

        assert [row.key for row in await asyncio.to_thread(follow, source, 1)] == ["user/a"]

    async def test_one_relay_at_a_time(self, store: Any, make_source: Callable[[], StoreOutbox]) -> None:
        first, second = make_source(), make_source()

        assert await asyncio.to_thread(first.open)
        assert not await asyncio.to_thread(second.open)
        await asyncio.to_thread(first.close)
        assert await asyncio.to_thread(second.open)

    async def test_relay_that_was_replaced_is_told_so(self, store: Any, source: OutboxSource) -> None:
        await asyncio.to_thread(source.open)
        await asyncio.to_thread(sweep, source)

        await self.product.take_lease(store)

        with pytest.raises(FencedError):
            await asyncio.to_thread(follow_until, source, LIMIT_S)

    async def test_lost_log_loses_no_row(
        self, store: Any, service: str, make_source: Callable[[], StoreOutbox]
    ) -> None:
        source = make_source()
        await asyncio.to_thread(source.open)
        await asyncio.to_thread(sweep, source)
        await self.publish(store, ("a", 1))
        await self.product.lose_log(store, service)
        await self.publish(store, ("a", 2), ("b", 1))
        with pytest.raises(StoreUnavailable):
            await asyncio.to_thread(follow_until, source, LIMIT_S)

        source.close()
        assert await asyncio.to_thread(source.open)
        rows = await asyncio.to_thread(sweep, source)
        await self.publish(store, ("b", 2))
        rows += await asyncio.to_thread(follow, source, 1)

        assert [place(row) for row in rows] == [
            ("user/a", 1, 0),
            ("user/a", 2, 0),
            ("user/b", 1, 0),
            ("user/b", 2, 0),
        ]

    async def test_tally_is_the_stores_and_only_rises(self, store: Any, make_source: Callable[[], StoreOutbox]) -> None:
        first, second = make_source(), make_source()
        assert await asyncio.to_thread(first.open)
        before = await asyncio.to_thread(first.tally)
        raised = [await asyncio.to_thread(first.raise_tally) for _ in range(2)]
        first.close()
        assert await asyncio.to_thread(second.open)

        assert (before, raised) == (0, [1, 2])
        assert await asyncio.to_thread(second.tally) == 2

    @pytest.mark.parametrize("seed", range(3))
    async def test_random_relays_and_writers_skip_nothing_and_invert_nothing(
        self, store: Any, make_source: Callable[[], StoreOutbox], seed: int
    ) -> None:
        """Relays come and go at random moments, acknowledging part of what they were given, while writers write."""
        chance = random.Random(seed)  # noqa: S311 (repeatable)
        first_seen: list[Place] = []
        done = asyncio.Event()

        async def write(user_id: str) -> None:
            await store.transact(_create, self.product, user_id)
            for _ in range(60):
                await store.transact(_rename, self.product, user_id)

        async def relay() -> None:
            seen: set[Place] = set()
            while not (done.is_set() and not await self.product.read_outbox(store)):
                source = make_source()
                for row in await asyncio.to_thread(run_relay, source, chance.randrange(1, 80), chance):
                    if place(row) not in seen:
                        seen.add(place(row))
                        first_seen.append(place(row))

        async def write_all() -> None:
            await asyncio.gather(*(write(f"u{number}") for number in range(6)))
            done.set()

        async with asyncio.timeout(60):
            await asyncio.gather(write_all(), relay())

        by_key: dict[str, list[int]] = {}
        for key, version, _ in first_seen:
            by_key.setdefault(key, []).append(version)
        assert by_key == {f"user/u{number}": list(range(1, 62)) for number in range(6)}, f"seed {seed}"


async def _publish(tx: Any, versions: list[tuple[str, int]]) -> None:
    for user_id, version in versions:
        tx.publish(UserUpdated, {"id": user_id, "name": "name", "version": version})


async def _create(tx: Any, product: Product, user_id: str) -> None:
    tx.publish(UserUpdated, await product.insert_user(tx, user_id, "name"))


async def _rename(tx: Any, product: Product, user_id: str) -> None:
    tx.publish(UserUpdated, await product.rename_user(tx, user_id, "name"))


def place(row: OutboxRow) -> Place:
    return row.key, row.version, row.index


def sweep(source: OutboxSource) -> list[OutboxRow]:
    return [row for chunk in source.sweep() for row in chunk.rows]


def follow(source: OutboxSource, count: int) -> list[OutboxRow]:
    return follow_with_position(source, count)[0]


def follow_with_position(source: OutboxSource, count: int) -> tuple[list[OutboxRow], Any]:
    """Follow until `count` rows came, and give them with the last position."""
    rows: list[OutboxRow] = []
    position = None
    until = time.monotonic() + LIMIT_S
    while len(rows) < count:
        assert time.monotonic() < until, f"{len(rows)} of {count} rows came within {LIMIT_S} s"
        chunk = source.follow(0.2)
        if chunk is not None:
            rows += chunk.rows
            position = chunk.position or position
    return rows, position


def follow_until(source: OutboxSource, limit_s: float) -> None:
    """Follow, whatever comes, for that long at most."""
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        source.follow(0.2)


def run_relay(source: OutboxSource, rows_max: int, chance: random.Random) -> list[OutboxRow]:
    """Be a relay until about `rows_max` rows were handed over, and stop as if killed; the rest is the next one's."""
    rows: list[OutboxRow] = []
    try:
        if not source.open():
            return rows
        for chunk in source.sweep():
            rows += chunk.rows
            source.acknowledge(chunk.rows, chunk.position)
        while len(rows) < rows_max:
            chunk_or_none = source.follow(0.2)
            if chunk_or_none is None:
                break
            rows += chunk_or_none.rows
            if chance.random() < 0.7:
                source.acknowledge(chunk_or_none.rows, chunk_or_none.position)
            else:
                break
    except PeerError:
        pass
    finally:
        source.close()
    return rows
