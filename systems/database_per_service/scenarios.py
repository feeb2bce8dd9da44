"""What a client of this system does: enough to see every node and edge of its diagram happen."""

from __future__ import annotations

from typing import Any

_LINE = {"sku": "TEA-1", "quantity": 2, "unit_price_cents": 450}


def new_name_reaches_the_orders(door: Any) -> None:
    """A user is made, orders, and changes their name; the orders follow."""
    user = _make_user(door, "ada")
    order = _place_order(door, user)
    door.expect(200, "PUT", f"/users/{user}", {"name": "Ada King", "email": "ada.king@example.org"})
    door.until("the new name in the order", lambda: _customer_of(door, order)["name"] == "Ada King")
    overview = door.expect(200, "GET", f"/users/{user}/overview").json
    assert not overview["missing"], overview


def change_of_an_older_version_is_refused(door: Any) -> None:
    """A change that was made of an older version is refused."""
    user = _make_user(door, "grace")
    door.expect(200, "PUT", f"/users/{user}", {"name": "Grace M.", "email": "grace@example.org"}, {"If-Match": '"1"'})
    door.expect(412, "PUT", f"/users/{user}", {"name": "Grace", "email": "grace@example.org"}, {"If-Match": '"1"'})


def deleted_user_is_forgotten_by_the_orders(door: Any) -> None:
    """A user is deleted; the orders stay, and know nobody's name any more."""
    user = _make_user(door, "alan")
    order = _place_order(door, user)
    door.expect(204, "DELETE", f"/users/{user}")
    door.until("the erasure in the order", lambda: _customer_of(door, order)["name"] is None)


def _make_user(door: Any, name: str) -> str:
    made = door.expect(201, "POST", "/users", {"name": name.title(), "email": f"{name}@example.org"})
    return str(made.json["id"])


def _place_order(door: Any, user: str) -> str:
    """Place an order as soon as orders has heard of the user."""

    def placed() -> Any:
        answer = door.ask("POST", "/orders", {"user_id": user, "lines": [_LINE]})
        return answer.json["id"] if answer.status == 201 else None

    return str(door.until("an order for a user that was made a moment ago", placed))


def _customer_of(door: Any, order: str) -> Any:
    return door.expect(200, "GET", f"/orders/{order}").json["customer"]
