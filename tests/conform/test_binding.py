"""Lanes and nodes are bound by what they say and where they stand; the rest by a line of the declaration."""

import pytest

from freehold.conform.binding import bind
from freehold.flowzap import parse
from tests.conform.seen import LANDSCAPE, bound

# Words of our own for each kind of lane and step.
BY_MEANING = """\
Visitor { # Visitor
n1: circle label:"Look"
n2: circle label:"Read it"
n1.handle(right) -> Door.n3.handle(left) [label="GET /users/{id}/overview"]
}
Door { # Front door
n3: rectangle label:"Dispatch"
n4: rectangle label:"Merge the parts"
n5: rectangle label:"Reply"
n3.handle(bottom) -> Users.n6.handle(top) [label="GET /users/{id}"]
n4.handle(right) -> n5.handle(left)
n5.handle(left) -> Visitor.n2.handle(right)
}
Users { # The users' service
n6: rectangle label:"Fetch one"
n7: rectangle label:"Database"
n8: diamond label:"Found?"
n9: rectangle label:"Reject with 404"
n10: rectangle label:"Emit"
n6.handle(right) -> n7.handle(left)
n7.handle(right) -> n8.handle(left)
n8.handle(bottom) -> n9.handle(top) [label="No"]
n8.handle(top) -> Door.n4.handle(bottom) [label="Yes"]
n9.handle(top) -> Door.n5.handle(bottom)
n10.handle(bottom) -> Log.n11.handle(top) [label="UserUpdated"]
}
Log { # Event log
n11: rectangle label:"Stream of users"
n11.handle(bottom) -> Orders.n12.handle(top)
}
Orders { # Orders
n12: rectangle label:"Handle it"
n13: rectangle label:"Projection"
n12.handle(right) -> n13.handle(left)
}
"""


def test_lanes_are_told_by_their_names() -> None:
    binding = bound(BY_MEANING)

    assert {lane: str(participant) for lane, participant in binding.lanes.items()} == {
        "Visitor": "client client",
        "Door": "gateway gateway",
        "Users": "service users",
        "Log": "bus orders, users",
        "Orders": "service orders",
    }
    assert binding.problems == ()


def test_nodes_are_told_by_words_place_and_shape() -> None:
    claims = bound(BY_MEANING).claims

    assert {node: str(claim) for node, claim in claims.items()} == {
        "n1": "client: ask GET /users/{id}/overview",
        "n2": "client: receive",
        "n3": "gateway: request or call GET /users/{id}/overview",
        "n4": "gateway: compose",
        "n5": "gateway: answer",
        "n6": "users: request or query GET /users/{id}",
        "n7": "users: store",
        "n8": "passed, not seen by itself",
        "n9": "users: answer 404",
        "n10": "users: publish",
        "n11": "users: topic",
        "n12": "orders: consume or handle",
        "n13": "orders: copy",
    }


def test_numbers_of_nodes_mean_nothing() -> None:
    renumbered = BY_MEANING
    for number in range(13, 0, -1):
        renumbered = renumbered.replace(f"n{number}:", f"n{number + 50}:").replace(f"n{number}.", f"n{number + 50}.")
    claims, moved = bound(BY_MEANING).claims, bound(renumbered).claims

    assert {f"n{int(node[1:]) + 50}": claim for node, claim in claims.items()} == dict(moved)


def test_lane_and_node_that_mean_nothing_are_named_with_the_line_to_write() -> None:
    text = (
        BY_MEANING.replace('"Fetch one"', '"Fetch one"\nn14: rectangle label:"Ponder"')
        .replace("Visitor { # Visitor", "Zebra { # Zebra")
        .replace("Visitor.", "Zebra.")
    )
    problems = bound(text).problems

    assert len(problems) == 2
    assert '"Zebra": "service NAME"' in problems[0]
    assert '"The users\' service / Ponder": "request GET /path"' in problems[1]


def test_line_of_the_declaration_goes_before_all_meaning() -> None:
    binding = bind(
        parse(BY_MEANING).graph, LANDSCAPE, {"Visitor": "outside", "The users' service / Fetch one": "commit fetch"}
    )

    assert str(binding.lanes["Visitor"]).strip() == "outside"
    assert str(binding.claims["n6"]) == "users: commit fetch"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("ponder", "'ponder' is no kind of step; there is: ask, receive"),
        ("publish UserGone", "no service publishes 'UserGone'; there is: OrderPlaced, UserDeleted, UserUpdated"),
        ("request of users", "'of users' is no operation such as GET /users/{id}, and no status"),
    ],
)
def test_line_that_says_nothing_is_refused(line: str, said: str) -> None:
    problems = bind(parse(BY_MEANING).graph, LANDSCAPE, {"Users / Fetch one": line}).problems

    assert [problem for problem in problems if said in problem]


def test_line_for_what_the_diagram_does_not_have_is_a_problem_of_its_own_diagram_only() -> None:
    graph = parse(BY_MEANING).graph
    stale = {"Users / Gone": "commit gone"}

    assert "binds nothing" in bind(graph, LANDSCAPE, stale).problems[0]
    assert bind(graph, LANDSCAPE, stale, is_own=False).problems == ()


def test_person_is_told_from_the_service_of_the_same_name() -> None:
    text = 'User { # User\nn1: circle label:"Go"\nn1.handle(right) -> UserService.n2.handle(left)\n}\n'
    text += 'UserService { # User Service\nn2: rectangle label:"Handle"\n}\n'

    assert str(bound(text).lanes["User"]) == "client client"
    assert str(bound(text).lanes["UserService"]) == "service users"
