"""`freehold dead` on real services of both products: what is parked is found, tried again once, edited, given up."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import sys
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner

from freehold.cli.commands import app
from freehold.consumer.parking import Intent, Outcome, ParkedState
from freehold.consumer.parking.decide import now
from freehold.consumer.redrive import Rounds
from freehold.consumer.redrive.choose import Filter, Standing
from freehold.consumer.redrive.desk import NEWER_COPY, Desk
from freehold.consumer.redrive.tally import FAILED_AGAIN
from freehold.errors import CallerError, FreeholdError, StoreUnavailable
from freehold.event import Place
from freehold.http.internal import OPERATOR
from freehold.http.peer import peer_url
from freehold.identifier import new_id
from freehold.runtime.parts import make_copies, make_ledger, make_lot, make_rounds
from freehold.service import Service
from freehold.testing import TestedService
from tests.runtime.small_system import environment
from tests.seams.consuming import Run, until
from tests.seams.pair import PRODUCTS, Named, copies, effects, owner, update, update_many
from tests.seams.parked import NEVER_AGAIN, Poison, parked, parking, until_effects, until_parked
from tests.seams.thorough import ON_MONGO, ON_POSTGRES

pytestmark = [pytest.mark.services, pytest.mark.timeout(240)]

USERS = ["u1", "u2", "u3", "u4"]
MANY = 250


class Command:
    """The command line, told where the service is; in this process, which is quicker by far."""

    def __init__(self, running: TestedService) -> None:
        self.variables = {
            "FREEHOLD_SYSTEM": "tests.seams.shop_system:system",
            "FREEHOLD_UPSTREAM_ORDERS": peer_url(running.url, OPERATOR, running.scene.internal_key),
        }

    async def __call__(self, *arguments: str, given: bytes = b"") -> tuple[int, str, str]:
        done = await asyncio.to_thread(CliRunner().invoke, app, ["dead", *arguments], input=given, env=self.variables)
        if isinstance(done.exception, FreeholdError):
            return 1, done.stdout, f"{done.stderr}freehold: {done.exception}\n"
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code, done.stdout, done.stderr

    async def json(self, *arguments: str) -> Any:
        _, output, errors = await self(*arguments, "--json")
        assert output, errors
        return json.loads(output)


def desk_of(service: Service, rounds: Rounds | None = None) -> Desk:
    def of(source: str) -> list[tuple[str, Any]]:
        return [(each.entity, make_copies(service, each)) for each in service.replicates if each.of == source]

    return Desk(service, make_lot(service), rounds or make_rounds(service), of)


def a_round(intent: Intent = Intent.REDRIVE, **changes: Any) -> Any:
    from freehold.consumer.redrive import Round

    return Round(id=new_id(), intent=intent, by="ann@desk", at=now(), **changes)


async def die(users: Service, orders: Service, user_ids: Sequence[str], version: int = 1) -> list[str]:
    """Publish that version of these users, whom the handler refuses, and give the ids once they are dead."""
    await users.store.transact(update_many, list(user_ids), version)
    found = await until_parked(orders, {f"user/{each}": ["dead"] for each in user_ids})
    by_key = {event.key: str(event.id) for event in found}
    return [by_key[f"user/{each}"] for each in user_ids]


@pytest.mark.parametrize("reading", ON_POSTGRES)
async def test_dead_events_are_listed_shown_and_redriven_once_mended(freehold_service: Run, reading: str) -> None:
    poison = Poison(*USERS)
    users, orders = owner("mongo"), parking(reading, poison, NEVER_AGAIN)
    async with freehold_service(users), freehold_service(orders) as reader:
        dead = Command(reader)
        assert await dead.json("list") == []
        ids = await die(users, orders, USERS)
        await users.store.transact(update, "u1", 2)
        await until_parked(orders, {"user/u1": ["dead", "behind"]} | {f"user/{each}": ["dead"] for each in USERS[1:]})

        lines = {line["id"]: line for line in await dead.json("list", "--state", "dead")}
        assert set(lines) == {f"orders/{each}" for each in ids}
        first = lines[f"orders/{ids[0]}"]
        assert (first["key"], first["type"], first["error_type"]) == ("user/u1", "users.UserUpdated", "LookupError")
        assert len(await dead.json("list")) == 5
        assert len(await dead.json("list", "--key", "user/u1", "--newer-than", "1h")) == 2
        assert await dead.json("list", "--older-than", "1h") == []
        code, table, _ = await dead("list", "--error", "NO SUCH", "--limit", "2")
        assert code == 0
        assert table.count("LookupError: no such thing") == 2

        shown = await dead.json("show", f"orders/{ids[0]}")
        assert json.loads(shown["data"]) == {"id": "u1", "name": "name 1"}
        assert (shown["behind"], shown["edited"]) == (1, None)
        assert "in __call__" in shown["traceback"]
        assert [each["error_type"] for each in shown["tries"]] == ["LookupError"]
        assert "ce_subject: user/u1" in (await dead("show", f"orders/{ids[0]}"))[1]

        dry = await dead.json("redrive", "--all", "--dry-run")
        assert (dry["count"], dry["left_out"][0]["count"]) == (4, 1)
        reason = {"type": "users.UserUpdated", "reason": "LookupError: no such thing", "count": 4}
        assert dry["by_reason"] == [{"service": "orders"} | reason]
        code, _, errors = await dead("redrive", "--all")
        assert (code, "--yes" in errors) == (1, True)
        assert all(event.replays == 0 and event.intent is None for event in await parked(orders))

        poison.refused.discard("u4")
        failed = await dead.json("redrive", "--type", "UserUpdated", "--yes", "--rate", "100/s")
        assert failed["outcomes"] == {FAILED_AGAIN: 3, "took effect": 1}
        assert {each["state"] for each in failed["failed_again"]} == {"dead"}
        poison.refused.clear()
        mended = await dead.json("redrive", "--all", "--yes")
        assert (mended["outcomes"], mended["pending"]) == ({"took effect": 3}, 0)
        await until_effects(orders, {"u1": [1, 2]} | {each: [1] for each in USERS[1:]})
        await until_parked(orders, {})
        assert await dead.json("list") == []
        assert (await dead("redrive", "--all", "--yes"))[0] == 1


@pytest.mark.parametrize("reading", ON_MONGO)
async def test_edited_event_takes_effect_and_keeps_its_original_beside_it(freehold_service: Run, reading: str) -> None:
    poison = Poison("u1 name 1", "u1 name 5")
    users, orders = owner("postgres"), parking(reading, poison, NEVER_AGAIN)
    async with freehold_service(users), freehold_service(orders) as reader:
        dead = Command(reader)
        [event_id] = await die(users, orders, ["u1"])

        for data in (b"{", b'{"id": "u2", "name": "name 7"}', b'{"id": "u1"}', b"\xff"):
            code, _, errors = await dead("edit", f"orders/{event_id}", "--data", "-", given=data)
            assert (code, "refused" in errors, "nothing was changed" in errors) == (1, True, True), errors
        [untouched] = await parked(orders)
        assert (untouched.replays, untouched.intent) == (0, None)

        code, output, errors = await dead(
            "edit", f"orders/{event_id}", "--data", "-", given=b'{"id":"u1","name":"name 5"}'
        )
        assert code == 0, errors
        assert "is tried now" in output

        async def is_back() -> bool:
            shown = await dead.json("show", f"orders/{event_id}")
            return bool(shown["replays"] == 1 and shown["asked"] is None)

        await until(is_back, lambda: "not tried")
        shown = await dead.json("show", f"orders/{event_id}")
        assert (json.loads(shown["data"])["name"], json.loads(shown["edited"])["name"]) == ("name 1", "name 5")
        code, _, errors = await dead("edit", f"orders/{event_id}", "--data", "-", given=b'{"id":"u1","name":"name 6"}')
        assert code == 0, errors
        await until_effects(orders, {"u1": [6]})
        await until_parked(orders, {})
        # Its copy had followed when it came, and says what its owner says.
        assert (await copies(orders))["u1"] == ("name 1", 1, False)


@pytest.mark.parametrize("reading", ON_POSTGRES)
async def test_discarded_event_is_gone_and_its_key_goes_on(freehold_service: Run, reading: str) -> None:
    users, orders = owner("mongo"), parking(reading, Poison("u1 name 1", "u2 name 1"), NEVER_AGAIN)
    async with freehold_service(users), freehold_service(orders) as reader:
        dead = Command(reader)
        ids = await die(users, orders, ["u1", "u2"])
        await users.store.transact(update, "u1", 2)
        await until_parked(orders, {"user/u1": ["dead", "behind"], "user/u2": ["dead"]})

        done = await dead.json("discard", f"orders/{ids[0]}", "--yes")

        assert done["outcomes"] == {"discarded": 1}
        await until_effects(orders, {"u1": [2]})
        await until_parked(orders, {"user/u2": ["dead"]})
        kept = await make_rounds(orders).find(done["id"])
        assert kept is not None
        assert (kept.intent, "@" in kept.by) == (Intent.DISCARD, True)
        [of_it] = await make_rounds(orders).chosen(done["id"])
        assert (str(of_it.id), of_it.event_id, of_it.outcome) == (ids[0], "user/u1:1.1.0", Outcome.DISCARDED)


@pytest.mark.parametrize("reading", PRODUCTS)
async def test_interrupted_redrive_goes_on_with_what_was_chosen_and_asks_for_nothing_twice(
    freehold_service: Run, reading: str
) -> None:
    poison = Poison(*USERS)
    users, orders = owner("mongo"), parking(reading, poison, NEVER_AGAIN)
    async with freehold_service(users), freehold_service(orders, only="api") as reader:
        async with freehold_service(parking(reading, poison, NEVER_AGAIN), only="consumers"):
            await users.store.transact(update_many, USERS[:3], 1)
            await until_parked(orders, {f"user/{each}": ["dead"] for each in USERS[:3]})
        cut_off, dead, made = CutOff(make_rounds(orders)), Command(reader), a_round()
        desk = desk_of(orders, cut_off)
        assert (await desk.propose(Filter(), made, dry_run=False)).count == 3
        with pytest.raises(CallerError, match="never confirmed"):
            await desk.step(made.id, 1)
        assert await desk.unfinished() is None
        await desk.confirm(made.id)
        # The intent is written, and what would note that is killed.
        with pytest.raises(StoreUnavailable):
            await desk.step(made.id, 1)
        assert [event.replays for event in await parked(orders)].count(1) == 1
        async with freehold_service(parking(reading, poison, NEVER_AGAIN), only="consumers"):
            await users.store.transact(update, "u4", 1)
            await until_tried(orders, made.id)
            poison.refused.clear()

            done = await dead.json("redrive", "--resume", "--wait", "20s")

            assert done["id"] == made.id
            assert sum(done["outcomes"].values()) == 3
            assert done["outcomes"][FAILED_AGAIN] == 1
            assert sorted(event.replays for event in await parked(orders)) == [0, 1]
            assert "no redrive was interrupted" in (await dead("redrive", "--resume"))[2]


@pytest.mark.parametrize("reading", ON_POSTGRES)
async def test_hundreds_are_redriven_by_a_command_that_is_killed_and_one_that_goes_on(
    freehold_service: Run, reading: str
) -> None:
    """More than a step asks for, and than a worker reads of wishes at once; others die meanwhile, and are no part of it."""
    poison = Dying()
    users, orders = owner("mongo", partitions=1), parking(reading, poison, NEVER_AGAIN)
    async with freehold_service(users), freehold_service(orders) as reader:
        many, later = [f"u{number}" for number in range(MANY)], [f"v{number}" for number in range(20)]
        await die(users, orders, many)
        dead, desk, made = Command(reader), desk_of(orders), a_round()
        proposal = await desk.propose(Filter(), made, dry_run=False)
        assert [(each.reason, each.count) for each in proposal.reasons] == [("LookupError: no tariff for uN", MANY)]
        await desk.confirm(made.id)
        await users.store.transact(update_many, later, 1)
        await desk.step(made.id, MANY // 3)  # and whoever asked is killed
        poison.refused = set(later)

        done = await dead.json("redrive", "--resume", made.id, "--rate", "1000/s")

        assert done["outcomes"].get("took effect", 0) + done["outcomes"].get(FAILED_AGAIN, 0) == MANY
        assert (done["unasked"], done["pending"]) == (0, 0)
        left = [event for event in await parked(orders) if event.replays]
        assert len(left) == done["outcomes"].get(FAILED_AGAIN, 0) <= MANY // 3
        assert {event.replays for event in left} <= {1}
        assert set(await effects(orders)) == set(many) - {event.key.removeprefix("user/") for event in left}


class Dying(Poison):
    """Refuses everybody, until it is told whom."""

    def __init__(self) -> None:
        super().__init__(*(f"{letter}{number}" for letter in "uv" for number in range(MANY)))

    async def __call__(self, tx: Any, event: Named) -> None:
        if event.id in self.refused:
            raise LookupError(f"no tariff for {event.id}")


@pytest.mark.parametrize("reading", ON_MONGO)
async def test_event_that_comes_back_again_and_again_is_quarantined(freehold_service: Run, reading: str) -> None:
    users, orders = owner("mongo"), parking(reading, Poison("u1"), NEVER_AGAIN)
    async with freehold_service(users), freehold_service(orders) as reader:
        dead = Command(reader)
        [event_id] = await die(users, orders, ["u1"])
        for _ in range(3):
            done = await dead.json("redrive", f"orders/{event_id}", "--yes")
            assert done["outcomes"] == {FAILED_AGAIN: 1}

        [line] = await dead.json("list", "--state", "quarantined")
        assert line["replays"] == 3
        code, _, errors = await dead("redrive", f"orders/{event_id}", "--yes")
        assert (code, "quarantined" in errors) == (1, True)
        done = await dead.json("redrive", f"orders/{event_id}", "--yes", "--even-quarantined")
        assert done["failed_again"][0]["state"] == Standing.QUARANTINED
        [event] = await parked(orders)
        assert event.replays == 4


@pytest.mark.parametrize("reading", ON_MONGO)
async def test_what_had_taken_effect_already_is_said_and_takes_none(freehold_service: Run, reading: str) -> None:
    users, orders = owner("mongo"), parking(reading, Poison("u1 name 1"), NEVER_AGAIN)
    async with freehold_service(users), freehold_service(orders) as reader:
        [event_id] = await die(users, orders, ["u1"])
        await orders.store.transact(make_ledger(orders).record, "users", {"user/u1": Place(1, 1, 0)})

        done = await Command(reader).json("redrive", f"orders/{event_id}", "--yes")

        assert done["outcomes"] == {"had taken effect already": 1}
        assert await effects(orders) == {}


@pytest.mark.parametrize("reading", ON_POSTGRES)
async def test_redrive_that_would_undo_a_newer_state_is_refused(freehold_service: Run, reading: str) -> None:
    users, orders = owner("mongo"), parking(reading, Poison("u1 name 2"), NEVER_AGAIN)
    async with freehold_service(users) as publisher, freehold_service(orders):
        await users.store.transact(update, "u2", 2)
        await publisher.settled()
        [event_id] = await die(users, orders, ["u1"], version=2)
        [event] = await parked(orders)
        whole = await make_lot(orders).find(event.id.source, event.id.partition, event.id.offset)
        assert whole is not None
        stale = msgspec.structs.replace(
            whole,
            id=whole.id._replace(offset=900),
            record=msgspec.structs.replace(whole.record, key=b"user/u2", offset=900),
            place=Place(1, 1, 0),
            for_handlers=False,
            state=ParkedState.DEAD,
        )
        await orders.store.transact(make_lot(orders).park, [stale])

        proposal = await desk_of(orders).propose(Filter(), a_round(), dry_run=True)

        assert (proposal.count, proposal.left_out) == (1, {NEWER_COPY: 1})
        assert event_id == str(event.id)


BAD = [
    (("show", "orders/users:0:99"), "has no parked event users:0:99"),
    (("show", "nobody/users:0:1"), "nobody is not up here"),
    (("show", "users:0:1"), "it looks like orders/users:0:42"),
    (("show", "orders/users:0"), "it looks like users:0:42"),
    (("show", "orders/users:0:9999999999999999999999"), "too large"),
    (("redrive",), "--all"),
    (("discard",), "--all"),
    (("list", "--older-than", "soon"), "90s, 15m, 2h or 1d"),
    (("list", "--state", "alive"), "dead, failed, behind, quarantined"),
    (("list", "--source", "payments"), "no service reads the topic of 'payments'"),
    (("list", "--service", "users"), "users is not up here"),
    (("redrive", "--all", "--rate", "fast", "--yes"), "50/s"),
    (("redrive", "--all", "--yes"), "no parked event matches"),
    (("discard", "orders/users:0:99", "--yes"), "has no parked event users:0:99"),
    (("redrive", "--resume"), "no redrive was interrupted"),
    (("redrive", "--resume", "0199f000-0000-7000-8000-000000000000"), "knows a redrive"),
    (("edit", "orders/users:0:99", "--data", "/no/such/file"), "cannot be read"),
]


async def test_bad_input_is_said_plainly(freehold_service: Run) -> None:
    async with freehold_service(parking("postgres", Poison(), NEVER_AGAIN), only="api") as reader:
        dead = Command(reader)
        for arguments, says in BAD:
            code, output, errors = await dead(*arguments)

            assert (code, output) == (1, ""), arguments
            assert errors.startswith("freehold: ") or "\nfreehold: " in errors, arguments
            assert says in errors, arguments


async def test_command_in_a_process_of_its_own_answers_and_refuses(freehold_service: Run) -> None:
    async with freehold_service(parking("postgres", Poison(), NEVER_AGAIN), only="api") as reader:
        variables = environment() | Command(reader).variables

        async def run(*arguments: str) -> tuple[int | None, bytes, bytes]:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "freehold", "dead", *arguments), env=variables, stdout=PIPE, stderr=PIPE
            )
            output, errors = await process.communicate()
            return process.returncode, output, errors

        assert await run("list", "--json") == (0, b"[]\n", b"")
        code, output, errors = await run("show", "orders/users:0:99")
        assert (code, output) == (1, b"")
        assert errors.startswith(b"freehold: orders: orders has no parked event users:0:99")


@dataclasses.dataclass
class CutOff:
    """The rounds of a process that is killed when it first notes what it asked for."""

    rounds: Rounds
    is_cut: bool = False

    async def mark(self, *arguments: Any) -> None:
        if not self.is_cut:
            self.is_cut = True
            raise StoreUnavailable("killed")
        await self.rounds.mark(*arguments)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.rounds, name)


async def until_tried(orders: Service, round_id: str) -> None:
    """Wait until what was asked for was tried, and what came later is dead as well."""

    async def is_tried() -> bool:
        there = await parked(orders)
        return len(there) == 4 and all(event.intent is None and event.state == "dead" for event in there)

    await until(is_tried, lambda: "not tried")
    assert await make_rounds(orders).find(round_id) is not None
