"""What every store promises: rows and events in one commit, run again on conflict, and clear words when it cannot."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from freehold.errors import ConflictError, PublishError, StoreUnavailable
from freehold.event import EVENT_BYTES_MAX, Event
from freehold.store import CONFLICT_RUNS_MAX
from tests.seams.product import PUBLISHES, NeverDeclared, UserNoted, UserUpdated
from tests.seams.suite import SeamSuite

ODD_NAMES = [
    "O'Brien'); DROP TABLE users; --",
    "back\\slash \\' \\x41 \\",
    'double "quotes" and {"json": true}',
    "line\nbreak\r\ttab",
    "Zoë 夏 🏡 \u202e",
    "$1 %s ${x} ?",
    "",
]


class StoreSuite(SeamSuite):
    async def create(self, tx: Any, user_id: str, name: str = "Ann") -> Any:
        row = await self.product.insert_user(tx, user_id, name)
        tx.publish(UserUpdated, row)
        return row

    async def rename(self, tx: Any, user_id: str, name: str) -> Any:
        row = await self.product.rename_user(tx, user_id, name)
        tx.publish(UserUpdated, row)
        return row

    async def test_row_and_event_leave_in_one_commit(self, store: Any, service: str) -> None:
        row = await store.transact(self.create, "u1", "Ann")

        [event] = await self.product.read_outbox(store)
        assert row["version"] == 1
        assert (event.key, event.version, event.index) == ("user/u1", 1, 0)
        assert (event.type, event.data) == (f"{service}.UserUpdated", b'{"id":"u1","name":"Ann"}')
        assert (await self.product.read_user(store, "u1") or {})["name"] == "Ann"

    async def test_error_leaves_neither_row_nor_event(self, store: Any) -> None:
        async def fail(tx: Any) -> None:
            await self.create(tx, "u1")
            raise LookupError("the author's own")

        with pytest.raises(LookupError, match="the author's own"):
            await store.transact(fail)

        assert await self.product.read_user(store, "u1") is None
        assert await self.product.read_outbox(store) == []

    async def test_arguments_reach_the_function_and_its_result_comes_back(self, store: Any) -> None:
        async def run(_tx: Any, one: int, *, two: int) -> tuple[int, int]:
            return one, two

        assert await store.transact(run, 1, two=2) == (1, 2)

    async def test_events_of_one_transaction_keep_their_order(self, store: Any) -> None:
        async def twice(tx: Any) -> None:
            row = await self.create(tx, "u1")
            tx.publish(UserNoted, row)
            tx.publish(UserUpdated, row)

        await store.transact(twice)

        rows = await self.product.read_outbox(store)
        assert [(row.index, row.type.partition(".")[2]) for row in rows] == [
            (0, "UserUpdated"),
            (1, "UserNoted"),
            (2, "UserUpdated"),
        ]

    async def test_many_events_leave_in_one_commit(self, store: Any) -> None:
        async def publish_many(tx: Any) -> None:
            for number in range(5_000):
                tx.publish(UserUpdated, {"id": f"u{number:05d}", "name": "Ann", "version": 7})

        await store.transact(publish_many)

        rows = await self.product.read_outbox(store)
        assert [row.key for row in rows] == [f"user/u{number:05d}" for number in range(5_000)]
        assert sorted(row.index for row in rows) == list(range(5_000))

    @pytest.mark.parametrize("name", ODD_NAMES, ids=range(len(ODD_NAMES)))
    async def test_odd_text_leaves_unchanged(self, store: Any, name: str) -> None:
        await store.transact(self.create, f"id {name}", name)

        [row] = await self.product.read_outbox(store)
        assert row.key == f"user/id {name}"
        assert UserUpdated(id=f"id {name}", name=name) == _decode(row.data)

    @pytest.mark.parametrize(
        ("event", "row"),
        [
            (NeverDeclared, {"id": "u2", "name": "x", "version": 1}),
            (UserUpdated, {"id": "u2", "name": "x"}),
            (UserUpdated, {"id": "u2", "name": "x", "version": 0}),
            (UserUpdated, {"id": "u2", "name": "x", "version": True}),
            (UserUpdated, {"id": "u2", "name": "x", "version": "1"}),
            (UserUpdated, {"id": "u2", "name": None, "version": 1}),
            (UserUpdated, {"id": "", "name": "x", "version": 1}),
            (UserUpdated, {"id": "u2", "name": "x" * EVENT_BYTES_MAX, "version": 1}),
        ],
        ids=[
            "undeclared",
            "no version",
            "version 0",
            "version true",
            "version text",
            "wrong type",
            "no key",
            "too large",
        ],
    )
    async def test_event_that_may_not_leave_takes_the_write_with_it(
        self, store: Any, event: type[Event], row: dict[str, Any]
    ) -> None:
        async def run(tx: Any) -> None:
            await self.create(tx, "u1")
            tx.publish(event, row)

        with pytest.raises(PublishError):
            await store.transact(run)

        assert await self.product.read_user(store, "u1") is None
        assert await self.product.read_outbox(store) == []

    async def test_publish_after_the_end_is_refused(self, store: Any) -> None:
        async def keep(tx: Any) -> Any:
            return tx

        kept = await store.transact(keep)

        with pytest.raises(PublishError, match="over"):
            kept.publish(UserUpdated, {"id": "u1", "name": "Ann", "version": 1})

    async def test_writers_of_one_row_each_get_their_own_version(self, store: Any) -> None:
        await store.transact(self.create, "u1")

        await asyncio.gather(*(store.transact(self.rename, "u1", f"name {n}") for n in range(12)))

        user = await self.product.read_user(store, "u1") or {}
        assert user["version"] == 13
        assert [row.version for row in await self.product.read_outbox(store)] == list(range(1, 14))

    async def test_conflict_is_met_by_running_again(self, store: Any) -> None:
        runs = []

        async def conflict_twice(tx: Any) -> None:
            runs.append(tx)
            await self.create(tx, f"u{len(runs)}")
            if len(runs) < 3:
                await self.product.meet_conflict(tx)

        await store.transact(conflict_twice)

        assert len(runs) == 3
        assert [row.key for row in await self.product.read_outbox(store)] == ["user/u3"]

    async def test_conflict_without_end_is_given_up(self, store: Any) -> None:
        runs = []

        async def conflict(tx: Any) -> None:
            runs.append(tx)
            await self.create(tx, "u1")
            await self.product.meet_conflict(tx)

        with pytest.raises(ConflictError):
            await store.transact(conflict)

        assert len(runs) == CONFLICT_RUNS_MAX
        assert await self.product.read_user(store, "u1") is None

    async def test_cancelled_transaction_frees_its_rows(self, store: Any) -> None:
        await store.transact(self.create, "u1")
        has_written, never = asyncio.Event(), asyncio.Event()

        async def hang(tx: Any) -> None:
            await self.rename(tx, "u1", "never seen")
            has_written.set()
            await never.wait()

        task = asyncio.ensure_future(store.transact(hang))
        await asyncio.wait_for(has_written.wait(), 5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

        async with asyncio.timeout(2):
            row = await store.transact(self.rename, "u1", "Ben")
        assert (row["name"], row["version"]) == ("Ben", 2)

    async def test_cancelled_transactions_leak_no_connection(self, store: Any) -> None:
        """Far more of them than a pool has connections."""
        await store.transact(self.create, "u1")
        for _ in range(50):
            task = asyncio.ensure_future(store.transact(self.rename, "u1", "x"))
            await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])

        async with asyncio.timeout(5):
            await asyncio.gather(*(store.transact(self.rename, "u1", "Ben") for _ in range(20)))

        assert (await self.product.read_user(store, "u1") or {})["name"] == "Ben"

    async def test_migrating_again_changes_nothing(self, store: Any) -> None:
        await store.transact(self.create, "u1")

        assert await store.migrate() == []
        assert await self.product.read_user(store, "u1") is not None

    async def test_instances_that_start_at_once_migrate_once(self, url: str, service: str) -> None:
        stores = [self.product.make_store() for _ in range(4)]
        for store in stores:
            await store.open(url, service=service, publishes=PUBLISHES)
        try:
            ran = await asyncio.gather(*(store.migrate() for store in stores))
            await stores[0].transact(self.create, "u1")

            assert len([names for names in ran if names]) == 1
        finally:
            for store in stores:
                await store.close()

    async def test_backlog_counts_rows_and_knows_the_oldest(self, store: Any) -> None:
        assert (await store.backlog()).rows == 0
        for number in range(3):
            await store.transact(self.create, f"u{number}")

        first = await store.backlog()
        second = await store.backlog()

        assert first.rows == 3
        assert 0 < first.oldest_age_s < second.oldest_age_s < 60

    async def test_ping_answers(self, store: Any) -> None:
        await store.ping()

    async def test_store_that_was_not_opened_says_so(self) -> None:
        store = self.product.make_store()

        with pytest.raises(StoreUnavailable, match="open"):
            await store.transact(self.create, "u1")
        with pytest.raises(StoreUnavailable, match="open"):
            await store.ping()

    async def test_closed_store_says_so_and_closes_again(self, store: Any) -> None:
        await store.close()
        await store.close()

        with pytest.raises(StoreUnavailable, match="open"):
            await store.transact(self.create, "u1")

    async def test_server_that_does_not_answer_is_named_without_its_password(self) -> None:
        store = self.product.make_store()

        async with asyncio.timeout(12):
            with pytest.raises(StoreUnavailable) as raised:
                await store.open(self.product.dead_url, service="dead", publishes=PUBLISHES)

        assert "secret" not in str(raised.value)
        assert "dead" in str(raised.value)
        await store.close()

    def test_store_shows_no_secret(self) -> None:
        assert "secret" not in repr(self.product.make_store())


def _decode(data: bytes) -> UserUpdated:
    import msgspec

    return msgspec.json.decode(data, type=UserUpdated)
