"""One service's process, started as an operator starts it, and watched from outside."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx

from freehold.runtime.process import listen
from freehold.runtime.settings import Settings

READY_S = 60.0
STOP_S = 4.0


class Process:
    """One process of the service."""

    def __init__(self, folder: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / f"{self.port}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "freehold", "run", *arguments],
                cwd=folder,
                env={
                    "PATH": os.environ["PATH"],
                    "FREEHOLD_PORT": str(self.port),
                    **environment,
                },
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(self.url + path, timeout=10, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return httpx.post(self.url + path, timeout=10, **options)

    def report(self) -> Any:
        return self.get("/readyz?verbose", headers={"accept": "application/json"}).json()

    def wait_until_ready(self) -> None:
        self.wait_for("ready", lambda: self.get("/readyz").status_code == 200)

    def wait_for(self, what: str, is_met: Callable[[], bool]) -> None:
        until = time.monotonic() + READY_S
        while True:
            with contextlib.suppress(httpx.TransportError):
                if is_met():
                    return
            assert self.process.poll() is None, f"it ended: {self.log.read_text()}"
            assert time.monotonic() < until, f"not {what}: {self.log.read_text()}"
            time.sleep(0.02)

    def stop(self) -> tuple[int, float]:
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        code = self.process.wait(2 * STOP_S)
        return code, time.monotonic() - began


def free_port() -> int:
    listener = listen(Settings(port=0))
    with listener:
        return int(listener.getsockname()[1])


def is_connected(process: Process) -> bool:
    """Look for an established connection to the process' port, as the kernel lists them."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return any(line.split()[1].endswith(f":{process.port:04X}") and line.split()[3] == "01" for line in lines)
