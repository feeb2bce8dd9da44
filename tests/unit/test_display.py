"""What a person reads of a start, line by line and on a terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from freehold.runtime.supervisor.display import LineDisplay, LiveDisplay, closing_table, describe
from freehold.runtime.supervisor.state import ProcessState, SystemState


def process(name: str = "kafka", **known: Any) -> ProcessState:
    return ProcessState(**{"name": name, "role": "server", **known})


def system(*processes: ProcessState) -> SystemState:
    return SystemState(system="shop", target="shop", pid=1, started_ticks=1, processes=list(processes))


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ({"state": "waiting", "detail": "for kafka (its topic)"}, "waiting for kafka (its topic)"),
        ({"state": "waiting", "detail": "port 1 is taken, using 2"}, "waiting: port 1 is taken, using 2"),
        ({"state": "starting", "detail": "formatting"}, "starting: formatting"),
        ({"state": "starting", "detail": "starting"}, "starting"),
        ({"state": "ready", "url": "http://here", "pid": 7}, "ready at http://here (process 7)"),
        ({"state": "ready", "url": "kafka://yours"}, "ready at kafka://yours"),
        (
            {"state": "starting", "detail": "downloading Kafka: 10 of 46 jars", "done_count": 10, "total_count": 46},
            "starting: downloading Kafka, 20 % of 46",
        ),
        ({"state": "done", "done_count": 50_000, "total_count": 50_000}, "done, 50,000 written"),
        ({"state": "restarting", "detail": "it ended by itself"}, "restarting: it ended by itself"),
    ],
)
def test_process_is_described_in_words(known: dict[str, Any], words: str) -> None:
    assert describe(process(**known)) == words


def test_pipe_is_told_of_changes_only() -> None:
    lines: list[str] = []
    with LineDisplay(lines.append) as shown:
        shown.show(system(process(state="waiting"), process("mongo", state="waiting")))
        shown.show(system(process(state="waiting"), process("mongo", state="starting")))
        shown.show(system(process(state="waiting"), process("mongo", state="starting")))

    assert lines == ["kafka: waiting", "mongo: waiting", "mongo: starting"]


def test_progress_on_a_pipe_is_a_line_for_each_step_not_for_each_percent() -> None:
    lines: list[str] = []
    shown = LineDisplay(lines.append)
    for done in range(101):
        shown.show(system(process(state="starting", detail="writing", done_count=done, total_count=100)))

    assert lines == [f"kafka: starting: writing, {step} % of 100" for step in (0, 20, 40, 60, 80, 100)]


def test_what_was_said_already_is_not_said_again() -> None:
    lines: list[str] = []
    shown = LineDisplay(lines.append)
    shown.skip(system(process(state="ready", url="here")))

    shown.show(system(process(state="ready", url="here")))
    shown.show(system(process(state="restarting", detail="it ended by itself")))

    assert lines == ["kafka: restarting: it ended by itself"]


def test_terminal_shows_each_process_with_what_it_waits_for_and_its_progress() -> None:
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=120, color_system=None)
    with LiveDisplay(console) as shown:
        shown.show(
            system(
                process(state="starting", detail="downloading Kafka: 10 of 46 jars", done_count=10, total_count=46),
                process("users", role="service", state="waiting", detail="for kafka (its topic)"),
            )
        )

    text = written.getvalue()
    assert "downloading Kafka, 10 of 46" in text
    assert "for kafka (its topic)" in text


def test_closing_table_says_where_everything_is_and_leaves_the_demo_out() -> None:
    written = io.StringIO()
    ready = process(state="ready", url="kafka://here:9092", pid=7, port=9092, log="/logs/kafka.log")

    Console(file=written, width=120).print(closing_table([ready, process("users demo", role="demo", state="done")]))

    assert all(each in written.getvalue() for each in ("kafka://here:9092", "7", "9092", "/logs/kafka.log"))
    assert "demo" not in written.getvalue()
