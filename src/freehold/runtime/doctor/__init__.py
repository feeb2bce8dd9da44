"""What this machine lacks to run a system, and what a user's own servers lack; each with the way to get it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from freehold.runtime.doctor.finding import Finding
from freehold.runtime.doctor.machine import examine_machine
from freehold.runtime.doctor.servers import examine_server

__all__ = ["Finding", "examine"]


def examine(directory: Path, external: Mapping[str, str]) -> list[Finding]:
    """Look at the machine and at the servers that the user has; the network is not needed for what is installed.

    Args:
        directory: Where a system would keep its data.
        external: By kind, the administrator's URL of a server that the user has; the others would be embedded.
    """
    findings = examine_machine(directory, embedded={"postgres", "mongo", "kafka"} - set(external))
    for kind, url in sorted(external.items()):
        findings += examine_server(kind, url)
    return findings
