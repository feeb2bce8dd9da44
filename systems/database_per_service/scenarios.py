"""What a client of this system does: enough to see every node and edge of its diagram happen."""

from __future__ import annotations

from typing import Any

_NOBODY = "00000000-0000-7000-8000-000000000000"
_LINE = {"sku": "TEA-1", "quantity": 2, "unit_price_cents": 450}


def new_name_reaches_the_orders(door: Any) -> None:
    """A user signs up, orders, and saves a new name; the orders follow."""
    user = sign_up(door, "ada")
    place_order(door, user)
    door.expect(200, "PUT", f"/users/{user}", {"name": "Ada King", "email": "ada.king@example.org"})

    def renamed() -> bool:
        orders = door.expect(200, "GET", f"/users/{user}/overview").json["orders"]
        # None: orders was late, and the answer went out without it.
        return orders is not None and {order["customer"]["name"] for order in orders["items"]} == {"Ada King"}

    door.until("the new name in the order", renamed)


def change_of_an_older_version_is_refused(door: Any) -> None:
    """A change that was made of an older version is refused."""
    user = sign_up(door, "grace")
    door.expect(200, "PUT", f"/users/{user}", {"name": "Grace M.", "email": "grace@example.org"}, {"If-Match": '"1"'})
    door.expect(412, "PUT", f"/users/{user}", {"name": "Grace", "email": "grace@example.org"}, {"If-Match": '"1"'})


def order_for_nobody_is_refused(door: Any) -> None:
    """An order for somebody whom orders has never heard of is refused."""
    door.expect(409, "POST", "/orders", {"user_id": _NOBODY, "lines": [_LINE]})


def deleted_user_is_forgotten_by_the_orders(door: Any) -> None:
    """A user leaves; the orders stay, and know nobody's name any more."""
    user = sign_up(door, "alan")
    place_order(door, user)
    door.expect(204, "DELETE", f"/users/{user}")

    def forgotten() -> bool:
        orders = door.expect(200, "GET", f"/orders?user_id={user}").json["items"]
        return [order["customer"]["name"] for order in orders] == [None]

    door.until("the erasure in the order", forgotten)


SCENARIOS = (
    new_name_reaches_the_orders,
    change_of_an_older_version_is_refused,
    order_for_nobody_is_refused,
    deleted_user_is_forgotten_by_the_orders,
)


def sign_up(door: Any, name: str) -> str:
    """Make a user; give the id."""
    made = door.expect(201, "POST", "/users", {"name": name.title(), "email": f"{name}@example.org"})
    return str(made.json["id"])


def place_order(door: Any, user: str) -> str:
    """Place an order as soon as orders has heard of the user; give its id."""

    def placed() -> Any:
        answer = door.ask("POST", "/orders", {"user_id": user, "lines": [_LINE]})
        return answer.json["id"] if answer.status == 201 else None

    return str(door.until("an order for a user that was made a moment ago", placed))
