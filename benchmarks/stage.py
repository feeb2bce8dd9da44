"""Where the benchmarks play: the reference system as a newcomer runs it, without the demo's data, in a folder of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from freehold.runtime.embedded.kafka import KafkaServer
from freehold.runtime.embedded.mongo import MongoServer
from freehold.runtime.embedded.postgres import PostgresServer
from freehold.runtime.supervisor.state import Place

ROOT = Path(__file__).parents[1]
SYSTEM = ROOT / "systems" / "database_per_service"
COMMAND_TIMEOUT_S = 180.0


class Stage:
    """One running reference system; `with Stage() as stage`. Its data is deleted at the end."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="freehold-bench-"))
        self.place = Place(self.directory / ".freehold")

    def __enter__(self) -> Self:
        self.up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.freehold("down")
        shutil.rmtree(self.directory, ignore_errors=True)

    def up(self) -> float:
        """Start it and wait until it is ready; give the seconds that took."""
        started = time.perf_counter()
        self.freehold("up", str(SYSTEM), "--no-demo", "--detach")
        return time.perf_counter() - started

    def freehold(self, *words: str) -> str:
        """Run the command line in the stage's directory."""
        done = subprocess.run(
            [sys.executable, "-m", "freehold", *words],
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
            check=False,
        )
        if done.returncode != 0:
            raise SystemExit(f"freehold {' '.join(words)} failed:\n{done.stdout}{done.stderr}")
        return done.stdout

    def processes(self) -> dict[str, dict[str, Any]]:
        """Give `freehold status --json` by name."""
        processes: list[dict[str, Any]] = json.loads(self.freehold("status", "--json"))["processes"]
        return {each["name"]: each for each in processes}

    def port(self, name: str) -> int:
        """Give the port of a service or of the gateway."""
        port: int | None = urlsplit(self.processes()[name]["url"]).port
        assert port is not None
        return port

    def store_url(self, service: str) -> str:
        """Give a service's own store with its own credentials."""
        return self.place.read_environment(service)["FREEHOLD_STORE_URL"]

    def kafka_url(self, service: str) -> str:
        """Give Kafka with a service's own credentials."""
        return self.place.read_environment(service)["FREEHOLD_KAFKA_URL"]

    def admin_url(self, server: str) -> str:
        """Give a server with the administrator's credentials."""
        makers: dict[str, Any] = {"postgres": PostgresServer, "mongo": MongoServer, "kafka": KafkaServer}
        port = urlsplit(self.processes()[server]["url"]).port
        return str(makers[server](self.place.directory / server, port=port, secrets=self.place.secrets).admin_url)


def cpu_s(pid: int) -> float:
    """Read how many CPU seconds a process has used, its threads included."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_memory_mb(pid: int) -> float:
    """Read the most memory that a process ever had resident, in MB."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(f"process {pid} tells no memory")
