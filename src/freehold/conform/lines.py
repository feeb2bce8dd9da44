"""Read a line of the declaration that says what happens at a node: "commit rename", "answer 412", "passes"."""

from __future__ import annotations

from typing import Any

from freehold.conform.claim import Claim
from freehold.conform.landscape import Landscape
from freehold.conform.lanes import Participant
from freehold.conform.step import MEANING, OPERATION

PASSES = "passes"
_DETAIL = {
    "commit": "functions",
    "publish": "events",
    "send": "events",
    "topic": "events",
    "consume": "events",
    "handle": "events",
    "copy": "tables",
    "embed": "tables",
}


def read_line(line: str, participant: Participant, landscape: Landscape) -> Claim | str:
    """Give what the line claims for a node of that lane, or what is wrong with it, in words.

    A line is one or several of these, with "and" between them: a kind of step (`step.MEANING`), and what it is about, that
    is an operation or a status, a transaction's function, an event's class, a table. "passes" says that nothing can be
    seen there by itself.
    """
    if line.strip() == PASSES:
        return Claim(is_silent=True)
    does: set[str] = set()
    found: dict[str, Any] = {"operations": (), "events": set(), "tables": set(), "functions": set(), "statuses": set()}
    for part in line.split(" and "):
        word, _, detail = part.strip().partition(" ")
        if word not in MEANING:
            return f"{word!r} is no kind of step; there is: {', '.join([*MEANING, PASSES])}"
        does.add(word)
        wrong = _add(found, word, detail.strip(), landscape)
        if wrong:
            return wrong
    names = participant.names
    topics = names if participant.role == "bus" else frozenset()
    who = names if participant.role != "bus" or does <= {"publish", "send", "topic"} else landscape.services
    sets = {name: value if name == "operations" else frozenset(value) for name, value in found.items()}
    return Claim(does=frozenset(does), who=frozenset(who), topics=topics, **sets)  # type: ignore[arg-type]


def _add(found: dict[str, Any], word: str, detail: str, landscape: Landscape) -> str:
    if not detail:
        return ""
    if word in _DETAIL:
        if _DETAIL[word] == "events" and detail not in landscape.events:
            return f"no service publishes {detail!r}; there is: {', '.join(sorted(landscape.events))}"
        found[_DETAIL[word]].add(detail)
    elif detail.isdecimal():
        found["statuses"].add(int(detail))
    elif OPERATION.fullmatch(detail):
        found["operations"] += (detail,)
    else:
        return f"{detail!r} is no operation such as GET /users/{{id}}, and no status"
    return ""
