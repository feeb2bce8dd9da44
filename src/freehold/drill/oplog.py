"""Make MongoDB forget: fill the log of the replica set until what was written before is no longer in it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pymongo
from bson import Timestamp
from pymongo.errors import PyMongoError

from freehold.drill.stage import Missed
from freehold.runtime.embedded.mongo import MongoServer
from freehold.runtime.supervisor.state import Place

# The largest document that MongoDB takes is 16 MB; zeros cost neither time nor disk, and count in full.
FILLING = bytes(15 * 1024 * 1024)
FORGETTING_LIMIT_S = 90.0
STOP_LIMIT_S = 10.0
ANSWER_TIMEOUT_MS = 10_000
# A log keeps the size that it was made with. At its usual 1 GB, forgetting takes a minute of nothing but writing.
SMALL_LOG_MB = 64


def make_small_log(place: Place) -> None:
    """Make the embedded MongoDB's data before the system's first start, with a log that is soon full."""
    server = MongoServer(place.directory / "mongo", secrets=place.secrets, log_mb=SMALL_LOG_MB)
    server.start(lambda _: None)
    server.stop(STOP_LIMIT_S)


def lose_history(admin_url: str) -> Iterator[None]:
    """Write documents of 15 MB until the log begins later than now, one a step.

    Args:
        admin_url: The server, as its administrator.

    Raises:
        Missed: The log did not forget within FORGETTING_LIMIT_S.
    """
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
        admin_url, w=1, serverSelectionTimeoutMS=ANSWER_TIMEOUT_MS, socketTimeoutMS=ANSWER_TIMEOUT_MS
    )
    limit = time.monotonic() + FORGETTING_LIMIT_S
    now: Timestamp | None = None
    with client:
        while time.monotonic() < limit:
            try:
                now = now or _end_of_log(client, -1)
                if _end_of_log(client, 1) > now:
                    client.drop_database("drill")
                    return
                client["drill"]["filling"].insert_one({"filling": FILLING})
            except PyMongoError:
                pass  # another fault has the server
            yield
    raise Missed(f"MongoDB's log still reaches back to {now} after {FORGETTING_LIMIT_S:g} s")


def _end_of_log(client: pymongo.MongoClient[dict[str, Any]], direction: int) -> Timestamp:
    found = client["local"]["oplog.rs"].find({}, {"ts": 1}).sort("$natural", direction).limit(1)
    moment = next(found)["ts"]
    assert isinstance(moment, Timestamp)
    return moment
