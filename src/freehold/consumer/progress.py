"""What a consumer says of itself: read by health, metrics and `status`; written by its thread and its workers."""

from __future__ import annotations

import dataclasses
import enum


class ConsumerState(enum.StrEnum):
    """What a subscription is doing."""

    JOINING = "joining"
    READING = "reading"
    RETRYING = "retrying"
    STOPPED = (
        "stopped"  # somebody must look: the topic is not the one that the positions point into, or rights are missing
    )
    ENDED = "ended"


class PartitionState(enum.StrEnum):
    """What the reading of one partition is doing."""

    READING = "reading"
    RETRYING = "retrying"
    STOPPED = "stopped"  # behind an event that cannot be applied; tried again with back-off, never skipped


@dataclasses.dataclass
class PartitionProgress:
    """One partition that this process has claimed.

    Attributes:
        state: What it is doing.
        offset: The next record to apply; None before the first.
        end: The offset after the last record of the partition, as last heard.
        error: Why it is retrying or stopped; empty otherwise.
        parked: Events of it that are parked, dead ones among them.
        dead: Parked events that are not tried again by themselves.
        oldest_parked_at: Since when the oldest is parked (epoch seconds); None when none is.
    """

    state: PartitionState = PartitionState.READING
    offset: int | None = None
    end: int | None = None
    error: str = ""
    parked: int = 0
    dead: int = 0
    oldest_parked_at: float | None = None

    @property
    def lag(self) -> int | None:
        """Count the offsets between the next record and the end; None while either is unknown."""
        return None if self.end is None else max(0, self.end - (self.offset or 0))


@dataclasses.dataclass
class ConsumerProgress:
    """One subscription of this process.

    Attributes:
        source: The service whose topic is read.
        state: What it is doing.
        error: Why it is retrying or stopped; empty otherwise.
        retry_at: When it tries again (epoch seconds); None unless it will.
        applied_total: Events that took effect, or were found to have taken effect already, since the process started.
        parked_total: Events that were parked since the process started.
        skipped_total: Events that the service declares nothing for.
        last_lag_s: How long before it was applied the last event had been published.
        partitions: The partitions that this process has claimed.
    """

    source: str
    state: ConsumerState = ConsumerState.JOINING
    error: str = ""
    retry_at: float | None = None
    applied_total: int = 0
    parked_total: int = 0
    skipped_total: int = 0
    last_lag_s: float = 0.0
    partitions: dict[int, PartitionProgress] = dataclasses.field(default_factory=dict)
