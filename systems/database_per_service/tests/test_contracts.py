"""Whatever users and orders have ever published is on record, and is read by all who declare that they read it."""

from pathlib import Path

from freehold.contract import check_contracts
from freehold.contract.sample import read_samples
from systems.database_per_service.system import system

CONTRACTS = [service.contracts for service in system.services if service.contracts is not None]


def test_every_event_that_was_ever_published_is_read() -> None:
    assert check_contracts(system) == []


def test_each_contract_has_its_sample() -> None:
    contracts = {(folder, file.name) for folder in CONTRACTS for file in folder.glob("*.json")}
    samples = {(folder, Path(sample.path).name) for folder in CONTRACTS for sample in read_samples(folder)}

    assert contracts
    assert contracts - samples == set()
