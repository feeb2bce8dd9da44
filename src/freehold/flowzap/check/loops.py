"""Rules about loops: their nodes are gone through in order, and something leads back."""

from __future__ import annotations

import collections
import itertools

from freehold.flowzap.check.names import Names
from freehold.flowzap.findings import Findings
from freehold.flowzap.statement import LoopLine

# Loops over loops in a hostile file would take minutes; no diagram that people read comes near.
STEPS_MAX = 50_000


class Loops:
    """The edges that loops are held against."""

    def __init__(self, names: Names, findings: Findings) -> None:
        self.names = names
        self.findings = findings
        self.steps_left = STEPS_MAX
        self.targets: dict[str, list[str]] = collections.defaultdict(list)
        for found in names.edges:
            self.targets[found.edge.source].append(found.edge.target)

    def check(self) -> None:
        """Check every loop whose nodes are all known."""
        for loop, _ in self.names.loops:
            members = [word.text for word in loop.members]
            if loop.is_odd or len(members) < 2 or self.findings.doubtful & set(members):
                continue
            gap = self._gap(members)
            if gap:
                span = (loop.members[gap].start, loop.members[gap].end)
                said = f"No way leads from {members[gap - 1]} straight to {members[gap]}"
                mend = "Name the loop's nodes in the order in which edges lead through them."
                self.findings.add("FZ505", loop.line, span, said, mend)
            elif not self._leads_back(members):
                self._report_no_return(loop, members)

    def _gap(self, members: list[str]) -> int | None:
        """Give the place of the first node that is not reached from the one before without passing others of the loop."""
        among = set(members)
        for place, (source, target) in enumerate(itertools.pairwise(members), start=1):
            if not self._reaches(source, target, among):
                return place
        return None

    def _reaches(self, source: str, target: str, among: set[str]) -> bool:
        seen: set[str] = set()
        todo = [source]
        while todo:
            for following in self.targets[todo.pop()]:
                if following == target:
                    return True
                self.steps_left -= 1
                if self.steps_left < 0:
                    # Nothing is claimed that was not looked at.
                    return True
                if following not in among and following not in seen:
                    seen.add(following)
                    todo.append(following)
        return False

    def _leads_back(self, members: list[str]) -> bool:
        places = {name: place for place, name in enumerate(members)}
        return any(
            places.get(target, len(members)) <= place for name, place in places.items() for target in self.targets[name]
        )

    def _report_no_return(self, loop: LoopLine, members: list[str]) -> None:
        said = f"No edge leads from {members[-1]} back to {members[0]}, nor from another of the loop's nodes"
        mend = "Add the edge that goes back, or remove the loop."
        self.findings.add("FZ506", loop.line, (loop.start, loop.end), said, mend)
