"""Spans become steps, each with what directly precedes it, also across processes, topics and traces."""

import dataclasses

from freehold.conform.follow import follow
from freehold.conform.step import Step
from tests.conform.seen import LANDSCAPE, Recorder, shop


def steps_of(recorder: Recorder) -> list[Step]:
    return follow(recorder.ended(), LANDSCAPE)


def find(steps: list[Step], does: str, who: str) -> Step:
    return next(step for step in steps if (step.does, step.who) == (does, who))


def before(steps: list[Step], step: Step) -> set[tuple[str, str]]:
    return {(steps[each].does, steps[each].who) for each in step.after}


def test_request_is_followed_from_the_client_through_the_gateway_to_the_store_and_back() -> None:
    steps = follow(shop(), LANDSCAPE)
    composed = find(steps, "compose", "gateway")

    assert before(steps, find(steps, "request", "gateway")) == {("ask", "client")}
    assert before(steps, find(steps, "request", "users")) == {("call", "gateway")}
    assert ("store", "users") in before(steps, find(steps, "answer", "users"))
    assert before(steps, composed) >= {("answer", "users"), ("answer", "orders")}
    assert before(steps, find(steps, "receive", "client")) == {("answer", "gateway")}


def test_event_is_followed_from_the_commit_to_the_row_in_the_copy() -> None:
    steps = follow(shop(), LANDSCAPE)

    assert ("commit", "users") in before(steps, find(steps, "publish", "users"))
    assert before(steps, find(steps, "send", "users")) == {("publish", "users")}
    assert before(steps, find(steps, "topic", "users")) == {("send", "users")}
    assert before(steps, find(steps, "consume", "orders")) == {("topic", "users")}
    assert before(steps, find(steps, "copy", "orders")) == {("consume", "orders")}
    assert ("copy", "orders") in before(steps, find(steps, "embed", "orders"))


def test_parts_that_are_asked_at_the_same_time_do_not_follow_one_another() -> None:
    recorder = Recorder()
    overview = recorder.request("gateway", "GET /users/{id}/overview")
    for callee in ("users", "orders"):
        recorder.request(callee, f"GET /{callee}", recorder.call("gateway", callee, overview))
    end = max(span.ended_ns for span in recorder.spans) + 100
    spans = [dataclasses.replace(span, ended_ns=end) for span in recorder.spans]
    steps = follow(spans, LANDSCAPE)
    calls = [step for step in steps if step.does == "call"]

    assert [before(steps, call) for call in calls] == [{("request", "gateway")}] * 2


def test_work_that_goes_on_in_another_trace_by_links_follows_each_event() -> None:
    recorder = Recorder()
    applied = []
    for _ in range(2):
        written = recorder.commit("users", "change", recorder.request("users", "PUT /users/{id}"), "UserUpdated")
        recorder.send("users", "UserUpdated", written)
        applied.append(recorder.apply("orders", "users", "UserUpdated", written))
    batch = recorder.span("apply together", "consumer", "orders")
    recorder.spans[-1] = batch = dataclasses.replace(batch, links=tuple(span.key for span in applied))
    recorder.statement("orders", "update", "customers", batch)
    steps = steps_of(recorder)
    copied = find(steps, "copy", "orders")

    assert [steps[each].does for each in copied.after] == ["consume", "consume"]
    assert copied.trace not in {steps[each].trace for each in copied.after}
    assert copied.is_of_event("UserUpdated")


def test_handler_and_what_it_publishes_are_followed_on() -> None:
    recorder = Recorder()
    written = recorder.commit("users", "change", recorder.request("users", "PUT /users/{id}"), "UserUpdated")
    recorder.send("users", "UserUpdated", written)
    handled = recorder.apply("orders", "users", "UserUpdated", written)
    recorder.spans[-1] = handled = dataclasses.replace(handled, name="handle users.UserUpdated")
    recorder.statement("orders", "insert", "letters", handled)
    recorder.send("orders", "OrderPlaced", handled)
    steps = steps_of(recorder)
    published = next(step for step in steps if (step.does, step.who) == ("publish", "orders"))

    assert before(steps, find(steps, "handle", "orders")) == {("consume", "orders")}
    assert before(steps, find(steps, "query", "orders")) == {("handle", "orders")}
    assert before(steps, published) == {("handle", "orders")}
    assert before(steps, find(steps, "send", "orders")) == {("publish", "orders")}


def test_transaction_that_failed_has_published_nothing() -> None:
    recorder = Recorder()
    recorder.commit("users", "change", recorder.request("users", "PUT /users/{id}"), "UserUpdated")
    recorder.spans[-1] = dataclasses.replace(recorder.spans[-1], is_failed=True)

    assert "publish" not in {step.does for step in steps_of(recorder)}


def test_caller_that_sends_no_trace_is_told_by_the_connection() -> None:
    recorder = Recorder()
    inside = recorder.request("orders", "GET /orders")
    described = {"server__address": "127.0.0.1", "server__port": 4001, "network__local__port": 50_001}
    recorder.span("connect 127.0.0.1:4001", "client", "orders", inside, **described)
    recorder.request("users", "GET /users", network__peer__port=50_001)
    steps = steps_of(recorder)

    assert before(steps, find(steps, "request", "users")) == {("call", "orders")}


def test_call_by_other_means_that_passes_the_trace_on_is_a_call() -> None:
    recorder = Recorder()
    recorder.request("users", "GET /users", recorder.request("orders", "GET /orders"))
    steps = steps_of(recorder)

    assert before(steps, find(steps, "request", "users")) == {("call", "orders")}
    assert before(steps, find(steps, "call", "orders")) == {("request", "orders")}


def test_freeholds_own_tables_are_bookkeeping() -> None:
    recorder = Recorder()
    written = recorder.commit("users", "change", recorder.request("users", "PUT /users/{id}"), "UserUpdated")
    recorder.statement("users", "INSERT", "freehold.outbox", written)

    assert [step.does for step in steps_of(recorder) if step.detail == "INSERT freehold.outbox"] == ["query"]
    assert find([step for step in steps_of(recorder) if step.is_internal], "query", "users")


def test_span_that_came_twice_counts_once() -> None:
    assert len(follow([*shop(), *shop()], LANDSCAPE)) == len(follow(shop(), LANDSCAPE))


def test_spans_nested_without_end_are_followed_as_far_as_any_program_nests() -> None:
    recorder = Recorder()
    inside = recorder.request("users", "GET /users")
    for _ in range(5_000):
        inside = recorder.span("deeper", "internal", "users", inside)
    recorder.statement("users", "SELECT", "users", inside)

    assert [step.does for step in follow(recorder.spans, LANDSCAPE)] == ["ask", "request", "answer", "receive"]
