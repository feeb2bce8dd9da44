"""Copies that are built anew beside the serving ones, compared with the owner, and take over while both sides go on."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest

from freehold.consumer.progress import ConsumerState
from freehold.converge.building import Parts
from freehold.converge.rebuild import Rebuild, Step
from freehold.converge.work import Method, Stage
from freehold.errors import PeerError, RebuildError
from freehold.event import Event
from freehold.replica import State
from freehold.runtime.parts import make_copies, make_ledger
from freehold.runtime.rebuilding import rebuild_parts
from freehold.service import Listen, Replica, Service
from freehold.testing import Scene, TestedService
from tests.seams.consuming import admin_of, make_anew
from tests.seams.pair import PRODUCTS
from tests.seams.parked import parked, until_parked
from tests.seams.people import NAMES, Contact, ContactBefore, copy_of, freehold, people, readers, write, write_many
from tests.seams.thorough import ON_MONGO, ON_POSTGRES, PAIRS, SEEDS
from tests.seams.waiting import LIMIT_S, until

Run = Callable[..., Any]

pytestmark = [pytest.mark.services]
MANY = 120


class Met(Event, entity="person"):
    id: str


async def refuse(_tx: Any, _event: Met) -> None:
    raise LookupError


REFUSING = Listen(Met, refuse, of="users", name="Person")


@pytest.mark.parametrize(("owner", "subscriber"), PAIRS)
@pytest.mark.parametrize("method", [Method.TOPIC, Method.OWNER])
async def test_damaged_copy_is_built_anew(freehold_service: Run, owner: str, subscriber: str, method: Method) -> None:
    users, orders = people(owner), readers(subscriber)
    async with freehold_service(users), freehold_service(orders) as running:
        await write_many(users, MANY)
        await write(users, "p7", gone=True)
        await running.settled(LIMIT_S)
        before = await copy_of(orders)
        await damage(orders)

        steps = await rebuild(running, method=method)

        assert await copy_of(orders) == before
        assert steps[-1].stage == Stage.DONE
        await write(users, "p1", name="after")
        await running.settled(LIMIT_S)
        assert (await copy_of(orders))["p1"]["name"] == "after"


@pytest.mark.parametrize("subscriber", PRODUCTS)
async def test_reads_and_writes_go_on_and_no_read_meets_a_mix(freehold_service: Run, subscriber: str) -> None:
    """All names are raised together, so a reader knows from what it reads whether it saw one moment."""
    users, orders = people("postgres"), readers(subscriber)
    async with freehold_service(users), freehold_service(orders) as running:
        await write_many(users, 40)
        await running.settled(LIMIT_S)
        reading = Reading(orders, 40)
        others = (reading.run(), writing(users, 40, reading.done), sending(orders, 40, reading.done))
        going = [asyncio.ensure_future(each) for each in others]

        for method in (Method.TOPIC, Method.OWNER):
            await rebuild(running, method=method)
        reading.done.set()
        await asyncio.gather(*going)
        await running.settled(LIMIT_S)

        assert reading.failures == []
        assert {name for name in await letter_names(orders) if name is None} == set()
        assert reading.count > 10
        assert names(await copy_of(orders)) == await rows_of(users)


@pytest.mark.parametrize("subscriber", PRODUCTS)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.timeout(300)
async def test_killed_anywhere_and_run_again_it_ends_equal(
    freehold_service: Run, monkeypatch: pytest.MonkeyPatch, subscriber: str, seed: int
) -> None:
    """Before or after any step that is kept, holds, switches or tidies."""
    monkeypatch.setattr("freehold.converge.rebuild.LET_GO_S", 0.05)
    chance = random.Random(seed)  # noqa: S311 (repeatable)
    users, orders = people("postgres"), readers(subscriber)
    async with freehold_service(users), freehold_service(orders) as running:
        await write_many(users, 30)
        await running.settled(LIMIT_S)
        kills = 0
        for round_ in range(3):
            await damage(orders)
            for _ in range(9):
                killing = Killing(chance)
                try:
                    await rebuild(running, killing=killing, method=chance.choice(list(Method)))
                except Killed:
                    kills += 1
                except RebuildError:
                    continue  # the copy of before was the damaged one, or there is none yet
                await write(users, f"p{chance.randrange(30)}", name=f"round {round_}")
            await rebuild(running)
            await running.settled(LIMIT_S)

            assert names(await copy_of(orders)) == await rows_of(users), f"seed {seed}, round {round_}"
        assert kills > 10


@pytest.mark.parametrize("subscriber", ON_POSTGRES)
async def test_what_differs_stays_beside(freehold_service: Run, subscriber: str) -> None:
    users, orders = people("postgres"), readers(subscriber)
    async with freehold_service(users), freehold_service(orders) as running:
        await write_many(users, 5)
        await running.settled(LIMIT_S)
        await damage(orders)
        before = await copy_of(orders)

        losing = dataclasses.replace(
            parts(running), make_copies=lambda replica: losing_copies(running.service, replica)
        )
        with pytest.raises(RebuildError, match=r"p1: missing.*--from owner"):
            async for _ in Rebuild(losing, "users", orders.replicates).run():
                pass

        assert await copy_of(orders) == before
        await rebuild(running)
        assert names(await copy_of(orders)) == await rows_of(users)


@pytest.mark.parametrize("subscriber", PRODUCTS)
async def test_copy_of_before_is_taken_back_and_catches_up(freehold_service: Run, subscriber: str) -> None:
    users, orders = people("postgres"), readers(subscriber)
    async with freehold_service(users), freehold_service(orders) as running:
        await write_many(users, 20)
        await running.settled(LIMIT_S)
        with pytest.raises(RebuildError, match="no copy of before"):
            await rebuild(running, method=Method.PREVIOUS)
        await mark_rows(orders)
        await rebuild(running)
        assert not await marked(orders)
        await write(users, "p3", name="since")
        await running.settled(LIMIT_S)

        steps = await rebuild(running, method=Method.PREVIOUS)

        assert steps[-1].text == "the copy of before serves again"
        assert await marked(orders)
        assert names(await copy_of(orders)) == await rows_of(users)


@pytest.mark.parametrize("subscriber", ON_MONGO)
async def test_own_documents_that_embed_follow_what_was_built(freehold_service: Run, subscriber: str) -> None:
    users, orders = people("postgres"), readers(subscriber)
    async with freehold_service(users), freehold_service(orders) as running:
        await write_many(users, 20)
        await running.settled(LIMIT_S)
        await orders.store.transact(send_letter, "p4")
        await spoil_letter(orders)

        await rebuild(running)

        assert await letter_names(orders) == ["name of 4"]


async def test_indexes_go_along_and_what_would_mean_the_former_table_is_named(freehold_service: Run) -> None:
    users, orders = people("postgres"), readers("postgres")
    async with freehold_service(users), freehold_service(orders) as running:
        await write_many(users, 3)
        await running.settled(LIMIT_S)
        await orders.store.fetch("CREATE INDEX by_town ON contacts (town, name DESC)")
        await rebuild(running)
        indexes = await orders.store.fetch("SELECT indexdef FROM pg_indexes WHERE tablename = 'contacts'")
        assert any("(town, name DESC)" in row["indexdef"] for row in indexes)

        await orders.store.fetch("CREATE VIEW in_ulm AS SELECT id FROM contacts WHERE town = 'Ulm'")
        with pytest.raises(RebuildError, match="the view in_ulm"):
            await rebuild(running)


@pytest.mark.parametrize("subscriber", PRODUCTS)
async def test_new_field_is_served_after_a_rebuild(freehold_service: Run, subscriber: str) -> None:
    users, before = people("postgres"), readers(subscriber, ContactBefore)
    async with freehold_service(users):
        async with freehold_service(before) as running:
            await write_many(users, 20)
            await write(users, "p3", gone=True)
            await running.settled(LIMIT_S)
        orders = readers(subscriber)
        async with freehold_service(orders) as running:
            assert await make_copies(orders, orders.replicates[0]).lacking() == ["town"]
            await write(users, "p2", name="served meanwhile")
            await running.settled(LIMIT_S)
            assert (await copy_of(orders))["p2"]["name"] == "served meanwhile"

            await rebuild(running)
            await write(users, "p1", name="moved", town="Bonn")
            await running.settled(LIMIT_S)

            found = await copy_of(orders)
            assert await make_copies(orders, orders.replicates[0]).lacking() == []
            assert (found["p1"]["town"], found["p2"]["town"], found["p3"].get("town")) == ("Bonn", "Ulm", None)


@pytest.mark.parametrize("subscriber", PRODUCTS)
async def test_copy_that_takes_over_while_a_consumer_claims_is_kept_whole(
    freehold_service: Run, monkeypatch: pytest.MonkeyPatch, subscriber: str
) -> None:
    """What the consumer knows of its copy is no older than its claim: it has the new field, and so must each event."""
    has_begun, has_switched = asyncio.Event(), asyncio.Event()
    users, before, orders = people("postgres"), readers(subscriber, ContactBefore), readers(subscriber)
    claim = type(make_ledger(orders)).claim

    async def claim_late(self: Any, *place: Any) -> Any:
        has_begun.set()
        await has_switched.wait()
        return await claim(self, *place)

    async with freehold_service(users):
        async with freehold_service(before) as running:
            await write_many(users, 3)
            await running.settled(LIMIT_S)
        monkeypatch.setattr(type(make_ledger(orders)), "claim", claim_late)
        async with freehold_service(orders) as running:
            await has_begun.wait()
            await rebuild(running)
            has_switched.set()
            await write(users, "p1", name="moved", town="Bonn")
            await running.settled(LIMIT_S)

            assert (await copy_of(orders))["p1"]["town"] == "Bonn"


@pytest.mark.parametrize("subscriber", ON_POSTGRES)
async def test_replica_that_is_new_is_noted_and_filled(freehold_service: Run, subscriber: str) -> None:
    users, before = people("postgres"), readers(subscriber)
    async with freehold_service(users):
        async with freehold_service(before) as running:
            await write_many(users, 10)
            await running.settled(LIMIT_S)
        orders = readers(subscriber, Contact, NAMES)
        async with freehold_service(orders) as running:
            await write(users, "p1", name="since")
            await running.settled(LIMIT_S)
            assert "names is new" in (await running.client.get("/readyz?verbose")).text
            assert list(await copy_of(orders, "names")) == ["p1"]

            ran = await freehold(running, "rebuild", "names", "--json")

            assert (ran.returncode, ran.stderr) == (0, "")
            told = json.loads(ran.stdout)
            assert (told["service"], told["source"], told["replicas"], told["state"]) == (
                "orders",
                "users",
                ["names"],
                "done",
            )
            assert names(await copy_of(orders, "names")) == await rows_of(users)
            assert "names" not in (await running.client.get("/readyz?verbose")).text
        async with freehold_service(orders) as running:
            assert running.running.health.notes == {}


@pytest.mark.parametrize("subscriber", ON_POSTGRES)
async def test_copies_of_a_topic_made_anew_are_rebuilt_from_the_owner(
    freehold_service: Run, freehold_scene: Scene, monkeypatch: pytest.MonkeyPatch, subscriber: str
) -> None:
    """All of that source in one go; its consumer goes on by itself."""
    monkeypatch.setattr("freehold.consumer.loop.STOPPED_S", 0.5)
    users, orders = people("postgres"), readers(subscriber, Contact, NAMES)
    async with freehold_service(users) as owning, freehold_service(orders) as running:
        await write_many(users, 10)
        await running.settled(LIMIT_S)
        consumer = running.running.consumers["users"]
        await make_anew(*admin_of(freehold_scene), freehold_scene)
        await until(lambda: consumer.progress.state is ConsumerState.STOPPED, "the consumer has stopped")
        assert "freehold rebuild --of users" in consumer.progress.error
        await write(users, "p1", name="since")

        ran = await freehold(running, "rebuild", "--of", "users")

        assert ran.returncode == 0, ran.stderr
        await write(users, "p2", name="later")
        await until(lambda: consumer.progress.state is ConsumerState.READING, "the consumer goes on")
        await owning.settled(LIMIT_S)
        assert names(await copy_of(orders)) == names(await copy_of(orders, "names")) == await rows_of(users)
        # The new topic lacks what was said before it, also when nothing else tells any more.
        again = await freehold(running, "rebuild", "--of", "users")
        assert again.returncode == 0, again.stderr


@pytest.mark.parametrize("subscriber", ON_MONGO)
async def test_rebuild_clears_what_is_parked_of_an_erased_entity_whose_erasure_was_lost(
    freehold_service: Run, freehold_scene: Scene, subscriber: str
) -> None:
    """The topic was made anew before the erasure on it was read: no event will ever say again that they are gone."""
    users, orders = people("postgres"), dataclasses.replace(readers(subscriber), listens=[REFUSING])
    async with freehold_service(users) as owning:
        async with freehold_service(orders):
            await write_many(users, 3)
            await until_parked(orders, {f"person/p{number}": ["failed"] for number in range(3)})
        await write(users, "p1", gone=True)
        await write(users, "p2", name="later")
        await owning.settled(LIMIT_S)
        await make_anew(*admin_of(freehold_scene), freehold_scene)
        async with freehold_service(orders) as running:
            await rebuild(running)

            assert {event.key for event in await parked(orders)} == {"person/p0", "person/p2"}


async def test_command_names_what_there_is(freehold_service: Run) -> None:
    users, orders = people("postgres"), readers("postgres")
    async with freehold_service(users), freehold_service(orders) as running:
        unknown = await freehold(running, "rebuild", "customers")
        neither = await freehold(running, "rebuild")
        without = await freehold(running, "rebuild", "contacts", "--drop-previous")

        assert (unknown.returncode, neither.returncode, without.returncode) == (1, 1, 0)
        assert "there is: orders.contacts (of users)" in unknown.stderr
        assert "say which copies" in neither.stderr
        assert "there is no copy that was replaced" in without.stdout


@pytest.mark.parametrize("stage", [Stage.BUILDING, Stage.COMPARING])
@pytest.mark.parametrize("subscriber", ON_POSTGRES)
async def test_later_run_takes_over_from_one_that_was_stopped(
    freehold_service: Run, subscriber: str, stage: Stage
) -> None:
    users, orders = people("postgres"), readers(subscriber)
    async with freehold_service(users), freehold_service(orders) as running:
        await write_many(users, 20)
        await running.settled(LIMIT_S)
        stopped = Rebuild(parts(running), "users", orders.replicates, method=Method.OWNER).run()
        while (await anext(stopped)).stage != stage:
            pass

        await rebuild(running)

        with pytest.raises(PeerError, match="a later run rebuilds the copies of users"):
            async for _ in stopped:
                pass
        assert names(await copy_of(orders)) == await rows_of(users)


class Killed(Exception):
    """Stands for the end of the process."""


class Killing:
    """Ends the work at a step chosen by chance: before it is done, or right after."""

    def __init__(self, chance: random.Random) -> None:
        self._left = chance.randrange(16)
        self._is_after = chance.random() < 0.5

    def around(self, target: Any) -> Any:
        """Give the same with each of its steps counted."""
        return _Counted(target, self)

    async def step(self, do: Callable[[], Any]) -> Any:
        self._left -= 1
        if self._left == 0 and not self._is_after:
            raise Killed
        done = await do()
        if self._left == 0:
            raise Killed
        return done


class _Counted:
    def __init__(self, target: Any, killing: Killing) -> None:
        self._target = target
        self._killing = killing

    def __getattr__(self, name: str) -> Any:
        call = getattr(self._target, name)

        async def counted(*args: Any, **kwargs: Any) -> Any:
            # What a killed process does not do any more: its hold ends by itself.
            return await self._killing.step(lambda: call(*args, **kwargs))

        return call if name == "replace" else counted


class Reading:
    """Reads the whole copy again and again, and judges each answer."""

    def __init__(self, orders: Service, count: int) -> None:
        self.done = asyncio.Event()
        self.failures: list[str] = []
        self.count = 0
        self._orders = orders
        self._people = count
        self._seen: dict[str, int] = {}

    async def run(self) -> None:
        while not self.done.is_set():
            found = await copy_of(self._orders)
            self.count += 1
            if len(found) != self._people:
                self.failures.append(f"{len(found)} of {self._people} copies")
            # A pause lets the rebuild, which shares this loop, go on.
            await asyncio.sleep(0.01)


async def writing(users: Service, count: int, done: asyncio.Event) -> None:
    number = 0
    while not done.is_set():
        number += 1
        await write(users, f"p{number % count}", name=f"write {number}")
        await asyncio.sleep(0.005)


def names(copies: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, int]]:
    return {key: (each["name"], each["version"]) for key, each in copies.items() if not each["deleted"]}


async def rows_of(users: Service) -> dict[str, tuple[str, int]]:
    rows = await users.store.fetch("SELECT id, name, version FROM people WHERE NOT is_gone")
    return {row["id"]: (row["name"], row["version"]) for row in rows}


async def mark_rows(orders: Service) -> None:
    """Let the serving copy be known from another by what no rebuild would make."""
    if orders.store.kind == "postgres":
        await orders.store.fetch("UPDATE contacts SET index = 7 WHERE id = 'p9'")
    else:
        await orders.store["contacts"].update_one({"_id": "p9"}, {"$set": {"index": 7}})


async def marked(orders: Service) -> bool:
    if orders.store.kind == "postgres":
        return bool(await orders.store.fetchval("SELECT index = 7 FROM contacts WHERE id = 'p9'"))
    return bool(await orders.store["contacts"].find_one({"_id": "p9", "index": 7}))


async def sending(orders: Service, count: int, done: asyncio.Event) -> None:
    """Read copies and write what depends on them, in transactions that are open whenever a copy is replaced."""
    number = 0
    while not done.is_set():
        number += 1
        await orders.store.transact(send_letter, f"p{number % count}", f"l{number}")
        await asyncio.sleep(0.005)


async def send_letter(tx: Any, person_id: str, letter_id: str = "l1") -> None:
    copy = await tx.copy("contacts", person_id)
    assert copy is not None
    if hasattr(tx, "fetchrow"):
        columns = ("id", "name", "town", "epoch", "version", "index", "deleted")
        names_ = ", ".join(f"to_{name}" for name in columns)
        await tx.execute(
            f"INSERT INTO letters (id, {names_}) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
            letter_id,
            *(copy[name] for name in columns),
        )
    else:
        await tx["letters"].insert_one({"_id": letter_id, "to": copy})


async def spoil_letter(orders: Service) -> None:
    """At an equal place, as a field that is new, or that somebody edited."""
    if orders.store.kind == "postgres":
        await orders.store.fetch("UPDATE letters SET to_name = 'wrong'")
    else:
        await orders.store["letters"].update_many({}, {"$set": {"to.name": "wrong"}})


async def letter_names(orders: Service) -> list[str]:
    if orders.store.kind == "postgres":
        return [row["to_name"] for row in await orders.store.fetch("SELECT to_name FROM letters")]
    return [row["to"]["name"] async for row in orders.store["letters"].find()]


async def damage(orders: Service) -> None:
    """Change, and take away, behind its back."""
    store = orders.store
    if store.kind == "postgres":
        await store.fetch("UPDATE contacts SET name = 'wrong' WHERE id < 'p2'")
        await store.fetch("DELETE FROM contacts WHERE id > 'p8'")
    else:
        await store["contacts"].update_many({"_id": {"$lt": "p2"}}, {"$set": {"name": "wrong"}})
        await store["contacts"].delete_many({"_id": {"$gt": "p8"}})


class Losing:
    """Copies of a bug: one never gets there."""

    def __init__(self, service: Service, replica: Replica) -> None:
        self._copies = make_copies(service, replica)
        self.prepare = self._copies.prepare
        self.lacking = self._copies.lacking

    async def apply(self, states: Sequence[State]) -> None:
        await self._copies.apply([state for state in states if state.entity_id != "p1"])


def losing_copies(service: Service, replica: Replica) -> Any:
    return Losing(service, replica)


async def rebuild(running: TestedService, killing: Killing | None = None, **changes: Any) -> list[Step]:
    with_parts = parts(running)
    if killing is not None:
        with_parts = dataclasses.replace(
            with_parts, versions=killing.around(with_parts.versions), ledger=killing.around(with_parts.ledger)
        )
    work = Rebuild(with_parts, "users", running.service.replicates, **changes)
    return [step async for step in work.run()]


def parts(running: TestedService) -> Parts:
    return rebuild_parts(running.running, "users")
