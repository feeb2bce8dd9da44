"""Write the contract and the sample of each form that a service publishes; what is written already may only grow."""

from __future__ import annotations

from pathlib import Path

from freehold.contract.change import breaks
from freehold.contract.contract import contract_of, format_file, read_contract
from freehold.contract.problem import shown
from freehold.contract.sample import make_content, read_samples, write_sample
from freehold.errors import ContractError
from freehold.service import Service


def record_contracts(service: Service) -> list[Path]:
    """Write the contract file of each event that the service publishes, and a sample of each form that has none.

    Returns:
        The files that are new or changed. Samples are never changed.

    Raises:
        ContractError: The service names no folder, a class breaks its written contract, a file cannot be read, or a class
            needs an example; nothing is written.
    """
    folder = service.contracts
    if folder is None:
        raise ContractError(f"{service.name} names no folder for its contracts: Service(contracts=Path(...))")
    wanted = [contract_of(service, event) for event in service.publishes]
    broken = [
        f"{shown(path)}: {each.what}; publish it with schema={contract.schema + 1} instead"
        for contract in wanted
        if (path := folder / contract.file_name).exists()
        for each in breaks(read_contract(path), contract)
    ]
    if broken:
        raise ContractError("nothing was written:\n" + "\n".join(broken))
    samples = [make_content(service, event) for event in service.publishes]
    known = {(sample.number, sample.data) for sample in read_samples(folder)}
    written = []
    for contract, sample in zip(wanted, samples, strict=True):
        path, text = folder / contract.file_name, format_file(contract)
        if not path.exists() or path.read_bytes() != text.encode():
            folder.mkdir(parents=True, exist_ok=True)
            path.write_bytes(text.encode())
            written.append(path)
        if (contract.number, sample.data.encode()) not in known:
            written.append(write_sample(folder, path.stem, sample))
    return written
