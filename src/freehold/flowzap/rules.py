"""Every kind of problem: its code, how grave it is, what the rule says, and the smallest text that breaks only it.

FZ0nn text, FZ1nn lanes, FZ2nn nodes, FZ3nn edges, FZ4nn flow, FZ5nn loops. A code never changes its meaning.
"""

from __future__ import annotations

import dataclasses

from freehold.flowzap.problem import Severity


@dataclasses.dataclass(frozen=True, slots=True)
class Rule:
    """One kind of problem. A lenient form is an error in strict reading and a warning in lenient reading."""

    code: str
    severity: Severity
    lenient: Severity
    title: str
    example: str

    @property
    def is_form(self) -> bool:
        """Tell whether the text is understood all the same, so that the formatter can write it strictly."""
        return self.severity != self.lenient


def _error(code: str, title: str, *example: str) -> Rule:
    return Rule(code, "error", "error", title, "\n".join(example) + "\n" * bool(example))


def _warning(code: str, title: str, *example: str) -> Rule:
    return dataclasses.replace(_error(code, title, *example), severity="warning", lenient="warning")


def _information(code: str, title: str, *example: str) -> Rule:
    return dataclasses.replace(_error(code, title, *example), severity="info", lenient="info")


def _form(code: str, title: str, *example: str) -> Rule:
    return dataclasses.replace(_error(code, title, *example), lenient="warning")


# What most examples share.
OPEN = "Shop { # Shop"
ORDER = 'n1: circle label:"Order"'
DONE = 'n2: circle label:"Done"'
GO = "n1.handle(right) -> n2.handle(left)"
BANK_DONE = 'n2: circle label:"Paid"'

TEXT = [
    _error("FZ001", "A diagram has at least one lane"),
    _error("FZ002", "A diagram has at most 50,000 characters"),
    _error("FZ003", "A diagram is text in UTF-8"),
    _warning(
        "FZ004",
        "Emoji and characters that cannot be seen do not belong",
        OPEN,
        'n1: circle label:"Order \U0001f4e6"',
        DONE,
        GO,
        "}",
    ),
    _error(
        "FZ005", "Each line is a lane, a node, an edge, a loop or `}`", OPEN, ORDER, DONE, "then we ship it", GO, "}"
    ),
    _form("FZ006", "One statement stands on a line", OPEN, f"{ORDER} {DONE}", GO, "}"),
    _information(
        "FZ007", "Comment lines are lost when the app writes the code anew", OPEN, "// by hand", ORDER, DONE, GO, "}"
    ),
    _error("FZ008", "Nothing follows a statement on its line", OPEN, f"{ORDER} // by hand", DONE, GO, "}"),
    _error("FZ009", "A text ends with the quote that it began with", OPEN, 'n1: circle label:"Order', DONE, GO, "}"),
    _error("FZ010", "A text holds no quotes", OPEN, 'n1: circle label:"Order "now""', DONE, GO, "}"),
    _warning(
        "FZ011",
        "Blanks stand where the strict form has them",
        OPEN,
        ORDER,
        DONE,
        "n1.handle(right)->n2.handle(left)",
        "}",
    ),
    _error("FZ012", "The file is FlowZap Code", "graph TD", "  A --> B"),
]
LANES = [
    _error("FZ101", "A lane ends with `}`", OPEN, ORDER, DONE, GO),
    _error("FZ102", "Each `}` ends a lane", OPEN, ORDER, DONE, GO, "}", "}"),
    _error(
        "FZ103",
        "Lanes do not stand in one another",
        OPEN,
        ORDER,
        "Bank { # Bank",
        BANK_DONE,
        "}",
        "n1.handle(right) -> Bank.n2.handle(left)",
        "}",
    ),
    _error("FZ104", "A lane has an id before its `{`", "{ # Shop", ORDER, DONE, GO, "}"),
    _error(
        "FZ105",
        "A lane's id is made of letters, digits and `_`, a letter first",
        "Web Shop { # Shop",
        ORDER,
        DONE,
        GO,
        "}",
    ),
    _error("FZ106", "A lane opens once", OPEN, ORDER, "n1.handle(right) -> n2.handle(left)", "}", OPEN, DONE, "}"),
    _warning("FZ107", "A lane says its name", "Shop {", ORDER, DONE, GO, "}"),
    _error("FZ108", "A lane has one `#`", "Shop { # Shop # Till", ORDER, DONE, GO, "}"),
    _form("FZ109", "A blank stands between `{` and `#`", "Shop {# Shop", ORDER, DONE, GO, "}"),
    _form("FZ110", "A lane's name stands on the line of its `{`", "Shop {", "# Shop", ORDER, DONE, GO, "}"),
    _error("FZ111", "`#` begins a lane's name and nothing else", OPEN, ORDER, "# by hand", DONE, GO, "}"),
]
NODES = [
    _error(
        "FZ201",
        "A node's shape is circle, rectangle, diamond or taskbox",
        OPEN,
        'n1: circel label:"Order"',
        DONE,
        GO,
        "}",
    ),
    _error(
        "FZ202",
        "A node's id is n1, n2, ...",
        OPEN,
        'start: circle label:"Order"',
        'n1: circle label:"Done"',
        "start.handle(right) -> n1.handle(left)",
        "}",
    ),
    _error(
        "FZ203",
        "A node's id stands for one node in the whole file",
        OPEN,
        ORDER,
        DONE,
        'n2: rectangle label:"Pack"',
        GO,
        "}",
    ),
    _warning(
        "FZ204",
        "Node numbers run from 1 without gaps over the whole file",
        OPEN,
        ORDER,
        'n3: circle label:"Done"',
        "n1.handle(right) -> n3.handle(left)",
        "}",
    ),
    _error(
        "FZ205",
        "A node says label, owner, description and system, nothing else",
        OPEN,
        'n1: circle label:"Order" colour:"red"',
        DONE,
        GO,
        "}",
    ),
    _error("FZ206", "A node says each thing once", OPEN, 'n1: circle label:"Order" label:"Buy"', DONE, GO, "}"),
    _form("FZ207", "`:` stands between key and text of a node", OPEN, 'n1: circle label="Order"', DONE, GO, "}"),
    _warning(
        "FZ208",
        "A node's label has at most 50 characters",
        OPEN,
        f'n1: circle label:"{"Order and order again " * 3}"',
        DONE,
        GO,
        "}",
    ),
    _warning("FZ209", "A node has a label (a taskbox need not)", OPEN, "n1: circle", DONE, GO, "}"),
    _warning(
        "FZ210",
        "A taskbox is for those who asked for it",
        OPEN,
        ORDER,
        'n2: taskbox owner:"Sales" description:"Pack"',
        'n3: circle label:"Done"',
        GO,
        "n2.handle(right) -> n3.handle(left)",
        "}",
    ),
    _error(
        "FZ211",
        "A node stands in a lane",
        'n1: circle label:"Order"',
        OPEN,
        DONE,
        'n3: circle label:"Go"',
        "n3.handle(right) -> n2.handle(left)",
        "}",
    ),
    _error("FZ212", 'A node is written `n1: circle label:"..."`', OPEN, 'n1 circle label:"Order"', DONE, GO, "}"),
    _error("FZ213", "A text stands in straight double quotes", OPEN, "n1: circle label:'Order'", DONE, GO, "}"),
]
EDGES = [
    _error("FZ301", "Both ends of an edge say `.handle(side)`", OPEN, ORDER, DONE, "n1.handle(right) -> n2", "}"),
    _error(
        "FZ302", "A side is left, right, top or bottom", OPEN, ORDER, DONE, "n1.handle(rigth) -> n2.handle(left)", "}"
    ),
    _error("FZ303", "An edge's arrow is `->`", OPEN, ORDER, DONE, "n1.handle(right) --> n2.handle(left)", "}"),
    _error(
        "FZ304",
        "Both ends of an edge are declared nodes",
        OPEN,
        ORDER,
        DONE,
        GO,
        "n1.handle(top) -> n12.handle(top)",
        "}",
    ),
    _error(
        "FZ305",
        "A target in another lane carries its lane's id",
        OPEN,
        ORDER,
        GO,
        "}",
        "Bank { # Bank",
        BANK_DONE,
        "n2.handle(left) -> Shop.n1.handle(right)",
        "}",
    ),
    _error(
        "FZ306",
        "What stands before a node is a lane's id",
        OPEN,
        ORDER,
        "n1.handle(right) -> bank.n2.handle(left)",
        "}",
        "Bank { # Bank",
        BANK_DONE,
        "n2.handle(left) -> Shop.n1.handle(right)",
        "}",
    ),
    _form(
        "FZ307",
        "What stands before a node is the id of its own lane",
        OPEN,
        ORDER,
        "n1.handle(right) -> Shop.n2.handle(left)",
        "}",
        "Bank { # Bank",
        BANK_DONE,
        "n2.handle(left) -> Shop.n1.handle(right)",
        "}",
    ),
    _form(
        "FZ308", "An edge's source carries no lane", OPEN, ORDER, DONE, "Shop.n1.handle(right) -> n2.handle(left)", "}"
    ),
    _form(
        "FZ309",
        "An edge stands in its source's lane",
        OPEN,
        ORDER,
        "}",
        "Bank { # Bank",
        BANK_DONE,
        "n1.handle(right) -> Bank.n2.handle(left)",
        "n2.handle(left) -> Shop.n1.handle(right)",
        "}",
    ),
    _form("FZ310", "Edges and loops stand in a lane", OPEN, ORDER, DONE, "}", GO),
    _warning("FZ311", "A lane's nodes stand before its edges", OPEN, ORDER, GO, DONE, "}"),
    _form("FZ312", 'An edge\'s label is written `[label="..."]`', OPEN, ORDER, DONE, f'{GO} [label:"Go"]', "}"),
    _form("FZ313", "An edge without label has no label part", OPEN, ORDER, DONE, f'{GO} [label=""]', "}"),
    _error("FZ314", "An edge says its label and nothing else", OPEN, ORDER, DONE, f'{GO} [colour="red"]', "}"),
    _error("FZ315", "What follows an edge is its label in brackets", OPEN, ORDER, DONE, f'{GO} label="Go"', "}"),
    _warning(
        "FZ316",
        "Each branch of a diamond says when it is taken",
        OPEN,
        'n1: diamond label:"Paid?"',
        'n2: circle label:"Yes"',
        'n3: circle label:"Start"',
        'n1.handle(right) -> n2.handle(left) [label="Yes"]',
        "n1.handle(bottom) -> n3.handle(top)",
        "n3.handle(left) -> n1.handle(left)",
        "}",
    ),
    _warning(
        "FZ317",
        "A diamond has two branches or more",
        OPEN,
        'n1: circle label:"Start"',
        'n2: diamond label:"Paid?"',
        'n3: circle label:"Done"',
        GO,
        "n2.handle(right) -> n3.handle(left)",
        "}",
    ),
    _warning("FZ318", "An edge is written once", OPEN, ORDER, DONE, GO, GO, "}"),
    _information(
        "FZ319",
        "Several edges between the same two nodes are legal",
        OPEN,
        ORDER,
        DONE,
        f'{GO} [label="Yes"]',
        f'{GO} [label="No"]',
        "}",
    ),
    _warning(
        "FZ320",
        "An edge leads from one node to another",
        OPEN,
        ORDER,
        DONE,
        GO,
        "n1.handle(top) -> n1.handle(bottom)",
        "}",
    ),
]
FLOW = [
    _warning("FZ401", "A node has an edge", OPEN, ORDER, DONE, 'n3: rectangle label:"Pack"', GO, "}"),
    _warning(
        "FZ402",
        "A request to another lane is answered by it",
        OPEN,
        ORDER,
        "n1.handle(right) -> Bank.n2.handle(left)",
        "}",
        "Bank { # Bank",
        BANK_DONE,
        "}",
    ),
    _warning(
        "FZ403",
        "An edge stands behind one that leads to its source",
        OPEN,
        ORDER,
        DONE,
        'n3: rectangle label:"Pack"',
        "n3.handle(right) -> n2.handle(left)",
        "n1.handle(right) -> n3.handle(left)",
        "}",
    ),
    _warning(
        "FZ404",
        "Edges of flows that do not touch stand apart",
        OPEN,
        ORDER,
        DONE,
        'n3: rectangle label:"Pack"',
        'n4: circle label:"Call"',
        'n5: circle label:"Answer"',
        "n1.handle(right) -> n3.handle(left)",
        "n4.handle(right) -> n5.handle(left)",
        "n3.handle(right) -> n2.handle(left)",
        "}",
    ),
    _warning(
        "FZ405", "A circle that no edge leads to is the start", OPEN, 'n1: rectangle label:"Order"', DONE, GO, "}"
    ),
    _warning("FZ406", "A circle that no edge leaves is the end", OPEN, ORDER, 'n2: rectangle label:"Pack"', GO, "}"),
]
PACK = 'n3: rectangle label:"Pack"'
PACKING = ["n1.handle(right) -> n3.handle(left)", "n3.handle(right) -> n2.handle(left)"]
LOOPS = [
    _error(
        "FZ501",
        "A loop says its condition in brackets",
        OPEN,
        ORDER,
        DONE,
        GO,
        "n2.handle(top) -> n1.handle(top)",
        "loop n1 n2",
        "}",
    ),
    _form("FZ502", "A loop names two nodes or more", OPEN, ORDER, DONE, GO, "loop [more] n1", "}"),
    _error("FZ503", "A loop names declared nodes", OPEN, ORDER, DONE, GO, "loop [more] n1 n2 n12", "}"),
    _error(
        "FZ504",
        "A loop is one line and stands in no other",
        OPEN,
        ORDER,
        DONE,
        PACK,
        *PACKING,
        "n3.handle(top) -> n3.handle(bottom)",
        "loop [more] {",
        "}",
        "}",
    ),
    _warning(
        "FZ505",
        "A loop names its nodes in the order of the way through them",
        OPEN,
        ORDER,
        DONE,
        PACK,
        *PACKING,
        "loop [more] n3 n1",
        "}",
    ),
    _warning("FZ506", "An edge leads back within a loop", OPEN, ORDER, DONE, PACK, *PACKING, "loop [more] n1 n3", "}"),
    _form(
        "FZ507",
        "A loop names nodes without their lanes",
        OPEN,
        ORDER,
        DONE,
        PACK,
        *PACKING,
        "loop [more] Shop.n1 n3",
        "}",
    ),
    _error(
        "FZ508", "A loop names nodes, with blanks between", OPEN, ORDER, DONE, PACK, *PACKING, "loop [more] n1, n3", "}"
    ),
]
RULES = {rule.code: rule for rule in [*TEXT, *LANES, *NODES, *EDGES, *FLOW, *LOOPS]}
