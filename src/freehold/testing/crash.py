"""Run Freehold so that it crashes at one point: `python -m freehold.testing.crash POINT COUNT run ...`.

Only a test starts a process this way. The process plants the crash in its own memory and goes on as `freehold` would;
when the point is reached for the COUNT-th time it ends as by kill -9: nothing is closed, flushed or finished.
"""

from __future__ import annotations

import enum
import os
import runpy
import signal
import sys
from collections.abc import Callable
from typing import Any

from freehold.errors import ConfigurationError


class CrashPoint(enum.StrEnum):
    """Where a service can be made to crash: on each side of each commit that its promises hang on.

    A *write* is a transaction of the service's own that published something; a *handler's* is the one with the effects of
    the events that its handlers were called with, their guards and the position.
    """

    WRITE_BEFORE_COMMIT = "write-before-commit"
    WRITE_AFTER_COMMIT = "write-after-commit"
    RELAY_BEFORE_SEND = "relay-before-send"
    RELAY_AFTER_SEND = "relay-after-send"
    RELAY_AFTER_ACKNOWLEDGE = "relay-after-acknowledge"
    HANDLER_BEFORE_EFFECTS = "handler-before-effects"
    HANDLER_AFTER_EFFECTS = "handler-after-effects"
    HANDLER_BEFORE_COMMIT = "handler-before-commit"
    HANDLER_AFTER_COMMIT = "handler-after-commit"
    COPIES_BEFORE_WRITE = "copies-before-write"
    COPIES_AFTER_WRITE = "copies-after-write"


WRITES = (CrashPoint.WRITE_BEFORE_COMMIT, CrashPoint.WRITE_AFTER_COMMIT)
RELAY = (CrashPoint.RELAY_BEFORE_SEND, CrashPoint.RELAY_AFTER_SEND, CrashPoint.RELAY_AFTER_ACKNOWLEDGE)
HANDLERS = (
    CrashPoint.HANDLER_BEFORE_EFFECTS,
    CrashPoint.HANDLER_AFTER_EFFECTS,
    CrashPoint.HANDLER_BEFORE_COMMIT,
    CrashPoint.HANDLER_AFTER_COMMIT,
)
COPIES = (CrashPoint.COPIES_BEFORE_WRITE, CrashPoint.COPIES_AFTER_WRITE)


def plant(point: CrashPoint, count: int) -> None:
    """Have this process end at the point when it is reached for the count-th time."""
    left = [count]

    def reached(here: CrashPoint) -> None:
        if here is point:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    for points, plant_in in ((WRITES, _in_stores), (RELAY, _in_relay), ((*HANDLERS, *COPIES), _in_applier)):
        if point in points:
            plant_in(reached)


def _in_stores(reached: Callable[[CrashPoint], None]) -> None:
    from freehold.store.mongo import Mongo
    from freehold.store.postgres import Postgres

    for store in (Mongo, Postgres):
        _in_store(store, reached)


def _in_store(store: Any, reached: Callable[[CrashPoint], None]) -> None:
    transact = store.transact

    async def crashing(self: Any, run: Any, *args: Any, **kwargs: Any) -> Any:
        published = [0]

        async def run_and_count(tx: Any, *inner: Any, **named: Any) -> Any:
            publish, published[0] = tx.publish, 0

            def counted(*event: Any, **options: Any) -> None:
                publish(*event, **options)
                published[0] += 1

            tx.publish = counted
            result = await run(tx, *inner, **named)
            if published[0]:
                reached(CrashPoint.WRITE_BEFORE_COMMIT)
            return result

        result = await transact(self, run_and_count, *args, **kwargs)
        if published[0]:
            reached(CrashPoint.WRITE_AFTER_COMMIT)
        return result

    store.transact = crashing


def _in_relay(reached: Callable[[CrashPoint], None]) -> None:
    from freehold.outbox.tallied import TalliedSource
    from freehold.topic.writer import Writer

    source: Any = TalliedSource
    writer: Any = Writer
    send, acknowledge = writer.send, source.acknowledge

    def crashing_send(self: Any, *args: Any) -> bool:
        reached(CrashPoint.RELAY_BEFORE_SEND)
        return bool(send(self, *args))

    def crashing_acknowledge(self: Any, rows: Any, position: Any) -> None:
        if rows:
            # The topic has them: this is called for what it acknowledged.
            reached(CrashPoint.RELAY_AFTER_SEND)
        acknowledge(self, rows, position)
        if rows:
            reached(CrashPoint.RELAY_AFTER_ACKNOWLEDGE)

    writer.send, source.acknowledge = crashing_send, crashing_acknowledge


def _in_applier(reached: Callable[[CrashPoint], None]) -> None:
    from freehold.consumer.apply import Applier

    applier: Any = Applier
    call, run, handle, copy = applier._call, applier._run, applier.handle, applier._copy

    async def crashing_call(self: Any, tx: Any, deliveries: Any, *args: Any) -> Any:
        if deliveries:
            reached(CrashPoint.HANDLER_BEFORE_EFFECTS)
        result = await call(self, tx, deliveries, *args)
        if deliveries:
            reached(CrashPoint.HANDLER_AFTER_EFFECTS)
        return result

    async def crashing_run(self: Any, *args: Any) -> Any:
        result = await run(self, *args)
        reached(CrashPoint.HANDLER_BEFORE_COMMIT)
        return result

    async def crashing_handle(self: Any, *args: Any) -> Any:
        result = await handle(self, *args)
        reached(CrashPoint.HANDLER_AFTER_COMMIT)
        return result

    async def crashing_copy(self: Any, batch: Any) -> None:
        reached(CrashPoint.COPIES_BEFORE_WRITE)
        await copy(self, batch)
        reached(CrashPoint.COPIES_AFTER_WRITE)

    applier._call, applier._run, applier.handle, applier._copy = (
        crashing_call,
        crashing_run,
        crashing_handle,
        crashing_copy,
    )


def main() -> None:
    """Plant the crash that the first two arguments name, and be `freehold` with the others."""
    name, count, *_ = [*sys.argv[1:3], "", ""]
    if name not in set(CrashPoint) or not count.isdigit() or int(count) < 1:
        raise ConfigurationError(f"give a point and a count from 1; there is {', '.join(CrashPoint)}")
    plant(CrashPoint(name), int(count))
    sys.argv = ["freehold", *sys.argv[3:]]
    runpy.run_module("freehold", run_name="__main__")


if __name__ == "__main__":
    main()
