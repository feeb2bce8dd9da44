"""Compare what clients were told with the rows, the topic and the copies: exactly, and without any server.

Every committed change publishes one event, versions rise by one, and every write asks for something that no other asks
for. So each owner's topic must hold, per entity, the versions 1 to the row's, each once (but for exact repeats), each
leading back to one write that was acknowledged with that version or that was never answered.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from freehold.drill.observed import (
    Action,
    Copy,
    Difference,
    Fields,
    Handled,
    Kept,
    Outcome,
    Owned,
    Row,
    SentRecord,
    Write,
)


def compare(
    writes: Sequence[Write],
    owned: Sequence[Owned],
    kept: Mapping[str, Sequence[Kept]],
    handled: Sequence[Handled] = (),
) -> list[Difference]:
    """List all differences; none means that nothing was lost, nothing doubled, nothing made up, and all copies are equal.

    Args:
        writes: Every write that was sent, in any order.
        owned: Each owner's rows and topic.
        kept: By the kind of entity, all that each other service keeps of it.
        handled: What handlers left behind.
    """
    found: list[Difference] = []
    for owner in owned:
        own_writes = [write for write in writes if write.entity == owner.entity]
        found += compare_order(owner.records)
        found += compare_history(owner)
        if own_writes:
            # What no client writes (a handler does) is held to its events and its handler alone.
            found += compare_acknowledged(own_writes, owner)
            found += compare_asked_for(own_writes, owner)
        for each in handled:
            if each.entity == owner.entity:
                found += compare_handled(owner.records, each)
        for copies in kept.get(owner.entity, ()):
            found += compare_presence(owner, copies)
            found += compare_copies(owner, [*copies.replica, *copies.embedded])
    return found


def first_occurrences(records: Sequence[SentRecord]) -> dict[str, list[SentRecord]]:
    """Give, by key, each event's first record, in the order of the topic; what is said again for copies is no event."""
    seen: set[tuple[str, str]] = set()
    by_key: dict[str, list[SentRecord]] = defaultdict(list)
    for record in sorted(records, key=lambda record: (record.partition, record.offset)):
        if not record.is_repair and (record.key, record.event_id) not in seen:
            seen.add((record.key, record.event_id))
            by_key[record.key].append(record)
    return by_key


def compare_order(records: Sequence[SentRecord]) -> Iterator[Difference]:
    """Check that a repeat is an exact copy, that an entity has one partition, and that first occurrences are in order."""
    content: dict[str, SentRecord] = {}
    partitions: dict[str, set[int]] = defaultdict(set)
    for record in records:
        partitions[record.key].add(record.partition)
        first = content.setdefault(record.event_id, record)
        if first.content != record.content:
            yield Difference(
                "doubled",
                _place(record),
                f"event {record.event_id} is there with other bytes at {first.partition}:{first.offset}",
                record.key,
            )
    for key, found in partitions.items():
        if len(found) > 1:
            yield Difference("reordered", key, f"its events lie in the partitions {sorted(found)}", key)
    for events in first_occurrences(records).values():
        for before, after in pairwise(events):
            if (after.version, after.index) < (before.version, before.index):
                yield Difference(
                    "reordered", _place(after), f"version {after.version} follows {before.version}", after.key
                )
            elif (after.version, after.index) == (before.version, before.index):
                yield Difference(
                    "doubled",
                    _place(after),
                    f"{after.event_id} and {before.event_id} are both version {after.version}",
                    after.key,
                )


def compare_history(owner: Owned) -> Iterator[Difference]:
    """Check that each row's versions are all on the topic, that no others are, and that the newest is the row."""
    by_id = {key.partition("/")[2]: events for key, events in first_occurrences(owner.records).items()}
    rows = owner.rows
    for entity_id, row in rows.items():
        key = f"{owner.entity}/{entity_id}"
        events = {event.version: event for event in by_id.get(entity_id, ())}
        missing = sorted(set(range(1, row.version + 1)) - set(events))
        if missing:
            yield Difference("lost", entity_id, f"row is at version {row.version}, the topic lacks {missing}", key)
        for version in sorted(set(events) - set(range(1, row.version + 1))):
            yield Difference(
                "ghost", _place(events[version]), f"version {version}, but the row is at {row.version}", key
            )
        newest = events.get(row.version)
        if newest is not None and (newest.erases != row.deleted or not _holds(row.fields, newest.fields)):
            yield Difference("stale", entity_id, f"row {_shown(row.fields)} is not event {_shown(newest.fields)}", key)
    for entity_id in by_id.keys() - rows.keys():
        yield Difference("ghost", entity_id, "has events and no row", f"{owner.entity}/{entity_id}")


def compare_acknowledged(writes: Iterable[Write], owner: Owned) -> Iterator[Difference]:
    """Check that each acknowledged write is in the row at its version or later, and on the topic as exactly its event."""
    events: dict[str, list[SentRecord]] = defaultdict(list)
    for record in owner.records:
        events[record.entity_id].append(record)
    for write in writes:
        if write.outcome is not Outcome.ACKNOWLEDGED:
            continue
        row = owner.rows.get(write.entity_id)
        subject = f"{write.entity} {write.entity_id} {write.action.value} at version {write.version}"
        missing = []
        if row is None:
            missing.append("there is no such row")
        elif write.version is not None and row.version < write.version:
            missing.append(f"the row is at version {row.version}")
        elif write.action is Action.DELETE and not row.deleted:
            missing.append("the row is still there")
        if not any(is_event_of(write, record) for record in events[write.entity_id]):
            missing.append("the topic has no event of it")
        for what in missing:
            yield Difference("lost", subject, f"was acknowledged, and {what}", f"{write.entity}/{write.entity_id}")


def compare_asked_for(writes: Iterable[Write], owner: Owned) -> Iterator[Difference]:
    """Check that each event leads back to a write that may have happened, and no two events to the same one."""
    by_token: dict[str, list[tuple[int, Write]]] = defaultdict(list)
    for number, write in enumerate(writes):
        if write.outcome is not Outcome.REFUSED:
            by_token[write.entity_id].append((number, write))
    used: dict[int, SentRecord] = {}
    for events in first_occurrences(owner.records).values():
        for event in events:
            # One whose answer never came can only have made an entity.
            candidates = [*by_token[event.entity_id], *(by_token[""] if event.version == 1 else ())]
            matching = [(number, write) for number, write in candidates if is_event_of(write, event)]
            free = [(number, write) for number, write in matching if number not in used]
            if free:
                # One that was answered with this very version comes first; what was never answered may be another's.
                number, _ = min(free, key=lambda each: each[1].outcome is Outcome.UNKNOWN)
                used[number] = event
            elif matching:
                other = used[matching[0][0]]
                yield Difference(
                    "doubled", _place(event), f"the write that made it also made {_place(other)}", event.key
                )
            else:
                yield Difference("ghost", _place(event), f"nobody asked for {_shown(event.fields)}", event.key)


def is_event_of(write: Write, event: SentRecord) -> bool:
    """Tell whether the event can be what this write published."""
    if write.version is not None and write.version != event.version:
        return False
    if write.entity_id and write.entity_id != event.entity_id:
        return False
    if (write.action is Action.CREATE) != (event.version == 1):
        return False
    return (write.action is Action.DELETE) == event.erases and _holds(write.asked, event.fields)


def compare_handled(records: Sequence[SentRecord], handled: Handled) -> Iterator[Difference]:
    """Check that a handler was called, in effect, with each event once and in order."""
    events = first_occurrences(records)
    for key, own in events.items():
        wanted = [handled.trace({} if event.erases else event.fields) for event in own]
        found = handled.traces.get(key.partition("/")[2], [])
        where = f"{handled.where} of {key}"
        missing, more = Counter(wanted) - Counter(found), Counter(found) - Counter(wanted)
        if missing:
            yield Difference("lost", where, f"{missing.total()} of {len(wanted)} events left nothing behind", key)
        if more:
            yield Difference(
                "doubled", where, f"{more.total()} rows are there beside those of {len(wanted)} events", key
            )
        if not missing and not more and wanted != found:
            yield Difference("reordered", where, "its events took effect in another order", key)
    for entity_id in handled.traces.keys() - {key.partition("/")[2] for key in events}:
        yield Difference("ghost", f"{handled.where} of {entity_id}", "the topic has no event of it")


def compare_copies(owner: Owned, copies: Iterable[Copy]) -> Iterator[Difference]:
    """Check that each copy equals its owner's row, and that one of a deleted entity has nothing left but its id."""
    for copy in copies:
        row = owner.rows.get(copy.entity_id)
        kind, why = _difference_of(copy, row)
        if kind:
            yield Difference(kind, str(copy), why, f"{owner.entity}/{copy.entity_id}")


def _difference_of(copy: Copy, row: Row | None) -> tuple[str, str]:
    if row is None:
        return "ghost", "its owner has no such row"
    if copy.version != row.version or copy.deleted != row.deleted:
        return "stale", f"version {copy.version}{_gone(copy)}, its owner's is {row.version}{_gone(row)}"
    if row.deleted and any(value is not None for value in copy.fields.values()):
        return "surviving", f"is deleted and still holds {', '.join(sorted(copy.fields))}"
    if not row.deleted and dict(copy.fields) != {name: row.fields.get(name) for name in copy.fields}:
        return "stale", f"holds {_shown(copy.fields)}, its owner {_shown(row.fields)}"
    return "", ""


def compare_presence(owner: Owned, kept: Kept) -> Iterator[Difference]:
    """Check that a replica has every row of its owner, each once."""
    seen: dict[str, int] = defaultdict(int)
    for copy in kept.replica:
        seen[copy.entity_id] += 1
    for entity_id in owner.rows:
        if seen[entity_id] != 1:
            kind, times = "doubled" if seen[entity_id] else "lost", seen[entity_id]
            yield Difference(
                kind, f"{kept.where} copy of {entity_id}", f"is there {times} times", f"{owner.entity}/{entity_id}"
            )


def compare_erased(erased: Iterable[str], places: Mapping[str, bytes]) -> Iterator[Difference]:
    """Check that none of the erased values is left anywhere in these places, whatever form they have.

    Args:
        erased: Personal values that must be gone.
        places: By name, the raw bytes of everything that a service keeps there.
    """
    values = sorted(set(erased))
    for where, content in places.items():
        for value in values:
            if value.encode() in content:
                yield Difference("surviving", where, f"{value} was erased and is still there")


def _holds(part: Fields, whole: Fields) -> bool:
    return all(name in whole and whole[name] == value for name, value in part.items())


def _place(record: SentRecord) -> str:
    return f"{record.key} at {record.partition}:{record.offset}"


def _gone(thing: Row | Copy) -> str:
    return " (deleted)" if thing.deleted else ""


def _shown(fields: Fields) -> str:
    return ", ".join(f"{name}={value!r}" for name, value in sorted(fields.items())) or "nothing"
