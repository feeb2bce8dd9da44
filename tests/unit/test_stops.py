"""What `freehold status` says of a service of which something stands still."""

from __future__ import annotations

from typing import Any

from freehold.runtime.supervisor.report import explain_stops, summarise_lag


def consumer(state: str, error: str = "", partitions: dict[str, Any] | None = None) -> dict[str, Any]:
    return {"state": state, "error": error, "partitions": partitions or {}}


def test_each_reason_is_told_once() -> None:
    full = {"state": "stopped", "error": "5 events of its key are parked", "lag": 1}
    expired = consumer("stopped", "the topic users was made anew")
    progress = {
        "relay": {"state": "waiting", "last_error": "the store went back in time"},
        "consumers": {"users": expired, "people": consumer("reading", partitions={"0": full, "1": full, "2": {}})},
    }

    assert explain_stops(progress) == [
        "its relay is waiting: the store went back in time",
        "reading users is stopped: the topic users was made anew",
        "5 events of its key are parked",
    ]
    assert summarise_lag(progress) == "users 0 behind; people 2 behind, 2 partitions stopped"


def test_what_has_passed_is_not_told() -> None:
    well = {"0": {"state": "reading", "error": ""}}
    relay = {"state": "following", "last_error": "the topic does not acknowledge"}

    assert explain_stops({"relay": relay, "consumers": {"users": consumer("reading", partitions=well)}}) == []
    assert explain_stops({"relay": None, "consumers": None}) == []
