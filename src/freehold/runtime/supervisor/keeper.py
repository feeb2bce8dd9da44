"""Keep one process running: wait for what it waits for, start it, start it again when it ends by itself."""

from __future__ import annotations

import threading
import time

from freehold.errors import FreeholdError
from freehold.runtime.supervisor.plan import RESTART_FORGIVEN_AFTER_S, Step, restart_delay_s, unmet
from freehold.runtime.supervisor.runner import Runner
from freehold.runtime.supervisor.state import Board, started_ticks

WATCH_S = 0.05  # how soon a process that ended is noticed
LATE_STOP_S = 0.3


class Keeper:
    """The thread that one step has.

    A step that fails before the system was ever ready has failed; afterwards it is tried for ever, visibly, with a
    pause that grows to its bound. Once it was released nothing is started any more.
    """

    def __init__(self, step: Step, runner: Runner, board: Board) -> None:
        self.step = step
        self._runner = runner
        self._board = board
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"keep {step.name}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def release(self) -> None:
        """Start nothing any more; returns at once."""
        self._released.set()

    def is_alive(self) -> bool:
        """Tell whether it may still be in the midst of starting something."""
        return self._thread.is_alive()

    def stop(self, timeout_s: float) -> None:
        """End the process in order, by force after so long."""
        if self._board.find(self.step.name).state in {"failed", "done"}:
            return  # it has ended, and how is worth more than that it stopped
        self._tell(state="stopping", detail="")
        self._runner.stop(timeout_s)
        self._tell(state="stopped", detail="", pid=None)

    def _keep(self) -> None:
        failures = 0
        while not self._released.is_set():
            begun_at = time.monotonic()
            try:
                self._bring_up(is_first=failures == 0)
                if self._released.is_set():
                    self._runner.stop(LATE_STOP_S)  # it has come up while everything else was being stopped
                if self._released.is_set() or self.step.role == "demo":
                    return
                while self._runner.is_running():
                    if self._released.is_set():
                        return
                    time.sleep(WATCH_S)
                reason = "it ended by itself"
            except Exception as error:  # noqa: BLE001 -- a thread that ended in silence would be waited for for ever
                is_expected = isinstance(error, (FreeholdError, OSError))
                reason = str(error) if is_expected else f"{type(error).__name__}: {error}"
                if not self._released.is_set() and (self._board.state == "starting" or self.step.role == "demo"):
                    self._runner.stop(LATE_STOP_S)
                    self._tell(state="failed", detail=reason, pid=None)
                    return
            failures = 1 if time.monotonic() - begun_at > RESTART_FORGIVEN_AFTER_S else failures + 1
            self._pause(failures, reason)

    def _bring_up(self, *, is_first: bool) -> None:
        if is_first:
            for name in self.step.waits_for:
                self._wait_for(name)
                if self._released.is_set():
                    return
                self._runner.met(name, self._tell)
        self._tell(state="starting" if is_first else "restarting", detail="")
        self._runner.start(self._tell, lambda: not self._released.is_set())
        if self._released.is_set():
            return
        if self.step.role == "demo":
            self._tell(state="done", detail="", pid=None)
        else:
            pid = self._board.find(self.step.name).pid
            self._tell(state="ready", detail="", started_ticks=started_ticks(pid) if pid else None)

    def _wait_for(self, name: str) -> None:
        while not self._released.is_set():
            missing = unmet(self.step, self._board.names("ready"))
            if name not in missing:
                return
            reasons = ", ".join(f"{other} ({reason})" for other, reason in missing.items())
            self._tell(state="waiting", detail=f"for {reasons}")
            self._board.wait(WATCH_S)

    def _pause(self, failures: int, reason: str) -> None:
        if self._released.is_set():
            return
        delay_s = restart_delay_s(failures)
        count = self._board.find(self.step.name).restart_count + 1
        detail = f"{reason}; is started again in {delay_s:g} s"
        self._tell(state="restarting", detail=detail, pid=None, restart_count=count)
        self._released.wait(delay_s)

    def _tell(self, **changes: object) -> None:
        self._board.update(self.step.name, **changes)
