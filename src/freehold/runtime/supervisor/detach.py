"""Act on a system from another process: start it in the background, stop it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence

from freehold.errors import StartError
from freehold.runtime.embedded.process import open_log
from freehold.runtime.supervisor.child import command, last_lines
from freehold.runtime.supervisor.leftovers import end_leftovers, end_process
from freehold.runtime.supervisor.state import Place, SystemState, is_same, started_ticks

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
        StartError: Another one runs here; or it failed, with the reason, or was not ready in time; nothing of it is left running.
    """
    with place.held():
        pass  # whoever else runs it is named here, where the person is
    log = place.log("up")
    with open_log(log) as stream:
        child = subprocess.Popen(
            command("up", *arguments),
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
    holder = place.holder()
    if holder and not end_process(holder, started_ticks(holder), signal.SIGTERM, STOP_TIMEOUT_S):
        raise StartError(f"process {holder} does not end; see {place.log('up')}")
    state = place.read()
    if state is None:
        return holder is not None
    left = [each for each in state.processes if is_same(each.pid, each.started_ticks)]
    end_leftovers(state, report, servers=True)
    if left:
        state.state = "stopped"
        place.write(state)
    return holder is not None or bool(left)


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
