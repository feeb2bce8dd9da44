"""Tamper with copies behind the system's back; the audit must name each under load, and repair it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import TypeVar

import msgspec
import psycopg
from pymongo.errors import PyMongoError

from freehold.drill.holdings import Unreadable
from freehold.drill.observed import Copy
from freehold.drill.stage import Missed, Stage, end_process, printed, start_command
from freehold.drill.tampering import CopyEditor, Named, Tampered, carry_out, choose, name_of, unfound
from freehold.drill.trial import Steps, Trial
from freehold.errors import DrillError
from freehold.service import Replica

T = TypeVar("T")

# Of the replica's own copies, and as many of those that are embedded.
COPIES = 6
READ_LIMIT_S = 300.0
FOUND_LIMIT_S = 300.0


class _Found(msgspec.Struct):
    """What the drill needs to know of one finding."""

    id: str
    where: str
    document: str = ""


class _Audited(msgspec.Struct):
    """One line of `freehold audit --json`."""

    differing: list[_Found]


def tamper(trial: Trial, victim: str) -> Steps:
    """Edit, roll back, delete and add some copies, at once; `repair` follows when no other fault is open."""
    name = victim.partition(" ")[0]
    chance = trial.chance()
    replica = chance.choice(trial.stage.system.service(name).replicates)
    if replica.of in trial.renewed:
        raise Missed(f"the copies of {replica.of} are about to be replaced")
    try:
        kept = trial.observer.kept(name, replica)
        known = {each.name for each in trial.tampered[victim]}
        wanted = choose(kept, known, _text_of(replica), COPIES, chance)
        with _edit(trial.stage, name, replica) as editor:
            for each in wanted:
                if carry_out(editor, each):
                    trial.tampered[victim].append(each)
    except (Unreadable, PyMongoError, psycopg.OperationalError) as error:
        # What was done before it is looked for all the same.
        raise Missed(f"the copies of {name} cannot be reached now: {error}") from error
    trial.counts[f"tamper {victim}"] += 1
    yield


def repair(trial: Trial, victim: str) -> Steps:
    """Audit and repair under load until an audit finds no difference, and note how long that took.

    What was to be found and was not named is noted in `trial.unfound`.

    Raises:
        DrillError: An audit still finds a difference after FOUND_LIMIT_S.
    """
    fault, name = f"tamper {victim}", victim.partition(" ")[0]
    tampered = trial.tampered.pop(victim)
    for replica in trial.stage.system.service(name).replicates:
        # What was sent again may heal what was rolled back or deleted: it is read before anybody looks.
        yield from _read_on(trial, name, replica)
        kept = yield from _read(partial(trial.observer.kept, name, replica))
        there = _still_so(tampered, [*kept.replica, *kept.embedded])
        began_at = time.monotonic()
        named: set[Named] = set()
        yield from _audited(trial.stage, f"{name}.{replica.into}", named)
        entity, newest = replica.entity, trial.observer.tail.newest
        trial.unfound += unfound(there, named, lambda entity_id: newest(f"{entity}/{entity_id}"))  # noqa: B023
        trial.recovered_s[fault].append(time.monotonic() - began_at)


def _read_on(trial: Trial, service: str, replica: Replica) -> Iterator[None]:
    """Wait until the service has applied all that is on the topic now."""
    ends = yield from _read(partial(trial.observer.tail.ends, replica.of))
    limit = time.monotonic() + READ_LIMIT_S
    while behind := trial.observer.behind(service, replica.of, ends):
        if time.monotonic() > limit:
            raise DrillError(f"{service} is still {behind} events behind {replica.of} after {READ_LIMIT_S:g} s")
        yield


def _still_so(tampered: Collection[Tampered], copies: Collection[Copy]) -> list[Tampered]:
    found = {name_of(copy): copy for copy in copies}
    wheres = {copy.where for copy in copies}
    return [each for each in tampered if each.copy.where in wheres and each.is_still_so(found.get(each.name))]


def _audited(stage: Stage, replica: str, named: set[Named]) -> Iterator[None]:
    """Run `freehold audit`, with and without `--repair`, until it finds nothing; adds what it names."""
    is_repairing, limit = True, time.monotonic() + FOUND_LIMIT_S
    while True:
        audit = start_command(stage, "audit", replica, "--json", *(["--repair"] if is_repairing else []))
        try:
            while audit.poll() is None:
                yield
        finally:
            end_process(audit)
        named |= _read_named(printed(stage, "audit").read_bytes())
        if audit.returncode == 0 and not is_repairing:
            return
        # What was repaired is looked at once more; what could not be judged is audited again.
        is_repairing = audit.returncode != 0
        if time.monotonic() > limit:
            raise DrillError(f"the audit of {replica} still finds a difference after {FOUND_LIMIT_S:g} s")


def _read_named(output: bytes) -> set[Named]:
    lines = [msgspec.json.decode(line, type=_Audited) for line in output.splitlines() if line]
    return {(found.where, found.id, found.document) for line in lines for found in line.differing}


def _read(what: Callable[[], T]) -> Generator[None, None, T]:
    """Read something as soon as its server answers."""
    limit = time.monotonic() + READ_LIMIT_S
    while True:
        try:
            return what()
        except Unreadable as error:
            if time.monotonic() > limit:
                raise DrillError(f"no answer for {READ_LIMIT_S:g} s: {error}") from error
        yield


def _text_of(replica: Replica) -> str:
    """Name a field that any text may be written into."""
    return next(each.name for each in msgspec.structs.fields(replica.state) if each.type is str and each.name != "id")


def _edit(stage: Stage, service: str, replica: Replica) -> AbstractContextManager[CopyEditor]:
    url = stage.store_url(service)
    if stage.system.service(service).store.kind == "postgres":
        from freehold.drill.tampering_postgres import edit_copies as edit_postgres

        return edit_postgres(url, replica)
    from freehold.drill.tampering_mongo import edit_copies as edit_mongo

    return edit_mongo(url, service, replica)
