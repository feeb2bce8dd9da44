"""How long the embedded servers take to start: `python -m benchmarks.server_start`. Decision 2 quotes it.

Each alone and all together: for the first time, on their data, and after all was killed. The best of some runs is told
beside the median, because on a shared machine the others' work is in every number.
"""

from __future__ import annotations

import os
import signal
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from freehold.runtime.embedded.kafka import KafkaServer
from freehold.runtime.embedded.mongo import MongoServer
from freehold.runtime.embedded.postgres import PostgresServer
from freehold.runtime.provision.secrets import Secrets

RUNS = 3
STOP_TIMEOUT_S = 20.0
GONE_TIMEOUT_S = 10.0
KINDS: list[Callable[..., Any]] = [PostgresServer, MongoServer, KafkaServer]


def main() -> None:
    """Measure and print."""
    print(f"{'server':22} {'start':12} {'best s':>8} {'median s':>9}")
    for kinds in [[kind] for kind in KINDS] + [KINDS]:
        taken: dict[str, list[float]] = {"first": [], "again": [], "after kill": [], "stop": []}
        for _ in range(RUNS):
            with tempfile.TemporaryDirectory(prefix="freehold-bench-") as directory:
                _measure(kinds, Path(directory), taken)
        who = " + ".join(kind.__name__.removesuffix("Server") for kind in kinds)
        for what, seconds in taken.items():
            print(f"{who:22} {what:12} {min(seconds):8.2f} {statistics.median(seconds):9.2f}")


def _measure(kinds: list[Callable[..., Any]], place: Path, taken: dict[str, list[float]]) -> None:
    secrets = Secrets(place / "secrets.json")
    servers = [kind(place / kind.__name__.lower(), secrets=secrets) for kind in kinds]
    try:
        taken["first"].append(_together(servers, lambda server: server.start(lambda _: None)))
        taken["stop"].append(_together(servers, lambda server: server.stop(STOP_TIMEOUT_S)))
        taken["again"].append(_together(servers, lambda server: server.start(lambda _: None)))
        _together(servers, _kill)
        taken["after kill"].append(_together(servers, lambda server: server.start(lambda _: None)))
    finally:
        _together(servers, lambda server: server.stop(STOP_TIMEOUT_S))


def _together(servers: list[Any], do: Callable[[Any], None]) -> float:
    began = time.monotonic()
    threads = [threading.Thread(target=do, args=(server,)) for server in servers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.monotonic() - began


def _kill(server: Any) -> None:
    os.kill(server.pid, signal.SIGKILL)
    limit = time.monotonic() + GONE_TIMEOUT_S
    while server.pid is not None and time.monotonic() < limit:
        time.sleep(0.01)


if __name__ == "__main__":
    main()
