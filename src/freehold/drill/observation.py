"""Look at the running system from outside: rows, topics from their beginning, copies, handlers' effects, what waits."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Collection, Mapping
from typing import Self

from freehold.drill.compare import compare, compare_erased
from freehold.drill.holdings import Holdings, Unreadable, open_holdings
from freehold.drill.observed import Action, Difference, Handled, Kept, Owned, Row, Write
from freehold.drill.stage import Stage
from freehold.drill.tail import Past, Tail
from freehold.drill.waiting import wait_until
from freehold.drill.workload import Effects, Workload
from freehold.drill.writes import WriteLedger
from freehold.errors import DrillError
from freehold.service import Replica, Service

OBSERVE_TIMES_MAX = 10
# Of the values that must be gone so many of the latest and so many others are searched for in everything that is kept.
ERASED_LATEST, ERASED_OTHERS = 50, 50


class Observer:
    """Sees what a system holds, by clients of its own. For one thread.

    Args:
        stage: The running system; its addresses must stay what they are.
        workload: What is compared.
        past: What topics had before they were made anew.
    """

    def __init__(self, stage: Stage, workload: Workload, past: Past | None = None) -> None:
        self._workload = workload
        self.owners = workload.owners()
        self._services: dict[str, Service] = {service.name: service for service in workload.system.services}
        self._holdings: dict[str, Holdings] = {
            name: open_holdings(service, stage.store_url(name)) for name, service in self._services.items()
        }
        self.publishers = [service.name for service in workload.system.services if service.publishes]
        self.tail = Tail(stage.kafka_config(), self.publishers, past)

    def __enter__(self) -> Self:
        self.tail.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.tail.__exit__()
        for holdings in self._holdings.values():
            holdings.close()

    def replicas(self, entity: str) -> list[tuple[Service, Replica]]:
        """Give who keeps copies of a kind of entity."""
        return [
            (service, replica)
            for service in self._services.values()
            for replica in service.replicates
            if replica.entity == entity
        ]

    def effects(self, entity: str) -> list[Effects]:
        """Give what handlers leave behind of a kind of entity."""
        return [each for each in self._workload.effects if each.entity == entity]

    def copied(self, service: str, replica: Replica, ids: Collection[str]) -> dict[str, int]:
        """Give the version of each of these that a replica has; none while its store does not answer."""
        try:
            return self._holdings[service].versions(replica, ids)
        except Unreadable:
            return {}

    def handled(self, effects: Effects, ids: Collection[str]) -> dict[str, int]:
        """Count the events of each of these that a handler has handled; none while its store does not answer."""
        try:
            return self._holdings[effects.service].trace_counts(effects, ids)
        except Unreadable:
            return {}

    def kept(self, service: str, replica: Replica) -> Kept:
        """Give all copies that a service keeps of a replica; raises `Unreadable` while its store does not answer."""
        return dataclasses.replace(self._holdings[service].kept(replica), where=f"{service}/{replica.into}")

    def behind(self, service: str, source: str, ends: Mapping[int, int]) -> int:
        """Count the events of a topic before these ends that a service has not applied; all while its store does not answer."""
        try:
            applied = self._holdings[service].positions(source)
        except Unreadable:
            applied = {}
        return sum(max(0, end - applied.get(partition, 0)) for partition, end in ends.items())

    def waiting(self, service: str) -> set[tuple[str, int, int]]:
        """Give what waits in a service's outbox, by place."""
        return self._holdings[service].waiting()

    def parked(self, service: str) -> int | None:
        """Count what a service has parked; None while its store does not answer."""
        try:
            return self._holdings[service].parked()
        except Unreadable:
            return None

    def unsettled(self) -> str:
        """Say what is still on its way: what waits in an outbox, is not seen on its topic, and what is not applied."""
        words = []
        try:
            for name in self.publishers:
                rows = len(self.waiting(name))
                words += [f"{rows} rows wait in the outbox of {name}"] if rows else []
            ends = {name: self.tail.ends(name) for name in self.publishers}
            for name, service in self._services.items():
                for source in service.sources():
                    applied = self._holdings[name].positions(source)
                    behind = sum(end - applied.get(partition, 0) for partition, end in ends[source].items())
                    words += [f"{name} is {behind} events behind {source}"] if behind else []
                parked = self._holdings[name].parked() if service.sources() else 0
                words += [f"{parked} events are parked in {name}"] if parked else []
            unread = sum(self.tail.unread(name, ends[name]) for name in self.publishers)
        except Unreadable as error:
            return f"a server does not answer: {error}"
        if unread:
            words.append(f"{unread} records are not read here yet")
        return ", ".join(words)

    def wait_until_settled(self, limit_s: float) -> float:
        """Wait until nothing is on its way any more; gives the moment."""
        return wait_until("nothing is on its way", self.unsettled, limit_s)

    def differences(self, ledger: WriteLedger) -> list[Difference]:
        """Compare everything that clients were told with everything that is there.

        Raises:
            DrillError: The system did not come to rest, or does not answer.
        """
        try:
            owned = self._at_rest()
            kept = {entity: self._kept(entity) for entity in self.owners if self.replicas(entity)}
            found = compare(ledger.writes, owned, kept, [self._traces(each) for each in self._workload.effects])
            return found + self._surviving(ledger.writes, {each.entity: each.rows for each in owned})
        except Unreadable as error:
            raise DrillError(f"a server does not answer, so nothing can be compared: {error}") from error

    def content(self) -> dict[str, bytes]:
        """Give the bytes of all that the services keep, by service and table."""
        return {
            f"{name}/{place}": content
            for name, holdings in self._holdings.items()
            for place, content in holdings.content().items()
        }

    def kept_of(self, entity: str, entity_id: str) -> list[str]:
        """Say in words what is kept of one entity: its row, its copies, and what handlers left behind."""
        lines = []
        try:
            lines += [f"  row: {self._rows()[entity].get(entity_id, 'none')}"]
            for kept in self._kept(entity):
                copies = [copy for copy in [*kept.replica, *kept.embedded] if copy.entity_id == entity_id]
                lines += [f"  kept by {kept.where}: {copy!r}" for copy in copies]
            for effects in self.effects(entity):
                lines.append(f"  handled by {effects.service}: {self._traces(effects).traces.get(entity_id, [])}")
        except Unreadable as error:
            lines.append(f"  the rest cannot be read: {error}")
        return lines

    def _at_rest(self) -> list[Owned]:
        """Read all rows and records, again if they were not at rest meanwhile."""
        for _ in range(OBSERVE_TIMES_MAX):
            before = self._rows()
            owned = [
                Owned(entity, before[entity], self.tail.records(service.name, entity))
                for entity, (service, _) in self.owners.items()
            ]
            if not self.unsettled() and before == self._rows():
                return owned
        raise DrillError(f"the system did not come to rest: {self.unsettled() or 'rows still change'}")

    def _rows(self) -> dict[str, Mapping[str, Row]]:
        return {name: self._holdings[service.name].rows(entity) for name, (service, entity) in self.owners.items()}

    def _kept(self, entity: str) -> list[Kept]:
        return [self.kept(service.name, replica) for service, replica in self.replicas(entity)]

    def _traces(self, effects: Effects) -> Handled:
        traces = self._holdings[effects.service].traces(effects)
        return Handled(f"{effects.service}/{effects.rows}", effects.entity, traces, effects.trace)

    def _surviving(self, writes: list[Write], rows: Mapping[str, Mapping[str, Row]]) -> list[Difference]:
        erased = [value for entity in rows for value in self._personal(writes, entity, rows[entity])]
        others = erased[:-ERASED_LATEST]
        # Which ones is no matter of the seed: more comparisons see more of them.
        chosen = erased[-ERASED_LATEST:] + random.sample(others, min(len(others), ERASED_OTHERS))
        return list(compare_erased(chosen, self.content())) if chosen else []

    def _personal(self, writes: list[Write], entity: str, rows: Mapping[str, Row]) -> list[str]:
        """Give every value that was ever asked for an entity that is gone, if its end erases."""
        if self.owners[entity][1].gone is None:
            return []
        deleted = {row.entity_id for row in rows.values() if row.deleted}
        asked = [
            write.asked
            for write in writes
            if write.entity == entity and write.entity_id in deleted and write.action is not Action.DELETE
        ]
        return [value for fields in asked for value in fields.values() if isinstance(value, str)]
