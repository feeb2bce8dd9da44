"""Find on the topic the events that did not take effect as they should have, for what an audit found."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from freehold.converge.judge import Finding, Kind
from freehold.topic import Record
from freehold.topic.address import KafkaAddress
from freehold.topic.admin import Topics
from freehold.topic.partition import partition_of
from freehold.topic.replay import Replay

# What is older than so many records, or not met within so long, stays unknown: a finding is none the less one.
RECORDS_MAX = 200_000
LIMIT_S = 5.0
WAIT_S = 0.2


class Locate:
    """Finds events on one source's topic; it blocks.

    Args:
        address: Where Kafka is.
        topics: The topics as this service may see them.
        topic: The source's.
        source: The source's name, which positions begin with.
        group: A group name that this service has the right to; nobody joins it.
    """

    def __init__(self, address: KafkaAddress, topics: Topics, topic: str, source: str, group: str) -> None:
        self._address = address
        self._topics = topics
        self._topic = topic
        self._source = source
        self._group = group

    def find(self, entity: str, findings: Sequence[Finding]) -> list[Finding]:
        """Give the findings with their positions, as far as these are known.

        Raises:
            TopicUnavailable: Kafka does not answer.
        """
        wanted = {
            f"{entity}/{each.id}".encode(): versions for each in findings if (versions := _versions(each)) is not None
        }
        positions = self._search(wanted) if wanted else {}
        return [
            msgspec.structs.replace(each, position=positions.get(f"{entity}/{each.id}".encode(), ""))
            for each in findings
        ]

    def _search(self, wanted: dict[bytes, tuple[int, int]]) -> dict[bytes, str]:
        count = self._topics.identify(self._topic).partition_count
        numbers = {partition_of(key, count) for key in wanted}
        extents = self._topics.extents(self._topic, sorted(numbers))
        ends = {number: end for number, (start, end) in extents.items() if end > start}
        each_max = RECORDS_MAX // max(1, len(ends))
        replay = Replay(
            self._address,
            self._topic,
            self._group,
            {number: max(extents[number][0], end - each_max) for number, end in ends.items()},
        )
        positions: dict[bytes, str] = {}
        until = time.monotonic() + LIMIT_S
        try:
            while any(replay.positions[number] < end for number, end in ends.items()) and time.monotonic() < until:
                for record in replay.read(WAIT_S):
                    if record.key in wanted and record.key not in positions and _is_meant(record, wanted[record.key]):
                        positions[record.key] = f"{self._source}/{record.partition}@{record.offset}"
        finally:
            replay.close()
        return positions


def _versions(finding: Finding) -> tuple[int, int] | None:
    """Give the first and the last version of the event that is looked for; None when no event is missed."""
    if finding.owner_version is None or finding.kind is Kind.AHEAD:
        return None
    if finding.kind in {Kind.CONTENT, Kind.LEFT_OVER}:
        return finding.owner_version, finding.owner_version
    return (finding.copy_version or 0) + 1, finding.owner_version


def _is_meant(record: Record, versions: tuple[int, int]) -> bool:
    found = dict(record.headers).get("ce_version") or b""
    return found.isdigit() and versions[0] <= int(found) <= versions[1]
