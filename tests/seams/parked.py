"""What is parked, as tests cause it and wait for it."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec

from freehold.consumer.parking import Intent, Lot, ParkedEvent
from freehold.runtime.parts import make_lot
from freehold.service import Parking, Service
from freehold.topic.partition import partition_of
from tests.seams.consuming import IDS, until
from tests.seams.pair import Named, copies, effects, subscriber, update

QUICK = Parking(at_once=1, attempts=4, back_off_s=(0.05, 0.2))
# Tried again so late that a test ends before.
ONCE = Parking(at_once=0, attempts=2, back_off_s=(200, 300))
NEVER_AGAIN = Parking(at_once=0, attempts=1)
BESIDE = [u for u in IDS if u != "u3" and partition_of(f"user/{u}".encode(), 3) == partition_of(b"user/u3", 3)]


class Poison:
    """A handler that refuses what it is told to, and remembers what it was given."""

    def __init__(self, *refused: str) -> None:
        self.refused = set(refused)
        self.error: Exception = LookupError("no such thing")
        self.given: list[tuple[str, str]] = []

    async def __call__(self, _tx: Any, event: Named) -> None:
        self.given.append((event.id, event.name))
        if event.id in self.refused or f"{event.id} {event.name}" in self.refused:
            raise self.error


def parking(reading: str, handler: Any, policy: Parking) -> Service:
    return dataclasses.replace(subscriber(reading, handler), parking={"users": policy})


def lot_of(service: Service) -> Lot:
    return make_lot(service)


async def parked(service: Service) -> list[ParkedEvent]:
    return await lot_of(service).scan()


async def until_parked(service: Service, states: dict[str, list[str]]) -> list[ParkedEvent]:
    """Wait until these, by key, are parked in these states, and nothing else."""
    found: list[ParkedEvent] = []

    async def as_expected() -> bool:
        found[:] = await parked(service)
        by_key: dict[str, list[str]] = {}
        for event in found:
            by_key.setdefault(event.key, []).append(event.state.value)
        return by_key == states

    await until(as_expected, lambda: found)
    return found


async def parked_first(users: Service, orders: Service) -> ParkedEvent:
    """Write u3 once, whose handler refuses it, and give the event whole, as it is parked."""
    await users.store.transact(update, "u3", 1)
    [light] = await until_parked(orders, {"user/u3": ["failed"]})
    event = await lot_of(orders).find("users", light.id.partition, light.id.offset)
    assert event is not None
    return event


async def until_effects(service: Service, expected: dict[str, list[int]]) -> None:
    found: dict[str, list[int]] = {}

    async def as_expected() -> bool:
        seen = await effects(service)
        found.clear()
        found.update(seen)
        return found == expected

    await until(as_expected, lambda: found)


async def ask(service: Service, event: ParkedEvent, intent: Intent, edited: bytes | None = None) -> None:
    """Want something of a parked event, as an operator's command does; its worker may just be changing it."""

    async def is_asked() -> bool:
        whole = await lot_of(service).find(event.id.source, event.id.partition, event.id.offset)
        assert whole is not None
        wanted = msgspec.structs.replace(whole, intent=intent, edited=edited, replays=whole.replays + 1)
        return await lot_of(service).change(wanted) is not None

    await until(is_asked, lambda: f"{event.id} can be asked for")


def json_of(value: bytes | None) -> Any:
    return msgspec.json.decode(value or b"")


async def until_redriven(service: Service, before: ParkedEvent) -> list[ParkedEvent]:
    found: list[ParkedEvent] = []

    async def was_tried() -> bool:
        found[:] = await parked(service)
        return bool(found) and found[0].attempts > before.attempts and found[0].intent is None

    await until(was_tried, lambda: found)
    return found


async def until_copies(service: Service, ids: list[str], version: int) -> None:
    async def are_there() -> bool:
        found = await copies(service)
        return all(user_id in found and found[user_id][1] == version for user_id in ids)

    await until(are_there, lambda: f"version {version} of {ids}")


def headers_of(user_id: str, version: int, schema: int = 1) -> list[tuple[str, bytes]]:
    key = f"user/{user_id}"
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", f"{key}:1.{version}.0".encode()),
        ("ce_type", b"users.UserUpdated"),
        ("ce_source", b"/services/users"),
        ("ce_subject", key.encode()),
        ("ce_time", b"2026-01-01T00:00:00Z"),
        ("ce_dataschema", f"urn:freehold:users.UserUpdated:{schema}".encode()),
        ("ce_epoch", b"1"),
        ("ce_version", str(version).encode()),
        ("ce_index", b"0"),
        ("content-type", b"application/json"),
    ]


async def until_asked_for_nothing(service: Service) -> None:
    async def is_so() -> bool:
        return all(event.intent is None for event in await parked(service))

    await until(is_so, lambda: "no intent is left")
