"""All that is known of one entity, in order: its writes, its events, and what is kept of it. For whoever must find out why."""

from __future__ import annotations

from freehold.drill.observation import Observer
from freehold.drill.observed import SentRecord, Write
from freehold.drill.writes import WriteLedger

LINES_MAX = 200


def history_of(key: str, ledger: WriteLedger, observer: Observer) -> list[str]:
    """Tell an entity's history.

    Args:
        key: As records have it: "user/42".
        ledger: What clients were told.
        observer: What is there.
    """
    entity, _, entity_id = key.partition("/")
    if entity not in observer.owners:
        return [f"{key}: nobody owns such an entity"]
    writes = [write for write in ledger.writes if write.entity == entity and write.entity_id == entity_id]
    service = observer.owners[entity][0].name
    lines = [f"{key}", *(_write_line(write) for write in writes)]
    lines += [_record_line(service, record) for record in observer.tail.records(service, entity) if record.key == key]
    lines += observer.kept_of(entity, entity_id)
    return lines[:LINES_MAX]


def _write_line(write: Write) -> str:
    version = "" if write.version is None else f" at version {write.version}"
    asked = ", ".join(f"{name}={value!r}" for name, value in write.asked.items())
    return f"  write, {write.answered_at:.3f}: {write.action.value} {asked}: {write.outcome.value}{version}"


def _record_line(topic: str, record: SentRecord) -> str:
    fields = "erased" if record.erases else ", ".join(f"{name}={value!r}" for name, value in record.fields.items())
    where = f"{topic} {record.partition}:{record.offset}"
    return f"  event, {where}: version {record.epoch}.{record.version}.{record.index}: {fields}"
