"""What readers were promised: a committed file for each event that a service publishes, and the checks that hold it.

`users/contracts/UserUpdated.1.json` says what an event of that type and schema number holds. Events stay on the topic for
ever (its newest per entity), and readers are deployed when they like; so a contract may only change in ways that leave
both right: old readers with new events, and new readers with old events. That leaves adding an optional field. Whatever
else changes is a new schema number, with a file of its own beside the old one. (An upcaster, which lets a reader of the
new number read events of the old one, belongs beside this: `read` in `consumer/batch.py` is where it would be called.)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from freehold.contract.form import form_of, is_readable_as, resolved
from freehold.errors import ContractError
from freehold.event import Event, event_type
from freehold.service import Listen, Replica, Service, System


class Contract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What one contract file holds; `data` is the JSON Schema of the event's data."""

    type: str
    schema: int
    entity: str
    key: str
    erases: bool
    data: dict[str, Any]

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


@dataclasses.dataclass(frozen=True)
class Problem:
    """What is wrong, with which contract or class, and what to do about it."""

    subject: str
    text: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.text}"


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


def write_contracts(service: Service) -> list[Path]:
    """Write the contract file of each event that the service publishes; what is written already may only grow.

    Returns:
        The files that are new or changed.

    Raises:
        ContractError: The service names no folder, or a class breaks its written contract; nothing is written.
    """
    folder = service.contracts
    if folder is None:
        raise ContractError(f"{service.name} names no folder for its contracts: Service(contracts=Path(...))")
    wanted = [contract_of(service, event) for event in service.publishes]
    problems = [problem for contract in wanted for problem in _broken(folder, contract)]
    if problems:
        raise ContractError("nothing was written:\n" + "\n".join(map(str, problems)))
    written = []
    for contract in wanted:
        path = folder / contract.file_name
        text = _format(contract)
        if not path.exists() or path.read_text() != text:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
            written.append(path)
    return written


def check_contracts(service: Service) -> list[Problem]:
    """Hold the event classes of a service to its committed contracts.

    Returns:
        Every way in which a class breaks its contract, a missing or stale file, a file that nobody publishes any more.

    Raises:
        ContractError: A contract file cannot be read.
    """
    folder = service.contracts
    if folder is None:
        return (
            [Problem(service.name, "publishes events and names no folder for contracts")] if service.publishes else []
        )
    problems = []
    wanted = [contract_of(service, event) for event in service.publishes]
    for contract in wanted:
        path = folder / contract.file_name
        broken = _broken(folder, contract)
        if broken:
            problems += broken
        elif not path.exists():
            problems.append(Problem(str(path), "is missing; run `freehold events contracts write` and commit it"))
        elif path.read_text() != _format(contract):
            problems.append(
                Problem(str(path), "is behind its class; run `freehold events contracts write` and commit it")
            )
    newest = {contract.type: contract.schema for contract in wanted}
    for path, contract in _read_folder(folder):
        if contract.type not in newest:
            problems.append(Problem(str(path), f"{contract.type} is published no more; readers may still rely on it"))
        elif contract.schema > newest[contract.type]:
            text = f"{contract.type} is published with schema {newest[contract.type]}, behind this one"
            problems.append(Problem(str(path), text))
    return problems


def check_readers(system: System) -> list[Problem]:
    """Hold what each service reads of the others to the contracts that those have committed.

    Returns:
        Each field that a Replica or Listen needs and that the contract does not promise as it needs it.

    Raises:
        ContractError: A contract file cannot be read.
    """
    problems: list[Problem] = []
    for reader in system.services:
        for replica in reader.replicates:
            problems += _check_replica(reader, replica, _newest(system.service(replica.of)))
        for listen in reader.listens:
            problems += _check_listen(reader, listen, _newest(system.service(listen.of)))
    return problems


def _check_replica(reader: Service, replica: Replica, contracts: Sequence[Contract]) -> Iterator[Problem]:
    """A replica takes each type of its entity, so each must carry what it keeps."""
    subject = f"{reader.name}: Replica {replica.into} ({replica.state.__name__})"
    about = [contract for contract in contracts if contract.entity == replica.entity]
    if not any(not contract.erases for contract in about):
        yield Problem(subject, f"{replica.of} has no contract of an event about {replica.entity!r}")
    for contract in about:
        if not contract.erases:
            yield from _check_class(subject, replica.state, contract)


def _check_listen(reader: Service, listen: Listen, contracts: Sequence[Contract]) -> Iterator[Problem]:
    subject = f"{reader.name}: Listen {listen.event.__name__}"
    found = [contract for contract in contracts if contract.type == listen.type]
    if not found:
        yield Problem(subject, f"{listen.of} has no contract of {listen.type}")
    for contract in found:
        yield from _check_class(subject, listen.event, contract)


def _check_class(subject: str, cls: type[msgspec.Struct], contract: Contract) -> Iterator[Problem]:
    name = f"{contract.type} (schema {contract.schema})"
    number = getattr(cls, "__schema__", 1)
    if number != contract.schema:
        yield Problem(subject, f"reads schema {number}, but {contract.type} is published with schema {contract.schema}")
    form = form_of(cls)
    read = resolved(form, form)
    for field, needed in read.get("properties", {}).items():
        if field not in contract.fields:
            yield Problem(subject, f"needs {field!r}, which {name} does not have")
        elif field in read.get("required", ()) and field not in contract.required:
            yield Problem(subject, f"needs {field!r}, which {name} may lack; give the field a default")
        elif not _fits(contract.data, contract.fields[field], form, needed):
            yield Problem(subject, f"reads {field!r} as another type than {name} has")


def _broken(folder: Path, new: Contract) -> list[Problem]:
    """List how a class breaks the contract that is written for its type and schema number."""
    path = folder / new.file_name
    if not path.exists():
        return []
    old = _read(path)
    mend = f"publish it with schema={new.schema + 1} instead"
    return [Problem(str(path), f"{text}; {mend}") for text in _breaks(old, new)]


def _breaks(old: Contract, new: Contract) -> Iterator[str]:
    for name in ("type", "schema", "entity", "key", "erases"):
        if getattr(old, name) != getattr(new, name):
            yield f"its {name} was {getattr(old, name)!r} and would be {getattr(new, name)!r}"
    for field in sorted(old.fields.keys() - new.fields.keys()):
        yield f"the field {field!r} would be gone"
    for field in sorted(new.required - old.required):
        yield f"the field {field!r} would be required, and events without it are on the topic"
    for field in sorted((old.required & new.fields.keys()) - new.required):
        yield f"the field {field!r} would be optional, and readers rely on it"
    for field in sorted(old.fields.keys() & new.fields.keys()):
        was, would = old.fields[field], new.fields[field]
        if not _fits(new.data, would, old.data, was):
            yield f"the type of {field!r} would allow what readers cannot read"
        elif not _fits(old.data, was, new.data, would):
            yield f"the type of {field!r} would be narrower than that of events on the topic"


def _fits(written_whole: Any, written: Any, read_whole: Any, read: Any) -> bool:
    """Compare the forms of one field, each within the definitions of its whole."""
    return is_readable_as(
        {**written, "$defs": written_whole.get("$defs", {})}, {**read, "$defs": read_whole.get("$defs", {})}
    )


def _newest(service: Service) -> list[Contract]:
    newest: dict[str, Contract] = {}
    for _, contract in _read_folder(service.contracts) if service.contracts else ():
        if contract.type not in newest or newest[contract.type].schema < contract.schema:
            newest[contract.type] = contract
    return list(newest.values())


def _read_folder(folder: Path) -> Iterator[tuple[Path, Contract]]:
    for path in sorted(folder.glob("*.json")):
        yield path, _read(path)


def _read(path: Path) -> Contract:
    try:
        contract = msgspec.json.decode(path.read_bytes(), type=Contract)
    except (OSError, msgspec.DecodeError) as error:
        raise ContractError(f"{path} cannot be read as a contract: {error}; restore it from version control") from error
    if contract.file_name != path.name:
        raise ContractError(f"{path} holds the contract of {contract.file_name}; restore it from version control")
    return contract


def _format(contract: Contract) -> str:
    return msgspec.json.format(msgspec.json.encode(contract), indent=2).decode() + "\n"
