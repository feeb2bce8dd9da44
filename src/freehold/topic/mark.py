"""Keep compaction going where nothing else is written: a mark on each partition that has been quiet for a while.

Kafka compacts what lies in closed segments, and closes one only when something is appended to it. So on a partition that
fell silent after an erasure, what was said of the person before would stay for ever, whatever the topic's settings promise.
A mark is a CloudEvent of its owner about no entity of anybody's: a reader skips it by its declarations. It always has the same
key for the same partition, so compaction leaves one of them (decision 4).
"""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime

from freehold.event import Envelope, Place
from freehold.topic.admin import Topics
from freehold.topic.cloudevents import SOURCE_PREFIX, encode_headers
from freehold.topic.partition import partition_of

# No class can have a name with a dot, so no reader can ask for it.
TYPE = "freehold.Mark"
ENTITY = "freehold.mark"
DATA = b"{}"
# A partition is marked when it was quiet for this share of the time until it must be compacted: so much later it may be.
SHARE = 1 / 8
QUIET_S_MIN = 1.0
# A process that never runs for long looks, too.
FIRST_LOOK_S_MAX = 30.0

Mark = tuple[str, list[tuple[str, bytes]]]


class Marks:
    """The marks of one topic, made by one thread."""

    def __init__(self, topics: Topics, topic: str, owner: str, compacted_after_ms: int) -> None:
        self._topics = topics
        self._topic = topic
        self._owner = owner
        self._quiet_s = max(QUIET_S_MIN, compacted_after_ms / 1_000 * SHARE)
        self._look_at = time.monotonic() + min(self._quiet_s, FIRST_LOOK_S_MAX)

    def due(self) -> list[Mark]:
        """Make the marks that are due: key and headers of each, for a record with DATA; most times there are none.

        Raises:
            TopicUnavailable: Kafka does not answer.
        """
        if time.monotonic() < self._look_at:
            return []
        self._look_at = time.monotonic() + self._quiet_s / 2
        now_ms = int(time.time() * 1_000)
        count = self._topics.identify(self._topic).partition_count
        newest = self._topics.newest_at(self._topic, range(count))
        quiet = [number for number, at in newest.items() if 0 <= at <= now_ms - self._quiet_s * 1_000]
        return [make_mark(self._owner, number, count, now_ms) for number in quiet]


def make_mark(owner: str, partition: int, partition_count: int, now_ms: int) -> Mark:
    """Make the mark of a partition: the key that lies there, and a later version each time."""
    key = _key(partition, partition_count)
    place = Place(0, now_ms, 0)
    envelope = Envelope(
        id=f"{key}:{place.epoch}.{place.version}.{place.index}",
        type=f"{owner}.{TYPE}",
        source=f"{SOURCE_PREFIX}{owner}",
        key=key,
        schema=1,
        place=place,
        time=datetime.fromtimestamp(now_ms / 1_000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    )
    return key, encode_headers(envelope)


def _key(partition: int, partition_count: int) -> str:
    keys = (f"{ENTITY}/{number}" for number in itertools.count())
    return next(key for key in keys if partition_of(key.encode(), partition_count) == partition)
