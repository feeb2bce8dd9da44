"""A mongod of one test's own: without passwords, and with so small a log that a test can outrun it."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from freehold.runtime.embedded.mongo import find_mongod
from freehold.runtime.embedded.mongo_libraries import prepare_libraries

OPLOG_MB = 16
START_LIMIT_S = 60.0


@contextlib.contextmanager
def small_mongod(directory: Path, *, is_replica_set: bool = True) -> Iterator[str]:
    """Run it, and give its URL without a database."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    replica_set = ["--replSet", "freehold", "--oplogSize", str(OPLOG_MB)] if is_replica_set else []
    mongod = find_mongod()
    # What a crash would have to replay is kept: the log forgets up to the last checkpoint only, here every second.
    command = [
        str(mongod),
        *("--dbpath", str(directory), "--port", str(port), "--bind_ip", "127.0.0.1", "--nounixsocket"),
        *("--wiredTigerCacheSizeGB", "1", "--syncdelay", "1"),
        *("--logpath", str(directory / "log"), *replica_set),
    ]
    environment = prepare_libraries(mongod, directory / "libraries", lambda _: None)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
    try:
        _wait_until_ready(port, is_replica_set)
        yield f"mongodb://127.0.0.1:{port}/" + ("?replicaSet=freehold" if is_replica_set else "")
    finally:
        process.kill()
        process.wait()


def _wait_until_ready(port: int, is_replica_set: bool) -> None:
    until = time.monotonic() + START_LIMIT_S
    client: MongoClient[dict[str, Any]]
    with MongoClient("127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=500) as client:
        while True:
            with contextlib.suppress(PyMongoError):
                if client.admin.command("hello")["isWritablePrimary"]:
                    return
                client.admin.command(
                    "replSetInitiate", {"_id": "freehold", "members": [{"_id": 0, "host": f"127.0.0.1:{port}"}]}
                )
            assert time.monotonic() < until, f"mongod was not ready within {START_LIMIT_S} s"
            time.sleep(0.05)
