"""Where an operator's commands find the services: by the environment, or up in the current directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from freehold.cli.reach import reach
from freehold.errors import ConfigurationError

SYSTEM = "systems.database_per_service.system:system"
USERS = "http://operator:letmein-letmein@users.example:8000"


@pytest.fixture(autouse=True)
def _nothing_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("FREEHOLD_SYSTEM", "FREEHOLD_UPSTREAM_USERS"):
        monkeypatch.delenv(name, raising=False)


def test_services_elsewhere_are_found_by_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FREEHOLD_SYSTEM", SYSTEM)
    monkeypatch.setenv("FREEHOLD_UPSTREAM_USERS", USERS)

    reached = reach()

    assert reached.system.name == "database_per_service"
    assert reached.peer("users").name == "users"
    with pytest.raises(ConfigurationError, match="orders is not up here; these services are: users"):
        reached.peer("orders")


def test_a_url_without_a_caller_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FREEHOLD_SYSTEM", SYSTEM)
    monkeypatch.setenv("FREEHOLD_UPSTREAM_USERS", "http://users.example:8000")

    with pytest.raises(ConfigurationError, match="says nobody who calls"):
        reach().peer("users")


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({}, "nothing is up here"),
        ({"FREEHOLD_SYSTEM": SYSTEM}, "FREEHOLD_UPSTREAM_<SERVICE> takes"),
        ({"FREEHOLD_UPSTREAM_USERS": USERS}, "FREEHOLD_SYSTEM is not set"),
    ],
)
def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], message: str) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)

    with pytest.raises(ConfigurationError, match=message) as failure:
        reach()

    assert "letmein" not in str(failure.value)
