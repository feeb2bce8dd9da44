"""Servers of this folder's own: these tests start, kill and damage them."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psycopg
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from pymongo import MongoClient

from freehold.runtime.embedded.kafka import KafkaServer
from freehold.runtime.embedded.mongo import MongoServer
from freehold.runtime.embedded.postgres import PostgresServer
from freehold.runtime.provision.secrets import Secrets
from freehold.topic.address import KafkaAddress

STOP_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 20.0


class Server(Protocol):
    name: str
    port: int
    directory: Path

    @property
    def pid(self) -> int | None: ...
    @property
    def log(self) -> Path: ...
    @property
    def admin_url(self) -> str: ...
    def start(self, report: Callable[[str], None]) -> None: ...
    def stop(self, timeout_s: float) -> None: ...


@dataclass
class Kind:
    """One kind of server, and what a test needs to know of it."""

    name: str
    make: Callable[..., Any]
    lock_file: str
    write: Callable[[str], None]
    read: Callable[[str], str]


@dataclass
class Place:
    """Where one test keeps its servers; all that it started is ended with it."""

    directory: Path
    said: list[str] = field(default_factory=list)
    servers: list[Server] = field(default_factory=list)

    def server(self, kind: Kind, port: int | None = None) -> Server:
        secrets = Secrets(self.directory / "secrets.json")
        server: Server = kind.make(self.directory / kind.name, port=port, secrets=secrets)
        self.servers.append(server)
        return server


def wait_until(condition: Callable[[], bool], what: str, timeout_s: float = ANSWER_TIMEOUT_S) -> None:
    limit = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < limit, f"{what} did not happen within {timeout_s:g} s"
        time.sleep(0.02)


def kill(server: Server) -> None:
    assert server.pid is not None
    os.kill(server.pid, signal.SIGKILL)
    wait_until(lambda: server.pid is None, f"the end of {server.name}")


def write_postgres(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept (text text)")
        connection.execute("INSERT INTO kept VALUES ('kept')")


def read_postgres(url: str) -> str:
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT text FROM kept").fetchone()
        return str(row[0]) if row else ""


def write_mongo(url: str) -> None:
    with mongo(url) as client:
        client.kept.kept.insert_one({"text": "kept"})


def read_mongo(url: str) -> str:
    with mongo(url) as client:
        return str((client.kept.kept.find_one() or {}).get("text", ""))


def mongo(url: str) -> "MongoClient[dict[str, Any]]":
    return MongoClient(url, serverSelectionTimeoutMS=5_000)


def write_kafka(url: str) -> None:
    config = KafkaAddress.parse(url).client_config()
    admin = AdminClient({**config})
    for future in admin.create_topics([NewTopic("kept", 1, 1)]).values():
        future.result(ANSWER_TIMEOUT_S)
    producer = Producer({**config, "log_level": "0"})
    producer.produce("kept", b"kept", partition=0)
    assert producer.flush(ANSWER_TIMEOUT_S) == 0


def read_kafka(url: str) -> str:
    config = KafkaAddress.parse(url).client_config()
    consumer = Consumer({**config, "group.id": "kept", "enable.auto.commit": False, "log_level": "0"})
    try:
        consumer.assign([TopicPartition("kept", 0, 0)])
        message = consumer.poll(ANSWER_TIMEOUT_S)
        if message is None:
            return ""
        error = message.error()
        if error is not None:
            raise KafkaException(error)
        return (message.value() or b"").decode()
    finally:
        consumer.close()


def targets(pid: int) -> Iterator[str]:
    """Name what a process has open; what it closes meanwhile is left out, and all of what ended or is somebody else's."""
    with contextlib.suppress(OSError):
        for file in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                yield str(file.readlink())


KINDS = {
    "postgres": Kind("postgres", PostgresServer, "postmaster.pid", write_postgres, read_postgres),
    "mongo": Kind("mongo", MongoServer, "mongod.lock", write_mongo, read_mongo),
    "kafka": Kind("kafka", KafkaServer, "data/.lock", write_kafka, read_kafka),
}


@pytest.fixture(params=sorted(KINDS))
def kind(request: pytest.FixtureRequest) -> Kind:
    return KINDS[request.param]


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    place = Place(tmp_path / "the dätà")  # a path that somebody has
    yield place
    for server in place.servers:
        with contextlib.suppress(ProcessLookupError):
            server.stop(STOP_TIMEOUT_S)
