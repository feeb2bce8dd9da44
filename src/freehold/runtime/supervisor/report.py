"""What runs here as others are told of it: checked against the processes that are there, with the lag of each service."""

from __future__ import annotations

import http.client
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from freehold.runtime.embedded.ports import LOOPBACK
from freehold.runtime.supervisor.state import Place, SystemState, boot_id, is_same

# A service whose store hangs says so, after it has waited for the store's answers itself.
PROBE_TIMEOUT_S = 3.0
ASKED = {"service", "part", "gateway"}
RUNNING = {"waiting", "starting", "ready", "restarting", "stopping"}


def read_state(place: Place) -> SystemState | None:
    """Read what runs here; what is not there any more is called stopped, whatever the file says.

    A process whose supervisor was killed is still said to run: it does.
    """
    state = place.read()
    if state is None:
        return None
    supervised = state.boot == boot_id() and is_same(state.pid, state.started_ticks)
    for process in state.processes:
        is_there = state.boot == boot_id() and is_same(process.pid, process.started_ticks)
        is_external = process.role == "server" and process.state == "ready" and process.pid is None
        if process.state in RUNNING and not supervised and not is_there:
            process.state, process.pid = "stopped", None
        elif process.state == "ready" and supervised and not is_there and not is_external:
            process.state, process.detail = "restarting", "it ended by itself"
            process.pid = None
    if not supervised and state.state in RUNNING:
        state.state = "unsupervised" if any(process.pid for process in state.processes) else "stopped"
    return state


def ask_processes(state: SystemState) -> dict[str, dict[str, Any]]:
    """Ask the services and the gateway that run how they are; one that is not ready by its own word is called unready.

    Returns:
        By name, what each service, or part of one, says of its relay and its consumers; one that does not answer is left out.
    """
    asked = [each for each in state.processes if each.role in ASKED and each.pid and each.port]
    with ThreadPoolExecutor(max(1, len(asked))) as pool:
        answers = list(pool.map(lambda process: read_progress(process.port or 0), asked))
    for process, answer in zip(asked, answers, strict=True):
        if process.state == "ready" and (answer is None or not answer.get("ready")):
            process.state = "unready"
            process.detail = _unready_words(answer)
    return {each.name: answer for each, answer in zip(asked, answers, strict=True) if answer and each.role != "gateway"}


def as_json(state: SystemState | None) -> dict[str, Any]:
    """Give the state in the form that programs rely on."""
    if state is None:
        return {"system": None, "state": "stopped", "reason": "", "processes": []}
    processes = [
        {
            "name": process.name,
            "role": process.role,
            "pid": process.pid,
            "url": process.url,
            "state": process.state,
            "log": process.log,
            "port": process.port,
            "detail": process.detail,
            "restarts": process.restart_count,
        }
        for process in state.processes
        if process.role != "demo"
    ]
    return {"system": state.system, "state": state.state, "reason": state.reason, "processes": processes}


def read_progress(port: int) -> dict[str, Any] | None:
    """Ask a service how far its relay and consumers are; None when it does not answer."""
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=PROBE_TIMEOUT_S)
    try:
        connection.request("GET", "/readyz?verbose", headers={"accept": "application/json"})
        body = connection.getresponse().read()
        found = msgspec.json.decode(body)
    except (OSError, http.client.HTTPException, msgspec.MsgspecError):
        return None
    finally:
        connection.close()
    return found if isinstance(found, dict) else None


def _unready_words(answer: dict[str, Any] | None) -> str:
    if answer is None:
        return f"no answer within {PROBE_TIMEOUT_S:g} s"
    checks = [check for check in answer.get("checks") or () if not check.get("ok")]
    return "; ".join(f"{check.get('name')}: {check.get('detail')}" for check in checks)


def summarise_lag(progress: dict[str, Any]) -> str:
    """Say in a few words what waits in a service's outbox, and what of each source it has still to apply."""
    words = []
    backlog = progress.get("backlog") or {}
    if "rows" in backlog:
        age = f", oldest {backlog.get('oldest_age_s', 0):.1f} s" if backlog["rows"] else ""
        words.append(f"outbox {backlog['rows']:,}{age}")
    for source, consumer in (progress.get("consumers") or {}).items():
        words.append(f"{source} {_consumer_lag(consumer)}")
    return "; ".join(words)


def explain_stops(progress: dict[str, Any]) -> list[str]:
    """Say why what stands still does so: a service's relay, what it reads of a source, or single partitions of that."""
    relay = progress.get("relay") or {}
    reasons = [f"its relay is {relay.get('state')}: {relay['last_error']}"] if _is_held_up(relay, "last_error") else []
    for source, consumer in (progress.get("consumers") or {}).items():
        if _is_held_up(consumer, "error"):
            reasons.append(f"reading {source} is {consumer.get('state')}: {consumer['error']}")
        reasons += [each["error"] for each in _partitions(consumer) if _is_held_up(each, "error")]
    return list(dict.fromkeys(reasons))


def _is_held_up(part: dict[str, Any], error: str) -> bool:
    """The last error is told on when all is well again."""
    return bool(part.get(error)) and part.get("state") not in {"following", "reading"}


def _partitions(consumer: dict[str, Any]) -> list[dict[str, Any]]:
    partitions = consumer.get("partitions") or {}
    return list(partitions.values() if isinstance(partitions, dict) else partitions)


def _consumer_lag(consumer: dict[str, Any]) -> str:
    each = _partitions(consumer)
    behind = sum(partition.get("lag") or 0 for partition in each)
    stopped = [partition for partition in each if partition.get("state") == "stopped"]
    words = [f"{behind:,} behind"]
    if stopped:
        words.append(f"{len(stopped)} partition{'s' if len(stopped) > 1 else ''} stopped")
    parked, dead = (sum(partition.get(state) or 0 for partition in each) for state in ("parked", "dead"))
    if parked:
        words.append(f"{parked:,} parked" + (f" ({dead:,} dead)" if dead else ""))
    return ", ".join(words)
