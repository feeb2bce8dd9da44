"""What was seen is counted on the right nodes and edges; what the diagram does not allow is named."""

import dataclasses

from freehold.conform.span import Span
from tests.conform.seen import LANDSCAPE, Recorder, bound, judged, shop, unseen

SHOP = """\
Client { # Client
n1: circle label:"Look"
n2: circle label:"Change"
n3: circle label:"See"
n1.handle(right) -> Gateway.n4.handle(left) [label="GET /users/{id}/overview"]
n2.handle(right) -> Gateway.n5.handle(left) [label="PUT /users/{id}"]
}
Gateway { # Gateway
n4: rectangle label:"Ask both"
n5: rectangle label:"Forward"
n6: rectangle label:"Merge"
n7: rectangle label:"Reply"
n4.handle(bottom) -> Users.n8.handle(top) [label="GET /users/{id}"]
n4.handle(bottom) -> Orders.n13.handle(top) [label="GET /orders"]
n5.handle(bottom) -> Users.n9.handle(top) [label="PUT /users/{id}"]
n6.handle(left) -> Client.n3.handle(right)
n7.handle(left) -> Client.n3.handle(right)
}
Users { # Users
n8: rectangle label:"Read one"
n9: rectangle label:"Write one"
n10: rectangle label:"Users in PostgreSQL"
n11: rectangle label:"Outbox"
n8.handle(right) -> n10.handle(left)
n9.handle(right) -> n10.handle(left)
n9.handle(bottom) -> n11.handle(top) [label="UserUpdated"]
n9.handle(top) -> Gateway.n7.handle(bottom)
n10.handle(top) -> Gateway.n6.handle(bottom)
n11.handle(bottom) -> Kafka.n12.handle(top)
}
Kafka { # Kafka
n12: rectangle label:"Topic users"
n12.handle(bottom) -> Orders.n15.handle(top)
}
Orders { # Orders
n13: rectangle label:"List them"
n14: rectangle label:"Orders in MongoDB"
n15: rectangle label:"Consume"
n16: rectangle label:"Replica"
n17: rectangle label:"Embedded"
n13.handle(right) -> n14.handle(left)
n14.handle(top) -> Gateway.n6.handle(bottom)
n15.handle(right) -> n16.handle(left)
n16.handle(right) -> n17.handle(left)
n17.handle(right) -> n14.handle(bottom)
}
"""


def without(spans: list[Span], *names: str) -> list[Span]:
    return [span for span in spans if span.name not in names]


def test_diagram_that_is_true_is_seen_whole() -> None:
    verdict = judged(shop(), bound(SHOP))

    assert unseen(verdict) == (set(), set())
    assert (verdict.holds, verdict.fitness, verdict.undeclared, verdict.deviations) == (True, 1.0, [], [])
    assert next(node for node in verdict.nodes if node.label == "Read one").trace == f"{1:032x}"


def test_nothing_seen_is_nothing_true() -> None:
    verdict = judged([], bound(SHOP))

    assert (verdict.holds, verdict.fitness) == (False, 1.0)
    assert not [each for each in (*verdict.nodes, *verdict.edges) if each.seen]


def test_edge_that_nothing_goes_along_is_named_alone() -> None:
    added = SHOP.replace("n8.handle(right) ->", "n10.handle(bottom) -> Orders.n14.handle(top)\nn8.handle(right) ->")

    assert unseen(judged(shop(), bound(added))) == (set(), {"Users in PostgreSQL -> Orders in MongoDB"})


def test_edge_between_steps_that_are_further_apart_is_not_seen() -> None:
    added = SHOP.replace("n8.handle(right) ->", "n8.handle(bottom) -> Gateway.n6.handle(top)\nn8.handle(right) ->", 1)
    skipping = SHOP.replace(
        "n4.handle(bottom) ->", "n4.handle(right) -> Client.n3.handle(left)\nn4.handle(bottom) ->", 1
    )

    assert unseen(judged(shop(), bound(added))) == (set(), {"Read one -> Merge"})
    assert unseen(judged(shop(), bound(skipping))) == (set(), {"Ask both -> See"})


def test_copy_that_is_skipped_is_named_with_its_edges() -> None:
    verdict = judged(without(shop(), "update customers"), bound(SHOP))

    assert unseen(verdict) == ({"Replica"}, {"Consume -> Replica", "Replica -> Embedded"})


def test_event_that_is_not_published_is_named_with_its_way() -> None:
    gone = without(shop(), "send users.UserUpdated", "apply users.UserUpdated", "update customers", "update orders")
    quiet = [dataclasses.replace(span, attributes={**span.attributes, "freehold.events": []}) for span in gone]
    nodes, edges = unseen(judged(quiet, bound(SHOP)))

    assert nodes == {"Outbox", "Topic users", "Consume", "Replica", "Embedded"}
    assert "Write one -> Outbox" in edges
    assert "Write one -> Users in PostgreSQL" not in edges


def test_label_that_names_an_event_wants_that_event() -> None:
    verdict = judged(shop(), bound(SHOP.replace('[label="UserUpdated"]', '[label="UserDeleted"]')))

    assert unseen(verdict) == (set(), {"Write one -> Outbox"})


def test_handler_with_another_address_is_named() -> None:
    moved = [
        dataclasses.replace(span, attributes={**span.attributes, "http.route": "/baskets", "url.path": "/baskets"})
        if span.attributes.get("http.route") == "/orders"
        else span
        for span in shop()
    ]

    assert unseen(judged(moved, bound(SHOP))) == (
        {"List them"},
        {"Ask both -> List them", "List them -> Orders in MongoDB"},
    )


def test_transaction_of_another_name_than_declared_is_named() -> None:
    binding = bound(SHOP, **{"Users_Write one": "commit rename"})

    assert unseen(judged(shop(), binding))[0] == {"Write one"}


def test_call_that_no_edge_allows_is_named_and_costs_fitness() -> None:
    recorder = Recorder()
    inside = recorder.request(
        "orders", "GET /orders", recorder.call("gateway", "orders", recorder.request("gateway", "GET /orders"))
    )
    recorder.request("users", "GET /users/{id}", recorder.call("orders", "users", inside))
    verdict = judged([*shop(), *recorder.ended()], bound(SHOP))

    assert [(found.source, found.target, found.resource) for found in verdict.undeclared] == [
        ("orders", "users", "API")
    ]
    assert verdict.fitness < 1.0
    assert "n8" not in {deviation.node for deviation in verdict.deviations}  # told by the call that led there
    assert not verdict.holds


def test_access_to_another_services_data_is_the_loudest() -> None:
    recorder = Recorder()
    inside = recorder.request(
        "orders", "GET /orders", recorder.call("gateway", "orders", recorder.request("gateway", "GET /orders"))
    )
    recorder.request("users", "GET /users/{id}", recorder.call("orders", "users", inside))
    recorder.statement("orders", "SELECT", "users", inside, owner="users", server__port=5432)
    verdict = judged([*shop(), *recorder.ended()], bound(SHOP))

    assert [found.what for found in verdict.undeclared] == [
        "orders -> the store of users",
        "orders -> the API of users",
    ]
    assert verdict.undeclared[0].details == ("SELECT users",)


def test_second_store_with_another_ones_credentials_is_named() -> None:
    recorder = Recorder()
    through = recorder.request("gateway", "GET /orders")
    inside = recorder.request("orders", "GET /orders", recorder.call("gateway", "orders", through))
    recorder.commit("users", "peek", inside)
    recorder.spans[-1] = dataclasses.replace(recorder.spans[-1], service="orders")
    verdict = judged([*shop(), *recorder.ended()], bound(SHOP))

    assert [found.what for found in verdict.undeclared] == ["orders -> the store of users"]


def test_topic_that_is_read_without_being_drawn_is_named() -> None:
    recorder = Recorder()
    written = recorder.commit("orders", "place", recorder.request("orders", "POST /orders"), "OrderPlaced")
    recorder.send("orders", "OrderPlaced", written)
    recorder.apply("users", "orders", "OrderPlaced", written)
    verdict = judged([*shop(), *recorder.ended()], bound(SHOP))

    assert {found.what for found in verdict.undeclared} == {
        "client -> the API of orders",
        "orders -> the topic of orders",
        "topic orders -> users",
    }


def test_own_store_needs_no_edge_whatever_the_statement() -> None:
    recorder = Recorder()
    inside = recorder.request(
        "users", "PUT /users/{id}", recorder.call("gateway", "users", recorder.request("gateway", "PUT /users/{id}"))
    )
    for verb in ("SELECT", "DELETE", "MERGE"):
        recorder.statement("users", verb, "something", inside)
    verdict = judged([*shop(), *recorder.ended()], bound(SHOP))

    assert (verdict.undeclared, verdict.fitness) == ([], 1.0)


def test_step_where_the_diagram_does_not_lead_costs_fitness_and_is_named() -> None:
    recorder = Recorder()
    written = recorder.commit(
        "users",
        "import",
        recorder.request(
            "users", "POST /imports", recorder.call("gateway", "users", recorder.request("gateway", "POST /imports"))
        ),
        "UserUpdated",
    )
    recorder.send("users", "UserUpdated", written)
    verdict = judged([*shop(), *recorder.ended()], bound(SHOP))

    assert verdict.fitness < 1.0
    assert {deviation.node for deviation in verdict.deviations} == {"n7", "n11"}
    assert verdict.undeclared == []


BRANCHES = """\
Gateway { # Gateway
n1: circle label:"Client request"
n2: rectangle label:"Forward"
n3: circle label:"Return"
n1.handle(right) -> n2.handle(left)
n2.handle(bottom) -> Users.n4.handle(top)
}
Users { # Users
n4: rectangle label:"Handle the change"
n5: diamond label:"Still there?"
n6: rectangle label:"Users in PostgreSQL"
n7: rectangle label:"Refuse with 404"
n4.handle(right) -> n5.handle(left)
n5.handle(right) -> n6.handle(left) [label="Yes"]
n5.handle(bottom) -> n7.handle(top) [label="No"]
n6.handle(top) -> Gateway.n3.handle(bottom)
n7.handle(top) -> Gateway.n3.handle(bottom)
loop [until it is done] n4 n6
}
"""


def put(*statuses: int, tables: int = 1) -> list[Span]:
    recorder = Recorder()
    for status in statuses:
        through = recorder.request("gateway", "PUT /users/{id}", status=status)
        inside = recorder.request("users", "PUT /users/{id}", recorder.call("gateway", "users", through), status)
        for _ in range(tables if status == 200 else 0):
            recorder.statement("users", "UPDATE", "users", inside)
    return recorder.ended()


def test_branches_of_a_decision_are_covered_one_by_one() -> None:
    assert unseen(judged(put(200), bound(BRANCHES))) == (
        {"Refuse with 404"},
        {"Still there? -> Refuse with 404", "Refuse with 404 -> Return"},
    )
    assert unseen(judged(put(200, 404), bound(BRANCHES))) == (set(), set())
    assert [edge.label for edge in judged([], bound(BRANCHES)).edges if edge.is_branch] == ["Yes", "No"]


def test_loop_is_told_with_its_rounds() -> None:
    [loop] = judged(put(200, 200, tables=3), bound(BRANCHES)).loops

    assert (loop.condition, loop.seen, loop.count, loop.rounds, loop.rounds_max) == ("until it is done", True, 2, 6, 3)


def test_times_are_those_of_the_fiftieth_and_the_ninety_ninth_in_a_hundred() -> None:
    spans = [
        dataclasses.replace(span, ended_ns=span.began_ns + number * 1_000_000)
        for number, span in enumerate(put(*[404] * 100)[0::3], start=1)
    ]
    node = next(node for node in judged(spans, bound(BRANCHES)).nodes if node.label == "Client request")

    assert (node.count, node.p50_ms, node.p99_ms) == (100, 51.0, 100.0)


def test_component_without_a_lane_is_beyond_the_diagram() -> None:
    landscape = dataclasses.replace(LANDSCAPE, services={**LANDSCAPE.services, "billing": "postgres"})
    recorder = Recorder()
    inside = recorder.request("billing", "GET /bills")
    recorder.statement("billing", "SELECT", "bills", inside)

    assert [found.what for found in judged(recorder.ended(), bound(SHOP), landscape).undeclared] == [
        "client -> the API of billing"
    ]
