"""What a node of a diagram claims: which of the steps that are seen happen there."""

from __future__ import annotations

import dataclasses

from freehold.conform.step import EVENT_STEPS, MEANING, Does, Step

# What is done while a request is handled, so that an operation can tell it apart.
_ON_REQUEST = frozenset({"ask", "receive", "request", "call", "compose", "answer", "commit", "query"})
_OF_EVENTS = EVENT_STEPS | {"copy", "embed"}


@dataclasses.dataclass(frozen=True)
class Claim:
    """Which steps happen at a node. What is empty leaves open.

    Attributes:
        does: The kinds of steps.
        who: The components that do them.
        topics: For the way of events, whose.
        operations: "GET /users/{id}", for what happens while a request is handled.
        events: Classes of events, for the way of events.
        tables: For copies and what is embedded.
        functions: For transactions, the function's name.
        statuses: Of answers.
        is_of_composed: Also answers that were made of several.
        is_silent: Nothing can be seen there; a decision is passed.
    """

    does: frozenset[Does] = frozenset()
    who: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    operations: tuple[str, ...] = ()
    events: frozenset[str] = frozenset()
    tables: frozenset[str] = frozenset()
    functions: frozenset[str] = frozenset()
    statuses: frozenset[int] = frozenset()
    is_of_composed: bool = True
    is_silent: bool = False

    def takes(self, step: Step) -> bool:
        """Tell whether the step happens at this node."""
        if step.is_internal or step.does not in self.does or (self.who and step.who not in self.who):
            return False
        return (
            (not self.topics or step.does not in EVENT_STEPS or step.what in self.topics)
            and (step.does not in _ON_REQUEST or self._is_of_operation(step))
            and (not self.events or step.does not in _OF_EVENTS or any(map(step.is_of_event, self.events)))
            and (not self.tables or step.does not in {"copy", "embed"} or step.detail in self.tables)
            and (not self.functions or step.does != "commit" or step.detail in self.functions)
            and (self.is_of_composed or step.does != "answer" or not step.is_composed)
            and (not self.statuses or step.does not in {"answer", "receive"} or step.status in self.statuses)
        )

    def __str__(self) -> str:
        if self.is_silent:
            return "passed, not seen by itself"
        said = [*self.operations, *sorted(self.events), *sorted(self.tables), *sorted(self.functions)]
        said += [str(status) for status in sorted(self.statuses)]
        kinds = [does for does in MEANING if does in self.does]
        who = ", ".join(sorted(self.who)) or ", ".join(sorted(self.topics)) or "any"
        return f"{who}: {' or '.join(kinds)}{' ' if said else ''}{', '.join(said)}"

    def _is_of_operation(self, step: Step) -> bool:
        # A node that does nothing but call is named after what it calls.
        tells = step.is_of_operation if self.does == {"call"} else step.is_handled_as
        return not self.operations or any(map(tells, self.operations))
