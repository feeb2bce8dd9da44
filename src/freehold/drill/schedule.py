"""What happens next in a drill: chosen by the seed and by nothing else but what is possible at that moment."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Collection, Sequence

from freehold.drill.workload import Workload
from freehold.errors import ConfigurationError
from freehold.runtime.supervisor.plan import part_name, parts_of
from freehold.service import System

ACTIONS = (
    "kill",
    "stop",
    "zombie",
    "repeat",
    "clock",
    "poison",
    "tamper",
    "drop slot",
    "replace slot",
    "forget",
    "renew",
)
# How often each is chosen. What is up again within a second or two is killed more often than a server.
PROCESS_WEIGHT, SERVER_WEIGHT = 8.0, 2.0
STOP_SHARE = 0.25
ZOMBIE_WEIGHT = 0.6
LOG_WEIGHT = 1.0
REPEAT_WEIGHT = 1.5
POISON_WEIGHT = 3.0
CLOCK_WEIGHT = 1.0
TAMPER_WEIGHT = 1.0
# It holds MongoDB up for seconds.
FORGET_WEIGHT = 0.4
# It waits for a rest; readers are what it is about.
RENEW_WEIGHT, RENEW_UNREAD_WEIGHT = 1.5, 0.2
# Most stops are short hiccups; some outlast a consumer's session or a relay's lease (6 s), when another may take over.
STOP_S = (0.2, 3.0)
LONG_STOP_S = (7.0, 10.0)
LONG_STOP_SHARE = 0.2
GAP_S_MAX = 0.6
# So many faults are open at once, and so many of those on servers, on which everybody depends.
OPEN_MAX = 6
OPEN_SERVERS_MAX = 2
# A victim may be killed again in the midst of its recovery.
AGAIN_SHARE = 0.1


@dataclasses.dataclass(frozen=True)
class Choice:
    """One fault to begin: what is done, to whom, and for how long where that matters."""

    action: str
    victim: str
    seconds: float = 0.0


class Schedule:
    """Chooses faults. The same seed gives the same choices as long as the same is possible.

    Args:
        workload: Whose processes are the victims.
        servers: The servers' names.
        seed: What decides.
        only: The actions that are chosen from; all when empty.
        victims: The processes that are chosen from; all when empty.

    Raises:
        ConfigurationError: Nothing is left to choose from.
    """

    def __init__(
        self,
        workload: Workload,
        servers: Sequence[str],
        *,
        seed: int,
        only: Collection[str] = (),
        victims: Collection[str] = (),
    ) -> None:
        self._seed = seed
        self._servers = set(servers)
        self._number = 0
        weights = _weigh(workload.system, servers, [each.service for each in workload.poisons])
        self._weights = {
            (action, victim): weight
            for (action, victim), weight in weights.items()
            if action in (only or ACTIONS) and (not victims or victim in victims)
        }
        if not self._weights:
            known = ", ".join(sorted({f"{action} {victim}" for action, victim in weights}))
            raise ConfigurationError(f"no such fault can be done to {workload.system.name}; there is: {known}")

    def gap_s(self) -> float:
        """Say how long to wait before the next fault."""
        return self._chance("gap").random() * GAP_S_MAX

    def next(self, busy: Collection[str]) -> Choice | None:
        """Choose the next fault.

        Args:
            busy: The victims of the faults that are open.

        Returns:
            None when none is possible now; the choice is then made anew at the next call.
        """
        chance = self._chance("fault")
        self._number += 1
        if len(busy) >= OPEN_MAX:
            return None
        is_again = chance.random() < AGAIN_SHARE
        are_servers_full = len(self._servers & set(busy)) >= OPEN_SERVERS_MAX
        possible = {
            (action, victim): weight
            for (action, victim), weight in self._weights.items()
            if (victim not in busy or (is_again and action == "kill"))
            and not (are_servers_full and victim in self._servers)
        }
        if not possible:
            return None
        [(action, victim)] = chance.choices(list(possible), weights=list(possible.values()))
        bounds = LONG_STOP_S if chance.random() < LONG_STOP_SHARE else STOP_S
        return Choice(action, victim, chance.uniform(*bounds))

    def _chance(self, what: str) -> random.Random:
        return random.Random(f"{self._seed}/{what}/{self._number}")  # noqa: S311 - the same again is the point


def _weigh(system: System, servers: Sequence[str], poisoned: Collection[str]) -> dict[tuple[str, str], float]:
    processes = [service.name for service in system.services]
    processes += [part_name(service.name, part) for service in system.services for part in parts_of(service)]
    if system.gateway is not None:
        processes.append(system.gateway.name)
    weights = {("kill", name): PROCESS_WEIGHT for name in processes} | {
        ("kill", name): SERVER_WEIGHT for name in servers
    }
    weights |= {("stop", name): weight * STOP_SHARE for (_, name), weight in weights.items()}
    weights |= {
        ("zombie", part_name(service.name, "consumers")): ZOMBIE_WEIGHT
        for service in system.services
        if service.sources()
    }
    weights |= {("poison", f"{name} handlers"): POISON_WEIGHT for name in poisoned}
    weights |= {
        ("clock", f"{each.name} clock"): CLOCK_WEIGHT for each in system.services if each.owns and not each.listens
    }
    for service in system.services:
        if service.replicates:
            weights["tamper", f"{service.name} copies"] = TAMPER_WEIGHT
        if service.publishes:
            is_read = any(service.name in each.sources() for each in system.services)
            weights["renew", f"{service.name} topic"] = RENEW_WEIGHT if is_read else RENEW_UNREAD_WEIGHT
        relay = part_name(service.name, "relay")
        if service.publishes:
            weights["repeat", relay] = REPEAT_WEIGHT
        if service.publishes and service.store.kind == "postgres":
            weights |= {("drop slot", relay): LOG_WEIGHT, ("replace slot", relay): LOG_WEIGHT}
        if service.publishes and service.store.kind == "mongo":
            weights["forget", relay] = FORGET_WEIGHT
    return weights
