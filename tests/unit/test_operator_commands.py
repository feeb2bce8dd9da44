"""What an operator's commands decide before they ask anybody, and how they end."""

from __future__ import annotations

import json
import signal

import pytest
import typer

from freehold.cli.audit import choose
from freehold.cli.output import bars, confirm, interruptible, print_json_line
from freehold.errors import ConfigurationError
from tests.runtime.small.system import system

BOTH = [("tags", "notes"), ("marks", "notes")]


def test_audit_means_all_that_are_up_unless_one_is_named() -> None:
    assert choose(system, ["notes", "tags", "marks"], None) == BOTH
    assert choose(system, ["notes", "marks"], None) == [("marks", "notes")]
    assert choose(system, ["marks"], "notes") == BOTH
    assert choose(system, ["marks"], "tags.notes") == [("tags", "notes")]


@pytest.mark.parametrize("wanted", ["customers", "notes.notes", "tags."])
def test_audit_of_no_such_replica_names_those_that_there_are(wanted: str) -> None:
    with pytest.raises(ConfigurationError, match=r"no replica '.*'; there is: tags\.notes, marks\.notes"):
        choose(system, ["notes", "tags", "marks"], wanted)


def test_audit_of_nothing_is_no_success() -> None:
    with pytest.raises(ConfigurationError, match=r"no replica to compare in what is up; small has: tags\.notes"):
        choose(system, ["notes"], None)


@pytest.mark.parametrize("as_json", [True, False])
def test_nobody_is_asked_where_nobody_can_answer(capsys: pytest.CaptureFixture[str], as_json: bool) -> None:
    confirm("Begin?", yes=True, json=as_json)
    with pytest.raises(ConfigurationError, match="say --yes"):
        confirm("Begin?", yes=False, json=as_json)

    assert capsys.readouterr() == ("", "")


def test_interrupted_command_says_how_to_go_on(capsys: pytest.CaptureFixture[str]) -> None:
    # Tests that run in the background of a shell ignore interrupts.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(typer.Exit) as ended, interruptible("the same command goes on"):
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)

    assert ended.value.exit_code == 130
    assert capsys.readouterr().err == "interrupted; the same command goes on\n"


def test_progress_in_a_pipe_is_nothing_or_a_line_for_each_thing(capsys: pytest.CaptureFixture[str]) -> None:
    for lines in (False, True):
        with bars(lines=lines) as show:
            for done in range(3):
                show("users: telling again: user", done, 3)
                show("orders.customers: comparing", done, 0)

    assert capsys.readouterr() == ("", "users: telling again: user\norders.customers: comparing\n")


def test_data_of_which_more_may_follow_is_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        print_json_line({"text": "one\nline", "number": number})

    assert [json.loads(line)["number"] for line in capsys.readouterr().out.splitlines()] == [0, 1]
