"""Where problems are put while a text is read."""

from __future__ import annotations

from collections.abc import Sequence

from freehold.flowzap.problem import Edit, Problem, Severity
from freehold.flowzap.rules import RULES
from freehold.flowzap.source import Line
from freehold.flowzap.suggest import Suggester

# A file full of nonsense has a problem in every line; nobody reads more than these, and each costs time and memory.
PROBLEMS_MAX = 1_000


class Findings:
    """The problems found so far. Columns go in counted from 0 and come out counted from 1."""

    def __init__(self, lines: Sequence[Line], *, lenient: bool) -> None:
        self.lines = lines
        self.lenient = lenient
        self.problems: list[Problem] = []
        self.suggester = Suggester()
        # Ids that stand in what could not be read: nothing is said of them twice.
        self.doubtful: set[str] = set()
        # Ids that edges and loops say and no node has.
        self.missing: set[str] = set()
        self._left_out = 0
        self._marks: set[tuple[str, int]] = set()

    def add(
        self,
        code: str,
        line: int,
        span: tuple[int, int],
        message: str,
        mend: str,
        fix: Sequence[Edit] = (),
    ) -> None:
        """Note a problem with its rule's severity."""
        rule = RULES[code]
        self._put(code, rule.lenient if self.lenient else rule.severity, line, span, (message, mend), tuple(fix))
        self._marks.add((code, line))

    def note(self, code: str, line: int, span: tuple[int, int], message: str, mend: str) -> None:
        """Note as information what would be a warning where the author could change it."""
        self._put(code, "info", line, span, (message, mend), ())

    def finish(self) -> tuple[Problem, ...]:
        """Give the problems in the order of the file; how many more there are comes last."""
        found = sorted(self.problems, key=lambda problem: (problem.line, problem.column, problem.code))
        if self._left_out:
            last = self.lines[-1]
            said = f"There are {self._left_out:,} more problems"
            end = len(last.text) + 1
            found.append(Problem("FZ013", "error", last.number, end, end + 1, said, "Mend the ones above first."))
        return tuple(found)

    def _put(
        self,
        code: str,
        severity: Severity,
        line: int,
        span: tuple[int, int],
        words: tuple[str, str],
        fix: tuple[Edit, ...],
    ) -> None:
        if len(self.problems) == PROBLEMS_MAX:
            self._left_out += 1
            return
        start, end = span
        self.problems.append(Problem(code, severity, line, start + 1, max(end, start + 1) + 1, *words, fix))

    def has(self, code: str, line: int) -> bool:
        """Tell whether a line has a problem of that kind."""
        return (code, line) in self._marks

    def has_kind(self, *codes: str) -> bool:
        """Tell whether any line has a problem of one of these kinds."""
        return any(code in codes for code, _ in self._marks)

    def has_label_problem(self, line: int) -> bool:
        """Tell whether the label of a line's edge was not understood."""
        return any(self.has(code, line) for code in ("FZ008", "FZ009", "FZ313", "FZ314", "FZ315"))

    def is_alone(self, line: int) -> bool:
        """Tell whether a line holds one statement, so that it can be moved or removed whole."""
        return not self.has("FZ006", line)

    def edit(self, line: int, start: int, end: int, text: str) -> Edit:
        """Replace a part of a line."""
        offset = self.lines[line - 1].start
        return Edit(offset + start, offset + end, text)

    def deletion(self, line: int) -> Edit:
        """Remove a whole line with its end."""
        whole = self.lines[line - 1]
        return Edit(whole.start, whole.start + len(whole.text) + len(whole.end), "")

    def insertion(self, line: int, text: str) -> Edit:
        """Put a line before another; behind the last one where `line` is beyond it."""
        if line <= len(self.lines):
            start = self.lines[line - 1].start
            return Edit(start, start, text + "\n")
        last = self.lines[-1]
        end = last.start + len(last.text) + len(last.end)
        return Edit(end, end, (text if last.end else "\n" + text) + "\n")
