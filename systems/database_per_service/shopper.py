"""One client of the shop in a drill: signs people up, renames and deletes them, orders and takes orders on their way."""

from __future__ import annotations

from freehold.drill.load import Request, Session
from freehold.drill.observed import Action, Outcome

USERS_MAX = 12
USERS_MIN = 3
NEXT_STATUS = {"placed": "paid", "paid": "shipped", "shipped": "delivered"}


class Shopper:
    """Knows its own users and orders, and where each order stands."""

    def __init__(self) -> None:
        self._users: list[str] = []
        self._orders: dict[str, str] = {}

    def step(self, session: Session) -> Outcome:
        """Send one write of some kind."""
        if len(self._users) < USERS_MIN:
            return self._create_user(session)
        steps = {self._create_user: 10, self._rename_user: 42, self._place_order: 26, self._move_order: 18}
        if len(self._users) > USERS_MAX:
            steps[self._delete_user] = 30
        [step] = session.chance.choices(list(steps), weights=list(steps.values()))
        return step(session)

    def _create_user(self, session: Session) -> Outcome:
        asked = _person(session)
        write = session.send(Request("user", Action.CREATE, "POST", "/users", asked, asked))
        if write.outcome is Outcome.ACKNOWLEDGED:
            self._users.append(write.entity_id)
        return write.outcome

    def _rename_user(self, session: Session) -> Outcome:
        user_id = session.chance.choice(self._users)
        asked = _person(session)
        return session.send(Request("user", Action.CHANGE, "PUT", f"/users/{user_id}", asked, asked, user_id)).outcome

    def _delete_user(self, session: Session) -> Outcome:
        user_id = self._users[0]
        write = session.send(Request("user", Action.DELETE, "DELETE", f"/users/{user_id}", {}, None, user_id))
        if write.outcome is not Outcome.UNKNOWN:
            self._users.remove(user_id)
        return write.outcome

    def _place_order(self, session: Session) -> Outcome:
        user_id = session.chance.choice(self._users)
        cents = session.number()
        body = {"user_id": user_id, "lines": [{"sku": "soap", "quantity": 1, "unit_price_cents": cents}]}
        asked = {"user_id": user_id, "total_cents": cents, "status": "placed"}
        key = f'"order-{cents}"' if session.chance.random() < 0.5 else ""
        write = session.send(Request("order", Action.CREATE, "POST", "/orders", asked, body, key=key))
        if write.outcome is Outcome.ACKNOWLEDGED:
            self._orders[write.entity_id] = "placed"
        return write.outcome

    def _move_order(self, session: Session) -> Outcome:
        if not self._orders:
            return self._place_order(session)
        order_id = session.chance.choice(list(self._orders))
        status = NEXT_STATUS[self._orders[order_id]]
        asked = {"status": status}
        write = session.send(Request("order", Action.CHANGE, "PATCH", f"/orders/{order_id}", asked, asked, order_id))
        if write.outcome is Outcome.ACKNOWLEDGED and status in NEXT_STATUS:
            self._orders[order_id] = status
        elif write.outcome is not Outcome.UNKNOWN:
            del self._orders[order_id]
        return write.outcome


def _person(session: Session) -> dict[str, str]:
    number = session.number()
    return {"name": f"Person {number} of the load", "email": f"person-{number}@load.example"}
