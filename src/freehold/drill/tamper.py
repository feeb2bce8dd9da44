"""Change copies behind the system's back; the audit must find and repair them under load."""

from __future__ import annotations

import random
import subprocess
import time
from typing import Any

import pymongo
from pymongo.errors import PyMongoError

from freehold.drill.stage import Missed, Stage, clean_environment, end_process
from freehold.drill.trial import Steps, Trial
from freehold.errors import DrillError
from freehold.service import Replica

COPIES = 6
FOUND_LIMIT_S = 300.0
ANSWER_TIMEOUT_MS = 5_000

Document = dict[str, Any]


def tamper(trial: Trial, victim: str) -> Steps:
    """Edit, roll back and delete some copies in MongoDB, at once; `repair` follows when no other fault is open."""
    name = victim.partition(" ")[0]
    try:
        _change(trial.stage.store_url(name), name, _replica(trial, name), trial.chance())
    except PyMongoError as error:
        raise Missed(f"the copies of {name} cannot be reached now: {error}") from error
    trial.counts[f"tamper {victim}"] += 1
    trial.tampered.add(victim)
    yield


def repair(trial: Trial, victim: str) -> Steps:
    """Audit and repair under load until an audit finds no difference; note how long that took.

    Raises:
        DrillError: It still finds one after FOUND_LIMIT_S.
    """
    fault, name = f"tamper {victim}", victim.partition(" ")[0]
    began_at = time.monotonic()
    is_repairing = True
    while True:
        options = ["--repair"] if is_repairing else []
        audit = _start_audit(trial.stage, f"{name}.{_replica(trial, name).into}", *options)
        try:
            while audit.poll() is None:
                yield
        finally:
            end_process(audit)
        if audit.returncode == 0 and not is_repairing:
            break
        # What was repaired is looked at once more; what could not be judged is audited again.
        is_repairing = audit.returncode != 0
        if time.monotonic() > began_at + FOUND_LIMIT_S:
            raise DrillError(f"{fault}: the audit still finds a difference after {FOUND_LIMIT_S:g} s")
    trial.tampered.discard(victim)
    trial.recovered_s[fault].append(time.monotonic() - began_at)


def _replica(trial: Trial, service: str) -> Replica:
    return trial.stage.system.service(service).replicates[0]


def _change(url: str, name: str, replica: Replica, chance: random.Random) -> None:
    client: pymongo.MongoClient[Document] = pymongo.MongoClient(url, serverSelectionTimeoutMS=ANSWER_TIMEOUT_MS)
    with client:
        copies = client.get_default_database(name)[replica.into]
        found = list(copies.aggregate([{"$match": {"deleted": False}}, {"$sample": {"size": COPIES}}]))
        field = next(each for each in replica.state.__struct_fields__ if each != "id")
        for each in found:
            wrong = f"tampered {chance.randrange(10**6)}"
            action = chance.choice(["edit", "roll back", "delete"])
            if action == "edit":
                copies.update_one({"_id": each["_id"]}, {"$set": {field: wrong}})
            elif action == "delete":
                copies.delete_one({"_id": each["_id"]})
            else:
                copies.update_one({"_id": each["_id"]}, {"$set": {field: wrong}, "$inc": {"version": -1}})


def _start_audit(stage: Stage, replica: str, *options: str) -> subprocess.Popen[bytes]:
    with stage.log("audit").open("ab") as log:
        return subprocess.Popen(
            [*stage.program, "audit", replica, "--json", *options],
            cwd=stage.directory,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
