"""A scenario says at what it ended, in words, and never hangs."""

import pytest

from freehold.conform.collector import Collector
from freehold.conform.door import Door
from freehold.conform.drive import drive
from freehold.errors import ScenarioError
from freehold.service import System


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
