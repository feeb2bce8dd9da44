"""An audit finds each copy that was tampered with, names it, repairs it, and touches nothing else; it never cries wolf."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from freehold.converge.audit import Audit
from freehold.converge.judge import SET_BACK, Finding, Kind
from freehold.converge.repair import Repair
from freehold.converge.settle import Settle
from freehold.converge.source import Source
from freehold.errors import CallerError, PeerError
from freehold.http.peer import Peer
from freehold.runtime.parts import make_copy_rows, make_ledger
from freehold.service import Entity
from freehold.testing import Scene, TestedService
from freehold.topic import Record
from freehold.topic.replay import Replay
from tests.seams.audited import (
    CUSTOMERS,
    UserUpdated,
    add_users,
    audit,
    delete,
    everything,
    make_user,
    owner,
    place_order,
    rename,
    subscriber,
)
from tests.seams.tampering import Expected, Tampering, plain
from tests.seams.thorough import IS_THOROUGH, PAIRS, PLACES_STEP

USERS = 700
ORDERS = 500
TAMPERED = 100


@asynccontextmanager
async def shop(
    scene: Scene, pair: tuple[str, str], users: int = USERS
) -> AsyncIterator[tuple[TestedService, TestedService]]:
    """Run an owner with users, some of them renamed and some deleted, and a subscriber whose orders embed them."""
    chance = random.Random(5)  # noqa: S311 (repeatable)
    async with scene.run(owner(pair[0])) as owning, scene.run(subscriber(pair[1])) as keeping:
        people = [make_user(number, chance) for number in range(users)]
        await owning.service.store.transact(add_users, people)
        await owning.settled()
        await keeping.service.store.transact(place_orders, people[:ORDERS])
        await owning.service.store.transact(rename_all, people[: users // 3])
        await owning.service.store.transact(delete_all, people[users // 6 : users // 4])
        await owning.settled()
        yield owning, keeping


async def place_orders(tx: Any, people: Sequence[Mapping[str, Any]]) -> None:
    for number, person in enumerate(people):
        await place_order(tx, number, person["id"])


async def rename_all(tx: Any, people: Sequence[Mapping[str, Any]]) -> None:
    for person in people:
        await rename(tx, person["id"], f"new {person['name']}")


async def delete_all(tx: Any, people: Sequence[Mapping[str, Any]]) -> None:
    for person in people:
        await delete(tx, person["id"])


def said(findings: list[Finding]) -> Expected:
    return {(each.where, each.id, each.document, each.kind) for each in findings}


@pytest.mark.parametrize("pair", PAIRS, ids="-".join)
async def test_all_that_was_tampered_with_is_found_named_and_repaired(
    freehold_scene: Scene, pair: tuple[str, str]
) -> None:
    async with shop(freehold_scene, pair) as (owning, keeping):
        assert (await audit(keeping))[0] == []
        before = await everything(keeping.service)
        tampering = Tampering(keeping.service, random.Random(11))  # noqa: S311 (repeatable)
        await tampering.tamper(TAMPERED)

        findings, outcome = await audit(keeping)
        assert said(findings) == tampering.expected
        assert len(findings) == outcome.differing == 2 * TAMPERED + TAMPERED // 4
        assert (outcome.rows, outcome.repaired, outcome.unsettled, outcome.behind) == (USERS, 0, 0, 0)

        repaired, outcome = await audit(keeping, repair=True)
        assert said(repaired) == tampering.expected
        assert [each for each in repaired if not each.repaired] == []
        assert outcome.repaired == outcome.differing
        await owning.settled()

        again, outcome = await audit(keeping)
        assert (again, outcome.differing) == ([], 0)
        after = await everything(keeping.service)
        for table, rows in before.items():
            # An order of somebody whose copy was repaired follows the repair; its own fields do not change.
            followed = {each[1] for each in tampering.expected}
            for key, row in rows.items():
                is_followed = table == "orders" and _customer(row) in followed
                if key not in tampering.touched[table] and not is_followed and key not in followed:
                    assert plain(after[table][key]) == plain(row)


@pytest.mark.parametrize("pair", PAIRS if IS_THOROUGH else PAIRS[1:], ids="-".join)
async def test_under_full_load_exactly_what_was_tampered_with_is_found(
    freehold_scene: Scene, pair: tuple[str, str]
) -> None:
    async with shop(freehold_scene, pair, users=400) as (owning, keeping):
        stopped = asyncio.Event()
        writers = [asyncio.create_task(write_on(owning, number, stopped)) for number in range(4)]
        try:
            for _ in range(3):
                findings, outcome = await audit(keeping)
                assert findings == []
                assert (outcome.behind, outcome.reason) == (0, "")

            quiet = [f"u{number:05d}" for number in range(300, 320)]
            for user_id in quiet:
                await remove_copy(keeping, user_id)
            findings, _ = await audit(keeping, repair=True)
            assert {each.id for each in findings} == set(quiet)
            assert all(each.repaired for each in findings)
        finally:
            stopped.set()
            written = await asyncio.gather(*writers)
        assert sum(written) > 100  # there was a load
        await owning.settled()
        assert (await audit(keeping))[0] == []


class Cut(Source):
    """A way to the owner that breaks before one of its calls, after all that was done before that."""

    def __init__(self, peer: Peer, at: int) -> None:
        super().__init__(peer, "user")
        self.calls = 0
        self._at = at

    async def _ask(self, path: str, body: object, answer: type[Any]) -> Any:
        self.calls += 1
        if self.calls == self._at:
            raise PeerError(f"cut off before {path}")
        return await super()._ask(path, body, answer)


@pytest.mark.parametrize("pair", PAIRS[:2], ids="-".join)
async def test_repair_that_is_cut_off_anywhere_is_finished_by_the_next(
    freehold_scene: Scene, pair: tuple[str, str]
) -> None:
    async with shop(freehold_scene, pair, users=60) as (owning, keeping):
        chance = random.Random(3)  # noqa: S311 (repeatable)
        cuts = 0
        # Some twelve calls look for what differs, and as many repair it.
        for at in range(11, 27, PLACES_STEP):
            tampering = Tampering(keeping.service, chance)
            await tampering.tamper(8)
            before = await everything(keeping.service)
            source = Cut(keeping.running.settings.peer("users"), at)
            settle = Settle(CUSTOMERS, source, make_ledger(keeping.service))
            own, orders = (
                make_copy_rows(keeping.service, CUSTOMERS),
                make_copy_rows(keeping.service, CUSTOMERS, "orders"),
            )
            try:
                async for _ in Audit(settle, own, [orders], Repair(settle)).run():
                    pass
            except PeerError:
                cuts += 1
            await source.close()

            findings, outcome = await audit(keeping, repair=True)

            assert outcome.repaired == outcome.differing == len(findings)
            await owning.settled()
            assert (await audit(keeping))[0] == [], at
            after = await everything(keeping.service)
            # Set back and then cut off: nothing of a person may stay behind in a copy that looks empty.
            added = [row for key, row in after["customers"].items() if key.startswith("nobody")]
            assert [row for row in added if not row["deleted"] or row.get("name") is not None] == []
            untouched = (
                set(before["customers"]) - tampering.touched["customers"] - {each[1] for each in tampering.expected}
            )
            assert all(plain(after["customers"][key]) == plain(before["customers"][key]) for key in untouched)
        assert cuts >= 12 // PLACES_STEP


async def test_finding_tells_the_event_that_did_not_take_effect(freehold_scene: Scene) -> None:
    async with shop(freehold_scene, ("postgres", "mongo"), users=12) as (owning, keeping):
        for name in ("second", "third", "fourth"):
            await owning.service.store.transact(rename, "u00009", name)
        await owning.settled()
        customers = keeping.service.store["customers"]
        await customers.update_one({"_id": "u00009"}, {"$set": {"version": 2}})
        await customers.update_one({"_id": "u00008"}, {"$set": {"version": 99}})

        found = {each.id: each for each in (await audit(keeping))[0]}

        assert found["u00008"].position == ""  # no event says what never was
        source, partition, offset = re.split("[/@]", found["u00009"].position)
        record = await asyncio.to_thread(read_one, keeping, int(partition), int(offset))
        assert (source, record.key, dict(record.headers)["ce_version"]) == ("users", b"user/u00009", b"3")


def read_one(keeping: TestedService, partition: int, offset: int) -> Record:
    settings = keeping.running.settings
    replay = Replay(
        settings.kafka(), settings.qualified("users"), f"{settings.qualified('orders')}.test", {partition: offset}
    )
    try:
        while not (records := replay.read(1.0)):
            pass  # the test's own limit bounds it
        return records[0]
    finally:
        replay.close()


async def test_repair_does_not_undo_a_newer_state(freehold_scene: Scene) -> None:
    """A copy that was found ahead, and that its owner has caught up with meanwhile, is not set back."""
    async with shop(freehold_scene, ("postgres", "mongo"), users=5) as (owning, keeping):
        rows = make_copy_rows(keeping.service, CUSTOMERS)
        [found] = await rows.find(["u00004"])
        await owning.service.store.transact(rename, "u00004", "newer")
        await owning.settled()

        assert await rows.set_back([found], SET_BACK) == set()

        assert (await everything(keeping.service))["customers"]["u00004"]["name"] == "newer"


async def test_what_cannot_be_compared_says_why(freehold_scene: Scene) -> None:
    async with freehold_scene.run(owner("postgres", entity=None)), freehold_scene.run(subscriber("mongo")) as keeping:
        with pytest.raises(CallerError, match="users does not say where its entities of kind 'user' lie"):
            await audit(keeping)
        with pytest.raises(CallerError, match="orders keeps no replica 'nothing'; it keeps customers"):
            await audit(keeping, replica="nothing")


async def test_owner_that_is_not_there_is_named(freehold_scene: Scene) -> None:
    async with freehold_scene.run(owner("postgres")) as owning:
        await owning.settled()
    async with freehold_scene.run(subscriber("mongo")) as keeping:
        with pytest.raises(PeerError, match="users does not answer"):
            await audit(keeping)


async def test_left_over_copy_of_what_never_goes_is_refused_and_stays_as_it_is(freehold_scene: Scene) -> None:
    entity = Entity(state=UserUpdated, rows="users")
    async with (
        freehold_scene.run(owner("postgres", entity)) as owning,
        freehold_scene.run(subscriber("mongo")) as keeping,
    ):
        await owning.service.store.transact(add_users, [make_user(1, random.Random(1))])  # noqa: S311 (repeatable)
        await owning.settled()
        like = await keeping.service.store["customers"].find_one({})
        await keeping.service.store["customers"].insert_one({**like, "_id": "nobody"})
        before = await everything(keeping.service)

        [finding], outcome = await audit(keeping, repair=True)

        assert (finding.id, finding.kind, finding.repaired) == ("nobody", Kind.LEFT_OVER, False)
        assert "gone=" in finding.refused
        assert outcome.repaired == 0
        assert await everything(keeping.service) == before


async def test_consumer_that_stands_still_is_no_finding(freehold_scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freehold.converge.settle.CAUGHT_UP_LIMIT_S", 0.2)
    async with (
        freehold_scene.run(owner("postgres")) as owning,
        freehold_scene.run(subscriber("mongo"), only="api") as keeping,
    ):
        people = [make_user(number, random.Random(number)) for number in range(10)]  # noqa: S311 (repeatable)
        await owning.service.store.transact(add_users, people)

        findings, outcome = await audit(keeping, repair=True)

        assert (findings, outcome.differing, outcome.behind) == ([], 0, 10)
        assert outcome.reason.startswith("the consumer of users has not caught up: partition")


async def write_on(owning: TestedService, number: int, stopped: asyncio.Event) -> int:
    """Rename and add users without a pause, one of them again and again."""
    chance = random.Random(number)  # noqa: S311 (repeatable)
    written = 0
    while not stopped.is_set():
        user_id = f"u{chance.choice([299, *range(100, 300)]):05d}"
        await owning.service.store.transact(rename, user_id, f"name {written} by {number}")
        if written % 10 == 0:
            new = make_user(10_000 * (number + 1) + written, chance)
            await owning.service.store.transact(add_users, [new])
        written += 1
    return written


async def remove_copy(keeping: TestedService, user_id: str) -> None:
    store: Any = keeping.service.store
    if store.kind == "postgres":
        await store.pool.execute("DELETE FROM customers WHERE id = $1", user_id)
    else:
        await store["customers"].delete_one({"_id": user_id})


def _customer(row: Any) -> str | None:
    found: str | None = row["customer"]["id"] if "customer" in row else row.get("customer_id")
    return found
