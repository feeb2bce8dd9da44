"""The real servers of a test session: embedded, or the user's own."""

from __future__ import annotations

import logging
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

_STOP_S = 10.0
_OWN_SERVERS = {
    "postgres": "FREEHOLD_POSTGRES_URL",
    "mongo": "FREEHOLD_MONGO_URL",
    "kafka": "FREEHOLD_KAFKA_URL",
}
_logger = logging.getLogger("freehold.testing")


class Servers:
    """PostgreSQL, MongoDB and Kafka, each started when it is first needed, several at once in parallel."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.embedded: dict[str, Any] = {}

    def admin_url(self, kind: str) -> str:
        """Give the administrator's URL of "postgres", "mongo" or "kafka"; start the server first if need be.

        Raises:
            MissingPartError: The server cannot be had on this machine.
            StartError: It did not become ready.
        """
        own = os.environ.get(_OWN_SERVERS[kind])
        if own:
            return own
        self.start({kind})
        return str(self.embedded[kind].admin_url)

    def start(self, kinds: set[str]) -> None:
        """Start those that are not there yet, in parallel."""
        wanted = [
            kind for kind in sorted(kinds) if kind not in self.embedded and not os.environ.get(_OWN_SERVERS[kind])
        ]
        made = {kind: self._make(kind) for kind in wanted}
        with ThreadPoolExecutor(len(_OWN_SERVERS)) as threads:
            starts = {kind: threads.submit(server.start, _quiet) for kind, server in made.items()}
        for kind, start in starts.items():
            start.result()
            self.embedded[kind] = made[kind]

    def stop(self) -> None:
        """Stop what was started."""
        with ThreadPoolExecutor(len(_OWN_SERVERS)) as threads:
            list(threads.map(lambda server: server.stop(_STOP_S), self.embedded.values()))
        self.embedded.clear()

    def _make(self, kind: str) -> Any:
        from freehold.runtime.provision.secrets import Secrets

        kept = Secrets(self.directory / "secrets.json")
        directory = self.directory / kind
        if kind == "postgres":
            from freehold.runtime.embedded.postgres import PostgresServer

            return PostgresServer(directory, secrets=kept)
        if kind == "mongo":
            from freehold.runtime.embedded.mongo import MongoServer

            return MongoServer(directory, secrets=kept)
        from freehold.runtime.embedded.kafka import KafkaServer

        return KafkaServer(directory, secrets=kept)


def _quiet(text: str) -> None:
    _logger.info("%s", text)
