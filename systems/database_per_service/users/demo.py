"""Demo users: the same 10,000 every time, written through the service's own functions."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

from systems.database_per_service.cast import USER_COUNT, user_id
from systems.database_per_service.users import users
from systems.database_per_service.users.person import Change
from systems.database_per_service.users.store import store

# One transaction and one commit for so many users: enough that round trips do not count, few enough to lose at a stop.
CHUNK_USERS = 500
_SEED = 20_250_102

# fmt: off
_GIVEN = (
    "Ada", "Alan", "Barbara", "Carl", "Chiara", "Dieter", "Edsger", "Emmy", "Farid", "Grace", "Hedy", "Ines",
    "Ivan", "Jun", "Kaito", "Lena", "Leslie", "Lin", "Mei", "Nadia", "Niklaus", "Noor", "Olga", "Pablo", "Radia",
    "Rosa", "Samira", "Sofia", "Tariq", "Yara",
)
_FAMILY = (
    "Allen", "Bauer", "Castro", "Dijkstra", "Eriksen", "Fischer", "Garcia", "Haddad", "Ito", "Jensen", "Kaya",
    "Lovelace", "Moreau", "Noether", "Okafor", "Perlman", "Quispe", "Rossi", "Sato", "Turing", "Ueda", "Varga",
    "Weber", "Xu", "Yilmaz", "Zhang",
)
# fmt: on


async def write_demo(progress: Callable[[int, int], None]) -> None:
    """Write the demo users; what an interrupted run has written is not written again."""
    people = list(demo_people())
    for start in range(0, len(people), CHUNK_USERS):
        await store.transact(users.create, people[start : start + CHUNK_USERS])
        progress(min(start + CHUNK_USERS, USER_COUNT), USER_COUNT)


def demo_people() -> Iterator[tuple[str, Change]]:
    """Give the demo users with their ids; every run gives the same."""
    chance = random.Random(_SEED)  # noqa: S311 - the same every time is the point
    for number in range(USER_COUNT):
        given, family = chance.choice(_GIVEN), chance.choice(_FAMILY)
        email = f"{given}.{family}.{number + 1}@example.org".lower()
        yield user_id(number), Change(name=f"{given} {family}", email=email)
