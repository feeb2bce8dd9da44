"""A contract: what an event of one type and schema number holds, and the committed file that says so."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from freehold.contract.form import form_of, resolved
from freehold.contract.problem import shown
from freehold.errors import ContractError
from freehold.event import Event, event_type
from freehold.service import Service


class Contract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one contract file holds; `data` is the JSON Schema of the event's data."""

    type: str
    schema: int
    entity: str
    key: str
    erases: bool
    data: dict[str, Any]

    @property
    def name(self) -> str:
        """Name type and number as people read them: `users.UserUpdated (schema 1)`."""
        return f"{self.type} (schema {self.schema})"

    @property
    def number(self) -> tuple[str, int]:
        """Tell it from all others."""
        return self.type, self.schema

    @property
    def file_name(self) -> str:
        """Name the file: `UserUpdated.1.json`."""
        return f"{self.type.rpartition('.')[2]}.{self.schema}.json"

    @property
    def fields(self) -> dict[str, Any]:
        """Give the form of each field of the data."""
        found: dict[str, Any] = resolved(self.data, self.data).get("properties", {})
        return found

    @property
    def required(self) -> set[str]:
        """Name the fields that every event of it has."""
        return set(resolved(self.data, self.data).get("required", ()))


def contract_of(service: Service, event: type[Event]) -> Contract:
    """Give the contract that an event class amounts to as it is written now."""
    return Contract(
        type=event_type(service.name, event),
        schema=event.__schema__,
        entity=event.__entity__,
        key=event.__key__,
        erases=event.__erases__,
        data=form_of(event),
    )


def read_contracts(folder: Path) -> Iterator[tuple[Path, Contract]]:
    """Read the contract files of a folder, in the order of their names.

    Raises:
        ContractError: A file cannot be read as a contract, or is not where its name belongs.
    """
    for path in sorted(folder.glob("*.json")):
        yield path, read_contract(path)


def read_contract(path: Path) -> Contract:
    """Read one contract file; raises as `read_contracts` does."""
    try:
        contract = msgspec.json.decode(path.read_bytes(), type=Contract)
    except (OSError, msgspec.DecodeError) as error:
        raise ContractError(
            f"{shown(path)} cannot be read as a contract: {error}; restore it from version control"
        ) from error
    if contract.file_name != path.name:
        raise ContractError(
            f"{shown(path)} holds the contract of {contract.file_name}; restore it from version control"
        )
    return contract


def format_file(content: msgspec.Struct) -> str:
    """Write a contract or a sample as its file holds it."""
    return msgspec.json.format(msgspec.json.encode(content), indent=2).decode() + "\n"
