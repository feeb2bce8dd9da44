"""Spans as the processes of a small shop would export them, for tests that need no process."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable
from typing import Any

from freehold.conform.binding import Binding, bind
from freehold.conform.judge import judge
from freehold.conform.landscape import Landscape
from freehold.conform.span import Kind, Span
from freehold.conform.verdict import Verdict
from freehold.flowzap import parse

LANDSCAPE = Landscape(
    services={"users": "postgres", "orders": "mongo"},
    gateway="gateway",
    compositions=frozenset({"/users/{id}/overview"}),
    events={"UserUpdated": "users", "UserDeleted": "users", "OrderPlaced": "orders"},
    copies={"orders": frozenset({"customers"})},
    embedded={"orders": frozenset({"orders"})},
    sources={"orders": frozenset({"users"})},
    ports={4000: "gateway", 4001: "users", 4002: "orders"},
    servers={5432: frozenset({"users"}), 27017: frozenset({"orders"})},
)


class Recorder:
    """Writes spans down in the order of the calls; each lasts until the last one beneath it is over."""

    def __init__(self, first: int = 10_000) -> None:
        self.spans: list[Span] = []
        self._numbers = itertools.count(first)

    def span(self, name: str, kind: Kind, service: str, parent: Span | None = None, **attributes: Any) -> Span:
        number = next(self._numbers)
        trace = parent.trace if parent is not None else f"{number:032x}"
        named = {key.replace("__", "."): value for key, value in attributes.items()}
        made = Span(
            trace,
            f"{number:016x}",
            parent.id if parent else "",
            service,
            name,
            kind,
            number * 1000,
            number * 1000 + 500,
            named,
        )
        self.spans.append(made)
        return made

    def request(self, service: str, operation: str, parent: Span | None = None, status: int = 200, **more: Any) -> Span:
        method, route = operation.split(" ")
        described = {"http__request__method": method, "http__route": route, "url__path": route.replace("{id}", "7")}
        return self.span(
            operation,
            "server",
            service,
            parent,
            http__response__status_code=status,
            freehold__service=service,
            **described,
            **more,
        )

    def call(self, service: str, callee: str, parent: Span) -> Span:
        return self.span(f"GET {callee}", "client", service, parent, http__request__method="GET", peer__service=callee)

    def statement(
        self, service: str, verb: str, table: str, parent: Span, owner: str | None = None, **more: Any
    ) -> Span:
        own = {} if owner not in {None, service} else {"freehold__store": service}
        system = "postgresql" if LANDSCAPE.services.get(owner or service) != "mongo" else "mongodb"
        described = {"db__operation__name": verb, "db__collection__name": table, "db__namespace": owner or service}
        return self.span(
            f"{verb} {table}", "client", service, parent, db__system__name=system, **described, **own, **more
        )

    def commit(self, service: str, function: str, parent: Span, *events: str) -> Span:
        types = [f"{service}.{event}" for event in events]
        return self.span(
            "transact",
            "client",
            service,
            parent,
            db__system__name="postgresql",
            freehold__store=service,
            freehold__operation=function,
            freehold__events=types,
        )

    def send(self, service: str, event: str, parent: Span) -> Span:
        operation = f"send {service}.{event}"
        described = {"freehold__service": service, "freehold__topic": service, "freehold__operation": operation}
        return self.span(operation, "producer", service, parent, **described)

    def apply(self, service: str, source: str, event: str, parent: Span) -> Span:
        operation = f"apply {source}.{event}"
        described = {"freehold__service": service, "freehold__topic": source, "freehold__operation": operation}
        return self.span(operation, "consumer", service, parent, **described)

    def ended(self) -> list[Span]:
        """Give the spans, each ended after all that are beneath it, but for what nobody waits for."""
        ends = {span.key: span.ended_ns for span in self.spans}
        for span in reversed(self.spans):
            if span.parent_key in ends and span.kind not in {"producer", "consumer"}:
                ends[span.parent_key] = max(ends[span.parent_key], ends[span.key] + 10)
        return [dataclasses.replace(span, ended_ns=ends[span.key]) for span in self.spans]


def shop() -> list[Span]:
    """Give what one overview and one change leave behind."""
    recorder = Recorder(first=1)
    overview = recorder.request("gateway", "GET /users/{id}/overview")
    asked = recorder.call("gateway", "users", overview)
    recorder.statement("users", "SELECT", "users", recorder.request("users", "GET /users/{id}", asked))
    asked = recorder.call("gateway", "orders", overview)
    recorder.statement("orders", "find", "orders", recorder.request("orders", "GET /orders", asked))
    changed = _put(recorder)
    written = recorder.commit("users", "change", changed, "UserUpdated")
    recorder.statement("users", "UPDATE", "users", written)
    recorder.send("users", "UserUpdated", written)
    applied = recorder.apply("orders", "users", "UserUpdated", written)
    recorder.statement("orders", "update", "customers", applied)
    recorder.statement("orders", "update", "orders", applied)
    return recorder.ended()


def _put(recorder: Recorder) -> Span:
    through = recorder.request("gateway", "PUT /users/{id}")
    return recorder.request("users", "PUT /users/{id}", recorder.call("gateway", "users", through))


def bound(text: str, **lines: str) -> Binding:
    return bind(parse(text).graph, LANDSCAPE, {key.replace("_", " / "): line for key, line in lines.items()})


def judged(spans: Iterable[Span], binding: Binding, landscape: Landscape = LANDSCAPE) -> Verdict:
    return judge(spans, binding, landscape, system="shop", diagram="shop.fz")


def unseen(verdict: Verdict) -> tuple[set[str], set[str]]:
    """Give the labels of the nodes, and of the edges by their ends, that were never seen."""
    labels = {node.id: node.label for node in verdict.nodes}
    return (
        {node.label for node in verdict.nodes if not node.seen},
        {f"{labels[edge.source]} -> {labels[edge.target]}" for edge in verdict.edges if not edge.seen},
    )
