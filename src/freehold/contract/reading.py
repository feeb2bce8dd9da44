"""What a subscriber reads of another service's events, held to contracts and samples."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import msgspec

from freehold.consumer.batch import Subscription
from freehold.contract.contract import Contract
from freehold.contract.form import form_of, is_field_readable_as, resolved
from freehold.contract.problem import Problem, shown
from freehold.contract.sample import Sample
from freehold.errors import EventRejected
from freehold.service import Listen, Replica, Service, System
from freehold.upcast import schema_of, upcasts_of


@dataclasses.dataclass(frozen=True)
class Reading:
    """One replica or one handler of one service."""

    service: Service
    declared: Replica | Listen

    @property
    def where(self) -> str:
        """Name it: "orders: Replica customers (Customer)"."""
        if isinstance(self.declared, Replica):
            return f"{self.service.name}: Replica {self.declared.into} ({self.cls.__name__})"
        return f"{self.service.name}: Listen {self.cls.__name__}"

    @property
    def cls(self) -> type[msgspec.Struct]:
        """The class that it reads events as."""
        return self.declared.state if isinstance(self.declared, Replica) else self.declared.event

    def takes(self, contract: Contract) -> bool:
        """Say whether events of the contract reach it; a replica takes every type of its entity."""
        if isinstance(self.declared, Replica):
            return contract.type.startswith(f"{self.declared.of}.") and contract.entity == self.declared.entity
        return contract.type == self.declared.type

    def reads(self, contract: Contract) -> bool:
        """Say whether it reads the data of such events; a copy that is erased reads nothing."""
        return self.takes(contract) and not (contract.erases and isinstance(self.declared, Replica))

    def check(self, contract: Contract) -> Iterator[Problem]:
        """Hold it to one contract that it reads."""
        name, number, cls = contract.name, schema_of(self.cls), self.cls.__name__
        if contract.schema == number:
            for kind, what, mend in _lacking(self.cls, contract):
                yield Problem(kind=kind, where=self.where, what=what, mend=mend, breaks=(self.where,))
        elif contract.schema > number:
            yield Problem(
                kind="schema-unknown",
                where=self.where,
                what=f"reads schema {number}, but {contract.type} is published with schema {contract.schema}",
                mend=f"let {cls} read schema {contract.schema}, with an upcast of each older number; run it before the owner "
                f"publishes",
                breaks=(self.where,),
            )
        elif contract.schema not in upcasts_of(self.cls):
            yield Problem(
                kind="upcast-missing",
                where=self.where,
                what=f"reads schema {number} and has no upcast for {name}, which is on the topic",
                mend=f"give {cls} upcasts that begin with {contract.schema}",
                breaks=(self.where,),
            )

    def decode(self, sample: Sample) -> Iterator[Problem]:
        """Read a sample as the running subscriber does, twice, since an upcast must say the same each time."""
        subscription = Subscription(self._alone(), self.declared.of)
        where = f"{self.where} reading {shown(sample.path)}"
        try:
            found, again = subscription.read(sample.record), subscription.read(sample.record)
        except EventRejected as error:
            reason = str(error).partition("cannot be applied: ")[2] or str(error)
            mend = f"mend {self.cls.__name__} or its upcasts: such events are on the topic"
            yield Problem(kind="sample-refused", where=where, what=reason, mend=mend, breaks=(self.where,))
            return
        if found != again:
            what = "gives something else each time"
            yield Problem(kind="upcast-impure", where=where, what=what, mend="let its upcasts use the data alone")

    def _alone(self) -> Service:
        """Give the service with this one subscription, so that what refuses a sample is known by name."""
        service, declared = self.service, self.declared
        if isinstance(declared, Replica):
            return Service(name=service.name, store=None, app=service.app, replicates=[declared])
        return Service(name=service.name, store=None, app=service.app, listens=[declared])


def readings_of(system: System) -> list[Reading]:
    """List every replica and handler of a system."""
    return [
        *(Reading(service, replica) for service in system.services for replica in service.replicates),
        *(Reading(service, listen) for service in system.services for listen in service.listens),
    ]


def is_broken_by(reading: Reading, contract: Contract) -> bool:
    """Say whether a reader that read the contract's number could not read what its class is now."""
    return schema_of(reading.cls) == contract.schema and any(True for _ in _lacking(reading.cls, contract))


def _lacking(cls: type[msgspec.Struct], contract: Contract) -> Iterator[tuple[str, str, str]]:
    """Give what a class needs and the contract of its number does not promise: kind, what, mend."""
    form = form_of(cls)
    read = resolved(form, form)
    for field, needed in read.get("properties", {}).items():
        if field not in contract.fields:
            mend = f"leave the field out, or let {contract.type.partition('.')[0]} publish it first"
            yield "field-unpromised", f"needs {field!r}, which {contract.name} does not have", mend
        elif field in read.get("required", ()) and field not in contract.required:
            what = f"needs {field!r}, which {contract.name} may lack"
            yield "field-may-lack", what, "give the field a default"
        elif not is_field_readable_as(contract.data, contract.fields[field], form, needed):
            what = f"reads {field!r} as another type than {contract.name} has"
            yield "type-differs", what, "give the field the type of the contract, or a wider one"
