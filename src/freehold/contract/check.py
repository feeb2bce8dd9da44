"""Hold classes to committed contracts, readers to both, and all of them to every sample of what was ever published."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from freehold.contract.change import Break, breaks
from freehold.contract.contract import Contract, contract_of, format_file, read_contracts
from freehold.contract.problem import Problem, shown
from freehold.contract.reading import Reading, is_broken_by, readings_of
from freehold.contract.sample import Sample, make_content, read_samples
from freehold.errors import EventRejected
from freehold.service import Service, System
from freehold.upcast import Reader

RECORD = "run `freehold contracts record` and commit it"
RESTORE = "restore it from version control"


def check_contracts(system: System) -> list[Problem]:
    """Hold the events of a system to what was promised, and everybody who reads them to what they meet on the topics.

    Returns:
        Every way in which a class breaks its committed contract, and which readers it breaks; a file or sample that is
        missing or stale; what a reader needs and is not promised, or may not be able to read; a sample that a reader
        refuses. Empty: whatever was ever published is read by all who declared that they read it.

    Raises:
        ContractError: A contract or sample cannot be read, or a class needs an example for its sample.
    """
    readings = readings_of(system)
    problems: list[Problem] = []
    promised: list[Contract] = []
    samples: list[Sample] = []
    for service in system.services:
        owner = _Owner(service, readings)
        problems += owner.check()
        promised += owner.promised()
        samples += owner.samples
    for reading in readings:
        problems += _check_reading(reading, promised, samples)
    return problems


def _check_reading(reading: Reading, promised: Iterable[Contract], samples: Iterable[Sample]) -> Iterator[Problem]:
    contracts = [contract for contract in promised if reading.reads(contract)]
    if not contracts:
        what = f"{reading.declared.of} has no contract of what it reads"
        mend = "name an entity or a type that it publishes"
        yield Problem(kind="nothing-to-read", where=reading.where, what=what, mend=mend, breaks=(reading.where,))
    refused = set()
    for contract in contracts:
        found = list(reading.check(contract))
        if found:
            refused.add(contract.number)
        yield from found
    taken = {contract.number for contract in promised if reading.takes(contract)} - refused
    for sample in samples:
        if sample.number in taken:
            yield from reading.decode(sample)


class _Owner:
    """One service's classes beside its committed contracts and samples."""

    def __init__(self, service: Service, readings: Iterable[Reading]) -> None:
        self._service = service
        self._readings = [reading for reading in readings if reading.declared.of == service.name]
        self._classes = {contract_of(service, event).number: event for event in service.publishes}
        self._now = {number: contract_of(service, event) for number, event in self._classes.items()}
        self._folder = service.contracts
        files = list(read_contracts(self._folder)) if self._folder else []
        self._files: dict[tuple[str, int], Path] = {contract.number: path for path, contract in files}
        self._kept: dict[tuple[str, int], Contract] = {contract.number: contract for _, contract in files}
        self.samples = list(read_samples(self._folder)) if self._folder else []

    def promised(self) -> list[Contract]:
        """Give each contract that events on the topic keep, or are about to."""
        new = {
            number: contract
            for number, contract in self._now.items()
            if number not in self._kept or not breaks(self._kept[number], contract)
        }
        return list((self._kept | new).values())

    def check(self) -> Iterator[Problem]:
        """Hold the classes to the committed contracts and samples, and these to one another."""
        if self._folder is None:
            if self._classes:
                what = "publishes events and names no folder for contracts"
                yield Problem(
                    kind="no-folder", where=self._service.name, what=what, mend="Service(contracts=Path(...))"
                )
            return
        for number, contract in self._now.items():
            broken = breaks(self._kept[number], contract) if number in self._kept else []
            for each in broken:
                yield self._broken(each, contract)
            if not broken:
                yield from self._recorded(contract)
        yield from self._abandoned()
        yield from self._unsampled()

    def _broken(self, each: Break, contract: Contract) -> Problem:
        """Say how a class breaks its contract, and which readers of this system cannot read what it is now."""
        kept = self._kept[contract.number]
        readers = [reading for reading in self._readings if reading.takes(kept)]
        met = [reading.where for reading in readers if each.is_of_all or is_broken_by(reading, contract)]
        new = contract.schema + 1
        mend = f"publish it with schema={new} instead, when its readers have an upcast of schema {contract.schema}"
        where = shown(self._files[contract.number])
        return Problem(kind=each.kind, where=where, what=each.what, mend=mend, breaks=tuple(met))

    def _recorded(self, contract: Contract) -> Iterator[Problem]:
        """Hold contract and sample of a class to what they would be, written now."""
        assert self._folder is not None
        path = self._folder / contract.file_name
        if contract.number not in self._kept:
            yield Problem(kind="contract-missing", where=shown(path), what="is missing", mend=RECORD)
            return
        if path.read_bytes() != format_file(contract).encode():
            yield Problem(kind="contract-stale", where=shown(path), what="is behind its class", mend=RECORD)
        event = self._classes[contract.number]
        data = make_content(self._service, event).data.encode()
        own = [sample for sample in self.samples if sample.number == contract.number]
        if own and all(sample.data != data for sample in own):
            what = f"{event.__name__} has changed since its last sample"
            yield Problem(kind="sample-stale", where=shown(own[-1].path), what=what, mend=RECORD)
        for sample in own:
            try:
                Reader(event).read(sample.data, contract.schema)
            except EventRejected as error:
                yield Problem(kind="sample-refused", where=shown(sample.path), what=str(error), mend=RESTORE)

    def _abandoned(self) -> Iterator[Problem]:
        """Find contracts that no class has any more, and numbers that were left out."""
        newest: dict[str, int] = {}
        for kind, schema in self._now:
            newest[kind] = max(schema, newest.get(kind, 0))
        for number, path in self._files.items():
            kind, schema = number
            if kind not in newest:
                readers = tuple(reading.where for reading in self._readings if reading.takes(self._kept[number]))
                what = f"{kind} is published no more, and what was published of it may be on the topic"
                mend = "publish it again, or delete the file and its samples when nobody can meet such an event"
                yield Problem(kind="event-removed", where=shown(path), what=what, mend=mend, breaks=readers)
            elif schema > newest[kind]:
                what = f"{kind} is published with schema {newest[kind]}, behind this one"
                mend = f"publish it with schema={schema} or a greater one"
                yield Problem(kind="schema-behind", where=shown(path), what=what, mend=mend)
        for kind, last in newest.items():
            for schema in range(1, last):
                if (kind, schema) not in self._kept:
                    where = shown(Path(self._folder or "") / f"{kind.rpartition('.')[2]}.{schema}.json")
                    what = f"is missing, and {kind} is published with schema {last}; numbers count from 1"
                    yield Problem(kind="contract-gone", where=where, what=what, mend=RESTORE)

    def _unsampled(self) -> Iterator[Problem]:
        """Find contracts without a sample, and samples without a contract."""
        sampled = {sample.number for sample in self.samples}
        for number, path in self._files.items():
            if number not in sampled:
                mend = RECORD if number in self._now else RESTORE
                yield Problem(kind="sample-missing", where=shown(path), what="has no sample", mend=mend)
        for sample in self.samples:
            if sample.number not in self._kept and sample.number not in self._now:
                what = "is a sample of an event that has no contract"
                yield Problem(kind="contract-gone", where=shown(sample.path), what=what, mend=RESTORE)
