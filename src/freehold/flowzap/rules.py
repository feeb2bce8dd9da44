"""Every kind of problem: its code, how grave it is, and what the rule says.

FZ0nn text, FZ1nn lanes, FZ2nn nodes, FZ3nn edges, FZ4nn flow, FZ5nn loops. A code never changes its meaning.
"""

from __future__ import annotations

import dataclasses

from freehold.flowzap.problem import Severity


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """One kind of problem, and how grave it is in strict and in lenient reading."""

    code: str
    title: str
    severity: Severity
    lenient: Severity

    @property
    def is_form(self) -> bool:
        """Tell whether the text is understood all the same, so that the formatter can write it strictly."""
        return self.severity != self.lenient


def _error(code: str, title: str) -> Rule:
    return Rule(code, title, "error", "error")


def _warning(code: str, title: str) -> Rule:
    return Rule(code, title, "warning", "warning")


def _information(code: str, title: str) -> Rule:
    return Rule(code, title, "info", "info")


def _form(code: str, title: str) -> Rule:
    """Make a rule for a form that real files have and the strict language does not."""
    return Rule(code, title, "error", "warning")


_ALL = (
    _error("FZ001", "A diagram has at least one lane"),
    _error("FZ002", "A diagram has at most 50,000 characters"),
    _error("FZ003", "A diagram is text in UTF-8"),
    _warning("FZ004", "Emoji and characters that cannot be seen do not belong"),
    _error("FZ005", "Each line is a lane, a node, an edge, a loop or `}`"),
    _form("FZ006", "One statement stands on a line"),
    _information("FZ007", "Comment lines are lost when the app writes the code anew"),
    _error("FZ008", "Nothing follows a statement on its line"),
    _error("FZ009", "A text ends with the quote that it began with"),
    _error("FZ010", "A text holds no quotes"),
    _warning("FZ011", "Blanks stand where the strict form has them"),
    _error("FZ012", "The file is FlowZap Code"),
    _error("FZ013", "A file has at most 1,000 problems that are worth reading"),
    _error("FZ101", "A lane ends with `}`"),
    _error("FZ102", "Each `}` ends a lane"),
    _error("FZ103", "Lanes do not stand in one another"),
    _error("FZ104", "A lane has an id before its `{`"),
    _error("FZ105", "A lane's id is made of letters, digits and `_`, a letter first"),
    _error("FZ106", "A lane opens once"),
    _warning("FZ107", "A lane says its name"),
    _error("FZ108", "A lane has one `#`"),
    _form("FZ109", "A blank stands between `{` and `#`"),
    _form("FZ110", "A lane's name stands on the line of its `{`"),
    _error("FZ111", "`#` begins a lane's name and nothing else"),
    _error("FZ201", "A node's shape is circle, rectangle, diamond or taskbox"),
    _error("FZ202", "A node's id is n1, n2, ..."),
    _error("FZ203", "A node's id stands for one node in the whole file"),
    _warning("FZ204", "Node numbers run from 1 without gaps over the whole file"),
    _error("FZ205", "A node says label, owner, description and system, nothing else"),
    _error("FZ206", "A node says each thing once"),
    _form("FZ207", "`:` stands between key and text of a node"),
    _warning("FZ208", "A node's label has at most 50 characters"),
    _warning("FZ209", "A node has a label (a taskbox need not)"),
    _warning("FZ210", "A taskbox is for those who asked for it"),
    _error("FZ211", "A node stands in a lane"),
    _error("FZ212", 'A node is written `n1: circle label:"..."`'),
    _error("FZ213", "A text stands in straight double quotes"),
    _error("FZ301", "Both ends of an edge say `.handle(side)`"),
    _error("FZ302", "A side is left, right, top or bottom"),
    _error("FZ303", "An edge's arrow is `->`"),
    _error("FZ304", "Both ends of an edge are declared nodes"),
    _error("FZ305", "A target in another lane carries its lane's id"),
    _error("FZ306", "What stands before a node is a lane's id"),
    _form("FZ307", "What stands before a node is the id of its own lane"),
    _form("FZ308", "An edge's source carries no lane"),
    _form("FZ309", "An edge stands in its source's lane"),
    _form("FZ310", "Edges and loops stand in a lane"),
    _warning("FZ311", "A lane's nodes stand before its edges"),
    _form("FZ312", 'An edge\'s label is written `[label="..."]`'),
    _form("FZ313", "An edge without label has no label part"),
    _error("FZ314", "An edge says its label and nothing else"),
    _error("FZ315", "What follows an edge is its label in brackets"),
    _warning("FZ316", "Each branch of a diamond says when it is taken"),
    _warning("FZ317", "A diamond has two branches or more"),
    _warning("FZ318", "An edge is written once"),
    _information("FZ319", "Several edges between the same two nodes are legal"),
    _warning("FZ320", "An edge leads from one node to another"),
    _warning("FZ401", "A node has an edge"),
    _warning("FZ402", "A request to another lane is answered by it"),
    _warning("FZ403", "An edge stands behind one that leads to its source"),
    _warning("FZ404", "Edges of flows that do not touch stand apart"),
    _warning("FZ405", "A circle that no edge leads to is the start"),
    _warning("FZ406", "A circle that no edge leaves is the end"),
    _error("FZ501", "A loop says its condition in brackets"),
    _form("FZ502", "A loop names two nodes or more"),
    _error("FZ503", "A loop names declared nodes"),
    _error("FZ504", "A loop is one line and stands in no other"),
    _warning("FZ505", "A loop names its nodes in the order of the way through them"),
    _warning("FZ506", "An edge leads back within a loop"),
    _form("FZ507", "A loop names nodes without their lanes"),
    _error("FZ508", "A loop names nodes, with blanks between"),
)
RULES = {rule.code: rule for rule in _ALL}
