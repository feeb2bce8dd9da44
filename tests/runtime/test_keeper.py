"""Whatever a step fails of is told, so that nobody waits for it."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from freehold.runtime.supervisor.keeper import Keeper
from freehold.runtime.supervisor.plan import Step
from freehold.runtime.supervisor.state import Board, Place, ProcessState, SystemState

LIMIT_S = 10.0


class Broken:
    """A step that fails of what nobody foresaw: an import that fails, a bug of ours."""

    def met(self, name: str, tell: Any) -> None:
        return

    def start(self, tell: Any, is_wanted: Any) -> None:
        raise ImportError("cannot import name 'refused'")

    def is_running(self) -> bool:
        return False

    def stop(self, timeout_s: float) -> None:
        return


def test_a_step_that_fails_of_an_unforeseen_error_has_failed_and_says_why(tmp_path: Path) -> None:
    state = SystemState(
        system="broken",
        target="",
        pid=os.getpid(),
        started_ticks=None,
        processes=[ProcessState(name="mongo", role="server")],
    )
    board = Board(Place(tmp_path), state, lambda _: None)
    keeper = Keeper(Step("mongo", "server"), Broken(), board)
    keeper.start()
    until = time.monotonic() + LIMIT_S
    while keeper.is_alive():
        assert time.monotonic() < until, "the step does not end"
        board.wait(0.05)

    assert board.find("mongo").state == "failed"
    assert board.find("mongo").detail == "ImportError: cannot import name 'refused'"
