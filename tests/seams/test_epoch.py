"""A store that was restored behind its topic goes on in a new epoch, and the copies of it follow."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from freehold.converge.epoch import Advance, Look, Standing, Told
from freehold.errors import EpochError, OperatorError
from freehold.event import OutboxRow
from freehold.http.internal import OPERATOR
from freehold.http.peer import Peer, peer_url
from freehold.outbox.outgoing import decode_headers, readdress
from freehold.outbox.relay import RelayState
from freehold.runtime.parts import make_histories
from freehold.runtime.rebuilding import epoch_routes
from freehold.testing import Scene, Servers, TestedService
from tests.seams.pair import PRODUCTS
from tests.seams.people import NAMES, Contact, copy_of, freehold, people, readers, write
from tests.seams.test_restored_store import Remembering, backup_of
from tests.seams.waiting import LIMIT_S, until

Run = Callable[..., Any]

pytestmark = [pytest.mark.services]


@pytest.mark.parametrize("product", PRODUCTS)
async def test_restored_store_goes_on_in_a_new_epoch(
    freehold_service: Run, freehold_scene: Scene, freehold_servers: Servers, product: str
) -> None:
    users, orders = people(product), readers("postgres", Contact, NAMES)
    store_url, kafka_url = await asyncio.to_thread(freehold_scene.provision, users)
    topic = Remembering(kafka_url, f"{freehold_scene.namespace}_users")
    async with freehold_service(users) as running:
        for number in range(5):
            await write(users, f"p{number}", name="before")
        await running.settled(LIMIT_S)
        before = await topic.until_above(0)

    async with backup_of(store_url, freehold_servers, product) as restore:
        async with freehold_service(users), freehold_service(orders) as reading:
            for _ in range(3):
                await write(users, "p1", name="lost")
            await write(users, "p2", gone=True)
            await write(users, "p9", name="never was")
            await reading.settled(LIMIT_S)
            await topic.until_above(before)
        await asyncio.to_thread(restore)

        async with freehold_service(users) as running, freehold_service(orders) as reading:
            await write(users, "p3", name="after the restore")
            await until(lambda: running.running.relay is not None, "there is a relay")
            progress = running.running.relay.progress
            await until(lambda: progress.state is RelayState.RETRYING, "the relay is refused")
            assert "freehold epoch advance users" in progress.last_error
            standing = await ask(running, "epoch", Look(), Standing)
            assert (standing.is_behind, standing.epoch, standing.waiting) == (True, 1, 1)
            assert standing.entities == {"person": 5}

            ran = await freehold(running, "epoch", "advance", "users", "--yes", "--json")

            assert ran.returncode == 0, ran.stderr
            told = json.loads(ran.stdout)
            assert (told["epoch"], told["told"]) == (2, {"person": 5})
            # One repair of whom only the lost history had reaches both copies.
            equal = {"rows": 5, "differing": 0, "repaired": 0, "behind": 0}
            assert told["copies"] == {"orders.contacts": equal | {"differing": 1, "repaired": 1}, "orders.names": equal}
            await reading.settled(LIMIT_S)
            copies = await copy_of(orders)
            assert living(copies) == {
                "p0": ("before", 1),
                "p1": ("before", 1),
                "p2": ("before", 1),
                "p3": ("after the restore", 2),
                "p4": ("before", 1),
            }
            assert {each["epoch"] for each in copies.values()} == {2}
            await write(users, "p4", name="as always")
            await reading.settled(LIMIT_S)
            assert living(await copy_of(orders))["p4"] == ("as always", 2)
            standing = await ask(running, "epoch", Look(), Standing)
            assert (standing.is_behind, standing.is_telling) == (False, False)
            with pytest.raises(OperatorError, match="nothing to advance"):
                await advance(running)


@pytest.mark.parametrize("product", PRODUCTS)
async def test_telling_that_was_killed_goes_on(
    freehold_service: Run, monkeypatch: pytest.MonkeyPatch, product: str
) -> None:
    """Forced here: the relay follows, and must notice the new epoch by itself."""
    monkeypatch.setattr("freehold.converge.epoch.TOLD_AT_ONCE", 2)
    users, orders = people(product), readers("mongo")
    async with freehold_service(users) as running, freehold_service(orders) as reading:
        for number in range(7):
            await write(users, f"p{number}", name="before")
        await reading.settled(LIMIT_S)
        told = 0

        async def killed() -> None:
            nonlocal told
            async for step in epoch_routes(running.running).advance(Advance(force=True)):
                told += step.done > 0
                if told == 2:
                    raise RuntimeError

        with pytest.raises(RuntimeError):
            await killed()
        assert (await make_histories(users).read()).told == {"person": "p3" if product == "postgres" else '"p3"'}

        await advance(running)

        await reading.settled(LIMIT_S)
        assert {each["epoch"] for each in (await copy_of(orders)).values()} == {2}
        assert (await make_histories(users).read()).told is None


async def test_store_that_is_not_behind_is_left_alone(freehold_service: Run) -> None:
    users = people("postgres")
    async with freehold_service(users) as running:
        await write(users, "p1", name="before")
        await running.settled(LIMIT_S)

        with pytest.raises(EpochError, match="nothing to advance"):
            await anext(epoch_routes(running.running).advance(Advance()))
        ran = await freehold(running, "epoch", "advance", "users", "--yes")

        assert ran.returncode == 1
        assert "nothing to advance" in ran.stderr
        assert (await make_histories(users).read()).epoch == 1


def test_row_from_before_is_of_the_new_epoch_the_same_each_time() -> None:
    row = outbox_row(1)

    once, again = readdress(row, 3), readdress(row, 3)

    headers = dict(decode_headers(once.headers))
    assert (headers["ce_epoch"], headers["ce_id"]) == (b"3", b"person/p1:3.4.0")
    assert once == again
    assert readdress(once, 3) == once
    assert (once.key, once.version, once.index, once.data) == (row.key, row.version, row.index, row.data)
    assert [name for name, _ in decode_headers(once.headers)] == [name for name, _ in decode_headers(row.headers)]


def outbox_row(epoch: int) -> OutboxRow:
    from freehold.outbox.outgoing import Outgoing
    from tests.seams.people import Person

    outgoing = Outgoing("users", epoch, frozenset([Person]))
    outgoing.add(Person, {"id": "p1", "name": "Ann", "town": "Ulm", "version": 4})
    return outgoing.rows[0]


def living(copies: Mapping[str, Mapping[str, Any]]) -> dict[str, tuple[str, int]]:
    return {key: (each["name"], each["version"]) for key, each in copies.items() if not each["deleted"]}


def operator(running: TestedService) -> Peer:
    key = running.running.settings.internal_key
    return Peer("users", peer_url(running.url, OPERATOR, key))


async def ask(running: TestedService, path: str, body: Any, answer: Any) -> Any:
    with contextlib.closing(operator(running)) as peer:
        return await asyncio.to_thread(peer.ask, path, body, answer)


async def advance(running: TestedService, *, force: bool = False) -> list[Told]:
    with contextlib.closing(operator(running)) as peer:
        return await asyncio.to_thread(lambda: list(peer.lines("epoch/advance", Advance(force=force), Told)))
