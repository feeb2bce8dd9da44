"""Act on a system from another process: start it in the background, stop it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence

from freehold.errors import StartError
from freehold.runtime.embedded.process import open_log
from freehold.runtime.supervisor.child import last_lines
from freehold.runtime.supervisor.leftovers import end_leftovers, end_process
from freehold.runtime.supervisor.state import Place, SystemState, is_same

POLL_S = 0.05
# A first start downloads Kafka and writes the demo data; it says what it does all the while.
START_TIMEOUT_S = 900.0
STOP_TIMEOUT_S = 10.0


def start_detached(place: Place, arguments: Sequence[str], show: Callable[[SystemState], None]) -> SystemState:
    """Start `freehold up` in a session of its own, with no output of ours open, and wait until it is ready.

    Args:
        place: Where it runs.
        arguments: What follows `freehold up`.
        show: Called with the state when it has changed.

    Raises:
        StartError: It failed, with the reason, or was not ready in time; nothing of it is left running.
    """
    place.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    log = place.log("up")
    with open_log(log) as stream:
        child = subprocess.Popen(
            [sys.executable, "-m", "freehold", "up", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    try:
        return _wait_until_ready(place, child, show)
    except BaseException:
        _stop_child(child)
        raise


def stop(place: Place, report: Callable[[str], None]) -> bool:
    """Stop what is up, in order, whether or not whoever started it is still there.

    Returns:
        Whether anything was up.

    Raises:
        StartError: Something cannot be ended.
    """
    state = place.read()
    if state is None:
        return False
    was_up = is_same(state.pid, state.started_ticks) and place.is_held()
    if was_up and not end_process(state.pid, state.started_ticks, signal.SIGTERM, STOP_TIMEOUT_S):
        raise StartError(f"process {state.pid} does not end; see {place.log('up')}")
    left = [each for each in state.processes if is_same(each.pid, each.started_ticks)]
    end_leftovers(state, report, servers=True)
    if left and not was_up:
        state.state = "stopped"
        place.write(state)
    return was_up or bool(left)


def _wait_until_ready(place: Place, child: subprocess.Popen[bytes], show: Callable[[SystemState], None]) -> SystemState:
    log = place.log("up")
    limit = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < limit:
        state = place.read()
        if state is not None and state.pid != child.pid:
            state = None  # what an earlier one wrote
        if state is not None:
            show(state)
            if state.state == "ready":
                return state
        if child.poll() is not None:
            raise StartError(state.reason if state and state.reason else last_lines(log))
        time.sleep(POLL_S)
    raise StartError(f"not ready within {START_TIMEOUT_S:g} s; see {log}")


def _stop_child(child: subprocess.Popen[bytes]) -> None:
    if child.poll() is None:
        os.kill(child.pid, signal.SIGTERM)
        try:
            child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            child.kill()
