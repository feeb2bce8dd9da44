"""Repair copies that were found to differ, through the topic: their owner tells once more what they are (decision 20).

A repair cannot undo a newer state: what it tells has its place in the entity's history, and every guard drops what is
behind. Only a copy that stands where its owner never was must first be set back, and is so if it still stands there.
Killed at any moment it leaves copies that the next audit finds: one that was set back is still no owner's state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from freehold.converge.judge import SET_BACK, Finding, Kind
from freehold.converge.settle import Settle
from freehold.converge.source import Source
from freehold.errors import CallerError, ConflictError
from freehold.replica.rows import CopyRows

# Entities that their owner tells again in one transaction, which holds their rows.
TOLD_MAX = 200
# A place that nobody could have given (a large index) is not behind any repair; then the copy is set back, too.
RUNS = 2


class Repair:
    """Repairs copies of one replica."""

    def __init__(self, settle: Settle) -> None:
        self._settle = settle
        self._source: Source = settle.source

    async def mend(self, rows: CopyRows, findings: Mapping[str, Finding]) -> list[Finding]:
        """Repair these, and say of each what became of it.

        Args:
            rows: Where they lie.
            findings: By the copy's key.

        Raises:
            PeerError: The owner, or the own store, does not answer; what is repaired stays so.
        """
        refused = await self._refuse(findings)
        left = {key: finding for key, finding in findings.items() if key not in refused}
        for run in range(RUNS):
            if not left:
                break
            missed = await self._set_back(rows, left, is_second=run > 0)
            overtaken = await self._tell(left)
            settled = await self._settle.settle(rows, list(left))
            refused |= dict.fromkeys(settled.unsettled, "it changed whenever it was looked at; audit again")
            refused |= dict.fromkeys(settled.behind, self._settle.reason)
            left = {key: finding for key, finding in left.items() if key in settled.findings}
        for key, finding in left.items():
            refused[key] = (
                "it does not stand any more where it was found, and may be newer by now; audit again"
                if key in missed or finding.id in overtaken
                else f"it is still {finding.kind} after its owner told what it is; audit again"
            )
        return [
            msgspec.structs.replace(finding, repaired=key not in refused, refused=refused.get(key, ""))
            for key, finding in findings.items()
        ]

    async def _refuse(self, findings: Mapping[str, Finding]) -> dict[str, str]:
        """Say what cannot be repaired, before anything is changed."""
        unknown = [key for key, finding in findings.items() if finding.owner_version is None]
        if unknown:
            try:
                await self._source.publish_gone([])
            except CallerError as reason:
                return dict.fromkeys(unknown, str(reason))
        return {}

    async def _set_back(self, rows: CopyRows, findings: Mapping[str, Finding], *, is_second: bool) -> set[str]:
        """Set back what no repair would reach; name what was not met where it was found."""
        keys = [
            key
            for key, finding in findings.items()
            if _is_beyond(finding) or (is_second and finding.copy_version is not None)
        ]
        if not keys:
            return set()
        found = [row for row in await rows.find(keys) if row.place.version == findings[row.key].copy_version]
        met = await rows.set_back(found, SET_BACK)
        return set(keys) - met

    async def _tell(self, findings: Mapping[str, Finding]) -> set[str]:
        """Let the owner tell what these are; name those that came to be meanwhile, of which it tells nothing."""
        for ids in _lots(sorted({each.id for each in findings.values() if each.owner_version is not None})):
            await self._source.republish(ids)
        overtaken: set[str] = set()
        for ids in _lots(sorted({each.id for each in findings.values() if each.owner_version is None})):
            try:
                await self._source.publish_gone(ids)
            except ConflictError:
                overtaken |= set(ids)
        return overtaken


def _is_beyond(finding: Finding) -> bool:
    """Say whether the copy stands beyond all that its owner can tell of it."""
    return finding.kind is Kind.AHEAD or (finding.kind is Kind.LEFT_OVER and finding.owner_version is None)


def _lots(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + TOLD_MAX] for start in range(0, len(ids), TOLD_MAX)]
