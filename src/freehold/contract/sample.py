"""A sample: one event of a form that was published, byte for byte as it lies on the topic, and its committed file.

`samples/UserUpdated.1.json` is of the form that schema 1 had at first; `UserUpdated.1.2.json` of the next form that it had
when an optional field was added; and so on. A sample is never written over and never goes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from freehold.contract.contract import format_file
from freehold.contract.fill import fill
from freehold.contract.problem import shown
from freehold.errors import ContractError, EventRejected, PublishError
from freehold.event import Envelope, Event, Place, encode_data, envelope_for
from freehold.service import Service
from freehold.topic import Record
from freehold.topic.cloudevents import decode_record, encode_headers

FOLDER = "samples"
# A sample is the same whenever and wherever it is made.
_PLACE = Place(1, 1, 0)
_TIME = "2026-01-02T03:04:05.678901Z"
_TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


class Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a sample's file holds: a record's key, its headers in their order, and its value, all of them UTF-8."""

    key: str
    headers: dict[str, str]
    data: str


@dataclasses.dataclass(frozen=True)
class Sample:
    """One sample, as a subscriber meets it."""

    path: Path
    record: Record
    envelope: Envelope

    @property
    def number(self) -> tuple[str, int]:
        """Tell the contract that it is of."""
        return self.envelope.type, self.envelope.schema

    @property
    def data(self) -> bytes:
        """Its data as the topic has it."""
        return self.record.value or b""


def make_content(service: Service, event: type[Event]) -> Content:
    """Encode one event of a class with every field filled, as a transaction of the service would publish it.

    Raises:
        ContractError: A field needs an example, or what was made cannot be published.
    """
    filled = fill(event)
    try:
        envelope = envelope_for(service.name, filled, _PLACE, _TRACEPARENT)
        data = encode_data(filled)
    except PublishError as error:
        raise ContractError(f"no sample of {event.__name__} can be made: {error}") from error
    headers = encode_headers(msgspec.structs.replace(envelope, time=_TIME))
    return Content(envelope.key, {name: value.decode() for name, value in headers}, data.decode())


def write_sample(folder: Path, name: str, content: Content) -> Path:
    """Write a sample beside those that are there, under the first name that is free."""
    path, count = folder / FOLDER / f"{name}.json", 1
    while path.exists():
        count += 1
        path = folder / FOLDER / f"{name}.{count}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(format_file(content).encode())
    return path


def read_samples(folder: Path) -> Iterator[Sample]:
    """Read the samples beside the contracts of a folder, in the order of their names.

    Raises:
        ContractError: A file cannot be read as a sample, or its record is not the event that its name says.
    """
    for path in sorted((folder / FOLDER).glob("*.json")):
        yield _read(path)


def _read(path: Path) -> Sample:
    mend = "restore it from version control"
    try:
        content = msgspec.json.decode(path.read_bytes(), type=Content)
    except (OSError, msgspec.DecodeError) as error:
        raise ContractError(f"{shown(path)} cannot be read as a sample: {error}; {mend}") from error
    headers: tuple[tuple[str, Any], ...] = tuple((name, text.encode()) for name, text in content.headers.items())
    record = Record(f"sample {path.stem}", 0, 0, 0, content.key.encode(), content.data.encode(), headers)
    try:
        envelope, _ = decode_record(record)
    except EventRejected as error:
        raise ContractError(f"{shown(path)} holds no event: {error}; {mend}") from error
    name = f"{envelope.type.rpartition('.')[2]}.{envelope.schema}"
    if path.stem != name and not path.stem.startswith(f"{name}."):
        raise ContractError(f"{shown(path)} holds a sample of {name}; {mend}")
    return Sample(path, record, envelope)
