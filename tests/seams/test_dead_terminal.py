"""`freehold dead` as somebody at a terminal meets it: questions that are answered or not, and an editor of theirs."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from freehold.runtime.parts import make_rounds
from freehold.service import Service
from tests.seams.consuming import Run
from tests.seams.pair import owner
from tests.seams.parked import NEVER_AGAIN, Poison, parked, parking, until_effects, until_parked
from tests.seams.terminal import CTRL_C, CTRL_D, on_terminal
from tests.seams.test_dead import Command, die

pytestmark = [pytest.mark.services, pytest.mark.timeout(300)]


async def is_untouched(orders: Service) -> bool:
    return all((event.replays, event.intent) == (0, None) for event in await parked(orders))


async def test_question_is_asked_and_nothing_is_done_without_a_yes(freehold_service: Run) -> None:
    poison = Poison("u1", "u2")
    users, orders = owner("mongo"), parking("postgres", poison, NEVER_AGAIN)
    async with freehold_service(users), freehold_service(orders) as reader:
        variables = Command(reader).variables
        await die(users, orders, ["u1", "u2"])

        for answer in ("n\n", "\n", CTRL_D, CTRL_C):
            code, shown = await answered(["redrive", "--all"], "Redrive 2 events? [y/N]", answer, variables)
            assert (code, "LookupError: no such thing" in shown) == (1, True), shown
        code, shown = await answered(["discard", "--all"], "Discard 2 events? [y/N]", "n\n", variables)
        assert (code, "their data is deleted" in shown) == (1, True), shown
        async with on_terminal(["dead", "redrive", "--all"], variables) as terminal:
            await terminal.shows("Redrive 2 events?")  # and it is killed
        assert await is_untouched(orders)
        assert await make_rounds(orders).unfinished() is None

        poison.refused.clear()
        [discarded, _] = sorted(str(event.id) for event in await parked(orders))
        code, shown = await answered(["discard", f"orders/{discarded}"], "Discard 1 event?", "y\n", variables)
        assert (code, "1 discarded" in shown) == (0, True), shown
        code, shown = await answered(["redrive", "--all"], "Redrive 1 event?", "yes\n", variables)
        assert (code, "1 took effect" in shown) == (0, True), shown
        await until_parked(orders, {})


async def answered(arguments: list[str], question: str, answer: str, variables: Mapping[str, str]) -> tuple[int, str]:
    async with on_terminal(["dead", *arguments], variables) as terminal:
        await terminal.shows(question)
        if answer == CTRL_C:
            return await terminal.ends_when_interrupted(), terminal.shown
        terminal.type(answer)
        return await terminal.ends(), terminal.shown


GOOD = '{"id": "u1", "name": "name 5"}'


async def test_editor_that_brings_nothing_usable_changes_nothing(freehold_service: Run, tmp_path: Path) -> None:
    users, orders = owner("mongo"), parking("mongo", Poison("u1 name 1"), NEVER_AGAIN)
    async with freehold_service(users), freehold_service(orders) as reader:
        [event_id] = await die(users, orders, ["u1"])
        editing = Editing(tmp_path, Command(reader).variables, f"orders/{event_id}")

        for script, said in [
            ("exit 3", "failed, so nothing was done"),
            ("true", "nothing was changed, so nothing was done"),
            (': > "$1"', "the data is refused, and nothing was changed"),
            ("echo '{' > \"$1\"", "the data is refused, and nothing was changed"),
            ('echo \'{"id": "u2", "name": "name 7"}\' > "$1"', "the data is refused, and nothing was changed"),
            ('rm "$1"', "took the file away, so nothing was done"),
        ]:
            code, shown = await editing.run(script)
            assert (code, said in shown) == (1, True), (script, shown)
        code, shown = await editing.run("", editor="/no/such/editor")
        assert (code, "/no/such/editor failed, so nothing was done" in shown) == (1, True), shown
        async with on_terminal(*editing.command('echo "editing for $PPID."; sleep 60')) as terminal:
            await terminal.shows(".")
            [pid] = re.findall(r"editing for (\d+)\.", terminal.shown)
            os.kill(int(pid), signal.SIGKILL)
            assert await terminal.ends() != 0
        assert await is_untouched(orders)

        code, shown = await editing.run(f"grep -q 'name 1' \"$1\" && echo '{GOOD}' > \"$1\"")
        assert (code, "has new data, and is tried now" in shown) == (0, True), shown
        await until_effects(orders, {"u1": [5]})


async def test_interrupt_in_the_editor_is_the_editors(freehold_service: Run, tmp_path: Path) -> None:
    """Ctrl-C goes to all that run on the terminal; vi takes it for the end of an insertion, and we must not give up."""
    users, orders = owner("mongo"), parking("postgres", Poison("u1 name 1"), NEVER_AGAIN)
    async with freehold_service(users), freehold_service(orders) as reader:
        [event_id] = await die(users, orders, ["u1"])
        editing = Editing(tmp_path, Command(reader).variables, f"orders/{event_id}")
        script = f"trap 'echo interrupted' INT; echo ready; read line; read line; echo '{GOOD}' > \"$1\""
        async with on_terminal(*editing.command(script)) as terminal:
            await terminal.shows("ready")
            terminal.type(CTRL_C)
            await terminal.shows("interrupted")
            terminal.type("\n\n")

            assert await terminal.ends() == 0, terminal.shown
        await until_effects(orders, {"u1": [5]})


class Editing:
    """`freehold dead edit` of one event, by an editor that is a script."""

    def __init__(self, directory: Path, variables: Mapping[str, str], event_id: str) -> None:
        self._directory = directory
        self._variables = variables
        self._event_id = event_id

    def command(self, script: str, editor: str = "") -> tuple[list[str], dict[str, Any]]:
        """Give what to run, and its variables."""
        path = self._directory / "editor.sh"
        path.write_text(f"{script}\n", encoding="utf-8")
        named = {"VISUAL": editor or f"sh {path}", "TMPDIR": str(self._directory)}
        return ["dead", "edit", self._event_id], {**self._variables, **named}

    async def run(self, script: str, editor: str = "") -> tuple[int, str]:
        """Edit to the end; give the exit code and what was shown."""
        async with on_terminal(*self.command(script, editor)) as terminal:
            return await terminal.ends(), terminal.shown
