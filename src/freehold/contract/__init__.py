"""What readers were promised: a committed file for each form of an event, a sample of it, and the check that holds them.

`users/contracts/UserUpdated.1.json` says what an event of that type and schema number holds. Events stay on the topic for
ever (the newest per entity), and readers are deployed when they like; so under one number a form may only change in ways
that leave both right: old readers with new events, and new readers with old events. That leaves adding an optional field.
Whatever else changes is a new schema number, with a file of its own beside the old one, and with an upcast in its readers.

`users/contracts/samples/UserUpdated.1.json` is one such event as it lies on the topic. Samples are never written over: all
that was ever published is decoded, as a subscriber does it, each time the contracts are checked (decision 18).

- `contract`: the promise, and its file.            - `fill`, `sample`: one event of a class, and its file.
- `form`: whether one form can be read as another.  - `reading`: what a subscriber needs of a contract.
- `change`: how a class breaks its contract.        - `record`, `check`: write what is new; hold everything to everything.
"""

from freehold.contract.check import check_contracts
from freehold.contract.contract import Contract, contract_of
from freehold.contract.problem import Problem
from freehold.contract.record import record_contracts

__all__ = ["Contract", "Problem", "check_contracts", "contract_of", "record_contracts"]
