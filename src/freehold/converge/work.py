"""What is kept of a rebuild, so that it can be killed anywhere and run again: pure values.

    building -> comparing -> switching -> embedding -> done
        ^           | not equal: differs, and stays beside
        |___________| run again

Every run has a number; the copies that it builds carry it in their name (`customers__next_7`). A later run takes them
over by renaming them, so what an earlier one, stopped for a while, does then goes nowhere.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import replace

import msgspec

from freehold.errors import RebuildError
from freehold.service import Replica

# PostgreSQL cuts names off after 63 bytes; "__next_" and a run's number must fit behind.
NAME_BYTES_MAX = 44


class Stage(enum.StrEnum):
    """How far a rebuild is."""

    NONE = "none"
    BUILDING = "building"
    COMPARING = "comparing"
    DIFFERS = "differs"
    SWITCHING = "switching"
    EMBEDDING = "embedding"
    DONE = "done"


class Method(enum.StrEnum):
    """What a copy is built from."""

    TOPIC = "topic"
    OWNER = "owner"
    PREVIOUS = "previous"


class Previous(msgspec.Struct, frozen=True, kw_only=True):
    """Up to where the copy that was replaced had come."""

    topic_id: str
    positions: dict[int, int]


class Work(msgspec.Struct, kw_only=True):
    """The rebuild of a source's copies.

    Attributes:
        source: The owner's name.
        run: Which run of the command it is; raised by each.
        stage: How far it is.
        replicas: Tables or collections that are rebuilt.
        method: What from.
        topic_id: The topic that `positions` point into.
        positions: By partition, the next record to apply to what is built.
        cursors: By replica, where the scan of the owner goes on; absent before its first part.
        scanned: Replicas whose owner was scanned to the end.
        rows: States that were applied.
        previous: By replica, what was kept of the copy that was replaced.
        made_anew: The topic that took the place of one that copies were made of: it lacks what was said before.
    """

    source: str
    run: int = 0
    stage: Stage = Stage.NONE
    replicas: list[str] = []
    method: Method = Method.TOPIC
    topic_id: str = ""
    positions: dict[int, int] = {}
    cursors: dict[str, str] = {}
    scanned: list[str] = []
    rows: int = 0
    previous: dict[str, Previous] = {}
    made_anew: str = ""

    def can_go_on(self, replicas: list[str], method: Method | None, topic_id: str) -> bool:
        """Say whether what an earlier run has built is what is wanted now."""
        # What was found to differ is built anew; only a copy of before cannot be had again.
        stages = {Stage.BUILDING, Stage.COMPARING} | ({Stage.DIFFERS} if self.method is Method.PREVIOUS else set())
        return (
            self.stage in stages
            and set(self.replicas) == set(replicas)
            and (method or (Method.TOPIC if self.method is Method.PREVIOUS else self.method)) == self.method
            and self.topic_id == topic_id
        )


def next_name(into: str, run: int) -> str:
    """Name the copy that a run builds beside the serving one."""
    return f"{into}__next_{run}"


def previous_name(into: str) -> str:
    """Name the copy that was replaced."""
    return f"{into}__previous"


def run_of(name: str, into: str) -> int | None:
    """Give the run that built the copy of that name; None when it is none of this replica's."""
    number = name.removeprefix(f"{into}__next_")
    return int(number) if number != name and number.isascii() and number.isdigit() else None


def beside(replica: Replica, run: int) -> Replica:
    """Declare the copy that a run builds: the same facts beside the serving ones, embedded nowhere.

    Raises:
        RebuildError: Its name would be too long.
    """
    if len(replica.into.encode()) > NAME_BYTES_MAX:
        raise RebuildError(
            f"{replica.into} is too long a name to build another copy beside it; give the replica one of at most "
            f"{NAME_BYTES_MAX} bytes"
        )
    return replace(replica, into=next_name(replica.into, run), embedded_in={})


def choose_method(known_topics: set[str], topic_id: str, starts: Mapping[int, int], made_anew: str = "") -> Method:
    """Choose what to build from: the topic if it has all entities, else the owner.

    Args:
        known_topics: For which the subscriber has positions.
        topic_id: The topic that there is now.
        starts: By partition, the first offset that it still has. Compaction alone never moves it, and keeps the newest
            event of every entity.
        made_anew: The topic of which an earlier run found that it was made anew.
    """
    # A topic made anew does not hold what happened before; neither does one that events were deleted from.
    has_all = known_topics <= {topic_id} and topic_id != made_anew and not any(starts.values())
    return Method.TOPIC if has_all else Method.OWNER


def positions_anew(
    kept: Mapping[int, int], extents: Mapping[int, tuple[int, int]], *, is_same_topic: bool
) -> dict[int, int] | None:
    """Say where the subscriber goes on when its positions are not in the log any more; None when all of them are.

    Where the log begins: what the rebuilt copies hold already is repeated without effect, and a handler misses nothing.
    """
    is_lost = any(not start <= kept.get(partition, start) <= end for partition, (start, end) in extents.items())
    if is_same_topic and not is_lost:
        return None
    return {partition: start for partition, (start, _) in extents.items()}


def lag(positions: Mapping[int, int], ends: Mapping[int, int]) -> int:
    """Count the offsets that are still to be read."""
    return sum(max(0, end - positions.get(partition, 0)) for partition, end in ends.items())
