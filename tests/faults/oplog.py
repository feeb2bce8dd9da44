"""Make MongoDB forget: fill the log of the replica set until what was written before is no longer in it."""

from __future__ import annotations

from typing import Any

import pymongo
import pytest
from bson import Timestamp

from freehold.runtime.embedded import mongo
from freehold.runtime.supervisor.state import Place
from tests.faults.waiting import wait_until

# The largest document that MongoDB takes is 16 MB; zeros cost neither time nor disk, and count in full.
FILLING = bytes(15 * 1024 * 1024)
FORGETTING_LIMIT_S = 90.0
STOP_LIMIT_S = 10.0
# A log keeps the size that it was made with. At its usual 1 GB, forgetting takes a minute of nothing but writing.
USUAL_LOG, SMALL_LOG = "oplogSizeMB: 1024", "oplogSizeMB: 64"


def make_small_log(place: Place) -> None:
    """Make the embedded MongoDB's data before the system's first start, with a log that is soon full."""
    assert USUAL_LOG in mongo.SETTINGS
    server = mongo.MongoServer(place.directory / "mongo", secrets=place.secrets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mongo, "SETTINGS", mongo.SETTINGS.replace(USUAL_LOG, SMALL_LOG))
        server.start(lambda _: None)
    server.stop(STOP_LIMIT_S)


def lose_history(admin_url: str) -> None:
    """Write documents of 15 MB until the log begins later than now.

    Args:
        admin_url: The server, as its administrator.
    """
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(admin_url, w=1)
    with client:
        now = newest(client)
        filling = client["faults"]["filling"]

        def remembered() -> str:
            filling.insert_one({"filling": FILLING})
            first = oldest(client)
            return f"the log begins at {first}, which is not after {now}" if first <= now else ""

        wait_until("the log has forgotten what was written until now", remembered, FORGETTING_LIMIT_S)
        client.drop_database("faults")


def oldest(client: pymongo.MongoClient[dict[str, Any]]) -> Timestamp:
    """Give the moment at which the log begins."""
    return _end_of_log(client, 1)


def newest(client: pymongo.MongoClient[dict[str, Any]]) -> Timestamp:
    """Give the moment at which the log ends."""
    return _end_of_log(client, -1)


def _end_of_log(client: pymongo.MongoClient[dict[str, Any]], direction: int) -> Timestamp:
    found = client["local"]["oplog.rs"].find({}, {"ts": 1}).sort("$natural", direction).limit(1)
    moment = next(found)["ts"]
    assert isinstance(moment, Timestamp)
    return moment
