"""Delete a topic, let its owner make it anew, and be the operator who has its readers' copies built again (promise 9).

What a handler had not read of the former topic is lost with it, whoever deletes it: no copy can tell what it was. So the
topic is deleted at a rest, when all have read it to its end and nothing is parked. Then the load comes back while the
readers are still stopped, so that events lie on the new topic before anybody builds a copy.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from freehold.drill.holdings import Unreadable
from freehold.drill.stage import Missed, Stage, end_process, start_command
from freehold.drill.trial import SETTLED_LIMIT_S, Steps, Trial
from freehold.drill.waiting import wait_until
from freehold.errors import DrillError, TopicUnavailable
from freehold.runtime.supervisor.plan import Part, part_name
from freehold.runtime.supervisor.report import read_progress
from freehold.topic.admin import Topics

# For each step; and for all of them, since the operator's part and what befalls it meanwhile are in the recovery.
LIMIT_S = 300.0
RENEWED_LIMIT_S = 900.0
ANSWER_TIMEOUT_S = 5.0
LOOK_S = 0.25
EVENTS_BEFORE = 20
# The command that builds the copies is itself killed now and then, and run again.
KILLS_MAX = 2
KILLED_AFTER_S = (0.5, 5.0)


def renew(trial: Trial, victim: str) -> Steps:
    """Make a topic anew, and have the copies of its readers rebuilt once these have stopped; begun at a rest.

    Its recovery goes from the deletion on, so the operator's part is in it.

    Raises:
        Missed: The system is not at rest; nothing was done.
        DrillError: The topic does not come back, its readers do not stop, or their copies cannot be rebuilt.
    """
    fault, owner = f"renew {victim}", victim.partition(" ")[0]
    readers = [service.name for service in trial.stage.system.services if owner in service.sources()]
    try:
        trial.observer.wait_until_settled(SETTLED_LIMIT_S)
    except DrillError as error:
        raise Missed(f"{victim} is not to be deleted now: {error}") from error
    chance = trial.chance()
    topics = Topics(trial.stage.kafka_address())
    try:
        former = topics.identify(owner).topic_id
    except TopicUnavailable as error:
        raise Missed(f"{victim} is not to be had now: {error}") from error
    delete_topic(trial.stage, topics, owner, former)
    trial.observer.tail.leave(owner)
    trial.counts[fault] += 1
    trial.renewed.add(owner)
    with contextlib.suppress(Missed, ProcessLookupError):
        # A topic is made by its owner when that starts.
        os.kill(trial.stage.pid(_process(trial.stage, owner, "relay")), signal.SIGKILL)
    victims = [part_name(owner, "relay"), *(part_name(each, "consumers") for each in readers)]
    recovery = trial.recovery(fault, *victims, limit_s=RENEWED_LIMIT_S)
    for _ in itertools.chain(
        _go_on_until(f"the topic {owner} is made anew", partial(_not_followed, trial, topics, owner, former)),
        *(_go_on_until(f"{each} has stopped", partial(_not_stopped, trial.stage, each, owner)) for each in readers),
        _go_on_until(f"the new topic {owner} has events", partial(_too_few_events, trial, owner)),
        _rebuilt(trial, owner, chance) if readers else (),
    ):
        next(recovery, None)
        yield
    trial.renewed.discard(owner)
    yield from recovery


def delete_topic(stage: Stage, topics: Topics, topic: str, former: str) -> None:
    """Delete the topic with that id, and wait until it is gone."""
    admin = AdminClient({**stage.kafka_config(), "log_level": "0"})

    def still_there() -> str:
        try:
            found = topics.identify_or_none(topic)
            if found is None or found.topic_id != former:
                return ""
            admin.delete_topics([topic])[topic].result(ANSWER_TIMEOUT_S)
        except (TopicUnavailable, KafkaException) as error:
            return str(error)
        return "it goes"

    wait_until(f"the topic {topic} is deleted", still_there, LIMIT_S)


def _rebuilt(trial: Trial, owner: str, chance: random.Random) -> Iterator[None]:
    """Run `freehold rebuild --of OWNER` until it has done it, and kill it on the way now and then."""
    kills, limit = chance.randint(0, KILLS_MAX), time.monotonic() + LIMIT_S
    while True:
        command = start_command(trial.stage, "rebuild", "--of", owner)
        kill_at = time.monotonic() + chance.uniform(*KILLED_AFTER_S) if kills else limit
        try:
            while command.poll() is None and time.monotonic() < kill_at:
                yield
            if command.poll() is None:
                kills -= 1
                command.kill()
        finally:
            end_process(command)
        if command.returncode == 0:
            return
        if time.monotonic() > limit:
            raise DrillError(f"the copies of {owner} were not rebuilt within {LIMIT_S:g} s; see the log rebuild")


def _not_followed(trial: Trial, topics: Topics, owner: str, former: str) -> str:
    try:
        found = topics.identify_or_none(owner)
        if found is None or found.topic_id == former:
            return "its owner has not made it yet"
        trial.observer.tail.follow(owner)
    except (TopicUnavailable, Unreadable) as error:
        return str(error)
    return ""


def _not_stopped(stage: Stage, reader: str, owner: str) -> str:
    """Say what a reader does instead; empty when it says what `freehold status` would tell an operator."""
    process = stage.status().get(_process(stage, reader, "consumers"))
    told = read_progress(process.port) if process is not None and process.port else None
    found = ((told or {}).get("consumers") or {}).get(owner) or {}
    state, error = found.get("state", "unknown"), str(found.get("error", ""))
    return "" if state == "stopped" and "made anew" in error else f"it is {state}: {error}"


def _too_few_events(trial: Trial, owner: str) -> str:
    try:
        count = sum(trial.observer.tail.ends(owner).values())
    except Unreadable as error:
        return str(error)
    return "" if count >= EVENTS_BEFORE else f"there are {count}"


def _go_on_until(what: str, unmet: Callable[[], str]) -> Iterator[None]:
    limit = time.monotonic() + LIMIT_S
    while missing := unmet():
        if time.monotonic() > limit:
            raise DrillError(f"after {LIMIT_S:g} s not so: {what}; {missing}")
        look_at = time.monotonic() + LOOK_S
        while time.monotonic() < look_at:
            yield


def _process(stage: Stage, service: str, part: Part) -> str:
    return part_name(service, part) if stage.is_apart else service
