"""A scenario says at what it ended, in words, and never hangs."""

from collections.abc import Mapping
from typing import Any

import pytest

from freehold.conform.collector import Collector
from freehold.conform.door import Door, Reply
from freehold.conform.drive import drive
from freehold.errors import ScenarioError
from freehold.service import System
from systems.database_per_service.scenarios import new_name_reaches_the_orders

NOT_YET, NEW = ({"items": [{"customer": {"name": name}}], "next": None} for name in ("Ada", "Ada King"))


class Answers(Door):
    """Makes what it is asked to make, and shows one overview after the other."""

    def __init__(self, *overviews: Any) -> None:
        self.overviews = list(overviews)

    def ask(self, method: str, path: str, json: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
        if method == "GET":
            return Reply(200, {}, {"user": {}, "orders": self.overviews.pop(0), "missing": []})
        return Reply(201 if method == "POST" else 200, {}, {"id": "u1"})


def test_answer_with_another_status_is_said() -> None:
    with Collector() as server:
        door = Door(server.url)

        assert door.expect(200, "POST", "/", {}).json is None
        with pytest.raises(ScenarioError, match=r"GET /users answered 501, not 200"):
            door.expect(200, "GET", "/users")


def test_nobody_there_is_said() -> None:
    with Collector() as server:
        url = server.url
    with pytest.raises(ScenarioError, match="GET /users: no answer"):
        Door(url).ask("GET", "/users")


def test_what_never_comes_is_given_up() -> None:
    with pytest.raises(ScenarioError, match=r"the moon did not come within 0\.1 s"):
        Door("http://127.0.0.1:1").until("the moon", lambda: None, 0.1)


def test_system_without_scenarios_is_told_what_to_write() -> None:
    with pytest.raises(ScenarioError, match=r"System\(\.\.\., scenarios=\[\.\.\.\]\)"):
        drive(System(name="still", services=[]), "nowhere", print)


def test_overview_that_went_out_without_its_orders_is_asked_for_again() -> None:
    door = Answers(None, NOT_YET, NEW)

    new_name_reaches_the_orders(door)

    assert door.overviews == []
