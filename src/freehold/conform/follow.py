"""Follow spans from process to process and write down the steps, each with those that directly precede it.

Theory of operation. A request, a call, a transaction, a statement is an activity: it begins, does its parts, and ends. A part
follows the activity's beginning and the ends of the parts that were over before it began; what ends the activity follows all
its parts. What goes on without being waited for (the relay, the consumers) hangs beneath the span that published, as the
event's trace context says; a batch that was made of several events is linked to each of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from freehold.conform.landscape import Landscape
from freehold.conform.span import Span
from freehold.conform.step import CLIENT, Does, Step
from freehold.telemetry import EVENTS, OPERATION, SERVICE, STORE, TOPIC

Key = tuple[str, str]
Event = tuple[str, str, str, str]  # owner, trace, publishing span, class
# Freehold's own tables and collections: bookkeeping that no diagram draws.
_OWN_TABLES = ("freehold.", "freehold_")
# No program nests its work like this; Python's own stack ends soon after.
DEPTH_MAX = 150
_WRITES = frozenset({"INSERT", "UPDATE", "DELETE", "MERGE", "COPY", "FINDANDMODIFY", "BULKWRITE"})


def follow(spans: Iterable[Span], landscape: Landscape) -> list[Step]:
    """Give the steps of all traces; `after` holds indexes into the list.

    A span that came twice (an exporter tried again) counts once; what is nested deeper than DEPTH_MAX is left out.
    """
    unique = {span.key: span for span in spans}.values()
    return _Follower(sorted(unique, key=lambda span: (span.began_ns, span.key)), landscape).run()


class _Follower:
    def __init__(self, spans: Sequence[Span], landscape: Landscape) -> None:
        self._spans = spans
        self._landscape = landscape
        self._by_key = {span.key: span for span in spans}
        self._parts: dict[Key, list[Span]] = {}
        self._steps: list[Step] = []
        self._topics: dict[Event, int] = {}
        self._published: dict[Event, int] = {}
        self._consumed: dict[Key, set[int]] = {}
        self._components = landscape.components()
        self._callers = self._find_callers()
        self._depth = 0
        self._closed: set[int] = set()

    def run(self) -> list[Step]:
        roots, background = self._tell_apart()
        for span in roots:
            self._activity(span, set())
        for span in background:
            if span.kind == "consumer" and not span.links:
                self._consume(span)
        # A batch stands beneath no span: it follows all the events that it was made of.
        for span in background:
            if span.links:
                self._apply(span, {index for link in span.links for index in self._consumed.get(link, ())})
        for span in background:
            if span.kind == "producer":
                self._send(span)
        return self._steps

    def _tell_apart(self) -> tuple[list[Span], list[Span]]:
        """Hang each span beneath what waits for it; give those that nobody waits for: what came in, and the background."""
        roots, background = [], []
        for span in self._spans:
            parent = self._callers.get(span.key) or self._by_key.get(span.parent_key)
            if span.kind in {"producer", "consumer"} or span.links:
                background.append(span)
            elif parent is None:
                roots.append(span)
            else:
                self._parts.setdefault(parent.key, []).append(span)
        return roots, background

    def _component(self, span: Span) -> str:
        """Say whose span it is: the process's, whatever it opened in another's name; else what the span itself says."""
        return span.service if span.service in self._components else span.text(SERVICE) or span.service

    def _find_callers(self) -> dict[Key, Span]:
        """Find who made a request that carries no trace: the connection's two ends name the same port."""
        ends = {
            span.number("network.local.port"): span
            for span in self._spans
            if span.name.startswith("connect ") and span.number("network.local.port")
        }
        found = {}
        for span in self._spans:
            if span.kind == "server" and self._by_key.get(span.parent_key) is None:
                caller = ends.get(span.number("network.peer.port"))
                if caller is not None and self._component_at(caller) == self._component(span):
                    found[span.key] = caller
        return found

    def _add(self, does: Does, span: Span, who: str, what: str, before: set[int], *, detail: str = "") -> int:
        step = Step(does, who, what, span.trace, span.began_ns, detail, took_ns=span.ended_ns - span.began_ns)
        step.after |= before
        step.closes |= before & self._closed
        self._steps.append(step)
        return len(self._steps) - 1

    def _activity(self, span: Span, before: set[int]) -> set[int]:
        """Write down what a span and its parts do, after `before`; give what its end leaves behind."""
        if self._depth >= DEPTH_MAX:
            return before
        self._depth += 1
        left = self._dispatch(span, before)
        self._depth -= 1
        return left

    def _dispatch(self, span: Span, before: set[int]) -> set[int]:
        if span.kind == "server":
            return self._request(span, before)
        if "db.system.name" in span.attributes:
            return self._transaction(span, before) if span.name == "transact" else self._statement(span, before)
        if _is_call(span):
            return self._call(span, before, self._callee(span))
        if span.name.startswith("connect "):
            return self._connect(span, before)
        return self._sequence(span, before)

    def _sequence(self, span: Span, before: set[int]) -> set[int]:
        """Write down the parts of an activity; give what they all leave behind, `before` when there are none."""
        over: list[tuple[Span, set[int]]] = []
        everything: set[int] = set()
        for part in self._parts.get(span.key, ()):
            entering = set(before)
            for earlier, left in over:
                if earlier.ended_ns <= part.began_ns or _share_a_store(earlier, part):
                    entering |= left
            left = self._activity(part, entering)
            over.append((part, left))
            if left != entering:  # else nothing happened there
                everything |= left
        return everything or set(before)

    def _request(self, span: Span, before: set[int]) -> set[int]:
        who, path, status = self._component(span), span.text("url.path"), span.number("http.response.status_code")
        method, route = span.text("http.request.method"), span.text("http.route")
        operation = f"{method} {route or path}"
        caller = self._by_key.get(span.parent_key)
        if caller is not None and self._component(caller) != who and not _is_call(caller):
            # A call by other means than ours, which passed the trace on all the same.
            before = {self._add("call", span, self._component(caller), who, before, detail=operation)}
        is_from_outside = not before
        if is_from_outside:
            before = {self._add("ask", span, CLIENT, who, set(), detail=operation)}
            self._say(before, operation, path)
        begun = self._add("request", span, who, who, before, detail=operation)
        self._say({begun}, operation, path)
        first = len(self._steps)
        left = self._sequence(span, {begun})
        calls = [step for step in self._steps[first:] if step.does == "call" and step.who == who]
        is_composed = bool(calls) and (route in self._landscape.compositions or len(calls) > 1)
        if is_composed:
            composed = self._add("compose", span, who, who, left, detail=operation)
            self._end(composed, span)
            left = {composed}
        answered = self._add("answer", span, who, who, left, detail=operation)
        self._end(answered, span)
        ends = {answered}
        if is_from_outside:
            ends = {self._add("receive", span, CLIENT, who, {answered}, detail=operation)}
            self._end(next(iter(ends)), span)
        for step in self._steps[first:]:
            if step.who == who and not step.operation:
                step.operation, step.path = operation, path
        self._say({answered, *ends}, operation, path)
        for index in {answered, *ends}:
            self._steps[index].status, self._steps[index].is_composed = status, is_composed
        return {answered}

    def _say(self, indexes: set[int], operation: str, path: str) -> None:
        for index in indexes:
            self._steps[index].operation, self._steps[index].path = operation, path

    def _end(self, index: int, span: Span) -> None:
        """Let a step stand at the end of its span, and take no time of its own."""
        self._steps[index].at_ns, self._steps[index].took_ns = span.ended_ns, 0

    def _call(self, span: Span, before: set[int], what: str) -> set[int]:
        called = self._add("call", span, self._component(span), what, before, detail=self._called_operation(span))
        return self._sequence(span, {called})

    def _called_operation(self, span: Span) -> str:
        for part in self._parts.get(span.key, ()):
            if part.kind == "server":
                return f"{part.text('http.request.method')} {part.text('http.route') or part.text('url.path')}"
        return f"{span.text('http.request.method')} {span.text('url.path')}".strip()

    def _callee(self, span: Span) -> str:
        for part in self._parts.get(span.key, ()):
            if part.kind == "server":
                return self._component(part)
        return span.text("peer.service") or self._component_at(span) or _address(span)

    def _component_at(self, span: Span) -> str:
        return self._landscape.ports.get(span.number("server.port"), "")

    def _connect(self, span: Span, before: set[int]) -> set[int]:
        """Judge a bare connection by where it leads: it says nothing where it is part of what is known anyway."""
        who, port = self._component(span), span.number("server.port")
        called = self._component_at(span)
        parent = self._by_key.get(span.parent_key)
        if parent is not None and (parent.text("peer.service") or "db.system.name" in parent.attributes):
            return before
        if called:
            return self._call(span, before, called)
        owners = self._landscape.servers.get(port)
        if owners is None:
            return {self._add("connect", span, who, _address(span), before)}
        if who in owners:
            return before
        return {self._add("query", span, who, min(owners), before, detail="connect")}

    def _transaction(self, span: Span, before: set[int]) -> set[int]:
        who = self._component(span)
        # A second store of Freehold's, opened with another service's credentials, says whose it is.
        begun = self._add("commit", span, who, span.text(STORE) or who, before, detail=span.text(OPERATION))
        left = self._sequence(span, {begun})
        if left == {begun}:
            queried = self._add("query", span, who, who, {begun})
            left = {queried, self._add("store", span, who, who, {queried})}
        events = span.attributes.get(EVENTS)
        is_told = isinstance(events, Sequence) and not isinstance(events, str) and not span.is_failed
        published = set()
        self._closed.add(begun)
        for name in dict.fromkeys(str(each).rpartition(".")[2] for each in (events or () if is_told else ())):
            published.add(self._add("publish", span, who, who, {begun, *left}, detail=name))
            self._published[who, *span.key, name] = max(published)
            self._end(max(published), span)
        return {begun, *left, *published}

    def _statement(self, span: Span, before: set[int]) -> set[int]:
        who, owner = self._component(span), self._owner_of(span)
        table, operation = span.text("db.collection.name"), span.text("db.operation.name")
        is_write = operation.upper() in _WRITES
        does: Does = "query"
        in_background = self._is_in_background(span)
        if in_background and owner == who:
            tables = {"copy": self._landscape.copies, "embed": self._landscape.embedded}
            found = [name for name, known in tables.items() if table in known.get(who, ()) and is_write]
            does = "copy" if found == ["copy"] else "embed" if found == ["embed"] else "query"
        done = self._add(
            does, span, who, owner, before, detail=f"{operation} {table}".strip() if does == "query" else table
        )
        self._steps[done].is_internal = owner == who and (
            table.startswith(_OWN_TABLES) or (in_background and not is_write)
        )
        if self._steps[done].is_internal:
            return before
        if owner != who:
            return {done}
        stored = self._add("store", span, owner, owner, {done}, detail=table)
        # Who asks goes on with what the store answered; a copy is something done, beside where it was written.
        if does == "query":
            return {stored}
        self._closed.add(done)
        return {done, stored}

    def _owner_of(self, span: Span) -> str:
        own = span.text(STORE)
        if own:
            return own
        database = span.text("db.namespace")
        if database in self._landscape.services:
            return database
        owners = self._landscape.servers.get(span.number("server.port"), frozenset())
        return min(owners) if len(owners) == 1 else database or _address(span)

    def _is_in_background(self, span: Span) -> bool:
        """Tell whether a span is part of applying events."""
        for above in self._above(span):
            if above.kind in {"server", "consumer"}:
                return above.kind == "consumer"
        return False

    def _above(self, span: Span) -> Iterator[Span]:
        """Give the spans that a span is part of, from the nearest on; strangers' spans may run in circles."""
        above = self._by_key.get(span.parent_key)
        seen = {span.key}
        while above is not None and above.key not in seen:
            yield above
            seen.add(above.key)
            above = self._by_key.get(above.parent_key)

    def _consume(self, span: Span) -> None:
        """Write down that an event was taken from the topic, and what follows from it in this trace."""
        who, source = self._component(span), span.text(TOPIC)
        name = span.text(OPERATION).rpartition(".")[2]
        topic = self._topic(span, source, name)
        consumed = self._add("consume", span, who, source, {topic}, detail=name)
        begun = {consumed}
        if span.name.startswith("handle "):
            begun = {self._add("handle", span, who, who, {consumed}, detail=name)}
        self._consumed[span.key] = begun
        self._apply(span, begun)

    def _apply(self, span: Span, consumed: set[int]) -> None:
        """Write down what follows from events that were taken from the topic."""
        events = frozenset(self._steps[index].detail for index in consumed)
        first = len(self._steps)
        self._sequence(span, consumed)
        for step in self._steps[first:]:
            step.events = step.events or events

    def _topic(self, span: Span, owner: str, name: str) -> int:
        event = (owner, span.trace, span.parent, name)
        if event not in self._topics:
            published = self._find_published(span, owner, name)
            self._topics[event] = self._add("topic", span, owner, owner, published, detail=name)
            self._steps[self._topics[event]].took_ns = 0
        return self._topics[event]

    def _find_published(self, span: Span, owner: str, name: str) -> set[int]:
        """Find where the event was committed: at the span that is its parent, or in one around it."""
        for above in self._above(span):
            published = self._published.get((owner, *above.key, name))
            if published is not None:
                return {published}
        return set()

    def _send(self, span: Span) -> None:
        who, name = self._component(span), span.text(OPERATION).rpartition(".")[2]
        published = self._find_published(span, who, name)
        if not published:
            # What is on its way was committed, also by a handler, whose transaction has no span of its own.
            begun = self._consumed.get(span.parent_key, set())
            published = {self._add("publish", span, who, who, begun, detail=name)}
        sent = self._add("send", span, who, who, published, detail=name)
        topic = self._topic(span, who, name)
        self._steps[topic].after = (self._steps[topic].after - published) | {sent}
        # The relay ends a shipment's spans when all of it is acknowledged.
        self._end(self._add("acknowledge", span, who, who, {topic}, detail=name), span)


def _is_call(span: Span) -> bool:
    return span.kind == "client" and ("http.request.method" in span.attributes or "peer.service" in span.attributes)


def _address(span: Span) -> str:
    return f"{span.text('server.address')}:{span.number('server.port')}"


def _share_a_store(earlier: Span, later: Span) -> bool:
    """Tell whether one waited for the other although their clocks overlap by the time that it took to write them down."""
    return "db.system.name" in earlier.attributes and "db.system.name" in later.attributes
